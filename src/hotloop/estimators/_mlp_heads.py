"""What the last layer of an MLP is for: targets in, the loss on them, and predictions out."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from scipy.special import log_softmax, xlogy
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from hotloop.engine.decisions import ONE_OF_MANY, ONE_OF_TWO, SEVERAL, class_probabilities, winners
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.losses import (
    LOSSES,
    Custom,
    GaussianNLL,
    Huber,
    KLDivergence,
    Loss,
    PoissonNLL,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from hotloop.losses.margins import MarginLoss

__all__ = ["Labels", "RegressionHead", "labels_of", "resolve"]

Array = NDArray[Any]

HALF_SQUARE = Huber(delta=9e29)
"""½ Σ (z − y)²: Huber's loss where no error is large enough to leave its square."""

ALIASES: dict[str, Loss] = {"squared_error": HALF_SQUARE, "poisson": PoissonNLL()}
"""scikit-learn's names of losses of regression."""


def resolve(loss: Any, aliases: dict[str, Loss]) -> Loss:
    """The loss of a name, of scikit-learn or of ours, or the loss itself."""
    if isinstance(loss, Loss):
        return loss
    known = LOSSES | aliases
    if not isinstance(loss, str):
        raise InvalidTypeError(f"loss: expected a name or a loss such as hl.losses.Huber(), got {loss!r}")
    if loss not in known:
        raise InvalidValueError(f"loss: must be one of {sorted(known)}, got {loss!r}")
    return known[loss]


@dataclass(frozen=True)
class RegressionHead:
    """Values: k targets, with one output each, or two if their variance is learnt.

    Attributes
    ----------
    loss : Loss
    n_targets : int
    factor : float
        The loss that is reported is this times the mean loss, so that it is scikit-learn's.
    """

    loss: Loss
    n_targets: int
    factor: float

    @classmethod
    def of(cls, loss: Any, n_targets: int) -> "RegressionHead":
        """The head for a `loss` as the user gives it."""
        found = resolve(loss, ALIASES)
        if isinstance(found, (MarginLoss, SigmoidCrossEntropy, SoftmaxCrossEntropy, KLDivergence)):
            raise InvalidValueError(f"loss: {found.label()} is for classes; a regressor takes one on values")
        # scikit-learn reports the mean over the targets, and takes the gradient of the sum.
        return cls(found, n_targets, 1 / n_targets if found == HALF_SQUARE else 1.0)

    @property
    def n_outputs(self) -> int:
        """Units of the last layer."""
        return self.n_targets * self.loss.outputs_a_target

    @property
    def out_activation(self) -> str:
        """scikit-learn's name of what turns outputs into predictions."""
        return "exp" if isinstance(self.loss, PoissonNLL) else "identity"

    def shift(self, Y: Array, weights: Array | None) -> float:
        """What scikit-learn's loss has beyond ours: the part of the Poisson deviance without ŷ."""
        if not isinstance(self.loss, PoissonNLL):
            return 0.0
        return float(np.average((xlogy(Y, Y) - Y).sum(axis=1), weights=weights))

    def values(self, outputs: Array) -> Array:
        """Predictions, (n,) for one target."""
        found = outputs[:, : self.n_targets]
        found = np.exp(found) if self.out_activation == "exp" else found
        return np.ascontiguousarray(found[:, 0] if self.n_targets == 1 else found)

    def deviations(self, outputs: Array) -> Array:
        """Standard deviations that gaussian_nll has learnt, in the shape of `values`."""
        if not isinstance(self.loss, GaussianNLL):
            raise InvalidValueError(
                f"return_std: only loss='gaussian_nll' learns a deviation; this one is {self.loss.label()}"
            )
        found = np.exp(outputs[:, self.n_targets :] / 2)
        return np.ascontiguousarray(found[:, 0] if self.n_targets == 1 else found)


@dataclass(frozen=True)
class Labels:
    """Classes: what their outputs, targets and probabilities are.

    Attributes
    ----------
    classes : ndarray (n_classes,)
    kind : {"binary", "multiclass", "multilabel"}
    """

    classes: Array
    kind: str

    factor = 1.0

    def loss(self, loss: Any) -> Loss:
        """The loss as the user gives it; None is the log loss."""
        one_of_many = self.kind == "multiclass"
        log_loss: Loss = SoftmaxCrossEntropy() if one_of_many else SigmoidCrossEntropy()
        found = log_loss if loss is None else resolve(loss, {"log_loss": log_loss})
        if isinstance(found, (GaussianNLL, PoissonNLL)):
            raise InvalidValueError(
                f"loss: {found.label()} is for values, and decides no class; a classifier takes one on "
                "classes, such as 'log_loss', or 'mse', 'mae' or 'huber' on targets of 0 and 1"
            )
        one_label = isinstance(found, (MarginLoss, SoftmaxCrossEntropy, KLDivergence))
        if one_label and self.kind == "multilabel":
            raise InvalidValueError(
                f"loss: {found.label()} takes one label a sample, and y has a column for each of "
                f"{len(self.classes)}; use 'log_loss', which takes several, or, if each row has one label, "
                "give y.argmax(axis=1)"
            )
        return found

    def n_outputs(self, loss: Loss) -> int:
        """Units of the last layer."""
        if self.kind == "binary":
            return loss.least_outputs
        return len(self.classes)

    def out_activation(self, loss: Loss) -> str:
        """scikit-learn's name of what turns outputs into probabilities; "identity" if nothing does."""
        if loss.includes == "softmax":
            return "softmax"
        return "logistic" if isinstance(loss, SigmoidCrossEntropy) else "identity"

    def index(self, y: Array) -> Array:
        """The number of each label among the classes."""
        return np.asarray(np.searchsorted(self.classes, y))

    def indicator(self, y: Array) -> Array:
        """scikit-learn's targets: (n, 1) for two classes, else (n, n_classes), of 0 and 1."""
        if self.kind == "multilabel":
            return np.asarray(y != 0)
        if self.kind == "binary":
            return self.index(y)[:, None] == 1
        return self.index(y)[:, None] == np.arange(len(self.classes))

    def targets(self, y: Array, loss: Loss) -> Array:
        """What the loss takes."""
        if self.kind != "multilabel":
            if isinstance(loss, SoftmaxCrossEntropy) or (self.kind == "multiclass" and _on_margins(loss)):
                return self.index(y)
            if isinstance(loss, KLDivergence):
                return np.eye(max(2, len(self.classes)), dtype=np.float32)[self.index(y)]
            if _on_margins(loss):
                return 2 * self.index(y) - 1
        return self.indicator(y).astype(np.float32)

    def decide(self, outputs: Array, loss: Loss) -> Array:
        """Labels of the outputs."""
        middle = 0.0 if loss.has_accuracy or isinstance(loss, Custom) or _on_margins(loss) else 0.5
        if self.kind == "multilabel":
            return (outputs > middle).astype(int)
        best = np.empty(len(outputs), np.int64)
        winners(outputs, middle, best)
        best = best if len(self.classes) > 1 else np.zeros_like(best)
        return np.asarray(self.classes[best])

    def probabilities(self, outputs: Array, loss: Loss) -> Array:
        """(n, n_classes): of each class, or of each label."""
        n, width = outputs.shape
        kind = ONE_OF_MANY if loss.includes == "softmax" else SEVERAL
        if self.kind == "binary" and width == 1:
            kind, width = ONE_OF_TWO, 2
        found = np.empty((n, width), outputs.dtype)
        class_probabilities(kind, outputs, found)
        return found if len(self.classes) > 1 else found[:, : len(self.classes)]

    def log_probabilities(self, outputs: Array, loss: Loss) -> Array:
        """The logarithms of `probabilities`; of small ones from the outputs, so that none becomes −∞."""
        shares = self.probabilities(outputs, loss)
        if self.out_activation(loss) == "softmax":
            found = log_softmax(outputs, axis=1)
        else:
            found = -np.logaddexp(0, -self._both_sides(outputs))
        return np.log(shares, out=found, where=shares > 0.5)

    def _both_sides(self, outputs: Array) -> Array:
        """Logits of all classes, also where one output stands for two."""
        return np.hstack([-outputs, outputs])[:, : len(self.classes)] if self.kind == "binary" else outputs


def labels_of(y: Any, classes: Any = None) -> tuple[Array, Labels]:
    """`y` as an array, and its `Labels`; `classes` are all there will be, if they are known already."""
    if issparse(y):
        y = y.toarray()
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    if y.ndim == 2:
        if not type_of_target(y).startswith("multilabel"):
            raise InvalidValueError(
                "y: several columns of classes are not supported; use one estimator for each"
            )
        return y, Labels(np.arange(y.shape[1]), "multilabel")
    found = np.unique(y if classes is None else classes)
    return y, Labels(found, "multiclass" if len(found) > 2 else "binary")


def _on_margins(loss: Loss) -> bool:
    return isinstance(loss, MarginLoss)

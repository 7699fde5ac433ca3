"""Losses on classes and probabilities: the outputs are logits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import (
    check_class_weight,
    check_labels,
    check_number,
    check_probabilities,
    check_values,
    n_columns,
)
from hotloop._jit import kernel, kernel_in_order, kernel_inline
from hotloop.engine.mathfun import exp
from hotloop.errors import InvalidValueError
from hotloop.losses.base import Loss

__all__ = ["KLDivergence", "SigmoidCrossEntropy", "SoftmaxCrossEntropy"]

ZERO, ONE = np.float32(0), np.float32(1)

SOFTMAX_CROSS_ENTROPY_CODE = 1
SIGMOID_CROSS_ENTROPY_CODE = 4
KL_DIVERGENCE_CODE = 10


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """``"softmax_cross_entropy"``: −Σⱼ qⱼ log softmax(z)ⱼ, on classes or rows of probabilities.

    For a class y, q is 1 there and 0 elsewhere: the negative log-likelihood of a categorical
    distribution, on logits z (``notes/002`` and ``notes/003``). Rows of probabilities, (n, outputs),
    are q themselves; accuracy then compares the largest output with the largest probability.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        ε, at least 0 and below 1: q becomes (1 − ε) q + ε / classes (Szegedy et al., "Rethinking the
        Inception architecture", 2016, section 7).
    class_weight : {class: weight} or array-like (classes,), optional
        Multiplies the weight of each sample of that class, in the mean's numerator and denominator,
        and in accuracy; at least 0. Classes that a dict does not name weigh 1. A row of
        probabilities has the mean weight Σⱼ qⱼ wⱼ, before smoothing.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an option is not as described.

    Notes
    -----
    log Σ eᶻ is taken relative to the largest logit, so no logit overflows. PyTorch's ``cross_entropy``
    is the same with labels and either option; with both it weighs the smoothed terms by their own
    classes, and with probabilities it does not divide by the weights.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.losses.SoftmaxCrossEntropy(label_smoothing=0.1, class_weight={1: 5.0})
    SoftmaxCrossEntropy(label_smoothing=0.1, class_weight={1: 5.0})
    """

    label_smoothing: float = 0.0
    class_weight: Mapping[int, float] | tuple[float, ...] | None = field(default=None, hash=False)

    name: ClassVar[str] = "softmax_cross_entropy"
    code: ClassVar[int] = SOFTMAX_CROSS_ENTROPY_CODE
    includes: ClassVar[str | None] = "softmax"
    has_accuracy: ClassVar[bool] = True
    least_outputs: ClassVar[int] = 2

    def __post_init__(self) -> None:
        smoothing = check_number(self.label_smoothing, "label_smoothing", low=0.0, below=1.0)
        object.__setattr__(self, "label_smoothing", smoothing)
        object.__setattr__(self, "class_weight", check_class_weight(self.class_weight, "class_weight"))

    def option(self) -> float:
        """ε; class weights are sample weights before they reach the kernel."""
        return self.label_smoothing

    def check_outputs(self, n_outputs: int) -> None:
        """The class weights must fit, too."""
        super().check_outputs(n_outputs)
        if self.class_weight is not None:
            self._weight_of_class(n_outputs)

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """A class a row, or, where there are several columns, a row of probabilities."""
        if n_columns(y) > 1:
            return check_probabilities(y, name, n_rows, n_outputs)
        return check_labels(y, name, n_rows, n_outputs)

    def weights(self, targets: NDArray[Any], n_outputs: int) -> NDArray[np.float64] | None:
        """The weight of each sample's class."""
        if self.class_weight is None:
            return None
        of_class = self._weight_of_class(n_outputs)
        if targets.shape[1] == 1:
            return of_class[targets[:, 0].astype(np.int64)][:, None]
        return np.asarray(targets @ of_class)[:, None]

    def _weight_of_class(self, n_outputs: int) -> NDArray[np.float64]:
        given = self.class_weight or ()
        if isinstance(given, Mapping):
            of_class = np.ones(n_outputs)
            for label, weight in given.items():
                if label >= n_outputs:
                    raise InvalidValueError(
                        f"class_weight: there is no class {label}; the model has {n_outputs} outputs"
                    )
                of_class[label] = weight
            return of_class
        if len(given) != n_outputs:
            raise InvalidValueError(
                f"class_weight: has {len(given)} weights; the model has {n_outputs} outputs, one a class"
            )
        return np.array(given)


@kernel_inline
def softmax_cross_entropy(outputs, target, delta, smoothing):
    """−Σⱼ qⱼ log softmax(z)ⱼ; target: (1,) a class, or (classes,) probabilities."""
    peak, total = softmax(outputs, delta)
    log_total = math.log(total)
    if len(target) > 1 or smoothing > ZERO:
        return soft_cross_entropy(outputs, target, delta, smoothing, log_total, peak)
    label = int(target[0])
    delta[label] -= ONE
    return negative_log_share(log_total, outputs[label], peak)


@kernel_inline
def softmax(outputs, share):
    """share ← softmax of outputs; returns (the largest output, Σ e^(output − largest))."""
    peak = outputs[0]
    for j in range(len(outputs)):
        peak = outputs[j] if outputs[j] > peak else peak
    total = ZERO
    for j in range(len(outputs)):
        share[j] = exp(outputs[j] - peak)
        total += share[j]
    for j in range(len(outputs)):
        share[j] /= total
    return peak, total


@kernel
def soft_cross_entropy(outputs, target, delta, smoothing, log_total, peak):
    """The same where q has more than one class; delta holds softmax(z)."""
    keep, spread = ONE - smoothing, smoothing / outputs.dtype.type(len(outputs))
    loss, mass = ZERO, ZERO
    for j in range(len(outputs)):
        q = keep * probability(target, j) + spread
        mass += q  # 1, up to the rounding of the user's probabilities
        loss += q * negative_log_share(log_total, outputs[j], peak)
    for j in range(len(outputs)):
        delta[j] = mass * delta[j] - (keep * probability(target, j) + spread)
    return loss


@kernel_inline
def softmax_cross_entropy_product(outputs, target, tangent, out, smoothing):
    """m p∘(r − pᵀr) with p = softmax(z) and m = Σⱼ qⱼ, which is 1 up to the rounding of the user's."""
    softmax(outputs, out)
    mean = ZERO
    for j in range(len(out)):
        mean += out[j] * tangent[j]
    mass = target_mass(target, smoothing)
    for j in range(len(out)):
        out[j] *= mass * (tangent[j] - mean)


@kernel
def target_mass(target, smoothing):
    """Σⱼ qⱼ."""
    if len(target) == 1:
        return target.dtype.type(1)
    mass = ZERO
    for j in range(len(target)):
        mass += target[j]
    return (ONE - smoothing) * mass + smoothing


@kernel
def probability(target, j):
    """Of class j: given, or 1 for the class that is given, else 0."""
    if len(target) > 1:
        return target[j]
    return target.dtype.type(1) if j == int(target[0]) else target.dtype.type(0)


@kernel_in_order
def negative_log_share(log_total, output, peak):
    """−log (e^(output − peak) / total): in this order, since output and peak may be large and close."""
    return log_total - (output - peak)


@dataclass(frozen=True)
class KLDivergence(Loss):
    """``"kl_divergence"``: Σⱼ pⱼ (log pⱼ − log softmax(z)ⱼ), on rows of probabilities p.

    Kullback & Leibler, "On information and sufficiency" (1951): what the logits z lose against p. It
    is the cross-entropy less the entropy of p, so its gradient is the same, its least value is 0, and
    up to that constant it is the same negative log-likelihood, of a categorical distribution.
    0 log 0 is 0. Accuracy compares the largest output with the largest probability.
    """

    name: ClassVar[str] = "kl_divergence"
    code: ClassVar[int] = KL_DIVERGENCE_CODE
    includes: ClassVar[str | None] = "softmax"
    has_accuracy: ClassVar[bool] = True
    least_outputs: ClassVar[int] = 2

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Rows of probabilities."""
        return check_probabilities(y, name, n_rows, n_outputs)


@kernel
def kl_divergence(outputs, target, delta):
    """Σⱼ pⱼ (log pⱼ − log softmax(z)ⱼ)."""
    loss = softmax_cross_entropy(outputs, target, delta, outputs.dtype.type(0))
    for j in range(len(target)):
        if target[j] > ZERO:
            loss += target[j] * math.log(target[j])
    return loss


@dataclass(frozen=True)
class SigmoidCrossEntropy(Loss):
    """``"sigmoid_cross_entropy"``: −Σⱼ yⱼ log σ(zⱼ) + (1 − yⱼ) log σ(−zⱼ), on y in [0, 1].

    The negative log-likelihood of independent Bernoulli distributions, on logits z (``notes/000``):
    with one output the binary cross-entropy, with several the multi-label one. Computed as
    max(z, 0) − y z + log(1 + e^(−|z|)), which neither overflows nor cancels. Accuracy is the share of
    outputs on the right side of ½.
    """

    name: ClassVar[str] = "sigmoid_cross_entropy"
    code: ClassVar[int] = SIGMOID_CROSS_ENTROPY_CODE
    includes: ClassVar[str | None] = "sigmoid"
    has_accuracy: ClassVar[bool] = True

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """A probability for each output."""
        return check_values(y, name, n_rows, n_outputs, dtype, low=0.0, high=1.0)


@kernel_in_order
def sigmoid_cross_entropy(outputs, target, delta):
    """Σⱼ max(z, 0) − y z + log(1 + e^(−|z|)): all terms as written are at least 0."""
    total = ZERO
    for j in range(len(outputs)):
        z, y = outputs[j], target[j]
        small = outputs.dtype.type(exp(-abs(z)))  # else, uncompiled, a Python float: float32 beside ONE
        if z > ZERO:
            total += (ONE - y) * z + math.log1p(small)
            delta[j] = ONE / (ONE + small) - y
        else:
            total += -y * z + math.log1p(small)
            delta[j] = small / (ONE + small) - y
    return total


@kernel
def sigmoid_cross_entropy_product(outputs, tangent, out):
    """σ(zⱼ) σ(−zⱼ) rⱼ."""
    for j in range(len(out)):
        small = exp(-abs(outputs[j]))
        out[j] = small / ((ONE + small) * (ONE + small)) * tangent[j]

"""The perceptron with scikit-learn's interface."""

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from hotloop._checks import check_choice, check_flag, check_integer, check_number, check_weights
from hotloop.engine.perceptron import score_all
from hotloop.errors import InvalidValueError
from hotloop.estimators._inputs import (
    HOW_TO_READ,
    all_classes,
    as_it_was_if_refused,
    check_classes,
    check_start,
    read,
    samples_of,
)
from hotloop.estimators._separators import Separators, Task

__all__ = ["Perceptron"]

Array = NDArray[Any]


class Perceptron(ClassifierMixin, BaseEstimator):
    """Rosenblatt's perceptron: one sample at a time, and a mistake adds the sample to the weights.

    With labels y = ±1, a sample is a mistake if y (w·x + b) ≤ 0, and then w ← w + η y x, b ← b + η y:
    the bias is a weight on a constant 1. Training stops when an epoch makes no mistake. If a
    separator of margin γ exists and no sample is longer than R, that is after at most (R/γ)² mistakes.
    On other data it would never stop: it ends at `max_iter` with a warning, and `keep` decides which
    weights remain.

    Parameters
    ----------
    keep : {"pocket", "average", "last"}
        Which weights to predict with. ``"pocket"``: those that got least of the training samples
        wrong; after convergence these are the last. ``"average"``: the mean of the weights after each
        sample, which often does better on new data, and need not separate the training samples.
        ``"last"``: as they are at the end, as scikit-learn's.
    multi_class : {"ovr", "joint"}
        More than two classes: ``"ovr"`` separates each from the rest, ``"joint"`` is the multi-class
        perceptron, where a mistake moves the right class towards the sample and its best rival away.
    fit_intercept : bool
        Whether there is a bias.
    max_iter : int
        Largest number of epochs.
    shuffle : bool
        Take the samples of each epoch in a new random order; otherwise as they come.
    random_state : int, RandomState or None
        Where the random orders come from.
    eta0 : float
        The rate η. From a start at 0 it scales the weights and changes nothing else.
    class_weight : dict, "balanced" or None
        {label: factor on η for its samples}, or factors that are inverse to the classes' frequencies.
    warm_start : bool
        Let `fit` start from the last weights of the fit before.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        The weights w: one row for two classes. They are float64, also for float32 data.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        The biases b.
    n_features_in_, feature_names_in_ : int, ndarray of shape (n_features,)
        Columns of the training data, and their names if they had any.
    n_iter_ : int
        Epochs; one-vs-rest, of the class that took most.
    n_mistakes_ : ndarray (epochs,)
        Mistakes of each epoch; one-vs-rest, of all separators together.
    n_updates_ : int
        Mistakes in all: as often were weights changed.
    converged_ : bool
        Whether the last weights get every sample right.
    margin_ : float
        The largest margin γ found, over the last weights and those kept: the smallest y (w·x + b) over
        ‖(w, b)‖, so in the space with the constant, where the bound holds. One-vs-rest, that of the
        class that is hardest to separate; joint, of the lead over the best rival, and over the norm of
        all weights. NaN if no weights found get every sample right.
    radius_ : float
        R, the largest norm of what a mistake adds: of (x, 1), and √2 of that in the joint form.
    bound_ : float
        No more mistakes than this could be made: (R/γ)² with `margin_`; one-vs-rest, the sum over the
        classes. With weights of samples, R and γ are those of samples multiplied by them; a start w₀
        adds 2‖w₀‖/(ηγ). NaN if no separator was found.

    Notes
    -----
    Sources: ``notes/003``, section 2.2 and 2.3; Rosenblatt, "The perceptron: a probabilistic model for
    information storage and organization in the brain" (1958); Novikoff, "On convergence proofs for
    perceptrons" (1962), for the bound; Gallant, "Perceptron-based learning algorithms" (1990), for the
    pocket; Freund & Schapire, "Large margin classification using the perceptron algorithm" (1999), for
    the average; Crammer & Singer, "Ultraconservative online algorithms for multiclass problems"
    (2003), for the joint form.

    With ``keep="last"`` and ``shuffle=False``, weights and mistakes are those of
    ``sklearn.linear_model.Perceptron(shuffle=False, tol=None)`` on dense data. On sparse data
    scikit-learn slows the bias down, and this class does not. scikit-learn weights the classes of
    one-vs-rest against a rest of weight 1; here a sample has the weight of its class everywhere.

    Examples
    --------
    >>> import hotloop as hl
    >>> X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], ["no", "no", "no", "yes"]
    >>> model = hl.Perceptron(shuffle=False).fit(X, y)
    >>> model.predict(X).tolist(), model.converged_
    (['no', 'no', 'no', 'yes'], True)
    >>> model.n_updates_ <= model.bound_
    True
    """

    classes_: Array
    _separators: Separators

    def __init__(
        self, *, keep: str = "pocket", multi_class: str = "ovr", fit_intercept: bool = True,
        max_iter: int = 1000, shuffle: bool = True, random_state: Any = 0, eta0: float = 1.0,
        class_weight: Any = None, warm_start: bool = False,
    ):  # fmt: skip
        self.keep = keep
        self.multi_class = multi_class
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.eta0 = eta0
        self.class_weight = class_weight
        self.warm_start = warm_start

    def fit(
        self, X: Any, y: Any, coef_init: Any = None, intercept_init: Any = None, sample_weight: Any = None
    ) -> "Perceptron":
        """Train until an epoch makes no mistake, at most `max_iter` epochs.

        Parameters
        ----------
        X : array or sparse matrix of shape (n, n_features)
            Samples. float32 and float64 are read where they lie, if in C order; sparse, in CSR form.
        y : array of shape (n,)
            Labels of any kind, two or more different ones.
        coef_init : array of shape (n_features,), (1, n_features) or (n_classes, n_features), optional
            Weights to start from, in the shape of `coef_`; 0 if not given.
        intercept_init : array of shape (1,) or (n_classes,), optional
            Biases to start from.
        sample_weight : array of shape (n,), optional
            Factors on η; a sample of weight 0 is left out.

        Returns
        -------
        self

        Raises
        ------
        InvalidValueError, InvalidTypeError
            An argument or parameter cannot be used, `y` has one class only, or the weights overflow.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If after `max_iter` epochs the last weights still get samples wrong.
        """
        with as_it_was_if_refused(self):
            self._check_parameters()
            X, y = self._check_data(X, y, reset=True)
            warm = self.warm_start and hasattr(self, "_separators")
            before = (self.classes_, self._separators.weights) if warm else None
            self.classes_ = check_classes(y)
            self._begin(coef_init, intercept_init, before)
            task = self._task(X, y, sample_weight)
            history, _ = self._learn(task, self.max_iter)
            self.n_mistakes_ = history
            found = self._separators.geometry(task)
            self.converged_, self.margin_, self.radius_, self.bound_ = found
            self.n_iter_ = len(history)
            self.n_updates_ = int(history.sum())
            if not self.converged_:
                warnings.warn(
                    f"Perceptron: no separator after max_iter={self.max_iter} epochs, {history[-1]} mistakes "
                    f"in the last; perhaps there is none. Kept: {self.keep!r} weights.",
                    ConvergenceWarning, stacklevel=2,
                )  # fmt: skip
            return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> "Perceptron":
        """One epoch over these samples, from where the last call ended.

        `n_iter_`, `n_mistakes_` and `n_updates_` go on; `converged_` says whether this epoch made no
        mistake; the pocket holds what does best on these samples. What needs all samples at once,
        `margin_`, `radius_` and `bound_`, is NaN.

        Parameters
        ----------
        X, y
            As for `fit`.
        classes : array of shape (n_classes,)
            All labels that may ever come; needed by the first call.
        sample_weight : array of shape (n,), optional
            As for `fit`.

        Returns
        -------
        self

        Raises
        ------
        InvalidValueError, InvalidTypeError
            As `fit`; also if `classes` is missing at first, or differs later, or lacks a label of `y`.
        """
        with as_it_was_if_refused(self):
            first = not hasattr(self, "_separators")
            self._check_parameters()
            if isinstance(self.class_weight, str):
                raise InvalidValueError(
                    "class_weight: 'balanced' needs all samples at once; pass partial_fit a dict of weights"
                )
            X, y = self._check_data(X, y, reset=first)
            self.classes_ = all_classes(y, classes, None if first else self.classes_)
            if first:
                self._begin(None, None, None)
                self.n_mistakes_ = np.zeros(0, np.int64)
            if self._separators.keep != self.keep:
                self._separators = Separators(self._separators.weights, self.keep)
            history, self.converged_ = self._learn(self._task(X, y, sample_weight), 1)
            self.n_mistakes_ = np.concatenate([self.n_mistakes_, history])
            self.n_iter_ = len(self.n_mistakes_)
            self.n_updates_ = int(self.n_mistakes_.sum())
            self.margin_ = self.radius_ = self.bound_ = math.nan
            return self

    def decision_function(self, X: Any) -> Array:
        """Scores w·x + b.

        Parameters
        ----------
        X : array or sparse matrix of shape (n, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n,) or (n, n_classes)
            Two classes: above 0 for the second. More: a score for each.
        """
        check_is_fitted(self)
        X = read(self, X, reset=False, **HOW_TO_READ)
        out = np.empty((X.shape[0], len(self.coef_)))
        score_all(out, np.column_stack([self.coef_, self.intercept_]), samples_of(X, 1.0))
        return out[:, 0] if out.shape[1] == 1 else out

    def predict(self, X: Any) -> Array:
        """Labels.

        Parameters
        ----------
        X : array or sparse matrix of shape (n, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n,)
            The label of the highest score.
        """
        scores = self.decision_function(X)
        best: Array = scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).astype(np.intp)
        labels: Array = self.classes_[best]
        return labels

    def _check_parameters(self) -> None:
        check_choice(self.keep, "keep", ("pocket", "average", "last"))
        check_choice(self.multi_class, "multi_class", ("ovr", "joint"))
        check_integer(self.max_iter, "max_iter", low=1)
        for name in ("fit_intercept", "shuffle", "warm_start"):
            check_flag(getattr(self, name), name)
        if check_number(self.eta0, "eta0", low=0.0) == 0:
            raise InvalidValueError("eta0: must be above 0, got 0")

    def _check_data(self, X: Any, y: Any, reset: bool) -> tuple[Any, Array]:
        X, y = read(self, X, y, reset=reset, **HOW_TO_READ)
        check_classification_targets(y)
        return X, y

    def _begin(self, coef: Any, intercept: Any, before: tuple[Array, Array] | None) -> None:
        """New separators, from 0, from `before` (classes, weights), or from what the user gives."""
        rows = 1 if len(self.classes_) == 2 else len(self.classes_)
        start = np.zeros((rows, self.n_features_in_ + 1))
        if before is not None:
            if not np.array_equal(before[0], self.classes_) or before[1].size != start.size:
                raise InvalidValueError(
                    "warm_start: the fit before had other classes or another number of features; "
                    "set warm_start=False to start anew"
                )
            start[:] = before[1].reshape(start.shape)
        if coef is not None:
            start[:, :-1] = check_start(coef, "coef_init", start[:, :-1].shape)
        if intercept is not None and self.fit_intercept:
            start[:, -1] = check_start(intercept, "intercept_init", start[:, -1].shape)
        if not self.fit_intercept:
            start[:, -1] = 0
        joint = self.multi_class == "joint" and rows > 1
        self._separators = Separators(start[None] if joint else start[:, None], self.keep)

    def _task(self, X: Any, y: Array, sample_weight: Any) -> Task:
        classes = self.classes_
        index = np.searchsorted(classes, y)
        if len(classes) == 2:
            labels = 2 * index[None] - 1
        elif self._separators.weights.shape[1] > 1:
            labels = index[None]
        else:
            labels = np.where(index == np.arange(len(classes))[:, None], 1, -1)
        factors = compute_class_weight(self.class_weight, classes=classes, y=y)
        factors = check_weights(factors, "class_weight", len(classes), np.dtype(float))[:, 0]
        steps = self.eta0 * factors[index]
        if sample_weight is not None:
            steps *= check_weights(sample_weight, "sample_weight", len(y), np.dtype(float))[:, 0]
        return Task(samples_of(X, float(self.fit_intercept)), labels.astype(np.int32), steps)

    def _learn(self, task: Task, epochs: int) -> tuple[Array, bool]:
        """Mistakes of each epoch, and whether every separator has had one without any."""
        rng = check_random_state(self.random_state) if self.shuffle else None
        history, done = self._separators.learn(task, epochs, rng)
        kept = self._separators.kept().reshape(-1, self.n_features_in_ + 1)
        if not np.isfinite(self._separators.weights).all() or not np.isfinite(kept).all():
            raise InvalidValueError("X: its numbers are so large that the weights overflow; scale them down")
        self.coef_, self.intercept_ = kept[:, :-1].copy(), kept[:, -1].copy()
        return history.sum(axis=1), bool(done.all())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

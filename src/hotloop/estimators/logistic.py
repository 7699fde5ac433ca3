"""`LogisticRegression`: binary and softmax, with L1, L2 and both, by four solvers."""

import math
import numbers
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from hotloop._checks import check_choice, check_flag, check_integer, check_number, check_weights
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.estimators._classifier import LinearClassifier
from hotloop.estimators._inputs import (
    HOW_TO_READ,
    all_classes,
    as_it_was_if_refused,
    check_classes,
    read,
    samples_of,
)
from hotloop.estimators._logistic import Found, Task, by_lbfgs, by_newton_cg
from hotloop.estimators._logistic_coordinate import by_coordinates
from hotloop.estimators._minibatch_classifier import MinibatchClassification
from hotloop.estimators._strength import Strength, strength_of
from hotloop.optimizers import Optimizer

__all__ = ["LogisticRegression"]

Array = NDArray[Any]

SOLVERS = ("lbfgs", "newton-cg", "coordinate", "sgd")
ALIASES = {"newton-cholesky": "newton-cg", "sag": "lbfgs", "saga": "coordinate"}
"""scikit-learn's other solvers of the same objective, and who does their work here."""
FULL = {"lbfgs": by_lbfgs, "newton-cg": by_newton_cg, "coordinate": by_coordinates}
"""Solvers that look at all data in each step."""


def _trains_in_minibatches(estimator: Any) -> bool:
    """Whether `partial_fit` is there."""
    return bool(estimator.solver == "sgd")


class LogisticRegression(LinearClassifier):
    """Logistic regression, of two classes or, by softmax, of more: scikit-learn's, with its parameters.

    It minimises C Σᵢ sᵢ ℓᵢ + ρ ‖W‖₁ + ½ (1 − ρ) ‖W‖², where ℓ is the cross-entropy of a row, s its weight,
    ρ the `l1_ratio`. Two classes have one logit z = w·x + b, the log-odds of the second; K > 2 classes have
    K logits, whose softmax are their probabilities. The intercepts b are not penalised.

    Parameters
    ----------
    penalty : {"l2", "l1", "elasticnet", None}, optional
        As up to scikit-learn 1.7; by default `l1_ratio` and `C` say all. "l2" is ``l1_ratio=0``, "l1" is
        ``l1_ratio=1``, None is ``C=np.inf``.
    C : float, default 1.0
        Above 0: how much the loss counts next to the penalty. ``np.inf`` means no penalty.
    l1_ratio : float, default 0.0
        ρ, from 0 (ridge) to 1 (lasso). None counts as 0.
    dual : bool, default False
        As in scikit-learn; True is for a solver that is not here.
    tol : float, default 1e-4
        Ends when no slope of the objective, divided by C Σ s, is larger. With "sgd": when the objective, so
        divided, has not sunk by `tol` in 5 epochs and 100 steps.
    fit_intercept : bool, default True
        Whether there is a b; else it is 0.
    intercept_scaling : float, default 1.0
        As in scikit-learn; without effect, since it is only for "liblinear".
    class_weight : {label: weight} or "balanced", optional
        Multiplies the weights of a class's samples. "balanced": classes count the same in total.
    random_state : int, RandomState or None, optional
        For "sgd": the order of the rows follows from it.
    solver : {"lbfgs", "newton-cg", "coordinate", "sgd"}, default "lbfgs"
        "lbfgs" and "newton-cg" are for ρ = 0; "coordinate" for any ρ: its coefficients are exactly 0 where
        they should be. "sgd" trains in minibatches, for any ρ; it wants features of a scale of about 1, and
        sparse X becomes dense only some minibatches at a time. scikit-learn's "newton-cholesky" means
        "newton-cg"; "sag", "lbfgs"; "saga", "coordinate" or, with ρ = 0, "lbfgs": the coefficients are the
        same.
    max_iter : int, default 100
        At most so many steps of the solver. With "sgd" epochs, of which small data need more.
    verbose : int, default 0
        As in scikit-learn; without effect.
    warm_start : bool, default False
        Begin at the coefficients of the last `fit`.
    n_jobs : int, optional
        As in scikit-learn; without effect.
    optimizer : Optimizer, optional
        For "sgd", with its learning rate: any of hotloop's, such as ``hl.SGD(0.1)``. By default Adam with
        rate 0.01 / √(1 + steps / 1000), or, with ρ > 0, SGD with a rate that suits X and falls likewise. With
        SGD without momentum coefficients become exactly 0; with others, where they should be 0, only small.
    batch_size : int or None, default 128
        For "sgd": rows of a minibatch; None means all rows.

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
        The labels, sorted.
    coef_ : ndarray (1, n_features) or (n_classes, n_features)
        W: one row for two classes. float32 if the data are.
    intercept_ : ndarray (1,) or (n_classes,)
        b.
    n_iter_ : ndarray (1,)
        Steps of the solver, or epochs.
    solver_ : {"lbfgs", "newton-cg", "coordinate", "sgd"}
        What was used.
    n_features_in_ : int
        Width of X.
    feature_names_in_ : ndarray (n_features,)
        Its columns' names, where it has some.

    Notes
    -----
    ``notes/003`` has the model, ``notes/002`` the loss as a negative log-likelihood, and the penalties.
    Solvers: Liu and Nocedal, "On the limited memory BFGS method" (1989); Nocedal and Wright, "Numerical
    optimization" (2006), chapter 7; Yuan, Ho and Lin, "An improved GLMNET for L1-regularized logistic
    regression" (2012).

    float32 data are not copied to float64, but sums are taken in it: the coefficients are those of float64
    data, rounded. In `partial_fit` the penalty counts next to the loss of as many rows as the first call had.

    Examples
    --------
    >>> import hotloop as hl, numpy as np
    >>> X, y = np.array([[-2.0], [-1.0], [0.5], [1.0], [2.0]]), ["no", "no", "yes", "no", "yes"]
    >>> model = hl.LogisticRegression().fit(X, y)
    >>> model.predict([[-3.0], [3.0]])
    array(['no', 'yes'], dtype='<U3')
    >>> model.predict_proba([[0.5]]).round(2)
    array([[0.56, 0.44]])

    Of three features, two without meaning, the L1 penalty leaves one:

    >>> X = np.random.default_rng(0).standard_normal((200, 3))
    >>> hl.LogisticRegression(C=0.1, l1_ratio=1, solver="coordinate").fit(X, X[:, 0] > 0).coef_.round(1)
    array([[3.2, 0. , 0. ]])
    """

    _minibatches: MinibatchClassification

    def __init__(
        self,
        penalty: str | None = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float | None = 0.0,
        dual: bool = False,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        class_weight: Any = None,
        random_state: Any = None,
        solver: str = "lbfgs",
        max_iter: int = 100,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: int | None = None,
        optimizer: Optimizer | None = None,
        batch_size: int | None = 128,
    ):
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.optimizer = optimizer
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LogisticRegression":
        """Find the coefficients.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)
            float32 and float64 are read where they lie, if in C order or CSR form.
        y : array-like (n,)
            Labels of any kind, two or more different ones.
        sample_weight : array-like (n,) or float, optional
            What each row's loss counts, at least 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If the data are not numeric, finite and of the same length, or have one class only, or a parameter
            is out of its range.
        DivergenceError
            With ``solver="sgd"``, if the loss is not finite.

        Warns
        -----
        ConvergenceWarning
            If slopes are still above `tol` after `max_iter` steps, or the loss of "sgd" still sinks.
        UserWarning
            If `penalty` and `l1_ratio` or `C` contradict each other: `penalty` wins.
        """
        with as_it_was_if_refused(self):
            strength = self._check_parameters()
            solver = self._solver_for(strength)
            X, y = self._check_data(X, y, reset=True)
            before = (self.classes_, self._theta()) if self.warm_start and hasattr(self, "coef_") else None
            self.__dict__.pop("_minibatches", None)
            self.classes_ = check_classes(y)
            task, labels, weights = self._task(X, y, sample_weight, strength)
            start = self._start(task, before)
            if solver == "sgd":
                self._minibatches = self._new_minibatches(task)
                self._minibatches.theta = start
                n_iter = self._minibatches.train(task.X, labels, weights, epochs=self.max_iter, tol=self.tol)
                theta = self._minibatches.theta
            else:
                # Too large numbers overflow on the way; what comes of it is looked at below.
                with np.errstate(over="ignore", invalid="ignore"):
                    found: Found = FULL[solver](task, start, tol=self.tol, max_iter=self.max_iter)
                theta, n_iter = found.theta, found.n_iter
                if not np.isfinite(theta).all() or "nan" in found.trouble or "inf" in found.trouble:
                    raise InvalidValueError(
                        "X: its numbers are so large that the slopes overflow; rescale it"
                    )
                if found.trouble:
                    warnings.warn(
                        f"{solver}: {found.trouble}; raise max_iter, standardise the features, or "
                        "penalise more",
                        ConvergenceWarning,
                        stacklevel=2,
                    )
            self.solver_ = solver
            self.n_iter_ = np.array([n_iter], np.int32)
            self._set_coefficients(theta, task)
            return self

    @available_if(_trains_in_minibatches)
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> "LogisticRegression":
        """Train on some rows once, in minibatches, going on from where an earlier call ended.

        Only with ``solver="sgd"``; the earlier call may have been a `fit` by another solver. The optimizer
        keeps its state from call to call.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)
            As wide in each call.
        y : array-like (n,)
            Labels, all among `classes`.
        classes : array-like (n_classes,), optional
            All labels that may ever come; needed by the first call.
        sample_weight : array-like (n,) or float, optional
            What each row's loss counts, at least 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As in `fit`; also if `classes` is missing at first, or differs later, or lacks a label of `y`.
        DivergenceError
            If the loss is not finite.
        """
        with as_it_was_if_refused(self):
            strength, fitted = self._check_parameters(), hasattr(self, "coef_")
            if isinstance(self.class_weight, str):
                raise InvalidValueError(
                    "class_weight: 'balanced' needs all samples at once; pass partial_fit a dict of weights"
                )
            X, y = self._check_data(X, y, reset=not fitted)
            self.classes_ = all_classes(y, classes, self.classes_ if fitted else None)
            task, labels, weights = self._task(X, y, sample_weight, strength)
            if not hasattr(self, "_minibatches"):
                self._minibatches = self._new_minibatches(task)
                if fitted:  # by another solver
                    self._minibatches.theta = self._start(task, (self.classes_, self._theta()))
            n_iter = self._minibatches.train(task.X, labels, weights, epochs=1, tol=None)
            self.solver_ = "sgd"
            self.n_iter_ = np.array([n_iter], np.int32)
            self._set_coefficients(self._minibatches.theta, task)
            return self

    def _check_parameters(self) -> Strength:
        for name in ("dual", "fit_intercept", "warm_start"):
            check_flag(getattr(self, name), name)
        check_number(self.tol, "tol", low=0.0)
        check_integer(self.max_iter, "max_iter", low=1)
        if self.solver == "liblinear":
            raise InvalidValueError(
                "solver: 'liblinear' penalises the intercept and is not here; with l1_ratio=0 take 'lbfgs', "
                "else 'coordinate', and the intercept is left alone"
            )
        check_choice(self.solver, "solver", (*SOLVERS, *ALIASES))
        if self.dual:
            raise InvalidValueError(
                "dual: must be False: that form is only for 'liblinear', which is not here"
            )
        if self.optimizer is not None and not isinstance(self.optimizer, Optimizer):
            raise InvalidTypeError(f"optimizer: expected one such as hl.Adam(1e-3), got {self.optimizer!r}")
        if self.batch_size is not None:
            check_integer(self.batch_size, "batch_size", low=1)
        return strength_of(self.penalty, self.l1_ratio, self.C)

    def _solver_for(self, strength: Strength) -> str:
        has_l1 = strength.l1_ratio > 0 and not math.isinf(strength.C)
        solver = ALIASES.get(self.solver, self.solver)
        if self.solver == "saga" and not has_l1:
            solver = "lbfgs"
        if has_l1 and solver in ("lbfgs", "newton-cg"):
            raise InvalidValueError(
                f"solver: {self.solver!r} needs a smooth objective, so l1_ratio=0; for l1_ratio="
                f"{strength.l1_ratio:g} take 'coordinate' or 'sgd'"
            )
        return solver

    def _check_data(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Array]:
        X, y = read(self, X, y, reset=reset, **HOW_TO_READ)
        check_classification_targets(y)
        return X, y

    def _task(self, X: Any, y: Array, sample_weight: Any, strength: Strength) -> tuple[Task, Array, Array]:
        """For kernels, and labels 0 … and weights of the rows for a `Trainer`."""
        found = samples_of(X, 0.0)
        if sparse.issparse(X):
            X = sparse.csr_array((found.values, found.indices, found.starts), shape=X.shape)
        else:
            X = found.values
        labels = np.searchsorted(self.classes_, y)
        n_classes = len(self.classes_)
        if sample_weight is None:
            weights = np.ones(len(y))
        else:
            if isinstance(sample_weight, numbers.Number):
                sample_weight = np.full(len(y), sample_weight)
            weights = check_weights(sample_weight, "sample_weight", len(y), np.dtype(np.float64))
            weights = weights.ravel().astype(np.float64)
        weights = weights * self._factors(labels, weights)[labels]
        total = float(weights.sum())
        of_penalty = 0.0 if math.isinf(strength.C) else 1 / (strength.C * total)
        task = Task(
            X=X, targets=2.0 * labels - 1 if n_classes == 2 else labels, weights=weights / total,
            n_logits=1 if n_classes == 2 else n_classes, fit_intercept=bool(self.fit_intercept),
            l1=of_penalty * strength.l1_ratio, l2=of_penalty * (1 - strength.l1_ratio),
        )  # fmt: skip
        return task, labels, weights

    def _factors(self, labels: Array, weights: Array) -> Array:
        """What the weights of each class are multiplied by."""
        n_classes = len(self.classes_)
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            # Of the sums of weights, as scikit-learn from 1.7 on: a row of weight 2 is two rows.
            sums = np.bincount(labels, weights, n_classes)
            return np.divide(weights.sum(), n_classes * sums, out=np.zeros(n_classes), where=sums > 0)
        factors = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_[labels])
        return check_weights(factors, "class_weight", n_classes, np.dtype(np.float64))[:, 0]

    def _new_minibatches(self, task: Task) -> MinibatchClassification:
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return MinibatchClassification(task, optimizer=self.optimizer, batch_size=self.batch_size, seed=seed)

    def _theta(self) -> Array:
        """`coef_` and `intercept_`, flat."""
        W = self.coef_.toarray() if sparse.issparse(self.coef_) else self.coef_
        return np.concatenate([W.ravel(), self.intercept_]).astype(np.float64)

    def _start(self, task: Task, before: tuple[Array, Array] | None) -> Array:
        k, p = task.n_logits, task.X.shape[1]
        start = np.zeros(k * (p + task.fit_intercept))
        if before is None:
            return start
        classes, theta = before
        if not np.array_equal(classes, self.classes_) or theta.size != k * (p + 1):
            raise InvalidValueError(
                "warm_start: the fit before had other classes or another number of features; "
                "set warm_start=False to start anew"
            )
        return theta[: start.size]

    def _set_coefficients(self, theta: Array, task: Task) -> None:
        k, p = task.n_logits, task.X.shape[1]
        theta = theta.astype(task.X.dtype)
        self.coef_ = theta[: k * p].reshape(k, p).copy()
        self.intercept_ = theta[k * p :].copy() if task.fit_intercept else np.zeros(k, theta.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

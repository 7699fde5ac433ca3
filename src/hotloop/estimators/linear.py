"""`LinearRegression` and `Ridge`: closed forms, and minibatches for data too large for them."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from hotloop._checks import check_choice, check_flag, check_integer, check_number
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.estimators._design import DenseDesign, Prepared, prepare
from hotloop.estimators._inputs import as_it_was_if_refused
from hotloop.estimators._least_squares import Solution, least_squares, nonnegative, ridge
from hotloop.estimators._minibatch import MinibatchRegression
from hotloop.estimators._regressor import SPARSE, LinearRegressor
from hotloop.optimizers import Optimizer

__all__ = ["LinearRegression", "Ridge"]

Array = NDArray[Any]

EPOCHS = 1000
"""Of ``solver="sgd"``, at most, where `max_iter` is None."""


def _trains_in_minibatches(estimator: Any) -> bool:
    """Whether `partial_fit` is there."""
    return bool(estimator.solver == "sgd")


def _steps(found: Solution) -> Any:
    return 1 if found.n_iter is None else found.n_iter


class _SquaredError(LinearRegressor, ABC):
    """What both have in common; they differ in α and in the closed form."""

    _solvers: ClassVar[tuple[str, ...]]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Find the coefficients.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)
            float32 is computed in float32. A memory map is never copied whole, with ``solver="sgd"`` nor
            by a well-conditioned closed form with more rows than columns. Sparse X becomes dense for "sgd"
            only some minibatches at a time.
        y : array-like (n,) or (n, n_targets)
        sample_weight : array-like (n,) or float, optional
            What each row's squared error counts, at least 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If the data are not numeric, finite and of the same length, or a parameter is out of its range.
        DivergenceError
            With ``solver="sgd"``, if the loss is not finite.

        Warns
        -----
        ConvergenceWarning
            With ``solver="sgd"``, if the loss still sinks after `max_iter` epochs, or is worse than without
            any coefficients.
        """
        with as_it_was_if_refused(self):
            self._check_parameters()
            if self.solver == "sgd":
                epochs = EPOCHS if self.max_iter is None else self.max_iter
                return self._fit_minibatches(X, y, sample_weight, anew=True, epochs=epochs, tol=self.tol)
            data = self._checked(X, y, sample_weight, sparse=False if self.positive else SPARSE)
            prepared = prepare(data.X, data.Y, data.weights, self.fit_intercept)
            self.__dict__.pop("_minibatches", None)
            coef = self._closed_form(prepared)
            intercept = prepared.y_means - prepared.x_means @ coef
            self._set_coefficients(coef, intercept, data.flat)
            return self

    @available_if(_trains_in_minibatches)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on some rows once, in minibatches, going on from where an earlier call ended.

        Only with ``solver="sgd"``; the earlier call may have been a `fit` by another solver. The optimizer
        keeps its state from call to call.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)
            As wide in each call. A memory map is never copied whole, nor a sparse matrix made dense.
        y : array-like (n,) or (n, n_targets)
            The first call's mean and standard deviation set the scale of training.
        sample_weight : array-like (n,) or float, optional
            What each row's squared error counts, at least 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As in `fit`.
        DivergenceError
            If the loss is not finite.
        """
        with as_it_was_if_refused(self):
            self._check_parameters()
            anew, fitted = not hasattr(self, "_minibatches"), hasattr(self, "coef_")
            return self._fit_minibatches(X, y, sample_weight, anew=anew, fitted=fitted, epochs=1, tol=None)

    def _fit_minibatches(
        self, X: Any, y: Any, sample_weight: Any, *, anew: bool, epochs: int, tol: float | None,
        fitted: bool = False,
    ) -> Any:  # fmt: skip
        reset = anew and not fitted
        X, Y, weights, flat = self._checked(X, y, sample_weight, dtype="numeric", sparse="csr", reset=reset)
        if anew:
            self._minibatches = MinibatchRegression(
                X, Y, weights, fit_intercept=self.fit_intercept, alpha=self._one_alpha(),
                optimizer=self.optimizer, batch_size=self.batch_size,
                seed=int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
            )  # fmt: skip
        n_targets = np.atleast_2d(self.coef_).shape[0] if fitted else self._minibatches.n_targets
        if Y.shape[1] != n_targets:
            raise InvalidValueError(f"y: has {Y.shape[1]} targets, but training began with {n_targets}")
        if anew and fitted:  # by another solver
            self._minibatches.start_from(np.atleast_2d(self.coef_).T, np.atleast_1d(self.intercept_))
        self.solver_ = "sgd"
        self.n_iter_ = self._minibatches.train(X, Y, weights, epochs=epochs, tol=tol)
        self._set_coefficients(*self._minibatches.coefficients(), flat)
        return self

    def _check_parameters(self) -> None:
        check_flag(self.fit_intercept, "fit_intercept")
        check_flag(self.positive, "positive")
        check_number(self.tol, "tol", low=0.0)
        check_choice(self.solver, "solver", self._solvers)
        if self.max_iter is not None:
            check_integer(self.max_iter, "max_iter", low=1)
        if self.optimizer is not None and not isinstance(self.optimizer, Optimizer):
            raise InvalidTypeError(f"optimizer: expected one such as hl.Adam(1e-3), got {self.optimizer!r}")
        if self.positive and self.solver != "auto":
            raise InvalidValueError(f"solver: with positive=True it must be 'auto', got {self.solver!r}")

    def _one_alpha(self) -> float:
        return 0.0

    @abstractmethod
    def _closed_form(self, prepared: Prepared) -> Array:
        """W (p, k)."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self.positive
        return tags


class LinearRegression(_SquaredError):
    """Ordinary least squares: the W and b that minimise Σᵢ sᵢ ‖yᵢ − Wᵀxᵢ − b‖², s being sample weights.

    The closed form is chosen by condition: a Cholesky factor of the smaller of XᵀX and XXᵀ (of the
    centred X) where that is accurate, else the singular value decomposition of X. Where many W are
    optimal, it is the one of least norm.

    Parameters
    ----------
    fit_intercept : bool, default True
        Whether there is a b; else it is 0.
    copy_X : bool, default True
        As in scikit-learn; X is never overwritten, whatever it says.
    tol : float, default 1e-6
        Closed form: singular values below `tol` times the largest count as 0. Sparse X with many columns:
        LSQR's `atol` and `btol`. ``solver="sgd"``: training stops when the loss has not sunk by `tol`
        variances of y in 5 epochs and 100 steps.
    n_jobs : int, optional
        As in scikit-learn; without effect.
    positive : bool, default False
        Whether W must be ≥ 0: then by active sets, dense X only.
    solver : {"auto", "svd", "lsqr", "sgd"}, default "auto"
        "auto" is the closed form; for sparse X with more than 1,000 columns it is "lsqr", which only
        multiplies by X. "svd" is the decomposition at any condition. "sgd" trains in minibatches, for data
        that do not fit into memory; it wants features of a scale of about 1.
    optimizer : Optimizer, optional
        For "sgd", with its learning rate: any of hotloop's, such as ``hl.SGD(0.01, momentum=0.9)``; by
        default Adam with rate 0.01 / √(1 + steps / 1000).
    batch_size : int or None, default 128
        For "sgd": rows of a minibatch; None means all rows.
    max_iter : int, optional
        For "sgd": at most so many epochs in `fit`, by default 1,000.
    random_state : int or RandomState, optional
        For "sgd": the order of the rows follows from it.

    Attributes
    ----------
    coef_ : ndarray (n_features,) or (n_targets, n_features)
        W, transposed.
    intercept_ : float or ndarray (n_targets,)
        b.
    rank_ : int
        Of the centred X. Only where X is dense and the solver a closed form.
    singular_ : ndarray (min(n, n_features),)
        Its singular values, the largest first; there where `rank_` is.
    solver_ : {"cholesky", "svd", "lsqr", "nnls", "sgd"}
        What was used.
    n_iter_ : int or ndarray (n_targets,)
        Epochs of the last call of "sgd", steps of "lsqr" for each target, 1 of a closed form.
    n_features_in_ : int
        Width of X.
    feature_names_in_ : ndarray (n_features,)
        Its columns' names, where it has some.

    Notes
    -----
    ``notes/002``, the closed form of least squares; it is never computed by an inverse, see
    ``hotloop/estimators/_least_squares.py``.

    Examples
    --------
    >>> import hotloop as hl, numpy as np
    >>> X = np.array([[1.0, 1.0], [1.0, 2.0], [2.0, 2.0], [2.0, 3.0]])
    >>> model = hl.LinearRegression().fit(X, X @ [1.0, 2.0] + 3)
    >>> model.coef_.round(6), model.intercept_.round(6)
    (array([1., 2.]), np.float64(3.0))

    Two equal columns share their weight:

    >>> hl.LinearRegression().fit([[1, 1], [2, 2], [3, 3]], [2, 4, 6]).coef_.round(6)
    array([1., 1.])
    """

    _solvers = ("auto", "svd", "lsqr", "sgd")

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        tol: float = 1e-6,
        n_jobs: int | None = None,
        positive: bool = False,
        solver: str = "auto",
        optimizer: Optimizer | None = None,
        batch_size: int | None = 128,
        max_iter: int | None = None,
        random_state: Any = None,
    ):
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.tol = tol
        self.n_jobs = n_jobs
        self.positive = positive
        self.solver = solver
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.random_state = random_state

    def _closed_form(self, prepared: Prepared) -> Array:
        design, Y = prepared.design, prepared.Y
        self.n_iter_ = 1
        if self.positive:
            self.solver_ = "nnls"
            return nonnegative(design, Y, np.zeros(Y.shape[1]))
        null = None
        if self.fit_intercept:
            null = np.ones(len(Y), Y.dtype) if prepared.roots is None else prepared.roots
        found = least_squares(design, Y, solver=self.solver, tol=self.tol, null=null)
        self.solver_, self.n_iter_ = found.solver, _steps(found)
        if found.singular is not None and isinstance(design, DenseDesign):
            self.rank_, self.singular_ = found.rank, found.singular
        return found.coef


class Ridge(_SquaredError):
    """Least squares with a penalty: Σᵢ sᵢ ‖yᵢ − Wᵀxᵢ − b‖² + α ‖W‖², s being sample weights.

    The closed form is chosen by condition: a Cholesky factor of XᵀX + αI, or of XXᵀ + αI if that is
    smaller, where that is accurate, else the singular value decomposition of X.

    Parameters
    ----------
    alpha : float or array-like (n_targets,), default 1.0
        α ≥ 0, for all targets or for each.
    fit_intercept : bool, default True
        Whether there is a b; else it is 0. It is not penalised.
    copy_X : bool, default True
        As in scikit-learn; X is never overwritten, whatever it says.
    max_iter : int, optional
        At most so many steps of "lsqr" (default: SciPy's) or epochs of "sgd" (default 1,000).
    tol : float, default 1e-4
        "lsqr": its `atol` and `btol`. "sgd": training stops when the loss has not sunk by `tol` variances
        of y in 5 epochs and 100 steps.
    solver : {"auto", "cholesky", "svd", "lsqr", "sgd"}, default "auto"
        "auto" is the closed form; for sparse X with more than 1,000 columns it is "lsqr", which only
        multiplies by X. "cholesky" and "svd" choose the form, at any condition (without a Cholesky factor it
        is still "svd"). "sgd" trains in minibatches, for data that do not fit into memory; it wants features
        of a scale of about 1, and one α.
    positive : bool, default False
        Whether W must be ≥ 0: then by active sets, dense X only.
    random_state : int or RandomState, optional
        For "sgd": the order of the rows follows from it.
    optimizer : Optimizer, optional
        For "sgd", with its learning rate: any of hotloop's, such as ``hl.SGD(0.01, momentum=0.9)``; by
        default Adam with rate 0.01 / √(1 + steps / 1000).
    batch_size : int or None, default 128
        For "sgd": rows of a minibatch; None means all rows.

    Attributes
    ----------
    coef_ : ndarray (n_features,) or (n_targets, n_features)
        W, transposed.
    intercept_ : float or ndarray (n_targets,)
        b.
    solver_ : {"cholesky", "svd", "lsqr", "nnls", "sgd"}
        What was used.
    n_iter_ : int or ndarray (n_targets,)
        Epochs of the last call of "sgd", steps of "lsqr" for each target, 1 of a closed form.
    n_features_in_ : int
        Width of X.
    feature_names_in_ : ndarray (n_features,)
        Its columns' names, where it has some.

    Notes
    -----
    ``notes/002``, regularizing the least-squares solution; its objective is (2/n)‖y − Xw‖² + (λ/2)‖w‖², so
    α = nλ/4. Sizes as in scikit-learn: errors are summed, not averaged.

    In `partial_fit` α counts next to the sum of squared errors over as many rows as the first call had.

    Examples
    --------
    >>> import hotloop as hl, numpy as np
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> hl.Ridge(alpha=2.0).fit(X, [0.0, 2.0, 4.0]).coef_
    array([1.])
    """

    _solvers = ("auto", "cholesky", "svd", "lsqr", "sgd")

    def __init__(
        self,
        alpha: Any = 1.0,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        max_iter: int | None = None,
        tol: float = 1e-4,
        solver: str = "auto",
        positive: bool = False,
        random_state: Any = None,
        optimizer: Optimizer | None = None,
        batch_size: int | None = 128,
    ):
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.max_iter = max_iter
        self.tol = tol
        self.solver = solver
        self.positive = positive
        self.random_state = random_state
        self.optimizer = optimizer
        self.batch_size = batch_size

    def _closed_form(self, prepared: Prepared) -> Array:
        design, Y = prepared.design, prepared.Y
        alphas = self._alphas(Y.shape[1])
        if self.positive:
            found = Solution(nonnegative(design, Y, alphas), "nnls")
        else:
            found = ridge(design, Y, alphas, solver=self.solver, tol=self.tol, max_iter=self.max_iter)
        self.solver_, self.n_iter_ = found.solver, _steps(found)
        return found.coef

    def _alphas(self, n_targets: int) -> Array:
        if np.ndim(self.alpha) == 0:
            return np.full(n_targets, check_number(self.alpha, "alpha", low=0.0))
        if np.shape(self.alpha) != (n_targets,):
            raise InvalidValueError(
                f"alpha: expected a number or one for each of the {n_targets} targets, got shape "
                f"{np.shape(self.alpha)}"
            )
        return np.array([check_number(a, f"alpha[{t}]", low=0.0) for t, a in enumerate(self.alpha)])

    def _one_alpha(self) -> float:
        if np.ndim(self.alpha) != 0:
            raise InvalidValueError("alpha: solver='sgd' takes one number, the same for all targets")
        return check_number(self.alpha, "alpha", low=0.0)

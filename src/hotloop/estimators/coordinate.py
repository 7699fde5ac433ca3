"""`Lasso` and `ElasticNet`: least squares whose penalty makes coefficients exactly 0."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from hotloop._checks import check_choice, check_flag, check_integer, check_number
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.estimators._design import DenseDesign, prepare
from hotloop.estimators._inputs import as_it_was_if_refused
from hotloop.estimators._lasso import Found, Problem, by_coordinates, by_proximal_gradient
from hotloop.estimators._regressor import LinearRegressor
from hotloop.extras import require

__all__ = ["ElasticNet", "Lasso"]

Array = NDArray[Any]


class ElasticNet(LinearRegressor):
    """Least squares with both penalties: (1/2n) ‖y − Xw − b‖² + αρ ‖w‖₁ + ½α(1 − ρ) ‖w‖².

    Several targets are solved one after the other.

    Parameters
    ----------
    alpha : float, default 1.0
        α ≥ 0.
    l1_ratio : float, default 0.5
        ρ, from 0 (ridge) to 1 (lasso).
    fit_intercept : bool, default True
        Whether there is a b; else it is 0. It is not penalised.
    precompute : bool, default False
        Coordinate descent on XᵀX instead of X: its sweeps cost p² instead of np, so it pays with many more
        rows than columns and many sweeps. Without effect on sparse X, as in scikit-learn.
    max_iter : int, default 1000
        At most so many sweeps over the coefficients, or steps of the proximal gradient.
    copy_X : bool, default True
        As in scikit-learn; X is never overwritten, whatever it says.
    tol : float, default 1e-4
        Ends when the duality gap, an upper bound on what the objective is above its minimum, is at most
        tol · ‖y − ȳ‖² / n. The gap is looked at when no coefficient moves more than `tol` of the largest.
    warm_start : bool, default False
        Begin at the coefficients of the last `fit`.
    positive : bool, default False
        Whether w must be ≥ 0.
    random_state : int or RandomState, optional
        The random orders follow from it.
    selection : {"cyclic", "random"}, default "cyclic"
        The order of the coefficients: as they come, or a random order for each sweep. (scikit-learn draws
        with replacement.)
    solver : {"coordinate", "proximal"}, default "coordinate"
        Coordinate descent, or the accelerated proximal gradient, FISTA.

    Attributes
    ----------
    coef_ : ndarray (n_features,) or (n_targets, n_features)
        w; one row a target if there are several.
    sparse_coef_ : sparse matrix (n_targets, n_features)
        The same, only what is not 0.
    intercept_ : float or ndarray (n_targets,)
        b.
    dual_gap_ : float or ndarray (n_targets,)
        What the objective is at most above its minimum.
    n_iter_ : int or list of int
        Sweeps or steps, for each target.
    n_features_in_ : int
        Width of X.
    feature_names_in_ : ndarray (n_features,)
        Its columns' names, where it has some.

    Notes
    -----
    Friedman, Hastie and Tibshirani, "Regularization paths for generalized linear models via coordinate
    descent" (2010), section 2; Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm"
    (2009), section 4. The penalties are those of ``notes/002``, norms and regularization.

    Examples
    --------
    >>> import numpy as np
    >>> from hotloop.estimators import ElasticNet
    >>> X = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> ElasticNet(alpha=1.0).fit(X, X @ [2.0, 0.1]).coef_
    array([1., 0.])
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        precompute: bool = False,
        max_iter: int = 1000,
        copy_X: bool = True,
        tol: float = 1e-4,
        warm_start: bool = False,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
        solver: str = "coordinate",
    ):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.max_iter = max_iter
        self.copy_X = copy_X
        self.tol = tol
        self.warm_start = warm_start
        self.positive = positive
        self.random_state = random_state
        self.selection = selection
        self.solver = solver

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Find the coefficients.

        Parameters
        ----------
        X : array-like or sparse matrix (n, n_features)
            float32 is computed in float32. Sparse X is not made dense.
        y : array-like (n,) or (n, n_targets)
        sample_weight : array-like (n,) or float, optional
            What each row's squared error counts, at least 0; only their proportions matter.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If the data are not numeric, finite and of the same length, or a parameter is out of its range.

        Warns
        -----
        ConvergenceWarning
            If the duality gap is still above its limit after `max_iter` sweeps or steps.
        """
        with as_it_was_if_refused(self):
            self._check_parameters()
            X, Y, weights, flat = self._checked(X, y, sample_weight)
            design, Y, x_means, y_means, _ = prepare(X, Y, weights, self.fit_intercept)
            if isinstance(design, DenseDesign):
                design = DenseDesign(design.dense())  # all sweeps read it
            squares, gram = design.squares(), None
            if self.precompute and isinstance(design, DenseDesign):
                gram, _ = design.gram_and_moments(Y)
                squares = np.diag(gram).copy()
            total = float(len(Y) if weights is None else weights.sum(dtype=np.float64))
            l1, l2 = self.alpha * self.l1_ratio * total, self.alpha * (1 - self.l1_ratio) * total
            starts, found = self._starts(design.shape[1], Y), []
            for y, start in zip(Y.T, starts, strict=True):
                problem = Problem(design, np.ascontiguousarray(y), squares, l1, l2, self.positive)
                found.append(self._solve(problem, start, total, gram))
            W = np.stack([one.w for one in found])
            gaps, steps = np.array([one.gap for one in found]) / total, [one.n_iter for one in found]
            self._set_coefficients(W.T, y_means - W @ x_means, flat)
            self.n_iter_: int | list[int] = steps
            self.dual_gap_: float | Array = gaps
            if len(found) == 1:  # also where y is a column: so in scikit-learn
                self.coef_, self.n_iter_, self.dual_gap_ = W[0], steps[0], float(gaps[0])
            return self

    def _check_parameters(self) -> None:
        check_number(self.alpha, "alpha", low=0.0)
        if check_number(self.l1_ratio, "l1_ratio", low=0.0) > 1:
            raise InvalidValueError(f"l1_ratio: must be from 0 to 1, got {self.l1_ratio!r}")
        if not isinstance(self.precompute, (bool, np.bool_)):
            raise InvalidTypeError(
                f"precompute: expected True or False, got {type(self.precompute).__name__}; a Gram matrix of "
                "your own is not taken, True computes it"
            )
        for name in ("fit_intercept", "warm_start", "positive"):
            check_flag(getattr(self, name), name)
        check_integer(self.max_iter, "max_iter", low=1)
        check_number(self.tol, "tol", low=0.0)
        check_choice(self.selection, "selection", ("cyclic", "random"))
        check_choice(self.solver, "solver", ("coordinate", "proximal"))

    def _starts(self, n_features: int, Y: Array) -> Array:
        start = np.zeros((Y.shape[1], n_features), Y.dtype)
        if self.warm_start and hasattr(self, "coef_") and np.atleast_2d(self.coef_).shape == start.shape:
            start[:] = self.coef_
        return start

    def _solve(self, problem: Problem, start: Array, total: float, gram: Array | None) -> Found:
        if self.solver == "proximal":
            found = by_proximal_gradient(problem, start, tol=self.tol, max_iter=self.max_iter)
        else:
            rng = check_random_state(self.random_state) if self.selection == "random" else None
            found = by_coordinates(problem, start, tol=self.tol, max_iter=self.max_iter, rng=rng, gram=gram)
        if not (np.isfinite(found.gap) and np.isfinite(found.w).all()):
            raise InvalidValueError("X: its numbers are so large that the coefficients overflow; rescale it")
        if not found.converged:
            limit = self.tol * float(problem.y @ problem.y)
            warnings.warn(
                f"the duality gap is {found.gap / total:.3g} after {found.n_iter} iterations, its limit "
                f"{limit / total:.3g}; raise max_iter, standardise the features, or penalise more",
                ConvergenceWarning,
                stacklevel=3,
            )
        return found

    @property
    def sparse_coef_(self) -> Any:
        """`coef_` as a sparse matrix (n_targets, n_features)."""
        sparse = require("scipy.sparse", "sklearn", "sparse_coef_")
        return sparse.csr_matrix(np.atleast_2d(self.coef_))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class Lasso(ElasticNet):
    """Least squares with the L1 penalty: (1/2n) ‖y − Xw − b‖² + α ‖w‖₁.

    `ElasticNet` with ``l1_ratio=1``, which has the details.

    Parameters
    ----------
    alpha : float, default 1.0
        α ≥ 0. With 0 use `LinearRegression`, which is exact.
    fit_intercept : bool, default True
        Whether there is a b; else it is 0. It is not penalised.
    precompute : bool, default False
        Coordinate descent on XᵀX instead of X.
    copy_X : bool, default True
        As in scikit-learn; X is never overwritten, whatever it says.
    max_iter : int, default 1000
        At most so many sweeps over the coefficients, or steps of the proximal gradient.
    tol : float, default 1e-4
        Ends when the duality gap is at most tol · ‖y − ȳ‖² / n.
    warm_start : bool, default False
        Begin at the coefficients of the last `fit`.
    positive : bool, default False
        Whether w must be ≥ 0.
    random_state : int or RandomState, optional
        The random orders follow from it.
    selection : {"cyclic", "random"}, default "cyclic"
        The order of the coefficients: as they come, or a random order for each sweep.
    solver : {"coordinate", "proximal"}, default "coordinate"
        Coordinate descent, or the accelerated proximal gradient, FISTA.

    Attributes
    ----------
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        As of `ElasticNet`.

    Notes
    -----
    Tibshirani, "Regression shrinkage and selection via the lasso" (1996); ``notes/002``, L1 正则化.

    Examples
    --------
    >>> import hotloop as hl, numpy as np
    >>> X = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> hl.Lasso(alpha=0.5).fit(X, X @ [2.0, 0.1]).coef_
    array([1.5, 0. ])
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        precompute: bool = False,
        copy_X: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
        solver: str = "coordinate",
    ):
        super().__init__(
            alpha, l1_ratio=1.0, fit_intercept=fit_intercept, precompute=precompute, max_iter=max_iter,
            copy_X=copy_X, tol=tol, warm_start=warm_start, positive=positive, random_state=random_state,
            selection=selection, solver=solver,
        )  # fmt: skip

"""Closed forms of least squares and ridge regression, chosen by condition; no inverse is ever formed.

Where the smaller of XᵀX and XXᵀ is well conditioned, a Cholesky factor of it is the fast way; forming it
squares the condition number κ of X, so beyond κ(X) = ε^(-1/4) the singular value decomposition of X
itself takes over, which also finds the solution of least norm where there are many. In between, one step
of iterative refinement, whose residual comes from X and not from the product, wins back what squaring
lost: Björck, "Numerical Methods for Least Squares Problems" (1996), sections 2.2 and 6.6.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop.estimators._design import Design, SparseDesign
from hotloop.extras import require

linalg = require("scipy.linalg", "sklearn", "hotloop's linear models")
splinalg = require("scipy.sparse.linalg", "sklearn", "hotloop's linear models")
optimize = require("scipy.optimize", "sklearn", "hotloop's linear models")

Array = NDArray[Any]

SMALL_GRAM = 1000
"""Sparse data of at most so many columns go through XᵀX, which is then a small dense matrix."""

SMALL_DENSE = 10**7
"""Sparse data of at most so many numbers, zeros included, are made dense for a decomposition."""


class Solution(NamedTuple):
    """Coefficients (p, k), and how they were found.

    Attributes
    ----------
    solver : {"cholesky", "svd", "lsqr"}
    rank : int
    singular : ndarray (min(n, p),) or None
        Singular values of the design, largest first; None where nothing needed them.
    n_iter : ndarray (k,) or None
        Steps of LSQR for each target.
    """

    coef: Array
    solver: str
    rank: int = 0
    singular: Array | None = None
    n_iter: Array | None = None


# --- least squares ----------------------------------------------------------------------------------


def least_squares(design: Design, Y: Array, *, solver: str, tol: float, null: Array | None) -> Solution:
    """The W (p, k) of least norm that minimises ‖Y − XW‖.

    Singular values below `tol` times the largest count as 0. `null` is a vector (n,) with nullᵀX = 0, if
    one is known: √weight, when columns were centred.
    """
    if solver == "lsqr":
        return lsqr(design, Y, np.zeros(Y.shape[1]), tol, None)
    if solver == "auto":
        found = _by_cholesky(design, Y, tol, null)
        if found is not None:
            return found
        if _stays_sparse(design):
            return lsqr(design, Y, np.zeros(Y.shape[1]), tol, None)
    n, p = design.shape
    tol = max(tol, float(np.finfo(design.dtype).eps) * max(n, p))
    coef, _, rank, singular = linalg.lstsq(design.dense(), Y, cond=tol, overwrite_a=True, check_finite=False)
    return Solution(coef, "svd", int(rank), singular)


def _by_cholesky(design: Design, Y: Array, tol: float, null: Array | None) -> Solution | None:
    """The solution through the smaller product, or None if its condition forbids."""
    n, p = design.shape
    if isinstance(design, SparseDesign) and p > SMALL_GRAM:
        return None
    if p <= n or isinstance(design, SparseDesign):
        gram, moments = design.gram_and_moments(Y)
        values = linalg.eigvalsh(gram, check_finite=False)
        if not _well_conditioned(design, gram, values, tol):
            return None
        factor = linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
        coef = _cho_solve(factor, moments)
        if _needs_refinement(values[0] / values[-1], design.dtype):
            coef += _cho_solve(factor, design.transposed_times(Y - design.times(coef)))
        return Solution(coef, "cholesky", p, np.sqrt(values[::-1]))

    X = design.dense()
    outer = X @ X.T
    values = linalg.eigvalsh(outer, check_finite=False)
    if null is not None:
        # One eigenvalue is 0, and its direction has no part in Y: any other value there does as well.
        null = null / np.linalg.norm(null)
        outer += values[-1] * np.outer(null, null)
        values[0] = 0
    nonzero = values if null is None else values[1:]
    if not _well_conditioned(design, outer, nonzero, tol):
        return None
    factor = linalg.cho_factor(outer, overwrite_a=True, check_finite=False)
    coef = X.T @ _cho_solve(factor, Y)
    if _needs_refinement(nonzero[0] / nonzero[-1], design.dtype):
        coef += X.T @ _cho_solve(factor, Y - X @ coef)
    return Solution(coef, "cholesky", len(nonzero), np.sqrt(values[::-1]))


def _well_conditioned(design: Design, product: Array, values: Array, tol: float) -> bool:
    """Whether XᵀX or XXᵀ, with these eigenvalues, says enough about X."""
    if not len(values):
        return False
    smallest = max(float(np.finfo(design.dtype).eps) ** 0.5, tol**2) * values[-1]
    return bool(values[0] > smallest) and not _cancelled(design, product)


def _cancelled(design: Design, gram: Array) -> bool:
    """Whether taking the means out of a sparse XᵀX has left mostly rounding errors on its diagonal."""
    if not isinstance(design, SparseDesign):
        return False
    removed = design.columns().total * design.columns().means ** 2
    return bool(np.any(np.diag(gram) <= np.finfo(design.dtype).eps ** 0.5 * removed))


def _stays_sparse(design: Design) -> bool:
    return isinstance(design, SparseDesign) and design.shape[0] * design.shape[1] > SMALL_DENSE


def _needs_refinement(rcond: float, dtype: np.dtype[Any]) -> bool:
    return rcond < float(np.finfo(dtype).eps) ** 0.25


def _cho_solve(factor: tuple[Array, bool], right: Array) -> Array:
    return np.asarray(linalg.cho_solve(factor, right, check_finite=False))


# --- ridge ------------------------------------------------------------------------------------------


def ridge(
    design: Design, Y: Array, alphas: Array, *, solver: str, tol: float, max_iter: int | None
) -> Solution:
    """The W (p, k) that minimises ‖Yₜ − XWₜ‖² + αₜ‖Wₜ‖² for each target t; `alphas` has shape (k,).

    Where α is 0 and there are many such W, the one of least norm.
    """
    if solver == "auto" and isinstance(design, SparseDesign) and design.shape[1] > SMALL_GRAM:
        solver = "lsqr"
    if solver == "lsqr":
        return lsqr(design, Y, alphas, tol, max_iter)
    if solver in ("auto", "cholesky"):
        coef = _ridge_by_cholesky(design, Y, alphas, at_any_condition=solver == "cholesky")
        if coef is not None:
            return Solution(coef, "cholesky")
        if _stays_sparse(design):
            return lsqr(design, Y, alphas, tol, max_iter)
    return Solution(_ridge_by_svd(design, Y, alphas), "svd")


def _ridge_by_cholesky(
    design: Design, Y: Array, alphas: Array, *, at_any_condition: bool
) -> Array | None:  # fmt: skip
    n, p = design.shape
    coef = np.empty((p, Y.shape[1]), design.dtype)
    primal = p <= n or isinstance(design, SparseDesign)
    if primal:
        product, moments = design.gram_and_moments(Y)
        if _cancelled(design, product):
            return None
    else:
        X = design.dense()
        product = X @ X.T
    for alpha in np.unique(alphas):
        of = alphas == alpha
        found = _factor(product, alpha)
        if found is None:
            return None
        factor, rcond = found
        if not at_any_condition and rcond < np.finfo(design.dtype).eps ** 0.5:
            return None
        refine = _needs_refinement(rcond, design.dtype)
        if primal:
            w = _cho_solve(factor, moments[:, of])
            if refine:
                rest = design.transposed_times(Y[:, of] - design.times(w))
                w += _cho_solve(factor, rest - alpha * w)
        else:
            dual = _cho_solve(factor, Y[:, of])
            w = X.T @ dual
            if refine:
                w += X.T @ _cho_solve(factor, Y[:, of] - X @ w - alpha * dual)
        coef[:, of] = w
    return coef


def _factor(product: Array, alpha: float) -> tuple[tuple[Array, bool], float] | None:
    """The Cholesky factor of product + αI and an estimate of 1/κ, or None if there is no factor."""
    matrix = product.copy(order="F")
    matrix.flat[:: len(matrix) + 1] += alpha
    norm = np.linalg.norm(matrix, 1)
    try:
        factor = linalg.cho_factor(matrix, overwrite_a=True, check_finite=False)
    except linalg.LinAlgError:
        return None
    (pocon,) = linalg.get_lapack_funcs(("pocon",), (matrix,))
    rcond, _ = pocon(factor[0], norm, uplo="L" if factor[1] else "U")
    return factor, float(rcond)


def _ridge_by_svd(design: Design, Y: Array, alphas: Array) -> Array:
    U, s, Vt = linalg.svd(design.dense(), full_matrices=False, overwrite_a=True, check_finite=False)
    kept = s > np.finfo(design.dtype).eps * max(design.shape) * s[:1].max(initial=0)
    U, s, Vt = U[:, kept], s[kept], Vt[kept]
    filters = s[:, None] / (s[:, None] ** 2 + alphas.astype(design.dtype))
    return np.asarray(Vt.T @ (filters * (U.T @ Y)))


# --- large sparse, and nonnegative ------------------------------------------------------------------


def lsqr(design: Design, Y: Array, alphas: Array, tol: float, max_iter: int | None) -> Solution:
    """Either problem by Paige and Saunders' LSQR (1982), which only multiplies by X and Xᵀ."""
    operator = splinalg.LinearOperator(
        design.shape, matvec=design.times, rmatvec=design.transposed_times, dtype=design.dtype
    )
    coef = np.empty((design.shape[1], Y.shape[1]), design.dtype)
    n_iter = np.empty(Y.shape[1], np.int32)
    for t, alpha in enumerate(alphas):
        damp = float(np.sqrt(alpha))
        found = splinalg.lsqr(operator, Y[:, t], damp=damp, atol=tol, btol=tol, iter_lim=max_iter)
        coef[:, t], n_iter[t] = found[0], found[2]
    return Solution(coef, "lsqr", n_iter=n_iter)


def nonnegative(design: Design, Y: Array, alphas: Array) -> Array:
    """Either problem over W ≥ 0, by Lawson and Hanson's active sets; ridge as rows √α·I below X."""
    X, p = design.dense(), design.shape[1]
    coef = np.empty((p, Y.shape[1]), design.dtype)
    for t, alpha in enumerate(alphas):
        if alpha == 0:
            coef[:, t] = optimize.nnls(X, Y[:, t])[0]
        else:
            below = np.sqrt(alpha) * np.eye(p)
            coef[:, t] = optimize.nnls(np.vstack([X, below]), np.append(Y[:, t], np.zeros(p)))[0]
    return coef

"""Some eigenvalues and eigenvectors of the Hessian."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop import extras
from hotloop._checks import check_choice, check_integer, check_number
from hotloop.analysis.functions import Differentiable
from hotloop.analysis.lanczos import lanczos, ritz
from hotloop.analysis.operators import Curvature
from hotloop.errors import InvalidValueError

__all__ = ["DENSE_SIZE", "Eigenpairs", "check_method", "check_zero", "eigsh"]

DENSE_SIZE = 1000
"""Up to this size of θ the Hessian is formed and decomposed: 8 MB, and some tenths of a second."""

SCALE_STEPS = 20
"""Steps of Lanczos' method for the largest |λ|, to some percent."""
BEYOND = 1.001
"""What is added is so much of it: the sum of −s I and s I would be 0, or rounding, which ARPACK refuses."""

BASIS = 40
"""Vectors that ARPACK holds, if k asks for no more: with fewer it restarts too often."""

ZERO = {"dense": 1e-6, "lanczos": 1e-4}
"""The |λ| that counts as 0, in units of the largest; Lanczos' method has to resolve it, and pays for it."""


@dataclass(frozen=True, repr=False, eq=False)
class Eigenpairs:
    """Eigenvalues λ of a Hessian H with their eigenvectors.

    Attributes
    ----------
    values : ndarray (k,)
        λ, ascending.
    vectors : ndarray (k, size)
        A unit eigenvector a row, its entry of largest absolute value positive.
    residuals : ndarray (k,)
        ‖Hv − λv‖: an eigenvalue of H is at most so far from λ.
    scale : float
        The largest |λ| of H; by Lanczos' method an estimate from below.
    n_hvp : int
        Products of H and a vector that were taken; the whole H counts as `size` of them.

    Examples
    --------
    >>> import hotloop as hl
    >>> bowl = hl.Function(lambda t: t[0] ** 2 + 3 * t[1] ** 2, 2, hessian=lambda t: [[2, 0], [0, 6]])
    >>> hl.eigsh(bowl, [0.0, 0.0], k=1)
    Eigenpairs(1 eigenvalue, 6; residuals up to 0; 2 products)
    """

    values: NDArray[np.float64]
    vectors: NDArray[np.float64]
    residuals: NDArray[np.float64]
    scale: float
    n_hvp: int

    def __repr__(self) -> str:
        k, low, high = len(self.values), self.values[0], self.values[-1]
        values = f"1 eigenvalue, {low:.4g}" if k == 1 else f"{k} eigenvalues from {low:.4g} to {high:.4g}"
        return f"Eigenpairs({values}; residuals up to {self.residuals.max():.1g}; {self.n_hvp} products)"


def eigsh(
    objective: Differentiable,
    theta: Any,
    k: int = 6,
    *,
    which: str = "LA",
    method: str = "auto",
    tol: float = 1e-4,
    max_iter: int = 300,
    seed: int = 0,
) -> Eigenpairs:
    """Eigenvalues at the ends of the Hessian's spectrum, with their eigenvectors.

    Parameters
    ----------
    objective : Objective or Function
        With second derivatives.
    theta : array-like (size,)
        Where.
    k : int, default 6
        How many eigenvalues.
    which : {"LA", "SA", "LM", "BE"}, default "LA"
        The largest, the smallest, those of largest absolute value, or half from each end (for odd k
        one more of the largest); the names are SciPy's.
    method : {"auto", "dense", "lanczos"}, default "auto"
        Decompose the whole Hessian, which is exact, or find its ends by Lanczos' method, which takes
        some tens or hundreds of products with vectors and needs k < size. ``"auto"`` is ``"dense"``
        up to size 1000.
    tol : float, default 1e-4
        Residual at which Lanczos' method stops, in units of the largest |λ| (for ``"LM"`` of the
        eigenvalue itself). The error of an eigenvalue apart from others is about its square. In a
        crowd near 0, as networks have it, a hundredth of it takes ten times as many products.
    max_iter : int, default 300
        Restarts of Lanczos' method, of some 20 products or more each.
    seed : int, default 0
        Of the vector that Lanczos' method starts from: the same seed, the same result.

    Returns
    -------
    Eigenpairs
        Of those eigenvalues that have converged; where they are fewer than k a warning says so.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described, or no eigenvalue converged within `max_iter`.
    MissingExtraError
        If Lanczos' method is needed and SciPy is not installed.

    Notes
    -----
    ``notes/000``, 2.3.2, and ``notes/004``: along a unit eigenvector the second derivative is λ.
    ARPACK, through `scipy.sparse.linalg.eigsh`, on H + s I or s I − H with s just above the largest |λ|, so
    that its tolerance is relative to s at eigenvalues near 0 too. From one vector Lanczos' method sees of
    an eigenvalue that occurs several times one copy; the others come late, by rounding, or not at all.

    Examples
    --------
    >>> import hotloop as hl
    >>> saddle = hl.Function(lambda t: t[0] ** 2 - t[1] ** 2, 2, hessian=lambda t: [[2, 0], [0, -2]])
    >>> found = hl.eigsh(saddle, [0.0, 0.0], k=1, which="SA")
    >>> found.values, found.vectors
    (array([-2.]), array([[0., 1.]]))
    """
    curvature = Curvature(objective, theta)
    k = check_integer(k, "k", low=1)
    which = check_choice(which, "which", ("LA", "SA", "LM", "BE"))
    tol = check_number(tol, "tol", low=0.0)
    max_iter = check_integer(max_iter, "max_iter", low=1)
    seed = check_integer(seed, "seed", low=0)
    dense = check_method(method, curvature.size)
    limit = curvature.size if dense else curvature.size - 1
    if k > limit:
        raise InvalidValueError(
            f"k: at most {limit} eigenvalues, as θ has {curvature.size} numbers, got {k}"
            + ("" if dense else "; method='dense' finds all")
        )
    if dense:
        H = curvature.dense()
        values, columns = np.linalg.eigh(H)
        scale, vectors = float(np.abs(values).max()), columns.T[_chosen(values, k, which)]
        products = vectors @ H
    else:
        scale, vectors = _by_lanczos(curvature, k, which, tol, max_iter, seed)
        if len(vectors) == 0:
            raise InvalidValueError(
                f"max_iter: no eigenvalue converged to tol={tol:g} within {max_iter} restarts; "
                "allow more, or a larger tol"
            )
        if len(vectors) < k:
            warnings.warn(
                f"only {len(vectors)} of {k} eigenvalues converged to tol={tol:g} within {max_iter} "
                "restarts and are returned; allow more, or a larger tol",
                stacklevel=2,
            )
        products = curvature(vectors)
    return _pairs(vectors, products, scale, curvature.n_products)


def check_method(method: str, size: int) -> bool:
    """Whether `method` means the dense way for θ of this size."""
    method = check_choice(method, "method", ("auto", "dense", "lanczos"))
    return method == "dense" or (method == "auto" and size <= DENSE_SIZE)


def check_zero(eigenvalue_tol: float | None, dense: bool) -> float:
    """`eigenvalue_tol`, or what suits the method."""
    if eigenvalue_tol is None:
        return ZERO["dense" if dense else "lanczos"]
    return check_number(eigenvalue_tol, "eigenvalue_tol", low=0.0, below=1.0)


def _chosen(values: NDArray[np.float64], k: int, which: str) -> NDArray[np.intp]:
    """Which k of the ascending `values`."""
    order = np.argsort(np.abs(values)) if which == "LM" else np.arange(len(values))
    low = {"SA": k, "BE": k // 2}.get(which, 0)
    return np.concatenate([order[:low], order[len(order) - (k - low) :]])


def _by_lanczos(
    curvature: Curvature, k: int, which: str, tol: float, max_iter: int, seed: int
) -> tuple[float, NDArray[np.float64]]:
    """(the largest |λ|, about; as many of the vectors (k, size) as converged)."""
    linalg = extras.require("scipy.sparse.linalg", "analysis", "hl.eigsh")
    size, start = curvature.size, np.random.default_rng(seed).standard_normal(curvature.size)
    scale = float(np.abs(ritz(lanczos(curvature, start, SCALE_STEPS))[0]).max())
    if which == "LM" and scale > 0:
        ends = [(k, 1, 0.0)]
    else:
        low = {"SA": k, "BE": k // 2}.get(which, 0)
        ends = [(n, sign, BEYOND * scale or 1.0) for n, sign in ((k - low, 1), (low, -1)) if n]
    found = []
    for n, sign, shift in ends:

        def product(v: NDArray[Any], sign: int = sign, shift: float = shift) -> NDArray[Any]:
            """(s I ± H) v."""
            return sign * curvature(v) + shift * v

        operator = linalg.LinearOperator((size, size), matvec=product, dtype=np.float64)
        options = {"which": "LM" if shift == 0 else "LA", "ncv": min(size, max(2 * n + 1, BASIS))}
        try:
            _, columns = linalg.eigsh(operator, n, v0=start, tol=tol, maxiter=max_iter, **options)
        except linalg.ArpackNoConvergence as partial:
            columns = partial.eigenvectors
        found.append(columns.T)
    return scale, np.concatenate(found)


def _pairs(
    vectors: NDArray[np.float64], products: NDArray[np.float64], scale: float, n_hvp: int
) -> Eigenpairs:
    """Unit vectors v (k, size) and their H v, with the values vᵀHv that fit them best."""
    values = np.einsum("ij,ij->i", vectors, products)
    residuals = np.linalg.norm(products - values[:, None] * vectors, axis=1)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    order = np.argsort(values)
    return Eigenpairs(values[order], (vectors * np.sign(largest))[order], residuals[order], scale, n_hvp)

"""The design matrix of a linear model: X, its means taken out and its rows scaled by √weight.

With an intercept b, the optimal b makes the residual's weighted mean 0, so b = ȳ − x̄ᵀw, and w solves the
same problem without an intercept on X − x̄ and y − ȳ. A weight s of a row multiplies its squared error:
the same as multiplying the row and its target by √s.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop.engine.coordinate import SparseColumns
from hotloop.extras import require

sparse = require("scipy.sparse", "sklearn", "hotloop's linear models")

Array = NDArray[Any]

PIECE_BYTES = 1 << 20
"""X is centred in pieces of this size: they are still in the second cache when they are multiplied."""


class Design(ABC):
    """A centred and scaled matrix (n, p) that is never written to, and copied whole only by `dense`."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    @abstractmethod
    def gram_and_moments(self, Y: Array) -> tuple[Array, Array]:
        """XᵀX (p, p) and XᵀY (p, k)."""

    @abstractmethod
    def times(self, W: Array) -> Array:
        """X W: of shape (n,) or (n, k)."""

    @abstractmethod
    def transposed_times(self, R: Array) -> Array:
        """Xᵀ R: of shape (p,) or (p, k)."""

    @abstractmethod
    def squares(self) -> Array:
        """‖xⱼ‖² of each column, shape (p,); exactly 0 for a column that is constant but for rounding."""

    @abstractmethod
    def dense(self) -> Array:
        """All of it, shape (n, p): a copy, which may be written to."""

    @abstractmethod
    def columns(self) -> Any:
        """What the kernels of coordinate descent read."""


class DenseDesign(Design):
    """Centred and scaled while it is read, a piece at a time: a memory map is never in memory whole."""

    def __init__(self, X: Array, means: Array | None = None, roots: Array | None = None):
        self._X, self._means, self._roots = X, means, roots
        self.shape, self.dtype = X.shape, X.dtype

    def _pieces(self, least: int = 1) -> Iterator[tuple[slice, Array]]:
        """All rows in order, at least `least` at a time."""
        n, p = self.shape
        as_it_is = self._means is None and self._roots is None
        step = n if as_it_is else max(least, PIECE_BYTES // max(1, p * self.dtype.itemsize))
        for first in range(0, n, step):
            rows = slice(first, min(first + step, n))
            piece = self._X[rows]
            if self._means is not None:
                piece = piece - self._means
            if self._roots is not None:
                piece = piece * self._roots[rows, None]
            yield rows, piece

    def gram_and_moments(self, Y: Array) -> tuple[Array, Array]:
        p = self.shape[1]
        gram, moments = np.zeros((p, p), self.dtype), np.zeros((p, Y.shape[1]), self.dtype)
        # Adding up costs p² a piece: with 2p rows it is little next to the product.
        for rows, piece in self._pieces(least=2 * p):
            gram += piece.T @ piece
            moments += piece.T @ Y[rows]
        return gram, moments

    def times(self, W: Array) -> Array:
        out = np.empty((self.shape[0], *W.shape[1:]), self.dtype)
        for rows, piece in self._pieces():
            out[rows] = piece @ W
        return out

    def transposed_times(self, R: Array) -> Array:
        out = np.zeros((self.shape[1], *R.shape[1:]), self.dtype)
        for rows, piece in self._pieces():
            out += piece.T @ R[rows]
        return out

    def columns(self) -> Array:
        """Xᵀ (p, n) in C order, for the kernels, which only read it: no copy where X is that already."""
        if self._means is None and self._roots is None and self._X.flags.f_contiguous:
            return self._X.T
        return self.dense().T

    def squares(self) -> Array:
        out = np.zeros(self.shape[1], self.dtype)
        for _, piece in self._pieces():
            out += np.einsum("ij,ij->j", piece, piece)
        return out

    def dense(self) -> Array:
        out = np.empty(self.shape, self.dtype, order="F")  # what LAPACK and coordinate descent read
        for rows, piece in self._pieces():
            out[rows] = piece
        return out


class SparseDesign(Design):
    """A sparse matrix in CSC form; the means are taken out of the products, not of the matrix."""

    def __init__(self, X: Any, means: Array | None, roots: Array | None):
        if roots is not None:
            X = sparse.diags_array(roots) @ X
        # Checked in full, since kernels use its indices; in a copy, since it may have to be put in order.
        X = sparse.csc_array(X)
        X.check_format(full_check=True)
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        self.shape, self.dtype = X.shape, X.dtype
        self._X, self._roots = X, np.ones(X.shape[0], X.dtype) if roots is None else roots
        self._means = np.zeros(X.shape[1], X.dtype) if means is None else means
        self._total = self._roots @ self._roots

    def columns(self) -> SparseColumns:
        """For the kernels."""
        X = self._X
        return SparseColumns(X.data, X.indices, X.indptr, self._means, self._total)

    def gram_and_moments(self, Y: Array) -> tuple[Array, Array]:
        gram = (self._X.T @ self._X).toarray()
        return gram - self._total * np.outer(self._means, self._means), self.transposed_times(Y)

    def times(self, W: Array) -> Array:
        shift = self._means @ W
        product: Array = self._X @ W
        product -= np.multiply.outer(self._roots, shift)
        return product

    def transposed_times(self, R: Array) -> Array:
        product: Array = self._X.T @ R
        product -= np.multiply.outer(self._means, self._roots @ R)
        return product

    def squares(self) -> Array:
        raw = np.asarray(self._X.multiply(self._X).sum(axis=0)).ravel()
        centred = raw - self._total * self._means**2
        centred[centred <= 16 * np.finfo(self.dtype).eps * raw] = 0
        return np.asarray(centred, self.dtype)

    def dense(self) -> Array:
        return np.asfortranarray(self._X.toarray() - np.outer(self._roots, self._means))


class Prepared(NamedTuple):
    """A problem without intercept and weights, and what leads back from its solution.

    Attributes
    ----------
    design : Design (n, p)
    Y : ndarray (n, k)
        The targets, centred and scaled like the design.
    x_means : ndarray (p,)
    y_means : ndarray (k,)
        Zeros without an intercept.
    roots : ndarray (n,), or None without weights
    """

    design: Design
    Y: Array
    x_means: Array
    y_means: Array
    roots: Array | None


def prepare(X: Any, Y: Array, weights: Array | None, fit_intercept: bool) -> Prepared:
    """Centre and scale `X` (n, p), dense or sparse, and `Y` (n, k), of the same dtype."""
    dtype = X.dtype
    roots = None if weights is None else np.sqrt(weights).astype(dtype, copy=False)
    x_means, y_means = np.zeros(X.shape[1], dtype), np.zeros(Y.shape[1], dtype)
    if fit_intercept:
        x_means = weighted_means(X, weights).astype(dtype)
        y_means = np.average(Y.astype(np.float64), axis=0, weights=weights).astype(dtype)
        Y = Y - y_means
    if roots is not None:
        Y = Y * roots[:, None]
    kind = SparseDesign if sparse.issparse(X) else DenseDesign
    return Prepared(kind(X, x_means if fit_intercept else None, roots), Y, x_means, y_means, roots)


def weighted_means(X: Any, weights: Array | None) -> Array:
    """The means of the columns, shape (p,); pieces are summed in X's dtype, their sums in float64."""
    n, p = X.shape
    if sparse.issparse(X):
        weights = np.ones(n) if weights is None else weights.astype(np.float64)
        return np.asarray(X.T @ weights) / weights.sum()
    weights = np.ones(n, X.dtype) if weights is None else weights.astype(X.dtype)
    total, step = np.zeros(p), max(1, PIECE_BYTES // max(1, p * X.dtype.itemsize))
    for first in range(0, n, step):
        total += weights[first : first + step] @ X[first : first + step]
    return total / weights.sum(dtype=np.float64)

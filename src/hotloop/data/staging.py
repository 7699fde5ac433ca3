"""Staging: from the user's arrays to blocks of rows in the dtype of θ, copied, or read where they lie."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_features, check_sparse, check_weights
from hotloop._jit import COMPILED
from hotloop.engine.gather import CONVERT_FROM, convert_rows, scatter_rows
from hotloop.engine.loop import Block
from hotloop.engine.take import MOST_WORDS, WORD, take_rows
from hotloop.losses import Loss

__all__ = [
    "BLOCK_BYTES",
    "Rows",
    "Samples",
    "SparseRows",
    "check_rows",
    "check_samples",
    "column_statistics",
    "in_place",
    "stage_rows",
]

BLOCK_BYTES = 1 << 22
"""About how large a block is: they then stay in the second or third cache."""

WIDE = 16
"""Features from which on rows are read where they lie: of short ones many are taken at once in less time."""

FEW_BYTES = 1 << 20
"""Features, targets or weights that take no more as the loop reads them are converted once, before the first
epoch, by NumPy: no kernel has to be compiled for it."""

MANY_BYTES, MANY_ROWS = 1 << 20, 2048
"""Of short rows, beyond the second cache, so many are taken by `take_rows`. It saves some nanoseconds a row,
and a call takes some microseconds more than one of NumPy."""

NO_ROWS, NO_BYTES = np.empty(0, np.int64), np.empty(0, np.uint8)
"""For a block whose rows lie one after the other, and for one in the dtype of θ."""


class Rows(ABC):
    """Checked features that are no array: they become dense some rows at a time, as blocks are staged."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, rows: slice) -> "Rows":
        """Some of them, of the same kind."""

    @abstractmethod
    def stage(self, rows: slice | NDArray[np.int64], out: NDArray[Any]) -> None:
        """out[:] = the rows, in the dtype of `out`."""


@dataclass(frozen=True)
class Samples:
    """Checked data, as the user gave it.

    Attributes
    ----------
    features : ndarray or Rows (n, n_in)
    targets : ndarray (n, 1) of classes or signs, or (n, width) of values
    weights : ndarray (n, 1), or None for ones
    scale : float
        uint8 features are multiplied by it.
    given_targets : array
        The targets as the user gave them.
    flat : ndarray (n * n_in,), or None
        The features, where the loop reads them as they lie.
    other : ndarray (n * n_in,), or None
        The features in a dtype of their own, where the loop converts them.
    """

    features: NDArray[Any] | Rows
    targets: NDArray[Any]
    weights: NDArray[Any] | None
    scale: float
    given_targets: NDArray[Any]
    flat: NDArray[Any] | None = None
    other: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.features)

    @property
    def total_weight(self) -> float:
        """Σ weights."""
        return float(len(self) if self.weights is None else self.weights.sum(dtype=np.float64))

    def filled(self, most: int) -> NDArray[np.bool_]:
        """Where some rows of the features, about so many from all over, are not 0: (rows, n_in).

        The same however they are stored; what is no array becomes dense one row at a time.
        """
        step = max(len(self) // most, 1)
        if isinstance(self.features, np.ndarray):
            return np.asarray(self.features[::step] != 0)
        numbers = np.arange(0, len(self), step)
        found = np.empty((len(numbers), self.features.shape[1]), np.bool_)
        row = np.empty((1, self.features.shape[1]))
        for k in range(len(numbers)):
            self.features.stage(numbers[k : k + 1], row)
            found[k] = row[0] != 0
        return found

    def for_loop(self, dtype: np.dtype[Any]) -> "Samples":
        """These, as the loop for θ in `dtype` wants them: converted if they are few.

        Of more rows the loop converts each minibatch when its turn comes, if it can.
        """
        features = self.features
        if not isinstance(features, np.ndarray) or self.flat is not None:
            return self
        plain, wide = _is_plain(features), features.shape[1] >= WIDE
        if (features.dtype != dtype or not plain) and _are_few(features, dtype):
            converted = np.empty(features.shape, dtype)
            stage_rows(features, slice(0, len(features)), converted, self.scale)
            return replace(self, features=converted, flat=converted.reshape(-1) if wide else None)
        if plain and wide and features.dtype in CONVERT_FROM:
            return replace(self, other=_Writable(features).as_array().reshape(-1))
        return self

    def row_bytes(self, dtype: np.dtype[Any]) -> int:
        """What a row of a block takes."""
        beside = (self.targets.shape[1] + 1) * dtype.itemsize
        by_number = self.flat is not None or self.other is not None
        return int(beside + (8 if by_number else self.features.shape[1] * dtype.itemsize))

    def empty_block(self, rows: int, dtype: np.dtype[Any]) -> Block:
        """Room for `rows` rows."""
        x = self.flat
        if x is None:
            x = np.empty(0 if self.other is not None else rows * self.features.shape[1], dtype)
        return Block(
            x=x,
            rows=NO_ROWS,
            targets=np.empty((rows, self.targets.shape[1]), dtype),
            weights=np.ones(rows, dtype),
            epoch=len(self),
            other=NO_BYTES if self.other is None else self.other.view(np.uint8),
            scale=self.scale if self.other is not None and self.other.dtype == np.uint8 else 1.0,
        )

    def fill(self, block: Block, rows: slice | NDArray[np.int64]) -> Block:
        """Copy `rows` into `block`, or say where they lie; returns the part of it that they fill."""
        n = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        x, which, n_in = block.x[: n * self.features.shape[1]], NO_ROWS, self.features.shape[1]
        if self.other is not None:
            which = _numbers(rows)
        elif self.flat is None:
            stage_rows(self.features, rows, x.reshape(n, n_in), self.scale)
        elif isinstance(rows, slice):
            x = self.flat[rows.start * n_in : rows.stop * n_in]
        else:
            x, which = self.flat, rows
        part = block._replace(x=x, rows=which, targets=block.targets[:n], weights=block.weights[:n])
        stage_rows(self.targets, rows, part.targets)
        if self.weights is not None:
            stage_rows(self.weights, rows, part.weights.reshape(-1, 1))
        return part


def check_rows(X: Any, name: str, n_features: int, dtype: np.dtype[Any]) -> NDArray[Any] | Rows:
    """`X` as `check_features` gives it, or as `Rows`, if it is sparse or they were made already."""
    if isinstance(X, Rows) and X.shape[1] == n_features:
        return X
    if hasattr(X, "tocsr") and hasattr(X, "format"):  # SciPy's
        return SparseRows(check_sparse(X, name, n_features, dtype))
    return check_features(X, name, n_features, dtype)


def check_samples(
    X: Any, y: Any, weights: Any, *, loss: Loss, n_in: int, n_out: int, dtype: np.dtype[Any], scale: float,
    names: tuple[str, str, str] = ("X", "y", "sample_weight"),
) -> Samples:  # fmt: skip
    """Check data against a model and a loss. Raises `InvalidValueError` or `InvalidTypeError`."""
    features = check_rows(X, names[0], n_in, dtype)
    n = len(features)
    targets = loss.check_targets(y, names[1], n, n_out, dtype)
    weights = None if weights is None else check_weights(weights, names[2], n, dtype)
    of_class = loss.weights(targets, n_out)
    if of_class is not None:
        product = of_class if weights is None else of_class * weights
        weights = check_weights(product, "class_weight, times the sample weights", n, dtype)
    targets, weights = _ready(targets, dtype), None if weights is None else _ready(weights, dtype)
    there = in_place(features, dtype) if n_in >= WIDE else None
    flat = None if there is None else there.reshape(-1)
    return Samples(features, targets, weights, scale, np.asarray(y), flat)


def in_place(features: NDArray[Any] | Rows, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """The features in their own memory, if they are as kernels read them."""
    if isinstance(features, Rows) or features.dtype != dtype or not _is_plain(features):
        return None
    return _Writable(features).as_array()


class SparseRows(Rows):
    """A checked CSR matrix of SciPy's, which becomes dense block by block."""

    def __init__(self, matrix: Any):
        self._matrix = matrix
        self.shape, self.dtype = matrix.shape, matrix.dtype
        data = matrix.data if self.dtype in CONVERT_FROM else matrix.data.astype(np.float64)
        parts = (np.require(part, requirements=["C", "A"]) for part in (data, matrix.indices, matrix.indptr))
        self._parts = [in_place(part, part.dtype) for part in parts]

    def __getitem__(self, rows: slice) -> "SparseRows":
        return SparseRows(self._matrix[rows])

    def stage(self, rows: slice | NDArray[np.int64], out: NDArray[Any]) -> None:
        """out[:] = the rows, in the dtype of `out`."""
        scatter_rows(*self._parts, _numbers(rows), out)


def _numbers(rows: slice | NDArray[np.int64]) -> NDArray[np.int64]:
    """Which rows they are, one by one, as kernels take them."""
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def _is_plain(array: NDArray[Any]) -> bool:
    """Whether it lies in memory as kernels read it."""
    flags = array.flags
    return array.dtype.isnative and flags.c_contiguous and flags.aligned


def _are_few(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Whether they are converted once, before the first epoch."""
    return array.size * dtype.itemsize <= FEW_BYTES


def _ready(column: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Targets or weights in the dtype of θ, now and not in each epoch: classes, and what is few."""
    if column.dtype.kind not in "biu" and not _are_few(column, dtype):
        return column
    with np.errstate(under="ignore"):
        return column.astype(dtype, copy=False)


def _are_many(rows: NDArray[np.int64]) -> bool:
    """Whether these are as many as pay for `take_rows`, in the form that it wants."""
    return len(rows) >= MANY_ROWS and rows.dtype == np.int64 and rows.flags.c_contiguous


def _is_short(array: NDArray[Any]) -> bool:
    """Whether its rows are such as `take_rows` takes, and many."""
    row = array[:1].nbytes
    return COMPILED and array.nbytes >= MANY_BYTES and row % WORD == 0 and row <= MOST_WORDS * WORD


def _words(array: NDArray[Any]) -> NDArray[np.int32]:
    """The same memory, flat."""
    return array.reshape(-1).view(np.int32)


class _Writable:
    """An array in the memory of another that may be read-only: to numba that would be another type.

    No kernel writes to features.
    """

    def __init__(self, array: NDArray[Any]):
        self._array = array
        where, _ = array.__array_interface__["data"]
        self.__array_interface__ = array.__array_interface__ | {"data": (where, False)}

    def as_array(self) -> NDArray[Any]:
        """The array; it keeps the other alive."""
        return np.asarray(self)


def stage_rows(
    source: NDArray[Any] | Rows, rows: slice | NDArray[np.int64], out: NDArray[Any], scale: float = 1.0
) -> None:
    """out[:] = source[rows], in the dtype of `out`; uint8 is multiplied by `scale`."""
    factor = scale if source.dtype == np.uint8 else 1.0
    if isinstance(source, Rows):
        source.stage(rows, out)
        if factor != 1.0:
            out *= out.dtype.type(factor)
        return
    plain, converted = _is_plain(source), source.dtype != out.dtype
    apart = None if isinstance(rows, slice) else rows  # of rows that lie together NumPy makes no copy
    if apart is not None and plain and converted and source.dtype in CONVERT_FROM and COMPILED:
        convert_rows(_Writable(source).as_array(), apart, factor, out)
    elif apart is not None and plain and not converted and factor == 1.0:
        # The rows are a permutation of ours, all in range: `take_rows` relies on it. Other layouts np.take
        # would copy whole.
        if _are_many(apart) and _is_short(source) and _is_plain(out):
            words = source[:1].nbytes // WORD
            take_rows(_words(_Writable(source).as_array()), apart, words, _words(out))
        else:
            np.take(source, apart, axis=0, out=out, mode="clip")  # "clip" spares NumPy a second buffer
    else:
        with np.errstate(under="ignore"):  # what is too small for float32 is 0
            if factor != 1.0:
                np.multiply(source[rows], out.dtype.type(factor), out=out, casting="unsafe")
            else:
                out[...] = source[rows]


def column_statistics(
    features: NDArray[Any] | Rows, scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (with 1/n) of each column as it is staged, in float64, piece by piece."""
    n, width = features.shape
    rows = min(n, max(1, BLOCK_BYTES // (8 * width)))
    block = np.empty((rows, width))

    def pieces() -> Iterator[NDArray[np.float64]]:
        """Some rows at a time, each in the memory of the last."""
        for first in range(0, n, rows):
            part = block[: min(rows, n - first)]
            stage_rows(features, slice(first, first + len(part)), part, scale)
            yield part

    mean = sum((part.sum(axis=0) for part in pieces()), np.zeros(width)) / n
    variance = sum((np.square(part - mean).sum(axis=0) for part in pieces()), np.zeros(width)) / n
    return mean, np.sqrt(variance)

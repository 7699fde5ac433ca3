"""Staging: from the user's arrays to blocks of contiguous rows in the dtype of θ."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_features, check_weights
from hotloop.engine.loop import Block
from hotloop.losses import Loss

__all__ = ["BLOCK_BYTES", "Rows", "Samples", "check_rows", "check_samples", "column_statistics", "stage_rows"]

BLOCK_BYTES = 1 << 22
"""About how large a block is: they then stay in the second or third cache."""


class Rows(ABC):
    """Checked features that are no array: they become dense some rows at a time, as blocks are staged."""

    shape: tuple[int, int]

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
    """

    features: NDArray[Any] | Rows
    targets: NDArray[Any]
    weights: NDArray[Any] | None
    scale: float
    given_targets: NDArray[Any]

    def __len__(self) -> int:
        return len(self.features)

    @property
    def total_weight(self) -> float:
        """Σ weights."""
        return float(len(self) if self.weights is None else self.weights.sum(dtype=np.float64))

    def first(self, n: int) -> "Samples":
        """The first `n` of them."""
        weights = None if self.weights is None else self.weights[:n]
        return Samples(self.features[:n], self.targets[:n], weights, self.scale, self.given_targets[:n])

    def row_bytes(self, dtype: np.dtype[Any]) -> int:
        """What a staged row takes."""
        return int((self.features.shape[1] + self.targets.shape[1] + 1) * dtype.itemsize)

    def empty_block(self, rows: int, dtype: np.dtype[Any]) -> Block:
        """Room for `rows` rows."""
        return Block(
            x=np.empty(rows * self.features.shape[1], dtype),
            targets=np.empty((rows, self.targets.shape[1]), dtype),
            weights=np.ones(rows, dtype),
        )

    def fill(self, block: Block, rows: slice | NDArray[np.int64]) -> Block:
        """Copy `rows` into `block`; returns the part of it that they fill."""
        n = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        n_in = self.features.shape[1]
        part = Block(block.x[: n * n_in], block.targets[:n], block.weights[:n])
        stage_rows(self.features, rows, part.x.reshape(n, n_in), self.scale)
        stage_rows(self.targets, rows, part.targets)
        if self.weights is not None:
            stage_rows(self.weights, rows, part.weights.reshape(-1, 1))
        return part


def check_rows(X: Any, name: str, n_features: int, dtype: np.dtype[Any]) -> NDArray[Any] | Rows:
    """`X` as `check_features` gives it, unless it is `Rows` already."""
    if isinstance(X, Rows) and X.shape[1] == n_features:
        return X
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
    return Samples(features, targets, weights, scale, np.asarray(y))


def stage_rows(
    source: NDArray[Any] | Rows, rows: slice | NDArray[np.int64], out: NDArray[Any], scale: float = 1.0
) -> None:
    """out[:] = source[rows], in the dtype of `out`; uint8 is multiplied by `scale`."""
    if isinstance(source, Rows):
        source.stage(rows, out)
        return
    if isinstance(rows, slice):
        chunk = source[rows]
    elif source.dtype == out.dtype and source.flags.c_contiguous:
        # "clip" spares NumPy a second buffer; the rows are a permutation of ours, all in range. Other
        # layouts np.take would copy whole.
        np.take(source, rows, axis=0, out=out, mode="clip")
        return
    else:
        chunk = source[rows]
    if source.dtype == np.uint8 and scale != 1.0:
        np.multiply(chunk, out.dtype.type(scale), out=out, casting="unsafe")
    else:
        out[...] = chunk


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

"""Checks of arrays: features, weights of a network, directions; and what those of targets share."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import InvalidTypeError, InvalidValueError

__all__ = [
    "check_directions",
    "check_features",
    "check_features_shape",
    "check_finite",
    "check_vector",
    "chunks",
    "first_not_finite",
    "n_columns",
    "not_finite",
    "numeric_array",
]

CHUNK_BYTES = 1 << 19
"""Data is looked at in pieces of this size: a memory map is never in memory whole, and a second look finds
its piece in the cache."""


def check_features(X: Any, name: str, n_features: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`X` as an array (rows, n_features) of real, finite numbers that fit `dtype`; nothing is copied."""
    array = numeric_array(X, name)
    check_features_shape(array.shape, name, n_features)
    check_finite(array, name, dtype)
    return array


def check_features_shape(shape: tuple[int, ...], name: str, n_features: int) -> None:
    """Raise if `shape` is not (rows, n_features), with a row or more."""
    if len(shape) != 2:
        hint = " Use X.reshape(1, -1) for one row, X.reshape(-1, 1) for one feature." * (len(shape) == 1)
        raise InvalidValueError(
            f"{name}: expected shape (rows, {n_features}), got {shape}; "
            f"the model has input_dim={n_features}.{hint}"
        )
    if shape[1] != n_features:
        raise InvalidValueError(
            f"{name}: has {shape[1]} features, shape {shape}; the model has "
            f"input_dim={n_features}. Pass data of that width, or build the model with the data's."
        )
    if shape[0] == 0:
        raise InvalidValueError(f"{name}: is empty, shape {shape}; at least one row is needed")


def check_vector(theta: Any, name: str, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`theta` as a flat array of `size` finite numbers that fit `dtype`."""
    array = numeric_array(theta, name)
    if array.shape != (size,):
        raise InvalidValueError(f"{name}: expected a flat array of {size} numbers, got shape {array.shape}")
    check_finite(array, name, dtype)
    return array


def check_directions(v: Any, name: str, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`v` as an array (size,) or (k, size) of finite numbers."""
    array = numeric_array(v, name)
    if array.ndim == 2 and array.shape[1] == size and len(array):
        return check_vector(array.reshape(-1), name, array.size, dtype).reshape(array.shape).astype(dtype)
    if array.ndim != 1:
        raise InvalidValueError(f"{name}: expected shape ({size},) or (k, {size}), got {array.shape}")
    return check_vector(array, name, size, dtype).astype(dtype)


def numeric_array(values: Any, name: str) -> NDArray[Any]:
    """`values` as an array of real numbers, of whatever dtype and shape."""
    if hasattr(values, "tocsr"):
        raise InvalidTypeError(f"{name}: sparse matrices are not supported; pass {name}.toarray()")
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise InvalidTypeError(f"{name}: cannot be read as an array of numbers: {error}") from error
    if array.dtype.kind not in "biuf":
        raise InvalidTypeError(
            f"{name}: expected real numbers, got an array of dtype {array.dtype}; "
            "convert it first, for example with np.asarray(values, dtype=np.float32)"
        )
    return array


def n_columns(y: Any) -> int:
    """The second dimension of what looks 2-D, else 0; whatever is wrong with it is found later."""
    if hasattr(y, "tocsr"):
        return 0
    try:
        shape = np.shape(y)
    except (ValueError, TypeError):  # ragged
        return 0
    return shape[1] if len(shape) == 2 else 0


def check_finite(array: NDArray[Any], name: str, dtype: np.dtype[Any]) -> None:
    """Raise if a number is NaN, infinite, or would become infinite in `dtype`."""
    where = first_not_finite(array, dtype)
    if where is not None:
        row, *column = where
        place = f"row {row}" + (f", column {column[0]}" if column else "")
        raise not_finite(array[where], name, place, dtype)


def first_not_finite(array: NDArray[Any], dtype: np.dtype[Any]) -> tuple[int, ...] | None:
    """Where the first number is that is NaN, infinite, or would become infinite in `dtype`."""
    if array.dtype.kind != "f":
        return None
    largest = np.finfo(dtype).max
    for first, chunk in chunks(array):
        low, high = chunk.min(), chunk.max()  # NaN wins both
        if not (-largest <= low and high <= largest):
            row, *column = (int(k) for k in np.argwhere(~(np.abs(chunk) <= largest))[0])
            return first + row, *column
    return None


def not_finite(bad: Any, name: str, place: str, dtype: np.dtype[Any]) -> InvalidValueError:
    """The error for a number that is `bad`, at a `place` such as "row 3"."""
    what = f"too large for {dtype}" if np.isfinite(bad) else "not finite"
    return InvalidValueError(
        f"{name}: {bad} at {place} is {what}; remove such rows or fill them in "
        "(np.nan_to_num, or an imputer) before training"
    )


def chunks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """(first row, some rows): all of the array, piece by piece."""
    rows = max(1, CHUNK_BYTES // max(1, array[:1].nbytes))
    for first in range(0, len(array), rows):
        yield first, array[first : first + rows]

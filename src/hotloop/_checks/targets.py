"""Checks of targets and of their weights: one for each sample."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks.arrays import check_finite, chunks, numeric_array
from hotloop._checks.options import check_integer, check_number
from hotloop.errors import InvalidTypeError, InvalidValueError

__all__ = [
    "check_array",
    "check_class_weight",
    "check_labels",
    "check_probabilities",
    "check_signs",
    "check_values",
    "check_weights",
]


def check_labels(y: Any, name: str, n_rows: int, n_classes: int) -> NDArray[Any]:
    """`y` as a column (n_rows, 1) of classes 0 … n_classes − 1."""
    array = numeric_array(y, name)
    if array.dtype.kind not in "biu":
        raise InvalidTypeError(
            f"{name}: class labels must be integers, got dtype {array.dtype}; "
            "convert with y.astype(int), or map names with np.unique(y, return_inverse=True)"
        )
    # A copy: kernels use labels as indices, so nobody may change them after this check.
    array = np.array(_column(array, name, n_rows))
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= n_classes:
        raise InvalidValueError(
            f"{name}: labels must lie in 0 … {n_classes - 1}, since the model has {n_classes} outputs; "
            f"found {low if low < 0 else high}. Renumber the classes, or give the last layer more units."
        )
    return array


def check_values(
    y: Any, name: str, n_rows: int, n_columns: int, dtype: np.dtype[Any], *,
    low: float = -math.inf, high: float = math.inf, why: str = "",
) -> NDArray[Any]:  # fmt: skip
    """`y` as an array (n_rows, n_columns) of finite numbers from `low` to `high` that fit `dtype`.

    `why` says where the number of columns comes from; by default it is the model's outputs.
    """
    array = numeric_array(y, name)
    if n_columns == 1:
        array = _column(array, name, n_rows)
    if array.shape != (n_rows, n_columns):
        _check_length(array, name, n_rows)
        why = why or f"the model has {n_columns} outputs"
        raise InvalidValueError(
            f"{name}: expected shape ({n_rows}, {n_columns}), since {why}; got {array.shape}"
        )
    check_finite(array, name, dtype)
    _check_range(array, name, low, high)
    return array


def check_array(y: Any, name: str, n_rows: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`y` as an array (n_rows, columns) of finite numbers that fit `dtype`; (n_rows,) is one column."""
    array = numeric_array(y, name)
    _check_length(array, name, n_rows)
    if array.ndim > 2 or array.size == 0:
        raise InvalidValueError(
            f"{name}: expected shape ({n_rows},) or ({n_rows}, columns), got {array.shape}"
        )
    array = array.reshape(n_rows, -1)
    check_finite(array, name, dtype)
    return array


def check_signs(y: Any, name: str, n_rows: int) -> NDArray[Any]:
    """`y` as a column (n_rows, 1) of −1 and 1."""
    array = _column(numeric_array(y, name), name, n_rows)
    wrong = ~((array == 1) | (array == -1))
    if wrong.any():
        raise InvalidValueError(
            f"{name}: expected -1 or 1 in each row, since the model has one output; found {array[wrong][0]}. "
            "Classes 0 and 1 become signs with 2 * y.astype(int) - 1."
        )
    return array


def check_probabilities(y: Any, name: str, n_rows: int, n_classes: int) -> NDArray[Any]:
    """`y` as an array (n_rows, n_classes) of numbers of at least 0 whose rows sum to 1."""
    array = numeric_array(y, name)
    if array.shape != (n_rows, n_classes):
        _check_length(array, name, n_rows)
        raise InvalidValueError(
            f"{name}: expected rows of probabilities, shape ({n_rows}, {n_classes}), since the model has "
            f"{n_classes} outputs; got {array.shape}"
        )
    check_finite(array, name, array.dtype)
    _check_range(array, name, 0.0, math.inf)
    tolerance = 1e-3 if array.dtype.kind == "f" and array.dtype.itemsize < 8 else 1e-6
    for first, chunk in chunks(array):
        sums = chunk.sum(axis=1, dtype=np.float64)
        wrong = np.abs(sums - 1) > tolerance
        if wrong.any():
            row = int(wrong.argmax())
            raise InvalidValueError(
                f"{name}: each row of probabilities must sum to 1; row {first + row} sums to {sums[row]:g}. "
                "Divide by the sums: y / y.sum(axis=1, keepdims=True)."
            )
    return array


def check_class_weight(weights: Any, name: str) -> dict[int, float] | tuple[float, ...] | None:
    """Weights of at least 0, not all 0: of some classes as a dict, or of all as a tuple."""
    if weights is None:
        return None
    if isinstance(weights, Mapping):
        found: dict[int, float] = {}
        for label, weight in weights.items():
            label = check_integer(label, f"{name}: a class", low=0)
            found[label] = check_number(weight, f"{name}[{label}]", low=0.0)
        return found
    array = numeric_array(weights, name)
    if array.ndim != 1:
        raise InvalidTypeError(
            f"{name}: expected {{class: weight}} or one weight a class, got shape {array.shape}"
        )
    check_weights(array, name, len(array), np.dtype(np.float64))
    return tuple(float(weight) for weight in array)


def check_weights(weights: Any, name: str, n_rows: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`weights` as a column (n_rows, 1) of finite numbers, none negative and not all 0."""
    array = _column(numeric_array(weights, name), name, n_rows)
    check_finite(array, name, dtype)
    if array.min() < 0:
        raise InvalidValueError(f"{name}: weights must be at least 0, found {array.min()}")
    if array.max() < np.finfo(dtype).tiny:
        raise InvalidValueError(f"{name}: all weights are zero; at least one must be above")
    return array


def _column(array: NDArray[Any], name: str, n_rows: int) -> NDArray[Any]:
    """(n,) or (n, 1) as (n, 1)."""
    _check_length(array, name, n_rows)
    if array.ndim == 1:
        return array.reshape(-1, 1)
    if array.ndim == 2 and array.shape[1] == 1:
        return array
    raise InvalidValueError(f"{name}: expected one number a row, shape ({n_rows},), got {array.shape}")


def _check_length(array: NDArray[Any], name: str, n_rows: int) -> None:
    if array.ndim == 0 or len(array) != n_rows:
        length = "no length" if array.ndim == 0 else f"{len(array)} rows"
        raise InvalidValueError(
            f"{name}: has {length}, but there are {n_rows} samples; both must have the same length"
        )


def _check_range(array: NDArray[Any], name: str, low: float, high: float) -> None:
    """Raise if a number lies outside `low` … `high`."""
    if low == -math.inf and high == math.inf:
        return
    for first, chunk in chunks(array):
        if chunk.min() < low or chunk.max() > high:
            row, column = (int(k) for k in np.argwhere((chunk < low) | (chunk > high))[0])
            limits = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise InvalidValueError(
                f"{name}: this loss takes targets of {limits}; found {chunk[row, column]} at row "
                f"{first + row}, column {column}. Rescale them, or choose another loss."
            )

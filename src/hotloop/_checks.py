"""Checks of arguments: the error names the argument, what came, and what to do.

Kernels run without bounds checks, so nothing reaches them that has not passed here.
"""

import math
import numbers
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import InvalidTypeError, InvalidValueError

__all__ = [
    "COUNTABLE",
    "check_array",
    "check_choice",
    "check_class_weight",
    "check_directions",
    "check_dtype",
    "check_features",
    "check_flag",
    "check_integer",
    "check_labels",
    "check_number",
    "check_probabilities",
    "check_signs",
    "check_sparse",
    "check_sparse_format",
    "check_values",
    "check_vector",
    "check_weights",
    "n_columns",
]

COUNTABLE = 2**53
"""Whole numbers below it are exact in float64, in which schedules and averages count steps."""

CHUNK_BYTES = 1 << 19
"""Data is looked at in pieces of this size: a memory map is never in memory whole, and a second look finds
its piece in the cache."""


def check_number(value: Any, name: str, *, low: float = -math.inf, below: float = math.inf) -> float:
    """`value` as a float, if it is a finite number with low <= value < below."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InvalidTypeError(f"{name}: expected a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidValueError(f"{name}: must be finite, got {value!r}")
    if number < low:
        raise InvalidValueError(f"{name}: must be at least {low:g}, got {value!r}")
    if number >= below:
        raise InvalidValueError(f"{name}: must be below {below:g}, got {value!r}")
    return number


def check_integer(value: Any, name: str, *, low: int, below: int | None = None) -> int:
    """`value` as an int, if it is a whole number with low <= value < below; None for no limit."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise InvalidTypeError(f"{name}: expected a whole number, got {value!r}")
    if value < low:
        raise InvalidValueError(f"{name}: must be at least {low}, got {value!r}")
    if below is not None and int(value) >= below:
        raise InvalidValueError(f"{name}: must be below {below}, got {value!r}")
    return int(value)


def check_flag(value: Any, name: str) -> bool:
    """`value`, if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidTypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def check_dtype(value: Any, name: str) -> np.dtype[Any]:
    """`value` as a dtype, if it is float32 or float64."""
    try:
        dtype: np.dtype[Any] = np.dtype(value)
    except TypeError:
        dtype = np.dtype(object)
    if value is None or dtype not in (np.dtype("float32"), np.dtype("float64")):
        raise InvalidValueError(f"{name}: must be 'float32' or 'float64', got {value!r}")
    return dtype


def check_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """`value`, if it is one of `choices`."""
    if not isinstance(value, str):
        raise InvalidTypeError(f"{name}: expected one of {sorted(choices)}, got {value!r}")
    if value not in choices:
        raise InvalidValueError(f"{name}: must be one of {sorted(choices)}, got {value!r}")
    return value


def check_features(X: Any, name: str, n_features: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`X` as an array (rows, n_features) of real, finite numbers that fit `dtype`; nothing is copied."""
    array = _numeric_array(X, name)
    _check_features_shape(array.shape, name, n_features)
    _check_finite(array, name, dtype)
    return array


def check_sparse(X: Any, name: str, n_features: int, dtype: np.dtype[Any]) -> Any:
    """`X`, a sparse matrix or array of SciPy's, in CSR form, checked as `check_features` does.

    Numbers in the same place are added up, as ``X.toarray()`` does.
    """
    _check_features_shape(X.shape, name, n_features)
    check_sparse_format(X, name)
    matrix = X.tocsr()
    values = _numeric_array(matrix.data, name)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
        values = matrix.data
    where = _first_not_finite(values, dtype)
    if where is not None:
        row = int(np.searchsorted(matrix.indptr, where[0], side="right")) - 1
        raise _not_finite(values[where], name, f"row {row}, column {matrix.indices[where]}", dtype)
    return matrix


def check_sparse_format(X: Any, name: str) -> None:
    """Look at the indices of a sparse matrix.

    SciPy builds one whose indices lie outside of it, and whoever converts or multiplies it, SciPy too, reads
    and writes there.
    """
    problem = ""
    try:
        if X.format in ("csr", "csc", "bsr"):
            X.check_format(full_check=True)
        else:
            places = X.tocoo()
            for axis, at, size in zip(("row", "column"), (places.row, places.col), X.shape, strict=True):
                if len(at) and not 0 <= at.min() <= at.max() < size:
                    problem = f"a {axis} index lies outside of 0 … {size - 1}"
    except ValueError as error:
        problem = str(error)
    if problem:
        raise InvalidValueError(f"{name}: not a valid {X.format.upper()} matrix: {problem}")


def _check_features_shape(shape: tuple[int, ...], name: str, n_features: int) -> None:
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


def check_labels(y: Any, name: str, n_rows: int, n_classes: int) -> NDArray[Any]:
    """`y` as a column (n_rows, 1) of classes 0 … n_classes − 1."""
    array = _numeric_array(y, name)
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
    array = _numeric_array(y, name)
    if n_columns == 1:
        array = _column(array, name, n_rows)
    if array.shape != (n_rows, n_columns):
        _check_length(array, name, n_rows)
        why = why or f"the model has {n_columns} outputs"
        raise InvalidValueError(
            f"{name}: expected shape ({n_rows}, {n_columns}), since {why}; got {array.shape}"
        )
    _check_finite(array, name, dtype)
    _check_range(array, name, low, high)
    return array


def check_array(y: Any, name: str, n_rows: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`y` as an array (n_rows, columns) of finite numbers that fit `dtype`; (n_rows,) is one column."""
    array = _numeric_array(y, name)
    _check_length(array, name, n_rows)
    if array.ndim > 2 or array.size == 0:
        raise InvalidValueError(
            f"{name}: expected shape ({n_rows},) or ({n_rows}, columns), got {array.shape}"
        )
    array = array.reshape(n_rows, -1)
    _check_finite(array, name, dtype)
    return array


def check_signs(y: Any, name: str, n_rows: int) -> NDArray[Any]:
    """`y` as a column (n_rows, 1) of −1 and 1."""
    array = _column(_numeric_array(y, name), name, n_rows)
    wrong = ~((array == 1) | (array == -1))
    if wrong.any():
        raise InvalidValueError(
            f"{name}: expected -1 or 1 in each row, since the model has one output; found {array[wrong][0]}. "
            "Classes 0 and 1 become signs with 2 * y.astype(int) - 1."
        )
    return array


def check_probabilities(y: Any, name: str, n_rows: int, n_classes: int) -> NDArray[Any]:
    """`y` as an array (n_rows, n_classes) of numbers of at least 0 whose rows sum to 1."""
    array = _numeric_array(y, name)
    if array.shape != (n_rows, n_classes):
        _check_length(array, name, n_rows)
        raise InvalidValueError(
            f"{name}: expected rows of probabilities, shape ({n_rows}, {n_classes}), since the model has "
            f"{n_classes} outputs; got {array.shape}"
        )
    _check_finite(array, name, array.dtype)
    _check_range(array, name, 0.0, math.inf)
    tolerance = 1e-3 if array.dtype.kind == "f" and array.dtype.itemsize < 8 else 1e-6
    for first, chunk in _chunks(array):
        sums = chunk.sum(axis=1, dtype=np.float64)
        wrong = np.abs(sums - 1) > tolerance
        if wrong.any():
            row = int(wrong.argmax())
            raise InvalidValueError(
                f"{name}: each row of probabilities must sum to 1; row {first + row} sums to {sums[row]:g}. "
                "Divide by the sums: y / y.sum(axis=1, keepdims=True)."
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
    array = _numeric_array(weights, name)
    if array.ndim != 1:
        raise InvalidTypeError(
            f"{name}: expected {{class: weight}} or one weight a class, got shape {array.shape}"
        )
    check_weights(array, name, len(array), np.dtype(np.float64))
    return tuple(float(weight) for weight in array)


def check_weights(weights: Any, name: str, n_rows: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`weights` as a column (n_rows, 1) of finite numbers, none negative and not all 0."""
    array = _column(_numeric_array(weights, name), name, n_rows)
    _check_finite(array, name, dtype)
    if array.min() < 0:
        raise InvalidValueError(f"{name}: weights must be at least 0, found {array.min()}")
    if array.max() < np.finfo(dtype).tiny:
        raise InvalidValueError(f"{name}: all weights are zero; at least one must be above")
    return array


def check_vector(theta: Any, name: str, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`theta` as a flat array of `size` finite numbers that fit `dtype`."""
    array = _numeric_array(theta, name)
    if array.shape != (size,):
        raise InvalidValueError(f"{name}: expected a flat array of {size} numbers, got shape {array.shape}")
    _check_finite(array, name, dtype)
    return array


def check_directions(v: Any, name: str, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`v` as an array (size,) or (k, size) of finite numbers."""
    array = _numeric_array(v, name)
    if array.ndim == 2 and array.shape[1] == size and len(array):
        return check_vector(array.reshape(-1), name, array.size, dtype).reshape(array.shape).astype(dtype)
    if array.ndim != 1:
        raise InvalidValueError(f"{name}: expected shape ({size},) or (k, {size}), got {array.shape}")
    return check_vector(array, name, size, dtype).astype(dtype)


def _numeric_array(values: Any, name: str) -> NDArray[Any]:
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


def _check_finite(array: NDArray[Any], name: str, dtype: np.dtype[Any]) -> None:
    """Raise if a number is NaN, infinite, or would become infinite in `dtype`."""
    where = _first_not_finite(array, dtype)
    if where is not None:
        row, *column = where
        place = f"row {row}" + (f", column {column[0]}" if column else "")
        raise _not_finite(array[where], name, place, dtype)


def _first_not_finite(array: NDArray[Any], dtype: np.dtype[Any]) -> tuple[int, ...] | None:
    """Where the first number is that is NaN, infinite, or would become infinite in `dtype`."""
    if array.dtype.kind != "f":
        return None
    largest = np.finfo(dtype).max
    for first, chunk in _chunks(array):
        low, high = chunk.min(), chunk.max()  # NaN wins both
        if not (-largest <= low and high <= largest):
            row, *column = (int(k) for k in np.argwhere(~(np.abs(chunk) <= largest))[0])
            return first + row, *column
    return None


def _not_finite(bad: Any, name: str, place: str, dtype: np.dtype[Any]) -> InvalidValueError:
    what = f"too large for {dtype}" if np.isfinite(bad) else "not finite"
    return InvalidValueError(
        f"{name}: {bad} at {place} is {what}; remove such rows or fill them in "
        "(np.nan_to_num, or an imputer) before training"
    )


def _check_range(array: NDArray[Any], name: str, low: float, high: float) -> None:
    """Raise if a number lies outside `low` … `high`."""
    if low == -math.inf and high == math.inf:
        return
    for first, chunk in _chunks(array):
        if chunk.min() < low or chunk.max() > high:
            row, column = (int(k) for k in np.argwhere((chunk < low) | (chunk > high))[0])
            limits = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise InvalidValueError(
                f"{name}: this loss takes targets of {limits}; found {chunk[row, column]} at row "
                f"{first + row}, column {column}. Rescale them, or choose another loss."
            )


def _chunks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """(first row, some rows): all of the array, piece by piece."""
    rows = max(1, CHUNK_BYTES // max(1, array[:1].nbytes))
    for first in range(0, len(array), rows):
        yield first, array[first : first + rows]

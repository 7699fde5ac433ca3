"""What comes into an estimator, as kernels and trainers can read it: no copy where the data allows it."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data

from hotloop._checks import check_sparse_format
from hotloop.data.staging import SparseRows
from hotloop.engine.perceptron import Samples
from hotloop.errors import InvalidTypeError, InvalidValueError

__all__ = [
    "HOW_TO_READ",
    "all_classes",
    "as_it_was_if_refused",
    "check_classes",
    "check_start",
    "read",
    "rows_of",
    "samples_of",
]

Array = NDArray[Any]

HOW_TO_READ: dict[str, Any] = {"accept_sparse": "csr", "dtype": [np.float64, np.float32], "order": "C"}
"""For scikit-learn's `validate_data`: float32 and float64 stay what they are."""


@contextlib.contextmanager
def as_it_was_if_refused(estimator: Any) -> Iterator[None]:
    """Data or parameters that are refused leave the estimator as it was: what it had learnt still predicts.

    (If an epoch has been finished by then, something else has gone wrong, and what was learnt is kept.)
    """
    before = estimator.__dict__.copy()
    curve = before.get("loss_curve_", [])
    epochs = len(curve)
    try:
        yield
    except (TypeError, ValueError):
        now = estimator.__dict__.get("loss_curve_", [])
        if len(now) == (epochs if now is curve else 0):
            estimator.__dict__.clear()
            estimator.__dict__.update(before)
        raise


def read(estimator: Any, X: Any, *y: Any, **options: Any) -> Any:
    """scikit-learn's `validate_data`, which returns X, or X and y; indices of sparse X are looked at."""
    if issparse(X):
        check_sparse_format(X, "X")
    return validate_data(estimator, X, *y, **options)


def samples_of(X: Any, constant: float) -> Samples:
    """A matrix that has been read like that, with a constant for the bias."""
    if not issparse(X):
        return Samples(np.require(np.asarray(X), requirements=["C", "ALIGNED"]), None, None, constant)
    if not X.has_canonical_format:  # two values in one place: ‖x‖ is that of their sum
        X = X.copy()
        X.sum_duplicates()
    return Samples(X.data, X.indices, X.indptr, constant)


def rows_of(X: Any) -> Any:
    """What a trainer, an objective or a model can read: the array itself, or CSR as `SparseRows`."""
    return SparseRows(X) if issparse(X) else X


def check_classes(y: Any) -> NDArray[Any]:
    """The different labels in `y`, sorted; at least two."""
    classes: NDArray[Any] = np.unique(y)
    if len(classes) < 2:
        raise InvalidValueError(f"y: at least two classes are needed, got {len(classes)} class: {classes}")
    return classes


def all_classes(y: Any, classes: Any, known: NDArray[Any] | None) -> NDArray[Any]:
    """The classes of a `partial_fit`: `classes` in its first call, later `known`; `y` must be among them."""
    if known is None:
        if classes is None:
            raise InvalidValueError("classes: the first call of partial_fit needs all labels there will be")
        known = check_classes(classes)
    elif classes is not None and not np.array_equal(known, np.unique(classes)):
        raise InvalidValueError(f"classes: {classes!r} are not those of the first call, {known!r}")
    unknown = np.setdiff1d(y, known)
    if len(unknown):
        raise InvalidValueError(f"y: {unknown[0]!r} is not among the classes {known!r}")
    return known


def check_start(values: Any, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """A copy of `values` in that shape, a single row also if it is flat."""
    try:
        array = np.array(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise InvalidTypeError(f"{name}: cannot be read as an array of numbers: {error}") from error
    if array.size != math.prod(shape) or (array.shape != shape and shape[0] != 1):
        raise InvalidValueError(f"{name}: expected shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidValueError(f"{name}: must be finite")
    return array.reshape(shape)

"""What comes into an estimator, as kernels can read it: no copy where the data allows it."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from hotloop.engine.perceptron import Samples
from hotloop.errors import InvalidTypeError, InvalidValueError

__all__ = ["HOW_TO_READ", "all_classes", "check_classes", "check_start", "samples_of"]

HOW_TO_READ: dict[str, Any] = {"accept_sparse": "csr", "dtype": [np.float64, np.float32], "order": "C"}
"""For scikit-learn's `validate_data`: float32 and float64 stay what they are."""


def samples_of(X: Any, constant: float) -> Samples:
    """A matrix that has been read like that, with a constant for the bias."""
    if not issparse(X):
        return Samples(np.require(np.asarray(X), requirements=["C", "ALIGNED"]), None, None, constant)
    try:
        X.check_format(full_check=True)
    except ValueError as error:  # kernels do not look whether an index lies in the matrix
        raise InvalidValueError(f"X: not a valid CSR matrix: {error}") from error
    if not X.has_canonical_format:  # two values in one place: ‖x‖ is that of their sum
        X = X.copy()
        X.sum_duplicates()
    return Samples(X.data, X.indices, X.indptr, constant)


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

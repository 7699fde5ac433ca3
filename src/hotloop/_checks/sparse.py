"""Checks of SciPy's sparse matrices."""

from typing import Any

import numpy as np

from hotloop._checks.arrays import check_features_shape, first_not_finite, not_finite, numeric_array
from hotloop.errors import InvalidValueError

__all__ = ["check_sparse", "check_sparse_format"]


def check_sparse(X: Any, name: str, n_features: int, dtype: np.dtype[Any]) -> Any:
    """`X`, a sparse matrix or array of SciPy's, in CSR form, checked as `check_features` does.

    Numbers in the same place are added up, as ``X.toarray()`` does.
    """
    check_features_shape(X.shape, name, n_features)
    check_sparse_format(X, name)
    matrix = X.tocsr()
    values = numeric_array(matrix.data, name)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
        values = matrix.data
    where = first_not_finite(values, dtype)
    if where is not None:
        row = int(np.searchsorted(matrix.indptr, where[0], side="right")) - 1
        raise not_finite(values[where], name, f"row {row}, column {matrix.indices[where]}", dtype)
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

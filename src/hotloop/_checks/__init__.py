"""Checks of arguments: the error names the argument, what came, and what to do.

Kernels run without bounds checks, so nothing reaches them that has not passed here.
"""

from hotloop._checks.arrays import check_directions, check_features, check_vector, n_columns
from hotloop._checks.options import (
    COUNTABLE,
    check_choice,
    check_dtype,
    check_flag,
    check_integer,
    check_number,
)
from hotloop._checks.sparse import check_sparse, check_sparse_format
from hotloop._checks.targets import (
    check_array,
    check_class_weight,
    check_labels,
    check_probabilities,
    check_signs,
    check_values,
    check_weights,
)

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

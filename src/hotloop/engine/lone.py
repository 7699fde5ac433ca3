"""What kernels for minibatches of one row see of a network: little, since it is handed over at each call.

(A call by address hands over all numbers of its arguments: a `Net` has a hundred, which take as long as some
rows of W.)
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop._jit import kernel
from hotloop.engine.pointwise import copy
from hotloop.engine.table import BIAS, N_OUT, NONE, VALUE

__all__ = ["Lone", "begin_outputs"]


class Lone(NamedTuple):
    """A dense row of the table, and the memory of its network."""

    row: NDArray[np.int64]  # (COLUMNS,)
    work: NDArray[Any]
    places: NDArray[np.float64]  # (rows of all kernels,) PLACES of `Net.partial`
    zeros: int


@kernel
def begin_outputs(one, theta):
    """The outputs for one sample, before its inputs count: the biases."""
    row, work = one.row, one.work
    biases, bias = (theta, row[BIAS]) if row[BIAS] != NONE else (work, one.zeros)
    copy(biases[bias : bias + row[N_OUT]], work[row[VALUE] : row[VALUE] + row[N_OUT]])

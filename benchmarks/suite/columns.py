"""Sums over the rows of a minibatch, column by column: the gradient of biases (`engine/columns.py`).

A file of its own, so that the others still run on versions from before it.
"""

import numpy as np
from numba import njit

from hotloop.engine.columns import add_rows
from hotloop.engine.memory import aligned_zeros

from .common import fastest

ROWS, TIMES = 128, 200


@njit(nogil=True)
def _repeat(sums, rows):
    for _ in range(TIMES):
        add_rows(sums, rows, 0, len(sums), ROWS)


class Columns:
    """Of 128 rows of float32 in the first or second cache."""

    params = ([3, 10, 64, 1024],)
    param_names = ("columns",)

    def setup(self, columns):
        # As the trainer's own: a vector that straddles two cache lines counts twice.
        self.rows, self.sums = (aligned_zeros(n, np.dtype(np.float32)) for n in (ROWS * columns, columns))
        self.rows[:] = np.random.default_rng(0).standard_normal(ROWS * columns)
        self.add()  # compiles

    def add(self):
        """Some sums."""
        _repeat(self.sums, self.rows)

    def track_nanoseconds_a_row(self, columns):
        """Up to a vector's columns, one load and one addition."""
        return 1e9 * fastest(self.add)[0] / (TIMES * ROWS)

    track_nanoseconds_a_row.unit = "ns"

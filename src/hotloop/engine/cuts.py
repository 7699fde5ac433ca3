"""Which inputs of the first layer each thread of a relay (`engine.relay`) has, and when there is one."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["GROUP", "SAMPLE", "ZEROS_COST", "balance", "cuts_by_cost", "fullness", "is_worth_a_relay"]

FEWEST_INPUTS, FEWEST_OUTPUTS, MOST_SUMS = 32, 32, 1 << 15
"""What pays for a relay: so many inputs for each thread and so many outputs, and at most so many sums in a
minibatch. (Beyond, they take as long to pass on as W; and for few rows at a time W is not packed.)"""
GROUP = 8
"""Inputs that a thread has together: the rows of most tiles."""
SAMPLE = 200
"""Rows of the data that are looked at."""
ZEROS_COST = 0.3
"""Of the time that an input takes, the part that a 0 takes, too: to be fetched, and to update its weights."""


def is_worth_a_relay(n_in: int, n_out: int, capacity: int, n_threads: int) -> bool:
    """Whether threads should share the inputs of a first dense layer, and not the rows of a minibatch."""
    enough = 1 < n_threads <= n_in // FEWEST_INPUTS and n_out >= FEWEST_OUTPUTS
    return enough and capacity * n_out <= MOST_SUMS


def cuts_by_cost(costs: NDArray[np.float64], n_threads: int) -> NDArray[np.int64]:
    """Where the parts of up to `n_threads` threads begin: of n threads in row n, up to the end of the last.

    They cost much the same, and are whole groups of inputs.
    """
    cuts = np.zeros((n_threads + 1, n_threads + 1), np.int64)
    total = np.cumsum(costs)
    for n in range(1, n_threads + 1):
        inner = np.searchsorted(total, total[-1] * np.arange(1, n) / n)
        cuts[n, : n + 1] = 0, *(inner + GROUP // 2) // GROUP * GROUP, len(costs)
    return np.minimum(cuts, len(costs))


def fullness(filled: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each group of inputs, the share of rows in which it is not all zeros.

    `filled` (rows, inputs) says of some rows of the data where they are not 0.
    """
    starts = np.arange(0, filled.shape[1], GROUP)
    shares: NDArray[np.float64] = np.logical_or.reduceat(filled, starts, axis=1).mean(axis=0)
    return shares


def balance(cuts: NDArray[np.int64], filled: NDArray[np.bool_]) -> None:
    """Move the cuts to where threads have as much work, by where some rows of the data are `filled`.

    Products of the first layer skip zeros (`engine.sparse`), and images are emptier at the top.
    """
    costs = ZEROS_COST + (1 - ZEROS_COST) * np.repeat(fullness(filled), GROUP)[: filled.shape[1]]
    cuts[:] = cuts_by_cost(costs, len(cuts) - 1)

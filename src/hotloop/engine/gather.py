"""The inputs of a minibatch, row by row in the order of the epoch.

Rows that are fetched just before they are used are still in the second cache then. Staged some
minibatches ahead they would be written to the third or to memory, and read from there again.
"""

from hotloop._jit import kernel
from hotloop.engine.fetch import fetch
from hotloop.engine.pointwise import copy
from hotloop.engine.table import N_IN
from hotloop.engine.team import share
from hotloop.engine.tile import tile_shape

__all__ = ["gather"]


@kernel
def gather(net, x, rows, crew):
    """Copy this thread's share of `rows` of the data `x` (flat) to where the network expects its inputs."""
    n_in = net.table[0, N_IN]
    grain, _ = tile_shape(net.work)
    lo, hi = share(len(rows), grain, crew.tid, crew.n_threads)
    for i in range(lo, hi):
        fetch(x, rows[min(i + 1, len(rows) - 1)] * n_in)
        start, to = rows[i] * n_in, net.inputs + i * n_in
        copy(x[start : start + n_in], net.work[to : to + n_in])

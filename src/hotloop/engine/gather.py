"""The inputs of a minibatch, row by row in the order of the epoch.

Rows that are fetched just before they are used are still in the second cache then. Staged some
minibatches ahead they would be written to the third or to memory, and read from there again.
"""

from hotloop._jit import kernel
from hotloop.engine.fetch import STRIP, fetch
from hotloop.engine.pointwise import copy
from hotloop.engine.table import N_IN
from hotloop.engine.team import share
from hotloop.engine.tile import tile_shape

__all__ = ["gather"]


@kernel
def gather(net, block, first, last, crew):
    """Copy this thread's share of rows first:last of the block to where the network has its inputs."""
    n_in, rows = net.table[0, N_IN], block.rows
    grain, _ = tile_shape(net.work)
    lo, hi = share(last - first, grain, crew.tid, crew.n_threads)
    for i in range(lo, hi):
        start, to = rows[first + i] * n_in, net.inputs + i * n_in
        following = rows[min(first + i + 1, len(rows) - 1)] * n_in
        for k in range(0, n_in, STRIP):
            fetch(block.x, following + k)
            end = min(k + STRIP, n_in)
            copy(block.x[start + k : start + end], net.work[to + k : to + end])

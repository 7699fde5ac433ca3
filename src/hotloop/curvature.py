"""Products of a loss's second derivatives with vectors, and the whole matrices.

`run(kernel, arguments)` stages the data block by block and lets `kernel` add to arrays, as `Objective`
does for its gradient.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.engine.curvature import hvp_block
from hotloop.engine.hessian import SEPARABLE, matrix_block
from hotloop.engine.memory import aligned_zeros
from hotloop.engine.table import OP, Mode, Net
from hotloop.engine.tangent import bind_tangents
from hotloop.engine.team import sync_zeros
from hotloop.losses import Criterion

__all__ = ["matrix", "products"]

VECTORS = 8
"""Vectors that go through the network with the values of a batch: they share these, and take memory."""

Run = Callable[[Callable[..., Any], tuple[Any, ...]], float]


def products(run: Run, kernel: Any, net: Net, curvature: Criterion, v: NDArray[Any]) -> NDArray[Any]:
    """The products with the rows of `v` (k, size), some at a time."""
    out = np.zeros_like(v)
    for first in range(0, len(v), VECTORS):
        part = v[first : first + VECTORS]
        run(kernel, (bind_tangents(net, len(part)), curvature, part, out[first : first + VECTORS]))
    return out


def matrix(run: Run, kernel: Any, net: Net, curvature: Criterion, size: int, n_threads: int) -> NDArray[Any]:
    """The products with all unit vectors, (size, size), symmetric.

    Threads share the rows of the matrix, not those of the data: each has a network's memory of its own,
    and never waits for another.
    """
    H = np.zeros((size, size), net.work.dtype)
    own = [_alone(net) for _ in range(n_threads)]
    if set(net.table[:, OP].tolist()) <= set(SEPARABLE):
        run(_by_units(own, curvature, kernel is hvp_block), (H,))
        H = np.triu(H)
        return np.asarray(H + np.triu(H, 1).T)
    run(_by_vectors(own, curvature, kernel), (H,))
    return np.asarray((H + H.T) / 2)


def _by_units(own: list[Net], curvature: Criterion, whole: bool) -> Callable[..., None]:
    """What adds the rows of a thread's units, from the first weight of their layer on."""
    tangents = [bind_tangents(net, 1) for net in own]

    def add(
        _: Net, block: Any, loss: Criterion, scale: float, theta: NDArray[Any], H: NDArray[Any],
        batch_size: int, mode: Mode, sums: Any, tid: int, n_threads: int, sync: Any,
    ) -> None:  # fmt: skip
        """`matrix_block` of one thread, which waits for nobody."""
        parts = np.empty((batch_size, len(H)), H.dtype)
        arguments = tangents[tid], curvature, int(whole), parts, H.reshape(-1), batch_size, mode
        alone = sync_zeros(1)
        matrix_block(own[tid], block, loss, scale, theta, *arguments, tid, n_threads, alone)

    return add


def _by_vectors(own: list[Net], curvature: Criterion, kernel: Any) -> Callable[..., None]:
    """What adds the products with a thread's unit vectors."""
    tangents = [bind_tangents(net, VECTORS) for net in own]

    def add(
        _: Net, block: Any, loss: Criterion, scale: float, theta: NDArray[Any], H: NDArray[Any],
        batch_size: int, mode: Mode, sums: Any, tid: int, n_threads: int, sync: Any,
    ) -> None:  # fmt: skip
        """`kernel` on each of them, in one thread."""
        units, alone = np.zeros((VECTORS, len(H)), H.dtype), sync_zeros(1)
        for first in range(tid * VECTORS, len(H), n_threads * VECTORS):
            out = H[first : first + VECTORS]
            v = units[: len(out)]
            np.fill_diagonal(v[:, first:], 1)
            arguments = tangents[tid], curvature, v, out, batch_size, mode, np.zeros_like(sums)
            kernel(own[tid], block, loss, scale, theta, *arguments, 0, 1, alone)
            v[:] = 0

    return add


def _alone(net: Net) -> Net:
    """The same table and addresses, with memory of its own."""
    return net._replace(
        work=aligned_zeros(net.work.size, net.work.dtype),
        running=net.running.copy(),
        row_loss=net.row_loss.copy(),
        row_hit=net.row_hit.copy(),
    )

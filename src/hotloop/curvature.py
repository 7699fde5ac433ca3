"""Products of a loss's second derivatives with vectors, and the whole matrices.

`run(kernel, arguments)` stages the data block by block and lets `kernel` add to arrays, as `Objective`
does for its gradient.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.engine.table import Mode, Net, aligned_zeros
from hotloop.engine.tangent import bind_tangents
from hotloop.engine.team import SYNC_SIZE
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
    """The products with all unit vectors, (size, size): threads share the vectors, not the rows of the data.

    Each has a network's memory of its own, so they never wait for each other.
    """
    H = np.zeros((size, size), net.work.dtype)
    own = [_alone(net) for _ in range(n_threads)]
    tangents = [bind_tangents(each, min(VECTORS, size)) for each in own]

    def columns(
        _: Net, block: Any, loss: Criterion, scale: float, theta: NDArray[Any], H: NDArray[Any],
        batch_size: int, mode: Mode, sums: NDArray[np.float64], tid: int, n_threads: int, sync: Any,
    ) -> None:  # fmt: skip
        units, nobody = np.zeros((VECTORS, size), H.dtype), np.zeros(SYNC_SIZE, np.int64)
        for first in range(tid * VECTORS, size, n_threads * VECTORS):
            out = H[first : first + VECTORS]
            v = units[: len(out)]
            np.fill_diagonal(v[:, first:], 1)
            arguments = tangents[tid], curvature, v, out, batch_size, mode, np.zeros_like(sums)
            kernel(own[tid], block, loss, scale, theta, *arguments, 0, 1, nobody)
            v[:] = 0

    run(columns, (H,))
    return H


def _alone(net: Net) -> Net:
    """The same table and addresses, with memory of its own."""
    return net._replace(
        work=aligned_zeros(net.work.size, net.work.dtype),
        running=net.running.copy(),
        row_loss=net.row_loss.copy(),
        row_hit=net.row_hit.copy(),
    )

"""The norm of the gradient, and limits to it: called by their address, where a training asks for them."""

import numpy as np

from hotloop._jit import kernel
from hotloop.engine.address import address_of
from hotloop.engine.table import (
    BIAS,
    CLIP,
    DENSE,
    N_OUT,
    NONE,
    NORM,
    OP,
    PARTIAL,
    SQUARES,
    SUM_SQUARES,
    WEIGHT,
    Net,
)

__all__ = ["clip", "gradient_norm", "link_clip", "sum_squares"]


def link_clip(net: Net) -> None:
    """Give `net` the addresses of the kernels of this file."""
    numbers, sums = net.work, net.partial[SQUARES]
    net.calls[SUM_SQUARES] = address_of(sum_squares, (net.table[0], sums, numbers, 0, 0))
    net.calls[NORM] = address_of(gradient_norm, (net.table, sums, numbers))
    net.calls[CLIP] = address_of(clip, (numbers, 1.0, 1.0))


@kernel
def sum_squares(row, sums, grad, lo, hi):
    """Note Σg² of rows lo:hi of the kernel of a row of the table, one by one."""
    n_out = row[N_OUT]
    for i in range(lo, hi):
        start = row[WEIGHT] + i * n_out
        sums[row[PARTIAL] + i] = squares(grad[start : start + n_out])


@kernel
def squares(g):
    """Σg², in float64."""
    total = 0.0
    for i in range(len(g)):
        total += np.float64(g[i]) * np.float64(g[i])
    return total


@kernel
def gradient_norm(table, sums, grad):
    """‖∂L/∂θ‖, of kernels from `sum_squares`: every thread adds up the same numbers in the same order."""
    total = 0.0
    for i in range(len(sums)):
        total += sums[i]
    for k in range(len(table)):
        row = table[k]
        if row[BIAS] != NONE:
            total += squares(grad[row[BIAS] : row[BIAS] + row[N_OUT]])
        if row[OP] != DENSE and row[WEIGHT] != NONE:
            total += squares(grad[row[WEIGHT] : row[WEIGHT] + row[N_OUT]])
    return np.sqrt(total)


@kernel
def clip(part, factor, most):
    """part *= factor; then limit each number to ± `most`, unless that is 0. NaN stays NaN."""
    if factor != 1.0:
        number = part.dtype.type(factor)
        for i in range(len(part)):
            part[i] *= number
    if most > 0.0:
        high = part.dtype.type(most)
        for i in range(len(part)):
            x = high if part[i] > high else part[i]
            part[i] = -high if x < -high else x

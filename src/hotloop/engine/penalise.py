"""What penalties and limits do in a step: called by their address, where a network has one."""

import numpy as np

from hotloop._jit import kernel
from hotloop.engine.address import address_of
from hotloop.engine.table import (
    COLUMN,
    COLUMN_GRAIN,
    L1_STRENGTH,
    L2_STRENGTH,
    LIMIT,
    LIMITS,
    N_IN,
    N_OUT,
    PARTIAL,
    PENALISE,
    PENALTY,
    PENALTY_SUMS,
    SHRINK,
    WEIGHT,
    Net,
)
from hotloop.engine.team import Crew, share, sync_zeros
from hotloop.penalties import (
    GRADIENT,
    L0_CODE,
    MAX_NORM,
    PROXIMAL,
    keep_largest,
    limit_norms,
    penalty_gradient,
    penalty_value,
    soft_threshold,
)

__all__ = ["add_penalties", "link_penalties", "penalty_sum"]


def link_penalties(net: Net) -> None:
    """Give `net` the addresses of those kernels of this file that its table needs."""
    numbers, codes = net.work, net.table[:, PENALTY]
    if net.penalised:
        arguments = (net.table[0], net.options[0], net.partial[PENALTY_SUMS], 1.0, numbers, numbers, 0, 0, 0)
        net.calls[PENALISE] = address_of(add_penalty, arguments)
    if PROXIMAL in codes:
        net.calls[SHRINK] = address_of(soft_threshold, (numbers, 1.0))
    if net.limited:
        net.calls[LIMITS] = address_of(keep_limits, (net, numbers, Crew(0, 1, sync_zeros(1))))


@kernel
def kernel_end(row):
    """Where in θ the kernel of a dense row of the table ends."""
    return row[WEIGHT] + row[N_IN] * row[N_OUT]


@kernel
def add_penalty(row, options, sums, strength, theta, grad, at, lo, hi):
    """Add `strength` times the penalty's gradient to that of rows lo:hi of a kernel, grad[at:].

    `row` and `options` are those of the table; the value is noted in `sums`, row by row of the kernel.
    """
    code, n_out, first = row[PENALTY], row[N_OUT], row[PARTIAL]
    if code not in (GRADIENT, PROXIMAL):
        return
    l1, l2 = strength * options[L1_STRENGTH], strength * options[L2_STRENGTH]
    for i in range(lo, hi):
        start = row[WEIGHT] + i * n_out
        sums[first + i] = penalty_value(theta[start : start + n_out], l1, l2)
    start, end = row[WEIGHT] + lo * n_out, row[WEIGHT] + hi * n_out
    penalty_gradient(theta[start:end], grad[at : at + end - start], 0.0 if code == PROXIMAL else l1, l2)


@kernel
def add_penalties(net, theta, grad):
    """Add the gradient of all penalties to `grad`, the proximal ones by their subgradient; the value."""
    for k in range(len(net.table)):
        row, options, sums = net.table[k], net.options[k], net.partial[PENALTY_SUMS]
        if row[PENALTY] in (GRADIENT, PROXIMAL):
            add_penalty(row, options, sums, 1.0, theta, grad, row[WEIGHT], np.int64(0), row[N_IN])
            if row[PENALTY] == PROXIMAL:
                start, end = row[WEIGHT], kernel_end(row)
                penalty_gradient(theta[start:end], grad[start:end], options[L1_STRENGTH], 0.0)
    return penalty_sum(net)


@kernel
def penalty_sum(net):
    """The value of all penalties: the sum over the rows of the kernels, in their order."""
    total = 0.0
    for i in range(net.partial.shape[1]):
        total += net.partial[PENALTY_SUMS, i]
    return total


@kernel
def keep_limits(net, theta, crew):
    """After a step, when all of θ is updated: change the kernels that are beyond their limit."""
    for k in range(len(net.table)):
        row = net.table[k]
        w = theta[row[WEIGHT] : kernel_end(row)]
        if row[PENALTY] == L0_CODE and k % crew.n_threads == crew.tid:
            keep_largest(w, int(net.options[k, LIMIT]))
        elif row[PENALTY] == MAX_NORM:
            lo, hi = share(row[N_OUT], COLUMN_GRAIN, crew.tid, crew.n_threads)
            scratch = net.work[row[COLUMN] : row[COLUMN] + row[N_OUT]]
            limit_norms(w, row[N_OUT], lo, hi, net.options[k, LIMIT], scratch)

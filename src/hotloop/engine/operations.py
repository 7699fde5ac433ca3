"""The operations beside dense layers and the commonest activations, forward and backward.

All but batch normalisation work on rows alone; its statistics are over the whole batch: there the
threads meet. They are compiled when a network first has one, and called by their address.
"""

from typing import Any

from hotloop._jit import kernel
from hotloop.activations import (
    COMMON,
    prelu,
    prelu_backward,
    rarer_activate,
    rarer_activate_backward,
    softmax_backward,
    softmax_rows,
)
from hotloop.engine.address import address_of, call
from hotloop.engine.normalisation import (
    batch_statistics,
    normalise,
    normalise_backward,
    running_statistics,
    sum_columns,
)
from hotloop.engine.pointwise import divide, drop, standardize
from hotloop.engine.sparse import link_sparse
from hotloop.engine.table import (
    ACTIVATE,
    ACTIVATE_BACKWARD,
    BACKWARD,
    BATCH_NORM,
    CODE,
    COLUMN_GRAIN,
    DELTA,
    DENSE,
    DROPOUT,
    ELEMENTWISE,
    FORWARD,
    N_OUT,
    OP,
    PREDICTION,
    PRELU,
    RATE,
    RUNNING,
    SOFTMAX,
    STANDARDIZE,
    VALUE,
    WEIGHT,
    Net,
)
from hotloop.engine.team import Crew, barrier, share, sync_zeros

__all__ = ["link"]


def link(net: Net) -> Net:
    """`net`, with the addresses of the kernels that its table needs beside those of the loop."""
    table, numbers = net.table, net.work
    rarer = {code for op, code in table[:, [OP, CODE]].tolist() if op == ELEMENTWISE and code not in COMMON}
    others = set(table[:, OP].tolist()) - {DENSE, ELEMENTWISE}
    if rarer:
        net.calls[ACTIVATE] = address_of(rarer_activate, (0, numbers, numbers))
        net.calls[ACTIVATE_BACKWARD] = address_of(rarer_activate_backward, (0, numbers, numbers, numbers))
    if rarer or others:
        crew = Crew(0, 1, sync_zeros(1))
        arguments: tuple[Any, ...] = (net, 0, numbers, numbers, 0, 0, 0, 0, PREDICTION, crew)
        whole = bool(others)
        net.calls[FORWARD] = address_of(other_forward if whole else rarer_forward, arguments)
        net.calls[BACKWARD] = address_of(other_backward if whole else rarer_backward, arguments)
    if not net.direct:
        link_sparse(net)
    return net


@kernel
def rarer_forward(net, k, theta, source, offset, n, lo, hi, mode, crew):
    """Values of an activation, row k of the table, for rows lo:hi of the batch."""
    row, n_out = net.table[k], net.table[k, N_OUT]
    z = source[offset + lo * n_out : offset + hi * n_out]
    a = net.work[row[VALUE] + lo * n_out : row[VALUE] + hi * n_out]
    call(net.calls[ACTIVATE], (row[CODE], z, a))


@kernel
def rarer_backward(net, k, theta, source, offset, n, lo, hi, mode, crew):
    """From ∂L/∂outputs of an activation to ∂L/∂inputs, for rows lo:hi of the batch."""
    row, n_out = net.table[k], net.table[k, N_OUT]
    z = source[offset + lo * n_out : offset + hi * n_out]
    a = net.work[row[VALUE] + lo * n_out : row[VALUE] + hi * n_out]
    delta = net.work[row[DELTA] + lo * n_out : row[DELTA] + hi * n_out]
    call(net.calls[ACTIVATE_BACKWARD], (row[CODE], z, a, delta))


@kernel
def other_forward(net, k, theta, source, offset, n, lo, hi, mode, crew):
    """Values of row k of the table for rows lo:hi of the batch of `n`; all its inputs are `source`."""
    row = net.table[k]
    op, n_out = row[OP], row[N_OUT]
    z = source[offset + lo * n_out : offset + hi * n_out]
    a = net.work[row[VALUE] + lo * n_out : row[VALUE] + hi * n_out]
    if op == BATCH_NORM:
        first, last = share(n_out, COLUMN_GRAIN, crew.tid, crew.n_threads)
        if mode.training and n > 1:
            barrier(crew.sync, crew.n_threads)
            batch_statistics(net, k, source, offset, n, first, last)
        else:
            running_statistics(net, k, first, last)
        barrier(crew.sync, crew.n_threads)
        normalise(net, k, theta, source, offset, lo, hi)
    elif op == DROPOUT:
        drop(z, a, (mode.before + lo) * n_out, net.options[k, RATE], mode, k)
    elif op == PRELU:
        prelu(z, a, theta[row[WEIGHT] : row[WEIGHT] + n_out])
    elif op == SOFTMAX:
        softmax_rows(z, a, n_out)
    elif op == STANDARDIZE:
        standardize(z, a, net.running[row[RUNNING] : row[RUNNING] + 2 * n_out])
    else:
        rarer_forward(net, k, theta, source, offset, n, lo, hi, mode, crew)


@kernel
def other_backward(net, k, theta, source, offset, n, lo, hi, mode, crew):
    """From ∂L/∂outputs of row k of the table to ∂L/∂inputs, for rows lo:hi of the batch of `n`.

    Batch normalisation also leaves the sums behind that are the gradients of its own parameters.
    """
    row = net.table[k]
    op, n_out = row[OP], row[N_OUT]
    z = source[offset + lo * n_out : offset + hi * n_out]
    delta = net.work[row[DELTA] + lo * n_out : row[DELTA] + hi * n_out]
    if op == BATCH_NORM:
        first, last = share(n_out, COLUMN_GRAIN, crew.tid, crew.n_threads)
        barrier(crew.sync, crew.n_threads)
        sum_columns(net, k, source, offset, row[DELTA], n, first, last)
        barrier(crew.sync, crew.n_threads)
        through = 1.0 if mode.training and n > 1 else 0.0
        normalise_backward(net, k, theta, source, offset, row[DELTA], n, lo, hi, through)
    elif op == DROPOUT:
        drop(delta, delta, (mode.before + lo) * n_out, net.options[k, RATE], mode, k)
    elif op == PRELU:
        if k > net.first:
            before = net.table[k - 1][DELTA]
            slopes = theta[row[WEIGHT] : row[WEIGHT] + n_out]
            prelu_backward(z, delta, net.work[before + lo * n_out : before + hi * n_out], slopes)
    elif op == SOFTMAX:
        a = net.work[row[VALUE] + lo * n_out : row[VALUE] + hi * n_out]
        softmax_backward(a, delta, n_out)
    elif op == STANDARDIZE:
        before, deviation = net.table[k - 1][DELTA], row[RUNNING] + n_out
        to = net.work[before + lo * n_out : before + hi * n_out]
        divide(delta, to, net.running[deviation : deviation + n_out])
    elif op == ELEMENTWISE:
        rarer_backward(net, k, theta, source, offset, n, lo, hi, mode, crew)

"""Forward and backward through a network: they interpret its table, row by row.

Each thread of a crew computes its rows of the batch. Dense layers and the commonest activations are
here; the other operations are in `engine.operations`, called by their address.
"""

import numpy as np

from hotloop._jit import kernel
from hotloop.activations import COMMON, RELU, activate, activate_backward
from hotloop.engine.address import NOWHERE, call
from hotloop.engine.lone import Lone
from hotloop.engine.matmul import OWN_ORDER, Matrix
from hotloop.engine.sparse import multiply_layer
from hotloop.engine.table import (
    BACKWARD,
    BIAS,
    CODE,
    DELTA,
    DENSE,
    DIRECT_PRODUCT,
    ELEMENTWISE,
    FORWARD,
    N_IN,
    N_OUT,
    NONE,
    OP,
    PLACES,
    SINGLE_FORWARD,
    VALUE,
    WEIGHT,
)
from hotloop.engine.team import share
from hotloop.engine.tile import PLAIN, RECTIFIED, tile_shape
from hotloop.losses import losses_of_rows

__all__ = ["backward", "backward_row", "forward", "forward_direct", "is_relu", "loss_rows"]


@kernel
def forward(net, theta, x, n, mode, crew, panel):
    """Values of every row of the table, for this thread's rows of the batch `x` (flat, n x n_in)."""
    grain, _ = tile_shape(net.work)
    lo, hi = share(n, grain, crew.tid, crew.n_threads)
    source, offset = x, np.int64(0)
    done = mode.begun
    for k in range(len(net.table)):
        row = net.table[k]
        op, n_in, n_out = row[OP], row[N_IN], row[N_OUT]
        if k < done:
            pass  # in a relay, in the step before, or by the dense row before
        elif op == DENSE and mode.training and net.calls[SINGLE_FORWARD] != NOWHERE and n_out > OWN_ORDER:
            # Minibatches of one row, which one thread has. (To few outputs sums have another order.)
            if lo < hi:
                one = Lone(row, net.work, net.partial[PLACES], net.zeros)
                call(net.calls[SINGLE_FORWARD], (one, theta, source, offset, np.int64(0), n_in))
        elif op == DENSE:
            after, value = PLAIN, row[VALUE]
            if is_relu(net, k + 1):
                after, value, done = RECTIFIED, net.table[k + 1][VALUE], k + 2
            out = Matrix(net.work, value + lo * n_out, n_out, 1)
            inputs = Matrix(source, offset + lo * n_in, n_in, 1)
            w = Matrix(theta, row[WEIGHT], n_out, 1)
            biases, bias = (theta, row[BIAS]) if row[BIAS] != NONE else (net.work, net.zeros)
            start = Matrix(biases, bias, 0, 1)
            multiply_layer(net, k, out, start, inputs, w, hi - lo, n_out, n_in, panel, after)
        elif op == ELEMENTWISE and row[CODE] in COMMON:
            z = source[offset + lo * n_in : offset + hi * n_in]
            activate(row[CODE], z, net.work[row[VALUE] + lo * n_out : row[VALUE] + hi * n_out])
        else:
            call(net.calls[FORWARD], (net, k, theta, source, offset, n, lo, hi, mode, crew))
        source, offset = net.work, row[VALUE]


@kernel
def forward_direct(net, x, places, theta, crew, panel):
    """What `forward` does first, where row 0 of the table reads its inputs where they lie (`engine.direct`).

    They are the rows of `x` in `places`. As many rows of the table have outputs then as `Net.direct` says.
    """
    row, (grain, _) = net.table[0], tile_shape(net.work)
    n_in, n_out, value = row[N_IN], row[N_OUT], net.table[net.direct - 1, VALUE]
    lo, hi = share(len(places), grain, crew.tid, crew.n_threads)
    biases, bias = (theta, row[BIAS]) if row[BIAS] != NONE else (net.work, net.zeros)
    out, start = Matrix(net.work, value + lo * n_out, n_out, 1), Matrix(biases, bias, 0, 1)
    w, after = Matrix(theta, row[WEIGHT], n_out, 1), RECTIFIED if net.direct == 2 else PLAIN
    product = (out, start, x, places[lo:hi], hi - lo, n_in, 0, w, n_out, n_in, panel, after)
    call(net.calls[DIRECT_PRODUCT], product)


@kernel
def is_relu(net, k):
    """Whether row k of the table is a ReLU: products before and after it do it in passing."""
    return k < len(net.table) and net.table[k, OP] == ELEMENTWISE and net.table[k, CODE] == RELU


@kernel
def loss_rows(net, loss, targets, weights, scale, crew):
    """Loss and hit of this thread's rows, and the deltas of the last row of the table.

    `loss` is a `Criterion`, `targets` is (batch, width), `weights` (batch,). A delta is ∂L/∂outputs for
    L = scale Σ weight · loss.
    """
    last = net.table[len(net.table) - 1]
    n_out = last[N_OUT]
    grain, _ = tile_shape(net.work)
    lo, hi = share(len(weights), grain, crew.tid, crew.n_threads)
    outputs = net.work[last[VALUE] + lo * n_out : last[VALUE] + hi * n_out]
    delta = net.work[last[DELTA] + lo * n_out : last[DELTA] + hi * n_out]
    losses, hits = net.row_loss[lo:hi], net.row_hit[lo:hi]
    losses_of_rows(loss, outputs, targets[lo:hi], weights[lo:hi], scale, delta, losses, hits)


@kernel
def backward(net, theta, x, n, mode, crew, panel):
    """Deltas of the rows of the table, from the last to the first that has parameters.

    For this thread's rows of the batch. Batch normalisation also leaves the sums behind that are the
    gradients of its own parameters.
    """
    grain, _ = tile_shape(net.work)
    lo, hi = share(n, grain, crew.tid, crew.n_threads)
    for k in range(len(net.table) - 1, net.first - 1, -1):
        backward_row(net, k, theta, x, n, lo, hi, mode, crew, panel)


@kernel
def backward_row(net, k, theta, x, n, lo, hi, mode, crew, panel):
    """From ∂L/∂outputs of row k of the table to ∂L/∂inputs, for rows lo:hi of the batch of `n`."""
    row = net.table[k]
    op, n_in, n_out = row[OP], row[N_IN], row[N_OUT]
    if op == DENSE:
        if k > net.first:
            out = Matrix(net.work, net.table[k - 1][DELTA] + lo * n_in, n_in, 1)
            deltas = Matrix(net.work, row[DELTA] + lo * n_out, n_out, 1)
            transposed = Matrix(theta, row[WEIGHT], 1, n_out)
            zeros = Matrix(net.work, net.zeros, 0, 1)
            # Where the ReLU before has let nothing through, nothing goes back.
            before = net.table[k - 1]
            after = before[VALUE] - before[DELTA] if is_relu(net, k - 1) else PLAIN
            if len(net.row_loss) == 1 and hi > lo:
                # Of one sample the product is turned over: rows of W as they lie, times a column.
                column, result = Matrix(net.work, row[DELTA], 1, 1), Matrix(out.data, out.offset, 1, 1)
                w = Matrix(theta, row[WEIGHT], n_out, 1)
                multiply_layer(net, k, result, zeros, w, column, n_in, 1, n_out, panel, after)
            else:
                multiply_layer(net, k, out, zeros, deltas, transposed, hi - lo, n_in, n_out, panel, after)
        return
    if is_relu(net, k) and k + 1 < len(net.table) and net.table[k + 1, OP] == DENSE:
        return  # the dense row after it has done this
    source, offset = (net.work, net.table[k - 1][VALUE]) if k > 0 else (x, np.int64(0))
    if op == ELEMENTWISE and row[CODE] in COMMON:
        z = source[offset + lo * n_in : offset + hi * n_in]
        a = net.work[row[VALUE] + lo * n_out : row[VALUE] + hi * n_out]
        delta = net.work[row[DELTA] + lo * n_out : row[DELTA] + hi * n_out]
        activate_backward(row[CODE], z, a, delta)
    else:
        call(net.calls[BACKWARD], (net, k, theta, source, offset, n, lo, hi, mode, crew))

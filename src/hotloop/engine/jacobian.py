"""Derivatives of a network's outputs, and of each sample's loss: entry kernels.

Where the inputs are what moves, the first row of the table is the identity (`Sequential.bind_inputs`):
then their deltas are computed as those of any other row.
"""

import numpy as np

from hotloop._jit import kernel
from hotloop.activations import prelu_gradient
from hotloop.engine.descent import add_gradient
from hotloop.engine.network import backward, backward_row, forward, loss_rows
from hotloop.engine.pointwise import copy
from hotloop.engine.table import (
    BATCH_NORM,
    BIAS,
    COLUMN,
    DELTA,
    DENSE,
    N_IN,
    N_OUT,
    NONE,
    OP,
    PREDICTION,
    PRELU,
    VALUE,
    WEIGHT,
)
from hotloop.engine.tangent import slopes, tangent_forward
from hotloop.engine.team import Crew, barrier, share
from hotloop.engine.tile import tile_shape

__all__ = ["jacobian_block", "jvp_block", "sample_gradients_block", "vjp_block"]


@kernel
def sample_gradients_block(net, block, loss, theta, out, batch_size, mode, tid, n_threads, sync):
    """The gradient of each row's own loss, times its weight: `out` (rows, 1, size), zeros before."""
    crew = Crew(tid, n_threads, sync)
    rows, n_in = len(block.weights), net.table[0, N_IN]
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    for first in range(0, rows, batch_size):
        last = min(first + batch_size, rows)
        x = block.x[first * n_in : last * n_in]
        forward(net, theta, x, last - first, mode, crew, panel)
        loss_rows(net, loss, block.targets[first:last], block.weights[first:last], 1.0, crew)
        sample_gradients(net, theta, x, last - first, mode, out[first:last], 0, crew, panel)
        # A shorter last batch is shared otherwise: nobody may start on it while others use its rows.
        barrier(sync, n_threads)


@kernel
def jacobian_block(net, x, theta, by_inputs, out, batch_size, tid, n_threads, sync):
    """∂outputs/∂θ, or by the inputs, of the rows of `x`: `out` (rows, outputs, numbers), zeros before."""
    crew = Crew(tid, n_threads, sync)
    n_in, last = net.table[0, N_IN], net.table[len(net.table) - 1]
    n_out, start = last[N_OUT], net.table[0, DELTA]
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    for first in range(0, len(out), batch_size):
        n = min(batch_size, len(out) - first)
        part = x[first * n_in : (first + n) * n_in]
        forward(net, theta, part, n, PREDICTION, crew, panel)
        for j in range(n_out):
            deltas = net.work[last[DELTA] : last[DELTA] + n * n_out]
            deltas[:] = 0
            for i in range(n):
                deltas[i * n_out + j] = 1
            if not by_inputs:
                sample_gradients(net, theta, part, n, PREDICTION, out[first : first + n], j, crew, panel)
                continue
            backward(net, theta, part, n, PREDICTION, crew, panel)
            for i in range(n):
                copy(net.work[start + i * n_in : start + (i + 1) * n_in], out[first + i, j])


@kernel
def jvp_block(net, tangents, x, dx, theta, v, out, batch_size, tid, n_threads, sync):
    """R of the outputs for the rows of `x`, where θ moves by `v` (size,) and `x` by `dx` (as `x`)."""
    crew = Crew(tid, n_threads, sync)
    n_in, last = net.table[0, N_IN], net.table[len(net.table) - 1]
    n_out, rows = last[N_OUT], len(x) // n_in
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    for first in range(0, rows, batch_size):
        n = min(batch_size, rows - first)
        part, moved = x[first * n_in : (first + n) * n_in], dx[first * n_in : (first + n) * n_in]
        forward(net, theta, part, n, PREDICTION, crew, panel)
        slopes(net, tangents, part, n, crew)
        tangent_forward(net, tangents, 0, theta, v, part, moved, n, PREDICTION, crew, panel)
        found = tangents.work[0][last[VALUE] : last[VALUE] + n * n_out]
        copy(found, out[first * n_out : (first + n) * n_out])


@kernel
def vjp_block(net, x, u, theta, by_inputs, out, batch_size, tid, n_threads, sync):
    """Σ uᵀ ∂outputs/∂θ added to `out` (size,), or uᵀ ∂outputs/∂inputs of each row written there.

    `u` is (rows * outputs,), and then `out` as `x`.
    """
    crew = Crew(tid, n_threads, sync)
    n_in, last = net.table[0, N_IN], net.table[len(net.table) - 1]
    n_out, start, rows = last[N_OUT], net.table[0, DELTA], len(x) // n_in
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    for first in range(0, rows, batch_size):
        n = min(batch_size, rows - first)
        part = x[first * n_in : (first + n) * n_in]
        forward(net, theta, part, n, PREDICTION, crew, panel)
        deltas = net.work[last[DELTA] : last[DELTA] + n * n_out]
        copy(u[first * n_out : (first + n) * n_out], deltas)
        backward(net, theta, part, n, PREDICTION, crew, panel)
        if by_inputs:
            copy(net.work[start : start + n * n_in], out[first * n_in : (first + n) * n_in])
        else:
            add_gradient(net, part, n, out, True, crew, panel)


@kernel
def sample_gradients(net, theta, x, n, mode, out, j, crew, panel):
    """From the deltas of the last row: the gradient of each of this thread's rows, to `out[row, j]`.

    Each row of the table gives its part while its deltas are there.
    """
    grain, _ = tile_shape(net.work)
    lo, hi = share(n, grain, crew.tid, crew.n_threads)
    for k in range(len(net.table) - 1, net.first - 1, -1):
        n_in, n_out = net.table[k, N_IN], net.table[k, N_OUT]
        source, offset = (net.work, net.table[k - 1][VALUE]) if k > 0 else (x, np.int64(0))
        for i in range(lo, hi):
            inputs = source[offset + i * n_in : offset + (i + 1) * n_in]
            delta = net.work[net.table[k, DELTA] + i * n_out : net.table[k, DELTA] + (i + 1) * n_out]
            row_gradient(net, k, inputs, delta, out[i, j])
        backward_row(net, k, theta, x, n, lo, hi, mode, crew, panel)


@kernel
def row_gradient(net, k, inputs, delta, grad):
    """∂/∂θ of one sample by the parameters of row k of the table."""
    op, width, where = net.table[k, OP], net.table[k, N_OUT], net.table[k, WEIGHT]
    if net.table[k, BIAS] != NONE:
        copy(delta, grad[net.table[k, BIAS] : net.table[k, BIAS] + width])
    if op == DENSE:
        for p in range(len(inputs)):
            to = grad[where + p * width : where + (p + 1) * width]
            for q in range(len(to)):
                to[q] = inputs[p] * delta[q]
    elif op == PRELU:
        prelu_gradient(inputs, delta, grad[where : where + width])
    elif op == BATCH_NORM:
        at = net.table[k, COLUMN]
        mean, inverse = net.work[at : at + width], net.work[at + width : at + 2 * width]
        to = grad[where : where + width]
        for q in range(len(to)):
            to[q] = (inputs[q] - mean[q]) * inverse[q] * delta[q]

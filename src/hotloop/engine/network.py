"""Forward and backward through a network: they interpret its table, row by row.

`lo:hi` are the rows of the batch that this thread computes. Everything up to the deltas works on
rows alone; the gradient then sums over the whole batch, each thread for its part of θ.
"""

from hotloop._jit import kernel
from hotloop.activations import activate, activate_backward
from hotloop.engine.matmul import Matrix, multiply
from hotloop.engine.table import (
    BIAS,
    CODE,
    DELTA,
    DENSE,
    ELEMENTWISE,
    KERNEL,
    N_IN,
    N_OUT,
    NONE,
    OP,
    VALUE,
)
from hotloop.engine.team import share
from hotloop.engine.tile import tile_shape
from hotloop.losses import hit_of_row, loss_of_row
from hotloop.optimizers import optimizer_step

__all__ = ["add_gradient", "backward", "descend", "forward", "loss_rows"]

BIAS_GRAIN = 64
"""Biases in a thread's grain: whole cache lines, whatever the dtype."""
CHUNK = 4096
"""Numbers of a gradient that are computed, then used: with θ and Adam's state they fit the first cache."""


@kernel
def forward(net, theta, x, lo, hi, panel):
    """Values of every row of the table, for rows lo:hi of the batch `x` (flat, batch x n_in)."""
    source, offset = x, 0
    for k in range(len(net.table)):
        row = net.table[k]
        n_in, n_out = row[N_IN], row[N_OUT]
        value = row[VALUE]
        if row[OP] == DENSE:
            out = Matrix(net.work, value + lo * n_out, n_out, 1)
            a = Matrix(source, offset + lo * n_in, n_in, 1)
            w = Matrix(theta, row[KERNEL], n_out, 1)
            if row[BIAS] == NONE:
                multiply(out, Matrix(net.work, net.zeros, 0, 1), a, w, hi - lo, n_out, n_in, panel)
            else:
                multiply(out, Matrix(theta, row[BIAS], 0, 1), a, w, hi - lo, n_out, n_in, panel)
        elif row[OP] == ELEMENTWISE:
            z = source[offset + lo * n_in : offset + hi * n_in]
            activate(row[CODE], z, net.work[value + lo * n_out : value + hi * n_out])
        source, offset = net.work, value


@kernel
def loss_rows(net, loss, targets, weights, lo, hi, scale):
    """Loss and hit of rows lo:hi, and the deltas of the last row of the table.

    `loss` is a `Criterion`, `targets` is (batch, width), `weights` (batch,). A delta is ∂L/∂outputs for
    L = scale Σ weight · loss.
    """
    last = net.table[len(net.table) - 1]
    n_out = last[N_OUT]
    for i in range(lo, hi):
        outputs = net.work[last[VALUE] + i * n_out : last[VALUE] + (i + 1) * n_out]
        delta = net.work[last[DELTA] + i * n_out : last[DELTA] + (i + 1) * n_out]
        net.row_loss[i] = loss_of_row(loss, outputs, targets[i], delta)
        net.row_hit[i] = hit_of_row(loss, outputs, targets[i])
        factor = net.work.dtype.type(weights[i] * scale)
        if factor == 0:
            delta[:] = 0  # also where the loss is infinite: a row of no weight is not there
        for j in range(len(delta)):
            delta[j] *= factor


@kernel
def backward(net, theta, x, lo, hi, panel):
    """Deltas of every row of the table, from the last to the first, for rows lo:hi of the batch."""
    for k in range(len(net.table) - 1, -1, -1):
        row = net.table[k]
        n_in, n_out = row[N_IN], row[N_OUT]
        if row[OP] == ELEMENTWISE:
            source, offset = (net.work, net.table[k - 1][VALUE]) if k > 0 else (x, 0)
            z = source[offset + lo * n_in : offset + hi * n_in]
            a = net.work[row[VALUE] + lo * n_out : row[VALUE] + hi * n_out]
            activate_backward(row[CODE], z, a, net.work[row[DELTA] + lo * n_out : row[DELTA] + hi * n_out])
        elif row[OP] == DENSE and k > 0:
            out = Matrix(net.work, net.table[k - 1][DELTA] + lo * n_in, n_in, 1)
            delta = Matrix(net.work, row[DELTA] + lo * n_out, n_out, 1)
            transposed = Matrix(theta, row[KERNEL], 1, n_out)
            zeros = Matrix(net.work, net.zeros, 0, 1)
            multiply(out, zeros, delta, transposed, hi - lo, n_in, n_out, panel)


@kernel
def dense_gradient(net, row, source, offset, n, lo, hi, grad, accumulate, panel):
    """∂L/∂W of rows lo:hi of a dense kernel: xᵀ δ, summed over the `n` rows of the batch."""
    n_in, n_out = row[N_IN], row[N_OUT]
    out = Matrix(grad, row[KERNEL] + lo * n_out, n_out, 1)
    start = out if accumulate else Matrix(net.work, net.zeros, 0, 1)
    transposed = Matrix(source, offset + lo, 1, n_in)
    delta = Matrix(net.work, row[DELTA], n_out, 1)
    multiply(out, start, transposed, delta, hi - lo, n_out, n, panel)


@kernel
def bias_gradient(net, row, n, lo, hi, grad, accumulate):
    """∂L/∂b of biases lo:hi: δ, summed over the `n` rows of the batch."""
    n_out = row[N_OUT]
    bias = grad[row[BIAS] + lo : row[BIAS] + hi]
    if not accumulate:
        bias[:] = 0
    for i in range(n):
        first = row[DELTA] + i * n_out
        delta = net.work[first + lo : first + hi]
        for j in range(len(bias)):
            bias[j] += delta[j]


@kernel
def add_gradient(net, x, n, grad, tid, n_threads, panel):
    """Add this thread's part of ∂L/∂θ, summed over the `n` rows of the batch, to `grad`.

    Each thread takes rows of every kernel and a range of every bias.
    """
    grain, _ = tile_shape(net.work)
    source, offset = x, 0
    for k in range(len(net.table)):
        row = net.table[k]
        if row[OP] == DENSE:
            lo, hi = share(row[N_IN], grain, tid, n_threads)
            dense_gradient(net, row, source, offset, n, lo, hi, grad, True, panel)
            if row[BIAS] != NONE:
                lo, hi = share(row[N_OUT], BIAS_GRAIN, tid, n_threads)
                bias_gradient(net, row, n, lo, hi, grad, True)
        source, offset = net.work, row[VALUE]


@kernel
def descend(net, x, n, update, step, theta, grad, tid, n_threads, panel):
    """The same parts of ∂L/∂θ, each followed at once by its optimizer step.

    A chunk of the gradient is used while it is in the first cache: a pass over θ less. What a
    thread updates nobody else reads before the next barrier.
    """
    grain, _ = tile_shape(net.work)
    source, offset = x, 0
    for k in range(len(net.table)):
        row = net.table[k]
        n_out = row[N_OUT]
        if row[OP] == DENSE:
            lo, hi = share(row[N_IN], grain, tid, n_threads)
            chunk = max(CHUNK // n_out // grain, 1) * grain
            for first in range(lo, hi, chunk):
                last = min(first + chunk, hi)
                dense_gradient(net, row, source, offset, n, first, last, grad, False, panel)
                where = row[KERNEL]
                optimizer_step(update, step, theta, grad, where + first * n_out, where + last * n_out)
            if row[BIAS] != NONE:
                lo, hi = share(n_out, BIAS_GRAIN, tid, n_threads)
                bias_gradient(net, row, n, lo, hi, grad, False)
                optimizer_step(update, step, theta, grad, row[BIAS] + lo, row[BIAS] + hi)
        source, offset = net.work, row[VALUE]

"""From deltas to a step: the gradient of each part of θ, its penalty, and the optimizer's update.

Each thread takes rows of every kernel and a range of every vector (biases, γ and β, slopes), so no
two write the same numbers.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop._jit import kernel, kernel_inline
from hotloop.activations import prelu_gradient
from hotloop.engine.address import amount, call
from hotloop.engine.columns import add_rows
from hotloop.engine.lone import Lone
from hotloop.engine.matmul import Matrix
from hotloop.engine.sparse import multiply_layer
from hotloop.engine.table import (
    BATCH_NORM,
    BIAS,
    CLIP,
    COLUMN,
    COLUMN_GRAIN,
    DELTA,
    DELTA_SUM,
    DENSE,
    DIRECT_GRADIENT,
    GROUP,
    L1_STRENGTH,
    N_IN,
    N_OUT,
    NONE,
    NORM,
    ON_UNIT,
    OP,
    PENALISE,
    PENALTY,
    PENALTY_SUMS,
    PLACES,
    PRELU,
    PRODUCT_SUM,
    ROWS,
    SHRINK,
    SINGLE,
    SINGLE_AHEAD,
    SINGLE_STEP,
    SQUARES,
    SUM_SQUARES,
    VALUE,
    WEIGHT,
)
from hotloop.engine.team import barrier, share
from hotloop.engine.tile import PLAIN, tile_shape
from hotloop.penalties import PROXIMAL

__all__ = ["Inputs", "add_gradient", "descend", "share_of_rows"]

CHUNK = 4096
"""About how many numbers of a gradient are computed, then used: with θ and Adam's state they fit the first
cache."""
CHUNK_ROWS = 256
"""But about so many rows, in wide layers: what the product packs is then used often enough."""
UNIT_CHUNK, UNIT_ROWS = 131072, 224
"""The same of what the matrix unit computes: it packs what it multiplies anew for each chunk."""

# What `walk` does with each part of θ.
COMPUTE, APPLY, BOTH = 0, 1, 2


class Inputs(NamedTuple):
    """What a step descends on: the inputs of a minibatch, whose deltas the network has."""

    x: NDArray[Any]  # (rows * features,)
    rows: int  # of the minibatch; if `added`, `x` has the last of them
    added: bool  # the gradient of the loss has been added up already, some rows of it at a time
    places: NDArray[np.int64]  # (rows,) which rows of `x` they are, or empty: the first ones
    samples: NDArray[Any]  # where minibatches have one row, the next one is at samples[coming:]
    coming: np.int64  # or NONE


@kernel
def share_of_rows(net, k, crew):
    """The rows of dense row k's kernel that this thread updates; in a relay its inputs, too."""
    if crew.n_threads > 1 and k == 0 and net.relays:
        return net.cuts[crew.n_threads, crew.tid], net.cuts[crew.n_threads, crew.tid + 1]
    grain, _ = tile_shape(net.work)
    return share(net.table[k, N_IN], grain, crew.tid, crew.n_threads)


@kernel
def kernel_gradient(net, work, k, source, offset, n, lo, hi, grad, at, accumulate, panel):
    """∂L/∂W of rows lo:hi of dense row k's kernel, to grad[at:]: xᵀ δ, a sum over the `n` rows of a batch.

    `work` is where δ is.
    """
    n_in, n_out = net.table[k, N_IN], net.table[k, N_OUT]
    out = Matrix(grad, at, n_out, 1)
    start = out if accumulate else Matrix(net.work, net.zeros, 0, 1)
    transposed = Matrix(source, offset + lo, 1, n_in)
    delta = Matrix(work, net.table[k, DELTA], n_out, 1)
    multiply_layer(net, k, out, start, transposed, delta, hi - lo, n_out, n, panel, PLAIN)


@kernel
def vector_gradient(net, work, row, source, offset, n, lo, hi, grad, accumulate):
    """∂L/∂ of numbers lo:hi of the vectors of an operation.

    For biases it is Σδ over the `n` rows, for slopes Σδz where z ≤ 0; the sums of batch normalisation are
    there from the backward pass.
    """
    op, n_out = row[OP], row[N_OUT]
    if row[BIAS] != NONE:
        biases = grad[row[BIAS] + lo : row[BIAS] + hi]
        if not accumulate:
            biases[:] = 0
        # The sum over the batch, or the one that batch normalisation has made.
        first = row[COLUMN] + DELTA_SUM * n_out if op == BATCH_NORM else row[DELTA]
        add_rows(biases, work, first + lo, n_out, 1 if op == BATCH_NORM else n)
    if op == DENSE or row[WEIGHT] == NONE:
        return
    weights = grad[row[WEIGHT] + lo : row[WEIGHT] + hi]
    if not accumulate:
        weights[:] = 0
    if op == BATCH_NORM:
        first = row[COLUMN] + PRODUCT_SUM * n_out
        products = work[first + lo : first + hi]
        for j in range(len(weights)):
            weights[j] += products[j]
    elif op == PRELU:
        for i in range(n):
            z = source[offset + i * n_out + lo : offset + i * n_out + hi]
            delta = work[row[DELTA] + i * n_out + lo : row[DELTA] + i * n_out + hi]
            prelu_gradient(z, delta, weights)


@kernel
def add_gradient(net, x, n, grad, accumulate, crew, panel):
    """This thread's part of ∂L/∂θ, summed over the `n` rows of the batch, to `grad`: added, or written."""
    source, offset = x, np.int64(0)
    for k in range(len(net.table)):
        row = net.table[k]
        if row[OP] == DENSE:
            lo, hi = share_of_rows(net, k, crew)
            at = row[WEIGHT] + lo * row[N_OUT]
            kernel_gradient(net, net.work, k, source, offset, n, lo, hi, grad, at, accumulate, panel)
        lo, hi = share(row[N_OUT], COLUMN_GRAIN, crew.tid, crew.n_threads)
        vector_gradient(net, net.work, row, source, offset, n, lo, hi, grad, accumulate)
        source, offset = net.work, row[VALUE]


@kernel
def descend(net, inputs, update, step, theta, grad, crew, panel):
    """∂L/∂θ, and the optimizer's step; returns the norm of the gradient if it was asked for, else 0.

    Where minibatches have one row, and the next one is known, the first layer's outputs for it are summed up
    as the weights change: these are read once less.

    A chunk of the gradient is used while it is in the first cache (in wide layers the second), and the next
    takes its place: two passes over memory of θ's size less. What a thread updates nobody else reads before
    the next barrier.
    Only where the norm of the whole gradient is needed first, there are two walks, and the threads meet in
    between. Where all of θ is a chunk, its parts would cost a call each: they are applied together.
    """
    norm, factor = 0.0, 1.0
    together = net.alike and crew.n_threads == 1 and len(theta) <= CHUNK
    first, last = (COMPUTE, APPLY) if update.needs_norm or together else (BOTH, BOTH)
    for phase in range(first, last + 1):
        if phase == APPLY and together:
            apply(net, update, 0, step, theta, grad, 0, len(theta), factor)
            break
        walk(net, inputs, update, step, theta, grad, phase, factor, crew, panel)
        if phase == COMPUTE and update.needs_norm:
            barrier(crew.sync, crew.n_threads)
            norm = amount(net.calls[NORM], (net.table, net.partial[SQUARES], grad))
            if update.clip_norm > 0.0 and norm > update.clip_norm:
                factor = update.clip_norm / norm
            # Others still read the vectors of the gradient.
            barrier(crew.sync, crew.n_threads)
    return norm


@kernel_inline
def walk(net, inputs, update, step, theta, grad, phase, factor, crew, panel):
    """Compute this thread's parts of the gradient, apply them times `factor`, or both chunk by chunk."""
    grain, _ = tile_shape(net.work)
    source, offset, n, added = inputs.x, np.int64(0), inputs.rows, inputs.added
    for k in range(len(net.table)):
        row = net.table[k]
        n_out, where, group = row[N_OUT], row[WEIGHT], row[GROUP]
        # Biases before the kernel: with both a layer may begin with the next sample.
        if row[BIAS] != NONE or (row[OP] != DENSE and where != NONE):
            lo, hi = share(n_out, COLUMN_GRAIN, crew.tid, crew.n_threads)
            if phase != APPLY and not added:
                vector_gradient(net, net.work, row, source, offset, n, lo, hi, grad, False)
            if phase != COMPUTE and row[BIAS] != NONE:
                start, end = row[BIAS] + lo, row[BIAS] + hi
                apply(net, update, group, step, theta, grad[start:end], start, end, factor)
            if phase != COMPUTE and row[OP] != DENSE:
                start, end = where + lo, where + hi
                apply(net, update, group, step, theta, grad[start:end], start, end, factor)
        if row[OP] == DENSE:
            # A penalty over the rows of a minibatch is larger where there are fewer.
            rows, shrink = net.options[k, ROWS], 0.0
            strength = rows / n if rows > 0.0 else 1.0
            if row[PENALTY] == PROXIMAL:
                shrink = update.rates[group, step] * net.options[k, L1_STRENGTH] * strength
            lo, hi = share_of_rows(net, k, crew)
            if row[SINGLE] and phase == BOTH:
                # Minibatches of one row: no gradient is written.
                one = Lone(row, net.work, net.partial[PLACES], net.zeros)
                hyper, scalars, state = update.hyper, update.scalars[group, step], update.state
                if k == 0 and inputs.coming != NONE:
                    samples, coming = inputs.samples, inputs.coming
                    ahead = (one, hyper, scalars, state, theta, source, offset, samples, coming)
                    call(net.calls[SINGLE_AHEAD], ahead)
                else:
                    alone = (one, hyper, scalars, state, theta, source, offset, lo, hi)
                    call(net.calls[SINGLE_STEP], alone)
                lo = hi
            chunk = rows_of_chunk(row, hi - lo, grain)
            for first in range(lo, hi, chunk):
                last = min(first + chunk, hi)
                start, end = where + first * n_out, where + last * n_out
                # One chunk after the other in the same place, unless all of them are needed.
                at = where + lo * n_out if phase == BOTH and not added else start
                if phase != APPLY and k == 0 and len(inputs.places):
                    direct = (row, net.work, net.zeros, source, inputs.places, first, last, grad, at, panel)
                    call(net.calls[DIRECT_GRADIENT], direct)
                elif phase != APPLY and not added:
                    kernel_gradient(net, net.work, k, source, offset, n, first, last, grad, at, False, panel)
                if phase != APPLY and net.penalised and row[PENALTY] != NONE:
                    sums = net.partial[PENALTY_SUMS]
                    arguments = (row, net.options[k], sums, strength, theta, grad, at, first, last)
                    call(net.calls[PENALISE], arguments)
                if phase == COMPUTE and update.needs_norm:
                    call(net.calls[SUM_SQUARES], (row, net.partial[SQUARES], grad, first, last))
                elif phase != COMPUTE:
                    part = grad[at : at + end - start]
                    apply(net, update, group, step, theta, part, start, end, factor)
                    if shrink > 0.0:
                        call(net.calls[SHRINK], (theta[start:end], shrink))
        source, offset = net.work, row[VALUE]


@kernel
def rows_of_chunk(row, rows, grain):
    """Rows of each chunk of the gradient of so many rows of a kernel; the last may have fewer.

    They are of about the same size, an eighth more than `CHUNK` says at most: 784 rows are three chunks,
    without a fourth for the last 16.
    """
    n_out = row[N_OUT]
    if rows <= min(CHUNK_ROWS, UNIT_ROWS):  # one, without a division, which small steps would feel
        return max(rows, 1)
    if row[ON_UNIT]:
        return max(UNIT_CHUNK // n_out, UNIT_ROWS) // grain * grain
    most = max(CHUNK // n_out, CHUNK_ROWS) * 9 // 8
    chunks = max((rows + most - 1) // most, 1)
    return max((rows + chunks * grain - 1) // (chunks * grain), 1) * grain


@kernel
def apply(net, update, group, step, theta, grad, lo, hi, factor):
    """Multiply `grad`, that of θ[lo:hi], by `factor`, clip it, and let the optimizer move these."""
    if factor != 1.0 or update.clip_value > 0.0:
        call(net.calls[CLIP], (grad, factor, update.clip_value))
    arguments = (update.code, update.hyper, update.scalars[group, step], update.state, theta, grad, lo, hi)
    call(update.address, arguments)

"""The entry kernels: what Python calls once a block, on every thread of a team.

A training step meets at two barriers: after the deltas of all rows, and after the update of all of θ.
(Batch normalisation, the norm of the gradient, and limits add theirs.)
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop._jit import kernel, kernel_exact, kernel_inline
from hotloop.engine.address import NOWHERE, call
from hotloop.engine.denormals import flush_denormals, restore_denormals
from hotloop.engine.descent import Inputs, add_gradient, descend
from hotloop.engine.fetch import STRIP, fetch
from hotloop.engine.gather import fetch_row, gather, own_inputs
from hotloop.engine.network import backward, forward, forward_direct, loss_rows
from hotloop.engine.penalise import penalty_sum
from hotloop.engine.pointwise import copy
from hotloop.engine.table import LIMITS, N_IN, N_OUT, NONE, RELAY, SINGLE_AHEAD, VALUE, Mode, Net
from hotloop.engine.team import Crew, barrier, share
from hotloop.engine.tile import tile_shape

__all__ = [
    "GRADIENT_NORM",
    "HIT_SUM",
    "LOSS_SUM",
    "PENALTY_VALUE",
    "SUMS",
    "WEIGHT_SUM",
    "Block",
    "Update",
    "evaluate_block",
    "gradient_block",
    "predict_block",
    "train_block",
]

# What a step reports.
LOSS_SUM, HIT_SUM, WEIGHT_SUM, PENALTY_VALUE, GRADIENT_NORM = 0, 1, 2, 3, 4
SUMS = 5

AVERAGE_GRAIN = 1024
"""Numbers of θ in a thread's grain where a pass goes over all of it."""
NUMBERS_AHEAD = 1024
"""Numbers that are asked for so far ahead of those looked at: of itself the processor brings what follows at
two thirds of the memory's pace."""


class Block(NamedTuple):
    """Some whole minibatches, of an epoch, or of several whole ones; in the dtype of θ, but for `other`."""

    x: NDArray[Any]  # (rows * features,), or all there are, if `rows` says which to take
    rows: NDArray[np.int64]  # (rows,), or empty
    targets: NDArray[Any]  # (rows, 1) classes, or (rows, outputs)
    weights: NDArray[Any]  # (rows,)
    epoch: int  # rows of an epoch: its last minibatch may be smaller
    other: NDArray[np.uint8]  # the bytes of all there are, in another dtype: `x` is empty then; or empty
    scale: float  # what these are multiplied by


class Update(NamedTuple):
    """An optimizer as numbers, and what surrounds its step."""

    address: int  # of the kernel of the optimizer's family
    code: int  # which member it is
    hyper: NDArray[np.float64]  # in the order of Optimizer.hyper
    scalars: NDArray[np.float64]  # (groups of rates, steps of the block, scalars), of Optimizer.scalars
    rates: NDArray[np.float64]  # (groups of rates, steps of the block)
    state: NDArray[Any]  # (slots, θ.size)
    clip_norm: float  # 0 for none
    clip_value: float  # 0 for none
    needs_norm: int  # 1 where the norm of the gradient is clipped or reported
    average: NDArray[Any]  # (θ.size,), or empty
    average_rates: NDArray[np.float64]  # (steps of the block,)


@kernel
def train_block(net, block, loss, update, theta, grad, batch_size, mode, sums, tid, n_threads, sync):
    """Train for as many steps as `sums` has rows, minibatch after minibatch; return how many were done.

    After the last row of the block comes the first again. ``sums[step]`` becomes (Σ weight · loss,
    Σ weight · hit, Σ weight, penalty, gradient norm) of the minibatch, before its update; ``mode.step`` is
    the number of the first step. Fewer steps than asked for: the loss of the next one is not finite, and θ
    is as it was before it.

    Of a minibatch larger than the network has room for, some rows at a time go forward and back, and what
    they give is added up.
    """
    flags = flush_denormals()
    crew = Crew(tid, n_threads, sync)
    n_steps, capacity, n_in = len(sums), len(net.row_loss), net.table[0, N_IN]
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    relayed = net.relays if n_threads > 1 else 0
    ahead = net.calls[SINGLE_AHEAD] != NOWHERE and n_threads == 1 and not update.needs_norm
    coming = np.int64(NONE)
    for step in range(n_steps):
        first, last = rows_of_step(block, step, batch_size)
        n = last - first
        weight, weights = 0.0, block.weights[first:last]
        for i in range(len(weights)):
            weight += weights[i]
        scale = 1.0 / weight if weight > 0.0 else 0.0
        x, total, hits = block.x, 0.0, 0.0
        for start in range(first, last, capacity):
            end = min(start + capacity, last)
            x, begun = block.x[start * n_in : end * n_in], relayed
            if relayed:
                call(net.calls[RELAY], (net, block, start, end - start, theta, crew, panel))
                at = own_inputs(net, crew)
                x = block.x if net.direct else net.work[at : at + (end - start) * n_in]
            elif net.direct:
                x, begun = block.x, net.direct
                forward_direct(net, x, block.rows[start:end], theta, crew, panel)
            elif len(block.rows):
                lies = place_of_row(block, start, n_in) if capacity == 1 else np.int64(NONE)
                if lies != NONE:
                    fetch_row(block, start + 1, n_in)
                    x = block.x[lies : lies + n_in]
                else:
                    gather(net, block, start, end, crew)
                    x = net.work[net.inputs : net.inputs + (end - start) * n_in]
            targets, weights = block.targets[start:end], block.weights[start:end]
            begun = begun if coming == NONE else 1
            now = Mode(mode.training, mode.seed, mode.step + step, start - first, begun)
            forward(net, theta, x, end - start, now, crew, panel)
            loss_rows(net, loss, targets, weights, scale, crew)
            backward(net, theta, x, end - start, now, crew, panel)
            barrier(sync, n_threads)
            # Every thread adds up the same numbers in the same order, so all agree whether to go on.
            total, hits = weighted_sums(net, weights, total, hits)
            if n > capacity:
                add_gradient(net, x, end - start, grad, start > first, crew, panel)
                barrier(sync, n_threads)
        if not np.isfinite(total):
            n_steps = step
            break
        coming = np.int64(NONE)
        if ahead and step + 1 < n_steps:
            coming = place_of_row(block, rows_of_step(block, step + 1, batch_size)[0], n_in)
        places = block.rows[first:last] if net.direct else block.rows[:0]
        inputs = Inputs(x, n, n > capacity, places, block.x, coming)
        norm = descend(net, inputs, update, step, theta, grad, crew, panel)
        barrier(sync, n_threads)
        if net.limited:
            call(net.calls[LIMITS], (net, theta, crew))
            barrier(sync, n_threads)
        if tid == 0:
            sums[step, LOSS_SUM], sums[step, HIT_SUM], sums[step, WEIGHT_SUM] = total, hits, weight
            sums[step, PENALTY_VALUE] = penalty_sum(net) if net.penalised else 0.0
            sums[step, GRADIENT_NORM] = norm
        if len(update.average):
            lo, hi = share(len(theta), AVERAGE_GRAIN, tid, n_threads)
            follow(update.average[lo:hi], theta[lo:hi], update.average_rates[step])
    restore_denormals(flags)
    return n_steps


@kernel_inline
def rows_of_step(block, step, batch_size):
    """[first, last) of the block's rows: the minibatch of a step, from 0."""
    rows, steps_of_epoch = len(block.weights), (block.epoch + batch_size - 1) // batch_size
    begun = step // steps_of_epoch * block.epoch % rows
    first = begun + step % steps_of_epoch * batch_size
    return first, min(first + batch_size, begun + block.epoch, rows)


@kernel_inline
def place_of_row(block, row, n_in):
    """Where in ``block.x`` a row of the block begins, or NONE if it must be converted first."""
    if len(block.other):
        return np.int64(NONE)
    return (block.rows[row] if len(block.rows) else row) * n_in


@kernel_exact
def follow(average, theta, rate):
    """average += rate (θ − average)."""
    part = theta.dtype.type(rate)
    for i in range(len(theta)):
        average[i] += part * (theta[i] - average[i])


@kernel
def weighted_sums(net, weights, total, hits):
    """`total` + Σ weight · loss, `hits` + Σ weight · hit over some rows, in float64, in their order."""
    for i in range(len(weights)):
        if weights[i] != 0:
            total += weights[i] * net.row_loss[i]
            hits += weights[i] * net.row_hit[i]
    return total, hits


@kernel
def gradient_block(net, block, loss, scale, theta, grad, batch_size, mode, sums, tid, n_threads, sync):
    """Add ∂/∂θ of scale Σ weight · loss over the block to `grad`, and its sums to `sums`."""
    crew = Crew(tid, n_threads, sync)
    rows, n_in = len(block.weights), net.table[0, N_IN]
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    for first in range(0, rows, batch_size):
        last = min(first + batch_size, rows)
        n = last - first
        x = block.x[first * n_in : last * n_in]
        targets, weights = block.targets[first:last], block.weights[first:last]
        forward(net, theta, x, n, mode, crew, panel)
        loss_rows(net, loss, targets, weights, scale, crew)
        backward(net, theta, x, n, mode, crew, panel)
        barrier(sync, n_threads)
        add_gradient(net, x, n, grad, True, crew, panel)
        if tid == 0:
            add_sums(net, weights, sums)
        barrier(sync, n_threads)


@kernel
def add_sums(net, weights, sums):
    """Add the sums of a batch to `sums`."""
    total, hits = weighted_sums(net, weights, 0.0, 0.0)
    sums[0] += total
    sums[1] += hits


@kernel
def evaluate_block(net, block, loss, theta, batch_size, mode, sums, tid, n_threads, sync):
    """Add (Σ weight · loss, Σ weight · hit) over the block to `sums`."""
    crew = Crew(tid, n_threads, sync)
    rows, n_in = len(block.weights), net.table[0, N_IN]
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    for first in range(0, rows, batch_size):
        last = min(first + batch_size, rows)
        x = block.x[first * n_in : last * n_in]
        targets, weights = block.targets[first:last], block.weights[first:last]
        forward(net, theta, x, last - first, mode, crew, panel)
        loss_rows(net, loss, targets, weights, 0.0, crew)
        barrier(sync, n_threads)
        if tid == 0:
            add_sums(net, weights, sums)
        barrier(sync, n_threads)


@kernel
def predict_block(net, theta, x, batch_size, mode, checks, out, tid, n_threads, sync):
    """Outputs of the last layer, (rows, n_out), for the rows of `x` (rows, n_in).

    `net` and `mode` are plain tuples here: named ones cost a call more than a small network does. With
    `checks`, returns whether this thread's rows are finite: looked at just before they are used, they are
    in the second cache then, and come from memory once.
    """
    net, mode = Net(*net), Mode(*mode)
    crew = Crew(tid, n_threads, sync)
    last = net.table[len(net.table) - 1]
    n_in, n_out = net.table[0, N_IN], last[N_OUT]
    source, target = x.reshape(x.size), out.reshape(out.size)
    finite = True
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    grain, _ = tile_shape(net.work)
    for first in range(0, len(x), batch_size):
        n = min(batch_size, len(x) - first)
        lo, hi = share(n, grain, tid, n_threads)
        if checks:
            finite &= all_finite(source[(first + lo) * n_in : (first + hi) * n_in])
        forward(net, theta, source[first * n_in : (first + n) * n_in], n, mode, crew, panel)
        values = net.work[last[VALUE] + lo * n_out : last[VALUE] + hi * n_out]
        copy(values, target[(first + lo) * n_out : (first + hi) * n_out])
        # A shorter last batch is shared otherwise: nobody may start on it while others use its rows.
        barrier(sync, n_threads)
    return finite


@kernel
def all_finite(x):
    """Whether no number is NaN or infinite."""
    finite = True
    for first in range(0, len(x), STRIP):
        fetch(x, first + NUMBERS_AHEAD)
        part = x[first : first + STRIP]
        for i in range(len(part)):
            finite &= np.isfinite(part[i])
    return finite

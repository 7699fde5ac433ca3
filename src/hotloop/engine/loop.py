"""The entry kernels: what Python calls once a block, on every thread of a team.

A training step meets at two barriers: after the deltas of all rows, and after the update of all of θ.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop._jit import kernel
from hotloop.engine.denormals import flush_denormals, restore_denormals
from hotloop.engine.network import add_gradient, backward, descend, forward, loss_rows
from hotloop.engine.table import N_IN, N_OUT, VALUE
from hotloop.engine.team import barrier, share
from hotloop.engine.tile import tile_shape

__all__ = ["Block", "Update", "evaluate_block", "gradient_block", "predict_block", "train_block"]


class Block(NamedTuple):
    """Staged rows: some whole minibatches, contiguous, in the dtype of θ."""

    x: NDArray[Any]  # (rows * features,)
    targets: NDArray[Any]  # (rows, 1) classes, or (rows, outputs)
    weights: NDArray[Any]  # (rows,)


class Update(NamedTuple):
    """An optimizer as numbers."""

    code: int
    hyper: NDArray[np.float64]  # in the order of Optimizer.hyper
    scalars: NDArray[np.float64]  # (steps of the block, scalars a step), of Optimizer.scalars
    state: NDArray[Any]  # (slots, θ.size)


@kernel
def train_block(net, block, loss, update, theta, grad, batch_size, sums, tid, n_threads, sync):
    """Train on every minibatch of the block; return how many steps were done.

    ``sums[step]`` becomes (Σ weight · loss, Σ weight · hit, Σ weight) of the minibatch, before its
    update. Fewer steps than minibatches: the loss of the next one is not finite, and θ is as it
    was before it.
    """
    mode = flush_denormals()
    rows, n_in = len(block.weights), net.table[0, N_IN]
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    grain, _ = tile_shape(net.work)
    n_steps = (rows + batch_size - 1) // batch_size
    for step in range(n_steps):
        first = step * batch_size
        last = min(first + batch_size, rows)
        x = block.x[first * n_in : last * n_in]
        targets, weights = block.targets[first:last], block.weights[first:last]
        weight = 0.0
        for i in range(len(weights)):
            weight += weights[i]
        scale = 1.0 / weight if weight > 0.0 else 0.0
        lo, hi = share(len(weights), grain, tid, n_threads)
        forward(net, theta, x, lo, hi, panel)
        loss_rows(net, loss, targets, weights, lo, hi, scale)
        backward(net, theta, x, lo, hi, panel)
        barrier(sync, n_threads)
        # Every thread adds up the same numbers in the same order, so all agree whether to go on.
        total, hits = weighted_sums(net, weights)
        if not np.isfinite(total):
            n_steps = step
            break
        if tid == 0:
            sums[step, 0], sums[step, 1], sums[step, 2] = total, hits, weight
        descend(net, x, len(weights), update, step, theta, grad, tid, n_threads, panel)
        barrier(sync, n_threads)
    restore_denormals(mode)
    return n_steps


@kernel
def weighted_sums(net, weights):
    """(Σ weight · loss, Σ weight · hit) over the rows of a batch, in float64, in their order."""
    total, hits = 0.0, 0.0
    for i in range(len(weights)):
        if weights[i] != 0:
            total += weights[i] * net.row_loss[i]
            hits += weights[i] * net.row_hit[i]
    return total, hits


@kernel
def gradient_block(net, block, loss, scale, theta, grad, batch_size, sums, tid, n_threads, sync):
    """Add ∂/∂θ of scale Σ weight · loss over the block to `grad`, and its sums to `sums`."""
    rows, n_in = len(block.weights), net.table[0, N_IN]
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    grain, _ = tile_shape(net.work)
    for first in range(0, rows, batch_size):
        last = min(first + batch_size, rows)
        x = block.x[first * n_in : last * n_in]
        targets, weights = block.targets[first:last], block.weights[first:last]
        lo, hi = share(len(weights), grain, tid, n_threads)
        forward(net, theta, x, lo, hi, panel)
        loss_rows(net, loss, targets, weights, lo, hi, scale)
        backward(net, theta, x, lo, hi, panel)
        barrier(sync, n_threads)
        add_gradient(net, x, len(weights), grad, tid, n_threads, panel)
        if tid == 0:
            add_sums(net, weights, sums)
        barrier(sync, n_threads)


@kernel
def add_sums(net, weights, sums):
    """Add the sums of a batch to `sums`."""
    total, hits = weighted_sums(net, weights)
    sums[0] += total
    sums[1] += hits


@kernel
def evaluate_block(net, block, loss, theta, batch_size, sums, tid, n_threads, sync):
    """Add (Σ weight · loss, Σ weight · hit) over the block to `sums`."""
    rows, n_in = len(block.weights), net.table[0, N_IN]
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    grain, _ = tile_shape(net.work)
    for first in range(0, rows, batch_size):
        last = min(first + batch_size, rows)
        x = block.x[first * n_in : last * n_in]
        targets, weights = block.targets[first:last], block.weights[first:last]
        lo, hi = share(len(weights), grain, tid, n_threads)
        forward(net, theta, x, lo, hi, panel)
        loss_rows(net, loss, targets, weights, lo, hi, 0.0)
        barrier(sync, n_threads)
        if tid == 0:
            add_sums(net, weights, sums)
        barrier(sync, n_threads)


@kernel
def predict_block(net, x, theta, batch_size, out, tid, n_threads, sync):
    """Outputs of the last layer for the rows of `x` (rows * features,)."""
    last = net.table[len(net.table) - 1]
    n_in, n_out = net.table[0, N_IN], last[N_OUT]
    rows = len(x) // n_in
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    grain, _ = tile_shape(net.work)
    for first in range(0, rows, batch_size):
        n = min(batch_size, rows - first)
        lo, hi = share(n, grain, tid, n_threads)
        forward(net, theta, x[first * n_in : (first + n) * n_in], lo, hi, panel)
        values = net.work[last[VALUE] + lo * n_out : last[VALUE] + hi * n_out]
        target = out[(first + lo) * n_out : (first + hi) * n_out]
        for i in range(len(values)):
            target[i] = values[i]
        # A shorter last batch is shared otherwise: nobody may start on it while others use its rows.
        barrier(sync, n_threads)

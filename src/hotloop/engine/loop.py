"""The entry kernels: what Python calls once a block, on every thread of a team.

A step meets at three barriers: after the deltas, after the gradient, after the update.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop._jit import kernel
from hotloop.engine.denormals import flush_denormals, restore_denormals
from hotloop.engine.matmul import tile_shape
from hotloop.engine.network import backward, forward, kernel_gradients, loss_rows
from hotloop.engine.table import LINE, N_IN, N_OUT, VALUE
from hotloop.engine.team import barrier, share
from hotloop.optimizers import optimizer_step

__all__ = ["Block", "Update", "evaluate_block", "gradient_block", "predict_block", "train_block"]


class Block(NamedTuple):
    """Staged rows: some whole minibatches, contiguous, in the dtype of θ."""

    x: NDArray[Any]  # (rows, features)
    targets: NDArray[Any]  # (rows, 1) classes, or (rows, outputs)
    weights: NDArray[Any]  # (rows,)


class Update(NamedTuple):
    """An optimizer as numbers."""

    code: int
    hyper: NDArray[np.float64]  # in the order of Optimizer.hyper
    rates: NDArray[np.float64]  # learning rate of each step of the block
    first_step: int  # of the block, counted from 0
    state: NDArray[Any]  # (slots, θ.size)


@kernel
def train_block(net, block, loss, update, theta, grad, batch_size, sums, tid, n_threads, sync):
    """Train on every minibatch of the block; return how many steps were done.

    ``sums[step]`` becomes (Σ weight · loss, Σ weight · hit, Σ weight) of the minibatch, before its
    update. Fewer steps than minibatches: the loss of the next one is not finite, and θ is as it
    was before it.
    """
    mode = flush_denormals()
    done = train_steps(net, block, loss, update, theta, grad, batch_size, sums, tid, n_threads, sync)
    restore_denormals(mode)
    return done


@kernel
def train_steps(net, block, loss, update, theta, grad, batch_size, sums, tid, n_threads, sync):
    """The loop itself: see `train_block`."""
    rows, n_features = block.x.shape
    x_flat = block.x.reshape(-1)
    n_steps = (rows + batch_size - 1) // batch_size
    theta_lo, theta_hi = share(len(theta), LINE, tid, n_threads)
    for step in range(n_steps):
        first = step * batch_size
        last = min(first + batch_size, rows)
        x = x_flat[first * n_features : last * n_features]
        weights = block.weights[first:last]
        weight = 0.0
        for i in range(len(weights)):
            weight += weights[i]
        scale = 1.0 / weight if weight > 0.0 else 0.0
        total, hits = gradient(
            net, x, block.targets[first:last], weights, loss, scale, theta, grad, False, tid, n_threads, sync
        )
        # Every thread adds up the same numbers in the same order, so all agree whether to go on.
        if not np.isfinite(total):
            return step
        if tid == 0:
            sums[step, 0], sums[step, 1], sums[step, 2] = total, hits, weight
        optimizer_step(update, update.first_step + step, update.rates[step], theta, grad, theta_lo, theta_hi)
        barrier(sync, n_threads)
    return n_steps


@kernel
def gradient(net, x, targets, weights, loss, scale, theta, grad, accumulate, tid, n_threads, sync):
    """One minibatch: its gradient into `grad`; returns Σ weight · loss and Σ weight · hit."""
    n = len(weights)
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    grain, _ = tile_shape(net.work)
    lo, hi = share(n, grain, tid, n_threads)
    forward(net, theta, x, lo, hi, panel)
    loss_rows(net, loss, targets, weights, lo, hi, scale)
    backward(net, theta, x, lo, hi, panel)
    barrier(sync, n_threads)
    kernel_gradients(net, x, n, grad, accumulate, tid, n_threads, panel)
    total, hits = weighted_sums(net, weights)
    barrier(sync, n_threads)
    return total, hits


@kernel
def weighted_sums(net, weights):
    """(Σ weight · loss, Σ weight · hit) over the rows of a batch, in float64, in their order."""
    total, hits = 0.0, 0.0
    for i in range(len(weights)):
        total += weights[i] * net.row_loss[i]
        hits += weights[i] * net.row_hit[i]
    return total, hits


@kernel
def gradient_block(net, block, loss, scale, theta, grad, batch_size, sums, tid, n_threads, sync):
    """Add ∂/∂θ of scale Σ weight · loss over the block to `grad`, and its sums to `sums`."""
    rows, n_features = block.x.shape
    x_flat = block.x.reshape(-1)
    for first in range(0, rows, batch_size):
        last = min(first + batch_size, rows)
        x = x_flat[first * n_features : last * n_features]
        total, hits = gradient(
            net, x, block.targets[first:last], block.weights[first:last], loss, scale, theta, grad, True,
            tid, n_threads, sync,
        )  # fmt: skip
        if tid == 0:
            sums[0] += total
            sums[1] += hits


@kernel
def evaluate_block(net, block, loss, theta, batch_size, sums, tid, n_threads, sync):
    """Add (Σ weight · loss, Σ weight · hit) over the block to `sums`."""
    rows, n_features = block.x.shape
    x_flat = block.x.reshape(-1)
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    grain, _ = tile_shape(net.work)
    for first in range(0, rows, batch_size):
        last = min(first + batch_size, rows)
        lo, hi = share(last - first, grain, tid, n_threads)
        forward(net, theta, x_flat[first * n_features : last * n_features], lo, hi, panel)
        weights = block.weights[first:last]
        loss_rows(net, loss, block.targets[first:last], weights, lo, hi, 0.0)
        barrier(sync, n_threads)
        if tid == 0:
            total, hits = weighted_sums(net, weights)
            sums[0] += total
            sums[1] += hits
        barrier(sync, n_threads)


@kernel
def predict_block(net, x, theta, batch_size, out, tid, n_threads, sync):
    """Outputs of the last layer for the rows of `x`: out (rows, units). Threads never meet."""
    n_features = net.table[0, N_IN]
    last = net.table[len(net.table) - 1]
    n_out = last[N_OUT]
    x_flat, out_flat = x.reshape(-1), out.reshape(-1)
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    grain, _ = tile_shape(net.work)
    for first in range(0, len(x), batch_size):
        n = min(batch_size, len(x) - first)
        lo, hi = share(n, grain, tid, n_threads)
        forward(net, theta, x_flat[first * n_features : (first + n) * n_features], lo, hi, panel)
        values = net.work[last[VALUE] + lo * n_out : last[VALUE] + hi * n_out]
        target = out_flat[(first + lo) * n_out : (first + hi) * n_out]
        for i in range(len(values)):
            target[i] = values[i]

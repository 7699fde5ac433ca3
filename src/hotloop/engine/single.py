"""A batch of one sample, in training: what is 0 in it takes no part, and W is read and written once.

One sample uses each number of W once, so reading and writing W is what a step costs, and a row of W whose
input is 0 adds nothing to the outputs and has no gradient. Images, counts and what ReLU lets through are
mostly 0. An optimizer may have kernels that make the gradient while they change W, and then sum up what the
new W gives for the sample after this (`Optimizer.single_kernels`). Weights and values are those of the other
form to the last bit, as long as they are finite.

Compiled where minibatches have one row, and called by their address.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._jit import kernel, kernel_exact, kernel_in_order
from hotloop.engine.address import address_of
from hotloop.engine.descent import CHUNK
from hotloop.engine.matmul import FEW
from hotloop.engine.table import (
    BIAS,
    DELTA,
    DENSE,
    ELEMENTWISE,
    N_IN,
    N_OUT,
    NONE,
    OP,
    PARTIAL,
    PENALTY,
    PLACES,
    SINGLE,
    SINGLE_AHEAD,
    SINGLE_FORWARD,
    SINGLE_STEP,
    VALUE,
    WEIGHT,
    Net,
)

__all__ = ["link_single", "nonzeros", "single_forward", "single_step"]


def link_single(net: Net, kernels: Callable[[int], tuple[Any, Any]], state: NDArray[Any]) -> None:
    """Give `net`, for minibatches of one row, the address of `single_forward`, and of an optimizer's kernels.

    Those are what `Optimizer.single_kernels` gives for so many units. The second may be used where the first
    layer is updated by itself, nothing changes it after that, and what follows it keeps its own outputs.
    """
    x, numbers = net.work, np.empty(1)
    net.calls[SINGLE_FORWARD] = address_of(single_forward, (net, 0, x, x, 0, 0, 0))
    for k, row in enumerate(net.table):
        step, ahead = kernels(int(row[N_OUT]))
        if row[OP] != DENSE or row[PENALTY] != NONE or step is None:
            continue
        row[SINGLE] = 1
        net.calls[SINGLE_STEP] = address_of(step, (net, 0, numbers, numbers, state, x, x, 0, 0, 0))
        large = row[N_OUT] > FEW and row[N_IN] * row[N_OUT] > CHUNK
        keeps = net.table[1:2, OP].tolist() == [ELEMENTWISE]
        if k == 0 and large and keeps and ahead is not None and not net.limited:
            net.calls[SINGLE_AHEAD] = address_of(ahead, (net, numbers, numbers, state, x, x, 0, x, 0))


@kernel_in_order
def single_forward(net, k, theta, source, offset, lo, hi):
    """z = b + Σ xᵢ Wᵢ of a dense row of the table, over the inputs that are not 0, in their order.

    Over inputs lo:hi alone; unless they are the first, their terms are added to z.
    """
    row = net.table[k]
    n_out, first = row[N_OUT], row[WEIGHT] + lo * row[N_OUT]
    x, z = source[offset + lo : offset + hi], net.work[row[VALUE] : row[VALUE] + n_out]
    if lo == 0:
        biases, bias = (theta, row[BIAS]) if row[BIAS] != NONE else (net.work, net.zeros)
        start = biases[bias : bias + n_out]
        for j in range(len(z)):
            z[j] = start[j]
    places = net.partial[PLACES, row[PARTIAL] + lo : row[PARTIAL] + hi]
    count = nonzeros(x, places)
    # Four rows at a time, so that z is read less.
    four = count - count % 4
    for c in range(0, four, 4):
        p, q, r, s = int(places[c]), int(places[c + 1]), int(places[c + 2]), int(places[c + 3])
        x_p, x_q, x_r, x_s = x[p], x[q], x[r], x[s]
        t, u = theta[first + p * n_out :][:n_out], theta[first + q * n_out :][:n_out]
        v, w = theta[first + r * n_out :][:n_out], theta[first + s * n_out :][:n_out]
        for j in range(len(z)):
            z[j] = (((z[j] + x_p * t[j]) + x_q * u[j]) + x_r * v[j]) + x_s * w[j]
    for c in range(four, count):
        p = int(places[c])
        x_p, t = x[p], theta[first + p * n_out :][:n_out]
        for j in range(len(z)):
            z[j] += x_p * t[j]


@kernel_exact
def single_step(net, k, hyper, scalars, state, theta, source, offset, lo, hi):
    """W ← W − η x δᵀ, rows lo:hi: plain gradient descent, in place."""
    row = net.table[k]
    n_out, eta = row[N_OUT], theta.dtype.type(scalars[0])
    delta = net.work[row[DELTA] : row[DELTA] + n_out]
    places = net.partial[PLACES, row[PARTIAL] + lo : row[PARTIAL] + hi]
    for c in range(nonzeros(source[offset + lo : offset + hi], places)):
        i = lo + int(places[c])
        x, w = source[offset + i], theta[row[WEIGHT] + i * n_out :][:n_out]
        for j in range(len(w)):
            w[j] -= eta * (x * delta[j])


@kernel
def nonzeros(x, places):
    """Write where `x` is not 0 to the start of `places`; returns how often that is."""
    count = 0
    for i in range(len(x)):
        places[count] = i
        count += x[i] != 0
    return count

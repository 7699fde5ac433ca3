"""A batch of one sample, in training: what is 0 in it takes no part, and W is read and written once.

One sample uses each number of W once, so reading and writing W is what a step costs, and a row of W whose
input is 0 adds nothing to the outputs and has no gradient. Images, counts and what ReLU lets through are
mostly 0. An optimizer may have kernels that make the gradient while they change W, and then sum up what the
new W gives for the sample after this (`Optimizer.single_kernels`). Weights and values are those of the other
form to the last bit, but for the sign of a zero, as long as they are finite.

What is done to a row of W takes few vectors, so what comes before and after it counts: W is a matrix here, of
whose rows numba, given an unsigned index, does not ask where they begin and end.

Compiled where minibatches have one row, and called by their address.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._jit import distinct, kernel, kernel_exact, kernel_in_order
from hotloop.engine.address import address_of
from hotloop.engine.descent import CHUNK, kernel_end
from hotloop.engine.few import FEW
from hotloop.engine.pointwise import copy
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

__all__ = [
    "begin_outputs",
    "either_nonzero",
    "link_single",
    "nonzeros",
    "single_forward",
    "single_step",
    "single_step_ahead",
]


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
    n_out, w = row[N_OUT], theta[row[WEIGHT] : kernel_end(net, k)].reshape(row[N_IN], row[N_OUT])[lo:hi]
    x, z = source[offset + lo : offset + hi], net.work[row[VALUE] : row[VALUE] + n_out]
    if lo == 0:
        begin_outputs(net, k, theta)
    places = net.partial[PLACES, row[PARTIAL] + lo : row[PARTIAL] + hi]
    count = nonzeros(x, places)
    # Four rows at a time, so that z is read less.
    four = count - count % 4
    for c in range(0, four, 4):
        p, q = np.uint64(places[c]), np.uint64(places[c + 1])
        r, s = np.uint64(places[c + 2]), np.uint64(places[c + 3])
        add_rows(z, w[p], w[q], w[r], w[s], x[p], x[q], x[r], x[s])
    for c in range(four, count):
        p = np.uint64(places[c])
        add_row(z, w[p], x[p])


@kernel
def begin_outputs(net, k, theta):
    """The outputs of dense row k of the table for one sample, before its inputs count: the biases."""
    row = net.table[k]
    biases, bias = (theta, row[BIAS]) if row[BIAS] != NONE else (net.work, net.zeros)
    copy(biases[bias : bias + row[N_OUT]], net.work[row[VALUE] : row[VALUE] + row[N_OUT]])


@distinct
@kernel_in_order
def add_rows(z, t, u, v, w, x_t, x_u, x_v, x_w):
    """z += xₜ t + xᵤ u + xᵥ v + x_w w, one after the other."""
    for j in range(len(z)):
        z[j] = (((z[j] + x_t * t[j]) + x_u * u[j]) + x_v * v[j]) + x_w * w[j]


@distinct
@kernel_in_order
def add_row(z, w, x):
    """z += x w."""
    for j in range(len(z)):
        z[j] += x * w[j]


@kernel
def single_step(net, k, hyper, scalars, state, theta, source, offset, lo, hi):
    """W ← W − η x δᵀ, rows lo:hi: plain gradient descent, in place."""
    row, eta = net.table[k], theta.dtype.type(scalars[0])
    w = theta[row[WEIGHT] : kernel_end(net, k)].reshape(row[N_IN], row[N_OUT])[lo:hi]
    x, delta = source[offset + lo : offset + hi], net.work[row[DELTA] : row[DELTA] + row[N_OUT]]
    places = net.partial[PLACES, row[PARTIAL] + lo : row[PARTIAL] + hi]
    for c in range(nonzeros(x, places)):
        i = np.uint64(places[c])
        move_row(w[i], delta, x[i], eta)


@distinct
@kernel_exact
def move_row(w, delta, x, eta):
    """w ← w − η x δ."""
    for j in range(len(w)):
        w[j] -= eta * (x * delta[j])


@kernel
def single_step_ahead(net, hyper, scalars, state, theta, source, offset, samples, coming):
    """`single_step` on all of row 0's kernel, and z = b + Σ xᵢ Wᵢ of the coming sample with the new W."""
    row, eta = net.table[0], theta.dtype.type(scalars[0])
    n_in, n_out = row[N_IN], row[N_OUT]
    x, y = source[offset : offset + n_in], samples[coming : coming + n_in]
    w = theta[row[WEIGHT] : kernel_end(net, 0)].reshape(n_in, n_out)
    z, delta = net.work[row[VALUE] :][:n_out], net.work[row[DELTA] :][:n_out]
    begin_outputs(net, 0, theta)
    places = net.partial[PLACES, row[PARTIAL] : row[PARTIAL] + n_in]
    for c in range(either_nonzero(x, y, places)):
        i = np.uint64(places[c])
        move_and_add_row(w[i], z, delta, x[i], y[i], eta)


@kernel_exact
def moved(w, x, delta, eta):
    """A weight after a step."""
    return w - eta * (x * delta)


@distinct
@kernel_in_order
def move_and_add_row(w, z, delta, x, y, eta):
    """w ← w − η x δ, then z += y w."""
    for j in range(len(w)):
        w_j = moved(w[j], x, delta[j], eta)
        z[j] += y * w_j
        w[j] = w_j


@kernel
def nonzeros(x, places):
    """Write where `x` is not 0 to the start of `places`; returns how often that is."""
    count = 0
    for i in range(len(x)):
        places[count] = i
        count += x[i] != 0
    return count


@kernel
def either_nonzero(x, y, places):
    """`nonzeros` of two."""
    count = 0
    for i in range(len(x)):
        places[count] = i
        count += (x[i] != 0) | (y[i] != 0)
    return count

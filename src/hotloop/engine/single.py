"""A batch of one sample, in training: what is 0 in it takes no part, and W is read and written once.

One sample uses each number of W once, so reading and writing W is what a step costs, and a row of W whose
input is 0 adds nothing to the outputs and has no gradient. Images, counts and what ReLU lets through are
mostly 0. An optimizer may have kernels that make the gradient while they change W, and then sum up what the
new W gives for the sample after this (`Optimizer.single_kernels`). Weights and values are those of the other
form to the last bit, but for the sign of a zero, as long as they are finite.

What is done to a row of W takes few vectors, so what comes before and after it counts: rows pass by in strips
(`engine.strip`).

Compiled where minibatches have one row, and called by their address.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._jit import INTRINSICS, distinct, kernel, kernel_exact, kernel_in_order
from hotloop.engine.address import address_of
from hotloop.engine.descent import CHUNK
from hotloop.engine.lone import Lone, begin_outputs
from hotloop.engine.matmul import OWN_ORDER
from hotloop.engine.strip import lanes_of, strips_of
from hotloop.engine.table import (
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
    "either_nonzero",
    "link_single",
    "nonzeros",
    "plain_add_all",
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
    one = Lone(net.table[0], net.work, net.partial[PLACES], net.zeros)
    net.calls[SINGLE_FORWARD] = address_of(single_forward, (one, x, x, 0, 0, 0))
    for k, row in enumerate(net.table):
        step, ahead = kernels(int(row[N_OUT]))
        if row[OP] != DENSE or row[PENALTY] != NONE or step is None:
            continue
        row[SINGLE] = 1
        net.calls[SINGLE_STEP] = address_of(step, (one, numbers, numbers, state, x, x, 0, 0, 0))
        large = row[N_OUT] > OWN_ORDER and row[N_IN] * row[N_OUT] > CHUNK
        keeps = net.table[1:2, OP].tolist() == [ELEMENTWISE]
        if k == 0 and large and keeps and ahead is not None and not net.limited:
            net.calls[SINGLE_AHEAD] = address_of(ahead, (one, numbers, numbers, state, x, x, 0, x, 0))


@kernel_exact
def single_forward(one, theta, source, offset, lo, hi):
    """z = b + Σ xᵢ Wᵢ of a dense row of the table, over the inputs that are not 0, in their order.

    Over inputs lo:hi alone; unless they are the first, their terms are added to z.
    """
    row, n_out = one.row, one.row[N_OUT]
    if lo == 0:
        begin_outputs(one, theta)
    x, z = source[offset + lo : offset + hi], one.work[row[VALUE] : row[VALUE] + n_out]
    places = one.places[row[PARTIAL] + lo : row[PARTIAL] + hi]
    places = places[: nonzeros(x, places)]
    add_strips((theta,), row[WEIGHT] + lo * n_out, n_out, places, x, z, z, x, ())


@kernel_exact
def single_step(one, hyper, scalars, state, theta, source, offset, lo, hi):
    """W ← W − η x δᵀ, rows lo:hi: plain gradient descent, in place."""
    row, n_out, eta = one.row, one.row[N_OUT], theta.dtype.type(scalars[0])
    x, delta = source[offset + lo : offset + hi], one.work[row[DELTA] : row[DELTA] + n_out]
    places = one.places[row[PARTIAL] + lo : row[PARTIAL] + hi]
    at, places = row[WEIGHT] + lo * n_out, places[: nonzeros(x, places)]
    if n_out < lanes_of(x):  # as strips, rows would wait for each other
        move_short_rows(theta[at : at + (hi - lo) * n_out].reshape(hi - lo, n_out), delta, x, eta, places)
    else:
        move_strips((theta,), at, n_out, places, x, delta, delta, x, (eta,))


@kernel_exact
def single_step_ahead(one, hyper, scalars, state, theta, source, offset, samples, coming):
    """`single_step` on all of a kernel, and z = b + Σ xᵢ Wᵢ of the coming sample with the new W."""
    row, eta = one.row, theta.dtype.type(scalars[0])
    n_in, n_out = row[N_IN], row[N_OUT]
    begin_outputs(one, theta)
    x, y = source[offset : offset + n_in], samples[coming : coming + n_in]
    z, delta = one.work[row[VALUE] :][:n_out], one.work[row[DELTA] :][:n_out]
    places = one.places[row[PARTIAL] : row[PARTIAL] + n_in]
    places = places[: either_nonzero(x, y, places)]
    move_strips_ahead((theta,), row[WEIGHT], n_out, places, x, delta, z, y, (eta,))


@kernel_exact
def moved(w, x, delta, eta):
    """A weight after a step."""
    return w - eta * (x * delta)


@kernel
def move_short_rows(w, delta, x, eta, places):
    """W ← W − η x δᵀ, for the places i.

    Of the rows of a matrix, given an unsigned number, numba does not ask where they begin and end.
    """
    for place in places:
        i = np.uint64(place)
        move_row(w[i], delta, x[i], eta)


@distinct
@kernel_exact
def move_row(w, delta, x, eta):
    """w ← w − η x δ."""
    for j in range(len(w)):
        w[j] = moved(w[j], x, delta[j], eta)


@kernel_in_order
def plain_add(passing, at, step, places, x, delta, z, y, numbers):
    """z += Σ yᵢ Wᵢ, for the places i: what `strips_of` makes without a rule."""
    for place in places:
        i = int(place)
        w = passing[0][at + i * step :]
        for j in range(len(z)):
            z[j] += y[i] * w[j]


@kernel_in_order
def plain_add_all(passing, at, step, z, y):
    """`plain_add` of all rows."""
    for i in range(len(y)):
        w = passing[0][at + i * step :]
        for j in range(len(z)):
            z[j] += y[i] * w[j]


@kernel_in_order
def plain_move(passing, at, step, places, x, delta, z, y, numbers):
    """W ← W − η x δᵀ, for the places i: what `strips_of` makes of `moved_vector`."""
    for place in places:
        i = int(place)
        w = passing[0][at + i * step :]
        for j in range(len(z)):
            w[j] = moved(w[j], x[i], delta[j], numbers[0])


@kernel_in_order
def plain_move_ahead(passing, at, step, places, x, delta, z, y, numbers):
    """`plain_move`, and z += Σ yᵢ Wᵢ with the new W."""
    plain_move(passing, at, step, places, x, delta, z, y, numbers)
    plain_add(passing, at, step, places, x, delta, z, y, numbers)


def moved_vector(vectors, row, g, numbers):
    """`moved`, as `strips_of` wants it."""
    return [vectors.builder.fsub(row[0], vectors.builder.fmul(numbers[0], g))]


if INTRINSICS:
    add_strips = strips_of(None, ahead=True)
    move_strips, move_strips_ahead = strips_of(moved_vector, ahead=False), strips_of(moved_vector, ahead=True)
else:
    add_strips, move_strips, move_strips_ahead = plain_add, plain_move, plain_move_ahead


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

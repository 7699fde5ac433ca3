"""How everything in a network moves with θ: the R-operator of each row of the table.

R f = d/dr f(θ + r v) at r = 0. `tangent_forward` takes it of the values, `tangent_backward` of the
deltas; both are products with the same matrices as the passes that they follow, so they cost about
as much. Several vectors v go through while the values of one batch are there.

Pearlmutter, "Fast exact multiplication by the Hessian" (1994), section 4. Where f′ or f″ jump, R takes
the side that they take.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop._jit import kernel, kernel_exact
from hotloop.activations import COMMON, CURVED, activate_backward, activate_second
from hotloop.engine.address import NOWHERE, address_of, call
from hotloop.engine.matmul import Matrix, multiply
from hotloop.engine.memory import aligned_zeros
from hotloop.engine.network import backward_row
from hotloop.engine.operations_tangent import other_tangent_backward, other_tangent_forward
from hotloop.engine.sparse import multiply_layer
from hotloop.engine.table import (
    ACTIVATE_BACKWARD,
    BIAS,
    CODE,
    DELTA,
    DENSE,
    ELEMENTWISE,
    N_IN,
    N_OUT,
    NONE,
    OP,
    PREDICTION,
    VALUE,
    WEIGHT,
    Net,
)
from hotloop.engine.team import Crew, share, sync_zeros
from hotloop.engine.tile import PLAIN, tile_shape

__all__ = [
    "Tangents",
    "bend",
    "bind_tangents",
    "scale_by",
    "slopes",
    "tangent_backward",
    "tangent_forward",
    "turn",
]

# Addresses of kernels that only some networks need.
TANGENT_FORWARD, TANGENT_BACKWARD, SECOND = 0, 1, 2


class Tangents(NamedTuple):
    """The memory of some vectors: laid out as the table lays out `Net.work`."""

    work: NDArray[Any]  # (vectors, numbers) R of values, deltas, and what batch normalisation keeps
    slopes: NDArray[Any]  # (numbers,) f′ of activations, where their values are
    bends: NDArray[Any]  # (numbers,) f″ δ of activations, there too
    still: NDArray[Any]  # R of the inputs: zeros, or empty where no row asks for it
    calls: NDArray[np.int64]  # addresses


def bind_tangents(net: Net, vectors: int) -> Tangents:
    """Memory for so many vectors at once, and the addresses of what this network needs."""
    table, dtype = net.table, net.work.dtype
    size, capacity = net.zeros, len(net.row_loss)
    asks = net.first == 0 and table[0, OP] != DENSE
    calls = np.full(3, NOWHERE, np.int64)
    numbers = aligned_zeros(1, dtype)
    if set(table[:, OP].tolist()) - {DENSE, ELEMENTWISE}:
        crew = Crew(0, 1, sync_zeros(1))
        arguments = (net, 0, numbers, numbers, numbers, numbers, 0, numbers, 0, 0, 0, PREDICTION, crew)
        calls[TANGENT_FORWARD] = address_of(other_tangent_forward, arguments)
        calls[TANGENT_BACKWARD] = address_of(other_tangent_backward, arguments)
    if any(op == ELEMENTWISE and code in CURVED for op, code in table[:, [OP, CODE]].tolist()):
        calls[SECOND] = address_of(activate_second, (0, numbers, numbers, numbers))
    return Tangents(
        work=aligned_zeros(vectors * size, dtype).reshape(vectors, size),
        slopes=aligned_zeros(size, dtype),
        bends=aligned_zeros(size, dtype),
        still=aligned_zeros(capacity * int(table[0, N_IN]) if asks else 0, dtype),
        calls=calls,
    )


@kernel
def slopes(net, tangents, x, n, crew):
    """f′ of every activation, for this thread's rows of the batch: all vectors and both ways need it."""
    grain, _ = tile_shape(net.work)
    lo, hi = share(n, grain, crew.tid, crew.n_threads)
    for k in range(net.first, len(net.table)):
        row, n_out = net.table[k], net.table[k, N_OUT]
        if row[OP] == ELEMENTWISE:
            source, offset = (net.work, net.table[k - 1][VALUE]) if k > 0 else (x, np.int64(0))
            z = source[offset + lo * n_out : offset + hi * n_out]
            first, last = row[VALUE] + lo * n_out, row[VALUE] + hi * n_out
            slope = tangents.slopes[first:last]
            slope[:] = 1
            if row[CODE] in COMMON:
                activate_backward(row[CODE], z, net.work[first:last], slope)
            else:
                call(net.calls[ACTIVATE_BACKWARD], (row[CODE], z, net.work[first:last], slope))


@kernel
def tangent_forward(net, tangents, t, theta, v, x, dx, n, mode, crew, panel):
    """R of the values of every row of the table, along vector number `t`, for this thread's rows.

    `v` (size,) is R θ, `dx` (flat, as `x`) R of the inputs; a dense layer that is the first row with
    parameters takes the latter as 0.
    """
    grain, _ = tile_shape(net.work)
    lo, hi = share(n, grain, crew.tid, crew.n_threads)
    tangent = tangents.work[t]
    for k in range(net.first, len(net.table)):
        row, n_out = net.table[k], net.table[k, N_OUT]
        before = net.table[k - 1, VALUE] if k > 0 else np.int64(0)
        source, moved = (net.work, tangent) if k > 0 else (x, dx)
        if row[OP] == DENSE:
            dense_tangent(net, k, tangent, theta, v, source, moved, before, lo, hi, panel)
        elif row[OP] == ELEMENTWISE:
            first, last = row[VALUE] + lo * n_out, row[VALUE] + hi * n_out
            dz, slope = moved[before + lo * n_out : before + hi * n_out], tangents.slopes[first:last]
            scale_by(dz, slope, tangent[first:last])
        else:
            address = tangents.calls[TANGENT_FORWARD]
            call(address, (net, k, tangent, theta, v, source, before, moved, n, lo, hi, mode, crew))


@kernel
def dense_tangent(net, k, tangent, theta, v, source, moved, before, lo, hi, panel):
    """R z = R b + a R W + (R a) W of row k, for rows lo:hi of the batch."""
    row = net.table[k]
    n_in, n_out = row[N_IN], row[N_OUT]
    out = Matrix(tangent, row[VALUE] + lo * n_out, n_out, 1)
    inputs = Matrix(source, before + lo * n_in, n_in, 1)
    dw = Matrix(v, row[WEIGHT], n_out, 1)
    biases, bias = (v, row[BIAS]) if row[BIAS] != NONE else (net.work, net.zeros)
    start = Matrix(biases, bias, 0, 1)
    multiply_layer(net, k, out, start, inputs, dw, hi - lo, n_out, n_in, panel, PLAIN)
    if k > net.first:
        d_inputs = Matrix(moved, before + lo * n_in, n_in, 1)
        multiply(out, out, d_inputs, Matrix(theta, row[WEIGHT], n_out, 1), hi - lo, n_out, n_in, panel, PLAIN)


@kernel
def tangent_backward(net, tangents, theta, v, x, n, mode, crew, panel):
    """Deltas and, along each of the vectors `v` (vectors, size), their R, from the last row to the first.

    δ is turned in place, and R needs it as it was: so they go from row to row together.
    """
    grain, _ = tile_shape(net.work)
    lo, hi = share(n, grain, crew.tid, crew.n_threads)
    for k in range(len(net.table) - 1, net.first - 1, -1):
        row, n_out = net.table[k], net.table[k, N_OUT]
        before = net.table[k - 1, VALUE] if k > 0 else np.int64(0)
        first, last = row[VALUE] + lo * n_out, row[VALUE] + hi * n_out
        bend(net, tangents, k, lo, hi)
        for t in range(len(v)):
            tangent = tangents.work[t]
            if row[OP] == DENSE:
                if k > net.first:
                    dense_tangent_backward(net, k, tangent, theta, v[t], lo, hi, panel)
            elif row[OP] == ELEMENTWISE:
                r = tangent[row[DELTA] + lo * n_out : row[DELTA] + hi * n_out]
                if row[CODE] in CURVED:
                    dz = tangent[before + lo * n_out : before + hi * n_out]
                    turn(tangents.slopes[first:last], tangents.bends[first:last], dz, r)
                else:
                    scale_by(r, tangents.slopes[first:last], r)
            else:
                source, moved = (net.work, tangent) if k > 0 else (x, tangents.still)
                address = tangents.calls[TANGENT_BACKWARD]
                call(address, (net, k, tangent, theta, v[t], source, before, moved, n, lo, hi, mode, crew))
        backward_row(net, k, theta, x, n, lo, hi, mode, crew, panel)


@kernel
def bend(net, tangents, k, lo, hi):
    """f″ δ of row k, if it is an activation that bends, for rows lo:hi, before δ is turned."""
    row, n_out = net.table[k], net.table[k, N_OUT]
    if row[OP] == ELEMENTWISE and row[CODE] in CURVED:
        before, first, last = net.table[k - 1, VALUE], row[VALUE] + lo * n_out, row[VALUE] + hi * n_out
        z, out = net.work[before + lo * n_out : before + hi * n_out], tangents.bends[first:last]
        call(tangents.calls[SECOND], (row[CODE], z, net.work[first:last], out))
        scale_by(net.work[row[DELTA] + lo * n_out : row[DELTA] + hi * n_out], out, out)


@kernel
def dense_tangent_backward(net, k, tangent, theta, v, lo, hi, panel):
    """R δₓ = (R δ) Wᵀ + δ (R W)ᵀ of row k, for rows lo:hi of the batch."""
    row = net.table[k]
    n_in, n_out = row[N_IN], row[N_OUT]
    out = Matrix(tangent, net.table[k - 1][DELTA] + lo * n_in, n_in, 1)
    moved = Matrix(tangent, row[DELTA] + lo * n_out, n_out, 1)
    deltas = Matrix(net.work, row[DELTA] + lo * n_out, n_out, 1)
    zeros = Matrix(net.work, net.zeros, 0, 1)
    multiply(out, zeros, moved, Matrix(theta, row[WEIGHT], 1, n_out), hi - lo, n_in, n_out, panel, PLAIN)
    multiply(out, out, deltas, Matrix(v, row[WEIGHT], 1, n_out), hi - lo, n_in, n_out, panel, PLAIN)


@kernel
def scale_by(source, factor, out):
    """out = source · factor, number by number."""
    for i in range(len(out)):
        out[i] = source[i] * factor[i]


@kernel_exact
def turn(slope, bend, dz, r):
    """R (f′ δ) = f′ R δ + f″ δ R z, in place of R δ."""
    for i in range(len(r)):
        r[i] = slope[i] * r[i] + bend[i] * dz[i]

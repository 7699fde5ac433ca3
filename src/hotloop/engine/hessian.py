"""The whole matrix of second derivatives, unit by unit: an entry kernel.

A weight into unit q of a dense row moves that unit alone: along weight (p, q) all that comes after it
moves in sample i as it does along z_q, times the input a_p of that sample. So the R-operator
(`engine.tangent`) goes once for each unit, not once for each weight, and all weights into it follow by one
product, H[(p, q), ·] = Σᵢ a_p R_q(∂Lᵢ/∂θ). The matrix is symmetric, so nothing before that row is needed.

That holds where samples do not meet and no other row has parameters: see `SEPARABLE`. As
Bishop, "Exact calculation of the Hessian matrix for the multilayer perceptron" (1992), for any depth.
"""

from hotloop._jit import kernel
from hotloop.engine.curvature import loss_products
from hotloop.engine.matmul import Matrix, multiply
from hotloop.engine.network import backward_row, forward, loss_rows
from hotloop.engine.pointwise import copy, drop
from hotloop.engine.table import (
    BIAS,
    DELTA,
    DENSE,
    DROPOUT,
    ELEMENTWISE,
    N_IN,
    N_OUT,
    NONE,
    OP,
    RATE,
    STANDARDIZE,
    VALUE,
    WEIGHT,
)
from hotloop.engine.tangent import bend, scale_by, slopes, turn
from hotloop.engine.team import Crew
from hotloop.engine.tile import PLAIN

__all__ = ["SEPARABLE", "matrix_block"]

SEPARABLE = (DENSE, ELEMENTWISE, DROPOUT, STANDARDIZE)
"""Operations that a network may have here."""


@kernel
def matrix_block(
    net, block, loss, scale, theta, tangents, curvature, whole, parts, H, batch_size, mode, tid, n_threads,
    alone,
):  # fmt: skip
    """Add to the rows of this thread's units in `H` (size * size,), from the first weight of their layer on.

    Each thread has its own `net` and `tangents`, with one vector, and `parts` (rows, size) for the gradients
    of samples; `alone` is a barrier for nobody else. `whole` is 1 for the Hessian, 0 for Gauss-Newton.
    """
    crew = Crew(0, 1, alone)
    rows, n_in = len(block.weights), net.table[0, N_IN]
    panel = net.work[net.panels : net.panels + net.panel_size]
    for first in range(0, rows, batch_size):
        last = min(first + batch_size, rows)
        n = last - first
        x = block.x[first * n_in : last * n_in]
        targets, weights = block.targets[first:last], block.weights[first:last]
        forward(net, theta, x, n, mode, crew, panel)
        loss_rows(net, loss, targets, weights, scale, crew)
        slopes(net, tangents, x, n, crew)
        for k in range(len(net.table) - 1, net.first - 1, -1):
            if whole:
                bend(net, tangents, k, 0, n)
            backward_row(net, k, theta, x, n, 0, n, mode, crew, panel)
        unit = 0
        for k in range(net.first, len(net.table)):
            for q in range(net.table[k, N_OUT] if net.table[k, OP] == DENSE else 0):
                if unit % n_threads == tid:
                    unit_forward(net, tangents, k, q, theta, n, mode, panel)
                    loss_products(
                        net, curvature, targets, weights, scale, tangents.work[0], tangents.work[0], crew
                    )
                    unit_backward(net, tangents, k, theta, n, mode, panel)
                    unit_gradients(net, tangents.work[0], k, x, n, whole, parts)
                    add_unit(net, k, q, x, n, parts, H, panel)
                unit += 1


@kernel
def unit_forward(net, tangents, k, q, theta, n, mode, panel):
    """R of all values after row k, where output q of that row moves by 1 in each of the `n` samples."""
    tangent, width, start = tangents.work[0], net.table[k, N_OUT], net.table[k, VALUE]
    tangent[start : start + n * width] = 0
    for i in range(n):
        tangent[start + i * width + q] = 1
    for j in range(k + 1, len(net.table)):
        row, before = net.table[j], net.table[j - 1, VALUE]
        n_in, n_out = row[N_IN], row[N_OUT]
        dz, da = tangent[before : before + n * n_in], tangent[row[VALUE] : row[VALUE] + n * n_out]
        if row[OP] == DENSE:
            out, inputs = Matrix(tangent, row[VALUE], n_out, 1), Matrix(tangent, before, n_in, 1)
            w, zeros = Matrix(theta, row[WEIGHT], n_out, 1), Matrix(net.work, net.zeros, 0, 1)
            multiply(out, zeros, inputs, w, n, n_out, n_in, panel, PLAIN)
        elif row[OP] == ELEMENTWISE:
            scale_by(dz, tangents.slopes[row[VALUE] : row[VALUE] + n * n_out], da)
        else:
            drop(dz, da, 0, net.options[j, RATE], mode, j)


@kernel
def unit_backward(net, tangents, k, theta, n, mode, panel):
    """R of all deltas back to those of row k."""
    tangent = tangents.work[0]
    for j in range(len(net.table) - 1, k, -1):
        row, before = net.table[j], net.table[j - 1, VALUE]
        n_in, n_out = row[N_IN], row[N_OUT]
        r = tangent[row[DELTA] : row[DELTA] + n * n_out]
        if row[OP] == DENSE:
            out = Matrix(tangent, net.table[j - 1, DELTA], n_in, 1)
            deltas, w = Matrix(tangent, row[DELTA], n_out, 1), Matrix(theta, row[WEIGHT], 1, n_out)
            multiply(out, Matrix(net.work, net.zeros, 0, 1), deltas, w, n, n_in, n_out, panel, PLAIN)
        elif row[OP] == ELEMENTWISE:
            first, last = row[VALUE], row[VALUE] + n * n_out
            # Gauss-Newton has left the bends 0.
            turn(
                tangents.slopes[first:last],
                tangents.bends[first:last],
                tangent[before : before + n * n_in],
                r,
            )
        else:
            drop(r, r, 0, net.options[j, RATE], mode, j)


@kernel
def unit_gradients(net, tangent, k, x, n, whole, parts):
    """R of the gradient of each sample by all parameters from row k on: a R δ + (R a) δ."""
    for j in range(k, len(net.table)):
        row = net.table[j]
        if row[OP] != DENSE:
            continue
        n_in, n_out, before = row[N_IN], row[N_OUT], net.table[j - 1, VALUE] if j > 0 else 0
        source = net.work if j > 0 else x
        for i in range(n):
            delta = net.work[row[DELTA] + i * n_out : row[DELTA] + (i + 1) * n_out]
            r = tangent[row[DELTA] + i * n_out : row[DELTA] + (i + 1) * n_out]
            if row[BIAS] != NONE:
                copy(r, parts[i][row[BIAS] : row[BIAS] + n_out])
            for p in range(n_in):
                a, to = source[before + i * n_in + p], parts[i][row[WEIGHT] + p * n_out :]
                if j > k and whole:
                    da = tangent[before + i * n_in + p]
                    for c in range(len(r)):
                        to[c] = a * r[c] + da * delta[c]
                else:
                    for c in range(len(r)):
                        to[c] = a * r[c]


@kernel
def add_unit(net, k, q, x, n, parts, H, panel):
    """Add the rows of the weights into unit q of row k, and of its bias, to `H`."""
    row, size = net.table[k], parts.shape[1]
    n_in, n_out, start = row[N_IN], row[N_OUT], row[WEIGHT]
    source, before = net.work if k > 0 else x, net.table[k - 1, VALUE] if k > 0 else 0
    out = Matrix(H, (start + q) * size + start, n_out * size, 1)
    inputs, gradients = Matrix(source, before, 1, n_in), Matrix(parts.reshape(-1), start, size, 1)
    multiply(out, out, inputs, gradients, n_in, size - start, n, panel, PLAIN)
    if row[BIAS] != NONE:
        to = H[(row[BIAS] + q) * size + start : (row[BIAS] + q + 1) * size]
        for i in range(n):
            part = parts[i][start:]
            for c in range(len(to)):
                to[c] += part[c]

"""The R-operator of the operations beside dense layers and activations; see `engine.tangent`.

Compiled when curvature of a network that has one is first asked for, and called by their address.
"""

from hotloop._jit import kernel
from hotloop.activations import prelu_backward, prelu_slope_part, softmax_backward, softmax_second
from hotloop.engine.normalisation import (
    normalise_backward_tangent,
    normalise_tangent,
    statistics_tangent,
    sum_columns,
    sum_columns_tangent,
)
from hotloop.engine.pointwise import copy, divide, drop
from hotloop.engine.table import (
    BATCH_NORM,
    COLUMN_GRAIN,
    DELTA,
    DROPOUT,
    N_OUT,
    OP,
    PRELU,
    RATE,
    RUNNING,
    SOFTMAX,
    STANDARDIZE,
    VALUE,
    WEIGHT,
)
from hotloop.engine.team import barrier, share

__all__ = ["other_tangent_backward", "other_tangent_forward"]


@kernel
def other_tangent_forward(net, k, tangent, theta, v, source, offset, moved, n, lo, hi, mode, crew):
    """R of the values of row k, for rows lo:hi of the batch of `n`.

    `source` holds its inputs and `moved` their R, both from `offset` on; `v` is R θ.
    """
    row = net.table[k]
    op, n_out = row[OP], row[N_OUT]
    z = source[offset + lo * n_out : offset + hi * n_out]
    dz = moved[offset + lo * n_out : offset + hi * n_out]
    a = net.work[row[VALUE] + lo * n_out : row[VALUE] + hi * n_out]
    da = tangent[row[VALUE] + lo * n_out : row[VALUE] + hi * n_out]
    if op == BATCH_NORM:
        first, last = share(n_out, COLUMN_GRAIN, crew.tid, crew.n_threads)
        through = 1.0 if mode.training and n > 1 else 0.0
        barrier(crew.sync, crew.n_threads)
        statistics_tangent(net, k, tangent, source, offset, moved, n, first, last, through)
        barrier(crew.sync, crew.n_threads)
        normalise_tangent(net, k, tangent, theta, v, source, offset, moved, lo, hi)
    elif op == DROPOUT:
        drop(dz, da, (mode.before + lo) * n_out, net.options[k, RATE], mode, k)
    elif op == PRELU:
        # δ's way back is the same product with f′.
        prelu_backward(z, dz, da, theta[row[WEIGHT] : row[WEIGHT] + n_out])
        prelu_slope_part(z, z, da, v[row[WEIGHT] : row[WEIGHT] + n_out])
    elif op == SOFTMAX:
        copy(dz, da)
        softmax_backward(a, da, n_out)  # its Jacobian is symmetric
    elif op == STANDARDIZE:
        deviation = row[RUNNING] + n_out
        divide(dz, da, net.running[deviation : deviation + n_out])


@kernel
def other_tangent_backward(net, k, tangent, theta, v, source, offset, moved, n, lo, hi, mode, crew):
    """R of `other_backward`, before that: δ is still ∂L/∂outputs of row k."""
    row = net.table[k]
    op, n_out = row[OP], row[N_OUT]
    z = source[offset + lo * n_out : offset + hi * n_out]
    delta = net.work[row[DELTA] + lo * n_out : row[DELTA] + hi * n_out]
    r = tangent[row[DELTA] + lo * n_out : row[DELTA] + hi * n_out]
    if op == BATCH_NORM:
        first, last = share(n_out, COLUMN_GRAIN, crew.tid, crew.n_threads)
        through = 1.0 if mode.training and n > 1 else 0.0
        barrier(crew.sync, crew.n_threads)
        sum_columns(net, k, source, offset, row[DELTA], n, first, last)
        sum_columns_tangent(net, k, tangent, source, offset, moved, n, first, last)
        barrier(crew.sync, crew.n_threads)
        normalise_backward_tangent(net, k, tangent, theta, v, source, offset, moved, n, lo, hi, through)
    elif op == DROPOUT:
        drop(r, r, (mode.before + lo) * n_out, net.options[k, RATE], mode, k)
    elif op == PRELU:
        if k > net.first:
            before = net.table[k - 1][DELTA]
            out = tangent[before + lo * n_out : before + hi * n_out]
            prelu_backward(z, r, out, theta[row[WEIGHT] : row[WEIGHT] + n_out])
            prelu_slope_part(z, delta, out, v[row[WEIGHT] : row[WEIGHT] + n_out])
    elif op == SOFTMAX:
        a = net.work[row[VALUE] + lo * n_out : row[VALUE] + hi * n_out]
        da = tangent[row[VALUE] + lo * n_out : row[VALUE] + hi * n_out]
        softmax_second(a, da, delta, r, n_out)

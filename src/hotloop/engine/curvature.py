"""Products of second derivatives with vectors: the entry kernels, once a block as those of `engine.loop`.

The Hessian's product goes forward and backward with the R-operator (`engine.tangent`). That of
Gauss and Newton goes forward with it, through the second derivatives of the loss alone, and back as a
gradient does: Jᵀ ∇²loss J v. Schraudolph, "Fast curvature matrix-vector products for second-order
gradient descent" (2002), sections 3 and 4.
"""

from hotloop._jit import kernel
from hotloop.activations import prelu_gradient_tangent
from hotloop.engine.descent import add_gradient, kernel_gradient, vector_gradient
from hotloop.engine.loop import add_sums
from hotloop.engine.network import backward, forward, loss_rows
from hotloop.engine.table import (
    COLUMN_GRAIN,
    DELTA,
    DENSE,
    L2_STRENGTH,
    N_IN,
    N_OUT,
    OP,
    PENALTY,
    PRELU,
    VALUE,
    WEIGHT,
)
from hotloop.engine.tangent import slopes, tangent_backward, tangent_forward
from hotloop.engine.team import Crew, barrier, share
from hotloop.engine.tile import tile_shape
from hotloop.losses import product_of_row
from hotloop.penalties import HAS_GRADIENT, penalty_gradient

__all__ = ["add_penalty_products", "gauss_newton_block", "hvp_block"]


@kernel
def hvp_block(
    net, block, loss, scale, theta, tangents, curvature, v, out, batch_size, mode, sums, tid, n_threads, sync
):  # fmt: skip
    """Add ∇² of scale Σ weight · loss over the block, times each row of `v` (vectors, size), to `out`.

    `loss` and `curvature` are the same loss, of `criterion_of` and of `curvature_of`.
    """
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
        slopes(net, tangents, x, n, crew)
        for t in range(len(v)):
            tangent = tangents.work[t]
            tangent_forward(net, tangents, t, theta, v[t], x, tangents.still, n, mode, crew, panel)
            loss_products(net, curvature, targets, weights, scale, tangent, tangent, crew)
        tangent_backward(net, tangents, theta, v, x, n, mode, crew, panel)
        barrier(sync, n_threads)
        for t in range(len(v)):
            add_products(net, tangents.work[t], x, tangents.still, n, out[t], crew, panel)
        if tid == 0:
            add_sums(net, weights, sums)
        barrier(sync, n_threads)


@kernel
def gauss_newton_block(
    net, block, loss, scale, theta, tangents, curvature, v, out, batch_size, mode, sums, tid, n_threads, sync
):  # fmt: skip
    """Add scale Σ weight · Jᵀ ∇²loss J over the block, times each row of `v`, to `out`; as `hvp_block`."""
    crew = Crew(tid, n_threads, sync)
    rows, n_in = len(block.weights), net.table[0, N_IN]
    panel = net.work[net.panels + tid * net.panel_size : net.panels + (tid + 1) * net.panel_size]
    for first in range(0, rows, batch_size):
        last = min(first + batch_size, rows)
        n = last - first
        x = block.x[first * n_in : last * n_in]
        targets, weights = block.targets[first:last], block.weights[first:last]
        forward(net, theta, x, n, mode, crew, panel)
        slopes(net, tangents, x, n, crew)
        for t in range(len(v)):
            tangent = tangents.work[t]
            tangent_forward(net, tangents, t, theta, v[t], x, tangents.still, n, mode, crew, panel)
            loss_products(net, curvature, targets, weights, scale, tangent, net.work, crew)
            backward(net, theta, x, n, mode, crew, panel)
            barrier(sync, n_threads)
            add_gradient(net, x, n, out[t], True, crew, panel)
            barrier(sync, n_threads)


@kernel
def loss_products(net, curvature, targets, weights, scale, tangent, out, crew):
    """scale · weight · ∇²loss R(outputs) of this thread's rows, to where `out` has the last deltas."""
    last = net.table[len(net.table) - 1]
    n_out, number = last[N_OUT], net.work.dtype.type
    grain, _ = tile_shape(net.work)
    lo, hi = share(len(weights), grain, crew.tid, crew.n_threads)
    for i in range(lo, hi):
        outputs = net.work[last[VALUE] + i * n_out : last[VALUE] + (i + 1) * n_out]
        moved = tangent[last[VALUE] + i * n_out : last[VALUE] + (i + 1) * n_out]
        product = out[last[DELTA] + i * n_out : last[DELTA] + (i + 1) * n_out]
        product_of_row(curvature, outputs, targets[i], moved, product)
        factor = number(weights[i] * scale)
        if factor == 0:
            product[:] = 0
        for j in range(len(product)):
            product[j] *= factor


@kernel
def add_products(net, tangent, x, still, n, out, crew, panel):
    """Add this thread's part of R ∂L/∂θ, summed over the `n` rows of the batch, to `out` (size,)."""
    grain, _ = tile_shape(net.work)
    for k in range(net.first, len(net.table)):
        row, n_out = net.table[k], net.table[k, N_OUT]
        before = net.table[k - 1, VALUE] if k > 0 else 0
        source, moved = (net.work, tangent) if k > 0 else (x, still)
        lo, hi = share(n_out, COLUMN_GRAIN, crew.tid, crew.n_threads)
        if row[OP] == PRELU:
            slopes_product(net, row, tangent, source, moved, before, n, lo, hi, out)
            continue
        vector_gradient(net, tangent, row, source, before, n, lo, hi, out, True)
        if row[OP] == DENSE:
            # R (xᵀ δ) = xᵀ R δ + (R x)ᵀ δ
            lo, hi = share(row[N_IN], grain, crew.tid, crew.n_threads)
            at = row[WEIGHT] + lo * n_out
            kernel_gradient(net, tangent, k, source, before, n, lo, hi, out, at, True, panel)
            if k > net.first:
                kernel_gradient(net, net.work, k, tangent, before, n, lo, hi, out, at, True, panel)


@kernel
def slopes_product(net, row, tangent, source, moved, before, n, lo, hi, out):
    """R of the gradient of slopes lo:hi of a "prelu" row."""
    n_out = row[N_OUT]
    for i in range(n):
        first, last = before + i * n_out + lo, before + i * n_out + hi
        delta = net.work[row[DELTA] + i * n_out + lo : row[DELTA] + i * n_out + hi]
        r = tangent[row[DELTA] + i * n_out + lo : row[DELTA] + i * n_out + hi]
        to = out[row[WEIGHT] + lo : row[WEIGHT] + hi]
        prelu_gradient_tangent(source[first:last], moved[first:last], delta, r, to)


@kernel
def add_penalty_products(net, v, out):
    """Add the second derivatives of all penalties, times `v` (size,): λ₂ v on kernels; those of |w| are 0."""
    for k in range(len(net.table)):
        row = net.table[k]
        if row[PENALTY] in HAS_GRADIENT:
            start, end = row[WEIGHT], row[WEIGHT] + row[N_IN] * row[N_OUT]
            penalty_gradient(v[start:end], out[start:end], 0.0, net.options[k, L2_STRENGTH])

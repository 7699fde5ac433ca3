"""Batch normalisation: the statistics of columns, and the passes over rows.

A column's sums run over the whole batch inside one thread, in the order of the rows. Vectors of a
number for each column live at `COLUMN`: mean and 1/√(variance + ε) from the forward pass, Σδ and
Σδx̂ from the backward pass, where x̂ = (z − mean)/√(variance + ε).

Ioffe & Szegedy, "Batch normalization: accelerating deep network training …" (2015), algorithm 1;
``notes/003``, batch normalisation.
"""

import numpy as np

from hotloop._jit import kernel_exact
from hotloop.engine.table import (
    BIAS,
    COLUMN,
    DELTA,
    EPS,
    INVERSE,
    MEAN,
    MOMENTUM,
    N_OUT,
    RUNNING,
    VALUE,
    WEIGHT,
)

__all__ = [
    "batch_statistics",
    "normalise",
    "normalise_backward",
    "normalise_backward_tangent",
    "normalise_tangent",
    "running_statistics",
    "statistics_tangent",
    "sum_columns",
    "sum_columns_tangent",
]

ONE = np.float32(1)


@kernel_exact
def batch_statistics(net, k, source, offset, n, lo, hi):
    """Mean and 1/√(variance + ε) of columns lo:hi over the `n` rows; the running ones follow.

    As in PyTorch: the batch is normalised by its variance (Σ/n), the running variance follows the
    unbiased one (Σ/(n − 1)).
    """
    width, number = net.table[k, N_OUT], net.work.dtype.type
    at = net.table[k, COLUMN]
    mean, inverse = net.work[at + lo : at + hi], net.work[at + width + lo : at + width + hi]
    mean[:] = 0
    inverse[:] = 0
    for i in range(n):
        z = source[offset + i * width + lo : offset + i * width + hi]
        for j in range(len(z)):
            mean[j] += z[j]
    for j in range(len(mean)):
        mean[j] /= number(n)
    for i in range(n):
        z = source[offset + i * width + lo : offset + i * width + hi]
        for j in range(len(z)):
            inverse[j] += (z[j] - mean[j]) * (z[j] - mean[j])
    start, eps = net.table[k, RUNNING], number(net.options[k, EPS])
    step = number(1.0 - net.options[k, MOMENTUM])
    means = net.running[start + lo : start + hi]
    variances = net.running[start + width + lo : start + width + hi]
    for j in range(len(mean)):
        means[j] += step * (mean[j] - means[j])
        variances[j] += step * (inverse[j] / number(n - 1) - variances[j])
        inverse[j] = ONE / np.sqrt(inverse[j] / number(n) + eps)


@kernel_exact
def running_statistics(net, k, lo, hi):
    """The same two vectors from the running statistics."""
    width, number = net.table[k, N_OUT], net.work.dtype.type
    at, start = net.table[k, COLUMN], net.table[k, RUNNING]
    mean, inverse = net.work[at + lo : at + hi], net.work[at + width + lo : at + width + hi]
    means = net.running[start + lo : start + hi]
    variances = net.running[start + width + lo : start + width + hi]
    eps = number(net.options[k, EPS])
    for j in range(len(mean)):
        mean[j] = means[j]
        inverse[j] = ONE / np.sqrt(variances[j] + eps)


@kernel_exact
def normalise(net, k, theta, source, offset, lo, hi):
    """γ x̂ + β for rows lo:hi of the batch."""
    row = net.table[k]
    width, at, value = row[N_OUT], row[COLUMN], row[VALUE]
    mean = net.work[at + MEAN * width : at + (MEAN + 1) * width]
    inverse = net.work[at + INVERSE * width : at + (INVERSE + 1) * width]
    gamma = theta[row[WEIGHT] : row[WEIGHT] + width]
    beta = theta[row[BIAS] : row[BIAS] + width]
    for i in range(lo, hi):
        z = source[offset + i * width : offset + (i + 1) * width]
        out = net.work[value + i * width : value + (i + 1) * width]
        for j in range(len(z)):
            x = (z[j] - mean[j]) * inverse[j]
            out[j] = gamma[j] * x + beta[j]


@kernel_exact
def sum_columns(net, k, source, offset, delta, n, lo, hi):
    """Σδ and Σδx̂ of columns lo:hi over the `n` rows: the gradients of β and γ.

    `delta` is the offset of ∂L/∂outputs.
    """
    width, at = net.table[k, N_OUT], net.table[k, COLUMN]
    mean, inverse = net.work[at + lo : at + hi], net.work[at + width + lo : at + width + hi]
    deltas = net.work[at + 2 * width + lo : at + 2 * width + hi]
    products = net.work[at + 3 * width + lo : at + 3 * width + hi]
    deltas[:] = 0
    products[:] = 0
    for i in range(n):
        z = source[offset + i * width + lo : offset + i * width + hi]
        d = net.work[delta + i * width + lo : delta + i * width + hi]
        for j in range(len(z)):
            x = (z[j] - mean[j]) * inverse[j]
            deltas[j] += d[j]
            products[j] += d[j] * x


@kernel_exact
def normalise_backward(net, k, theta, source, offset, delta, n, lo, hi, through):
    """δ ← γ (δ − Σδ/n − x̂ Σδx̂/n) / √(variance + ε) for rows lo:hi, in place.

    `through` is 1 where the statistics are the batch's and depend on each row, else 0.
    """
    row, number = net.table[k], net.work.dtype.type
    width, at = row[N_OUT], row[COLUMN]
    mean, inverse = net.work[at : at + width], net.work[at + width : at + 2 * width]
    deltas, products = net.work[at + 2 * width : at + 3 * width], net.work[at + 3 * width : at + 4 * width]
    gamma = theta[row[WEIGHT] : row[WEIGHT] + width]
    part = number(through / n)
    for i in range(lo, hi):
        z = source[offset + i * width : offset + (i + 1) * width]
        d = net.work[delta + i * width : delta + (i + 1) * width]
        for j in range(len(z)):
            x = (z[j] - mean[j]) * inverse[j]
            rest = d[j] - deltas[j] * part
            d[j] = gamma[j] * inverse[j] * (rest - products[j] * part * x)


@kernel_exact
def statistics_tangent(net, k, tangent, source, offset, moved, n, lo, hi, through):
    """How the statistics of columns lo:hi move: at `MEAN` Σż/n, at `INVERSE` Σx̂ż/n.

    With ż = R z, which lies in `moved` as z does in `source`, and x̂ the normalised z, R x̂ is
    (ż − Σż/n − x̂ Σx̂ż/n) / √(variance + ε): the same projection as on the way back. `through` is 1
    where the statistics are the batch's, else 0: then they stand still.
    """
    width, number = net.table[k, N_OUT], net.work.dtype.type
    at = net.table[k, COLUMN]
    mean, inverse = net.work[at + lo : at + hi], net.work[at + width + lo : at + width + hi]
    sums, products = tangent[at + lo : at + hi], tangent[at + width + lo : at + width + hi]
    sums[:] = 0
    products[:] = 0
    if through == 0.0:
        return
    for i in range(n):
        z = source[offset + i * width + lo : offset + i * width + hi]
        dz = moved[offset + i * width + lo : offset + i * width + hi]
        for j in range(len(z)):
            x = (z[j] - mean[j]) * inverse[j]
            sums[j] += dz[j]
            products[j] += x * dz[j]
    for j in range(len(sums)):
        sums[j] /= number(n)
        products[j] /= number(n)


@kernel_exact
def normalise_tangent(net, k, tangent, theta, v, source, offset, moved, lo, hi):
    """R (γ x̂ + β) for rows lo:hi of the batch; `v` is the tangent of θ."""
    row = net.table[k]
    width, at, value = row[N_OUT], row[COLUMN], row[VALUE]
    mean, inverse = net.work[at : at + width], net.work[at + width : at + 2 * width]
    sums, products = tangent[at : at + width], tangent[at + width : at + 2 * width]
    gamma, d_gamma = theta[row[WEIGHT] : row[WEIGHT] + width], v[row[WEIGHT] : row[WEIGHT] + width]
    d_beta = v[row[BIAS] : row[BIAS] + width]
    for i in range(lo, hi):
        z = source[offset + i * width : offset + (i + 1) * width]
        dz = moved[offset + i * width : offset + (i + 1) * width]
        out = tangent[value + i * width : value + (i + 1) * width]
        for j in range(len(z)):
            x = (z[j] - mean[j]) * inverse[j]
            dx = (dz[j] - sums[j] - x * products[j]) * inverse[j]
            out[j] = d_gamma[j] * x + gamma[j] * dx + d_beta[j]


@kernel_exact
def sum_columns_tangent(net, k, tangent, source, offset, moved, n, lo, hi):
    """R of `sum_columns`: ΣRδ, and Σ Rδ x̂ + δ R x̂, of columns lo:hi."""
    width, at, delta = net.table[k, N_OUT], net.table[k, COLUMN], net.table[k, DELTA]
    mean, inverse = net.work[at + lo : at + hi], net.work[at + width + lo : at + width + hi]
    sums, products = tangent[at + lo : at + hi], tangent[at + width + lo : at + width + hi]
    deltas = tangent[at + 2 * width + lo : at + 2 * width + hi]
    moments = tangent[at + 3 * width + lo : at + 3 * width + hi]
    deltas[:] = 0
    moments[:] = 0
    for i in range(n):
        z = source[offset + i * width + lo : offset + i * width + hi]
        dz = moved[offset + i * width + lo : offset + i * width + hi]
        d = net.work[delta + i * width + lo : delta + i * width + hi]
        r = tangent[delta + i * width + lo : delta + i * width + hi]
        for j in range(len(z)):
            x = (z[j] - mean[j]) * inverse[j]
            dx = (dz[j] - sums[j] - x * products[j]) * inverse[j]
            deltas[j] += r[j]
            moments[j] += r[j] * x + d[j] * dx


@kernel_exact
def normalise_backward_tangent(
    net, k, tangent, theta, v, source, offset, moved, n, lo, hi, through
):  # fmt: skip
    """R of `normalise_backward`, in place, while δ is still ∂L/∂outputs."""
    row, number = net.table[k], net.work.dtype.type
    width, at, delta = row[N_OUT], row[COLUMN], row[DELTA]
    mean, inverse = net.work[at : at + width], net.work[at + width : at + 2 * width]
    sums, products = tangent[at : at + width], tangent[at + width : at + 2 * width]
    deltas, moments = net.work[at + 2 * width : at + 3 * width], net.work[at + 3 * width : at + 4 * width]
    d_deltas, d_moments = tangent[at + 2 * width : at + 3 * width], tangent[at + 3 * width : at + 4 * width]
    gamma, d_gamma = theta[row[WEIGHT] : row[WEIGHT] + width], v[row[WEIGHT] : row[WEIGHT] + width]
    part = number(through / n)
    for i in range(lo, hi):
        z = source[offset + i * width : offset + (i + 1) * width]
        dz = moved[offset + i * width : offset + (i + 1) * width]
        d = net.work[delta + i * width : delta + (i + 1) * width]
        r = tangent[delta + i * width : delta + (i + 1) * width]
        for j in range(len(z)):
            x = (z[j] - mean[j]) * inverse[j]
            dx = (dz[j] - sums[j] - x * products[j]) * inverse[j]
            rest = d[j] - (deltas[j] + x * moments[j]) * part
            change = r[j] - (d_deltas[j] + dx * moments[j] + x * d_moments[j]) * part
            # R of 1/√(variance + ε) is −Σx̂ż/n times its square.
            factor = (d_gamma[j] - gamma[j] * inverse[j] * products[j]) * inverse[j]
            r[j] = factor * rest + gamma[j] * inverse[j] * change

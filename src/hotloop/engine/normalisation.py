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
    EPS,
    INVERSE,
    MEAN,
    MOMENTUM,
    N_OUT,
    RUNNING,
    VALUE,
    WEIGHT,
)

__all__ = ["batch_statistics", "normalise", "normalise_backward", "running_statistics", "sum_columns"]

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

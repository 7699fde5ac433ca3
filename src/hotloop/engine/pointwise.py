"""Passes over single numbers of a batch that need no neighbour: dropout, and standardised inputs."""

import numpy as np

from hotloop._jit import kernel_exact
from hotloop.engine.random import random_bits, stream_key

__all__ = ["copy", "divide", "drop", "standardize"]

ZERO = np.float32(0)
ALL_BITS = 2.0**32
LOW_HALF, S32 = np.uint64(0xFFFFFFFF), np.uint64(32)


@kernel_exact
def copy(source, out):
    """out = source; a slice that is assigned would be copied twice, and that takes memory."""
    for i in range(len(out)):
        out[i] = source[i]


@kernel_exact
def drop(source, out, start, rate, mode, layer):
    """Inverted dropout: 0 with probability `rate`, else source / (1 − rate); in prediction a copy.

    Number `start` + i of the batch is kept or not by a hash of (seed, step, layer, start + i), so the
    backward pass, any thread, and a resumed run find the same mask. Srivastava et al., "Dropout: a
    simple way to prevent neural networks from overfitting" (2014).
    """
    if not mode.training:
        copy(source, out)
        return
    key = stream_key(mode.seed, mode.step, layer)
    low, high = np.uint32(key & LOW_HALF), np.uint32(key >> S32)
    # Exact, or the compiler divides by 1 − rate in some iterations and multiplies in others.
    limit, scale = np.uint32(rate * ALL_BITS), out.dtype.type(1.0 / (1.0 - rate))
    for i in range(len(source)):
        bits = random_bits(start + i, low, high)
        out[i] = source[i] * scale if bits >= limit else ZERO


@kernel_exact
def standardize(source, out, statistics):
    """(x − mean) / deviation; `statistics` holds a mean for each column, then a deviation."""
    width = len(statistics) // 2
    mean, deviation = statistics[:width], statistics[width:]
    for i in range(len(source) // width):
        x, z = source[i * width : (i + 1) * width], out[i * width : (i + 1) * width]
        for j in range(len(x)):
            z[j] = (x[j] - mean[j]) / deviation[j]


@kernel_exact
def divide(source, out, deviation):
    """source / deviation, row by row: what `standardize` does to a tangent, and to a delta."""
    width = len(deviation)
    for i in range(len(source) // width):
        x, z = source[i * width : (i + 1) * width], out[i * width : (i + 1) * width]
        for j in range(len(x)):
            z[j] = x[j] / deviation[j]

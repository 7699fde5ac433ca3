"""Compiled loops of the benchmarks. They are compiled anew in each process, since hotloop's cache asks
hotloop's sources alone whether it is stale; the kernels that they call come from it.
"""

import numpy as np
from numba import njit

from hotloop.engine.amx import amx_multiply, amx_scratch
from hotloop.engine.matmul import Matrix, multiply, panel_size
from hotloop.engine.memory import aligned_zeros
from hotloop.engine.sparse import multiply_sparse
from hotloop.engine.tile import PLAIN, full_tile, tile_shape

from .common import fastest

PEAK_TERMS = 128
"""Terms of the tile in `peak`: its operands stay in the first cache."""


def scratch(out, b):
    """What `repeat_multiply` needs beside its operands: a row of zeros to start from, and a panel."""
    zeros = np.zeros(out.shape[1], out.dtype)
    return zeros, aligned_zeros(panel_size(len(b), out.shape[1], len(b) * len(out)), out.dtype)


def repeat_multiply(times, out, a, b, zeros, panel, skips=False):
    """out = a b, so many times in one compiled call; `a` and `b` (rows, columns) may be transposed.

    If it `skips`, `a` is data of which much may be 0, as for a first layer.
    """
    matrices = (_flat(x) for x in (out, a, b))
    _repeat(times, *matrices, Matrix(zeros, 0, 0, 1), len(a), b.shape[1], len(b), panel, skips)


def repeat_amx(times, out, a, b, zeros, panel):
    """The same on the processor's matrix unit, with a panel of its own size."""
    matrices = (_flat(x) for x in (out, a, b))
    _repeat_amx(times, *matrices, Matrix(zeros, 0, 0, 1), len(a), b.shape[1], len(b), panel)


def amx_panel(a, b):
    """What `repeat_amx` needs beside its operands and zeros."""
    return aligned_zeros(amx_scratch(max(a.shape[0], b.shape[1]), a.shape[1]), a.dtype)


def _flat(x):
    """`x` as the kernels see it: its memory, and the steps between rows and between columns."""
    row, col = (step // x.itemsize for step in x.strides)
    return Matrix((x if x.flags.c_contiguous else x.T).reshape(-1), 0, row, col)


@njit(nogil=True)
def _repeat(times, out, a, b, start, rows, cols, inner, panel, skips):
    for _ in range(times):
        if not (skips and multiply_sparse(out, start, a, b, rows, cols, inner, panel, PLAIN)):
            multiply(out, start, a, b, rows, cols, inner, panel, PLAIN)


@njit(nogil=True)
def _repeat_amx(times, out, a, b, start, rows, cols, inner, panel):
    for _ in range(times):
        amx_multiply(out, start, a, b, rows, cols, inner, panel, PLAIN)


@njit(nogil=True)
def _tiles(times, out, a, b):
    rows, cols = tile_shape(out)
    for _ in range(times):
        full_tile(
            out, 0, cols, out, 0, cols, a, 0, PEAK_TERMS, 1, 0, b, 0, cols, PEAK_TERMS, 1, rows, cols, PLAIN
        )  # fmt: skip
    return rows * cols


@njit(nogil=True, fastmath={"contract"})
def _polynomials(times, x, out):
    one = np.float32(1)
    for _ in range(times):
        for i in range(len(x)):
            y = x[i]
            for _ in range(32):
                y = y * x[i] + one
            out[i] = y


def peak():
    """GFLOP/s of fused multiply-adds in float32 on data in the first cache, one thread.

    The better of two loops that do hardly anything else: many polynomials of degree 32 side by side, and one
    tile of the product. Neither depends on anything that a network needs.
    """
    x = np.linspace(0, 0.5, 2048, dtype=np.float32)
    out, a, b = np.zeros_like(x), np.full(2048, 1e-3, np.float32), np.full(64 * PEAK_TERMS, 1e-3, np.float32)
    numbers = _tiles(1, out, a, b)
    _polynomials(1, x, out)
    polynomials, tiles = fastest(
        lambda: _polynomials(200, x, out), lambda: _tiles(5000, out, a, b), seconds=0.2
    )
    return 2e-9 * max(200 * 32 * len(x) / polynomials, 5000 * PEAK_TERMS * numbers / tiles)

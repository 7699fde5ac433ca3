"""Rows of the data in the order of the epoch: a minibatch inside of the loop, or a block before it.

Rows that the loop fetches just before it uses them are still in the second cache then, and each thread
converts its own where they are of another dtype. Staged some minibatches ahead they are written to the third
or to memory, and read from there again; that is left for short rows, and for what no kernel converts.
"""

from typing import Any

import numpy as np

from hotloop._jit import kernel, kernel_exact
from hotloop.engine.address import NOWHERE, address_of, call
from hotloop.engine.fetch import FETCHED_BYTES, STRIP, fetch, fetch_vectors
from hotloop.engine.pointwise import copy
from hotloop.engine.table import CONVERT, N_IN, Net
from hotloop.engine.team import share
from hotloop.engine.tile import tile_shape

__all__ = ["CONVERT_FROM", "convert_rows", "gather", "link_convert", "scatter_rows"]


NUMBERS_AHEAD = 512
"""Of short rows so many numbers ahead are asked for, of long ones the next."""


@kernel
def fetch_row(data, row, width):
    """Ask for row `row` of a flat array of rows."""
    for k in range(row * width, (row + 1) * width, FETCHED_BYTES // data.itemsize):
        fetch_vectors(data, k)


def link_convert(net: Net, dtype: np.dtype[Any]) -> None:
    """Give `net` the address of the kernel that converts rows of `dtype`."""
    rows, raw = np.empty(0, np.int64), np.empty(0, np.uint8)
    net.calls[CONVERT] = address_of(CONVERT_FROM[dtype], (raw, rows, 0, 0, 1.0, 0, net.work, 0))


@kernel
def gather(net, block, first, last, crew):
    """Copy this thread's share of rows first:last of the block to where the network has its inputs."""
    n_in, rows = net.table[0, N_IN], block.rows
    grain, _ = tile_shape(net.work)
    lo, hi = share(last - first, grain, crew.tid, crew.n_threads)
    if net.calls[CONVERT] != NOWHERE:
        to = net.inputs + lo * n_in
        arguments = (block.other, rows, first + lo, first + hi, block.scale, n_in, net.work, to)
        call(net.calls[CONVERT], arguments)
        return
    ahead = max(NUMBERS_AHEAD // n_in, 1)
    for i in range(lo, hi):
        start, to = rows[first + i] * n_in, net.inputs + i * n_in
        fetch_row(block.x, rows[min(first + i + ahead, len(rows) - 1)], n_in)
        copy(block.x[start : start + n_in], net.work[to : to + n_in])


@kernel_exact
def convert_rows(source, rows, scale, out):
    """out[i] = scale · source[rows[i]], in the dtype of `out`; both (rows, features) and contiguous."""
    data, to = source.reshape(source.size), out.reshape(out.size)
    convert(data, rows, np.int64(0), len(rows), scale, out.shape[1], to, np.int64(0))


@kernel_exact
def convert(data, rows, first, last, scale, width, out, at):
    """out[at:] = scale · rows first:last of `rows`, in the dtype of `out`; `data` and `out` are flat.

    In the training loop denormal numbers of `data` are 0, as all there are.
    """
    factor = out.dtype.type(scale)
    ahead = max(NUMBERS_AHEAD // width, 1)
    for i in range(first, last):
        start = rows[i] * width
        fetch_row(data, rows[min(i + ahead, len(rows) - 1)], width)
        part, target = data[start : start + width], out[at : at + width]
        for j in range(len(target)):
            target[j] = out.dtype.type(part[j]) * factor
        at += width


@kernel
def convert_float32(raw, rows, first, last, scale, width, out, at):
    """`convert`, from the bytes of float32."""
    convert(raw.view(np.float32), rows, first, last, scale, width, out, at)


@kernel
def convert_float64(raw, rows, first, last, scale, width, out, at):
    """`convert`, from the bytes of float64."""
    convert(raw.view(np.float64), rows, first, last, scale, width, out, at)


@kernel
def convert_uint8(raw, rows, first, last, scale, width, out, at):
    """`convert`, from bytes."""
    convert(raw, rows, first, last, scale, width, out, at)


CONVERT_FROM: dict[np.dtype[Any], Any] = {
    np.dtype(np.float32): convert_float32,
    np.dtype(np.float64): convert_float64,
    np.dtype(np.uint8): convert_uint8,
}
"""What the loop can read: other dtypes are gathered, then converted, by NumPy."""


@kernel_exact
def scatter_rows(data, indices, indptr, rows, out):
    """out[i] = row rows[i] of a CSR matrix, made dense; two numbers in one place are added."""
    width, to = out.shape[1], out.reshape(out.size)
    for i in range(len(to)):
        to[i] = 0
    for i in range(len(rows)):
        following = rows[min(i + 1, len(rows) - 1)]
        for k in range(indptr[following], indptr[following + 1], STRIP):
            fetch(data, k)
            fetch(indices, k)
        # Unsigned: of a signed index numba asks whether it counts from the end.
        start, end = np.uint64(indptr[rows[i]]), np.uint64(indptr[rows[i] + 1])
        for k in range(start, end):
            to[np.uint64(i * width + indices[k])] += out.dtype.type(data[k])

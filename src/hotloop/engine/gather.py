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

__all__ = [
    "CONVERT_FROM",
    "convert_rows",
    "fetch_row",
    "gather",
    "gather_part",
    "link_convert",
    "own_inputs",
    "scatter_rows",
]


NUMBERS_AHEAD = 512
"""Of short rows so many numbers ahead are asked for, of long ones the next."""


@kernel
def fetch_part(data, start, end):
    """Ask for data[start:end]."""
    for k in range(start, end, FETCHED_BYTES // data.itemsize):
        fetch_vectors(data, k)


@kernel
def fetch_row(block, row, n_in):
    """Ask for a row of the block, if there is one."""
    if row < len(block.rows):
        at = block.rows[row] * n_in
        fetch_part(block.x, at, at + n_in)


def link_convert(net: Net, dtype: np.dtype[Any]) -> None:
    """Give `net` the address of the kernel that converts rows of `dtype`."""
    rows, raw = np.empty(0, np.int64), np.empty(0, np.uint8)
    net.calls[CONVERT] = address_of(CONVERT_FROM[dtype], (raw, rows, 0, 0, 1.0, 0, 0, 0, net.work, 0))


@kernel
def gather(net, block, first, last, crew):
    """Copy this thread's share of rows first:last of the block to where the network has its inputs."""
    n_in = net.table[0, N_IN]
    grain, _ = tile_shape(net.work)
    lo, hi = share(last - first, grain, crew.tid, crew.n_threads)
    gather_part(net, block, first + lo, first + hi, np.int64(0), n_in, net.inputs + lo * n_in)


@kernel
def own_inputs(net, crew):
    """Where in `work` this thread of a relay has its columns of the inputs: a place for a whole minibatch."""
    return net.inputs + crew.tid * len(net.row_loss) * net.table[0, N_IN]


@kernel
def gather_part(net, block, first, last, left, right, at):
    """Copy columns left:right of rows first:last of the block to work[at:], a place for (rows, n_in)."""
    n_in, rows = net.table[0, N_IN], block.rows
    if net.calls[CONVERT] != NOWHERE:
        arguments = (block.other, rows, first, last, block.scale, n_in, left, right, net.work, at)
        call(net.calls[CONVERT], arguments)
        return
    width = right - left
    ahead = max(NUMBERS_AHEAD // max(width, 1), 1)
    for i in range(first, last):
        start, to = rows[i] * n_in + left, at + (i - first) * n_in + left
        following = rows[min(i + ahead, len(rows) - 1)] * n_in + left
        fetch_part(block.x, following, following + width)
        copy(block.x[start : start + width], net.work[to : to + width])


@kernel_exact
def convert_rows(source, rows, scale, out):
    """out[i] = scale · source[rows[i]], in the dtype of `out`; both (rows, features) and contiguous."""
    data, to, none, width = source.reshape(source.size), out.reshape(out.size), np.int64(0), out.shape[1]
    convert(data, rows, none, len(rows), scale, width, none, width, to, none)


@kernel_exact
def convert(data, rows, first, last, scale, n_in, left, right, out, at):
    """out[at:] = scale · columns left:right of rows first:last of `rows`, in the dtype of `out`.

    `data` and `out` are flat, their rows `n_in` apart.
    In the training loop denormal numbers of `data` are 0, as all there are.
    """
    factor = out.dtype.type(scale)
    width = right - left
    ahead = max(NUMBERS_AHEAD // max(width, 1), 1)
    for i in range(first, last):
        start, to = rows[i] * n_in + left, at + (i - first) * n_in + left
        following = rows[min(i + ahead, len(rows) - 1)] * n_in + left
        fetch_part(data, following, following + width)
        part, target = data[start : start + width], out[to : to + width]
        for j in range(len(target)):
            target[j] = out.dtype.type(part[j]) * factor


@kernel
def convert_float32(raw, rows, first, last, scale, n_in, left, right, out, at):
    """`convert`, from the bytes of float32."""
    convert(raw.view(np.float32), rows, first, last, scale, n_in, left, right, out, at)


@kernel
def convert_float64(raw, rows, first, last, scale, n_in, left, right, out, at):
    """`convert`, from the bytes of float64."""
    convert(raw.view(np.float64), rows, first, last, scale, n_in, left, right, out, at)


@kernel
def convert_uint8(raw, rows, first, last, scale, n_in, left, right, out, at):
    """`convert`, from bytes."""
    convert(raw, rows, first, last, scale, n_in, left, right, out, at)


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

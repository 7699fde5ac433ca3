"""Products of data that is mostly zeros: terms whose factors are all 0 take no part.

The inputs of the first layer are the user's: images, counts, one-hot columns. A tile (`engine.tile`) reads a
term of some rows of `a`; where these are all 0, it would add nothing. So the terms that count are listed for
each tile, and its loop goes through the list. (About half of MNIST's pixels are 0 in all of eight images, and
more than half of its images in all of eight neighbouring pixels.)

The sums have the order of `multiply`: they are the same to the last bit, as long as `b` is finite.
"""

import numpy as np
from llvmlite import ir

from hotloop._jit import INTRINSICS, intrinsic, kernel, kernel_inline, types
from hotloop.engine.address import NOWHERE, address_of, asked
from hotloop.engine.matmul import Matrix, multiply
from hotloop.engine.packing import copy_terms
from hotloop.engine.table import DENSE, N_IN, N_OUT, OP, PRODUCT, Net
from hotloop.engine.tile import PLAIN, VECTORS, listed_tile, narrow_listed_tile, tile_shape
from hotloop.engine.vectors import target_shape
from hotloop.engine.walk import is_worth_copying, passes_over

__all__ = ["FEWEST_INPUTS", "FEWEST_OUTPUTS", "link_sparse", "multiply_layer", "multiply_sparse"]

FEWEST_INPUTS, FEWEST_OUTPUTS = 64, 32
"""Of the first layer. With fewer there is little to gain, and small steps would feel the question."""

SAMPLE, WORTH_SKIPPING, LIST_COST = 3, 0.85, 0.3
"""The lists of so many tiles are made first. They are no use if one holds all terms, or if they hold more of
them than this share, less what a list costs (of the time of a tile of all terms; all side by side share it).
Tiles of all terms need no list, and have packed operands."""
FEWEST_TERMS = 16
"""What a list costs is a part of what a tile costs, and that is little with fewer terms."""


def link_sparse(net: Net) -> None:
    """Give `net` the address of `multiply_sparse`, if it begins with a dense layer that is wide enough."""
    op, n_in, n_out = net.table[0, [OP, N_IN, N_OUT]]
    if op == DENSE and n_in >= FEWEST_INPUTS and n_out >= FEWEST_OUTPUTS:
        some = Matrix(net.work, 0, 1, 1)
        net.table[0, PRODUCT] = address_of(multiply_sparse, (some, some, some, some, 0, 0, 0, net.work, 0))


@kernel_inline
def multiply_layer(net, k, out, start, a, b, rows, cols, inner, panel, after):
    """A product of dense row k of the table.

    By the kernel that the row has for it (`multiply_sparse` or `amx_multiply`), if that finds it worth it,
    else by `multiply`.
    """
    other = net.table[k, PRODUCT]
    if other == NOWHERE or not asked(other, (out, start, a, b, rows, cols, inner, panel, after)):
        multiply(out, start, a, b, rows, cols, inner, panel, after)


@kernel
def multiply_sparse(out, start, a, b, rows, cols, inner, panel, after):
    """Do what `multiply` does, if `a` is mostly zeros: returns whether it is done. `b` has ``col=1``."""
    tile_rows, tile_cols = tile_shape(out.data)
    passes = passes_over(inner)
    most = (inner + passes - 1) // passes
    copies = is_worth_copying(rows, cols)
    lists = panel[tile_cols * most * copies :].view(np.int32)
    block = len(lists) // (most + 1) * tile_rows
    if rows < tile_rows or inner < FEWEST_TERMS or block == 0:
        return False
    worth, total = WORTH_SKIPPING - LIST_COST * tile_cols / max(cols, 1), 0
    for i in range(0, rows, block):
        n = min(block, rows - i)
        to = Matrix(out.data, out.offset + i * out.row, out.row, 1)
        so_far = Matrix(start.data, start.offset + i * start.row, start.row, 1)
        for k in range(passes):
            p, end = inner * k // passes, inner * (k + 1) // passes
            some_a = Matrix(a.data, a.offset + i * a.row + p * a.col, a.row, a.col)
            some_b = Matrix(b.data, b.offset + p * b.row, b.row, 1)
            tiles = (n + tile_rows - 1) // tile_rows
            sample = min(SAMPLE, tiles // 4 + 1) if i + k == 0 else 0
            for t in range(-sample, tiles):
                # Before the first some others: the middle ones of equal parts, from the last.
                tile = t if t >= 0 else tiles * (-1 - 2 * t) // (2 * sample)
                r = tile * tile_rows
                count = _list_terms(lists, tile * (most + 1), some_a, r, min(tile_rows, n - r), end - p)
                total += count
                if t < 0 and (count == end - p or total > worth * sample * (end - p)):
                    return False
            then = after if end == inner else PLAIN
            some = end - p
            _multiply_listed(to, so_far, some_a, some_b, n, cols, some, panel, lists, most + 1, then, copies)
            so_far = to
    return True


@kernel
def _list_terms(lists, at, a, i, n, terms):
    """Write to lists[at:] how many terms count for rows i:i + n of `a`, and which; returns how many."""
    places = lists[at + 1 : at + 1 + terms]
    if a.col == 1:
        _mark_rows(places, a, i, n)
    else:
        _mark_columns(places, a, i, n)
    lists[at] = _keep_marked(places)
    return lists[at]


@kernel
def _keep_marked(places):
    """Of marks make places: where they are 1, at the start; returns how many. (A branch would be a guess.)"""
    count = np.uint64(0)  # of a signed index numba asks whether it counts from the end
    for p in range(len(places)):
        marked = np.uint64(places[p])
        places[count] = p
        count += marked
    return count


@kernel
def _multiply_listed(out, start, a, b, rows, cols, terms, panel, lists, room, after, copies):
    """The product over the terms that are listed for each tile; whether it `copies` panels of `b`."""
    tile_rows, tile_cols = tile_shape(out.data)
    for j in range(0, cols, tile_cols):
        n_cols = min(tile_cols, cols - j)
        narrow = n_cols <= tile_cols // VECTORS
        source, offset, step = b.data, b.offset + j, b.row
        if copies:
            copy_terms(panel, 0, b.data, b.offset + j, b.row, n_cols, terms, tile_cols)
            source, offset, step = panel, 0, tile_cols
        for i in range(0, rows, tile_rows):
            n_rows, at = min(tile_rows, rows - i), i // tile_rows * room
            from_start, from_a = start.offset + i * start.row + j, a.offset + i * a.row
            to, count = out.offset + i * out.row + j, np.int64(lists[at])
            if narrow:
                narrow_listed_tile(
                    out.data, to, out.row, start.data, from_start, start.row,
                    a.data, from_a, a.row, a.col, source, offset, step, count, n_rows, n_cols, after,
                    lists, at + 1,
                )  # fmt: skip
            else:
                listed_tile(
                    out.data, to, out.row, start.data, from_start, start.row,
                    a.data, from_a, a.row, a.col, source, offset, step, count, n_rows, n_cols, after,
                    lists, at + 1,
                )  # fmt: skip


@kernel
def _mark_rows(marks, a, i, n):
    """marks[p] = 1 if one of the rows i:i + n of `a` is not 0 at p, else 0."""
    marks[:] = 0
    for r in range(i, i + n):
        x = a.data[a.offset + r * a.row : a.offset + r * a.row + len(marks)]
        for p in range(len(marks)):
            marks[p] |= np.int32(x[p] != 0)


@kernel
def _mark_columns(marks, a, i, n):
    """The same for rows of a transposed `a`, which lie side by side."""
    group, _ = tile_shape(a.data)
    for p in range(len(marks)):
        at = a.offset + i + p * a.col
        if n == group:
            marks[p] = any_of_tile(a.data, at)
        else:
            mark = np.int32(0)
            for r in range(n):
                mark |= np.int32(a.data[at + r] != 0)
            marks[p] = mark


def _plain_any(a, at):
    for r in range(tile_shape(a)[0]):
        if a[at + r] != 0:
            return 1
    return 0


def _vector_any(typing_context, a, at):
    def codegen(context, builder, signature, args):
        item = a.dtype
        rows, _ = target_shape(context, item.bitwidth // 8)
        kind, bits = ir.VectorType(context.get_data_type(item), rows), ir.IntType(rows)
        first = builder.gep(context.make_array(a)(context, builder, args[0]).data, [args[1]])
        numbers = builder.load(builder.bitcast(first, kind.as_pointer()))
        numbers.align = item.bitwidth // 8
        not_zero = builder.bitcast(builder.fcmp_unordered("!=", numbers, ir.Constant(kind, None)), bits)
        return builder.zext(builder.icmp_unsigned("!=", not_zero, bits(0)), ir.IntType(32))

    return types.int32(a, types.int64), codegen


any_of_tile = intrinsic(_vector_any) if INTRINSICS else kernel(_plain_any)
"""``any_of_tile(a, at)``: 1 if one of as many numbers as a tile has rows is not 0, else 0.

Of a loop LLVM makes single comparisons, eight times as slow.
"""

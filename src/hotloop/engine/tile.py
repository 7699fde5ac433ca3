"""A tile of a product, kept in registers from the first to the last term.

Memory traffic is paid once a tile, so the limit is the processor's rate of multiply-adds. The plain
form is `plain_tile`. The compiled form writes the same loops as LLVM vectors, since LLVM does not
find them by itself: of the explicit loops, in dot form and in axpy form over rows, it vectorises only
the innermost, and keeps the sums in memory or at half the vector width.
"""

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from hotloop._jit import INTRINSICS, cgutils, intrinsic, kernel, types

__all__ = [
    "NARROW_ROWS",
    "PANEL_COLUMNS",
    "ROW_VECTORS",
    "VECTORS",
    "edge_square",
    "edge_tile",
    "full_square",
    "full_tile",
    "narrow_tile",
    "row_tile",
    "tile_shape",
]

VECTORS = 2
"""Vectors in a row of a tile."""
ROW_VECTORS = 8
"""Vectors in the tile of a single row: enough sums that none need wait for the last term of its own."""
NARROW_ROWS = 2
"""How many times the rows of others the tile of a single vector has: it holds as many sums."""
PANEL_COLUMNS = 32
"""Columns of the widest tile: two vectors of 64 bytes, in float32."""

I32, I64 = ir.IntType(32), ir.IntType(64)


def plain_tile(out, o, o_row, start, s, s_row, a, a0, a_row, a_col, b, b0, b_row, inner, rows, cols):
    """What a tile computes, in plain loops: used with the JIT off and under bounds checks.

    out[i, j] = start[i, j] + Σₚ a[i, p] b[p, j]; `o`, `s`, `a0`, `b0` are where each begins in its
    flat array, `x_row` and `x_col` the steps between its rows and columns.
    """
    for i in range(rows):
        for j in range(cols):
            total = start[s + i * s_row + j]
            for p in range(inner):
                total += a[a0 + i * a_row + p * a_col] * b[b0 + p * b_row + j]
            out[o + i * o_row + j] = total


def plain_square(out, o, o_row, a, a0, a_row, n_rows, n_cols):
    """What a square computes: out[p, c] = a[c, p] for c < n_rows and p < n_cols, both at most the lanes."""
    for c in range(n_rows):
        for p in range(n_cols):
            out[o + p * o_row + c] = a[a0 + c * a_row + p]


def _target_shape(context: Any, itemsize: int) -> tuple[int, int]:
    """Rows of a tile, and lanes of a vector: as many sums as the processor's registers hold.

    32 registers hold 8 x 2 sums, two vectors of b and a broadcast element of a; 16 hold 6 x 2.
    """
    triple, _, features = context.codegen().magic_tuple()
    if "+avx512f" in features:
        return 8, 64 // itemsize
    if "+avx" in features:
        return 6, 32 // itemsize
    return 8 if triple.startswith(("aarch64", "arm64")) else 6, 16 // itemsize


@dataclass
class _Vectors:
    """Writes LLVM operations on rows of `count` vectors; with `n_cols`, only that many columns exist."""

    builder: Any
    item: Any  # numba's type of a number
    number: Any  # LLVM's
    lanes: int
    count: int
    n_cols: Any = None

    def __post_init__(self) -> None:
        self.type = ir.VectorType(self.number, self.lanes)
        self.bytes = self.item.bitwidth // 8
        self._masks = [self._mask(v) for v in range(self.count)] if self.n_cols is not None else None

    def _mask(self, v: int) -> Any:
        """Which lanes of vector `v` are columns that exist."""
        wide = ir.VectorType(I64, self.lanes)
        columns = ir.Constant(wide, [v * self.lanes + lane for lane in range(self.lanes)])
        return self.builder.icmp_signed("<", columns, self.splat(self.n_cols, wide))

    def _call(self, name: str, result: Any, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        full_name = f"llvm.{name}.v{self.lanes}f{self.item.bitwidth}"
        full_name += ".p0" * name.startswith("masked")
        return self.builder.call(
            cgutils.get_or_insert_function(self.builder.module, kind, full_name), arguments
        )

    def _at(self, base: Any, v: int) -> Any:
        where = self.builder.gep(base, [I64(v * self.lanes)])
        return self.builder.bitcast(where, self.type.as_pointer())

    def splat(self, value: Any, kind: Any) -> Any:
        """A vector of `kind` with `value` in every lane."""
        nothing = ir.Constant(kind, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(
            self.builder.insert_element(nothing, value, I32(0)), nothing, zeros
        )

    def load(self, base: Any) -> list[Any]:
        """The vectors from `base` on; columns that do not exist are not read."""
        if self._masks is not None:
            zero = ir.Constant(self.type, None)
            return [
                self._call("masked.load", self.type, [self._at(base, v), I32(self.bytes), mask, zero])
                for v, mask in enumerate(self._masks)
            ]
        values = [self.builder.load(self._at(base, v)) for v in range(self.count)]
        for value in values:
            value.align = self.bytes
        return values

    def store(self, values: list[Any], base: Any) -> None:
        """Write the vectors to `base` and on; columns that do not exist are not written."""
        for v, value in enumerate(values):
            if self._masks is not None:
                arguments = [value, self._at(base, v), I32(self.bytes), self._masks[v]]
                self._call("masked.store", ir.VoidType(), arguments)
            else:
                self.builder.store(value, self._at(base, v)).align = self.bytes

    def multiply_add(self, factor: Any, values: list[Any], sums: list[Any]) -> list[Any]:
        """factor · values + sums, fused where the processor can."""
        wide = self.splat(factor, self.type)
        return [
            self._call("fmuladd", self.type, [wide, value, total])
            for value, total in zip(values, sums, strict=True)
        ]


def _write_tile(context: Any, builder: Any, array_types: Any, args: Any, kind: str) -> None:
    """Write the tile: rows x vectors sums in registers, one pass over the inner dimension.

    A "full" tile has all its rows and columns. An "edge" tile touches only the columns that exist,
    and takes rows past the last as the last once more: they compute, and store, the same numbers. A
    "narrow" tile is an edge tile of one vector, and taller; a "row" tile is one of one row, and wider.
    """
    out, o, o_row, start, s, s_row, a, a0, a_row, a_col, b, b0, b_row, inner, n_rows, n_cols = args
    out_type, start_type, a_type, b_type = array_types
    item = out_type.dtype
    rows, lanes = _target_shape(context, item.bitwidth // 8)
    rows, count = {"row": (1, ROW_VECTORS), "narrow": (rows * NARROW_ROWS, 1)}.get(kind, (rows, VECTORS))
    vectors = _Vectors(
        builder, item, context.get_data_type(item), lanes, count, None if kind == "full" else n_cols
    )

    def pointer(array_type: Any, array: Any, offset: Any) -> Any:
        return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])

    def row_pointers(array_type: Any, array: Any, offset: Any, step: Any) -> list[Any]:
        return [pointer(array_type, array, builder.add(offset, builder.mul(k, step))) for k in index]

    last = builder.sub(n_rows, I64(1))
    index = [I64(r) for r in range(rows)]
    if kind in ("edge", "narrow"):
        index = [builder.select(builder.icmp_signed("<", last, r), last, r) for r in index]
    out_rows = row_pointers(out_type, out, o, o_row)
    a_rows = row_pointers(a_type, a, a0, a_row)
    first = [vectors.load(base) for base in row_pointers(start_type, start, s, s_row)]
    b_base = pointer(b_type, b, b0)

    def term(p: Any, sums: list[list[Any]]) -> list[list[Any]]:
        """Add a[:, p] b[p, :]."""
        b_row_p = vectors.load(builder.gep(b_base, [builder.mul(p, b_row)]))
        step = builder.mul(p, a_col)
        return [
            vectors.multiply_add(builder.load(builder.gep(base, [step])), b_row_p, row)
            for base, row in zip(a_rows, sums, strict=True)
        ]

    for base, values in zip(out_rows, _sum_over(builder, inner, first, term), strict=True):
        vectors.store(values, base)


def _write_square(context: Any, builder: Any, array_types: Any, args: Any, kind: str) -> None:
    """Write the transposition of a square: the upper half of its rows is interleaved with the lower half,
    as often as the square can be halved. LLVM does not find that in the loops.

    A "full" square has as many rows and columns as a vector has lanes. Of an "edge" square only the
    columns that exist are touched, and rows past the last are the last once more, and written over.
    """
    out, o, o_row, a, a0, a_row, n_rows, n_cols = args
    out_type, a_type = array_types
    item = out_type.dtype
    number, lanes = context.get_data_type(item), _target_shape(context, item.bitwidth // 8)[1]
    is_full = kind == "full"

    def places(array_type: Any, array: Any, offset: Any, step: Any, n: Any) -> list[Any]:
        data, index = context.make_array(array_type)(context, builder, array).data, [*map(I64, range(lanes))]
        if not is_full:
            last = builder.sub(n, I64(1))
            index = [builder.select(builder.icmp_signed("<", last, k), last, k) for k in index]
        return [builder.gep(data, [builder.add(offset, builder.mul(k, step))]) for k in index]

    source, target = (
        _Vectors(builder, item, number, lanes, 1, None if is_full else n) for n in (n_cols, n_rows)
    )
    rows = [source.load(place)[0] for place in places(a_type, a, a0, a_row, n_rows)]
    pairs = [k // 2 + lanes * (k % 2) for k in range(2 * lanes)]
    low, high = (ir.Constant(ir.VectorType(I32, lanes), half) for half in (pairs[:lanes], pairs[lanes:]))
    for _ in range(lanes.bit_length() - 1):
        both = zip(rows[: lanes // 2], rows[lanes // 2 :], strict=True)
        rows = [builder.shuffle_vector(x, y, half) for x, y in both for half in (low, high)]
    for row, place in reversed([*zip(rows, places(out_type, out, o, o_row, n_cols), strict=True)]):
        target.store([row], place)


def _sum_over(builder: Any, inner: Any, first: list[list[Any]], term: Any) -> list[list[Any]]:
    """The loop: values = first; for p in range(inner): values = term(p, values)."""
    before = builder.block
    loop, after = builder.append_basic_block("inner"), builder.append_basic_block("after")
    builder.cbranch(builder.icmp_signed(">", inner, I64(0)), loop, after)

    def phi(incoming: list[tuple[Any, Any]]) -> Any:
        node = builder.phi(incoming[0][0].type)
        for value, block in incoming:
            node.add_incoming(value, block)
        return node

    builder.position_at_end(loop)
    p = phi([(I64(0), before)])
    sums = [[phi([(value, before)]) for value in row] for row in first]
    new = term(p, sums)
    following = builder.add(p, I64(1))
    p.add_incoming(following, loop)
    for row, new_row in zip(sums, new, strict=True):
        for total, value in zip(row, new_row, strict=True):
            total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, inner), loop, after)

    builder.position_at_end(after)
    return [
        [phi([(was, before), (value, loop)]) for was, value in zip(row, new_row, strict=True)]
        for row, new_row in zip(first, new, strict=True)
    ]


def _make_tile(kind: str) -> Any:
    def tile(typing_context, out, o, o_row, start, s, s_row, a, a0, a_row, a_col, b, b0, b_row, inner,
             rows, cols):  # fmt: skip
        n = types.int64
        signature = types.void(out, n, n, start, n, n, a, n, n, n, b, n, n, n, n, n)

        def codegen(context, builder, signature, args):
            _write_tile(context, builder, (out, start, a, b), args, kind)
            return context.get_dummy_value()

        return signature, codegen

    return intrinsic(tile)


def _make_square(kind: str) -> Any:
    def square(typing_context, out, o, o_row, a, a0, a_row, n_rows, n_cols):
        n = types.int64

        def codegen(context, builder, signature, args):
            _write_square(context, builder, (out, a), args, kind)
            return context.get_dummy_value()

        return types.void(out, n, n, a, n, n, n, n), codegen

    return intrinsic(square)


def _plain_shape(array):
    """(rows, columns) of a plain tile: any would do."""
    return 4, 4


def _tile_shape(typing_context, array):
    """(rows, columns) of a tile, a constant of the processor and the dtype."""

    def codegen(context, builder, signature, args):
        rows, lanes = _target_shape(context, array.dtype.bitwidth // 8)
        return context.make_tuple(builder, signature.return_type, [I64(rows), I64(VECTORS * lanes)])

    return types.UniTuple(types.int64, 2)(array), codegen


if INTRINSICS:
    full_tile, edge_tile = _make_tile("full"), _make_tile("edge")
    narrow_tile, row_tile = _make_tile("narrow"), _make_tile("row")
    full_square, edge_square = _make_square("full"), _make_square("edge")
    tile_shape = intrinsic(_tile_shape)
else:
    full_tile = edge_tile = narrow_tile = row_tile = kernel(plain_tile)
    full_square = edge_square = kernel(plain_square)
    tile_shape = kernel(_plain_shape)

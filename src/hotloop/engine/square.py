"""A square of numbers turned over in registers: what packs a transposed operand of a product.

The plain form is `plain_square`. Of its loops LLVM makes single loads and stores, a third as fast.
"""

from typing import Any

from llvmlite import ir

from hotloop._jit import INTRINSICS, intrinsic, kernel, types
from hotloop.engine.vectors import I32, I64, Vectors, target_shape

__all__ = ["edge_square", "full_square"]


def plain_square(out, o, o_row, a, a0, a_row, n_rows, n_cols):
    """What a square computes: out[p, c] = a[c, p] for c < n_rows and p < n_cols, both at most the lanes."""
    for c in range(n_rows):
        for p in range(n_cols):
            out[o + p * o_row + c] = a[a0 + c * a_row + p]


def _write_square(context: Any, builder: Any, array_types: Any, args: Any, kind: str) -> None:
    """Write the transposition of a square: the upper half of its rows is interleaved with the lower half,
    as often as the square can be halved. LLVM does not find that in the loops.

    A "full" square has as many rows and columns as a vector has lanes. Of an "edge" square only the
    columns that exist are touched, and rows past the last are the last once more, and written over.
    """
    out, o, o_row, a, a0, a_row, n_rows, n_cols = args
    out_type, a_type = array_types
    item = out_type.dtype
    number, lanes = context.get_data_type(item), target_shape(context, item.bitwidth // 8)[1]
    is_full = kind == "full"

    def places(array_type: Any, array: Any, offset: Any, step: Any, n: Any) -> list[Any]:
        data, index = context.make_array(array_type)(context, builder, array).data, [*map(I64, range(lanes))]
        if not is_full:
            last = builder.sub(n, I64(1))
            index = [builder.select(builder.icmp_signed("<", last, k), last, k) for k in index]
        return [builder.gep(data, [builder.add(offset, builder.mul(k, step))]) for k in index]

    source, target = (
        Vectors(builder, item, number, lanes, 1, None if is_full else n) for n in (n_cols, n_rows)
    )
    rows = [source.load(place)[0] for place in places(a_type, a, a0, a_row, n_rows)]
    pairs = [k // 2 + lanes * (k % 2) for k in range(2 * lanes)]
    low, high = (ir.Constant(ir.VectorType(I32, lanes), half) for half in (pairs[:lanes], pairs[lanes:]))
    for _ in range(lanes.bit_length() - 1):
        both = zip(rows[: lanes // 2], rows[lanes // 2 :], strict=True)
        rows = [builder.shuffle_vector(x, y, half) for x, y in both for half in (low, high)]
    for row, place in reversed([*zip(rows, places(out_type, out, o, o_row, n_cols), strict=True)]):
        target.store([row], place)


def _make_square(kind: str) -> Any:
    def square(typing_context, out, o, o_row, a, a0, a_row, n_rows, n_cols):
        n = types.int64

        def codegen(context, builder, signature, args):
            _write_square(context, builder, (out, a), args, kind)
            return context.get_dummy_value()

        return types.void(out, n, n, a, n, n, n, n), codegen

    return intrinsic(square)


if INTRINSICS:
    full_square, edge_square = _make_square("full"), _make_square("edge")
else:
    full_square = edge_square = kernel(plain_square)

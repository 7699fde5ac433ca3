"""Sums over the rows of a batch, column by column: what moves the biases of a layer.

Four rows are added up before their sum joins that of the rows before: so these are waited for once, not
four times. And the sums stay in registers. (In memory, a row of up to 16 numbers took 6 cycles, and here it
takes 1 or 2. Rows of 256 numbers take three quarters of the time, those of 1024 as long.)

A batch may be added up in parts, if all but the last have multiples of four rows: the sums are the same to
the last bit.
"""

from typing import Any

from hotloop._jit import INTRINSICS, apart, intrinsic, kernel_in_order, types
from hotloop.engine.tile import VECTORS, tile_shape
from hotloop.engine.vectors import I64, Vectors, pointer_to, sum_over, target_shape

__all__ = ["add_rows"]

MOST = 4
"""Vectors whose sums are kept in registers: enough that none waits for its own last addition."""


def plain_add_columns(sums, j, n_cols, rows, first, step, n):
    """sums[j + k] += Σᵢ rows[first + i step + k], for i < n and k < n_cols."""
    for k in range(n_cols):
        total, at = sums[j + k], first + k
        for _ in range(n // 4):
            total += (rows[at] + rows[at + step]) + (rows[at + 2 * step] + rows[at + 3 * step])
            at += 4 * step
        for _ in range(n % 4):
            total += rows[at]
            at += step
        sums[j + k] = total


def _adds_columns(count: int) -> Any:
    """`plain_add_columns` for up to so many vectors of columns."""

    def add_columns(typing_context, sums, j, n_cols, rows, first, step, n):
        def codegen(context, builder, signature, args):
            sums_array, j, n_cols, rows_array, first, step, n = args
            item, (_, lanes) = rows.dtype, target_shape(context, rows.dtype.bitwidth // 8)
            vectors = Vectors(builder, item, context.get_data_type(item), lanes, count, n_cols)
            out = pointer_to(context, builder, sums, sums_array, j)
            start = pointer_to(context, builder, rows, rows_array, first)

            def row(i: Any) -> list[Any]:
                return vectors.load(builder.gep(start, [builder.mul(i, step)]))

            def both(x: list[Any], y: list[Any]) -> list[Any]:
                return [builder.fadd(*pair) for pair in zip(x, y, strict=True)]

            def add_four(i: Any, total: list[list[Any]]) -> list[list[Any]]:
                u, v, w, x = (row(builder.add(builder.mul(i, I64(4)), I64(k))) for k in range(4))
                return [both(total[0], both(both(u, v), both(w, x)))]

            def add_one(i: Any, total: list[list[Any]]) -> list[list[Any]]:
                return [both(total[0], row(builder.add(builder.and_(n, I64(-4)), i)))]

            total = sum_over(builder, builder.lshr(n, I64(2)), [vectors.load(out)], add_four)
            total = sum_over(builder, builder.and_(n, I64(3)), total, add_one)
            vectors.store(total[0], out)
            return context.get_dummy_value()

        n64 = types.int64
        return types.void(sums, n64, n64, rows, n64, n64, n64), codegen

    return intrinsic(add_columns)


if INTRINSICS:
    add_to_one, add_to_two, add_to_most = (_adds_columns(count) for count in (1, 2, MOST))
else:
    add_to_one = add_to_two = add_to_most = kernel_in_order(plain_add_columns)


@apart
@kernel_in_order
def add_rows(sums, rows, first, step, n):
    """sums[j] += Σᵢ rows[first + i step + j], for i < n."""
    lanes = tile_shape(rows)[1] // VECTORS
    for j in range(0, len(sums), MOST * lanes):
        n_cols = min(MOST * lanes, len(sums) - j)
        if n_cols <= lanes:
            add_to_one(sums, j, n_cols, rows, first + j, step, n)
        elif n_cols <= 2 * lanes:
            add_to_two(sums, j, n_cols, rows, first + j, step, n)
        else:
            add_to_most(sums, j, n_cols, rows, first + j, step, n)

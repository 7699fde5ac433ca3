"""A strip of W, for one sample: its rows pass by, while what belongs to its columns stays in registers.

One sample uses each number of W once. But the outputs z and the deltas δ of a layer are used with every row
of W, and where rows are short, reading these again and beginning and ending a loop takes up to half of the
time. So a strip is at most `MOST` vectors wide, for which z and δ fit the registers.

LLVM finds this by itself where it knows the number of columns, but makes single multiplications of them where
these are few. So the loop is written as vectors. Its plain forms are with those who use it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hotloop._jit import cgutils, intrinsic, kernel, processor, types
from hotloop.engine.tile import VECTORS, tile_shape
from hotloop.engine.vectors import I64, Vectors, pointer_to, sum_over, target_shape

__all__ = ["FEWEST_UNITS", "MOST", "lanes_of", "strip_end", "strip_of"]

MOST = 8 if "+avx512f" in processor()[1] else 4
"""Vectors of a strip: as many for z as for δ, so half of the registers that AVX-512 has, and AVX."""
FEWEST_UNITS = 24
"""Of a layer whose rows all change: shorter ones would wait for each other, see `strip_end`."""


@kernel
def lanes_of(numbers):
    """Numbers in a vector."""
    return tile_shape(numbers)[1] // VECTORS


@kernel
def strip_end(numbers, j, n_out):
    """Where a strip that begins with column j of `n_out` ends.

    What is less than a vector is a strip by itself. (Rows of which a part is masked, one right after the
    other, would wait for each other: see `rows.GROUP`.)
    """
    lanes = lanes_of(numbers)
    whole = n_out // lanes * lanes
    return min(j + MOST * lanes, whole) if j < whole else n_out


@dataclass
class _Operands:
    """What a strip works on, as LLVM."""

    passing: list[Any]  # where the strip begins in W, and in what an optimizer keeps of it
    step: Any  # numbers from a row to the next
    n_rows: Any
    row: Callable[[Any], Any]  # p → the number of the p-th row
    x: Any
    delta: Any
    z: Any
    y: Any
    numbers: list[Any]


def _write_strip(vectors: Vectors, on: _Operands, rule: Callable[..., list[Any]] | None, ahead: bool) -> None:
    """The loop over the rows of a strip, as wide as `vectors`."""
    builder = vectors.builder
    numbers = [vectors.splat(number, vectors.type) for number in on.numbers]
    deltas = vectors.load(on.delta) if rule else []

    def changed(where: list[Any], i: Any) -> list[Any]:
        """Row i of W after the rule; `where` it begins, and what is kept of it."""
        if rule is None:
            return vectors.load(where[0])
        w, x_i = [], vectors.splat(builder.load(builder.gep(on.x, [i])), vectors.type)
        for k in range(vectors.count):
            # One vector is written before the next is read: all would not fit the registers.
            before = [vectors.load_one(base, k) for base in where]
            after = rule(vectors, before, x_i, deltas[k], numbers)
            for base, value in zip(where, after, strict=True):
                vectors.store_one(value, base, k)
            w.append(after[0])
        return w

    def turn(p: Any, sums: list[list[Any]]) -> list[list[Any]]:
        i = on.row(p)
        w = changed([builder.gep(base, [builder.mul(i, on.step)]) for base in on.passing], i)
        return [vectors.multiply_add(builder.load(builder.gep(on.y, [i])), w, *sums)] if ahead else []

    for total in sum_over(builder, on.n_rows, [vectors.load(on.z)] if ahead else [], turn):
        vectors.store(total, on.z)


def strip_of(rule: Callable[..., list[Any]] | None, ahead: bool) -> Any:
    """An intrinsic that changes rows of W by the rule, and, if it looks `ahead`, adds them to z.

    ``strip(passing, at, step, places, x, delta, z, y, numbers)``: for each i of `places` (if it is None, for
    each of `x`) row i of the arrays `passing`, W and what an optimizer keeps of it, becomes
    ``rule(vectors, row, x[i], delta, numbers)``, and z += y[i] W. Row i begins at `at` + i `step`, and has as
    many columns as z and δ: up to `MOST` whole vectors, or less than one. The rule writes LLVM, for one
    vector of the row; without a rule W stays.
    """

    def strip(typing_context, passing, at, step, places, x, delta, z, y, numbers):
        item, n64 = x.dtype, types.int64

        def codegen(context, builder, signature, args):
            (passing_arrays, at, step, places_array, x_array,
             delta_array, z_array, y_array, number_tuple) = args  # fmt: skip
            number, lanes = context.get_data_type(item), target_shape(context, item.bitwidth // 8)[1]

            def start(kind: Any, array: Any) -> Any:
                return pointer_to(context, builder, kind, array, I64(0))

            def length(kind: Any, array: Any) -> Any:
                return builder.extract_value(context.make_array(kind)(context, builder, array).shape, 0)

            def place(p: Any) -> Any:
                found = builder.load(builder.gep(start(places, places_array), [p]))
                return context.cast(builder, found, places.dtype, n64)

            listed, n_cols = not isinstance(places, types.NoneType), length(z, z_array)
            arrays = zip(passing, cgutils.unpack_tuple(builder, passing_arrays), strict=True)
            operands = _Operands(
                [pointer_to(context, builder, kind, array, at) for kind, array in arrays],
                step,
                length(places, places_array) if listed else length(x, x_array),
                place if listed else lambda p: p,
                *(start(x, x_array), start(delta, delta_array), start(z, z_array), start(y, y_array)),
                cgutils.unpack_tuple(builder, number_tuple),
            )
            whole = builder.udiv(n_cols, I64(lanes))
            is_whole = builder.icmp_unsigned("==", builder.mul(whole, I64(lanes)), n_cols)
            end = builder.append_basic_block("end")
            switch = builder.switch(builder.select(is_whole, whole, I64(0)), end)
            for count in range(MOST + 1):  # 0 is less than one
                block = builder.append_basic_block("strip")
                switch.add_case(I64(count), block)
                builder.position_at_end(block)
                shape = (1, n_cols) if count == 0 else (count, None)
                _write_strip(Vectors(builder, item, number, lanes, *shape), operands, rule, ahead)
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return types.void(passing, n64, n64, places, x, delta, z, y, numbers), codegen

    return intrinsic(strip)

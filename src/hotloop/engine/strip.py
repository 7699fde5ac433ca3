"""Strips of W, for one sample: rows pass by, while what belongs to the columns stays in registers.

One sample uses each number of W once. But the outputs z and the deltas δ of a layer are used with every row
of W, and where rows are short, reading these again and beginning and ending a loop takes up to half of the
time. So W is taken in strips of `MOST` vectors, for which z and δ fit the registers.

LLVM finds this by itself where it knows the number of columns, but makes single multiplications of them where
these are few. So the loop is written as vectors. Its plain forms are with those who use it.

What is done to a number of W is a rule, written for a vector. The same rule makes the loop over a gradient
that is in memory (`steps_of`). So the two agree to the last bit, in whole vectors and in what is left of
them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hotloop._jit import cgutils, intrinsic, kernel, processor, types
from hotloop.engine.tile import VECTORS, tile_shape
from hotloop.engine.vectors import I64, Vectors, length_of, pointer_to, sum_over, target_shape

__all__ = ["FEWEST_UNITS", "lanes_of", "steps_of", "strips_of"]

MOST = 8 if "+avx512f" in processor()[1] else 4
"""Vectors of a strip: as many for z as for δ, so half of the registers that AVX-512 has, and AVX."""
FEWEST_UNITS = 24
"""Of a layer whose rows all change: shorter ones would wait for each other, see `_over_columns`."""


@kernel
def lanes_of(numbers):
    """Numbers in a vector."""
    return tile_shape(numbers)[1] // VECTORS


Rule = Callable[[Vectors, list[Any], Any, list[Any]], list[Any]]
"""``rule(vectors, row, g, numbers)``: what becomes of a vector of each array that passes by (W is the first),
given that of the gradient, as LLVM."""


@dataclass
class _Operands:
    """What a strip works on, as LLVM: where it begins in each array."""

    passing: list[Any]  # W, and what an optimizer keeps of it
    delta: Any
    z: Any
    step: Any  # numbers from a row to the next
    n_rows: Any
    row: Callable[[Any], Any]  # p → the number of the p-th row
    x: Any  # or None: the gradient is δ itself
    y: Any
    numbers: list[Any]

    def from_column(self, builder: Any, j: Any) -> "_Operands":
        """Those of the strip that begins with column j of this one."""
        passing = [builder.gep(base, [j]) for base in self.passing]
        delta, z = (builder.gep(base, [j]) for base in (self.delta, self.z))
        return replace(self, passing=passing, delta=delta, z=z)


def _change(vectors: Vectors, on: _Operands, rule: Rule, where: list[Any], k: int, x: Any, delta: Any) -> Any:
    """Vector k of W after the rule, which is written to where the row begins, with what is kept of it."""
    g = delta if x is None else vectors.builder.fmul(x, delta)
    numbers = [vectors.splat(number, vectors.type) for number in on.numbers]
    after = rule(vectors, [vectors.load_one(base, k) for base in where], g, numbers)
    for base, value in zip(where, after, strict=True):
        vectors.store_one(value, base, k)
    return after[0]


def _factor(vectors: Vectors, numbers: Any, i: Any) -> Any:
    """Number i of them, in every lane."""
    return vectors.splat(vectors.builder.load(vectors.builder.gep(numbers, [i])), vectors.type)


def _write_strip(vectors: Vectors, on: _Operands, rule: Rule | None, ahead: bool) -> None:
    """The loop over the rows of a strip, as wide as `vectors`."""
    builder = vectors.builder
    deltas = vectors.load(on.delta) if rule else []

    def changed(where: list[Any], i: Any) -> list[Any]:
        """Row i of W after the rule; `where` it begins, and what is kept of it."""
        if rule is None:
            return vectors.load(where[0])
        x = None if on.x is None else _factor(vectors, on.x, i)
        # One vector is written before the next is read: all would not fit the registers.
        return [_change(vectors, on, rule, where, k, x, deltas[k]) for k in range(vectors.count)]

    def turn(p: Any, sums: list[list[Any]]) -> list[list[Any]]:
        i = on.row(p)
        w = changed([builder.gep(base, [builder.mul(i, on.step)]) for base in on.passing], i)
        return [vectors.multiply_add(builder.load(builder.gep(on.y, [i])), w, *sums)] if ahead else []

    for total in sum_over(builder, on.n_rows, [vectors.load(on.z)] if ahead else [], turn):
        vectors.store(total, on.z)


def _write_rows(vectors: Vectors, on: _Operands, rule: Rule, ahead: bool, count: Any) -> None:
    """The loop over rows of `count` vectors, one after the other as they lie in memory."""
    builder = vectors.builder
    with cgutils.for_range(builder, on.n_rows) as rows:
        i = on.row(rows.index)
        row = replace(on, passing=[builder.gep(base, [builder.mul(i, on.step)]) for base in on.passing])
        x = None if on.x is None else _factor(vectors, on.x, i)
        y = _factor(vectors, on.y, i) if ahead else None
        with cgutils.for_range(builder, count) as columns:
            here = row.from_column(builder, builder.mul(columns.index, I64(vectors.lanes)))
            w = _change(vectors, on, rule, here.passing, 0, x, vectors.load_one(here.delta, 0))
            if ahead:
                vectors.store_one(vectors.fused(y, w, vectors.load_one(here.z, 0)), here.z, 0)


def _over_columns(
    builder: Any, lanes: int, first: Any, n_cols: Any, write: Callable[[Any, int, Any], None]
) -> None:
    """The loop over the strips from column `first` on: ``write(j, count, n)`` for that from column j on.

    It has `count` whole vectors; or one of which `n` columns exist, else None: what is less than a vector is
    a strip by itself. (Rows of which a part is masked, one right after the other, would wait for each other:
    see `rows.GROUP`.)
    """
    before, loop, body, latch, end = (
        builder.block, *(builder.append_basic_block(name) for name in ("strips", "strip", "latch", "end"))
    )  # fmt: skip
    builder.branch(loop)
    builder.position_at_end(loop)
    j = builder.phi(I64)
    j.add_incoming(first, before)
    builder.cbranch(builder.icmp_signed("<", j, n_cols), body, end)
    builder.position_at_end(body)
    n = builder.sub(n_cols, j)
    whole = builder.udiv(n, I64(lanes))
    count = builder.select(builder.icmp_signed("<", whole, I64(MOST)), whole, I64(MOST))
    switch = builder.switch(count, latch)
    for k in range(MOST + 1):
        block = builder.append_basic_block("vectors")
        switch.add_case(I64(k), block)
        builder.position_at_end(block)
        write(j, max(k, 1), n if k == 0 else None)
        builder.branch(latch)
    builder.position_at_end(latch)
    is_rest = builder.icmp_signed("==", count, I64(0))
    following = builder.select(is_rest, n_cols, builder.add(j, builder.mul(count, I64(lanes))))
    j.add_incoming(following, latch)
    builder.branch(loop)
    builder.position_at_end(end)


def strips_of(rule: Rule | None, ahead: bool, as_they_lie: bool = False) -> Any:
    """An intrinsic that changes rows of W by the rule, and, if it looks `ahead`, adds them to z.

    ``strips(passing, at, step, places, x, delta, z, y, numbers)``: for each i of `places` (if it is None, for
    each of `x`) row i of the arrays `passing`, W and what an optimizer keeps of it, becomes
    ``rule(vectors, row, x[i] delta, numbers)``, and z += y[i] W. Row i begins at `at` + i `step`, and has as
    many columns as z and δ. Without a rule W stays, and x and δ are not read; without a look ahead z and y
    are not, but z still says how many columns there are.

    Rows of more vectors than a strip has may be taken `as_they_lie`, all whole vectors of one and then those
    of the next: where several arrays pass by that are so large, they come faster in the order of memory, and
    beginning a row takes little of its time.
    """

    def strips(typing_context, passing, at, step, places, x, delta, z, y, numbers):
        item, n64 = x.dtype, types.int64

        def codegen(context, builder, signature, args):
            (passing_arrays, at, step, places_array, x_array,
             delta_array, z_array, y_array, number_tuple) = args  # fmt: skip
            number, lanes = context.get_data_type(item), target_shape(context, item.bitwidth // 8)[1]

            def start(kind: Any, array: Any) -> Any:
                return pointer_to(context, builder, kind, array, I64(0))

            def place(p: Any) -> Any:
                found = builder.load(builder.gep(start(places, places_array), [p]))
                return context.cast(builder, found, places.dtype, n64)

            listed = not isinstance(places, types.NoneType)
            operands = _Operands(
                passing=_starts(context, builder, passing, passing_arrays, at),
                delta=start(delta, delta_array),
                z=start(z, z_array),
                step=step,
                n_rows=length_of(context, builder, *((places, places_array) if listed else (x, x_array))),
                row=place if listed else lambda p: p,
                x=start(x, x_array),
                y=start(y, y_array),
                numbers=cgutils.unpack_tuple(builder, number_tuple),
            )
            n_cols, first = length_of(context, builder, z, z_array), I64(0)
            if as_they_lie and rule is not None:
                whole = builder.udiv(n_cols, I64(lanes))
                count = builder.select(builder.icmp_signed(">", n_cols, I64(MOST * lanes)), whole, I64(0))
                first = builder.mul(count, I64(lanes))
                with builder.if_then(builder.icmp_signed(">", count, I64(0))):
                    _write_rows(Vectors(builder, item, number, lanes, 1), operands, rule, ahead, count)

            def write(j: Any, count: int, n: Any) -> None:
                vectors = Vectors(builder, item, number, lanes, count, n)
                _write_strip(vectors, operands.from_column(builder, j), rule, ahead)

            _over_columns(builder, lanes, first, n_cols, write)
            return context.get_dummy_value()

        return types.void(passing, n64, n64, places, x, delta, z, y, numbers), codegen

    return intrinsic(strips)


def steps_of(rule: Rule) -> Any:
    """An intrinsic that changes numbers of W by the rule, whose gradient is in memory.

    ``steps(passing, at, grad, numbers)``: in each of the arrays `passing`, W and what an optimizer keeps of
    it, as many numbers from `at` on as `grad` has.
    """

    def steps(typing_context, passing, at, grad, numbers):
        item, n64 = grad.dtype, types.int64

        def codegen(context, builder, signature, args):
            passing_arrays, at, grad_array, number_tuple = args
            number, lanes = context.get_data_type(item), target_shape(context, item.bitwidth // 8)[1]
            gradient = pointer_to(context, builder, grad, grad_array, I64(0))
            row = _Operands(
                passing=_starts(context, builder, passing, passing_arrays, at),
                delta=gradient,
                z=gradient,  # not read
                step=I64(0),
                n_rows=I64(1),
                row=lambda p: p,
                x=None,
                y=None,
                numbers=cgutils.unpack_tuple(builder, number_tuple),
            )
            n = length_of(context, builder, grad, grad_array)
            count = builder.udiv(n, I64(lanes))
            _write_rows(Vectors(builder, item, number, lanes, 1), row, rule, False, count)
            done = builder.mul(count, I64(lanes))
            with builder.if_then(builder.icmp_signed("<", done, n)):
                rest = Vectors(builder, item, number, lanes, 1, builder.sub(n, done))
                _write_strip(rest, row.from_column(builder, done), rule, False)
            return context.get_dummy_value()

        return types.void(passing, n64, grad, numbers), codegen

    return intrinsic(steps)


def _starts(context: Any, builder: Any, kinds: Any, arrays: Any, at: Any) -> list[Any]:
    """Where number `at` of each array of a tuple is."""
    pairs = zip(kinds, cgutils.unpack_tuple(builder, arrays), strict=True)
    return [pointer_to(context, builder, kind, array, at) for kind, array in pairs]

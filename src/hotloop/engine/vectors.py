"""What is written as LLVM vectors, where LLVM does not find these by itself: what tiles, squares, strips, the
sums of columns and short rows share.
"""

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from hotloop._jit import cgutils

__all__ = ["I32", "I64", "Vectors", "length_of", "pointer_to", "row_places", "sum_over", "target_shape"]

I32, I64 = ir.IntType(32), ir.IntType(64)


def target_shape(context: Any, itemsize: int) -> tuple[int, int]:
    """Rows of a tile, and lanes of a vector: as many sums as the processor's registers hold.

    32 registers hold 8 x 2 sums, two vectors of b and a broadcast element of a; 16 hold 6 x 2.
    """
    triple, _, features = context.codegen().magic_tuple()
    if "+avx512f" in features:
        return 8, 64 // itemsize
    if "+avx" in features:
        return 6, 32 // itemsize
    return 8 if triple.startswith(("aarch64", "arm64")) else 6, 16 // itemsize


def pointer_to(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    """Where the number `offset` of an array of numba's type `kind` is."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [offset])


def length_of(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """How many numbers an array of numba's type `kind` has."""
    return builder.extract_value(context.make_array(kind)(context, builder, array).shape, 0)


def row_places(builder: Any, base: Any, step: Any, height: int, n: Any) -> list[Any]:
    """Where `height` rows begin, `step` apart; of those past the first `n`, the last of these once more.

    With `n` None all are there.
    """
    places = [base]
    for r in range(1, height):
        by = step if n is None else builder.select(builder.icmp_signed("<", I64(r), n), step, I64(0))
        places.append(builder.gep(places[-1], [by]))
    return places


@dataclass
class Vectors:
    """Writes LLVM operations on rows of `count` vectors; with `n_cols`, only that many columns exist.

    Of the first `n_full` vectors they do in any case: these want no masks, which would take up registers.
    """

    builder: Any
    item: Any  # numba's type of a number
    number: Any  # LLVM's
    lanes: int
    count: int
    n_cols: Any = None
    n_full: int = 0

    def __post_init__(self) -> None:
        self.type = ir.VectorType(self.number, self.lanes)
        self.zeros = ir.Constant(self.type, None)
        self.bytes = self.item.bitwidth // 8
        none = self.count if self.n_cols is None else self.n_full
        self._masks = [None if v < none else self._mask(v) for v in range(self.count)]

    def _mask(self, v: int) -> Any:
        """Which lanes of vector `v` are columns that exist."""
        columns = self.columns(v)
        n_cols = self.builder.trunc(self.n_cols, I32)
        return self.builder.icmp_signed("<", columns, self.splat(n_cols, columns.type))

    def columns(self, v: int) -> Any:
        """The numbers of the columns of vector `v`."""
        first = v * self.lanes
        return ir.Constant(ir.VectorType(I32, self.lanes), [*range(first, first + self.lanes)])

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

    def load(self, base: Any, missing: float = 0.0) -> list[Any]:
        """The vectors from `base` on; columns that do not exist are not read, and `missing`."""
        return [self.load_one(base, v, missing) for v in range(self.count)]

    def load_one(self, base: Any, v: int, missing: float = 0.0) -> Any:
        """Vector `v` of them."""
        where, mask = self._at(base, v), self._masks[v]
        if mask is None:
            value = self.builder.load(where)
            value.align = self.bytes
            return value
        instead = ir.Constant(self.type, [missing] * self.lanes)
        return self._call("masked.load", self.type, [where, I32(self.bytes), mask, instead])

    def store(self, values: list[Any], base: Any) -> None:
        """Write the vectors to `base` and on; columns that do not exist are not written."""
        for v, value in enumerate(values):
            self.store_one(value, base, v)

    def store_one(self, value: Any, base: Any, v: int) -> None:
        """Write one of them, vector `v`."""
        where, mask = self._at(base, v), self._masks[v]
        if mask is None:
            self.builder.store(value, where).align = self.bytes
        else:
            self._call("masked.store", ir.VoidType(), [value, where, I32(self.bytes), mask])

    def multiply_add(self, factor: Any, values: list[Any], sums: list[Any]) -> list[Any]:
        """factor · values + sums, fused where the processor can."""
        wide = self.splat(factor, self.type)
        return [self.fused(wide, value, total) for value, total in zip(values, sums, strict=True)]

    def fused(self, x: Any, y: Any, total: Any) -> Any:
        """x y + total of single vectors, fused where the processor can."""
        return self._call("fmuladd", self.type, [x, y, total])

    def reciprocal_guess(self, x: Any) -> Any:
        """1/x of a single vector of sixteen float32, to 14 bits: an instruction of AVX-512."""
        kind = ir.FunctionType(self.type, [self.type, self.type, ir.IntType(16)])
        guess = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.x86.avx512.rcp14.ps.512")
        return self.builder.call(guess, [x, self.zeros, ir.Constant(ir.IntType(16), -1)])

    def root(self, x: Any) -> Any:
        """√x of a single vector."""
        return self._call("sqrt", self.type, [x])


def sum_over(builder: Any, inner: Any, first: list[list[Any]], term: Any) -> list[list[Any]]:
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
    loop_end = builder.block  # the term may have loops of its own
    following = builder.add(p, I64(1))
    p.add_incoming(following, loop_end)
    for row, new_row in zip(sums, new, strict=True):
        for total, value in zip(row, new_row, strict=True):
            total.add_incoming(value, loop_end)
    builder.cbranch(builder.icmp_signed("<", following, inner), loop, after)

    builder.position_at_end(after)
    return [
        [phi([(was, before), (value, loop_end)]) for was, value in zip(row, new_row, strict=True)]
        for row, new_row in zip(first, new, strict=True)
    ]

"""Rows of few numbers, each in a vector: what the softmax of some classes takes.

A loop over 3 or 10 numbers is mostly its start and its end, where LLVM asks how many there are. Here the
columns that do not exist are masked, as in the tiles at the edge of a product.

The plain forms are the functions that begin with `plain`: used with the JIT off and under bounds checks.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from hotloop._jit import INTRINSICS, intrinsic, kernel, processor, types
from hotloop.engine.vectors import I32, I64, Vectors, pointer_to, target_shape

__all__ = ["GROUP", "SHORT", "below_peak", "shares_less_label", "total_of"]

SHORT = 16 if "+avx" in processor()[1] or not INTRINSICS else 0
"""Numbers of a row that are few. (Without AVX a processor has no masks, and plain loops are faster.)"""
GROUP = 4
"""Rows that are read before one of them is written. A vector's load waits for a store that its masked lanes
touch, as those of one row touch the next: row by row, this took twice as long."""


def plain_below_peak(out, source, at, n):
    """out[at + j] = source[at + j] − peak, for j < n ≤ `SHORT`; returns it, and the first j that has it.

    Where NaN is, j may be n or more.
    """
    peak, first = source[at], n
    for j in range(n):
        peak = source[at + j] if source[at + j] > peak else peak
    for j in range(n):
        out[at + j] = source[at + j] - peak
        first = j if source[at + j] == peak and first == n else first
    return peak, first


def plain_total_of(x, at, n):
    """Σⱼ x[at + j], for j < n ≤ `SHORT`."""
    total = x.dtype.type(0)
    for j in range(n):
        total += x[at + j]
    return total


def plain_shares_less_label(x, places, n, labels, ratios, factors):
    """x[at + j] ← x[at + j] · ratio, less the factor where j is the label: for j < n ≤ `SHORT`, in each row.

    `places`, `labels`, `ratios`, `factors` have one number for each of `GROUP` rows. One row may be there
    several times, one after the other.
    """
    for k in range(GROUP):
        if k == 0 or places[k] != places[k - 1]:
            for j in range(n):
                x[places[k] + j] *= ratios[k]
            x[places[k] + labels[k]] -= factors[k]


def _row_vectors(context: Any, builder: Any, item: Any, n: Any) -> Vectors:
    """The vectors of a row of `n` numbers."""
    lanes = target_shape(context, item.bitwidth // 8)[1]
    return Vectors(builder, item, context.get_data_type(item), lanes, max(SHORT // lanes, 1), n)


def _fold(builder: Any, values: list[Any], both: Callable[[Any, Any], Any]) -> Any:
    """All lanes of the vectors as one number: half of them with the other half, until one is left."""
    while len(values) > 1:
        half = len(values) // 2
        values = [both(x, y) for x, y in zip(values[:half], values[half:], strict=True)]
    value, n = values[0], values[0].type.count
    while n > 1:
        n //= 2
        nothing = ir.Constant(value.type, ir.Undefined)
        lower, upper = (ir.Constant(ir.VectorType(I32, n), [*range(k, k + n)]) for k in (0, n))
        value = both(*(builder.shuffle_vector(value, nothing, half) for half in (lower, upper)))
    return builder.extract_element(value, I32(0))


def _below_peak(typing_context, out, source, at, n):
    item, result = source.dtype, types.Tuple((source.dtype, types.int64))

    def codegen(context, builder, signature, args):
        out_array, source_array, at, n = args
        vectors = _row_vectors(context, builder, item, n)
        row = vectors.load(pointer_to(context, builder, source, source_array, at), missing=-np.inf)
        peak = _fold(builder, row, lambda x, y: builder.select(builder.fcmp_ordered(">", x, y), x, y))
        peaks = vectors.splat(peak, vectors.type)
        vectors.store([builder.fsub(v, peaks) for v in row], pointer_to(context, builder, out, out_array, at))
        # A bit for each number, set at the peak; the first of them is counted to.
        bits, lanes = I64(0), ir.IntType(vectors.lanes)
        for v, value in enumerate(row):
            some = builder.zext(builder.bitcast(builder.fcmp_ordered("==", value, peaks), lanes), I64)
            bits = builder.or_(bits, builder.shl(some, I64(v * vectors.lanes)))
        first = builder.cttz(bits, ir.IntType(1)(0))
        return context.make_tuple(builder, result, [peak, first])

    return result(out, source, types.int64, types.int64), codegen


def _total_of(typing_context, x, at, n):
    def codegen(context, builder, signature, args):
        array, at, n = args
        vectors = _row_vectors(context, builder, x.dtype, n)
        return _fold(builder, vectors.load(pointer_to(context, builder, x, array, at)), builder.fadd)

    return x.dtype(x, types.int64, types.int64), codegen


def _shares_less_label(typing_context, x, places, n, labels, ratios, factors):
    whole, numbers = (types.UniTuple(kind, GROUP) for kind in (types.int64, x.dtype))

    def codegen(context, builder, signature, args):
        array, places, n, labels, ratios, factors = args
        vectors = _row_vectors(context, builder, x.dtype, n)
        wide, before = ir.VectorType(I32, vectors.lanes), []
        for k in range(GROUP):
            at, label, *of_row = (builder.extract_value(one, k) for one in (places, labels, ratios, factors))
            where = pointer_to(context, builder, x, array, at)
            ratio, factor = (vectors.splat(number, vectors.type) for number in of_row)
            label = vectors.splat(builder.trunc(label, I32), wide)
            before.append((where, vectors.load(where), label, ratio, factor))
        for where, row, label, ratio, factor in before:
            shares = [builder.fmul(value, ratio) for value in row]
            is_label = [builder.icmp_signed("==", vectors.columns(v), label) for v in range(len(row))]
            less = [builder.fsub(share, factor) for share in shares]
            vectors.store([builder.select(*some) for some in zip(is_label, less, shares, strict=True)], where)
        return context.get_dummy_value()

    return types.void(x, whole, types.int64, whole, numbers, numbers), codegen


if INTRINSICS:
    below_peak, total_of, shares_less_label = map(intrinsic, (_below_peak, _total_of, _shares_less_label))
else:
    below_peak, total_of = kernel(plain_below_peak), kernel(plain_total_of)
    shares_less_label = kernel(plain_shares_less_label)

"""Polynomials, and how to keep their coefficients in registers for as long as a loop runs.

Left alone, LLVM has a constant read from memory wherever it is used. A loop over tanh then reads 14 vectors
for each that it writes, two in a cycle, and that is its limit: with its coefficients in registers it takes
0.9 of the time. Loops over exp and its kin have other limits, and gain nothing.

LLVM knows nothing of a number that is held. So it brings it into a register before a loop only where each
turn uses it, not under a condition; and since it takes each for a call, a function that holds some may be
too long to become part of the loop, which then stays scalar.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from hotloop._jit import INTRINSICS, cgutils, intrinsic, kernel_in_order, types

__all__ = ["held_polynomial_float32", "polynomial_float32", "polynomial_float64"]

REGISTERS = {"x86_64": "x", "aarch64": "w", "arm64": "w"}
"""The letter that stands for a vector register, by the processor's family."""


def _held(context: Any, builder: Any, number: Any) -> Any:
    """The same number, of which LLVM knows nothing but that it is always the same."""
    letter = REGISTERS.get(context.codegen().magic_tuple()[0].split("-")[0])
    if letter is None:
        return number
    kind = ir.FunctionType(number.type, [number.type])
    call = builder.call(ir.InlineAsm(kind, "", f"={letter},0"), [number])
    for promise in ("readnone", "nounwind"):  # so it may be done once, before the loop
        call.attributes.add(promise)
    return call


def _polynomial(dtype: Callable[[Any], Any], kind: Any, is_held: bool = False) -> Any:
    """The kernel for x of this dtype."""

    def plain_polynomial(x, coefficients):
        """((c₀ x + c₁) x + c₂) …, one fused multiply-add after the other."""
        total = dtype(coefficients[0])
        for c in coefficients[1:]:
            total = total * x + dtype(c)
        return total

    def polynomial(typing_context, x, coefficients):
        def codegen(context, builder, signature, args):
            number = context.get_data_type(kind)
            multiply_add = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(number, [number] * 3), f"llvm.fmuladd.f{kind.bitwidth}"
            )
            terms = [
                context.cast(builder, c, types.float64, kind) for c in cgutils.unpack_tuple(builder, args[1])
            ]
            if is_held:
                terms = [_held(context, builder, c) for c in terms]
            total = terms[0]
            for c in terms[1:]:
                total = builder.call(multiply_add, [total, args[0], c])
            return total

        return kind(kind, coefficients), codegen

    return intrinsic(polynomial) if INTRINSICS else kernel_in_order(plain_polynomial)


polynomial_float32 = _polynomial(np.float32, types.float32)
"""``polynomial_float32(x, coefficients)``: of a tuple of float64 constants, the highest power first."""
polynomial_float64 = _polynomial(np.float64, types.float64)
"""The same in float64."""
held_polynomial_float32 = _polynomial(np.float32, types.float32, is_held=True)
"""`polynomial_float32` with its coefficients in registers."""

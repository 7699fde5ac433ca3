"""exp, tanh, sigmoid, … of one number, in its own precision, written so that loops over them vectorise.

numba ships no vector mathematics library, and a loop over libm's exp stays scalar: the polynomial forms
are in `engine.float32` and `engine.float64`. Infinities give the limits, NaN stays NaN.
"""

from typing import Any

import numpy as np
from llvmlite import ir

from hotloop._jit import COMPILED, overload, types
from hotloop.engine import float32, float64
from hotloop.engine.float32 import (
    exp_float32,
    expm1_float32,
    log1p_float32,
    log_float32,
    normal_cdf_float32,
    normal_pdf_float32,
    quotient_float32,
    sigmoid_float32,
    softplus_float32,
    tanh_float32,
)
from hotloop.engine.float64 import (
    exp_float64,
    expm1_float64,
    log1p_float64,
    log_float64,
    normal_cdf_float64,
    normal_pdf_float64,
    quotient_float64,
    sigmoid_float64,
    softplus_float64,
    tanh_float64,
)

__all__ = [
    "constant",
    "exp",
    "expm1",
    "less_quotient",
    "log",
    "log1p",
    "normal_cdf",
    "normal_pdf",
    "quotient",
    "sigmoid",
    "softplus",
    "tanh",
]


def constant(value, x):
    """The number `value` in the precision of x: a float64 constant would widen float32 code."""
    return type(x)(value)


# The functions below run as they stand only with the JIT off, and are overloaded otherwise. There
# math's plain floats would give way to the float32 constants around them: hence np.float64.


def exp(x):
    """eˣ in the precision of x."""
    return exp_float32(x) if isinstance(x, np.float32) else np.float64(exp_float64(x))


def expm1(x):
    """eˣ − 1 in the precision of x."""
    return expm1_float32(x) if isinstance(x, np.float32) else np.float64(expm1_float64(x))


def log1p(u):
    """ln(1 + u) in the precision of u, for 0 ≤ u ≤ 1."""
    return log1p_float32(u) if isinstance(u, np.float32) else np.float64(log1p_float64(u))


def log(x):
    """ln x in the precision of x, for x ≥ 1."""
    return log_float32(x) if isinstance(x, np.float32) else np.float64(log_float64(x))


def softplus(x):
    """ln(1 + eˣ) in the precision of x."""
    return softplus_float32(x) if isinstance(x, np.float32) else np.float64(softplus_float64(x))


def normal_cdf(x):
    """Φ(x) = ½ (1 + erf(x/√2)) in the precision of x, its lower tail too."""
    return normal_cdf_float32(x) if isinstance(x, np.float32) else np.float64(normal_cdf_float64(x))


def normal_pdf(x):
    """φ(x) = e^(−x²/2) / √(2π) in the precision of x."""
    return normal_pdf_float32(x) if isinstance(x, np.float32) else np.float64(normal_pdf_float64(x))


def tanh(x):
    """tanh x in the precision of x."""
    return tanh_float32(x) if isinstance(x, np.float32) else np.float64(tanh_float64(x))


def quotient(x, y):
    """x/y in the precision of both, for y from 1e-300 to 1e300, in float32 from 1e-37 to 1e37."""
    return quotient_float32(x, y) if isinstance(y, np.float32) else np.float64(quotient_float64(x, y))


def less_quotient(vectors: Any, w: Any, x: Any, y: Any) -> Any:
    """``w − quotient(x, y)`` of single `Vectors`, as LLVM; its last bits may differ.

    Where the processor divides fast (see `quotient_float32`), its divider also takes roots: 7 cycles for
    sixteen numbers, of both. Its guess of 1/y, to 14 bits, and a Newton step leave the roots alone there.
    """
    builder, bits = vectors.builder, vectors.bytes * 8
    if float32.DIVIDES and vectors.lanes != 16:
        return builder.fsub(w, builder.fdiv(x, y))
    if float32.DIVIDES:
        z, steps = vectors.reciprocal_guess(y), 1
    else:
        guess, steps = (float32.RECIPROCAL_GUESS, 3) if bits == 32 else (float64.RECIPROCAL_GUESS, 4)
        integers = ir.VectorType(ir.IntType(bits), vectors.lanes)
        guesses = ir.Constant(integers, [int(guess)] * vectors.lanes)
        z = builder.bitcast(builder.sub(guesses, builder.bitcast(y, integers)), vectors.type)
    twos, minus_y = ir.Constant(vectors.type, [2.0] * vectors.lanes), builder.fneg(y)
    for _ in range(steps):
        z = builder.fmul(z, vectors.fused(minus_y, z, twos))
    return vectors.fused(builder.fneg(x), z, w)


def sigmoid(x):
    """1 / (1 + e⁻ˣ) in the precision of x."""
    return sigmoid_float32(x) if isinstance(x, np.float32) else np.float64(sigmoid_float64(x))


if COMPILED:

    @overload(constant)
    def _constant(value, x):
        return (lambda value, x: np.float32(value)) if x == types.float32 else (lambda value, x: value)

    @overload(exp)
    def _exp(x):
        return (lambda x: exp_float32(x)) if x == types.float32 else (lambda x: exp_float64(x))

    @overload(tanh)
    def _tanh(x):
        return (lambda x: tanh_float32(x)) if x == types.float32 else (lambda x: tanh_float64(x))

    @overload(quotient)
    def _quotient(x, y):
        if y == types.float32:
            return lambda x, y: quotient_float32(x, y)
        return lambda x, y: quotient_float64(x, y)

    @overload(sigmoid)
    def _sigmoid(x):
        return (lambda x: sigmoid_float32(x)) if x == types.float32 else (lambda x: sigmoid_float64(x))

    @overload(expm1)
    def _expm1(x):
        return (lambda x: expm1_float32(x)) if x == types.float32 else (lambda x: expm1_float64(x))

    @overload(softplus)
    def _softplus(x):
        return (lambda x: softplus_float32(x)) if x == types.float32 else (lambda x: softplus_float64(x))

    @overload(normal_cdf)
    def _normal_cdf(x):
        return (lambda x: normal_cdf_float32(x)) if x == types.float32 else (lambda x: normal_cdf_float64(x))

    @overload(normal_pdf)
    def _normal_pdf(x):
        return (lambda x: normal_pdf_float32(x)) if x == types.float32 else (lambda x: normal_pdf_float64(x))

    @overload(log1p)
    def _log1p(u):
        return (lambda u: log1p_float32(u)) if u == types.float32 else (lambda u: log1p_float64(u))

    @overload(log)
    def _log(x):
        return (lambda x: log_float32(x)) if x == types.float32 else (lambda x: log_float64(x))

"""Ask the memory for numbers before they are needed.

The processor foresees only what follows in memory. Where rows come in a random order, each would be
waited for.
"""

from llvmlite import ir

from hotloop._jit import INTRINSICS, cgutils, intrinsic, kernel, types

__all__ = ["STRIP", "fetch"]

STRIP = 128
"""Numbers that are fetched at once."""
LINE = 64
"""Bytes that the memory brings at once."""

I32, I64, POINTER = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
READ, NEAR, DATA = I32(0), I32(2), I32(1)  # near: into the second cache, which holds several rows


def _fetch(typing_context, array, index):
    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        kind = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        # No loop: LLVM would unroll it many times over.
        for k in range(0, STRIP, LINE * 8 // signature.args[0].dtype.bitwidth):
            where = builder.gep(data, [builder.add(args[1], I64(k))])
            builder.call(function, [builder.bitcast(where, POINTER), READ, NEAR, DATA])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen


if INTRINSICS:
    fetch = intrinsic(_fetch)
    """``fetch(array, k)``: have `STRIP` numbers of a contiguous array brought near, from its k-th on.

    There may be fewer: nothing is read.
    """
else:

    @kernel
    def fetch(array, index):
        """Nothing but time depends on it."""
        return

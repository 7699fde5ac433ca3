"""Ask the memory for numbers before they are needed.

The processor foresees only what follows in memory, and then not as fast as memory is. Where rows come in a
random order, each would be waited for.
"""

from typing import Any

from llvmlite import ir

from hotloop._jit import INTRINSICS, cgutils, intrinsic, kernel, types

__all__ = ["FETCHED_BYTES", "LINE", "STRIP", "fetch", "fetch_at", "fetch_vectors"]

STRIP = 128
"""Numbers that are fetched at once."""
LINE = 64
"""Bytes that the memory brings at once."""
FETCHED_BYTES = 2 * LINE
"""What `fetch_vectors` asks for."""

I32, I64, POINTER = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
READ, NEAR, DATA = I32(0), I32(2), I32(1)  # near: into the second cache, which holds several rows


def fetch_at(builder: Any, where: Any) -> None:
    """Ask for the line in which the number at the pointer `where` is."""
    kind = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    builder.call(function, [builder.bitcast(where, POINTER), READ, NEAR, DATA])


def _fetches(n_bytes: Any) -> Any:
    """``fetch(array, k)`` of so many bytes of an array of this dtype."""

    def fetch(typing_context, array, index):
        def codegen(context, builder, signature, args):
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            start = builder.bitcast(builder.gep(data, [args[1]]), POINTER)
            # No loop: LLVM would unroll it many times over.
            for k in range(0, n_bytes(signature.args[0].dtype), LINE):
                fetch_at(builder, builder.gep(start, [I64(k)]))
            return context.get_dummy_value()

        return types.void(array, types.int64), codegen

    return intrinsic(fetch)


if INTRINSICS:
    fetch = _fetches(lambda dtype: STRIP * dtype.bitwidth // 8)
    """``fetch(array, k)``: have `STRIP` numbers of a contiguous array brought near, from its k-th on.

    There may be fewer: nothing is read.
    """
    fetch_vectors = _fetches(lambda dtype: FETCHED_BYTES)
    """The same of `FETCHED_BYTES`: as many numbers as a tile of a product has columns, at most."""
else:

    @kernel
    def fetch(array, index):
        """Nothing but time depends on it."""
        return

    fetch_vectors = fetch

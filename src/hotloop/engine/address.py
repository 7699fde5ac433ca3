"""Kernels called by their address: the loop compiles without those that a run does not use.

The loop holds what nearly every network needs. The rest (optimizers, losses, penalties, clipping, rarer
activations and layers) are kernels of their own, compiled when a model first uses them, and called
through `call` with the address that `address_of` gave. A call costs a few nanoseconds, for the rows of a
batch or for chunks, never for single numbers.
"""

import functools
from typing import Any

from hotloop._jit import COMPILED, intrinsic, signature, typeof, types

__all__ = ["NOWHERE", "address_of", "amount", "asked", "call"]

NOWHERE = 0
"""The address of a kernel that is not used."""

_PLAIN: list[Any] = [None]
"""With the JIT off: the functions, and an address is an index."""


def address_of(kernel: Any, arguments: tuple[Any, ...]) -> int:
    """Where `kernel`, compiled for arguments of the types of these, begins; it stays in memory."""
    return _address_of(kernel, tuple(typeof(argument) for argument in arguments) if COMPILED else ())


@functools.cache
def _address_of(kernel: Any, kinds: tuple[Any, ...]) -> int:
    if not COMPILED:
        _PLAIN.append(kernel)
        return len(_PLAIN) - 1
    kernel.compile(kinds)
    compiled = kernel.overloads[kinds]
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


def _caller_of(result: Any) -> Any:
    """``call(address, arguments)``: what the kernel at `address`, which returns a `result`, says to these."""

    def called(typing_context, address, arguments):
        if any(isinstance(kind, types.Array) and kind.layout != "C" for kind in arguments.types):
            return None  # the callee was compiled for contiguous arrays

        def codegen(context, builder, signature, values):
            kinds = [types.unliteral(kind) for kind in arguments.types]
            convention = context.call_conv
            pointer = convention.get_function_type(result, kinds).as_pointer()
            function = builder.inttoptr(values[0], pointer)
            parts = [
                context.cast(builder, builder.extract_value(values[1], k), have, want)
                for k, (have, want) in enumerate(zip(arguments.types, kinds, strict=True))
            ]
            _, found = convention.call_function(builder, function, result, kinds, parts)
            return context.get_dummy_value() if result == types.none else found

        return signature(result, types.int64, arguments), codegen

    return intrinsic(called)


if COMPILED:
    call = _caller_of(types.none)
    """``call(address, arguments)``: run the kernel at `address`, which returns nothing."""
    asked = _caller_of(types.boolean)
    """``asked(address, arguments)``: what the kernel at `address` answers, yes or no."""
    amount = _caller_of(types.float64)
    """``amount(address, arguments)``: the number that the kernel at `address` returns."""
else:

    def call(address: int, arguments: tuple[Any, ...]) -> Any:
        """Call the kernel at `address`."""
        return _PLAIN[address](*arguments)

    asked = amount = call

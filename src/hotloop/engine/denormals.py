"""Flush denormal numbers to zero while training.

The momentum of a unit that has died decays into the denormal range and stays there; each operation
on such a number takes the processor's slow path, which small networks with dead units feel. The mode
belongs to the thread, so the entry kernel sets it and puts it back.
"""

from typing import Any

from llvmlite import ir

from hotloop._jit import COMPILED, cgutils, intrinsic, kernel, types

__all__ = ["flush_denormals", "restore_denormals"]

X86_FLUSH = 0x8040  # MXCSR: flush to zero, denormals are zero
ARM_FLUSH = 1 << 24  # FPCR: flush to zero

I32, I64, POINTER = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()


def _architecture(context: Any) -> str:
    return str(context.codegen().magic_tuple()[0]).split("-")[0]


def _x86(builder: Any, name: str, slot: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [POINTER])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{name}")
    builder.call(function, [builder.bitcast(slot, POINTER)])


def _read(context: Any, builder: Any) -> Any:
    """The floating-point mode of this thread, as int64."""
    architecture = _architecture(context)
    if architecture in ("x86_64", "amd64"):
        slot = cgutils.alloca_once(builder, I32)
        _x86(builder, "stmxcsr", slot)
        return builder.zext(builder.load(slot), I64)
    if architecture in ("aarch64", "arm64"):
        return builder.asm(ir.FunctionType(I64, []), "mrs $0, fpcr", "=r", [], side_effect=True)
    return I64(0)


def _write(context: Any, builder: Any, mode: Any) -> None:
    architecture = _architecture(context)
    if architecture in ("x86_64", "amd64"):
        slot = cgutils.alloca_once(builder, I32)
        builder.store(builder.trunc(mode, I32), slot)
        _x86(builder, "ldmxcsr", slot)
    elif architecture in ("aarch64", "arm64"):
        builder.asm(ir.FunctionType(ir.VoidType(), [I64]), "msr fpcr, $0", "r", [mode], side_effect=True)


def _flush_denormals(typing_context):
    def codegen(context, builder, signature, args):
        mode = _read(context, builder)
        flush = X86_FLUSH if _architecture(context) in ("x86_64", "amd64") else ARM_FLUSH
        _write(context, builder, builder.or_(mode, I64(flush)))
        return mode

    return types.int64(), codegen


def _restore_denormals(typing_context, mode):
    def codegen(context, builder, signature, args):
        _write(context, builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


if COMPILED:
    flush_denormals = intrinsic(_flush_denormals)
    """Set the mode of this thread; returns the one before, for `restore_denormals`."""
    restore_denormals = intrinsic(_restore_denormals)
else:

    @kernel
    def flush_denormals():
        return 0

    @kernel
    def restore_denormals(mode):
        return

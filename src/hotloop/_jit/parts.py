"""What Python calls is compiled as a whole; the kernels it calls are its parts.

Numba turns each function into machine code of its own, with wrappers for Python, before its first
caller is compiled; the caller gets that optimised code, and LLVM optimises it once more at each level
of calls. Of the training loop's compilation that was more than half. Here a kernel called by a
kernel stops half-way, as a `_Part` that is linked into its callers. Only what Python (or
`engine.address`) calls goes the whole way, with all its parts, once.

Nobody else can call these parts, and LLVM is told so: they are private. It then leaves out what a part does
not use of its arguments: numba hands over each array as seven numbers, and a `Net` as more than a hundred.
(Copying these from call to call took half the time of small steps.) "Internal" would not do: LLVM's linker in
memory finds such functions by their names all the same, and gives them to the next caller of the same part,
a function that `numba.njit` compiled, which hands over all arguments.
"""

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite.binding as llvm
from numba import njit, types
from numba.core import compiler, registry, sigutils, typing
from numba.core.codegen import JITCodeLibrary
from numba.core.dispatcher import _FunctionCompiler  # type: ignore[attr-defined]

from hotloop._jit.cache import EntryFiles, cache_of, processor

__all__ = ["apart", "dispatcher", "promise_distinct"]

WIDEST = '"prefer-vector-width"="512"'
"""Of loops: LLVM keeps to half of AVX-512 on Intel's processors, whose clock the other half once slowed. The
tiles of products use all of it in any case."""

NOT_NEEDED = {
    "WithLifting",
    "InlineClosureLikes",
    "RewriteDynamicRaises",
    "MakeFunctionToJitFunction",
    "InlineInlinables",
    "FindLiterallyCalls",
    "LiteralUnroll",
    "LiteralPropagationSubPipelinePass",
    "InlineOverloads",
    "NopythonRewrites",
    "DumpParforDiagnostics",
}
"""Numba's passes for what no kernel has: `with`, closures, comprehensions, errors with a computed text, loops
over tuples, expressions of whole arrays. They look for it all the same, a twentieth of a compilation."""


def dispatcher(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """What compiles `function` for each set of types that it is called with."""
    try:
        return _Kernel(function, {"nopython": True, "boundscheck": None, **options})
    except Exception:  # numba has changed within: its own way takes longer, and does the same
        made = njit(**options)(function)
        made._cache = cache_of(function)
        return made


def apart(kernel: Any) -> Any:
    """Keep a kernel out of its callers' code: for what only some calls of a short function need.

    As a part of it, it would have its addresses and masks computed at the beginning, every time.
    """
    if isinstance(kernel, _Kernel):
        kernel.part_compiler.apart = True
    return kernel


def promise_distinct(kernel: Any) -> Any:
    """What `hotloop._jit.distinct` says, to LLVM."""
    if isinstance(kernel, _Kernel):
        kernel.part_compiler.distinct = kernel._compiler.distinct = True
    return kernel


class _Kernel(registry.CPUDispatcher):  # type: ignore[misc]
    """Numba's dispatcher, except that it hands parts to other kernels."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]):
        super().__init__(function, targetoptions=options)
        self._cache = cache_of(function)
        self._part_cache = cache_of(function, _PartFiles)
        compilers = [
            kind(function, self.targetdescr, options, self.locals, _Pipeline)
            for kind in (_EntryCompiler, _PartCompiler)
        ]
        self._compiler, self.part_compiler = compilers
        self.parts: dict[tuple[Any, ...], tuple[object, Any]] = {}
        """Types of the arguments → the key that numba knows a part by, and what was compiled."""

    def compile(self, sig: Any) -> Any:
        """The machine code for `sig`."""
        with _no_garbage_collection():
            return super().compile(sig)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """What typing the call of another kernel needs; the part is there from then on."""
        python_signature, args = self.fold_argument_types(args, kws)
        self._part(tuple(types.unliteral(kind) for kind in args))  # not one for each constant
        name, signatures = self.py_func.__name__, [part.signature for _, part in self.parts.values()]
        template = typing.make_concrete_template(f"CallTemplate({name})", name, signatures)
        return template, python_signature, args, {}

    def get_overload(self, sig: Any) -> object:
        """The key of the part for `sig`."""
        args, _ = sigutils.normalize_signature(sig)
        return self.parts[tuple(args)][0]

    def _part(self, args: tuple[Any, ...]) -> None:
        if args in self.parts:
            return
        part = self._part_cache.load_overload(args, self.targetctx)
        if part is None:
            part = self.part_compiler.compile(args, None)
            self._part_cache.save_overload(args, part)
            part = _what_callers_need(part.library, part.fndesc, part.signature)
        key = object()
        self.targetctx.insert_user_function(key, part.fndesc, [part.library])
        self.parts[args] = key, part


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Python's collector finds little while numba compiles, and looks for it a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@functools.cache
def _has_avx512() -> bool:
    """Whether there are vectors of 512 bits."""
    return "+avx512f" in processor()[1]


class _Pipeline(compiler.Compiler):  # type: ignore[misc]
    """Numba's passes, without those that are not needed."""

    def define_pipelines(self) -> list[Any]:
        """What is done to a function, in order."""
        pipelines: list[Any] = super().define_pipelines()
        for pipeline in pipelines:
            with contextlib.suppress(AttributeError, TypeError):  # numba has changed within: all of them
                pipeline.passes = [step for step in pipeline.passes if step[0].__name__ not in NOT_NEEDED]
                pipeline.finalize()
        return pipelines


class _Library(JITCodeLibrary):  # type: ignore[misc]
    """Compiled code whose loops use the widest vectors."""

    apart = False

    def add_ir_module(self, ir_module: Any) -> None:
        """Take in a module, as llvmlite writes it."""
        for function in ir_module.functions:
            if not function.is_declaration:
                if _has_avx512():
                    set.add(function.attributes, WIDEST)  # its own `add` knows few attributes
                if self.apart:
                    function.attributes.add("noinline")
        super().add_ir_module(ir_module)

    def _optimize_functions(self, module: Any) -> None:
        """Simplify each function of a module, once: numba then prunes references, and starts anew for each.

        (A few passes in place of LLVM's list save a third of a second of ten, and small steps then take up to
        a third longer.)
        """
        try:
            module.data_layout = self._codegen._data_layout
            builder = self._codegen._pass_builder()
            passes = builder.getFunctionPassManager()
            for function in module.functions:
                passes.run(function, builder)
        except (AttributeError, TypeError):  # numba is older, or has changed within
            super()._optimize_functions(module)

    def _optimize_final_module(self, *arguments: Any) -> None:
        """Optimise it, with all its parts, which are its own; once, where numba goes over it twice.

        (The first time is for references to Python's objects and arrays; kernels hold few of them.)
        """
        with contextlib.suppress(AttributeError):  # numba has changed within: it is right so too, but slower
            for function in self._final_module.functions:
                if not function.is_declaration and function.linkage == llvm.Linkage.linkonce_odr:
                    function.linkage = llvm.Linkage.private
        try:
            passes, builder = self._codegen._module_pass_manager()
            passes.run(self._final_module, builder)
        except (AttributeError, TypeError):  # numba is older, or has changed within
            super()._optimize_final_module(*arguments)


class _Flags(compiler.Flags):  # type: ignore[misc]
    """Numba's, which compares them with others for each function that it looks up, and asks for all of its
    options each time: a tenth of a compilation. Here what they are is kept until one is set.
    """

    def values(self) -> dict[str, Any]:
        """All options."""
        if "_kept" not in self.__dict__:
            self.__dict__["_kept"] = super().values()
        found: dict[str, Any] = self.__dict__["_kept"]
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        self.__dict__.pop("_kept", None)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self.__dict__.pop("_kept", None)

    def discard(self, name: str) -> None:
        """Back to the default."""
        super().discard(name)
        self.__dict__.pop("_kept", None)


class _EntryCompiler(_FunctionCompiler):  # type: ignore[misc]
    """Compiles what Python calls."""

    kind: type[_Library] = _Library
    apart = distinct = False

    def _compile_core(self, args: Any, return_type: Any) -> Any:
        flags = _Flags()
        self.targetdescr.options.parse_as_flags(flags, self.targetoptions)
        if self.distinct and hasattr(flags, "noalias"):
            flags.noalias = True
        context = self.targetdescr.target_context
        library = self.kind(context.codegen(), self.py_func.__qualname__)
        library.apart = self.apart
        library.enable_object_caching()
        return compiler.compile_extra(
            self.targetdescr.typing_context, context, self.py_func, args, return_type,
            self._customize_flags(flags), self.locals, library=library, pipeline_class=self.pipeline_class,
        )  # fmt: skip


class _Part(_Library):
    """A function and the parts that it calls, each still to be optimised.

    (Numba gives each function an environment for Python objects. That of a part is never filled in: no
    kernel has Python objects.)
    """

    def finalize(self) -> None:
        """Link the parts that it calls, and stop there."""
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalize_dynamic_globals()
        self._finalized = True


class _PartCompiler(_EntryCompiler):
    """Compiles up to LLVM's intermediate form."""

    kind = _Part

    def _customize_flags(self, flags: compiler.Flags) -> compiler.Flags:
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
        return flags


class _PartFiles(EntryFiles):
    """The files of parts: LLVM's bitcode."""

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        """Beside those of the same function as Python calls it."""
        return str(super().get_filename_base(fullname, abiflags)) + ".part"

    def reduce(self, result: Any) -> Any:
        """What is kept."""
        result.library._ensure_finalized()
        result.fndesc.typemap = result.fndesc.calltypes = None
        return result.library.name, result.library._final_module.as_bitcode(), result.fndesc, result.signature

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        """The part again."""
        name, bitcode, fndesc, signature = payload
        part = _Part(target_context.codegen(), name)
        part._final_module = llvm.parse_bitcode(bitcode)
        part._finalized = True
        return _what_callers_need(part, fndesc, signature)


def _what_callers_need(part: _Part, fndesc: Any, signature: Any) -> Any:
    """Of a compiled part; all else, its typed code above all, would be kept as long as the process lives."""
    return compiler.compile_result(library=part, fndesc=fndesc, signature=signature)

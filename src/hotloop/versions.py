"""`show_versions`: what is installed, on which processor, and how the cache of compiled kernels stands."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import hotloop
from hotloop._jit import cache_folder, cache_root, processor
from hotloop.engine.team import check_threads
from hotloop.engine.unit import has_amx
from hotloop.folders import can_write, contents, kernel_folders

__all__ = ["show_versions"]

PACKAGES = ("numpy", "numba", "llvmlite", "tqdm", "safetensors")
OPTIONAL = ("scikit-learn", "scipy", "matplotlib")
FEATURES = ("avx", "avx2", "fma", "avx512f", "neon", "sve")
"""Of a processor, those that decide how fast the loops are."""


def show_versions() -> None:
    """Print versions, processor and cache: what a report of a problem should have.

    ``python -m hotloop info`` is the same on the command line. Nothing is compiled, and optional
    packages are not imported.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.show_versions()  # doctest: +ELLIPSIS
    hotloop ...
    """
    lines = [*_versions(), *_machine(), *_cache()]
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:<{width}}  {value}")


def _versions() -> list[tuple[str, str]]:
    own = [("hotloop", f"{hotloop.__version__}, {Path(hotloop.__file__).parent}")]
    own.append(("python", f"{platform.python_version()}, {platform.platform()}"))
    return own + [(name, _version(name)) for name in (*PACKAGES, *OPTIONAL)]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _machine() -> list[tuple[str, str]]:
    name, features = processor()
    there = set(features.split(","))
    found = [feature for feature in FEATURES if f"+{feature}" in there]
    return [
        ("processor", f"{_model_name()} ({name} to LLVM)"),
        ("features", ", ".join(found) or "none of " + ", ".join(FEATURES)),
        ("matrix unit", "AMX, for wide layers in float32" if has_amx() else "none in use"),
        ("processors", f"{check_threads(None)} of {os.cpu_count()} available; n_threads is 1 by default"),
    ]


def _model_name() -> str:
    """The processor's name as its maker has it, where the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cache() -> list[tuple[str, str]]:
    folder = cache_folder()
    if folder is None:
        return [("cache", f"{cache_root()} cannot be written; set NUMBA_CACHE_DIR to a folder that can")]
    now = contents(folder)
    older = [contents(path) for path in kernel_folders(folder.parent) if path != folder]
    state = f"{now.kernels} kernels, {_size(now.size)}" if now.kernels else "none; python -m hotloop warmup"
    others = f"{len(older)} folders, {_size(sum(one.size for one in older))}" if older else "none"
    return [
        ("cache", f"{folder}, {'' if can_write(folder) else 'not '}writable"),
        ("kernels", state),
        ("other versions", others + ("; python -m hotloop clean removes them" if older else "")),
    ]


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB"

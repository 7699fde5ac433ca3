"""Compiled code on disk: kept for as long as it fits, and never a reason to fail.

It lies in a folder named after a hash of *all* of hotloop's sources, and of what numba compiles with
and for. Numba's own cache looks at the file of the function alone, so a caller would go stale when a
kernel that it calls changes in another file. And where numba fails on a damaged or unwritable cache
(numba#10434, numba#5566), `KernelCache` recompiles or goes on uncached: a cache may save time, it may
never break a user.
"""

import contextlib
import functools
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numba import __version__ as numba_version
from numba import config
from numba.core import caching, codegen
from numba.core.runtime import rtsys
from tqdm import tqdm

from hotloop.folders import can_write, remove_unused

__all__ = [
    "TALLY",
    "EntryFiles",
    "KernelCache",
    "Tally",
    "cache_folder",
    "cache_of",
    "cache_root",
    "processor",
]


@dataclass
class Tally:
    """Kernels that this process has compiled, found in the cache, and compiled but could not keep."""

    compiled: int = 0
    loaded: int = 0
    lost: int = 0


TALLY = Tally()
"""Of all kernels, from the start of the process on."""


@functools.cache
def cache_folder() -> Path | None:
    """Where compiled kernels are kept, or None where no folder can be written and none is there.

    ``$NUMBA_CACHE_DIR`` if it is set, else the user's cache folder; the last part is a hash. A folder
    that can only be read, as in an image, still serves what it holds. A new folder is the time to
    remove those that an update has left behind.
    """
    try:
        folder = cache_root() / f"kernels-{_digest()}"
        is_new = not folder.exists()
        if not can_write(folder):
            return folder if folder.is_dir() else None
        if is_new:
            remove_unused(folder.parent, folder)
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return None
    return folder


def cache_root() -> Path:
    """The folder of the folders of compiled kernels."""
    if config.CACHE_DIR:
        return Path(config.CACHE_DIR) / "hotloop"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "hotloop"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "hotloop"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hotloop"


def processor() -> tuple[str, str]:
    """What numba compiles for: LLVM's name of the processor, and its features, as in "+avx2,-avx512f"."""
    name = codegen.ll.get_host_cpu_name() if config.CPU_NAME is None else config.CPU_NAME
    features = codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return str(name), str(features)


def _digest() -> str:
    """A hash over hotloop's sources, and over all else that compiled code depends on."""
    settings = str(config.OPT), config.BOUNDSCHECK, config.LOOP_VECTORIZE, config.SLP_VECTORIZE
    made_with = numba_version, sys.implementation.cache_tag, settings, processor()
    digest = hashlib.sha256(repr(made_with).encode())
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _announce() -> None:
    """Say, once a process, why the first step takes a while; above a progress bar, if there is one."""
    folder = cache_folder()
    keeps = "once" if folder and can_write(folder) else "not kept, since no cache folder can be written"
    said = f"hotloop: compiling kernels for this processor, {keeps} ..."
    if getattr(tqdm, "_instances", ()):
        tqdm.write(said, file=sys.stderr)
    else:  # without its lock, which a process that was killed may have left held (see hotloop.progress)
        print(said, file=sys.stderr)
    sys.stderr.flush()


class _Locator(caching._CacheLocator):  # type: ignore[misc]
    """All kernels share one folder, whose name already says which sources they come from."""

    def __init__(self, function: Callable[..., Any], folder: Path):
        self._py_file = function.__code__.co_filename
        self._folder = folder
        self._line = function.__code__.co_firstlineno

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator | None":
        """None where there is no folder: numba then has no cache for the function."""
        folder = cache_folder()
        return cls(py_func, folder) if folder else None

    def get_cache_path(self) -> str:
        """The folder."""
        return str(self._folder)

    def get_source_stamp(self) -> str:
        """What must not have changed: the folder's name is a hash of it."""
        return self._folder.name

    def get_disambiguator(self) -> str:
        """What tells functions of one name in one file apart."""
        return str(self._line)


class EntryFiles(caching.CompileResultCacheImpl):  # type: ignore[misc]
    """The files of what Python calls: machine code."""

    _locator_classes = (_Locator,)


class NoCache(caching.NullCache):  # type: ignore[misc]
    """Keeps nothing, but says why there is a wait."""

    def load_overload(self, sig: Any, target_context: Any) -> None:
        """Nothing is there."""
        TALLY.compiled += 1
        TALLY.lost += 1
        _announce()


def cache_of(function: Callable[..., Any], files: type[EntryFiles] = EntryFiles) -> Any:
    """The cache of the compiled forms of one function."""
    try:
        return KernelCache(function, files)
    except Exception:  # no folder can be written, or numba's cache looks different: go on uncached
        return NoCache()


class KernelCache(caching.FunctionCache):  # type: ignore[misc]
    """Numba's cache of one function, except that its failures cost only time."""

    def __init__(self, function: Callable[..., Any], files: type[EntryFiles]):
        self._impl_class = files
        super().__init__(function)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for `sig`, or None if it is not there or cannot be read."""
        found = None
        try:
            found = self._load(sig, target_context)
        except Exception:  # truncated, overwritten, from elsewhere: unpickling may raise anything
            with contextlib.suppress(Exception):
                self.flush()
        if found is None:
            TALLY.compiled += 1
            _announce()
        else:
            TALLY.loaded += 1
        return found

    def _load(self, sig: Any, target_context: Any) -> Any:
        """Numba's `load_overload` without its beginning: all that numba knows to compile, and SciPy.

        That takes a third of the time of a small training, and code from the cache needs the symbols of the
        runtime alone.
        """
        if not hasattr(self, "_load_overload"):  # numba has changed within
            return super().load_overload(sig, target_context)
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)
        return None  # such an error was passed over

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled function if the disk allows it."""
        try:
            super().save_overload(sig, data)
        except Exception:  # disk full, folder gone or read-only
            TALLY.lost += 1

"""The one place where numba is met: the decorator of all kernels.

Every kernel gets the same flags (a helper without explicit flags would inherit those of
whoever compiles it first, numba#7168), releases the GIL, and is compiled on first use: what Python
calls as a whole (`parts`), kept on disk (`cache`).
"""

import functools
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from numba import config, typeof, types
from numba.core import cgutils
from numba.core.typing import signature
from numba.extending import intrinsic, overload

from hotloop._jit.cache import TALLY, Tally, cache_folder, cache_root, processor
from hotloop._jit.parts import apart, dispatcher, promise_distinct

__all__ = [
    "COMPILED",
    "INTRINSICS",
    "TALLY",
    "THREADS",
    "Tally",
    "apart",
    "cache_folder",
    "cache_root",
    "cgutils",
    "distinct",
    "intrinsic",
    "kernel",
    "kernel_exact",
    "kernel_in_order",
    "kernel_inline",
    "overload",
    "processor",
    "signature",
    "typeof",
    "types",
]

COMPILED = not config.DISABLE_JIT
"""False under NUMBA_DISABLE_JIT=1: kernels are then plain Python."""

INTRINSICS = COMPILED and not config.BOUNDSCHECK
"""False where the plain-loop twins of the intrinsics run: with the JIT off, or under bounds checks."""

THREADS: int = config.NUMBA_NUM_THREADS
"""The processors, or what NUMBA_NUM_THREADS says."""

# Sums may be reordered and products fused, which lets loops vectorise; NaN and infinity keep their
# meaning (plain fastmath=True would break isfinite).
FLAGS = {"reassoc", "contract", "nsz", "arcp"}
IN_ORDER = {"contract"}
"""For the few kernels whose rounding errors cancel only in the written order."""
EXACT: set[str] = set()
"""For `kernel_exact`."""


def kernel(function: Callable[..., Any], flags: set[str] = FLAGS, inline: bool = False) -> Any:
    """Compile `function` in nopython mode, without the GIL, cached on disk.

    `inline` puts it into its callers even where LLVM finds it long.
    """
    if not COMPILED:
        # Compiled loops overflow to inf and divide to NaN silently; so do their plain twins.
        return np.errstate(all="ignore")(function)
    # Without numba's runtime, slices are not reference-counted: an atomic add and subtract each, half
    # of the time of a small step. And a kernel that allocates does not compile.
    options = {"fastmath": flags, "error_model": "numpy", "nogil": True, "_nrt": False, "forceinline": inline}
    return dispatcher(function, {"no_cfunc_wrapper": True, **options})


def kernel_in_order(function: Callable[..., Any]) -> Any:
    """A `kernel` whose sums and products are not reordered."""
    return kernel(function, IN_ORDER)


def kernel_exact(function: Callable[..., Any]) -> Any:
    """A `kernel` in which each operation rounds by itself.

    For loops over a range that depends on the threads: of a·b + c·d a processor may fuse either
    product, and the compiler chooses otherwise in the vector part of a loop than in its rest.
    """
    return kernel(function, EXACT)


def kernel_inline(function: Callable[..., Any]) -> Any:
    """A `kernel` that becomes part of its callers: for what a loop over rows calls on each."""
    return kernel(function, inline=True)


def distinct(function: Any) -> Any:
    """A kernel that reads and writes nothing by one of its arrays that it writes by another.

    For short loops that are called often: else the addresses of all arrays are compared before each, as long
    as some vectors of it take. With the JIT off it is checked that an array that is written to is part of no
    other, so callers hand over no more than is used.
    """
    return promise_distinct(function) if COMPILED else _checks_that_distinct(function)


def _checks_that_distinct(function: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def checked(*arguments: Any) -> Any:
        arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
        shared = [pair for pair in combinations(arrays, 2) if np.may_share_memory(*pair)]
        before = [[array.tobytes() for array in pair] for pair in shared]
        result = function(*arguments)
        if before != [[array.tobytes() for array in pair] for pair in shared]:
            raise AssertionError(f"{function.__name__} has written to an array that is part of another")
        return result

    return checked

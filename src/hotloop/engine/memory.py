"""Where vectors lie: each starts a cache line, and those that one loop goes through start apart in a page.

A vector load that straddles two lines counts twice. And a load may wait for a store before it whose address
differs by a multiple of a page, as if it were the same number. An optimizer's loop goes through up to five
vectors in step: by chance it took twice as long, or four times where it read some after writing others. So
those loops read all that a number needs before they write it; `benchmarks/suite/optimizers.py` compares.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AVERAGE",
    "GRADIENT",
    "SLOTS",
    "THETA",
    "aligned_zeros",
    "padded",
    "placed_copy",
    "placed_rows",
    "placed_zeros",
]

LINE, PAGE = 64, 4096
APART = 512
"""Bytes of a page between one vector's place and the next's: more than a loop works on at a time."""

# Places: where in a page each vector of θ's size starts, in units of APART.
THETA, GRADIENT, SLOTS, AVERAGE = 0, 1, 2, 7


def padded(n: int, dtype: np.dtype[Any]) -> int:
    """`n` rounded up to whole cache lines."""
    return -(-n * dtype.itemsize // LINE) * LINE // dtype.itemsize


def aligned_zeros(n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`n` zeros, the first at the start of a cache line."""
    return _zeros(n, dtype, LINE, 0)


def placed_zeros(n: int, dtype: np.dtype[Any], place: int) -> NDArray[Any]:
    """`n` zeros, the first at `place`."""
    return _zeros(n, dtype, PAGE, place * APART)


def placed_rows(rows: int, n: int, dtype: np.dtype[Any], place: int) -> NDArray[Any]:
    """Zeros, (rows, n or more): the first row starts at `place`, each further one at the next.

    What is beyond column `n` is there to move the next row on.
    """
    width = n + (APART // dtype.itemsize - n) % (PAGE // dtype.itemsize)
    return placed_zeros(rows * width, dtype, place).reshape(rows, width)


def placed_copy(vector: NDArray[Any], place: int) -> NDArray[Any]:
    """A copy of `vector`, (n,), that starts at `place`."""
    copy = placed_zeros(vector.size, vector.dtype, place)
    copy[:] = vector
    return copy


def _zeros(n: int, dtype: np.dtype[Any], unit: int, beyond: int) -> NDArray[Any]:
    """`n` zeros, the first so many bytes `beyond` a multiple of `unit`."""
    raw = np.zeros(n * dtype.itemsize + unit, np.uint8)
    start = (beyond - raw.ctypes.data) % unit
    return raw[start : start + n * dtype.itemsize].view(dtype)

"""The IDX format, in which MNIST and its relatives are published.

Everything in a file is untrusted: sizes are compared with what the file can hold before memory is taken.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError, InvalidTypeError, NotFoundError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
# Deflate's shortest code for its longest match: 258 bytes out of 2 bits.
_DEFLATE_MAX_RATIO = 1032


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an array from an IDX file, gzipped or not.

    Whether the file is gzipped is told by its first bytes, not by its name.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    array : ndarray, shape as the header says
        In native byte order, writable. The dtype is uint8, int8, int16, int32, float32 or float64.
        A file of rank 0 gives an array of shape ``()``.

    Raises
    ------
    NotFoundError
        There is no such file.
    FileFormatError
        The file is not IDX, is damaged, or holds more or less than its header declares. Memory is taken
        only for data that are really there, and never for more than the header declares and a buffer.
    InvalidTypeError
        `path` is not a path.

    Notes
    -----
    Two zero bytes, a byte for the dtype, a byte for the rank, a big-endian uint32 for each dimension, then
    the data, big-endian, the last index running fastest.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", section "The IDX file
    format", http://yann.lecun.com/exdb/mnist/.

    Examples
    --------
    >>> import os, tempfile
    >>> from hotloop.data import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "table-idx2-short")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(bytes([0, 0, 0x0B, 2,  0, 0, 0, 1,  0, 0, 0, 2,  0, 7, 1, 0]))
    ...     read_idx(path)
    array([[  7, 256]], dtype=int16)
    """
    try:
        name = os.fsdecode(path)
    except TypeError:
        raise InvalidTypeError(f"path must be a string or a path, got {type(path).__name__}") from None
    if not Path(name).is_file():
        raise NotFoundError(f"{name!r} is not a file that exists: check the path")
    with open(name, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        gzipped = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        if not gzipped:
            return _read_array(file, name, capacity=size)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read_array(cast(BinaryIO, unpacked), name, capacity=size * _DEFLATE_MAX_RATIO)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise FileFormatError(
                f"{name!r}: the gzip stream is damaged ({error}); fetch it again"
            ) from error


def _read_array(file: BinaryIO, name: str, capacity: int) -> NDArray[Any]:
    """Read header and data from `file`, which cannot hold more than `capacity` bytes."""
    dtype, shape = _read_header(file, name)
    n_bytes = dtype.itemsize * math.prod(shape)
    amount = f"{n_bytes} bytes" if n_bytes < 2**63 else "over 2**63 bytes"
    declared = f"{name!r}: the header declares {dtype.name} of shape {_short(shape)}, {amount} of data"
    if n_bytes > capacity:
        raise FileFormatError(
            f"{declared}, more than the file can hold: it is truncated or damaged; fetch it again"
        )
    # One byte more tells a file that is too long, and at the end makes gzip compare its checksum.
    data = _read_at_most(file, n_bytes + 1)
    if len(data) < n_bytes:
        raise FileFormatError(f"{declared}, but {len(data)} follow: the file is truncated; fetch it again")
    if len(data) > n_bytes:
        raise FileFormatError(f"{declared}, but more follow: the file is damaged, or not IDX; fetch it again")
    try:
        # The bytearray is writable, so its array is too; other byte orders are copied.
        return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    except (ValueError, OverflowError) as error:
        # Too many dimensions, or a product that overflows beside a dimension of zero.
        raise FileFormatError(f"{declared}: NumPy cannot hold an array of this shape ({error})") from error


def _read_header(file: BinaryIO, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = _read_at_most(file, 4)
    if len(magic) < 4 or magic[0] or magic[1] or magic[2] not in _DTYPES:
        raise FileFormatError(
            f"{name!r} is not an IDX file: it begins with the bytes [{magic.hex(' ')}], expected 00 00, "
            f"one of {', '.join(f'{code:02x}' for code in _DTYPES)}, and the rank; check that it is the "
            "right file"
        )
    rank = magic[3]
    dims = _read_at_most(file, 4 * rank)
    if len(dims) < 4 * rank:
        raise FileFormatError(
            f"{name!r}: the header declares {rank} dimensions, {4 * rank} bytes, but {len(dims)} follow: "
            "the file is truncated; fetch it again"
        )
    return np.dtype(_DTYPES[magic[2]]), tuple(int(d) for d in np.frombuffer(dims, ">u4"))


def _read_at_most(file: BinaryIO, n_bytes: int) -> bytearray:
    """Read `n_bytes`, fewer at the end of the file; memory grows with the data that are there."""
    data = bytearray()
    while len(data) < n_bytes:
        chunk = file.read(min(_CHUNK, n_bytes - len(data)))
        if not chunk:
            break
        data += chunk
    return data


def _short(shape: tuple[int, ...]) -> str:
    return (
        str(shape) if len(shape) <= 8 else f"({', '.join(map(str, shape[:8]))}, …; {len(shape)} dimensions)"
    )

"""The MNIST data set: found on this machine, or fetched from a public mirror when asked to."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import secrets
import sys
import time
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DownloadError, FileFormatError, InvalidTypeError, NotFoundError
from .idx import read_idx

Split = tuple[NDArray[np.uint8], NDArray[np.int64]]


class _File(NamedTuple):
    name: str
    size: int  # unpacked, in bytes
    md5: str  # of the unpacked content


_FILES = (
    _File("train-images-idx3-ubyte", 47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    _File("train-labels-idx1-ubyte", 60_008, "a25bea736e30d166cdddb491f175f624"),
    _File("t10k-images-idx3-ubyte", 7_840_016, "2646ac647ad5339dbf082846283269ea"),
    _File("t10k-labels-idx1-ubyte", 10_008, "27ae3e4e09519cfbb04c329615203637"),
)
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_MAX_DOWNLOAD = 16 << 20  # bytes; the largest file, gzipped, has 9.6 million
_TIMEOUT = 30.0  # seconds without an answer
_DEADLINE = 600.0  # seconds for a file
_CHUNK = 1 << 16


def load_mnist(
    folder: str | os.PathLike[str] | None = None, *, download: bool = False
) -> tuple[Split, Split]:
    """Load MNIST, 70,000 images of handwritten digits.

    Parameters
    ----------
    folder : str or path-like, optional
        Where the four IDX files are, gzipped or not (``train-images-idx3-ubyte``,
        ``train-images-idx3-ubyte.gz``, ``train-images.idx3-ubyte``, …). By default the first of these that
        holds all four: ``$HOTLOOP_DATA/mnist``, then ``hotloop/mnist`` in the user's cache
        (``$XDG_CACHE_HOME``, else ``~/.cache``; on Windows ``%LOCALAPPDATA%``).
    download : bool, default False
        Fetch what is missing, 12 MB in all, into `folder`, or into the first of the places above. Nothing
        is fetched where the files are there already.

    Returns
    -------
    (X_train, y_train), (X_test, y_test)
        X : ndarray of uint8, shape (60000, 784) and (10000, 784): images of 28 × 28 pixels, row by row, 0
        for paper and 255 for ink. y : ndarray of int64, shape (60000,) and (10000,): the digits, 0 to 9.

    Raises
    ------
    NotFoundError
        A file is missing, and `download` is false.
    DownloadError
        A file could not be fetched, or not stored; nothing incomplete is left behind.
    FileFormatError
        A file is damaged, or holds no images of 28 × 28 bytes or no labels 0 to 9 for them.
    InvalidTypeError
        `folder` is not a path.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86(11), 1998. Files: http://yann.lecun.com/exdb/mnist/.

    Examples
    --------
    >>> import hotloop as hl
    >>> (X_train, y_train), (X_test, y_test) = hl.data.load_mnist(download=True)  # doctest: +SKIP
    >>> X_train.shape, y_train[:5]  # doctest: +SKIP
    ((60000, 784), array([5, 0, 4, 1, 9]))
    """
    places = _places(folder)
    for place in places:
        paths = [_find(place, file) for file in _FILES]
        found = [path for path in paths if path is not None]
        if len(found) == len(_FILES):
            return _read_all(found)
    if not download:
        raise NotFoundError(_not_found_message(places))
    return _read_all([_find(places[0], file) or _download(file, places[0]) for file in _FILES])


def _places(folder: str | os.PathLike[str] | None) -> list[Path]:
    """Folders to look in, in this order."""
    if folder is not None:
        try:
            return [Path(os.fsdecode(folder))]
        except TypeError:
            raise InvalidTypeError(
                f"folder must be a string, a path or None, got {type(folder).__name__}"
            ) from None
    data = os.environ.get("HOTLOOP_DATA")
    cache = _cache() / "hotloop" / "mnist"
    return [Path(data) / "mnist", cache] if data else [cache]


def _cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or os.path.expanduser("~/AppData/Local"))
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))


def _find(place: Path, file: _File) -> Path | None:
    """The path of `file` in the folder `place`, in one of the spellings in use, or None."""
    dotted = file.name.replace("-idx", ".idx")
    candidates = (place / (name + suffix) for name in (file.name, dotted) for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _not_found_message(places: list[Path]) -> str:
    lines = ["MNIST was not found. Looked for its four IDX files, gzipped or not, in"]
    for place in places:
        missing = [file.name for file in _FILES if _find(place, file) is None]
        lines.append(f"  {place} (missing: {', '.join(missing)})")
    lines.append(
        "Call load_mnist(download=True) to fetch them, set HOTLOOP_DATA to a folder that holds mnist/, or "
        "take hotloop.data.synthetic_digits, which needs no files."
    )
    return "\n".join(lines)


def _read_all(paths: list[Path]) -> tuple[Split, Split]:
    X_train, y_train, X_test, y_test = paths
    return _read_split(X_train, y_train), _read_split(X_test, y_test)


def _read_split(images_path: Path, labels_path: Path) -> Split:
    X, y = read_idx(images_path), read_idx(labels_path)
    if X.dtype != np.uint8 or X.ndim != 3 or X.shape[1:] != (28, 28):
        raise FileFormatError(
            f"{str(images_path)!r} holds {_describe(X)}, expected uint8 of shape (n, 28, 28)"
        )
    if y.dtype != np.uint8 or y.ndim != 1:
        raise FileFormatError(f"{str(labels_path)!r} holds {_describe(y)}, expected uint8 of shape (n,)")
    if len(X) != len(y):
        raise FileFormatError(
            f"{str(images_path)!r} holds {len(X)} images but {str(labels_path)!r} holds {len(y)} labels; "
            "they do not belong together: fetch both again"
        )
    if (y > 9).any():
        raise FileFormatError(f"{str(labels_path)!r} holds the label {y.max()}, expected digits from 0 to 9")
    return X.reshape(len(X), 28 * 28), y.astype(np.int64)


def _describe(array: NDArray[Any]) -> str:
    return f"{array.dtype.name} of shape {array.shape}"


def _download(file: _File, folder: Path) -> Path:
    """Fetch `file` from the first mirror that has it whole, and store it, gzipped, in `folder`."""
    failures = []
    for mirror in _MIRRORS:
        url = f"{mirror}{file.name}.gz"
        try:
            packed = _fetch(url)
            _verify(packed, file)
        except DownloadError as error:
            failures.append(f"  {url}: {error}")
        else:
            return _store(packed, folder / f"{file.name}.gz")
    raise DownloadError(
        "\n".join([f"{file.name} could not be fetched:", *failures])
        + f"\nCheck the network, or bring the file by other means and put it into {folder}."
    )


def _fetch(url: str) -> bytes:
    # Imported here: it costs more than the rest of this package.
    import http.client
    import urllib.request

    deadline = time.monotonic() + _DEADLINE
    packed = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
            while chunk := response.read(_CHUNK):
                packed += chunk
                if len(packed) > _MAX_DOWNLOAD:
                    raise DownloadError(f"it sent more than {_MAX_DOWNLOAD} bytes, too much for this file")
                if time.monotonic() > deadline:
                    raise DownloadError(f"it took longer than {_DEADLINE:.0f} s")
    except DownloadError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{type(error).__name__}: {error}") from error
    return bytes(packed)


def _verify(packed: bytes, file: _File) -> None:
    """Unpack, to at most the size that `file` has, and compare the checksum."""
    digest = hashlib.md5(usedforsecurity=False)
    left = file.size + 1
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as unpacked:
            while left and (chunk := unpacked.read(min(_CHUNK, left))):
                digest.update(chunk)
                left -= len(chunk)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DownloadError(f"what it sent is no gzip file, or a damaged one ({error})") from error
    if digest.hexdigest() != file.md5:
        raise DownloadError(f"the md5 of what it sent is {digest.hexdigest()}, expected {file.md5}")


def _store(content: bytes, path: Path) -> Path:
    """Write beside and rename, so that no reader ever meets half a file."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(content)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(
            f"{path.name} was fetched but could not be stored: {error}; pass a folder that can be written to"
        ) from error
    return path

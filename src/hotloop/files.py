"""Model files: safetensors with hotloop's metadata, written whole or not at all, read with suspicion."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hotloop.errors import FileFormatError, NotFoundError

__all__ = ["TensorFile", "read_tensors", "write_tensors"]

FORMAT = {"format": "hotloop", "version": "1"}
DTYPES = {"F32": np.dtype("float32"), "F64": np.dtype("float64")}


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: dict[str, str]) -> None:
    """Write beside `path`, then rename: a kill at any moment leaves one whole file."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            file.write(save(contiguous, metadata=FORMAT | metadata))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()


class TensorFile:
    """An open safetensors file; whatever is wrong with it becomes a `FileFormatError`."""

    def __init__(self, path: Path, handle: Any):
        self._path, self._handle = path, handle
        self._metadata: dict[str, str] = handle.metadata() or {}
        if self._metadata.get("format") != FORMAT["format"]:
            raise self._error("it is a safetensors file, but not one that hotloop wrote")
        if self._metadata.get("version") != FORMAT["version"]:
            raise self._error(
                f"it has format version {self._metadata.get('version')!r}, this hotloop reads "
                f"{FORMAT['version']!r}; update hotloop"
            )

    def _error(self, what: str) -> FileFormatError:
        return FileFormatError(f"{self._path}: cannot be loaded: {what}")

    @contextlib.contextmanager
    def complaints(self, what: str) -> Iterator[None]:
        """Turn the ways in which Python objects to odd values into a `FileFormatError`."""
        try:
            yield
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise self._error(f"{what} ({type(error).__name__}: {error})") from error

    def metadata_json(self, key: str) -> dict[str, Any]:
        """The object that metadata `key` holds."""
        with self.complaints(f"its metadata {key!r} is damaged"):
            value = json.loads(self._metadata[key])
            if not isinstance(value, dict):
                raise TypeError(f"expected an object, found {type(value).__name__}")
            return value

    def check_tensors(
        self, shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any], but: tuple[str, ...] = ()
    ) -> None:
        """Raise unless the file holds exactly these tensors, of this dtype.

        Tensors whose names start with one of `but` are somebody else's.
        """
        names = {name for name in self._handle.keys() if not name.startswith(but)}  # noqa: SIM118
        if names != set(shapes):
            raise self._error(
                f"its tensors do not fit its architecture: missing {sorted(set(shapes) - names)}, "
                f"unknown {sorted(names - set(shapes))}"
            )
        for name, shape in shapes.items():
            entry = self._handle.get_slice(name)
            found = tuple(entry.get_shape()), DTYPES.get(entry.get_dtype())
            if found != (shape, dtype):
                raise self._error(
                    f"tensor {name!r} has shape {found[0]} and type {entry.get_dtype()}, its architecture "
                    f"needs {shape} and {dtype}"
                )

    def tensor(self, name: str) -> NDArray[Any]:
        """The values of one tensor."""
        return np.asarray(self._handle.get_tensor(name))


@contextlib.contextmanager
def read_tensors(path: Path) -> Iterator[TensorFile]:
    """Open a file that `write_tensors` wrote."""
    if not path.exists():
        raise NotFoundError(f"{path}: no such file; save a model there first, or correct the path")
    try:
        handle = safe_open(path, framework="numpy")
    except (SafetensorError, OSError, ValueError) as error:
        raise FileFormatError(
            f"{path}: cannot be loaded: it is not a safetensors file, or it is damaged ({error})"
        ) from error
    with handle:
        yield TensorFile(path, handle)

"""The folders of compiled kernels: what is in them, and the removal of those that nobody uses any more.

Each state of the sources, of Python, numba and the processor has a folder of its own, so an update leaves
the one before behind. Several processes may look, write and remove at the same time: what has gone
meanwhile is passed over, and a process whose folder is removed only compiles again.
"""

import contextlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["UNUSED_DAYS", "Contents", "can_write", "contents", "kernel_folders", "remove", "remove_unused"]

UNUSED_DAYS = 30
"""A folder that no process has used for so long is removed."""

DAY = 86_400.0


@dataclass(frozen=True)
class Contents:
    """How many kernels a folder has, whole or as parts, each with its types, and the bytes of all files."""

    kernels: int
    size: int


def kernel_folders(root: Path) -> list[Path]:
    """All folders of compiled kernels in `root`."""
    return sorted(path for path in root.glob("kernels-*") if path.is_dir())


def can_write(folder: Path) -> bool:
    """Whether files can be written to `folder`, which is made if need be, and marked as in use today."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        os.utime(folder)
    except OSError:
        return False
    return True


def contents(folder: Path) -> Contents:
    """What is in a folder of compiled kernels."""
    kernels = size = 0
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
            kernels += path.suffix == ".nbc"  # numba's name for compiled code; .nbi is an index of it
    return Contents(kernels, size)


def remove_unused(root: Path, current: Path) -> None:
    """Remove the folders in `root` but the `current` one that no process has used for `UNUSED_DAYS`."""
    limit = time.time() - UNUSED_DAYS * DAY
    for folder in kernel_folders(root):
        with contextlib.suppress(OSError):
            if folder != current and folder.stat().st_mtime < limit:
                remove(folder)


def remove(folder: Path) -> None:
    """Remove a folder of compiled kernels, as far as that is possible."""
    shutil.rmtree(folder, ignore_errors=True)

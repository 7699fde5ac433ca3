"""`warmup`: fill the cache of compiled kernels, so that no later first call compiles."""

import dataclasses
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotloop._checks import check_choice, check_dtype, check_flag
from hotloop._jit import COMPILED, TALLY, cache_folder, cache_root
from hotloop.errors import CacheError, InvalidTypeError, InvalidValueError
from hotloop.folders import can_write
from hotloop.progress import bar
from hotloop.warming_runs import RUNS

__all__ = ["CacheReport", "warmup"]


@dataclass(frozen=True)
class CacheReport:
    """What `warmup` did.

    Attributes
    ----------
    folder : Path
        Where the kernels are.
    compiled : int
        Kernels that were compiled and are kept there now, each with one set of types; one that Python
        calls, and other kernels too, counts twice.
    loaded : int
        Kernels that were there already.
    seconds : float
        What it took.

    Examples
    --------
    >>> import hotloop as hl
    >>> report = hl.warmup(dtypes=["float32"])
    >>> report.compiled + report.loaded >= 0 and report.folder.is_dir()
    True
    """

    folder: Path
    compiled: int
    loaded: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.compiled} kernels compiled, {self.loaded} already there, in {self.seconds:.1f} s; "
            f"kept in {self.folder}"
        )


def warmup(
    what: str = "usual", *, dtypes: Iterable[str] = ("float32", "float64"), progress: bool = False
) -> CacheReport:
    """Fill the cache of compiled kernels, so that later processes compile nothing.

    For images, continuous integration and classrooms; ``python -m hotloop warmup`` is the same on the
    command line. The cache holds for this version of hotloop, Python and numba, and for this kind
    of processor: ``docs/warm-cache.md``.

    Parameters
    ----------
    what : {"usual", "all"}, default "usual"
        "usual": training, evaluation and prediction with what is part of the loop (dense layers, relu, tanh
        and sigmoid, softmax cross-entropy, mse), and with `SGD`, `Adam` and its kin. "all": every optimizer,
        loss, activation, layer and penalty, second derivatives and Jacobians, and, where scikit-learn is
        installed, the estimators.
    dtypes : iterable of str, default ("float32", "float64")
        The dtypes of the models.
    progress : bool, default False
        Whether to show a progress bar on stderr.

    Returns
    -------
    CacheReport
        With `folder`, `compiled`, `loaded` and `seconds`.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.
    CacheError
        If no cache can be written, or the JIT is off.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.warmup(dtypes=["float32"]).folder.name[:8]
    'kernels-'
    """
    check_choice(what, "what", RUNS)
    check_flag(progress, "progress")
    folder = _writable_folder()
    runs = [run for dtype in _check_dtypes(dtypes) for run in RUNS[what](dtype)]
    before, started = dataclasses.replace(TALLY), time.perf_counter()
    with bar(runs, shown=progress, unit=" runs") as shown:
        for label, run in shown:
            shown.set_description(label)
            run()
    if TALLY.lost > before.lost:
        raise CacheError(
            f"{TALLY.lost - before.lost} of {TALLY.compiled - before.compiled} kernels could not be written "
            f"to {folder}; is the disk full?"
        )
    return CacheReport(
        folder=folder,
        compiled=TALLY.compiled - before.compiled,
        loaded=TALLY.loaded - before.loaded,
        seconds=time.perf_counter() - started,
    )


def _check_dtypes(dtypes: Any) -> list[str]:
    if isinstance(dtypes, str) or not isinstance(dtypes, Iterable):
        raise InvalidTypeError(f'dtypes: expected a list such as ["float32"], got {dtypes!r}')
    found = [check_dtype(dtype, "dtypes").name for dtype in dtypes]
    if not found:
        raise InvalidValueError('dtypes: is empty; give at least one, for example ["float32"]')
    return found


def _writable_folder() -> Path:
    if not COMPILED:
        raise CacheError("NUMBA_DISABLE_JIT is set, so there is nothing to compile; unset it")
    folder = cache_folder()
    if folder is None or not can_write(folder):
        raise CacheError(
            f"the cache of compiled kernels, {folder or cache_root()}, cannot be written; "
            "set NUMBA_CACHE_DIR to a folder that can"
        )
    return folder

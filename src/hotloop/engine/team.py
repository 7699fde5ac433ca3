"""One program, many threads: a barrier, each thread's share of a range, and rows that are passed on.

Every thread of a team runs the same kernel with its own `tid`. The threads meet at `barrier`, an
atomic counter: whoever arrives last opens it for all. Between two barriers a thread says how many rows it
has done (`pass_on`), for others to wait for. Waiting spins for a moment, then yields the
processor, so a team on a busy machine slows down but never holds others up.
"""

import copy
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from hotloop._checks import check_integer
from hotloop._jit import COMPILED, THREADS, cgutils, intrinsic, kernel, types

__all__ = [
    "Crew",
    "Team",
    "barrier",
    "check_threads",
    "has_passed",
    "pass_on",
    "share",
    "sync_zeros",
    "wait_for",
]

# What threads tell each other: how many have arrived at the barrier, the number of the round, whether the
# team gave up, and, for each thread, the rows that it passed on. A cache line and its neighbour apart, since
# all threads look at the round while others arrive.
APART = 16
ARRIVED, ROUND, GIVEN_UP, PASSED = 0, APART, 2 * APART, 3 * APART
ROW_BITS = 16
"""Rows, fewer than 2¹⁶, are noted behind the number of the round: those of earlier rounds do not count."""
SPINS = 2000
"""Looks at the round before the processor is yielded: some microseconds, the length of a short wait."""
LIMIT = "NUMBA_NUM_THREADS"
TOO_MANY = 1025
"""From so many threads on, the number is taken for a mistake: to start some thousands takes minutes, or ends
the process. It is not counted in this machine's processors, so a checkpoint loads anywhere."""


class Crew(NamedTuple):
    """A thread and its team, as kernels pass them on."""

    tid: int
    n_threads: int
    sync: NDArray[np.int64]


def sync_zeros(n_threads: int) -> NDArray[np.int64]:
    """What so many threads tell each other, at the start."""
    return np.zeros(PASSED + n_threads * APART, np.int64)


def check_threads(n_threads: int | None) -> int:
    """`n_threads` as a number; None means one for each processor that is free for this process.

    As numba counts them: not more than ``NUMBA_NUM_THREADS``, if that is set. joblib sets it in its worker
    processes, to their share of the processors; its worker threads have one processor each.
    """
    if n_threads is not None:
        return check_integer(n_threads, "n_threads", low=1, below=TOO_MANY)
    if _is_worker() and not (_is_main() and LIMIT in os.environ):
        return 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, THREADS)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _is_worker() -> bool:
    """Whether joblib, if it is there at all, runs this code beside other jobs."""
    joblib = sys.modules.get("joblib.parallel")
    return joblib is not None and (joblib.get_active_backend()[0].nesting_level or 0) > 0


class Team:
    """Some threads that run the same kernel at the same time, each with its own `tid`.

    A context manager: the threads live as long as it. A team of one is the calling thread. In plain
    Python (JIT off) every team is one: results are the same for any number.
    """

    def __init__(self, n_threads: int):
        self.n_threads = n_threads if COMPILED else 1
        self._sync = sync_zeros(self.n_threads)
        self._pool = ThreadPoolExecutor(self.n_threads - 1, "hotloop") if self.n_threads > 1 else None

    def __enter__(self) -> "Team":
        if self._pool is not None:
            # Start all threads now, so that none is missing when the others wait at a barrier.
            all_here = threading.Barrier(self.n_threads)
            try:
                for _ in range(self.n_threads - 1):
                    self._pool.submit(all_here.wait)
                all_here.wait()
            except BaseException:
                all_here.abort()
                self._pool.shutdown(wait=False)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def part(self, n_threads: int) -> "Team":
        """A team of fewer of the same threads; it lives as long as this one."""
        part = copy.copy(self)
        part.n_threads = n_threads
        if n_threads == 1:
            part._pool = None
        return part

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """``function(*args, tid, n_threads, sync)`` on every thread; returns what thread 0 returns."""
        return self.run_each(function, *args)[0]

    def run_each(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """`run`, and what every thread returns."""
        if self._pool is None:
            return [function(*args, 0, 1, self._sync)]
        others, returned = [], []
        try:
            for tid in range(1, self.n_threads):
                others.append(self._pool.submit(self._run_one, function, args, tid))
            returned.append(self._run_one(function, args, 0))
        finally:
            if len(others) < self.n_threads - 1:
                self._sync[GIVEN_UP] = 1
            returned += [other.result() for other in others]
        return returned

    def _run_one(self, function: Callable[..., Any], args: tuple[Any, ...], tid: int) -> Any:
        try:
            return function(*args, tid, self.n_threads, self._sync)
        except BaseException:
            self._sync[GIVEN_UP] = 1  # nobody may wait for a thread that will not come
            raise


@kernel
def share(n, grain, tid, n_threads):
    """Thread `tid`'s part [lo, hi) of range(n), in whole grains."""
    if n_threads == 1:
        return 0, n
    grains = (n + grain - 1) // grain
    lo = grains * tid // n_threads * grain
    hi = grains * (tid + 1) // n_threads * grain
    return min(lo, n), min(hi, n)


@kernel
def barrier(sync, n_threads):
    """Wait until all `n_threads` threads are here. What they wrote before is visible to all after."""
    if n_threads == 1:
        return
    current = atomic_load(sync, ROUND)
    if atomic_add(sync, ARRIVED, 1) == n_threads - 1:
        atomic_store(sync, ARRIVED, 0)
        atomic_add(sync, ROUND, 1)
        return
    wait_until(sync, ROUND, current + 1)


@kernel
def wait_until(sync, which, least):
    """Wait until a number of `sync` is `least` or more."""
    spins = 0
    while atomic_load(sync, which) < least and atomic_load(sync, GIVEN_UP) == 0:
        spins += 1
        if spins > SPINS:
            yield_processor()


@kernel
def pass_on(crew, rows):
    """Say that this thread has done so many rows since the last barrier; what it wrote to them is visible."""
    atomic_store(crew.sync, PASSED + crew.tid * APART, rows_of_round(crew, rows))


@kernel
def has_passed(crew, tid, rows):
    """Whether thread `tid` has passed on so many rows."""
    return atomic_load(crew.sync, PASSED + tid * APART) >= rows_of_round(crew, rows)


@kernel
def wait_for(crew, tid, rows):
    """Wait until thread `tid` has passed on so many rows."""
    wait_until(crew.sync, PASSED + tid * APART, rows_of_round(crew, rows))


@kernel
def rows_of_round(crew, rows):
    """As `pass_on` notes them."""
    return (atomic_load(crew.sync, ROUND) << ROW_BITS) + rows


def _element(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def _atomic_add(typing_context, array, index, value):
    def codegen(context, builder, signature, args):
        where = _element(context, builder, signature.args[0], args[0], args[1])
        return builder.atomic_rmw("add", where, args[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), codegen


def _atomic_load(typing_context, array, index):
    def codegen(context, builder, signature, args):
        where = _element(context, builder, signature.args[0], args[0], args[1])
        return builder.load_atomic(where, "seq_cst", 8)

    return types.int64(array, types.int64), codegen


def _atomic_store(typing_context, array, index, value):
    def codegen(context, builder, signature, args):
        where = _element(context, builder, signature.args[0], args[0], args[1])
        builder.store_atomic(args[2], where, "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), codegen


def _yield_processor(typing_context):
    # Both are in every process: libc's, and kernel32's on Windows.
    name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"

    def codegen(context, builder, signature, args):
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.IntType(32), []), name)
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), codegen


if COMPILED:
    atomic_add, atomic_load = intrinsic(_atomic_add), intrinsic(_atomic_load)
    atomic_store, yield_processor = intrinsic(_atomic_store), intrinsic(_yield_processor)
else:

    def _unreachable(*args: Any) -> int:
        """Plain Python runs with one thread: results are the same for any number."""
        raise AssertionError("a barrier of one thread waits for nobody")

    def atomic_load(array: NDArray[np.int64], index: int) -> int:
        """array[index]."""
        return int(array[index])

    def atomic_store(array: NDArray[np.int64], index: int, value: int) -> None:
        """array[index] = value."""
        array[index] = value

    atomic_add = yield_processor = _unreachable

"""The pace of a fit: how many minibatches and threads a block has, and the memory it is staged in."""

import math

from hotloop.data.staging import BLOCK_BYTES, Samples
from hotloop.engine.table import Net
from hotloop.engine.team import Team
from hotloop.progress import Progress
from hotloop.sequential import Sequential

__all__ = ["EPOCHS", "FORWARD_FLOPS", "Session", "Threads", "batches_a_block", "threads_for"]

BLOCK_SECONDS = 0.1
"""About how long a block runs: short enough for Ctrl-C and the bar, long enough to pay for Python. That finds
nothing of its own in the caches any more, and takes most of a millisecond."""
KEPT_BYTES, LONGEST = 8 << 20, 5
"""A block begins with a copy of what training changes, which for so many bytes takes about a hundredth of it;
for more it runs longer in proportion, up to so many times."""

EPOCHS = 64
"""The most epochs of a block: what Python does once a block is little then."""

FORWARD_FLOPS, STEP_FLOPS = 2, 6
"""Arithmetic of a row for each parameter: multiply and add, once in prediction, three times in a step."""
WORTH_A_THREAD = 2e7
"""Floating-point operations of a step that are worth a thread: some 200 µs, a tenth of it spent waiting."""
FIRST_ASKED, ASKED_EVERY = (4, 8, 16, 32), 64
"""The blocks that ask what another number of threads would take."""
SLOW_MACHINE = 1e10
"""Floating-point operations a second that any machine does: the pace before anything was measured."""


def batches_a_block(model: Sequential, samples: Samples, batch_size: int, flops: int) -> int:
    """Batches that should take about `BLOCK_SECONDS` and fit a block, before anything was measured.

    `flops` is the arithmetic of a row for each parameter.
    """
    by_time = BLOCK_SECONDS * SLOW_MACHINE / (flops * max(model.theta.size, 1) * batch_size)
    by_size = BLOCK_BYTES / (samples.row_bytes(model.dtype) * batch_size)
    return max(1, int(min(by_time, by_size)))


class Threads:
    """How many threads run a block: what its work is worth, then what took the least time.

    The results are those of any number. For a step of some microseconds the threads wait for each other,
    and for what the other has in its cache, longer than they work; on a busy machine they wait for others.
    What is found out outlives a fit: many short ones learn what a long one does.
    """

    def __init__(self, most: int, flops: float):
        self.work = most, flops
        self._counts = [most]
        while most > 1:
            most //= 2
            self._counts.append(most)
        self._best = next((n for n in self._counts if n * WORTH_A_THREAD <= flops), 1)
        self._seconds = dict.fromkeys(self._counts, math.inf)
        self._last_run = dict.fromkeys(self._counts, -1)
        self._blocks = 0

    @property
    def seconds(self) -> float:
        """What a step takes; infinite before anything was measured."""
        return self._seconds[self._best]

    @property
    def is_asking(self) -> bool:
        """Whether the next block asks what another number of threads would take: now and then."""
        now = self._blocks in FIRST_ASKED or self._blocks % ASKED_EVERY == ASKED_EVERY - 1
        return now and len(self._counts) > 1

    def of_next_block(self) -> int:
        """The quickest so far, or another, the one that ran the longest time ago."""
        if not self.is_asking:
            return self._best
        return min((n for n in self._counts if n != self._best), key=self._last_run.__getitem__)

    def took(self, n_threads: int, seconds: float) -> None:
        """Note what a step took; what was quick once counts for less with time."""
        self._seconds[n_threads] = min(seconds, 1.1 * self._seconds[n_threads])
        self._last_run[n_threads] = self._blocks
        self._blocks += 1
        self._best = min(self._counts, key=self._seconds.__getitem__)


def threads_for(model: Sequential, batch_size: int, most: int, before: Threads | None) -> Threads:
    """Those of the fit before, if its steps had as much work."""
    work = most, STEP_FLOPS * model.theta.size * batch_size
    return before if before is not None and before.work == work else Threads(*work)


class Session:
    """What lives as long as one fit: the staged block, the network's memory, and the pace."""

    bar: Progress

    def __init__(
        self, model: Sequential, net: Net, samples: Samples, batch_size: int, team: Team, threads: Threads,
        kept_bytes: int, epochs: int, shuffle: bool,
    ):  # fmt: skip
        self.net = net
        self.samples, self.batch_size, self.team = samples, batch_size, team
        self.steps_per_epoch = -(-len(samples) // batch_size)
        room = max(1, BLOCK_BYTES // (samples.row_bytes(model.dtype) * batch_size))
        longest = self.steps_per_epoch * min(epochs, EPOCHS)
        # In the same order, the rows of an epoch serve those after it.
        repeats = not shuffle and self.steps_per_epoch <= room
        self._most_steps = longest if repeats else min(longest, room)
        self._seconds = BLOCK_SECONDS * min(max(kept_bytes / KEPT_BYTES, 1), LONGEST)
        self._steps_to_ask = min(self._most_steps, batches_a_block(model, samples, batch_size, STEP_FLOPS))
        self._steps = self._steps_to_ask
        if math.isfinite(threads.seconds):
            self._steps = self._steps_that_take(threads.seconds)
        self._threads = threads
        steps_staged = self.steps_per_epoch if repeats else self._most_steps
        self.block = samples.empty_block(steps_staged * batch_size, model.dtype)

    def epochs_of_next_block(self, most: int) -> int:
        """As many whole epochs as a block should have, up to `most`; 1 also where it has less than one."""
        return max(1, min(self._steps_of_next_block() // self.steps_per_epoch, most))

    def rows_of_next_block(self) -> int:
        """Rows of as many steps as a block should have."""
        return self._steps_of_next_block() * self.batch_size

    def _steps_of_next_block(self) -> int:
        """What the pace says; fewer, to ask for other threads."""
        return min(self._steps, self._steps_to_ask) if self._threads.is_asking else self._steps

    def team_of_next_block(self) -> Team:
        """As many of the threads as are quickest."""
        n_threads = self._threads.of_next_block()
        return self.team if n_threads == self.team.n_threads else self.team.part(n_threads)

    def took(self, team: Team, seconds: float, steps: int) -> None:
        """Adapt to the time that a block took: at most four times as many steps as before."""
        was_asking = self._threads.is_asking
        self._threads.took(team.n_threads, seconds / steps)
        if was_asking:
            return
        self._steps = min(self._steps_that_take(seconds / steps), 4 * self._steps)

    def _steps_that_take(self, seconds: float) -> int:
        """How many steps of so many seconds each make a block."""
        return max(1, min(int(self._seconds / max(seconds, 1e-9)), self._most_steps))

"""The pace of a fit: how many minibatches and threads a block has, and the memory it is staged in."""

import math

from hotloop.data.staging import BLOCK_BYTES, Samples
from hotloop.engine.table import Net
from hotloop.engine.team import Team
from hotloop.progress import Progress
from hotloop.sequential import Sequential

__all__ = ["FORWARD_FLOPS", "Session", "batches_a_block"]

BLOCK_SECONDS = 0.03
"""About how long a block runs: short enough for Ctrl-C and the bar, long enough to pay for Python."""

FORWARD_FLOPS, STEP_FLOPS = 2, 6
"""Arithmetic of a row for each parameter: multiply and add, once in prediction, three times in a step."""
ROUNDS, ASK_AGAIN = 2, 32
"""How often each number of threads is timed at first, and after how many blocks another one again."""
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
    """How many threads run a block: those that took the least time. The results are those of any number.

    For a step of some microseconds the threads wait for each other longer than they work, and on a busy
    machine they wait for others.
    """

    def __init__(self, most: int):
        self._counts = [most]
        while most > 1:
            most //= 2
            self._counts.append(most)
        self._seconds = dict.fromkeys(self._counts, math.inf)
        self._blocks = 0

    def of_next_block(self) -> int:
        """At first each in turn, and later one of the others now and then."""
        turn, of_others = divmod(self._blocks, ASK_AGAIN)
        if self._blocks < ROUNDS * len(self._counts):
            return self._counts[self._blocks % len(self._counts)]
        best = min(self._counts, key=self._seconds.__getitem__)
        return best if of_others else self._counts[turn % len(self._counts)]

    def took(self, n_threads: int, seconds: float) -> None:
        """Note what a step took; what was quick once counts for less with time."""
        self._blocks += 1
        self._seconds[n_threads] = min(seconds, 1.1 * self._seconds[n_threads])


class Session:
    """What lives as long as one fit: the staged block, the network's memory, and the pace."""

    bar: Progress

    def __init__(self, model: Sequential, net: Net, samples: Samples, batch_size: int, team: Team):
        self.net = net
        self.samples, self.batch_size, self.team = samples, batch_size, team
        self._threads = Threads(team.n_threads)
        steps = -(-len(samples) // batch_size)
        most = BLOCK_BYTES // (samples.row_bytes(model.dtype) * batch_size)
        self._most_steps = max(1, min(steps, most))
        self._steps = min(self._most_steps, batches_a_block(model, samples, batch_size, STEP_FLOPS))
        self.block = samples.empty_block(self._most_steps * batch_size, model.dtype)

    def rows_of_next_block(self) -> int:
        """Rows of as many steps as should take `BLOCK_SECONDS`."""
        return self._steps * self.batch_size

    def team_of_next_block(self) -> Team:
        """As many of the threads as are quickest."""
        n_threads = self._threads.of_next_block()
        return self.team if n_threads == self.team.n_threads else self.team.part(n_threads)

    def took(self, team: Team, seconds: float, steps: int) -> None:
        """Adapt to the time that a block took: at most four times as many steps as before."""
        self._threads.took(team.n_threads, seconds / steps)
        wanted = BLOCK_SECONDS * steps / max(seconds, 1e-9)
        self._steps = max(1, min(int(wanted), 4 * self._steps, self._most_steps))

"""`Evaluation`: the mean loss of a model over some data, as often as it is asked for."""

import time

import numpy as np
from numpy.typing import NDArray

from hotloop.custom import with_own_loss
from hotloop.data.staging import Samples
from hotloop.engine.loop import Block, evaluate_block
from hotloop.engine.table import PREDICTION
from hotloop.engine.team import Team
from hotloop.interrupt import InterruptFlag
from hotloop.losses import Loss, criterion_of
from hotloop.prediction import BATCH
from hotloop.sequential import Sequential
from hotloop.session import FORWARD_FLOPS, Threads, batches_a_block

__all__ = ["Evaluation"]


class Evaluation:
    """What an evaluation needs beside the weights: it is made once, and serves each epoch.

    (On small data, to make it took several times as long as to use it.) The data are staged anew each time,
    as those of training are: whoever changes them in between is followed.
    """

    def __init__(self, model: Sequential, loss: Loss, samples: Samples, team: Team):
        self.samples = samples
        self._model, self._loss, self._team = model, loss, team
        n = len(samples)
        self._threads = Threads(team.n_threads, FORWARD_FLOPS * model.theta.size * min(BATCH, n))
        self._net = model.bind(min(BATCH, n), team.n_threads)
        self._criterion = criterion_of(loss, model.dtype)
        self._rows = min(n, BATCH * batches_a_block(model, samples, BATCH, FORWARD_FLOPS))
        self._block = samples.empty_block(self._rows, model.dtype)
        self._total_weight = samples.total_weight

    def totals(self, interrupt: InterruptFlag | None = None) -> tuple[float, float, float]:
        """Σ weight · loss, Σ weight · hit and Σ weight: of a part of the data, if it was interrupted.

        They do not depend on the number of threads.
        """
        n, rows, sums = len(self.samples), self._rows, np.zeros(2)
        team, started = self._team.part(self._threads.of_next_block()), time.perf_counter()
        for first in range(0, n, rows):
            self._add(self._part(first, min(first + rows, n)), sums, team)
            if interrupt is not None and interrupt.raised:
                break
        self._threads.took(team.n_threads, time.perf_counter() - started)
        loss, hits = sums.tolist()
        return loss, hits, self._total_weight

    def compile(self) -> None:
        """Run the loop on a single row: it compiles, or comes from the cache, before anything counts time."""
        self._add(self._part(0, 1), np.zeros(2), Team(1))

    def _part(self, first: int, last: int) -> Block:
        """Rows first:last, staged."""
        return self.samples.fill(self._block, slice(first, last))

    def _add(self, part: Block, sums: NDArray[np.float64], team: Team) -> None:
        theta, mode = self._model.theta, PREDICTION
        part = with_own_loss(self._loss, self._net, part, theta, BATCH, mode, team)
        team.run(evaluate_block, self._net, part, self._criterion, theta, BATCH, mode, sums)

"""`Stepper`: θ, the optimizer's state, and blocks of steps that stay finite."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.engine.loop import Block, Update, train_block
from hotloop.engine.table import Net, aligned_zeros
from hotloop.engine.team import Team
from hotloop.losses import Loss
from hotloop.optimizers import Optimizer
from hotloop.sequential import Sequential

__all__ = ["Stepper"]


class Stepper:
    """What of training outlives a fit: the optimizer's state and the number of steps done.

    Memory, in units of θ: its gradient, the optimizer's slots, and one copy of θ and of the slots.
    """

    def __init__(self, model: Sequential, loss: Loss, optimizer: Optimizer):
        self.steps_done = 0
        self._model, self._criterion, self._optimizer = model, loss.criterion(), optimizer
        size, slots = model.theta.size, optimizer.slots
        self._grad = aligned_zeros(size, model.dtype)
        self._state = aligned_zeros(slots * size, model.dtype).reshape(slots, size)
        # What a block started from, to go back to when it turns out not to be finite.
        self._kept_theta, self._kept_state = np.empty_like(model.theta), np.empty_like(self._state)

    @property
    def state(self) -> NDArray[Any]:
        """The optimizer's vectors, (slots, θ.size): its own memory."""
        return self._state

    def compile(self, net: Net, block: Block) -> None:
        """Run the loop on no rows: it compiles, or comes from the cache, before anything counts time."""
        self._run(net, _first_rows(block, 0, 0), np.empty((0, 1)), 1, Team(1))

    def train(
        self, net: Net, block: Block, batch_size: int, team: Team
    ) -> tuple[NDArray[np.float64], int | None]:
        """Train on the minibatches of a block.

        Returns
        -------
        sums : ndarray (steps, 3)
            Σ weight · loss, Σ weight · hit and Σ weight of each minibatch, before its update.
        failed : int or None
            The first step, from 0, that could not be done: its loss, or the weights after it, are not
            finite. θ and the optimizer's state are those from before it.
        """
        n_steps = -(-len(block.weights) // batch_size)
        scalars = self._optimizer.scalars(np.arange(self.steps_done, self.steps_done + n_steps))
        self._kept_theta[:], self._kept_state[:] = self._model.theta, self._state
        try:
            done, sums = self._run(net, block, scalars, batch_size, team)
        except BaseException:  # a second Ctrl-C, say: the block may be half done
            self._model.theta[:], self._state[:] = self._kept_theta, self._kept_state
            raise
        failed = None
        if done < n_steps or not self._is_finite():
            failed = self._return_to_finite(net, block, scalars, batch_size, team, min(done, n_steps - 1))
            done = failed
        self.steps_done += done
        return sums, failed

    def _return_to_finite(
        self, net: Net, block: Block, scalars: NDArray[np.float64], batch_size: int, team: Team, steps: int
    ) -> int:
        """Repeat the block from its start, which was finite, as far as the weights stay finite.

        Steps are reproducible bit for bit, so this finds the very weights before the failing step.
        """
        n_in = self._model.input_dim
        while True:
            self._model.theta[:], self._state[:] = self._kept_theta, self._kept_state
            part = _first_rows(block, steps * batch_size, n_in)
            self._run(net, part, scalars[:steps], batch_size, team)
            if self._is_finite() or steps == 0:
                return steps
            steps -= 1

    def _is_finite(self) -> bool:
        return bool(np.isfinite(self._model.theta).all())

    def _run(
        self, net: Net, block: Block, scalars: NDArray[np.float64], batch_size: int, team: Team
    ) -> tuple[int, NDArray[np.float64]]:
        """Call the compiled loop: how many steps were done, and the sums of each."""
        sums = np.zeros((len(scalars), 3))
        hyper = np.array(self._optimizer.hyper(), np.float64)
        update = Update(self._optimizer.code, hyper, scalars, self._state)
        done = team.run(
            train_block, net, block, self._criterion, update, self._model.theta, self._grad, batch_size, sums
        )
        return done, sums


def _first_rows(block: Block, rows: int, n_in: int) -> Block:
    return Block(block.x[: rows * n_in], block.targets[:rows], block.weights[:rows])

"""`Stepper`: θ, the optimizer's state, and blocks of steps that stay finite."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.averages import Average
from hotloop.custom import with_own_loss
from hotloop.engine.address import NOWHERE, address_of
from hotloop.engine.amx import amx_address
from hotloop.engine.clip import link_clip
from hotloop.engine.cuts import SAMPLE, fullness
from hotloop.engine.direct import link_direct
from hotloop.engine.loop import SUMS, Block, Update, train_block
from hotloop.engine.memory import AVERAGE, GRADIENT, SLOTS, placed_copy, placed_rows, placed_zeros
from hotloop.engine.penalise import link_penalties
from hotloop.engine.relay import link_relay
from hotloop.engine.single import link_single
from hotloop.engine.table import PRODUCT, Mode, Net, mask_seed
from hotloop.engine.team import Team
from hotloop.errors import InvalidValueError
from hotloop.losses import Custom, Loss, criterion_of
from hotloop.optimizers import Optimizer
from hotloop.penalties import Nuclear, Penalty
from hotloop.planning import Plan, Plans
from hotloop.schedules import resolve
from hotloop.sequential import Sequential

__all__ = ["Recipe", "Stepper"]

MOST_ROWS = 1024
"""Of larger minibatches, so many rows at a time go through the network, and their gradients are added up:
what they leave behind stays in the second cache, and takes little memory. (Networks of 4 to 784 inputs take
the least time with 1,024; with 2,048 up to 13 % more, with 512 up to 11 %.) A multiple of four: see
`engine.columns`."""

FULL = 1 / 3
"""Of all groups of inputs (`engine.cuts`), how many are not zeros where the matrix unit is faster than
skipping zeros, as measured with MNIST: that has 39 %."""

Filled = Callable[[int], NDArray[np.bool_]]
"""Where about so many rows of the data are not 0, (rows, inputs): asked only where that decides something."""


@dataclass(frozen=True)
class Recipe:
    """How a step is made: all that a trainer is told about it."""

    loss: Loss
    optimizer: Optimizer
    penalty: Penalty | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    average: Average | None = None
    seed: int = 0

    def single_kernels(self, n_out: int) -> tuple[Any, Any]:
        """`Optimizer.single_kernels`; none where numbers of the gradient are clipped."""
        return (None, None) if self.clip_value else self.optimizer.single_kernels(n_out)


@functools.cache
def address_of_step(kernel: Any, dtype: np.dtype[Any]) -> int:
    """The address of an optimizer's kernel: looked up once, since numba takes a sixth of a short fit to tell
    the types of its arguments.
    """
    numbers, vector = np.empty(1), np.empty(1, dtype)
    return address_of(kernel, (0, numbers, numbers, np.empty((1, 1), dtype), vector, vector, 0, 0))


class Stepper:
    """What of training outlives a fit: the optimizer's state, the average, the number of steps done.

    Memory, in units of θ: its gradient, the optimizer's slots, the average if there is one, and a copy
    of θ, of the slots and of the average.
    """

    def __init__(self, model: Sequential, recipe: Recipe):
        self.steps_done = 0
        self.steps_per_epoch = 1
        self.lr_factor = 1.0
        """Multiplies the learning rate: what `ReduceOnPlateau` lowers."""
        self.optimizer = recipe.optimizer
        """The recipe's, with lengths in epochs turned into steps."""
        self.reports_norm = False
        self.last_rates = np.empty(0)
        """The learning rates of the steps that were last tried, of layers with ``lr_scale=1``."""
        self._model, self._recipe = model, recipe
        self._plans = Plans(np.array(model.rate_groups, np.float64), recipe.average)
        self._nuclear = [
            (name, layer, penalty)
            for name, layer, penalty in model.penalties(recipe.penalty)
            if isinstance(penalty, Nuclear)
        ]
        size, dtype = model.theta.size, model.dtype
        self._grad = placed_zeros(size, dtype, GRADIENT)
        self._state = placed_rows(recipe.optimizer.slots, size, dtype, SLOTS)
        self._average = placed_zeros(0 if recipe.average is None else size, dtype, AVERAGE)
        self._address = NOWHERE  # of the optimizer's kernel: `compile` asks for it
        self._hyper = np.array(recipe.optimizer.hyper(), np.float64)
        # What a block started from, to go back to when it is not finite.
        self._kept = tuple(np.empty_like(array) for array in self._changing)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Memory from a pickle lies anywhere.
        self._grad, self._average = placed_copy(self._grad, GRADIENT), placed_copy(self._average, AVERAGE)
        before = self.state
        self._state = placed_rows(len(before), self._grad.size, before.dtype, SLOTS)
        self.state[:] = before
        self._kept = tuple(np.empty_like(array) for array in self._changing)

    @property
    def _changing(self) -> tuple[NDArray[Any], ...]:
        """What training changes. Looked up each time: the model of a copied trainer has memory of its own."""
        return self._model.theta, self._state, self._average, self._model.running

    @property
    def in_one_call(self) -> bool:
        """Whether nothing in Python happens between the steps of a block."""
        return not (self._nuclear or isinstance(self._recipe.loss, Custom))

    @property
    def _needs_norm(self) -> bool:
        """Whether the norm of the whole gradient is needed before a step."""
        return self.reports_norm or self._recipe.clip_norm is not None

    @property
    def kept_bytes(self) -> int:
        """What is copied before each block."""
        return sum(array.nbytes for array in self._kept)

    @property
    def state(self) -> NDArray[Any]:
        """The optimizer's vectors, (slots, θ.size): its own memory."""
        return self._state[:, : self._grad.size]

    @property
    def average(self) -> NDArray[Any]:
        """The average of the weights, (θ.size,): its own memory; empty if none is asked for."""
        return self._average

    def bind(
        self, batch_size: int, n_threads: int, gathers: bool, filled: Filled | None = None,
        converts: bool = False,
    ) -> Net:  # fmt: skip
        """The network with the penalties of this training, for minibatches of so many rows.

        It has room for `MOST_ROWS`, unless they must be there together. `filled` tells whether the
        first layer had better skip zeros; without it that is assumed. The loop `gathers` rows of the data,
        and `converts` them where they are of another dtype.
        """
        recipe = self._recipe
        together = self._model.has_batch_norm or isinstance(recipe.loss, Custom)
        capacity = batch_size if together else min(batch_size, MOST_ROWS)
        penalty = None if recipe.penalty is None else recipe.penalty.term()
        on_unit = self._rows_on_unit(capacity, filled)
        plain = gathers and not converts and capacity == batch_size and 0 not in on_unit
        direct = plain and filled is not None and self._model.is_direct(capacity, filled)
        net = self._model.bind(capacity, n_threads, penalty, gathers, on_unit, direct)
        if on_unit:
            net.table[on_unit, PRODUCT] = amx_address(net.work)
        if capacity == 1:
            link_single(net, recipe.single_kernels, self._state)
        return net

    def _rows_on_unit(self, capacity: int, filled: Filled | None) -> list[int]:
        """`Sequential.rows_on_unit`, but for a first layer that had better skip zeros."""
        rows = self._model.rows_on_unit(capacity)
        if 0 in rows and (filled is None or fullness(filled(SAMPLE)).mean() < FULL):
            rows.remove(0)
        return rows

    def nuclear_value(self) -> float:
        """The value of the penalties that the compiled loop does not see."""
        kernels = self._model.parameters() if self._nuclear else {}
        return sum(penalty.value(kernels[name]) for name, _, penalty in self._nuclear)

    def compile(self, net: Net, block: Block) -> None:
        """Run the loop on no rows: it compiles, or comes from the cache, before anything counts time.

        Each fit begins here, since addresses hold in one process, and a trainer may be pickled.
        """
        self._address = address_of_step(self._recipe.optimizer.kernel(), self._model.dtype)
        link_relay(net, block)
        link_direct(net)
        link_penalties(net)
        if self._needs_norm or self._recipe.clip_value is not None:
            link_clip(net)
        self._criterion = criterion_of(self._recipe.loss, self._model.dtype)
        self._run(net, self._part(block, 0, 0), self._plans.of_no_steps(), 1, Team(1))

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Inside, θ is what the optimizer's steps start from; outside, what predicts."""
        theta = self._model.theta
        try:
            self.optimizer.to_training(theta, self.state, self.steps_done)
            yield
        finally:
            self.optimizer.to_evaluation(theta, self.state, self.steps_done)

    @contextlib.contextmanager
    def as_evaluated(self) -> Iterator[None]:
        """Inside of `training`, between two blocks: meanwhile θ is what predicts."""
        theta = self._model.theta
        self.optimizer.to_evaluation(theta, self.state, self.steps_done)
        try:
            yield
        finally:
            self.optimizer.to_training(theta, self.state, self.steps_done)

    def change_optimizer(self, optimizer: Optimizer) -> None:
        """Go on with other numbers of the same optimizer, from the next block of steps on."""
        now = self._recipe.optimizer
        if type(optimizer) is not type(now) or optimizer.slots != now.slots:
            raise InvalidValueError(
                f"optimizer: what this trainer's steps remember is that of {now!r}, which {optimizer!r} does "
                "not go on from; make a new hl.Trainer with the same model"
            )
        self._recipe = dataclasses.replace(self._recipe, optimizer=optimizer)
        self._hyper = np.array(optimizer.hyper(), np.float64)
        self.resolve_rate()

    def resolve_rate(self) -> None:
        """Turn lengths in epochs into steps, of those that an epoch has now."""
        optimizer = self._recipe.optimizer
        rate = resolve(optimizer.lr, self.steps_per_epoch)
        # Unless the rate is in epochs the optimizer stays the very same: it may keep what it has computed.
        changed = rate is not optimizer.lr
        self.optimizer = dataclasses.replace(optimizer, lr=rate) if changed else optimizer

    def train(
        self, net: Net, block: Block, n_steps: int, batch_size: int, team: Team
    ) -> tuple[NDArray[np.float64], int | None]:
        """Train for some steps on the minibatches of a block.

        Returns
        -------
        sums : ndarray (steps, SUMS)
            What `engine.loop.train_block` reports of each minibatch.
        failed : int or None
            The first step, from 0, that could not be done: its loss, or the weights after it, are not
            finite. θ and all that goes with it are those from before it.
        """
        plan = self._plans.of(self.steps_done, n_steps, self.optimizer, self.lr_factor, self.steps_per_epoch)
        for kept, array in zip(self._kept, self._changing, strict=True):
            kept[...] = array
        try:
            done, sums = self._run(net, block, plan, batch_size, team)
        except BaseException:  # a second Ctrl-C, say: the block may be half done
            self._go_back()
            raise
        failed = None
        if done < n_steps or not self._is_finite():
            failed = self._return_to_finite(net, block, plan, batch_size, team, min(done, n_steps - 1))
            done = failed
        self.last_rates = plan.rates[0, : n_steps if failed is None else failed + 1]
        self.steps_done += done
        return sums, failed

    def _return_to_finite(
        self, net: Net, block: Block, plan: Plan, batch_size: int, team: Team, steps: int
    ) -> int:
        """Repeat the block from its start, which was finite, as far as the weights stay finite.

        Steps are reproducible bit for bit, so this finds the very weights before the failing step.
        """
        while steps > 0:
            self._go_back()
            self._run(net, block, plan.part(0, steps), batch_size, team)
            if self._is_finite():
                return steps
            steps -= 1
        self._go_back()
        return 0

    def _go_back(self) -> None:
        for kept, array in zip(self._kept, self._changing, strict=True):
            array[...] = kept

    def _is_finite(self) -> bool:
        model = self._model
        return all(np.isfinite(array).all() for array in (model.theta, model.running) if array.size)

    def _run(
        self, net: Net, block: Block, plan: Plan, batch_size: int, team: Team
    ) -> tuple[int, NDArray[np.float64]]:
        """Run the compiled loop over the block: how many steps were done, and the sums of each.

        In one call, unless something in Python must happen between two steps; a block is then of one epoch.
        """
        n_steps, done, whole = plan.rates.shape[1], 0, self.in_one_call
        sums = np.zeros((n_steps, SUMS))
        while True:
            stop = self._next_stop(done, n_steps)
            part = block if whole else self._part(block, done * batch_size, stop * batch_size)
            numbers = plan.part(done, stop)
            finished = self._run_part(net, part, numbers, batch_size, team, done, sums[done:stop])
            done += finished
            if done < stop:
                return done, sums
            self._shrink(done)
            if done == n_steps:
                return done, sums

    def _run_part(
        self, net: Net, part: Block, plan: Plan, batch_size: int, team: Team, first: int,
        sums: NDArray[np.float64],
    ) -> int:  # fmt: skip
        recipe, theta = self._recipe, self._model.theta
        mode = Mode(1, mask_seed(recipe.seed), self.steps_done + first, 0)
        update = Update(
            address=self._address,
            code=recipe.optimizer.code,
            hyper=self._hyper,
            scalars=plan.scalars,
            rates=plan.rates,
            state=self._state,
            clip_norm=recipe.clip_norm or 0.0,
            clip_value=recipe.clip_value or 0.0,
            needs_norm=int(self._needs_norm),
            average=self._average,
            average_rates=plan.average_rates,
        )
        part = with_own_loss(recipe.loss, net, part, theta, batch_size, mode, team)
        arguments = (update, theta, self._grad, batch_size, mode, sums)
        return int(team.run(train_block, net, part, self._criterion, *arguments))

    def _next_stop(self, done: int, n_steps: int) -> int:
        """The step before which Python has something to do, or the end of the block."""
        if isinstance(self._recipe.loss, Custom):
            return min(done + 1, n_steps)
        now = self.steps_done + done
        return min([n_steps, *(done + p.every - now % p.every for *_, p in self._nuclear)])

    def _shrink(self, done: int) -> None:
        """Take the proximal step of the nuclear norm where one is due after `done` steps of the block."""
        now = self.steps_done + done
        for name, layer, penalty in self._nuclear:
            kernel = self._model.parameters()[name]
            if layer.lr_scale > 0 and done > 0 and now % penalty.every == 0 and np.isfinite(kernel).all():
                since = np.arange(now - penalty.every, now)
                rate = self.lr_factor * layer.lr_scale * self.optimizer.rates(since).sum()
                penalty.shrink(kernel, float(rate))

    def _part(self, block: Block, lo: int, hi: int) -> Block:
        """Rows lo:hi of a block."""
        n_in = self._model.input_dim
        x = block.x if len(block.rows) else block.x[lo * n_in : hi * n_in]
        rows, targets, weights = (part[lo:hi] for part in (block.rows, block.targets, block.weights))
        return block._replace(x=x, rows=rows, targets=targets, weights=weights)

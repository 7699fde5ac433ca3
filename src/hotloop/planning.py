"""`Plans`: the numbers of the steps to come (rates, corrections), as the compiled loop reads them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hotloop.averages import Average
from hotloop.optimizers import Optimizer

__all__ = ["Plan", "Plans"]

STEPS_AHEAD = 512
"""Steps of a plan at a constant rate: made a few at a time, they would cost as much as all of these."""


@dataclass(frozen=True)
class Plan:
    """The numbers of some steps, one after the other."""

    scalars: NDArray[np.float64]  # (groups of rates, steps, numbers), of Optimizer.scalars
    rates: NDArray[np.float64]  # (groups of rates, steps)
    average_rates: NDArray[np.float64]  # (steps,)

    def __len__(self) -> int:
        return len(self.average_rates)

    def part(self, lo: int, hi: int) -> "Plan":
        """Those of steps lo:hi."""
        # Contiguous: other layouts would compile the loop again.
        scalars, rates = self.scalars[:, lo:hi], self.rates[:, lo:hi]
        return Plan(np.ascontiguousarray(scalars), np.ascontiguousarray(rates), self.average_rates[lo:hi])


class Plans:
    """Makes plans, and keeps the last one for as long as it serves.

    Parameters
    ----------
    groups : ndarray (groups,)
        What multiplies the rate in each group of layers.
    average : Average or None
        Of the weights.
    """

    def __init__(self, groups: NDArray[np.float64], average: Average | None):
        self._groups, self._average = groups, average
        self._made_for: tuple[Optimizer, float, int] | None = None
        self._first = 0
        self._plan = self.of_no_steps()

    def of(
        self, first: int, n_steps: int, optimizer: Optimizer, lr_factor: float, steps_per_epoch: int
    ) -> Plan:
        """The plan of `n_steps` steps from `first` on; `lr_factor` multiplies all rates."""
        wanted = optimizer, lr_factor, steps_per_epoch
        if callable(optimizer.lr):
            # It may read what a callback sets: no step is asked for before its block begins.
            return self._make(first, n_steps, *wanted)
        at = first - self._first
        if wanted != self._made_for or at < 0 or at + n_steps > len(self._plan):
            self._plan = self._make(first, max(n_steps, STEPS_AHEAD), *wanted)
            self._made_for, self._first, at = wanted, first, 0
        return self._plan.part(at, at + n_steps)

    def of_no_steps(self) -> Plan:
        """A plan without steps, to compile the loop with."""
        groups = len(self._groups)
        return Plan(np.empty((groups, 0, 1)), np.empty((groups, 0)), np.empty(0))

    def _make(
        self, first: int, n_steps: int, optimizer: Optimizer, lr_factor: float, steps_per_epoch: int
    ) -> Plan:
        steps = np.arange(first, first + n_steps)
        rates = lr_factor * optimizer.rates(steps) * self._groups[:, None]
        return Plan(
            scalars=np.array([optimizer.scalars(steps, own) for own in rates]),
            rates=rates,
            average_rates=np.zeros(n_steps)
            if self._average is None
            else self._average.rates(steps, steps_per_epoch),
        )

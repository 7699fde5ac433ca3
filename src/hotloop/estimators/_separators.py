"""What the perceptron learns: separators side by side, and what is known of them afterwards."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.engine.perceptron import (
    SEEN,
    STATE_SIZE,
    Samples,
    epoch,
    fill_pocket,
    greatest_length,
    smallest_lead,
    start_pocket,
)

__all__ = ["Separators", "Task"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Task:
    """What is to be told apart.

    labels (separators, n): −1 or 1, or the number of the class; steps (n,): how far a mistake moves
    the weights, 0 for a sample that does not count.
    """

    samples: Samples
    labels: Array
    steps: Array


class Separators:
    """Separators (m, rows, features + 1), the bias last, and what the options keep beside them.

    `keep` is ``"last"``, ``"pocket"`` or ``"average"``.
    """

    def __init__(self, start: Array, keep: str):
        self.keep = keep
        self.start = start
        self.weights = start.copy()
        nothing = np.zeros((len(start), 0, start.shape[2]))
        self.pocket = start.copy() if keep == "pocket" else nothing
        self.drift = np.zeros_like(start) if keep == "average" else nothing
        self.state = np.zeros((len(start), STATE_SIZE))

    def learn(self, task: Task, epochs: int, rng: np.random.RandomState | None) -> tuple[Array, Array]:
        """At most so many epochs: mistakes (epochs done, m), and which made none in their last epoch.

        A separator that has made none rests. `rng` shuffles; None keeps the order.
        """
        n = len(task.steps)
        shared = task.samples, task.labels, task.steps
        each = list(zip(self.weights, self.pocket, self.state, task.labels, strict=True))
        if self.pocket.size:
            for _, pocket, state, labels in each:
                start_pocket(pocket, state, task.samples, labels, task.steps)
        order, active = np.arange(n), np.arange(len(self.weights))
        history: list[Array] = []
        while len(active) and len(history) < epochs:
            if rng is not None:
                order = rng.permutation(n)
            mistakes = np.zeros(len(self.weights), np.int64)
            epoch(mistakes, self.weights, self.drift, self.pocket, self.state, *shared, order, active)
            history.append(mistakes)
            active = active[mistakes[active] > 0]
        if self.pocket.size:
            for weights, pocket, state, labels in each:
                fill_pocket(pocket, state, weights, task.samples, labels, task.steps)
        return np.array(history), ~np.isin(np.arange(len(self.weights)), active)

    def kept(self) -> Array:
        """The weights to predict with, (m, rows, features + 1)."""
        if self.pocket.size:
            return self.pocket
        if self.drift.size:
            return self.weights - self.drift / self.state[:, SEEN, None, None]
        return self.weights

    def geometry(self, task: Task) -> tuple[bool, float, float, float]:
        """Whether the last weights get every sample right; margin, radius and bound of what was found.

        Margin and bound are the best of the last weights and those kept, the margin that of the
        separator with the smallest, the bound the sum over the separators; NaN if there is none.
        """
        out = np.zeros(2)
        greatest_length(out, task.samples, task.steps)
        # A mistake of the joint form adds the sample to one row and takes it from another.
        square, scaled_square = out * min(2, self.weights.shape[1])
        last = self._margins(self.weights, task, scaled_square)
        kept = last if self.kept() is self.weights else self._margins(self.kept(), task, scaled_square)
        margin, bound = np.fmax(last[0], kept[0]).min(), np.fmin(last[1], kept[1]).sum()
        return bool(np.isfinite(last[0]).all()), float(margin), float(np.sqrt(square)), float(bound)

    def _margins(self, all_weights: Array, task: Task, scaled_square: float) -> Array:
        """Margin and bound of each separator, (2, m); NaN where a sample is wrong.

        Novikoff, "On convergence proofs for perceptrons" (1962), for samples multiplied by their
        steps. Also for a start w₀ other than 0: k mistakes with kγ − ‖w₀‖ ≤ ‖w‖ ≤ √(‖w₀‖² + kR²) are
        at most R²/γ² + 2‖w₀‖/γ.
        """
        found = np.full((2, len(all_weights)), np.nan)
        out = np.zeros(2)
        for m, weights in enumerate(all_weights):
            smallest_lead(out, weights, task.samples, task.labels[m], task.steps)
            if out[0] > 0:
                with np.errstate(all="ignore"):  # numbers at the ends of float64 make an infinite bound
                    margin, gamma = out / np.linalg.norm(weights)
                    from_start = 2 * np.linalg.norm(self.start[m]) / gamma
                    found[:, m] = margin, scaled_square / gamma**2 + from_start
        return found

"""The case of SimpleChains.jl: a small tanh network on all rows at once, as a share of the peak.

4-32-16-4 on 10,000 rows, Adam, mse: a step is nearly nothing but products and tanh, all in the second cache.
When the share falls, compare `products.py` (few inputs, few units) and `Activations` in `training.py`.
"""

from itertools import pairwise

import numpy as np

import hotloop as hl

from .common import fastest
from .kernels import peak

WIDTHS, ROWS, STEPS = (4, 32, 16, 4), 10_000, 50


def flop_of_row():
    """Multiplications and additions of the products of a step: forward and gradient, and backward from the
    second layer on. tanh, the loss and Adam come on top, and do not count.
    """
    weights = [n_in * n_out for n_in, n_out in pairwise(WIDTHS)]
    return 2 * (2 * sum(weights) + sum(weights[1:]))


class FullBatch:
    """Some steps of `Trainer.fit`, one thread."""

    def setup(self):
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((ROWS, WIDTHS[0]), np.float32)
        self.y = np.sin(self.X)
        layers = [*(hl.Dense(units, "tanh") for units in WIDTHS[1:-1]), hl.Dense(WIDTHS[-1])]
        model = hl.Sequential(layers, input_dim=WIDTHS[0])
        self.trainer = hl.Trainer(model, loss="mse", optimizer=hl.Adam(1e-3), batch_size=ROWS)
        self.trainer.fit(self.X, self.y, epochs=1)

    def time_fifty_steps(self):
        """Unshuffled, as there: all rows are one batch."""
        self.trainer.fit(self.X, self.y, epochs=STEPS, shuffle=False)

    def rows_per_second(self):
        """The fastest of some fits."""
        return ROWS * STEPS / fastest(self.time_fifty_steps, seconds=0.3)[0]

    def track_nanoseconds_a_sample(self):
        """Of one step."""
        return 1e9 / self.rows_per_second()

    track_nanoseconds_a_sample.unit = "ns"

    def track_rate(self):
        """The operations of `flop_of_row`."""
        return 1e-9 * flop_of_row() * self.rows_per_second()

    track_rate.unit = "GFLOP/s"

    def track_rate_of_peak(self):
        """`track_rate`, of what the processor's multiply-adds could give."""
        return 100 * self.track_rate() / peak()

    track_rate_of_peak.unit = "% of peak"

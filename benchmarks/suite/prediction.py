"""Time of `Sequential.predict`, 784-128-10.

One row measures what surrounds the kernel: checks, the team, one compiled call. Ten thousand rows
measure the forward products. There is no `setup`, so that asv repeats a call until it lasts long
enough to be timed.
"""

import numpy as np

from .common import fastest, network, normal_data, warm
from .kernels import peak

warm()


class Predict:
    """By rows."""

    params = ([1, 10_000],)
    param_names = ("rows",)
    model = network(784, 128, 10)
    data, _ = normal_data(10_000, 784, 10)

    def time_predict(self, rows):
        self.model.predict(self.data[:rows])

    def time_predict_two_threads(self, rows):
        self.model.predict(self.data[:rows], n_threads=2)


class PredictRate:
    """Ten thousand rows, with the look at whether they are finite, and in memory that no cache holds."""

    def track_rate_of_peak(self):
        """The products' operations, of what the processor's multiply-adds could give."""
        kernels = sum(
            weights.size for name, weights in Predict.model.parameters().items() if "kernel" in name
        )
        seconds = fastest(lambda: Predict.model.predict(Predict.data), seconds=0.5)[0]
        return 100 * 2e-9 * kernels * len(Predict.data) / seconds / peak()

    track_rate_of_peak.unit = "% of peak"


class PredictSmall:
    """20-64-64-2 on one row: nearly nothing but overhead."""

    model = network(20, 64, 64, 2)
    row = np.zeros((1, 20), np.float32)
    bound = staticmethod(model.predictor())

    def time_predict_one_row(self):
        self.model.predict(self.row)

    def time_bound_one_row(self):
        self.bound(self.row)

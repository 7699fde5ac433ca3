"""Time of `Sequential.predict`, 784-128-10.

One row measures what surrounds the kernel: checks, the team, one compiled call. Ten thousand rows
measure the forward products. There is no `setup`, so that asv repeats a call until it lasts long
enough to be timed.
"""

import numpy as np

from .common import network, normal_data, warm

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


class PredictSmall:
    """4-16-3 on one row: nothing but overhead."""

    model = network(4, 16, 3)
    row = np.zeros((1, 4), np.float32)

    def time_predict_one_row(self):
        self.model.predict(self.row)

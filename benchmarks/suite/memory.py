"""Peak memory of a fit: the promise is the data as given, one block, and at most 8 times θ."""

import tracemalloc

import numpy as np

from .common import classifier, normal_data, warm

warm()


class PeakMemory:
    """The whole process, interpreter and compiled kernels included."""

    def setup(self):
        self.images = np.random.default_rng(0).integers(0, 256, (60_000, 784), np.uint8)
        self.labels = np.zeros(len(self.images), np.int64)

    def peakmem_data_only(self):
        """The floor: what the process takes before it trains."""
        assert self.images.any()

    def peakmem_fit_uint8(self):
        """60,000 × 784 of uint8, 47 MB, through 784-10: grows if staging copies the data whole."""
        classifier((784, 10), 128).fit(self.images, self.labels, epochs=1)


class TracedMemory:
    """What NumPy hands out, counted exactly: no noise, so any change is a change in the code."""

    def track_fit_in_units_of_theta(self):
        """Trainer, optimizer state and network memory for 1024-2048-2048-10, Adam, 64 rows."""
        X, y = normal_data(64, 1024, 10)
        tracemalloc.start()
        try:
            trainer = classifier((1024, 2048, 2048, 10), 64)
            trainer.fit(X, y, epochs=1)
            return tracemalloc.get_traced_memory()[1] / trainer.model.theta.nbytes
        finally:
            tracemalloc.stop()

    track_fit_in_units_of_theta.unit = "times θ"

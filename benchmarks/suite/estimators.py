"""Estimators against scikit-learn's own, in the same run. Where to look when one slows down:

================================  ====================================================================
float64 alone                     nothing of ours: an epoch takes what reading the data takes
float32 too                       `visit` in `engine/perceptron.py`: is it still inlined, does `dot` vectorise
shuffled most                     `engine/fetch.py`, and `AHEAD` in `engine/perceptron.py`
SeedEnsemble, two jobs alone      what Python does between blocks, with its lock: `trainer.py`
ten classes, not two              the separators learn side by side no more: `epoch`
================================  ====================================================================
"""

import time
import warnings

import numpy as np

import hotloop as hl

from .common import digits, normal_data

EPOCHS = 6


class Perceptron:
    """20,000 x 784, in the order of the samples: the same mistakes as scikit-learn's perceptron."""

    params = (["noise", "digits"], ["float32", "float64"], [2, 10])
    param_names = ("data", "dtype", "classes")
    timeout = 120
    shuffle = False

    def setup(self, data, dtype, classes):
        from sklearn.linear_model import Perceptron as Theirs

        if data == "digits":
            X, y = digits(20_000)
        else:
            X, _ = normal_data(20_000, 784, 2)
            rng = np.random.default_rng(1)
            scores = X @ rng.standard_normal((784, classes)) + 8 * rng.standard_normal((len(X), classes))
            y = scores.argmax(axis=1)
        self.X, self.y = X.astype(dtype), y % classes
        self.kinds = {
            "ours": lambda epochs: hl.Perceptron(keep="last", shuffle=self.shuffle, max_iter=epochs),
            "theirs": lambda epochs: Theirs(shuffle=self.shuffle, tol=None, max_iter=epochs),
        }
        self.fit("ours", 1)  # compiles

    def fit(self, kind, epochs):
        """The fitted model, and how long it took."""
        model = self.kinds[kind](epochs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # these data have no separator
            started = time.perf_counter()
            model.fit(self.X, self.y)
        return model, time.perf_counter() - started

    def time_fit(self, data, dtype, classes):
        self.fit("ours", EPOCHS)

    def track_epoch_against_scikit_learn(self, data, dtype, classes):
        """Minima of fits in turn, their checks and setting up taken off; the promise is a third."""
        times = {(kind, epochs): [] for kind in self.kinds for epochs in (1, EPOCHS)}
        for _ in range(7):
            for (kind, epochs), found in times.items():
                found.append(self.fit(kind, epochs)[1])
        epoch = {kind: min(times[kind, EPOCHS]) - min(times[kind, 1]) for kind in self.kinds}
        return epoch["ours"] / epoch["theirs"]

    track_epoch_against_scikit_learn.unit = "of scikit-learn's time"

    def track_difference_of_weights(self, data, dtype, classes):
        """Largest, over the largest weight: 0 only if every mistake was the same."""
        ours, theirs = (self.fit(kind, EPOCHS)[0].coef_ for kind in self.kinds)
        return np.abs(ours - theirs).max() / np.abs(theirs).max()

    track_difference_of_weights.unit = "of the largest weight"


class ShuffledPerceptron(Perceptron):
    """In a new random order each epoch: what counts is that the next row is fetched in time."""

    params = (["noise"], ["float32", "float64"], [2])
    shuffle = True
    track_difference_of_weights = None  # the orders differ


class SeedEnsemble:
    """Four networks, one after the other and two at a time: is there Python in their way?"""

    params = ([1, 2],)
    param_names = ("n_jobs",)
    timeout = 120

    def setup(self, n_jobs):
        self.X, self.y = digits(1500)
        one = hl.MLPClassifier(max_iter=10, tol=0, n_iter_no_change=10)
        self.model = hl.SeedEnsembleClassifier(one, n_estimators=4, n_jobs=n_jobs, random_state=0)
        self.time_fit(n_jobs)  # compiles

    def time_fit(self, n_jobs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ten epochs are few
            self.model.fit(self.X, self.y)

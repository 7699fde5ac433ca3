"""Time of an epoch. Where to look when one of these slows down:

=====================================  ===============================================================
only adam, not sgd                     `adam_vector`: see `optimizers.py`; batch 1 most, as it runs once a row
batch 1, sgd and adam                  the pass over W: `engine/strip.py`
OneSample of some units                those that are no whole vectors, or are many (`as_they_lie`)
batch 32 and 128, not 1                the tiled products of `engine/matmul.py`: which one, says `products.py`
SmallNetwork, not Digits               what a step costs before any arithmetic: table, barrier, calls
ShortEpochs                            Python between epochs: `trainer.py`, `evaluation.py`, callbacks
Digits alone, nothing of these         how its rows get there: see `staging.py`; or the checks of X
Given, not Digits                      what converts its rows: `convert`, `scatter_rows` in `engine/gather.py`
TwoThreads, not Digits                 `relay.py`, the barrier, or `share` in `engine/team.py`
Passes.time_forward                    `forward`; the later passes contain the earlier ones
Activations, one more than relu        its loop in `activations.py` vectorises no more
Options, one more than nothing         that layer, penalty or pass; "own loss" is Python between steps
=====================================  ===============================================================

A new network is trained in each sample, so all samples do the same arithmetic.
"""

import time

import numpy as np

import hotloop as hl

from .common import as_given, classifier, clean_digits, digits, network, normal_data, warm

MNIST_WIDTHS = (784, 128, 10)

warm()


class Digits:
    """784-128-10, an epoch of 4,096 float32 images: by batch size, for both optimizers."""

    params = ([1, 32, 128], ["sgd", "adam"])
    param_names = ("batch", "optimizer")

    def setup(self, batch, optimizer):
        self.X, self.y = digits()
        self.trainer = classifier(MNIST_WIDTHS, batch, optimizer=optimizer)

    def time_epoch(self, batch, optimizer):
        self.trainer.fit(self.X, self.y, epochs=1)


class OneSample:
    """784-12-10 to 784-256-10, batch 1, an epoch of 1,024 float32 images: by the units of the first layer."""

    params = ([12, 30, 64, 100, 256], ["sgd", "adam"])
    param_names = ("units", "optimizer")

    def setup(self, units, optimizer):
        self.X, self.y = digits(1024)
        self.trainer = classifier((784, units, 10), 1, optimizer=optimizer)

    def time_epoch(self, units, optimizer):
        self.trainer.fit(self.X, self.y, epochs=1)


class Given:
    """784-128-10, batch 128, Adam, an epoch of 4,096 images in another form than the model's float32."""

    params = (["uint8", "float64", "csr"], [1, 2])
    param_names = ("data", "threads")

    def setup(self, kind, n_threads):
        self.X, self.y = clean_digits()
        self.other = as_given(kind, self.X)
        self.trainers = [classifier(MNIST_WIDTHS, 128, n_threads=n_threads) for _ in range(2)]

    def epoch(self, trainer, X):
        """Seconds of it."""
        started = time.perf_counter()
        trainer.fit(X, self.y, epochs=1)
        return time.perf_counter() - started

    def track_time_against_float32(self, kind, n_threads):
        """Minima of epochs in turn."""
        data = self.X, self.other
        times = [[self.epoch(*one) for one in zip(self.trainers, data, strict=True)] for _ in range(12)]
        ours, others = np.min(times, axis=0)
        return others / ours

    track_time_against_float32.unit = "of the time with float32"


class SmallNetwork:
    """Networks whose step takes microseconds: an epoch of 2,048 steps, Adam."""

    params = (["4-16-3 at batch 16", "20-64-64-2 at batch 32"],)
    param_names = ("network",)

    def setup(self, name):
        widths, batch = {
            "4-16-3 at batch 16": ((4, 16, 3), 16),
            "20-64-64-2 at batch 32": ((20, 64, 64, 2), 32),
        }[name]
        self.X, self.y = normal_data(2048 * batch, widths[0], widths[-1])
        self.trainer = classifier(widths, batch)

    def time_epoch(self, name):
        self.trainer.fit(self.X, self.y, epochs=1)


class ShortEpochs:
    """4-16-3 on 150 rows, 100 epochs, Adam: what an epoch costs in Python, also with validation data."""

    params = ([False, True],)
    param_names = ("validated",)

    def setup(self, validated):
        self.X, self.y = normal_data(150, 4, 3)
        self.options = {"validation_data": (self.X[:30], self.y[:30])} if validated else {}
        self.trainer = classifier((4, 16, 3), 16)

    def time_hundred_epochs(self, validated):
        self.trainer.fit(self.X, self.y, epochs=100, **self.options)


class TwoThreads:
    """784-128-10, Adam, an epoch of 4,096 rows: what a second thread brings."""

    params = ([1, 32, 128],)
    param_names = ("batch",)

    def setup(self, batch):
        self.X, self.y = digits()
        self.trainers = [classifier(MNIST_WIDTHS, batch, n_threads=n) for n in (1, 2)]

    def time_epoch(self, batch):
        self.trainers[1].fit(self.X, self.y, epochs=1)

    def track_time_against_one_thread(self, batch):
        """Minima of epochs in turn: below 1 a second thread helps; 0.5 would be perfect."""
        times = [[], []]
        for _ in range(7):
            for trainer, found in zip(self.trainers, times, strict=True):
                started = time.perf_counter()
                trainer.fit(self.X, self.y, epochs=1)
                found.append(time.perf_counter() - started)
        one, two = (min(found) for found in times)
        return two / one

    track_time_against_one_thread.unit = "of the time of one thread"


class Passes:
    """784-128-10 over 4,096 rows, in the order of a step: each pass contains the one before."""

    def setup(self):
        self.X, self.y = digits()
        self.trainer = classifier(MNIST_WIDTHS, 128)
        self.model = network(*MNIST_WIDTHS)
        self.objective = hl.Objective(self.model, self.X, self.y, loss="softmax_cross_entropy")

    def time_forward(self):
        self.model.predict(self.X)

    def time_forward_loss(self):
        self.objective.value(self.model.theta)

    def time_forward_loss_backward(self):
        self.objective.gradient(self.model.theta)

    def time_forward_loss_backward_update(self):
        self.trainer.fit(self.X, self.y, epochs=1, shuffle=False)


def squares(outputs, targets):
    return np.square(outputs - targets).sum(axis=1)


def twice_the_error(outputs, targets):
    return 2 * (outputs - targets)


LAYERS = {
    "batch norm": [hl.Dense(128, use_bias=False), hl.BatchNorm(), hl.Activation("relu"), hl.Dense(10)],
    "dropout": [hl.Dense(128, "relu"), hl.Dropout(0.2), hl.Dense(10)],
    "prelu": [hl.Dense(128, "prelu"), hl.Dense(10)],
    "standardize": [hl.Standardize(), hl.Dense(128, "relu"), hl.Dense(10)],
}
TRAINER = {
    "l2": {"penalty": hl.L2(1e-4)},
    "l1 proximal": {"penalty": hl.L1(1e-4, proximal=True)},
    "l0": {"penalty": hl.L0(500)},
    "max norm": {"penalty": hl.MaxNorm(3.0)},
    "nuclear": {"penalty": hl.Nuclear(1e-4)},
    "clip norm": {"clip_norm": 1.0},
    "ema": {"average": hl.EMA()},
    "own loss": {"loss": hl.losses.Custom(squares, twice_the_error)},
}


class Options:
    """784-128-10, batch 32, Adam, mse, an epoch of 4,096 rows: what layers, penalties and the like cost."""

    params = (["nothing", *LAYERS, *TRAINER],)
    param_names = ("option",)

    def setup(self, option):
        X, y = digits()
        self.X, self.y = X, np.eye(10, dtype=np.float32)[y]
        self.trainers = [self.trainer(name) for name in ("nothing", option)]
        for trainer in self.trainers:
            trainer.fit(self.X, self.y, epochs=1)

    def trainer(self, option):
        layers = LAYERS.get(option, [hl.Dense(128, "relu"), hl.Dense(10)])
        options = {"loss": "mse"} | TRAINER.get(option, {})
        return hl.Trainer(hl.Sequential(layers, input_dim=784), batch_size=32, **options)

    def time_epoch(self, option):
        self.trainers[1].fit(self.X, self.y, epochs=1)

    def track_time_against_nothing(self, option):
        """Minima of epochs in turn."""
        times = [[], []]
        for _ in range(5):
            for trainer, found in zip(self.trainers, times, strict=True):
                started = time.perf_counter()
                trainer.fit(self.X, self.y, epochs=1)
                found.append(time.perf_counter() - started)
        plain, other = (min(found) for found in times)
        return other / plain

    track_time_against_nothing.unit = "of the time without it"


class Activations:
    """A layer of 256 units on 256 inputs, 128 rows of float32, forward and backward: by activation."""

    params = (["relu", "tanh", "sigmoid", "gelu", "silu", "elu", "softplus", "mish"],)
    param_names = ("activation",)

    def setup(self, activation):
        X, _ = normal_data(128, 256, 2)
        self.objectives = [
            hl.Objective(hl.Sequential([hl.Dense(256, name)], input_dim=256), X, np.zeros_like(X), loss="mse")
            for name in ("relu", activation)
        ]

    def time_ten_gradients(self, activation):
        objective = self.objectives[1]
        theta = objective.model.theta
        for _ in range(10):
            objective.gradient(theta)

    def track_time_against_relu(self, activation):
        """Minima of gradients in turn; the promise is at most 3."""
        times = [[], []]
        for _ in range(50):
            for objective, found in zip(self.objectives, times, strict=True):
                theta = objective.model.theta
                started = time.perf_counter()
                objective.gradient(theta)
                found.append(time.perf_counter() - started)
        relu, other = (min(found) for found in times)
        return other / relu

    track_time_against_relu.unit = "of the time of relu"

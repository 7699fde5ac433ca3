"""Steps of optimizers over θ, as GB/s, and next to a plain copy of as many bytes in the same run.

θ and each vector beside it have `NUMBERS` numbers: more than the caches hold, so a step should take what
reading and writing takes. When one slows down, its loop in `hotloop/optimizers/` vectorises no more, or
reads something twice; when all do but SGD, suspect the call by address.
"""

import numpy as np

import hotloop as hl

from .common import fastest

NUMBERS = 1 << 21

KINDS = {
    "sgd": hl.SGD(0.01),
    "momentum": hl.SGD(0.01, momentum=0.9),
    "nesterov": hl.SGD(0.01, momentum=0.9, nesterov=True),
    "adagrad": hl.Adagrad(),
    "adadelta": hl.Adadelta(),
    "rmsprop": hl.RMSprop(),
    "adam": hl.Adam(),
    "amsgrad": hl.Adam(amsgrad=True),
    "adamw": hl.AdamW(),
    "adamax": hl.Adamax(),
    "nadam": hl.NAdam(),
    "radam": hl.RAdam(),
    "adabelief": hl.AdaBelief(),
    "rprop": hl.Rprop(),
    "lion": hl.Lion(),
    "schedule-free sgd": hl.ScheduleFreeSGD(),
    "schedule-free adamw": hl.ScheduleFreeAdamW(),
}


def stepper(optimizer, size):
    """A function without arguments that makes the first step of `optimizer` on all of θ."""
    theta, grad = np.full((2, size), 0.1, np.float32)
    state = np.full((optimizer.slots, size), 0.1, np.float32)
    scalars = optimizer.scalars(np.arange(1), optimizer.rates(np.arange(1)))[0]
    kernel, hyper = optimizer.kernel(), np.array(optimizer.hyper(), np.float64)
    return lambda: kernel(optimizer.code, hyper, scalars, state, theta, grad, 0, size)


for each in KINDS.values():
    stepper(each, 64)()  # compiles, or loads from the cache


class Step:
    """One step, one thread, float32: θ and the state are read and written, the gradient is read."""

    params = (list(KINDS),)
    param_names = ("optimizer",)

    def setup(self, name):
        optimizer = KINDS[name]
        self.step = stepper(optimizer, NUMBERS)
        self.bytes = 4 * NUMBERS * (3 + 2 * optimizer.slots)
        source, copy = np.ones((2, self.bytes // 8), np.float32)  # half is read, half is written
        self.copy = lambda: np.copyto(copy, source)
        self.step()

    def track_rate(self, name):
        """Of hotloop alone."""
        return 1e-9 * self.bytes / fastest(self.step)[0]

    track_rate.unit = "GB/s"

    def track_time_against_copy(self, name):
        """1 is as fast as memory allows; a little less may be seen, as reading is cheaper than writing."""
        step, copy = fastest(self.step, self.copy)
        return step / copy

    track_time_against_copy.unit = "of the time of a copy"

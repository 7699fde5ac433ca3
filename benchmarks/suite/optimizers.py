"""Steps of optimizers over θ.

==============  =====================================================================================
`Step`          GB/s, and next to a plain copy of as many bytes in the same run. θ and each vector beside
                it have `NUMBERS` numbers, more than the caches hold: a step should take what reading and
                writing takes. If one slows down, its loop in `hotloop/optimizers/` vectorises no more, or
                reads something twice; if all do but SGD, suspect the call by address.
`SecondCache`   ns a number where θ is about that of 784-128-10, with memory as `Stepper` has it, and with
                one vector after the other, which at this size is the worst: see `engine/memory.py`.
==============  =====================================================================================
"""

import numpy as np

import hotloop as hl
from hotloop.engine.memory import GRADIENT, SLOTS, THETA, placed_rows, placed_zeros

from .common import fastest

NUMBERS, FEWER = 1 << 21, 100 * 1024 + 10

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


def memory(slots, size, placed):
    """θ, its gradient, and the slots, all of them 0.1."""
    number = np.dtype(np.float32)
    if placed:
        theta, grad = placed_zeros(size, number, THETA), placed_zeros(size, number, GRADIENT)
        state = placed_rows(slots, size, number, SLOTS)
    else:
        rows = np.empty((2 + slots, size), number)
        theta, grad, state = rows[0], rows[1], rows[2:]
    for part in (theta, grad, state):
        part[...] = 0.1
    return theta, grad, state


def stepper(optimizer, size, placed=True):
    """A function without arguments that makes the first step of `optimizer` on all of θ."""
    theta, grad, state = memory(optimizer.slots, size, placed)
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


class SecondCache:
    """One step, one thread, float32."""

    params = (list(KINDS), ["placed", "one after the other"])
    param_names = ("optimizer", "memory")

    def setup(self, name, where):
        self.step = stepper(KINDS[name], FEWER, where == "placed")
        self.step()

    def track_nanoseconds_a_number(self, name, where):
        """Of θ."""
        return 1e9 * fastest(self.step)[0] / FEWER

    track_nanoseconds_a_number.unit = "ns"

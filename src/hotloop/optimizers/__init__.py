"""Optimizers: for each its public description, and its step as one loop over θ.

Each file holds one idea: description, update rule and kernel of its members together, and a kernel
that picks the member by its code, and says whether it has it. To add one: a code (append-only over
all files: the next is 13), a frozen dataclass, a kernel, and a branch in that file's `…_step`.
"""

from hotloop._jit import kernel
from hotloop.optimizers.adam import AdaBelief, Adam, Adamax, AdamW, NAdam, RAdam, adam_family_step
from hotloop.optimizers.adaptive import Adadelta, Adagrad, RMSprop, adaptive_step
from hotloop.optimizers.base import Optimizer
from hotloop.optimizers.schedulefree import (
    ScheduleFree,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    schedule_free_step,
)
from hotloop.optimizers.sgd import SGD, sgd_step
from hotloop.optimizers.sign import Lion, Rprop, sign_step

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "ScheduleFree",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "optimizer_step",
]

OPTIMIZERS: tuple[type[Optimizer], ...] = (
    SGD, Adam, AdamW, Adamax, NAdam, RAdam, AdaBelief, Adagrad, Adadelta, RMSprop, Rprop, Lion,
    ScheduleFreeSGD, ScheduleFreeAdamW,
)  # fmt: skip
"""All members: what a trainer's file may name."""


@kernel
def optimizer_step(update, group, step, theta, grad, lo, hi):
    """Step number `step` of the block on θ[lo:hi], whose rates are those of `group`.

    `update` is an `engine.loop.Update`.
    """
    code, hyper, scalars, state = update.code, update.hyper, update.scalars[group, step], update.state
    if sgd_step(code, hyper, scalars, state, theta, grad, lo, hi):
        return
    if adam_family_step(code, hyper, scalars, state, theta, grad, lo, hi):
        return
    if adaptive_step(code, hyper, scalars, state, theta, grad, lo, hi):
        return
    if sign_step(code, hyper, scalars, state, theta, grad, lo, hi):
        return
    schedule_free_step(code, hyper, scalars, state, theta, grad, lo, hi)

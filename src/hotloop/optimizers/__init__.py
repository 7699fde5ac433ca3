"""Optimizers: for each its public description, and its step as one loop over θ.

Each file holds one idea: description, update rule and kernel of its members together, and the kernel
of the family, which picks the member by its code. The loop calls it by its address, so a run compiles
one family alone. To add a member: a code (append-only over all files: the next is 13), a frozen
dataclass, a kernel, and a branch in that file's `…_step`.
"""

from hotloop.optimizers.adam import Adam, AdamW
from hotloop.optimizers.adam_kin import AdaBelief, Adamax, NAdam, RAdam
from hotloop.optimizers.adaptive import Adadelta, Adagrad, RMSprop
from hotloop.optimizers.base import Optimizer
from hotloop.optimizers.schedulefree import (
    ScheduleFree,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
)
from hotloop.optimizers.sgd import SGD
from hotloop.optimizers.sign import Lion, Rprop

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
]

OPTIMIZERS: tuple[type[Optimizer], ...] = (
    SGD, Adam, AdamW, Adamax, NAdam, RAdam, AdaBelief, Adagrad, Adadelta, RMSprop, Rprop, Lion,
    ScheduleFreeSGD, ScheduleFreeAdamW,
)  # fmt: skip
"""All members: what a trainer's file may name."""

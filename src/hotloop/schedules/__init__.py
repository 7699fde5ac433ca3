"""Schedules: the learning rate as a function of the step.

A schedule is called with an array of step numbers, counted from 0, and returns an array of rates.
Lengths are given in steps or, by keyword, in epochs: ``Cosine(1e-3, steps=1000)`` or
``Cosine(1e-3, epochs=10)``. With n rows in batches of b an epoch has ⌈n / b⌉ steps, which only
training knows: `Schedule.in_steps` is told. Any function from steps to rates is a schedule too.
To add one: a frozen dataclass with `at`, and its name in `SCHEDULES`.
"""

from hotloop.schedules.base import Schedule, ScheduleFunction, resolve
from hotloop.schedules.cycles import CosineRestarts, OneCycle, Warmup
from hotloop.schedules.decays import Constant, Cosine, Exponential, InverseSqrt, Linear, Polynomial, Step

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "InverseSqrt",
    "Linear",
    "OneCycle",
    "Polynomial",
    "Schedule",
    "ScheduleFunction",
    "Step",
    "Warmup",
    "resolve",
]

SCHEDULES: tuple[type[Schedule], ...] = (
    Constant, Cosine, CosineRestarts, Exponential, Step, Polynomial, Linear, InverseSqrt, Warmup, OneCycle,
)  # fmt: skip
"""All members: what a trainer's file may name."""

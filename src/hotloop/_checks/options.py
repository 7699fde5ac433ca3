"""Checks of options: numbers, flags and names."""

import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np

from hotloop.errors import InvalidTypeError, InvalidValueError

__all__ = ["COUNTABLE", "check_choice", "check_dtype", "check_flag", "check_integer", "check_number"]

COUNTABLE = 2**53
"""Whole numbers below it are exact in float64, in which schedules and averages count steps."""


def check_number(value: Any, name: str, *, low: float = -math.inf, below: float = math.inf) -> float:
    """`value` as a float, if it is a finite number with low <= value < below."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InvalidTypeError(f"{name}: expected a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidValueError(f"{name}: must be finite, got {value!r}")
    if number < low:
        raise InvalidValueError(f"{name}: must be at least {low:g}, got {value!r}")
    if number >= below:
        raise InvalidValueError(f"{name}: must be below {below:g}, got {value!r}")
    return number


def check_integer(value: Any, name: str, *, low: int, below: int | None = None) -> int:
    """`value` as an int, if it is a whole number with low <= value < below; None for no limit."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise InvalidTypeError(f"{name}: expected a whole number, got {value!r}")
    if value < low:
        raise InvalidValueError(f"{name}: must be at least {low}, got {value!r}")
    if below is not None and int(value) >= below:
        raise InvalidValueError(f"{name}: must be below {below}, got {value!r}")
    return int(value)


def check_flag(value: Any, name: str) -> bool:
    """`value`, if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidTypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def check_dtype(value: Any, name: str) -> np.dtype[Any]:
    """`value` as a dtype, if it is float32 or float64."""
    try:
        dtype: np.dtype[Any] = np.dtype(value)
    except TypeError:
        dtype = np.dtype(object)
    if value is None or dtype not in (np.dtype("float32"), np.dtype("float64")):
        raise InvalidValueError(f"{name}: must be 'float32' or 'float64', got {value!r}")
    return dtype


def check_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """`value`, if it is one of `choices`."""
    if not isinstance(value, str):
        raise InvalidTypeError(f"{name}: expected one of {sorted(choices)}, got {value!r}")
    if value not in choices:
        raise InvalidValueError(f"{name}: must be one of {sorted(choices)}, got {value!r}")
    return value

"""Schedules: the learning rate as a function of the step."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Schedule"]

Schedule: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Called with an array of step numbers, from 0, it returns an array of rates of the same shape."""

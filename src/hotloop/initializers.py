"""Initial values: for each name, how the first numbers of a parameter are drawn.

To add one: a function and a row in `INITIALIZERS`.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["INITIALIZERS", "initial_values"]

Draw = Callable[[tuple[int, ...], np.random.Generator], NDArray[Any]]


def zeros(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    """All 0."""
    return np.zeros(shape)


def glorot_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    """Uniform on ±√(6 / (fan_in + fan_out)): Glorot & Bengio (2010), equation 16."""
    limit = math.sqrt(6 / sum(_fans(shape)))
    return rng.uniform(-limit, limit, shape)


def he_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    """Uniform on ±√(6 / fan_in), variance 2 / fan_in: He et al. (2015), section 2.2, for ReLU."""
    limit = math.sqrt(6 / _fans(shape)[0])
    return rng.uniform(-limit, limit, shape)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], shape[-1]


INITIALIZERS: dict[str, Draw] = {
    "zeros": zeros,
    "glorot_uniform": glorot_uniform,
    "he_uniform": he_uniform,
}
"""Public name → function of (shape, generator)."""


def initial_values(name: str, shape: tuple[int, ...], seed: int, index: int) -> NDArray[Any]:
    """First values of the model's parameter number `index`: they depend on nothing but the arguments."""
    return INITIALIZERS[name](shape, np.random.default_rng([seed, index]))

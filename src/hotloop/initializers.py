"""Initial values: how the first numbers of a parameter are drawn.

An initializer is called with a shape, the (fan_in, fan_out) of the layer, and a generator. To add one:
a function and a row in `INITIALIZERS`; or, where it takes a number, a frozen dataclass and a row in
`CONFIGURABLE`. Normal distributions are not truncated, as in PyTorch.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_choice, check_number

__all__ = ["Constant", "Initializer", "Normal", "Orthogonal"]

Shape = tuple[int, ...]
Fans = tuple[int, int]
LARGEST = 1e30  # an option below this leaves float32 room for the tails of a normal distribution


@dataclass(frozen=True)
class Initializer(ABC):
    """Base of the initial values that take a number.

    Examples
    --------
    >>> import hotloop as hl
    >>> isinstance(hl.initializers.Constant(0.1), hl.initializers.Initializer)
    True
    """

    @abstractmethod
    def __call__(self, shape: Shape, fans: Fans, rng: np.random.Generator) -> NDArray[Any]:
        """Values of this shape."""

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in asdict(self).items())
        return f"initializers.{type(self).__name__}({said})"


@dataclass(frozen=True, repr=False)
class Constant(Initializer):
    """All the same number.

    Parameters
    ----------
    value : float
        The number.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Dense(128, "relu", bias_init=hl.initializers.Constant(0.1))
    Dense(units=128, activation='relu', bias_init=initializers.Constant(value=0.1))
    """

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", check_number(self.value, "value", low=-LARGEST, below=LARGEST))

    def __call__(self, shape: Shape, fans: Fans, rng: np.random.Generator) -> NDArray[Any]:
        """Values of this shape."""
        return np.full(shape, self.value)


@dataclass(frozen=True, repr=False)
class Normal(Initializer):
    """Normally distributed around 0, whatever the fans. The name "normal" is ``Normal(0.01)``.

    Parameters
    ----------
    std : float, default 0.01
        Standard deviation, at least 0.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Dense(128, "relu", kernel_init=hl.initializers.Normal(0.1))
    Dense(units=128, activation='relu', kernel_init=initializers.Normal(std=0.1))
    """

    std: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "std", check_number(self.std, "std", low=0, below=LARGEST))

    def __call__(self, shape: Shape, fans: Fans, rng: np.random.Generator) -> NDArray[Any]:
        """Values of this shape."""
        return rng.normal(0, self.std, shape)


@dataclass(frozen=True, repr=False)
class Orthogonal(Initializer):
    """A random matrix with orthonormal rows or columns, times a gain; for kernels only.

    Uniform among them: the Q of a Gaussian matrix, its signs such that R has a positive diagonal. With
    fan_in ≥ units the columns are orthonormal, else the rows. The name "orthogonal" is ``Orthogonal(1.0)``.

    Parameters
    ----------
    gain : float, default 1.0
        What the matrix is multiplied with; √2 suits ReLU.

    Notes
    -----
    Saxe, McClelland & Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks" (2014), section 3. The signs: Mezzadri, "How to generate random matrices from the
    classical compact groups" (2007), section 5.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Dense(128, "tanh", kernel_init=hl.initializers.Orthogonal(gain=1.5))
    Dense(units=128, activation='tanh', kernel_init=initializers.Orthogonal(gain=1.5))
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", check_number(self.gain, "gain", low=-LARGEST, below=LARGEST))

    def __call__(self, shape: Shape, fans: Fans, rng: np.random.Generator) -> NDArray[Any]:
        """Values of this shape, which has two sides."""
        q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
        q = self.gain * np.where(np.diagonal(r) < 0, -q, q)
        return q if shape[0] >= shape[1] else q.T


def zeros(shape: Shape, fans: Fans, rng: np.random.Generator) -> NDArray[Any]:
    """All 0."""
    return np.zeros(shape)


def ones(shape: Shape, fans: Fans, rng: np.random.Generator) -> NDArray[Any]:
    """All 1."""
    return np.ones(shape)


def uniform(shape: Shape, fans: Fans, rng: np.random.Generator) -> NDArray[Any]:
    """Uniform on ±1 / √fan_in: the notes', and PyTorch's default for kernels and biases of `Linear`."""
    limit = 1 / math.sqrt(fans[0])
    return rng.uniform(-limit, limit, shape)


def lecun_uniform(shape: Shape, fans: Fans, rng: np.random.Generator) -> NDArray[Any]:
    """Uniform on ±√(3 / fan_in), variance 1 / fan_in: LeCun et al. (1998), "Efficient BackProp", 4.6."""
    limit = math.sqrt(3 / fans[0])
    return rng.uniform(-limit, limit, shape)


def lecun_normal(shape: Shape, fans: Fans, rng: np.random.Generator) -> NDArray[Any]:
    """N(0, 1 / fan_in), as LeCun et al. (1998), section 4.6; the notes call this one Xavier."""
    return rng.normal(0, math.sqrt(1 / fans[0]), shape)


def glorot_uniform(shape: Shape, fans: Fans, rng: np.random.Generator) -> NDArray[Any]:
    """Uniform on ±√(6 / (fan_in + fan_out)): Glorot & Bengio (2010), equation 16."""
    limit = math.sqrt(6 / sum(fans))
    return rng.uniform(-limit, limit, shape)


def glorot_normal(shape: Shape, fans: Fans, rng: np.random.Generator) -> NDArray[Any]:
    """N(0, 2 / (fan_in + fan_out)): Glorot & Bengio (2010), equation 12."""
    return rng.normal(0, math.sqrt(2 / sum(fans)), shape)


def he_uniform(shape: Shape, fans: Fans, rng: np.random.Generator) -> NDArray[Any]:
    """Uniform on ±√(6 / fan_in), variance 2 / fan_in: He et al. (2015), section 2.2, for ReLU."""
    limit = math.sqrt(6 / fans[0])
    return rng.uniform(-limit, limit, shape)


def he_normal(shape: Shape, fans: Fans, rng: np.random.Generator) -> NDArray[Any]:
    """N(0, 2 / fan_in): He et al. (2015), equation 10, for ReLU."""
    return rng.normal(0, math.sqrt(2 / fans[0]), shape)


INITIALIZERS: dict[str, Callable[[Shape, Fans, np.random.Generator], NDArray[Any]]] = {
    "zeros": zeros,
    "ones": ones,
    "uniform": uniform,
    "normal": Normal(),
    "lecun_uniform": lecun_uniform,
    "lecun_normal": lecun_normal,
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "orthogonal": Orthogonal(),
}
"""Public name → function of (shape, fans, generator)."""

FOR_BIASES = ("zeros", "ones", "uniform", "normal")
"""Names that suit a vector as well as a matrix."""

CONFIGURABLE: dict[str, type[Initializer]] = {
    "Constant": Constant,
    "Normal": Normal,
    "Orthogonal": Orthogonal,
}
"""Type name in model files → initializer."""


def check_kernel_init(value: Any, name: str) -> str | Initializer:
    """`value`, if it says how a kernel is drawn."""
    return value if isinstance(value, Initializer) else check_choice(value, name, {*INITIALIZERS, "auto"})


def check_bias_init(value: Any, name: str) -> str | Initializer:
    """`value`, if it says how a bias is drawn."""
    return value if isinstance(value, Constant | Normal) else check_choice(value, name, FOR_BIASES)


def initial_values(init: str | Initializer, shape: Shape, fans: Fans, seed: int, index: int) -> NDArray[Any]:
    """First values of the model's parameter number `index`: they depend on nothing but the arguments."""
    draw = INITIALIZERS[init] if isinstance(init, str) else init
    return draw(shape, fans, np.random.default_rng([seed, index]))

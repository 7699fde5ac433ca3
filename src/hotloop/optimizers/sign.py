"""Steps that follow the sign of the gradient, or of its mean."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_number
from hotloop._jit import kernel, kernel_exact
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.optimizers.base import Optimizer, check_betas
from hotloop.schedules import ScheduleFunction

__all__ = ["Lion", "Rprop", "sign_step"]

RPROP_CODE = 9
LION_CODE = 10

ZERO, ONE = np.float32(0), np.float32(1)


@dataclass(frozen=True)
class Rprop(Optimizer):
    """A step size of its own for each number of θ: it grows while the gradient keeps its sign.

    .. math::
        η_i ← \\text{clip}(η_i η^{±}), \\qquad θ_i ← θ_i − η_i \\, \\text{sign}(g_i)

    with η⁺ where gᵢ has the sign of the step before, η⁻ where it changed; there θᵢ stays for a step.
    For full batches: on minibatches the signs are noise.

    Parameters
    ----------
    lr : float, default 0.01
        The first step size of all; not a schedule.
    etas : (float, float), default (0.5, 1.2)
        η⁻ in (0, 1) and η⁺ above 1.
    step_sizes : (float, float), default (1e-6, 50)
        The least and the largest step size.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Riedmiller & Braun, "A direct adaptive method for faster backpropagation learning" (1993), in the
    form without weight backtracking (iRprop−) of ``torch.optim.Rprop``.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Rprop().etas
    (0.5, 1.2)
    """

    lr: float = 1e-2
    etas: tuple[float, float] = (0.5, 1.2)
    step_sizes: tuple[float, float] = (1e-6, 50.0)

    code: ClassVar[int] = RPROP_CODE
    slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if callable(self.lr):
            raise InvalidTypeError("lr: Rprop adapts its own step sizes; give the first one as a number")
        super().__post_init__()
        down, up = _pair(self.etas, "etas")
        if not 0 < down < 1 < up:
            raise InvalidValueError(f"etas: need 0 < η⁻ < 1 < η⁺, got {self.etas!r}")
        least, largest = _pair(self.step_sizes, "step_sizes")
        if not 0 < least <= largest:
            raise InvalidValueError(f"step_sizes: need 0 < least <= largest, got {self.step_sizes!r}")

    def kernel(self) -> Any:
        """That of its family."""
        return sign_step

    def hyper(self) -> tuple[float, ...]:
        """(η⁻, η⁺, least, largest)."""
        return (*self.etas, *self.step_sizes)

    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """The first step size in step 0, after that 0."""
        return np.where(steps == 0, rates, 0.0)[:, None]


@dataclass(frozen=True)
class Lion(Optimizer):
    """The sign of an interpolated momentum.

    .. math::
        θ ← θ − η \\, (\\text{sign}(β_1 m + (1−β_1) g) + λ θ), \\qquad m ← β_2 m + (1−β_2) g

    Parameters
    ----------
    lr : float or callable, default 1e-4
        The rate η, or a schedule; three to ten times smaller than Adam's.
    betas : (float, float), default (0.9, 0.99)
        β₁ and β₂, each at least 0 and below 1.
    weight_decay : float, default 0.0
        λ, decoupled.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Chen et al., "Symbolic discovery of optimization algorithms" (2023), algorithm 2. PyTorch has no
    twin; tests hold it to the formula in NumPy.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Lion()
    Lion(lr=0.0001, betas=(0.9, 0.99), weight_decay=0.0)
    """

    lr: float | ScheduleFunction = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0

    code: ClassVar[int] = LION_CODE
    slots: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "betas", check_betas(self.betas))
        check_number(self.weight_decay, "weight_decay", low=0.0)

    def kernel(self) -> Any:
        """That of its family."""
        return sign_step

    def hyper(self) -> tuple[float, ...]:
        """(β₁, β₂, λ)."""
        return (*self.betas, self.weight_decay)


def _pair(values: Any, name: str) -> tuple[float, float]:
    if not isinstance(values, (tuple, list)) or len(values) != 2:
        raise InvalidTypeError(f"{name}: expected a pair of numbers, got {values!r}")
    return check_number(values[0], f"{name}[0]"), check_number(values[1], f"{name}[1]")


@kernel
def sign(x):
    """-1, 0 or 1; NaN stays NaN."""
    return ONE if x > ZERO else (-ONE if x < ZERO else x)


@kernel_exact
def rprop_step(theta, grad, before, size, first, down, up, least, largest):
    """A step of `Rprop`; `before` is the gradient of the step before, 0 where the sign changed."""
    number = theta.dtype.type
    shrink, grow, low, high, start = number(down), number(up), number(least), number(largest), number(first)
    for i in range(len(theta)):
        g, eta, theta_i = grad[i], size[i] + start, theta[i]
        same = g * before[i]
        eta *= grow if same > ZERO else (shrink if same < ZERO else ONE)
        # A size of 0 is that of frozen weights; all others are kept in their limits.
        eta = min(max(eta, low if eta > ZERO else ZERO), high)
        g = ZERO if same < ZERO else g
        theta[i] = theta_i - sign(g) * eta
        before[i], size[i] = g, eta


@kernel_exact
def lion_step(theta, grad, m, rate, beta1, beta2, weight_decay):
    """A step of `Lion`."""
    number = theta.dtype.type
    blend1, blend2 = number(1.0 - beta1), number(1.0 - beta2)
    eta, rest = number(rate), number(1.0 - rate * weight_decay)
    for i in range(len(theta)):
        g, m_i, theta_i = grad[i], m[i], theta[i]
        theta[i] = rest * theta_i - eta * sign(m_i + blend1 * (g - m_i))
        m[i] = m_i + blend2 * (g - m_i)


@kernel
def sign_step(code, hyper, scalars, state, theta, grad, lo, hi):
    """A step on θ[lo:hi] of the member with this code."""
    theta = theta[lo:hi]
    if code == RPROP_CODE:
        before, size = state[0][lo:hi], state[1][lo:hi]
        rprop_step(theta, grad, before, size, scalars[0], hyper[0], hyper[1], hyper[2], hyper[3])
    elif code == LION_CODE:
        lion_step(theta, grad, state[0][lo:hi], scalars[0], hyper[0], hyper[1], hyper[2])

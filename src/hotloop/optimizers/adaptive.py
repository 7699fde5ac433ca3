"""A rate of its own for each number of θ, from the squares of its gradients."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hotloop._checks import check_flag, check_number
from hotloop._jit import kernel, kernel_exact
from hotloop.engine.mathfun import quotient
from hotloop.optimizers.base import Optimizer
from hotloop.schedules import ScheduleFunction

__all__ = ["Adadelta", "Adagrad", "RMSprop", "adaptive_step"]

ADAGRAD_CODE = 6
ADADELTA_CODE = 7
RMSPROP_CODE = 8

ZERO = np.float32(0)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Divide by the root of the sum of all squared gradients.

    .. math:: r ← r + g², \\qquad θ ← θ − η \\, g / (\\sqrt r + ε)

    Parameters
    ----------
    lr : float or callable, default 0.01
        The rate η, or a schedule.
    initial_accumulator : float, default 0.0
        r before the first step.
    eps : float, default 1e-10
        ε, added outside the root.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Duchi, Hazan & Singer, "Adaptive subgradient methods" (2011); ``notes/003``, AdaGrad. The steps of
    ``torch.optim.Adagrad`` with a constant rate; its ``lr_decay`` is a schedule here.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Adagrad(0.1)
    Adagrad(lr=0.1, initial_accumulator=0.0, eps=1e-10)
    """

    lr: float | ScheduleFunction = 1e-2
    initial_accumulator: float = 0.0
    eps: float = 1e-10

    code: ClassVar[int] = ADAGRAD_CODE
    slots: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.initial_accumulator, "initial_accumulator", low=0.0)
        check_number(self.eps, "eps", low=0.0)

    def kernel(self) -> Any:
        """That of its family."""
        return adaptive_step

    def hyper(self) -> tuple[float, ...]:
        """(r before the first step, ε)."""
        return (self.initial_accumulator, self.eps)


@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Scale by the ratio of two running root mean squares: of the updates, and of the gradients.

    .. math::
        s ← ρ s + (1−ρ) g², \\quad δ = \\sqrt{u + ε} / \\sqrt{s + ε} \\; g, \\quad
        u ← ρ u + (1−ρ) δ², \\quad θ ← θ − η δ

    Parameters
    ----------
    lr : float or callable, default 1.0
        The rate η, or a schedule; the paper has none, which is 1.
    rho : float, default 0.9
        ρ, at least 0 and below 1.
    eps : float, default 1e-6
        ε, added inside the roots.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Zeiler, "ADADELTA: an adaptive learning rate method" (2012), algorithm 1; ``torch.optim.Adadelta``.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Adadelta()
    Adadelta(lr=1.0, rho=0.9, eps=1e-06)
    """

    lr: float | ScheduleFunction = 1.0
    rho: float = 0.9
    eps: float = 1e-6

    code: ClassVar[int] = ADADELTA_CODE
    slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.rho, "rho", low=0.0, below=1.0)
        check_number(self.eps, "eps", low=0.0)

    def kernel(self) -> Any:
        """That of its family."""
        return adaptive_step

    def hyper(self) -> tuple[float, ...]:
        """(ρ, ε)."""
        return (self.rho, self.eps)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Divide by a running root mean square of the gradient.

    .. math:: s ← α s + (1−α) g², \\qquad v ← ρ v + g / (\\sqrt s + ε), \\qquad θ ← θ − η v

    and with ``centered=True`` s − ḡ² under the root, for a running mean ḡ of the gradient.

    Parameters
    ----------
    lr : float or callable, default 0.01
        The rate η, or a schedule.
    alpha : float, default 0.99
        α, at least 0 and below 1. The notes call it β and suggest 0.9.
    eps : float, default 1e-8
        ε, added outside the root.
    momentum : float, default 0.0
        ρ, at least 0 and below 1.
    centered : bool, default False
        Divide by the running standard deviation.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Tieleman & Hinton, Coursera lecture 6e (2012); centred: Graves, "Generating sequences with recurrent
    neural networks" (2013), equation 40; ``torch.optim.RMSprop``. The formula in ``notes/001`` has ε
    inside the root, its code outside, as here.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.RMSprop(1e-3, momentum=0.9).alpha
    0.99
    """

    lr: float | ScheduleFunction = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    code: ClassVar[int] = RMSPROP_CODE

    @property
    def slots(self) -> int:  # type: ignore[override]
        """s, v with momentum, and the mean if it is centred."""
        return 1 + (self.momentum > 0) + self.centered

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.alpha, "alpha", low=0.0, below=1.0)
        check_number(self.eps, "eps", low=0.0)
        check_number(self.momentum, "momentum", low=0.0, below=1.0)
        object.__setattr__(self, "centered", check_flag(self.centered, "centered"))

    def kernel(self) -> Any:
        """That of its family."""
        return adaptive_step

    def hyper(self) -> tuple[float, ...]:
        """(α, ε, ρ, whether centred)."""
        return (self.alpha, self.eps, self.momentum, float(self.centered))


@kernel_exact
def adagrad_step(theta, grad, r, rate, initial, eps):
    """A step of `Adagrad`; the state starts at 0, so the initial value is added here."""
    number = theta.dtype.type
    eta, start, epsilon = number(rate), number(initial), number(eps)
    for i in range(len(theta)):
        g, r_i, theta_i = grad[i], r[i], theta[i]
        r_i += g * g
        theta[i] = theta_i - quotient(eta * g, np.sqrt(start + r_i) + epsilon)
        r[i] = r_i


@kernel_exact
def adadelta_step(theta, grad, s, u, rate, rho, eps):
    """A step of `Adadelta`."""
    number = theta.dtype.type
    keep, take, eta, epsilon = number(rho), number(1.0 - rho), number(rate), number(eps)
    for i in range(len(theta)):
        g, s_i, u_i, theta_i = grad[i], s[i], u[i], theta[i]
        s_i = keep * s_i + take * g * g
        update = np.sqrt((u_i + epsilon) / (s_i + epsilon)) * g
        theta[i] = theta_i - eta * update
        s[i], u[i] = s_i, keep * u_i + take * update * update


@kernel_exact
def rmsprop_step(theta, grad, s, v, mean, rate, alpha, eps, momentum, centered):
    """A step of `RMSprop`; `v` is used with momentum only, `mean` if it is centred."""
    number = theta.dtype.type
    keep, take, rho = number(alpha), number(1.0 - alpha), number(momentum)
    eta, epsilon = number(rate), number(eps)
    for i in range(len(theta)):
        g = grad[i]
        s[i] = keep * s[i] + take * g * g
        variance = s[i]
        if centered:
            mean[i] += take * (g - mean[i])
            variance = max(s[i] - mean[i] * mean[i], ZERO)  # rounding may take it below 0
        scaled = quotient(g, np.sqrt(variance) + epsilon)
        if rho > ZERO:
            v[i] = rho * v[i] + scaled
            scaled = v[i]
        theta[i] -= eta * scaled


@kernel
def adaptive_step(code, hyper, scalars, state, theta, grad, lo, hi):
    """A step on θ[lo:hi] of the member with this code."""
    theta = theta[lo:hi]
    if code == ADAGRAD_CODE:
        adagrad_step(theta, grad, state[0][lo:hi], scalars[0], hyper[0], hyper[1])
    elif code == ADADELTA_CODE:
        adadelta_step(theta, grad, state[0][lo:hi], state[1][lo:hi], scalars[0], hyper[0], hyper[1])
    elif code == RMSPROP_CODE:
        momentum, centered = hyper[2], hyper[3] != 0.0
        s, mean = state[0][lo:hi], state[len(state) - 1][lo:hi]  # the mean is the last slot, if there is one
        v = state[1][lo:hi] if momentum > 0.0 else s
        rmsprop_step(theta, grad, s, v, mean, scalars[0], hyper[0], hyper[1], momentum, centered)

"""Optimizers: for each its public description, and its step as one loop over θ.

To add one: a code (append-only), a frozen dataclass, a kernel, and a branch in `optimizer_step`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_flag, check_number
from hotloop._jit import kernel
from hotloop.engine.mathfun import reciprocal
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.schedules import Schedule

__all__ = ["SGD", "Adam", "Optimizer", "optimizer_step"]

SGD_CODE = 0
ADAM_CODE = 1


@dataclass(frozen=True)
class Optimizer(ABC):
    """Base of all optimizers: immutable; what changes while training lives in the trainer."""

    lr: float | Schedule

    code: ClassVar[int]
    slots: ClassVar[int]
    """Vectors of θ's shape that the state needs."""

    @abstractmethod
    def hyper(self) -> tuple[float, ...]:
        """The numbers that the kernel reads, in its order."""

    def scalars(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The numbers of each step, counted from 0, that the kernel reads: (steps, numbers).

        What depends on the step alone is computed here, for a whole block at once: by default the rate.
        """
        return self.rates(steps)[:, None]

    def rates(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The learning rate of each step, counted from 0."""
        if callable(self.lr):
            returned = np.asarray(self.lr(steps))
            rates = returned.astype(np.float64) if returned.dtype.kind in "iuf" else np.empty(0)
            if rates.shape != steps.shape or not np.all(np.isfinite(rates)) or np.any(rates < 0):
                raise InvalidValueError(
                    f"lr: the schedule {self.lr!r} must return one finite rate >= 0 for each of the "
                    f"{steps.size} steps it is given; it returned {returned!r}"
                )
            return rates
        return np.full(steps.shape, float(self.lr))

    def _check_rate(self) -> None:
        if not callable(self.lr):
            check_number(self.lr, "lr", low=0.0)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum or Nesterov momentum on request.

    .. math:: v ← ρ v + g, \\qquad θ ← θ − η v

    and with ``nesterov=True`` :math:`θ ← θ − η (g + ρ v)`.

    Parameters
    ----------
    lr : float or callable
        The rate η, or a schedule: given an array of step numbers, it returns an array of rates.
    momentum : float, default 0.0
        ρ, at least 0 and below 1. Without momentum the step is θ ← θ − η g.
    nesterov : bool, default False
        Look ahead along the momentum; needs ``momentum > 0``.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Polyak (1964); Sutskever et al., "On the importance of initialization and momentum in deep
    learning" (2013), section 2, in PyTorch's form, which is also that of ``notes/001`` and
    ``notes/003``. ``notes/002`` puts the rate into v; for a constant rate the paths are the same.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.SGD(0.1, momentum=0.9)
    SGD(lr=0.1, momentum=0.9, nesterov=False)
    """

    lr: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    code: ClassVar[int] = SGD_CODE

    def __post_init__(self) -> None:
        self._check_rate()
        check_number(self.momentum, "momentum", low=0.0, below=1.0)
        object.__setattr__(self, "nesterov", check_flag(self.nesterov, "nesterov"))
        if self.nesterov and self.momentum == 0:
            raise InvalidValueError("nesterov: needs momentum > 0; pass for example momentum=0.9")

    @property
    def slots(self) -> int:  # type: ignore[override]
        """One vector, v, if there is momentum."""
        return 1 if self.momentum else 0

    def hyper(self) -> tuple[float, ...]:
        """(ρ, whether Nesterov's)."""
        return (self.momentum, float(self.nesterov))


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: momentum, scaled by a running root mean square of the gradient.

    .. math::
        m &← β_1 m + (1−β_1) g, \\qquad v ← β_2 v + (1−β_2) g² \\\\
        θ &← θ − η \\, \\hat m / (\\sqrt{\\hat v} + ε), \\quad
        \\hat m = m/(1−β_1^t), \\; \\hat v = v/(1−β_2^t)

    Parameters
    ----------
    lr : float or callable, default 0.001
        The rate η, or a schedule: given an array of step numbers, it returns an array of rates.
    betas : (float, float), default (0.9, 0.999)
        β₁ and β₂, each at least 0 and below 1.
    eps : float, default 1e-8
        ε, added outside the root.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Kingma & Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1; ``notes/001`` and
    ``notes/003``. PyTorch's ``torch.optim.Adam`` takes the same steps.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Adam(1e-3)
    Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08)
    """

    lr: float | Schedule = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    code: ClassVar[int] = ADAM_CODE
    slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        self._check_rate()
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            raise InvalidTypeError(f"betas: expected a pair of numbers (β₁, β₂), got {self.betas!r}")
        object.__setattr__(self, "betas", tuple(self.betas))
        for k, beta in enumerate(self.betas):
            check_number(beta, f"betas[{k}]", low=0.0, below=1.0)
        check_number(self.eps, "eps", low=0.0)

    def hyper(self) -> tuple[float, ...]:
        """(β₁, β₂, ε)."""
        return (*self.betas, self.eps)

    def scalars(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """(η / (1 − β₁ᵗ), 1 / √(1 − β₂ᵗ)) for t = step + 1: the two corrections of the averages."""
        beta1, beta2 = self.betas
        t = steps + 1.0
        scalars = np.empty((len(steps), 2))
        scalars[:, 0] = self.rates(steps) / (1.0 - beta1**t)
        scalars[:, 1] = 1.0 / np.sqrt(1.0 - beta2**t)
        return scalars


@kernel
def gradient_step(theta, grad, rate):
    """θ ← θ − η g."""
    eta = theta.dtype.type(rate)
    for i in range(len(theta)):
        theta[i] -= eta * grad[i]


@kernel
def momentum_step(theta, grad, v, rate, momentum, nesterov):
    """v ← ρ v + g; θ ← θ − η v, or with Nesterov's look-ahead θ ← θ − η (g + ρ v)."""
    eta = theta.dtype.type(rate)
    rho = theta.dtype.type(momentum)
    for i in range(len(theta)):
        v[i] = rho * v[i] + grad[i]
    if nesterov:
        for i in range(len(theta)):
            theta[i] -= eta * (grad[i] + rho * v[i])
    else:
        for i in range(len(theta)):
            theta[i] -= eta * v[i]


@kernel
def adam_step(theta, grad, m, v, rate, root_correction, beta1, beta2, eps):
    """A step of `Adam`; `rate` and `root_correction` are its scalars, which hold the corrections."""
    number = theta.dtype.type
    keep, take = number(beta2), number(1.0 - beta2)
    blend = number(1.0 - beta1)
    eta, correction, epsilon = number(rate), number(root_correction), number(eps)
    for i in range(len(theta)):
        g = grad[i]
        m[i] += blend * (g - m[i])
        v[i] = keep * v[i] + take * g * g
        theta[i] -= eta * m[i] * reciprocal(np.sqrt(v[i]) * correction + epsilon)


@kernel
def optimizer_step(update, step, theta, grad, lo, hi):
    """Step number `step` of the block on θ[lo:hi]; `update` is an `engine.loop.Update`."""
    hyper, scalars, state = update.hyper, update.scalars[step], update.state
    theta, grad = theta[lo:hi], grad[lo:hi]
    if update.code == SGD_CODE:
        if hyper[0] == 0.0:
            gradient_step(theta, grad, scalars[0])
        else:
            momentum_step(theta, grad, state[0][lo:hi], scalars[0], hyper[0], hyper[1] != 0.0)
    elif update.code == ADAM_CODE:
        m, v = state[0][lo:hi], state[1][lo:hi]
        adam_step(theta, grad, m, v, scalars[0], scalars[1], hyper[0], hyper[1], hyper[2])

"""Gradient descent, with momentum on request."""

from dataclasses import dataclass
from typing import Any, ClassVar

from hotloop._checks import check_flag, check_number
from hotloop._jit import kernel, kernel_exact
from hotloop.engine.single import single_step, single_step_ahead
from hotloop.errors import InvalidValueError
from hotloop.optimizers.base import Optimizer
from hotloop.schedules import ScheduleFunction

__all__ = ["SGD", "sgd_step"]

SGD_CODE = 0


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

    lr: float | ScheduleFunction = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    code: ClassVar[int] = SGD_CODE

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.momentum, "momentum", low=0.0, below=1.0)
        object.__setattr__(self, "nesterov", check_flag(self.nesterov, "nesterov"))
        if self.nesterov and self.momentum == 0:
            raise InvalidValueError("nesterov: needs momentum > 0; pass for example momentum=0.9")

    @property
    def slots(self) -> int:  # type: ignore[override]
        """One vector, v, if there is momentum."""
        return 1 if self.momentum else 0

    def kernel(self) -> Any:
        """That of its family."""
        return sgd_step

    def single_kernels(self, n_out: int) -> tuple[Any, Any]:
        """Without momentum, a step in place, for any layer, and the next sample's outputs with it."""
        return (None, None) if self.momentum else (single_step, single_step_ahead)

    def hyper(self) -> tuple[float, ...]:
        """(ρ, whether Nesterov's)."""
        return (self.momentum, float(self.nesterov))


@kernel_exact
def gradient_step(theta, grad, rate):
    """θ ← θ − η g."""
    eta = theta.dtype.type(rate)
    for i in range(len(theta)):
        theta[i] -= eta * grad[i]


@kernel_exact
def momentum_step(theta, grad, v, rate, momentum, nesterov):
    """v ← ρ v + g; θ ← θ − η v, or with Nesterov's look-ahead θ ← θ − η (g + ρ v)."""
    eta = theta.dtype.type(rate)
    rho = theta.dtype.type(momentum)
    for i in range(len(theta)):
        g, theta_i, v_i = grad[i], theta[i], v[i]
        v_i = rho * v_i + g
        theta[i] = theta_i - eta * (g + rho * v_i if nesterov else v_i)
        v[i] = v_i


@kernel
def sgd_step(code, hyper, scalars, state, theta, grad, lo, hi):
    """A step on θ[lo:hi] of the member with this code."""
    if hyper[0] == 0.0:
        gradient_step(theta[lo:hi], grad, scalars[0])
    else:
        momentum_step(theta[lo:hi], grad, state[0][lo:hi], scalars[0], hyper[0], hyper[1] != 0.0)

"""Gradient descent, with momentum on request."""

from dataclasses import dataclass
from typing import Any, ClassVar

from hotloop._checks import check_flag, check_number
from hotloop._jit import INTRINSICS, kernel, kernel_exact, kernel_in_order
from hotloop.engine.lone import begin_outputs
from hotloop.engine.single import plain_add_all, single_step, single_step_ahead
from hotloop.engine.strip import FEWEST_UNITS, strips_of
from hotloop.engine.table import DELTA, N_IN, N_OUT, VALUE, WEIGHT
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
        """A step in place; of longer rows also with momentum, and with the next sample's outputs."""
        if n_out < FEWEST_UNITS:
            return (None if self.momentum else single_step), None
        return (single_momentum, single_momentum_ahead) if self.momentum else (single_step, single_step_ahead)

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
def momentum_number(g, theta, v, eta, rho, nesterov):
    """v ← ρ v + g; θ ← θ − η v, or with Nesterov's look-ahead θ ← θ − η (g + ρ v)."""
    v = rho * v + g
    return theta - eta * (g + rho * v if nesterov else v), v


@kernel_exact
def momentum_step(theta, grad, v, rate, momentum, nesterov):
    """`momentum_number` for all of θ."""
    eta = theta.dtype.type(rate)
    rho = theta.dtype.type(momentum)
    for i in range(len(theta)):
        g, theta_i, v_i = grad[i], theta[i], v[i]
        theta[i], v[i] = momentum_number(g, theta_i, v_i, eta, rho, nesterov)


@kernel
def sgd_step(code, hyper, scalars, state, theta, grad, lo, hi):
    """A step on θ[lo:hi] of the member with this code."""
    if hyper[0] == 0.0:
        gradient_step(theta[lo:hi], grad, scalars[0])
    else:
        momentum_step(theta[lo:hi], grad, state[0][lo:hi], scalars[0], hyper[0], hyper[1] != 0.0)


@kernel
def momentum_numbers(theta, hyper, scalars):
    """What strips with momentum call `numbers`: η, ρ, and whether it looks ahead, in the precision of θ."""
    number = theta.dtype.type
    return number(scalars[0]), number(hyper[0]), number(hyper[1])


@kernel_exact
def single_momentum(one, hyper, scalars, state, theta, source, offset, lo, hi):
    """`momentum_step` for one sample, on rows lo:hi of a kernel, without a gradient in memory."""
    row, n_out, passing = one.row, one.row[N_OUT], (theta, state[0])
    x, delta = source[offset + lo : offset + hi], one.work[row[DELTA] :][:n_out]
    at, numbers = row[WEIGHT] + lo * n_out, momentum_numbers(theta, hyper, scalars)
    momentum_strips(passing, at, n_out, None, x, delta, delta, x, numbers)


@kernel_exact
def single_momentum_ahead(one, hyper, scalars, state, theta, source, offset, samples, coming):
    """`single_momentum` on all of a kernel, and z = b + Σ xᵢ Wᵢ of the coming sample with the new W."""
    row, passing = one.row, (theta, state[0])
    n_in, n_out = row[N_IN], row[N_OUT]
    begin_outputs(one, theta)
    z, delta = one.work[row[VALUE] :][:n_out], one.work[row[DELTA] :][:n_out]
    x, y = source[offset : offset + n_in], samples[coming : coming + n_in]
    numbers = momentum_numbers(theta, hyper, scalars)
    momentum_strips_ahead(passing, row[WEIGHT], n_out, None, x, delta, z, y, numbers)


@kernel_exact
def plain_momentum(passing, at, step, places, x, delta, z, y, numbers):
    """`momentum_step` on W, whose gradient is x δᵀ: what `strips_of` makes of `momentum_vector`."""
    eta, rho, nesterov = numbers
    for i in range(len(x)):
        w, v = passing[0][at + i * step :], passing[1][at + i * step :]
        for j in range(len(z)):
            w[j], v[j] = momentum_number(x[i] * delta[j], w[j], v[j], eta, rho, nesterov != 0)


@kernel_in_order
def plain_momentum_ahead(passing, at, step, places, x, delta, z, y, numbers):
    """`plain_momentum`, and z += Σ yᵢ Wᵢ with the new W."""
    plain_momentum(passing, at, step, places, x, delta, z, y, numbers)
    plain_add_all(passing, at, step, z, y)


def momentum_vector(vectors: Any, row: list[Any], g: Any, numbers: list[Any]) -> list[Any]:
    """`momentum_number` for a vector, as `strips_of` wants it."""
    builder, (w, v), (eta, rho, nesterov) = vectors.builder, row, numbers
    v = builder.fadd(builder.fmul(rho, v), g)
    looks_ahead = builder.fcmp_unordered("!=", nesterov, vectors.zeros)
    move = builder.select(looks_ahead, builder.fadd(g, builder.fmul(rho, v)), v)
    return [builder.fsub(w, builder.fmul(eta, move)), v]


if INTRINSICS:
    momentum_strips = strips_of(momentum_vector, ahead=False, as_they_lie=True)
    momentum_strips_ahead = strips_of(momentum_vector, ahead=True, as_they_lie=True)
else:
    momentum_strips, momentum_strips_ahead = plain_momentum, plain_momentum_ahead

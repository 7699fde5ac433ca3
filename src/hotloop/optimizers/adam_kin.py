"""Adam's kin: a running mean of the gradient over another measure of its size."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_number
from hotloop._jit import kernel, kernel_exact
from hotloop.engine.mathfun import quotient
from hotloop.optimizers.base import TwoAverages, adam_corrections, one_minus_power
from hotloop.schedules import ScheduleFunction

__all__ = ["AdaBelief", "Adamax", "NAdam", "RAdam", "adam_kin_step"]

ADAMAX_CODE = 2
NADAM_CODE = 3
RADAM_CODE = 4
ADABELIEF_CODE = 5


class _Kin(TwoAverages):
    """A member of the family."""

    def kernel(self) -> Any:
        """That of its family."""
        return adam_kin_step


@dataclass(frozen=True)
class Adamax(_Kin):
    """Adam with the largest instead of the root mean square gradient.

    .. math::
        m &← β_1 m + (1−β_1) g, \\qquad u ← \\max(β_2 u, |g| + ε) \\\\
        θ &← θ − \\frac{η}{1−β_1^t} \\, m / u

    Parameters
    ----------
    lr : float or callable, default 0.002
        The rate η, or a schedule.
    betas : (float, float), default (0.9, 0.999)
        β₁ and β₂, each at least 0 and below 1.
    eps : float, default 1e-8
        ε, which keeps u above 0.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Kingma & Ba (2015), section 7.1, in the form of ``torch.optim.Adamax``.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Adamax()
    Adamax(lr=0.002, betas=(0.9, 0.999), eps=1e-08)
    """

    lr: float | ScheduleFunction = 2e-3

    code: ClassVar[int] = ADAMAX_CODE

    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """η / (1 − β₁ᵗ), for t = step + 1."""
        return (rates / one_minus_power(self.betas[0], steps + 1.0))[:, None]


@dataclass(frozen=True)
class NAdam(_Kin):
    """Adam with Nesterov's look-ahead.

    .. math::
        μ_t &= β_1 (1 − ½ \\cdot 0.96^{tψ}) \\\\
        θ &← θ − η \\left( \\frac{1−μ_t}{1−\\prod_{i≤t} μ_i} g
              + \\frac{μ_{t+1}}{1−\\prod_{i≤t+1} μ_i} m \\right) / (\\sqrt{\\hat v} + ε)

    Parameters
    ----------
    lr : float or callable, default 0.002
        The rate η, or a schedule.
    betas : (float, float), default (0.9, 0.999)
        β₁ and β₂, each at least 0 and below 1.
    eps : float, default 1e-8
        ε, added outside the root.
    momentum_decay : float, default 0.004
        ψ, how fast μ approaches β₁.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Dozat, "Incorporating Nesterov momentum into Adam" (2016), in the form of ``torch.optim.NAdam``.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.NAdam(1e-3).momentum_decay
    0.004
    """

    lr: float | ScheduleFunction = 2e-3
    momentum_decay: float = 4e-3

    code: ClassVar[int] = NADAM_CODE

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.momentum_decay, "momentum_decay", low=0.0)

    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """The factor of g, √(1 − β₂ᵗ), and the factor of m."""
        scalars = adam_corrections(steps, rates, self.betas, columns=3)
        product, product_next = self._product(steps), self._product(steps + 1)
        corrected = rates * scalars[:, 1]
        scalars[:, 0] = corrected * (1.0 - self._mu(steps + 1)) / (1.0 - product)
        scalars[:, 2] = corrected * self._mu(steps + 2) / (1.0 - product_next)
        return scalars

    def _mu(self, t: NDArray[Any]) -> NDArray[np.float64]:
        """μₜ, for t counted from 1."""
        return np.asarray(self.betas[0] * (1.0 - 0.5 * 0.96 ** (t * self.momentum_decay)))

    def _product(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """μ₁ … μₜ for t = step + 1.

        Each μ is at most β₁, so after `vanishes` factors 1 less the product is 1 in float64.
        """
        beta1 = self.betas[0]
        vanishes = 2 if beta1 == 0 else 2 - int(40 / np.log(beta1))
        last = int(min(steps.max(initial=0), vanishes))
        product = np.cumprod(self._mu(np.arange(1, last + 2)))
        return np.asarray(product[np.minimum(steps, last)])


@dataclass(frozen=True)
class RAdam(_Kin):
    """Adam that waits with its division until the variance of v̂ is small enough.

    .. math::
        ρ_t &= ρ_∞ − 2 t β_2^t / (1−β_2^t), \\qquad ρ_∞ = 2/(1−β_2) − 1 \\\\
        θ &← θ − η \\hat m \\, r_t / (\\sqrt{\\hat v} + ε') \\text{ if } ρ_t > 5,
        \\text{ else } θ ← θ − η \\hat m \\\\
        r_t &= \\sqrt{\\frac{(ρ_t−4)(ρ_t−2)ρ_∞}{(ρ_∞−4)(ρ_∞−2)ρ_t}}

    Parameters
    ----------
    lr : float or callable, default 0.001
        The rate η, or a schedule.
    betas : (float, float), default (0.9, 0.999)
        β₁ and β₂, each at least 0 and below 1.
    eps : float, default 1e-8
        ε, added to √v before the correction of v: ε' = ε / √(1 − β₂ᵗ).

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Liu et al., "On the variance of the adaptive learning rate and beyond" (2020), algorithm 2, in the
    form of ``torch.optim.RAdam``.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.RAdam()
    RAdam(lr=0.001, betas=(0.9, 0.999), eps=1e-08)
    """

    code: ClassVar[int] = RADAM_CODE

    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """(η / (1 − β₁ᵗ), rₜ √(1 − β₂ᵗ) or 0 while the division waits)."""
        beta2, t = self.betas[1], steps + 1.0
        corrected = rates / one_minus_power(self.betas[0], t)
        long_run = 2.0 / (1.0 - beta2) - 1.0
        rho = long_run - 2.0 * t * beta2**t / (1.0 - beta2**t)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = (rho - 4) * (rho - 2) * long_run / ((long_run - 4) * (long_run - 2) * rho)
            rectified = np.where(rho > 5.0, np.sqrt(ratio * one_minus_power(beta2, t)), 0.0)
        return np.column_stack((corrected, rectified))


@dataclass(frozen=True)
class AdaBelief(_Kin):
    """Adam that divides by how far the gradient strays from its running mean.

    .. math::
        m &← β_1 m + (1−β_1) g, \\qquad s ← β_2 s + (1−β_2)(g−m)² + ε \\\\
        θ &← θ − η \\, \\hat m / (\\sqrt{\\hat s} + ε)

    Parameters
    ----------
    lr : float or callable, default 0.001
        The rate η, or a schedule.
    betas : (float, float), default (0.9, 0.999)
        β₁ and β₂, each at least 0 and below 1.
    eps : float, default 1e-16
        ε, added to s at each step, and outside the root.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed gradients"
    (2020), algorithm 2. PyTorch has no twin; tests hold it to the formulas in NumPy.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.AdaBelief(1e-2)
    AdaBelief(lr=0.01, betas=(0.9, 0.999), eps=1e-16)
    """

    eps: float = 1e-16

    code: ClassVar[int] = ADABELIEF_CODE

    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """The two corrections."""
        return adam_corrections(steps, rates, self.betas)


@kernel_exact
def adamax_step(theta, grad, m, u, rate, beta1, beta2, eps):
    """A step of `Adamax`."""
    number = theta.dtype.type
    keep_m, take_m, keep = number(beta1), number(1.0 - beta1), number(beta2)
    eta, epsilon = number(rate), number(eps)
    for i in range(len(theta)):
        g, m_i, u_i, theta_i = grad[i], m[i], u[i], theta[i]
        m_i = keep_m * m_i + take_m * g
        u_i = max(keep * u_i, abs(g) + epsilon)
        theta[i] = theta_i - eta * m_i / u_i
        m[i], u[i] = m_i, u_i


@kernel_exact
def nadam_step(theta, grad, m, v, rate_of_g, of_eps, rate_of_m, beta1, beta2, eps):
    """A step of `NAdam`; `of_eps` and the rates hold the corrections."""
    number = theta.dtype.type
    keep_m, take_m, keep_v, take_v = number(beta1), number(1.0 - beta1), number(beta2), number(1.0 - beta2)
    eta_g, eta_m, epsilon = number(rate_of_g), number(rate_of_m), number(of_eps * eps)
    for i in range(len(theta)):
        g, m_i, v_i, theta_i = grad[i], m[i], v[i], theta[i]
        m_i = keep_m * m_i + take_m * g
        v_i = keep_v * v_i + take_v * g * g
        theta[i] = theta_i - quotient(eta_g * g + eta_m * m_i, np.sqrt(v_i) + epsilon)
        m[i], v[i] = m_i, v_i


@kernel_exact
def radam_step(theta, grad, m, v, rate, rectified, beta1, beta2, eps):
    """A step of `RAdam`; `rectified` is 0 while the division waits: until then it is by 1."""
    number = theta.dtype.type
    keep_m, take_m, keep_v, take_v = number(beta1), number(1.0 - beta1), number(beta2), number(1.0 - beta2)
    waits = rectified == 0.0
    eta = number(rate if waits else rate * rectified)
    of_root, rest = number(0.0 if waits else 1.0), number(1.0 if waits else eps)
    for i in range(len(theta)):
        g, m_i, v_i, theta_i = grad[i], m[i], v[i], theta[i]
        m_i = keep_m * m_i + take_m * g
        v_i = keep_v * v_i + take_v * g * g
        theta[i] = theta_i - quotient(eta * m_i, of_root * np.sqrt(v_i) + rest)
        m[i], v[i] = m_i, v_i


@kernel_exact
def adabelief_step(theta, grad, m, s, rate, of_eps, beta1, beta2, eps):
    """A step of `AdaBelief`; `rate` and `of_eps` hold the corrections."""
    number = theta.dtype.type
    keep_m, take_m, keep_v, take_v = number(beta1), number(1.0 - beta1), number(beta2), number(1.0 - beta2)
    eta, epsilon, outside = number(rate), number(eps), number(of_eps * eps)
    for i in range(len(theta)):
        g, m_i, s_i, theta_i = grad[i], m[i], s[i], theta[i]
        m_i = keep_m * m_i + take_m * g
        surprise = g - m_i
        s_i = keep_v * s_i + take_v * surprise * surprise + epsilon
        theta[i] = theta_i - quotient(eta * m_i, np.sqrt(s_i) + outside)
        m[i], s[i] = m_i, s_i


@kernel
def adam_kin_step(code, hyper, scalars, state, theta, grad, lo, hi):
    """A step on θ[lo:hi] of the member with this code."""
    theta, m, v = theta[lo:hi], state[0][lo:hi], state[1][lo:hi]
    beta1, beta2, eps = hyper[0], hyper[1], hyper[2]
    if code == ADAMAX_CODE:
        adamax_step(theta, grad, m, v, scalars[0], beta1, beta2, eps)
    elif code == NADAM_CODE:
        nadam_step(theta, grad, m, v, scalars[0], scalars[1], scalars[2], beta1, beta2, eps)
    elif code == RADAM_CODE:
        radam_step(theta, grad, m, v, scalars[0], scalars[1], beta1, beta2, eps)
    else:
        adabelief_step(theta, grad, m, v, scalars[0], scalars[1], beta1, beta2, eps)

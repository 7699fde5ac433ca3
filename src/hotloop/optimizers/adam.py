"""Adam and its kin: a running mean of the gradient over a running root mean square."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_flag, check_number
from hotloop._jit import distinct, kernel, kernel_exact, kernel_in_order
from hotloop.engine.descent import kernel_end
from hotloop.engine.mathfun import reciprocal
from hotloop.engine.single import begin_outputs
from hotloop.engine.table import DELTA, N_IN, N_OUT, VALUE, WEIGHT
from hotloop.optimizers.base import Optimizer, adam_corrections, check_betas
from hotloop.schedules import ScheduleFunction

__all__ = ["AdaBelief", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "adam_family_step", "lone_adam_step"]

ADAM_CODE = 1
ADAMAX_CODE = 2
NADAM_CODE = 3
RADAM_CODE = 4
ADABELIEF_CODE = 5

FEWEST_UNITS, WHOLE_VECTORS = 48, 16
"""Of a layer that `single_adam` is for: its loop over a row of W has a start and an end, which take time."""


@dataclass(frozen=True)
class _TwoAverages(Optimizer, ABC):
    """What they share: a running mean m of the gradient, and v or its kin, for its size."""

    lr: float | ScheduleFunction = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    @property
    def slots(self) -> int:  # type: ignore[override]
        """m and v."""
        return 2

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "betas", check_betas(self.betas))
        check_number(self.eps, "eps", low=0.0)

    def kernel(self) -> Any:
        """That of its family."""
        return adam_family_step

    def single_kernels(self, n_out: int) -> tuple[Any, Any]:
        """For the steps of `lone_adam_step`, where rows are whole vectors."""
        fits = n_out >= FEWEST_UNITS and n_out % WHOLE_VECTORS == 0
        return (single_adam, single_adam_ahead) if fits and self.kernel() is lone_adam_step else (None, None)

    def hyper(self) -> tuple[float, ...]:
        """(β₁, β₂, ε)."""
        return (*self.betas, self.eps)

    @abstractmethod
    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """The numbers of each step that the kernel reads: (steps, numbers)."""


@dataclass(frozen=True)
class Adam(_TwoAverages):
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
    amsgrad : bool, default False
        Divide by the largest v̂ so far, so that a rate never grows again: Reddi, Kale & Kumar, "On the
        convergence of Adam and beyond" (2018), algorithm 2.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Kingma & Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1; ``notes/001`` and
    ``notes/003`` (whose code puts ε inside the root). PyTorch's ``torch.optim.Adam`` takes the same
    steps.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Adam(1e-3)
    Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08, amsgrad=False)
    """

    amsgrad: bool = False

    code: ClassVar[int] = ADAM_CODE

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "amsgrad", check_flag(self.amsgrad, "amsgrad"))

    @property
    def slots(self) -> int:  # type: ignore[override]
        """m and v, and with `amsgrad` the largest v."""
        return 3 if self.amsgrad else 2

    def kernel(self) -> Any:
        """That of its family, or, since it is what most training compiles, one of its own."""
        return adam_family_step if self.amsgrad else lone_adam_step

    def hyper(self) -> tuple[float, ...]:
        """(β₁, β₂, ε, whether AMSGrad)."""
        return (*super().hyper(), float(self.amsgrad))

    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """The two corrections, and 1: what is kept of θ."""
        scalars = adam_corrections(steps, rates, self.betas, columns=3)
        scalars[:, 2] = 1.0
        return scalars


@dataclass(frozen=True)
class AdamW(_TwoAverages):
    """Adam with decoupled weight decay: θ shrinks by itself, not through the gradient.

    .. math:: θ ← (1 − η λ) θ, \\qquad \\text{then a step of Adam}

    Parameters
    ----------
    lr : float or callable, default 0.001
        The rate η, or a schedule.
    betas : (float, float), default (0.9, 0.999)
        β₁ and β₂, each at least 0 and below 1.
    eps : float, default 1e-8
        ε, added outside the root.
    weight_decay : float, default 0.01
        λ. It shrinks all of θ, biases too, as PyTorch's does.
    amsgrad : bool, default False
        As in `Adam`.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Loshchilov & Hutter, "Decoupled weight decay regularization" (2019), algorithm 2, with the decay
    multiplied by η, as in ``torch.optim.AdamW``.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.AdamW(1e-3, weight_decay=0.1).weight_decay
    0.1
    """

    weight_decay: float = 0.01
    amsgrad: bool = False

    code: ClassVar[int] = ADAM_CODE

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.weight_decay, "weight_decay", low=0.0)
        object.__setattr__(self, "amsgrad", check_flag(self.amsgrad, "amsgrad"))

    @property
    def slots(self) -> int:  # type: ignore[override]
        """m and v, and with `amsgrad` the largest v."""
        return 3 if self.amsgrad else 2

    def kernel(self) -> Any:
        """That of its family, or, since it is what most training compiles, one of its own."""
        return adam_family_step if self.amsgrad else lone_adam_step

    def hyper(self) -> tuple[float, ...]:
        """(β₁, β₂, ε, whether AMSGrad)."""
        return (*super().hyper(), float(self.amsgrad))

    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """The two corrections, and 1 − η λ: what is kept of θ."""
        scalars = adam_corrections(steps, rates, self.betas, columns=3)
        scalars[:, 2] = 1.0 - rates * self.weight_decay
        return scalars


@dataclass(frozen=True)
class Adamax(_TwoAverages):
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
        """η / (1 − β₁ᵗ) for t = step + 1; the second correction is not used."""
        return adam_corrections(steps, rates, self.betas)


@dataclass(frozen=True)
class NAdam(_TwoAverages):
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
        """The factor of g, 1 / √(1 − β₂ᵗ), and the factor of m."""
        scalars = adam_corrections(steps, rates, self.betas, columns=3)
        product, product_next = self._product(steps), self._product(steps + 1)
        scalars[:, 0] = rates * (1.0 - self._mu(steps + 1)) / (1.0 - product)
        scalars[:, 2] = rates * self._mu(steps + 2) / (1.0 - product_next)
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
class RAdam(_TwoAverages):
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
        scalars = adam_corrections(steps, rates, self.betas)
        beta2, t = self.betas[1], steps + 1.0
        long_run = 2.0 / (1.0 - beta2) - 1.0
        rho = long_run - 2.0 * t * beta2**t / (1.0 - beta2**t)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = (rho - 4) * (rho - 2) * long_run / ((long_run - 4) * (long_run - 2) * rho)
            scalars[:, 1] = np.where(rho > 5.0, np.sqrt(ratio) / scalars[:, 1], 0.0)
        return scalars


@dataclass(frozen=True)
class AdaBelief(_TwoAverages):
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


@kernel_in_order
def adam_number(g, m, v, w, blend_m, blend_v, eta, correction, epsilon):
    """m, v and w after a step with the gradient g.

    Each line has one product to fuse, so it need not be exact: this is in the loop that most training is.
    """
    m += blend_m * (g - m)
    v += blend_v * (g * g - v)
    return m, v, w - eta * m * reciprocal(np.sqrt(v) * correction + epsilon)


@distinct
@kernel
def adam_step(theta, grad, m, v, rate, root_correction, kept, beta1, beta2, eps):
    """A step of `Adam` or `AdamW`: `rate` and `root_correction` hold the corrections."""
    number = theta.dtype.type
    blend_m, blend_v = number(1.0 - beta1), number(1.0 - beta2)
    eta, correction, epsilon = number(rate), number(root_correction), number(eps)
    if kept != 1.0:
        rest = number(kept)
        for i in range(len(theta)):
            theta[i] *= rest
    for i in range(len(theta)):
        # All are read before one is written: see `engine.memory`.
        g, m_i, v_i, w_i = grad[i], m[i], v[i], theta[i]
        m_i, v_i, w_i = adam_number(g, m_i, v_i, w_i, blend_m, blend_v, eta, correction, epsilon)
        theta[i], m[i], v[i] = w_i, m_i, v_i


@kernel_exact
def amsgrad_step(theta, grad, m, v, largest, rate, root_correction, kept, beta1, beta2, eps):
    """A step of `Adam` or `AdamW` with `amsgrad`."""
    number = theta.dtype.type
    keep, take, blend = number(beta2), number(1.0 - beta2), number(1.0 - beta1)
    eta, correction, epsilon, rest = number(rate), number(root_correction), number(eps), number(kept)
    for i in range(len(theta)):
        g, m_i, v_i, largest_i, theta_i = grad[i], m[i], v[i], largest[i], theta[i]
        m_i += blend * (g - m_i)
        v_i = keep * v_i + take * g * g
        largest_i = max(largest_i, v_i)
        theta[i] = rest * theta_i - eta * m_i * reciprocal(np.sqrt(largest_i) * correction + epsilon)
        m[i], v[i], largest[i] = m_i, v_i, largest_i


@kernel_exact
def adamax_step(theta, grad, m, u, rate, beta1, beta2, eps):
    """A step of `Adamax`."""
    number = theta.dtype.type
    keep, blend = number(beta2), number(1.0 - beta1)
    eta, epsilon = number(rate), number(eps)
    for i in range(len(theta)):
        g, m_i, u_i, theta_i = grad[i], m[i], u[i], theta[i]
        m_i += blend * (g - m_i)
        u_i = max(keep * u_i, abs(g) + epsilon)
        theta[i] = theta_i - eta * m_i / u_i
        m[i], u[i] = m_i, u_i


@kernel_exact
def nadam_step(theta, grad, m, v, rate_of_g, root_correction, rate_of_m, beta1, beta2, eps):
    """A step of `NAdam`."""
    number = theta.dtype.type
    keep, take, blend = number(beta2), number(1.0 - beta2), number(1.0 - beta1)
    eta_g, eta_m, correction, epsilon = (
        number(rate_of_g), number(rate_of_m), number(root_correction), number(eps),
    )  # fmt: skip
    for i in range(len(theta)):
        g, m_i, v_i, theta_i = grad[i], m[i], v[i], theta[i]
        m_i += blend * (g - m_i)
        v_i = keep * v_i + take * g * g
        theta[i] = theta_i - (eta_g * g + eta_m * m_i) * reciprocal(np.sqrt(v_i) * correction + epsilon)
        m[i], v[i] = m_i, v_i


@kernel_exact
def radam_step(theta, grad, m, v, rate, rectified, beta1, beta2, eps):
    """A step of `RAdam`; `rectified` is 0 while the division waits."""
    number = theta.dtype.type
    keep, take, blend = number(beta2), number(1.0 - beta2), number(1.0 - beta1)
    eta, factor, epsilon = number(rate), number(rate * rectified), number(eps)
    for i in range(len(theta)):
        g, m_i, v_i = grad[i], m[i], v[i]
        m[i] = m_i + blend * (g - m_i)
        v[i] = keep * v_i + take * g * g
    if rectified == 0.0:
        for i in range(len(theta)):
            theta[i] -= eta * m[i]
    else:
        for i in range(len(theta)):
            theta[i] -= factor * m[i] * reciprocal(np.sqrt(v[i]) + epsilon)


@kernel_exact
def adabelief_step(theta, grad, m, s, rate, root_correction, beta1, beta2, eps):
    """A step of `AdaBelief`."""
    number = theta.dtype.type
    keep, take, blend = number(beta2), number(1.0 - beta2), number(1.0 - beta1)
    eta, correction, epsilon = number(rate), number(root_correction), number(eps)
    for i in range(len(theta)):
        g, m_i, s_i, theta_i = grad[i], m[i], s[i], theta[i]
        m_i += blend * (g - m_i)
        surprise = g - m_i
        s_i = keep * s_i + take * surprise * surprise + epsilon
        theta[i] = theta_i - eta * m_i * reciprocal(np.sqrt(s_i) * correction + epsilon)
        m[i], s[i] = m_i, s_i


@kernel_exact
def product(x, delta):
    """A number of the gradient, rounded as it is where the gradient is written."""
    return x * delta


@distinct
@kernel_in_order
def adam_row(w, m, v, delta, x, rest, blend_m, blend_v, eta, correction, epsilon):
    """`adam_step` on a row of W, whose gradient is x δ."""
    for j in range(len(w)):
        g, m_j, v_j, w_j = product(x, delta[j]), m[j], v[j], product(rest, w[j])
        m_j, v_j, w_j = adam_number(g, m_j, v_j, w_j, blend_m, blend_v, eta, correction, epsilon)
        w[j], m[j], v[j] = w_j, m_j, v_j


@distinct
@kernel_in_order
def adam_row_ahead(w, m, v, delta, x, rest, blend_m, blend_v, eta, correction, epsilon, z, y):
    """`adam_row`, then z += y w. (As two loops they took a tenth longer, which read w once more.)"""
    for j in range(len(w)):
        g, m_j, v_j, w_j = product(x, delta[j]), m[j], v[j], product(rest, w[j])
        m_j, v_j, w_j = adam_number(g, m_j, v_j, w_j, blend_m, blend_v, eta, correction, epsilon)
        w[j], m[j], v[j] = w_j, m_j, v_j
        z[j] += y * w_j


@kernel_in_order
def single_adam(net, k, hyper, scalars, state, theta, source, offset, lo, hi):
    """`adam_step` for one sample, on rows lo:hi of dense row k's kernel; the gradient is written nowhere.

    It takes as long as `adam_step` alone.
    """
    number, row = theta.dtype.type, net.table[k]
    blend_m, blend_v, epsilon = number(1.0 - hyper[0]), number(1.0 - hyper[1]), number(hyper[2])
    eta, correction, rest = number(scalars[0]), number(scalars[1]), number(scalars[2])
    first, end, n_in, n_out = row[WEIGHT], kernel_end(net, k), row[N_IN], row[N_OUT]
    w, m = theta[first:end].reshape(n_in, n_out), state[0][first:end].reshape(n_in, n_out)
    v = state[1][first:end].reshape(n_in, n_out)
    x, delta = source[offset : offset + n_in], net.work[row[DELTA] :][:n_out]
    for i in range(np.uint64(lo), np.uint64(hi)):
        adam_row(w[i], m[i], v[i], delta, x[i], rest, blend_m, blend_v, eta, correction, epsilon)


@kernel_in_order
def single_adam_ahead(net, hyper, scalars, state, theta, source, offset, samples, coming):
    """`single_adam` on all of row 0's kernel, and z = b + Σ xᵢ Wᵢ of the coming sample with the new W.

    So W is read once a step, not twice: where it does not fit the second cache, this is what a step costs.
    """
    number, row = theta.dtype.type, net.table[0]
    blend_m, blend_v, epsilon = number(1.0 - hyper[0]), number(1.0 - hyper[1]), number(hyper[2])
    eta, correction, rest = number(scalars[0]), number(scalars[1]), number(scalars[2])
    first, end, n_in, n_out = row[WEIGHT], kernel_end(net, 0), row[N_IN], row[N_OUT]
    w, m = theta[first:end].reshape(n_in, n_out), state[0][first:end].reshape(n_in, n_out)
    v = state[1][first:end].reshape(n_in, n_out)
    x, y = source[offset : offset + n_in], samples[coming : coming + n_in]
    z, delta = net.work[row[VALUE] :][:n_out], net.work[row[DELTA] :][:n_out]
    begin_outputs(net, 0, theta)
    for i in range(np.uint64(n_in)):
        adam_row_ahead(
            w[i], m[i], v[i], delta, x[i], rest, blend_m, blend_v, eta, correction, epsilon, z, y[i]
        )


@distinct
@kernel
def lone_adam_step(code, hyper, scalars, state, theta, grad, lo, hi):
    """A step on θ[lo:hi] of `Adam` or `AdamW` without `amsgrad`."""
    theta, m, v = theta[lo:hi], state[0][lo:hi], state[1][lo:hi]
    adam_step(theta, grad, m, v, scalars[0], scalars[1], scalars[2], hyper[0], hyper[1], hyper[2])


@kernel
def adam_family_step(code, hyper, scalars, state, theta, grad, lo, hi):
    """A step on θ[lo:hi] of the member with this code."""
    theta, m, v = theta[lo:hi], state[0][lo:hi], state[1][lo:hi]
    beta1, beta2, eps = hyper[0], hyper[1], hyper[2]
    rate, correction = scalars[0], scalars[1]
    if code == ADAM_CODE:
        amsgrad_step(theta, grad, m, v, state[2][lo:hi], rate, correction, scalars[2], beta1, beta2, eps)
    elif code == ADAMAX_CODE:
        adamax_step(theta, grad, m, v, rate, beta1, beta2, eps)
    elif code == NADAM_CODE:
        nadam_step(theta, grad, m, v, rate, correction, scalars[2], beta1, beta2, eps)
    elif code == RADAM_CODE:
        radam_step(theta, grad, m, v, rate, correction, beta1, beta2, eps)
    else:
        adabelief_step(theta, grad, m, v, rate, correction, beta1, beta2, eps)

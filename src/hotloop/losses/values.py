"""Losses on values and counts: how far the outputs are from what was wanted."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_number, check_values
from hotloop._jit import distinct, kernel, kernel_in_order
from hotloop.engine.mathfun import exp
from hotloop.errors import InvalidValueError
from hotloop.losses.base import Loss

__all__ = ["MAE", "MSE", "GaussianNLL", "Huber", "PoissonNLL"]

ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
EXP_BEND = np.float32(30)
"""Where `tangent_exp` leaves the exponential."""

MSE_CODE = 0
MAE_CODE = 2
HUBER_CODE = 3
GAUSSIAN_NLL_CODE = 5
POISSON_NLL_CODE = 6


@dataclass(frozen=True)
class MSE(Loss):
    """``"mse"``: Σⱼ (zⱼ − yⱼ)², on values.

    The negative log-likelihood of a Gaussian of fixed variance, up to scale and a constant
    (``notes/002``, losses as likelihoods). There is no ½, as in ``notes/000``, and over outputs it is
    the sum, where PyTorch takes the mean.
    """

    name: ClassVar[str] = "mse"
    code: ClassVar[int] = MSE_CODE


@distinct
@kernel
def lone_squares(outputs, targets, weights, scale, delta, losses, hits):
    """`mse` of one output: a loop over samples, which vectorises."""
    number = outputs.dtype.type
    for i in range(len(losses)):
        error, factor = outputs[i] - targets[i], number(TWO * (weights[i] * scale))
        losses[i], hits[i] = error * error, 0.0
        delta[i] = ZERO if factor == ZERO else factor * error


@kernel
def mse(code, option, outputs, targets, weights, scale, delta, losses, hits):
    """Σⱼ (zⱼ − yⱼ)² of each sample."""
    n_out, number = len(outputs) // len(losses), outputs.dtype.type
    y = targets.reshape(targets.size)
    if n_out == 1:
        lone_squares(outputs, y, weights, scale, delta, losses, hits)
        return
    for i in range(len(losses)):
        row, total, factor = i * n_out, ZERO, number(TWO * (weights[i] * scale))
        for j in range(n_out):
            error = outputs[row + j] - y[row + j]
            total += error * error
            delta[row + j] = factor * error
        losses[i], hits[i] = total, 0.0
        if factor == 0:
            delta[row : row + n_out] = 0  # also where the loss is infinite: a row of no weight is not there


@kernel
def mse_product(tangent, out):
    """2 r."""
    for j in range(len(out)):
        out[j] = TWO * tangent[j]


@dataclass(frozen=True)
class MAE(Loss):
    """``"mae"``: Σⱼ |zⱼ − yⱼ|, on values.

    The negative log-likelihood of a Laplace distribution of scale 1, up to a constant: its minimum is
    the median, which outliers do not move. The derivative is the sign of the error, 0 at error 0.
    """

    name: ClassVar[str] = "mae"
    code: ClassVar[int] = MAE_CODE


@kernel
def mae(outputs, target, delta):
    """Σⱼ |zⱼ − yⱼ|."""
    total = ZERO
    for j in range(len(outputs)):
        error = outputs[j] - target[j]
        total += abs(error)
        sign = ONE if error > ZERO else ZERO
        delta[j] = -ONE if error < ZERO else sign
    return total


@dataclass(frozen=True)
class Huber(Loss):
    """``"huber"``: Σⱼ h(zⱼ − yⱼ), on values: a square near 0, a straight line from ±δ on.

    h(e) = ½e² for |e| ≤ δ, else δ(|e| − ½δ). The derivative, e limited to ±δ, is continuous.

    Parameters
    ----------
    delta : float, default 1.0
        δ > 0: errors beyond it pull no harder.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If δ is not such a number.

    Notes
    -----
    Huber, "Robust estimation of a location parameter" (1964): the negative log-likelihood, up to a
    constant, of his least favourable density, Gaussian within and exponential in the tails. As
    ``torch.nn.functional.huber_loss``, summed over the outputs.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.losses.Huber(delta=2.0)
    Huber(delta=2.0)
    """

    delta: float = 1.0

    name: ClassVar[str] = "huber"
    code: ClassVar[int] = HUBER_CODE

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", check_number(self.delta, "delta", low=0.0))
        if not 1e-30 < self.delta < 1e30:
            raise InvalidValueError(f"delta: must be above 0 and fit float32, got {self.delta!r}")

    def option(self) -> float:
        """δ."""
        return self.delta


@kernel
def huber(outputs, target, delta, width):
    """Σⱼ ½e², or width (|e| − ½ width) where |e| > width."""
    total = ZERO
    for j in range(len(outputs)):
        # Both are computed: which one counts nobody can foretell, and a wrong guess takes longer.
        error = outputs[j] - target[j]
        near, far = HALF * error * error, width * (abs(error) - HALF * width)
        total += near if abs(error) <= width else far
        slope = width if error > width else error
        delta[j] = -width if slope < -width else slope
    return total


@kernel
def huber_product(outputs, target, tangent, out, width):
    """r where |e| ≤ width, else 0: at the bend the second derivative from inside."""
    for j in range(len(out)):
        out[j] = tangent[j] if abs(outputs[j] - target[j]) <= width else ZERO


@dataclass(frozen=True)
class GaussianNLL(Loss):
    """``"gaussian_nll"``: Σⱼ ½ (log 2π + sⱼ + (μⱼ − yⱼ)² e^(−sⱼ)), on values: mean and variance are learnt.

    For k targets the model has 2k outputs: the means μ, then the log-variances s. It is the whole
    negative log-likelihood of a Gaussian, with its constant (``notes/002``; Nix & Weigend,
    "Estimating the mean and variance of the target probability distribution", 1994).

    Below s = −30 (a deviation of 3e-7) e^(−s) goes on along its tangent, so that nothing overflows and
    the derivative still leads back. PyTorch's takes the variance itself, cut off at 1e-6.
    """

    name: ClassVar[str] = "gaussian_nll"
    code: ClassVar[int] = GAUSSIAN_NLL_CODE
    outputs_a_target: ClassVar[int] = 2

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """A value for each mean: half as many as outputs."""
        why = f"the model has {n_outputs} outputs, a mean and a log-variance a target"
        return check_values(y, name, n_rows, n_outputs // 2, dtype, why=why)


@kernel
def gaussian_nll(outputs, target, delta):
    """Σⱼ ½ (log 2π + s + (μ − y)² e⁻ˢ); outputs (2k,): μ, then s; target (k,)."""
    log_2_pi = outputs.dtype.type(1.8378770664093453)
    k = len(target)
    total = ZERO
    for j in range(k):
        error, s = outputs[j] - target[j], outputs[k + j]
        precision, slope = tangent_exp(-s)
        square = error * error
        total += HALF * (log_2_pi + s + square * precision)
        delta[j] = error * precision
        delta[k + j] = HALF * (ONE - square * slope)
    return total


@kernel
def gaussian_nll_product(outputs, target, tangent, out):
    """For each target the rows (e⁻ˢ, −e e⁻ˢ) and (−e e⁻ˢ, ½ e² e⁻ˢ), with e = μ − y, times (rμ, rₛ)."""
    k = len(target)
    for j in range(k):
        error, s = outputs[j] - target[j], outputs[k + j]
        precision, slope = tangent_exp(-s)
        bend = HALF * error * error * tangent_exp_second(-s)
        out[j] = precision * tangent[j] - error * slope * tangent[k + j]
        out[k + j] = bend * tangent[k + j] - error * slope * tangent[j]


@kernel_in_order
def tangent_exp(x):
    """(eˣ, its slope): beyond x = 30, where eˣ = 1e13, the tangent there, so ±1e4 does not overflow."""
    inside = EXP_BEND if x > EXP_BEND else x
    slope = exp(inside)
    return slope * (ONE + (x - inside)), slope


@kernel_in_order
def tangent_exp_second(x):
    """The second derivative of `tangent_exp`: eˣ, and 0 along the tangent."""
    inside = EXP_BEND if x > EXP_BEND else x
    return ZERO if x > EXP_BEND else exp(inside)


@dataclass(frozen=True)
class PoissonNLL(Loss):
    """``"poisson_nll"``: Σⱼ e^zⱼ − yⱼ zⱼ, on counts y ≥ 0 and log-rates z.

    The negative log-likelihood of a Poisson distribution of rate eᶻ without its term log y!, which
    does not depend on the outputs, as in ``torch.nn.functional.poisson_nll_loss`` (full=False, its
    default): so it may be negative. Beyond z = 30 (a rate of 1e13) eᶻ goes on along its tangent, so
    that nothing overflows.
    """

    name: ClassVar[str] = "poisson_nll"
    code: ClassVar[int] = POISSON_NLL_CODE

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """A count for each output: at least 0; not only whole numbers."""
        return check_values(y, name, n_rows, n_outputs, dtype, low=0.0)


@kernel
def poisson_nll(outputs, target, delta):
    """Σⱼ e^zⱼ − yⱼ zⱼ."""
    total = ZERO
    for j in range(len(outputs)):
        rate, slope = tangent_exp(outputs[j])
        total += rate - target[j] * outputs[j]
        delta[j] = slope - target[j]
    return total


@kernel
def poisson_nll_product(outputs, tangent, out):
    """e^zⱼ rⱼ, and 0 where the loss goes on along its tangent."""
    for j in range(len(out)):
        out[j] = tangent_exp_second(outputs[j]) * tangent[j]

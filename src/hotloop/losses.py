"""Losses: for each its public description, and one kernel: a sample's loss, and its ∂/∂outputs.

A target is a row of numbers: a class or a sign, wanted outputs, or probabilities. What is summed is
summed over the outputs of a sample; over samples the loss is the weighted mean.

To add one: a code (append-only), a frozen dataclass, a kernel, a branch in `loss_of_row` (and in
`hit_of_row`, if it has an accuracy), and its place in `LOSSES`.
"""

import math
from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import (
    check_choice,
    check_class_weight,
    check_labels,
    check_number,
    check_probabilities,
    check_signs,
    check_values,
    n_columns,
)
from hotloop._jit import kernel, kernel_in_order, kernel_inline
from hotloop.engine.mathfun import exp
from hotloop.errors import InvalidValueError

__all__ = [
    "LOSSES",
    "MAE",
    "MSE",
    "Criterion",
    "GaussianNLL",
    "Hinge",
    "Huber",
    "KLDivergence",
    "Loss",
    "Perceptron",
    "PoissonNLL",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "SquaredHinge",
    "check_loss",
    "hit_of_row",
    "loss_of_row",
]

ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
EXP_BEND = np.float32(30)
"""Where `tangent_exp` leaves the exponential."""

MSE_CODE = 0
SOFTMAX_CROSS_ENTROPY_CODE = 1
MAE_CODE = 2
HUBER_CODE = 3
SIGMOID_CROSS_ENTROPY_CODE = 4
GAUSSIAN_NLL_CODE = 5
POISSON_NLL_CODE = 6
HINGE_CODE = 7
SQUARED_HINGE_CODE = 8
PERCEPTRON_CODE = 9
KL_DIVERGENCE_CODE = 10


class Criterion(NamedTuple):
    """A loss as numbers: what the kernels take."""

    code: int
    option: float  # of Loss.option


@dataclass(frozen=True)
class Loss(ABC):
    """Base of all losses: immutable; give one, or its name, to `Trainer` and `Objective`."""

    name: ClassVar[str]
    code: ClassVar[int]
    has_accuracy: ClassVar[bool] = False
    """True where a target can be hit or missed: accuracy is then reported."""
    least_outputs: ClassVar[int] = 1
    outputs_a_target: ClassVar[int] = 1

    def option(self) -> float:
        """The number that the kernel reads, if it reads one."""
        return 0.0

    def criterion(self) -> Criterion:
        """This loss as the kernels take it."""
        return Criterion(self.code, self.option())

    def label(self) -> str:
        """As a user would write it: the name, or the call if there are options."""
        return repr(self.name if self == LOSSES[self.name] else self)

    def check_outputs(self, n_outputs: int) -> None:
        """Raise `InvalidValueError` if a model with so many outputs cannot have this loss."""
        if n_outputs < self.least_outputs:
            raise InvalidValueError(
                f"loss: {self.name!r} needs a model with one output a class, at least 2; "
                f"this one has {n_outputs}"
            )
        if n_outputs % self.outputs_a_target:
            raise InvalidValueError(
                f"loss: {self.name!r} needs {self.outputs_a_target} outputs a target; "
                f"this model has {n_outputs}"
            )

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """`y` as an array (n_rows, width) that the kernel can take. Default: a value for each output."""
        return check_values(y, name, n_rows, n_outputs, dtype)

    def weights(self, targets: NDArray[Any], n_outputs: int) -> NDArray[np.float64] | None:
        """(rows, 1): what multiplies each sample's weight; None for ones."""
        return None


def check_loss(loss: Any, n_outputs: int) -> Loss:
    """`loss`, or the loss of that name with default options, if such a model can have it."""
    found = loss if isinstance(loss, Loss) else LOSSES[check_choice(loss, "loss", LOSSES)]
    found.check_outputs(n_outputs)
    return found


# Values ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MSE(Loss):
    """``"mse"``: Σⱼ (zⱼ − yⱼ)², on values.

    The negative log-likelihood of a Gaussian of fixed variance, up to scale and a constant
    (``notes/002``, losses as likelihoods). There is no ½, as in ``notes/000``, and over outputs it is
    the sum, where PyTorch takes the mean.
    """

    name: ClassVar[str] = "mse"
    code: ClassVar[int] = MSE_CODE


@kernel
def mse(outputs, target, delta):
    """Σⱼ (zⱼ − yⱼ)²."""
    total = ZERO
    for j in range(len(outputs)):
        error = outputs[j] - target[j]
        total += error * error
        delta[j] = TWO * error
    return total


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
        error = outputs[j] - target[j]
        if abs(error) <= width:
            total += HALF * error * error
            delta[j] = error
        else:
            total += width * (abs(error) - HALF * width)
            delta[j] = width if error > ZERO else -width
    return total


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


@kernel_in_order
def tangent_exp(x):
    """(eˣ, its slope): beyond x = 30, where eˣ = 1e13, the tangent there, so ±1e4 does not overflow."""
    inside = EXP_BEND if x > EXP_BEND else x
    slope = exp(inside)
    return slope * (ONE + (x - inside)), slope


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


# Probabilities ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """``"softmax_cross_entropy"``: −Σⱼ qⱼ log softmax(z)ⱼ, on classes or rows of probabilities.

    For a class y, q is 1 there and 0 elsewhere: the negative log-likelihood of a categorical
    distribution, on logits z (``notes/002`` and ``notes/003``). Rows of probabilities, (n, outputs),
    are q themselves; accuracy then compares the largest output with the largest probability.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        ε, at least 0 and below 1: q becomes (1 − ε) q + ε / classes (Szegedy et al., "Rethinking the
        Inception architecture", 2016, section 7).
    class_weight : {class: weight} or array-like (classes,), optional
        Multiplies the weight of each sample of that class, in the mean's numerator and denominator,
        and in accuracy; at least 0. Classes that a dict does not name weigh 1. A row of
        probabilities has the mean weight Σⱼ qⱼ wⱼ, before smoothing.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an option is not as described.

    Notes
    -----
    log Σ eᶻ is taken relative to the largest logit, so no logit overflows. PyTorch's ``cross_entropy``
    is the same with labels and either option; with both it weighs the smoothed terms by their own
    classes, and with probabilities it does not divide by the weights.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.losses.SoftmaxCrossEntropy(label_smoothing=0.1, class_weight={1: 5.0})
    SoftmaxCrossEntropy(label_smoothing=0.1, class_weight={1: 5.0})
    """

    label_smoothing: float = 0.0
    class_weight: Mapping[int, float] | tuple[float, ...] | None = field(default=None, hash=False)

    name: ClassVar[str] = "softmax_cross_entropy"
    code: ClassVar[int] = SOFTMAX_CROSS_ENTROPY_CODE
    has_accuracy: ClassVar[bool] = True
    least_outputs: ClassVar[int] = 2

    def __post_init__(self) -> None:
        smoothing = check_number(self.label_smoothing, "label_smoothing", low=0.0, below=1.0)
        object.__setattr__(self, "label_smoothing", smoothing)
        object.__setattr__(self, "class_weight", check_class_weight(self.class_weight, "class_weight"))

    def option(self) -> float:
        """ε; class weights are sample weights before they reach the kernel."""
        return self.label_smoothing

    def check_outputs(self, n_outputs: int) -> None:
        """The class weights must fit, too."""
        super().check_outputs(n_outputs)
        if self.class_weight is not None:
            self._weight_of_class(n_outputs)

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """A class a row, or, where there are several columns, a row of probabilities."""
        if n_columns(y) > 1:
            return check_probabilities(y, name, n_rows, n_outputs)
        return check_labels(y, name, n_rows, n_outputs)

    def weights(self, targets: NDArray[Any], n_outputs: int) -> NDArray[np.float64] | None:
        """The weight of each sample's class."""
        if self.class_weight is None:
            return None
        of_class = self._weight_of_class(n_outputs)
        if targets.shape[1] == 1:
            return of_class[targets[:, 0].astype(np.int64)][:, None]
        return np.asarray(targets @ of_class)[:, None]

    def _weight_of_class(self, n_outputs: int) -> NDArray[np.float64]:
        given = self.class_weight or ()
        if isinstance(given, Mapping):
            of_class = np.ones(n_outputs)
            for label, weight in given.items():
                if label >= n_outputs:
                    raise InvalidValueError(
                        f"class_weight: there is no class {label}; the model has {n_outputs} outputs"
                    )
                of_class[label] = weight
            return of_class
        if len(given) != n_outputs:
            raise InvalidValueError(
                f"class_weight: has {len(given)} weights; the model has {n_outputs} outputs, one a class"
            )
        return np.array(given)


@kernel_inline
def softmax_cross_entropy(outputs, target, delta, smoothing):
    """−Σⱼ qⱼ log softmax(z)ⱼ; target: (1,) a class, or (classes,) probabilities."""
    peak, total = softmax(outputs, delta)
    log_total = math.log(total)
    if len(target) > 1 or smoothing > ZERO:
        return soft_cross_entropy(outputs, target, delta, smoothing, log_total, peak)
    label = int(target[0])
    delta[label] -= ONE
    return negative_log_share(log_total, outputs[label], peak)


@kernel_inline
def softmax(outputs, share):
    """share ← softmax of outputs; returns (the largest output, Σ e^(output − largest))."""
    peak = outputs[0]
    for j in range(len(outputs)):
        peak = outputs[j] if outputs[j] > peak else peak
    total = ZERO
    for j in range(len(outputs)):
        share[j] = exp(outputs[j] - peak)
        total += share[j]
    for j in range(len(outputs)):
        share[j] /= total
    return peak, total


@kernel
def soft_cross_entropy(outputs, target, delta, smoothing, log_total, peak):
    """The same where q has more than one class; delta holds softmax(z)."""
    keep, spread = ONE - smoothing, smoothing / outputs.dtype.type(len(outputs))
    loss, mass = ZERO, ZERO
    for j in range(len(outputs)):
        q = keep * probability(target, j) + spread
        mass += q  # 1, up to the rounding of the user's probabilities
        loss += q * negative_log_share(log_total, outputs[j], peak)
    for j in range(len(outputs)):
        delta[j] = mass * delta[j] - (keep * probability(target, j) + spread)
    return loss


@kernel
def probability(target, j):
    """Of class j: given, or 1 for the class that is given, else 0."""
    if len(target) > 1:
        return target[j]
    return target.dtype.type(1) if j == int(target[0]) else target.dtype.type(0)


@kernel_in_order
def negative_log_share(log_total, output, peak):
    """−log (e^(output − peak) / total): in this order, since output and peak may be large and close."""
    return log_total - (output - peak)


@dataclass(frozen=True)
class KLDivergence(Loss):
    """``"kl_divergence"``: Σⱼ pⱼ (log pⱼ − log softmax(z)ⱼ), on rows of probabilities p.

    Kullback & Leibler, "On information and sufficiency" (1951): what the logits z lose against p. It
    is the cross-entropy less the entropy of p, so its gradient is the same, its least value is 0, and
    up to that constant it is the same negative log-likelihood, of a categorical distribution.
    0 log 0 is 0. Accuracy compares the largest output with the largest probability.
    """

    name: ClassVar[str] = "kl_divergence"
    code: ClassVar[int] = KL_DIVERGENCE_CODE
    has_accuracy: ClassVar[bool] = True
    least_outputs: ClassVar[int] = 2

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Rows of probabilities."""
        return check_probabilities(y, name, n_rows, n_outputs)


@kernel
def kl_divergence(outputs, target, delta):
    """Σⱼ pⱼ (log pⱼ − log softmax(z)ⱼ)."""
    loss = softmax_cross_entropy(outputs, target, delta, outputs.dtype.type(0))
    for j in range(len(target)):
        if target[j] > ZERO:
            loss += target[j] * math.log(target[j])
    return loss


@dataclass(frozen=True)
class SigmoidCrossEntropy(Loss):
    """``"sigmoid_cross_entropy"``: −Σⱼ yⱼ log σ(zⱼ) + (1 − yⱼ) log σ(−zⱼ), on y in [0, 1].

    The negative log-likelihood of independent Bernoulli distributions, on logits z (``notes/000``):
    with one output the binary cross-entropy, with several the multi-label one. Computed as
    max(z, 0) − y z + log(1 + e^(−|z|)), which neither overflows nor cancels. Accuracy is the share of
    outputs on the right side of ½.
    """

    name: ClassVar[str] = "sigmoid_cross_entropy"
    code: ClassVar[int] = SIGMOID_CROSS_ENTROPY_CODE
    has_accuracy: ClassVar[bool] = True

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """A probability for each output."""
        return check_values(y, name, n_rows, n_outputs, dtype, low=0.0, high=1.0)


@kernel_in_order
def sigmoid_cross_entropy(outputs, target, delta):
    """Σⱼ max(z, 0) − y z + log(1 + e^(−|z|)): all terms as written are at least 0."""
    total = ZERO
    for j in range(len(outputs)):
        z, y = outputs[j], target[j]
        small = outputs.dtype.type(exp(-abs(z)))  # else, uncompiled, a Python float: float32 beside ONE
        if z > ZERO:
            total += (ONE - y) * z + math.log1p(small)
            delta[j] = ONE / (ONE + small) - y
        else:
            total += -y * z + math.log1p(small)
            delta[j] = small / (ONE + small) - y
    return total


# Margins ---------------------------------------------------------------------------------------------


class MarginLoss(Loss):
    """What the losses on the lead of the right answer share: their targets and accuracy.

    The lead is y z with one output and y = ±1; with several, z_y − max of the other outputs.
    """

    has_accuracy: ClassVar[bool] = True

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """With one output −1 or 1 a row, else a class."""
        if n_outputs == 1:
            return check_signs(y, name, n_rows)
        return check_labels(y, name, n_rows, n_outputs)


@dataclass(frozen=True)
class Hinge(MarginLoss):
    """``"hinge"``: max(0, 1 − lead), on ±1 (one output) or classes (several).

    The lead is y z, or z_y − max of the other outputs: Crammer & Singer, "On the algorithmic
    implementation of multiclass kernel-based vector machines" (2001), not the sum over all other
    classes of Weston & Watkins and PyTorch's ``multi_margin_loss``. The loss of the support vector
    machine; not the negative logarithm of a likelihood. The derivative at the kink, lead 1, is 0;
    of equal rivals the first is pushed.
    """

    name: ClassVar[str] = "hinge"
    code: ClassVar[int] = HINGE_CODE


@kernel_in_order
def hinge(outputs, target, delta):
    """max(0, 1 − lead)."""
    short = ONE - lead(outputs, target)
    if short <= ZERO:  # NaN is not
        return push(outputs, target, delta, outputs.dtype.type(0))
    push(outputs, target, delta, outputs.dtype.type(1))
    return short


@dataclass(frozen=True)
class SquaredHinge(MarginLoss):
    """``"squared_hinge"``: max(0, 1 − lead)², on ±1 (one output) or classes (several).

    As `Hinge`, but smooth at lead 1, and harder on large mistakes; not the negative logarithm of a
    likelihood.
    """

    name: ClassVar[str] = "squared_hinge"
    code: ClassVar[int] = SQUARED_HINGE_CODE


@kernel_in_order
def squared_hinge(outputs, target, delta):
    """max(0, 1 − lead)²."""
    short = ONE - lead(outputs, target)
    if short <= ZERO:
        return push(outputs, target, delta, outputs.dtype.type(0))
    push(outputs, target, delta, TWO * short)
    return short * short


@dataclass(frozen=True)
class Perceptron(MarginLoss):
    """``"perceptron"``: max(0, −lead), on ±1 (one output) or classes (several).

    The lead is y z, or z_y − max of the other outputs, so that the loss is max_j z_j − z_y. One
    sample a step and rate 1 is the perceptron's rule (Rosenblatt, 1958; ``notes/003``); not the
    negative logarithm of a likelihood. At the kink, lead 0, the derivative is that of a mistake, as in
    the rule: so weights that start at 0 learn.
    """

    name: ClassVar[str] = "perceptron"
    code: ClassVar[int] = PERCEPTRON_CODE


@kernel_in_order
def perceptron(outputs, target, delta):
    """max(0, −lead)."""
    short = -lead(outputs, target)
    if short < ZERO:
        return push(outputs, target, delta, outputs.dtype.type(0))
    push(outputs, target, delta, outputs.dtype.type(1))
    return short


@kernel_in_order
def lead(outputs, target):
    """y z, or z_y − max of the other outputs: how far the right answer is ahead."""
    if len(outputs) == 1:
        return target[0] * outputs[0]
    label = int(target[0])
    return outputs[label] - outputs[first_rival(outputs, label)]


@kernel
def first_rival(outputs, label):
    """The first largest output but `label`; one that is NaN, if there is any."""
    rival = 1 if label == 0 else 0
    for j in range(len(outputs)):
        if j != label and (outputs[j] > outputs[rival] or outputs[j] != outputs[j]):
            rival = j
    return rival


@kernel
def push(outputs, target, delta, force):
    """delta ← −force · ∂lead/∂outputs; returns 0, the loss where there is no force."""
    for j in range(len(delta)):
        delta[j] = ZERO
    if len(outputs) == 1:
        delta[0] = -force * target[0]
    else:
        label = int(target[0])
        delta[first_rival(outputs, label)] = force
        delta[label] = -force
    return outputs.dtype.type(0)


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        MSE(),
        MAE(),
        Huber(),
        GaussianNLL(),
        PoissonNLL(),
        SoftmaxCrossEntropy(),
        KLDivergence(),
        SigmoidCrossEntropy(),
        Hinge(),
        SquaredHinge(),
        Perceptron(),
    )
}
"""Public name → loss with default options."""


@kernel_inline
def loss_of_row(loss, outputs, target, delta):
    """The loss of one sample; `delta` becomes its gradient with respect to `outputs`.

    `loss` is a `Criterion`. A code that is not known gives NaN.
    """
    code, number = loss.code, outputs.dtype.type
    if code == SOFTMAX_CROSS_ENTROPY_CODE:
        return softmax_cross_entropy(outputs, target, delta, number(loss.option))
    if code == MSE_CODE:
        return mse(outputs, target, delta)
    return rarer_loss_of_row(loss, outputs, target, delta)


@kernel
def rarer_loss_of_row(loss, outputs, target, delta):
    """The rest of `loss_of_row`: apart, so that the compiler puts the first ones into the loop over rows."""
    code, number = loss.code, outputs.dtype.type
    if code == MAE_CODE:
        return mae(outputs, target, delta)
    if code == HUBER_CODE:
        return huber(outputs, target, delta, number(loss.option))
    if code == GAUSSIAN_NLL_CODE:
        return gaussian_nll(outputs, target, delta)
    if code == POISSON_NLL_CODE:
        return poisson_nll(outputs, target, delta)
    if code == KL_DIVERGENCE_CODE:
        return kl_divergence(outputs, target, delta)
    if code == SIGMOID_CROSS_ENTROPY_CODE:
        return sigmoid_cross_entropy(outputs, target, delta)
    if code == HINGE_CODE:
        return hinge(outputs, target, delta)
    if code == SQUARED_HINGE_CODE:
        return squared_hinge(outputs, target, delta)
    if code == PERCEPTRON_CODE:
        return perceptron(outputs, target, delta)
    return number(np.nan)


@kernel_inline
def hit_of_row(loss, outputs, target):
    """How much of the target the outputs hit, 0 to 1; 0 for losses without accuracy."""
    code = loss.code
    if code in (SOFTMAX_CROSS_ENTROPY_CODE, KL_DIVERGENCE_CODE):
        return class_hit(outputs, target)
    if code == SIGMOID_CROSS_ENTROPY_CODE:
        return side_hits(outputs, target, HALF)
    if code in (HINGE_CODE, SQUARED_HINGE_CODE, PERCEPTRON_CODE):
        return side_hits(outputs, target, ZERO) if len(outputs) == 1 else class_hit(outputs, target)
    return 0.0


@kernel_inline
def class_hit(outputs, target):
    """1 if the first largest output is the target's class, or its first largest probability."""
    label = int(target[0]) if len(target) == 1 else first_largest(target)
    for j in range(len(outputs)):
        if outputs[j] > outputs[label] or (outputs[j] == outputs[label] and j < label):
            return 0.0
    return 1.0


@kernel
def first_largest(row):
    """Index of the first largest number."""
    best = 0
    for j in range(1, len(row)):
        best = j if row[j] > row[best] else best
    return best


@kernel
def side_hits(outputs, target, middle):
    """The share of outputs that are above 0 where the target is above `middle`, and else not."""
    hits = 0.0
    for j in range(len(outputs)):
        hits += 1.0 if (outputs[j] > ZERO) == (target[j] > middle) else 0.0
    return hits / len(outputs)

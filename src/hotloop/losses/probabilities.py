"""Losses on classes and probabilities: the outputs are logits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import (
    check_class_weight,
    check_labels,
    check_number,
    check_probabilities,
    check_values,
    n_columns,
)
from hotloop._jit import distinct, kernel, kernel_in_order, kernel_inline
from hotloop.engine.mathfun import exp, log, log1p, sigmoid
from hotloop.engine.rows import GROUP, SHORT, below_peak, shares_less_label, total_of
from hotloop.errors import InvalidValueError
from hotloop.losses.base import Loss, weigh

__all__ = ["KLDivergence", "SigmoidCrossEntropy", "SoftmaxCrossEntropy"]

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)

SOFTMAX_CROSS_ENTROPY_CODE = 1
SIGMOID_CROSS_ENTROPY_CODE = 4
KL_DIVERGENCE_CODE = 10


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
    includes: ClassVar[str | None] = "softmax"
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


@distinct
@kernel
def softmax_cross_entropy(code, option, outputs, targets, weights, scale, delta, losses, hits):
    """−Σⱼ qⱼ log softmax(z)ⱼ of each sample; targets: (n, 1) classes, or (n, classes) probabilities.

    The exponentials of all samples are taken in one loop, which vectorises however few the classes are: in
    loops over the outputs of one sample it is the start and the end that take the time.
    """
    n_out, number = len(outputs) // len(losses), outputs.dtype.type
    smoothing = number(option)
    if n_out <= SHORT and targets.shape[1] == 1 and smoothing == ZERO:
        cross_entropy_of_few(outputs, targets, weights, scale, delta, losses, hits)
        return
    for i in range(len(losses)):
        row = i * n_out
        peak = outputs[row]
        for j in range(n_out):
            peak = outputs[row + j] if outputs[row + j] > peak else peak
        for j in range(n_out):
            delta[row + j] = outputs[row + j] - peak
        losses[i] = peak
    for j in range(len(delta)):
        delta[j] = exp(delta[j])
    for i in range(len(losses)):
        row, peak, total = i * n_out, number(losses[i]), ZERO
        for j in range(n_out):
            total += delta[row + j]
        z, share = outputs[row : row + n_out], delta[row : row + n_out]
        label = int(targets[i, 0]) if targets.shape[1] == 1 else first_largest(targets[i])
        hits[i] = first_peak(z, label, peak) if total == total else 0.0  # NaN is a miss
        factor = number(weights[i] * scale)
        if targets.shape[1] > 1 or smoothing > ZERO:
            losses[i] = soft_cross_entropy(z, targets[i], share, smoothing, total, peak, factor)
        else:
            losses[i] = negative_log_share(log(total), z[label], peak)
            ratio = factor / total
            for j in range(n_out):
                share[j] *= ratio
            share[label] -= factor
        if factor == 0:
            share[:] = 0  # also where the loss is infinite: a row of no weight is not there


@distinct
@kernel
def cross_entropy_of_few(outputs, targets, weights, scale, delta, losses, hits):
    """`softmax_cross_entropy` of few classes, a row in a vector.

    Nothing here is decided sample by sample: which class is the largest nobody can foretell, and what the
    processor does after a wrong guess it does in vain.
    """
    n, n_out, number = len(losses), len(outputs) // len(losses), outputs.dtype.type
    for i in range(n):
        peak, first = below_peak(delta, outputs, i * n_out, n_out)
        label = int(targets[i, 0])
        gap = outputs[i * n_out + label] - peak
        hits[i] = ONE if first == label else gap  # the gap is 0 or less, or NaN
    for k in range(len(delta)):
        delta[k] = exp(delta[k])
    for i in range(n):
        losses[i] = total_of(delta, i * n_out, n_out)
    for i in range(0, n, GROUP):
        # Past the last row the last once more.
        i1, i2, i3 = min(i + 1, n - 1), min(i + 2, n - 1), min(i + 3, n - 1)
        places = i * n_out, i1 * n_out, i2 * n_out, i3 * n_out
        labels = int(targets[i, 0]), int(targets[i1, 0]), int(targets[i2, 0]), int(targets[i3, 0])
        f0, f1 = number(weights[i] * scale), number(weights[i1] * scale)
        f2, f3 = number(weights[i2] * scale), number(weights[i3] * scale)
        r0, r1 = f0 / number(losses[i]), f1 / number(losses[i1])
        r2, r3 = f2 / number(losses[i2]), f3 / number(losses[i3])
        shares_less_label(delta, places, n_out, labels, (r0, r1, r2, r3), (f0, f1, f2, f3))
    for i in range(n):
        if number(weights[i] * scale) == 0:
            delta[i * n_out : (i + 1) * n_out] = 0  # also where the loss is infinite
    for i in range(n):
        total, gap = number(losses[i]), number(hits[i])
        hit = gap > ZERO
        losses[i] = log(total) - (ZERO if hit else gap)
        hits[i] = 1.0 if hit and total == total else 0.0


@kernel_inline
def first_peak(outputs, label, peak):
    """1 if the label's output is the peak, and none before it is; else 0."""
    hit = outputs[label] == peak
    if hit:
        for j in range(label):
            hit &= outputs[j] < peak
    return 1.0 if hit else 0.0


@kernel
def first_largest(row):
    """Index of the first largest number."""
    best = 0
    for j in range(1, len(row)):
        best = j if row[j] > row[best] else best
    return best


@kernel
def soft_cross_entropy(outputs, target, delta, smoothing, total, peak, factor):
    """The loss where q has more than one class; delta holds e^(outputs − peak), whose sum is `total`."""
    keep, spread = ONE - smoothing, smoothing / outputs.dtype.type(len(outputs))
    loss, mass, log_total = ZERO, ZERO, log(total)
    for j in range(len(outputs)):
        q = keep * probability(target, j) + spread
        mass += q  # 1, up to the rounding of the user's probabilities
        loss += q * negative_log_share(log_total, outputs[j], peak)
    ratio = mass / total
    for j in range(len(outputs)):
        delta[j] = factor * (ratio * delta[j] - (keep * probability(target, j) + spread))
    return loss


@kernel_inline
def softmax(outputs, share):
    """share ← softmax of outputs."""
    peak, total = outputs[0], ZERO
    for j in range(len(outputs)):
        peak = outputs[j] if outputs[j] > peak else peak
    for j in range(len(outputs)):
        share[j] = exp(outputs[j] - peak)
        total += share[j]
    for j in range(len(outputs)):
        share[j] /= total


@kernel_inline
def softmax_cross_entropy_product(outputs, target, tangent, out, smoothing):
    """m p∘(r − pᵀr) with p = softmax(z) and m = Σⱼ qⱼ, which is 1 up to the rounding of the user's."""
    softmax(outputs, out)
    mean = ZERO
    for j in range(len(out)):
        mean += out[j] * tangent[j]
    mass = target_mass(target, smoothing)
    for j in range(len(out)):
        out[j] *= mass * (tangent[j] - mean)


@kernel
def target_mass(target, smoothing):
    """Σⱼ qⱼ."""
    if len(target) == 1:
        return target.dtype.type(1)
    mass = ZERO
    for j in range(len(target)):
        mass += target[j]
    return (ONE - smoothing) * mass + smoothing


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
    includes: ClassVar[str | None] = "softmax"
    has_accuracy: ClassVar[bool] = True
    least_outputs: ClassVar[int] = 2

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Rows of probabilities."""
        return check_probabilities(y, name, n_rows, n_outputs)


@kernel
def kl_divergence(code, option, outputs, targets, weights, scale, delta, losses, hits):
    """Σⱼ pⱼ (log pⱼ − log softmax(z)ⱼ) of each sample."""
    softmax_cross_entropy(code, 0.0, outputs, targets, weights, scale, delta, losses, hits)
    for i in range(len(losses)):
        for j in range(targets.shape[1]):
            if targets[i, j] > ZERO:
                losses[i] += targets[i, j] * math.log(targets[i, j])


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
    includes: ClassVar[str | None] = "sigmoid"
    has_accuracy: ClassVar[bool] = True

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """A probability for each output."""
        return check_values(y, name, n_rows, n_outputs, dtype, low=0.0, high=1.0)


@kernel_in_order
def sigmoid_cross_entropy(code, option, outputs, targets, weights, scale, delta, losses, hits):
    """Σⱼ max(z, 0) − y z + log(1 + e^(−|z|)) of each sample: all terms as written are at least 0."""
    y, n_out = targets.reshape(targets.size), len(outputs) // len(losses)
    for k in range(len(delta)):
        z = outputs[k]
        linear = (ONE - y[k]) * z if z > ZERO else -y[k] * z
        delta[k] = linear + log1p(exp(-abs(z)))
    for i in range(len(losses)):
        row, total, right = i * n_out, 0.0, 0.0
        for j in range(n_out):
            total += delta[row + j]
            right += 1.0 if (outputs[row + j] > ZERO) == (y[row + j] > HALF) else 0.0
        losses[i], hits[i] = total, right / n_out
    for k in range(len(delta)):
        delta[k] = sigmoid(outputs[k]) - y[k]
    weigh(weights, scale, delta)


@kernel
def sigmoid_cross_entropy_product(outputs, tangent, out):
    """σ(zⱼ) σ(−zⱼ) rⱼ."""
    for j in range(len(out)):
        small = exp(-abs(outputs[j]))
        out[j] = small / ((ONE + small) * (ONE + small)) * tangent[j]

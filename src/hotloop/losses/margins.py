"""Losses on the lead of the right answer: 0 once it is far enough ahead."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_labels, check_signs
from hotloop._jit import kernel, kernel_in_order
from hotloop.losses.base import Loss

__all__ = ["Hinge", "Perceptron", "SquaredHinge"]

ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)

HINGE_CODE = 7
SQUARED_HINGE_CODE = 8
PERCEPTRON_CODE = 9


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


@kernel
def squared_hinge_product(outputs, target, tangent, out):
    """2 ∂lead (∂leadᵀ r) where the lead is below 1, else 0."""
    push(outputs, target, out, outputs.dtype.type(1))
    along = ZERO
    for j in range(len(out)):
        along += out[j] * tangent[j]
    short = ONE - lead(outputs, target)
    push(outputs, target, out, outputs.dtype.type(0) if short <= ZERO else TWO * along)


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

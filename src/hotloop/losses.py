"""Losses: for each its code, and one kernel that gives the loss of a sample and ∂loss/∂outputs.

A target is a row of numbers: the class for losses on labels, the wanted outputs for the others.

To add one: a code (append-only), a kernel, a branch in `loss_of_row`, and a row in `LOSSES`.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hotloop._checks import check_choice
from hotloop._jit import kernel, kernel_in_order
from hotloop.engine.mathfun import exp
from hotloop.errors import InvalidValueError

__all__ = ["LOSSES", "Loss", "check_loss", "hit_of_row", "loss_of_row"]

ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)

MSE = 0
SOFTMAX_CROSS_ENTROPY = 1


@dataclass(frozen=True)
class Loss:
    """What the face must know of a loss.

    Attributes
    ----------
    name : str
        The public name.
    code : int
        What the kernels branch on.
    on_labels : bool
        True if a target is an integer class below the number of outputs; accuracy is then reported.
    """

    name: str
    code: int
    on_labels: bool


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("mse", MSE, on_labels=False),
        Loss("softmax_cross_entropy", SOFTMAX_CROSS_ENTROPY, on_labels=True),
    )
}
"""Public name → loss."""


def check_loss(name: Any, n_outputs: int) -> Loss:
    """The loss of that name, if a model with so many outputs can have it."""
    loss = LOSSES[check_choice(name, "loss", LOSSES)]
    if loss.on_labels and n_outputs < 2:
        raise InvalidValueError(
            f"loss: {name!r} needs a model with one output a class, at least 2; this one has {n_outputs}"
        )
    return loss


@kernel
def mse(outputs, target, delta):
    """Σⱼ (ŷⱼ − yⱼ)²: the negative log-likelihood of a Gaussian, up to scale and a constant.

    Over outputs it is the sum and there is no ½, as in ``notes/000``; PyTorch's takes the mean.
    """
    total = ZERO
    for j in range(len(outputs)):
        error = outputs[j] - target[j]
        total += error * error
        delta[j] = TWO * error
    return total


@kernel
def softmax_cross_entropy(outputs, target, delta):
    """−log softmax(z)_y: the negative log-likelihood of a categorical distribution, on logits z.

    log Σ eᶻ is taken relative to the largest logit, so no logit overflows (``notes/003``, softmax).
    """
    peak = outputs[0]
    for j in range(len(outputs)):
        peak = outputs[j] if outputs[j] > peak else peak
    total = ZERO
    for j in range(len(outputs)):
        delta[j] = exp(outputs[j] - peak)
        total += delta[j]
    for j in range(len(outputs)):
        delta[j] /= total
    label = int(target[0])
    delta[label] -= ONE
    return negative_log_share(total, outputs[label], peak)


@kernel_in_order
def negative_log_share(total, output, peak):
    """−log (e^(output − peak) / total): in this order, since output and peak may be large and close."""
    return math.log(total) - (output - peak)


@kernel
def loss_of_row(code, outputs, target, delta):
    """The loss of one sample; `delta` becomes its gradient with respect to `outputs`."""
    if code == MSE:
        return mse(outputs, target, delta)
    return softmax_cross_entropy(outputs, target, delta)


@kernel
def hit_of_row(code, outputs, target):
    """1 if the largest output is the target's class, else 0; 0 for losses without classes."""
    if code == MSE:
        return 0.0
    best = 0
    for j in range(1, len(outputs)):
        best = j if outputs[j] > outputs[best] else best
    return 1.0 if best == int(target[0]) else 0.0

"""Losses: for each its public description, and its kernels: a sample's loss and its ∂/∂outputs, and
the product of its second derivatives with a row, r.

A target is a row of numbers: a class or a sign, wanted outputs, or probabilities. What is summed is
summed over the outputs of a sample; over samples the loss is the weighted mean.

Each file holds one kind, descriptions and kernels of its members together. To add one: a code
(append-only over all files: the next is 12), a frozen dataclass and two kernels in the file of its
kind, and here its place in `LOSSES`, a branch in `loss_of_row` and one in `rarer_product_of_row` (and
in `hit_of_row`, if it has an accuracy). One that is used much may have loops of its own over all samples of
a batch, and a place in `WHOLE_BATCH`.
"""

import functools
from typing import Any

import numpy as np

from hotloop._checks import check_choice
from hotloop._jit import kernel, kernel_inline
from hotloop.engine.address import NOWHERE, address_of, call
from hotloop.errors import InvalidValueError
from hotloop.losses.base import Criterion, Loss, weigh
from hotloop.losses.custom import GIVEN_CODE, Custom, given
from hotloop.losses.margins import (
    HINGE_CODE,
    PERCEPTRON_CODE,
    SQUARED_HINGE_CODE,
    Hinge,
    Perceptron,
    SquaredHinge,
    hinge,
    perceptron,
    squared_hinge,
    squared_hinge_product,
)
from hotloop.losses.probabilities import (
    KL_DIVERGENCE_CODE,
    SIGMOID_CROSS_ENTROPY_CODE,
    SOFTMAX_CROSS_ENTROPY_CODE,
    KLDivergence,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    kl_divergence,
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_product,
    softmax_cross_entropy,
    softmax_cross_entropy_product,
)
from hotloop.losses.values import (
    GAUSSIAN_NLL_CODE,
    HUBER_CODE,
    MAE,
    MAE_CODE,
    MSE,
    MSE_CODE,
    POISSON_NLL_CODE,
    GaussianNLL,
    Huber,
    PoissonNLL,
    gaussian_nll,
    gaussian_nll_product,
    huber,
    huber_product,
    mae,
    mse,
    mse_product,
    poisson_nll,
    poisson_nll_product,
)

__all__ = [
    "LOSSES",
    "MAE",
    "MSE",
    "Criterion",
    "Custom",
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
    "criterion_of",
    "curvature_of",
    "losses_of_rows",
    "product_of_row",
]

ZERO = np.float32(0)

WHOLE_BATCH = {
    MSE_CODE: mse,
    SOFTMAX_CROSS_ENTROPY_CODE: softmax_cross_entropy,
    KL_DIVERGENCE_CODE: kl_divergence,
    SIGMOID_CROSS_ENTROPY_CODE: sigmoid_cross_entropy,
}
"""Code → the kernel of a loss that has its own loops over samples; `row_by_row` has those of the others."""

PART_OF_PRODUCTS = (MSE_CODE, SOFTMAX_CROSS_ENTROPY_CODE)
"""Codes whose second derivatives are part of the loop over Hessian products; the others have an address."""

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


def check_loss(loss: Any, n_outputs: int, last_activation: str = "identity") -> Loss:
    """`loss`, or the loss of that name with default options, if such a model can have it."""
    found = loss if isinstance(loss, Loss) else LOSSES[check_choice(loss, "loss", LOSSES)]
    found.check_outputs(n_outputs)
    if found.includes is not None and found.includes == last_activation:
        raise InvalidValueError(
            f"loss: {found.name!r} takes logits and applies {last_activation} itself, and the model's last "
            f"layer applies it too; leave it out there, as in hl.Dense({n_outputs})"
        )
    return found


def criterion_of(loss: Loss, dtype: np.dtype[Any]) -> Criterion:
    """`loss` as the kernels take it, for a network of this dtype."""
    return Criterion(loss.code, loss.option(), _address(loss.code, dtype))


@functools.cache
def _address(code: int, dtype: np.dtype[Any]) -> int:
    row, numbers = np.empty(1, dtype), np.empty(1)
    arguments = (code, 0.0, row, row[:, None], row, 1.0, row, numbers, numbers)
    return address_of(WHOLE_BATCH.get(code, row_by_row), arguments)


def curvature_of(loss: Loss, dtype: np.dtype[Any]) -> Criterion:
    """`loss` as `product_of_row` takes it: the address is that of the rarer losses' second derivatives.

    Raises
    ------
    InvalidValueError
        If it is a user's own: nothing says what its second derivatives are.
    """
    if isinstance(loss, Custom):
        raise InvalidValueError(
            "loss: a loss of your own has a value and a gradient, and no second derivatives; "
            "use hl.numerical_hessian(objective, theta), which takes differences of its gradient"
        )
    if loss.code in PART_OF_PRODUCTS:
        return Criterion(loss.code, loss.option(), NOWHERE)
    row = np.empty(1, dtype)
    address = address_of(rarer_product_of_row, (loss.code, loss.option(), row, row, row, row))
    return Criterion(loss.code, loss.option(), address)


@kernel
def losses_of_rows(loss, outputs, targets, weights, scale, delta, losses, hits):
    """The loss of each of n samples, how much of its target it hits, and its part of the gradient.

    Parameters
    ----------
    loss : Criterion
    outputs : (n * outputs,)
    targets : (n, width)
    weights : (n,)
    scale : float
    delta : (n * outputs,)
        Becomes scale · weight · ∂loss/∂outputs.
    losses, hits : (n,)
        Become the loss, and 0 to 1; 0 for losses without accuracy.
    """
    rows = (outputs, targets, weights, scale, delta, losses, hits)
    call(loss.address, (loss.code, loss.option, *rows))


@kernel
def row_by_row(code, option, outputs, targets, weights, scale, delta, losses, hits):
    """`losses_of_rows` of the rarer codes; NaN for one that is not known."""
    n_out = len(outputs) // len(losses)
    for i in range(len(losses)):
        z, slope = outputs[i * n_out : (i + 1) * n_out], delta[i * n_out : (i + 1) * n_out]
        losses[i] = loss_of_row(code, option, z, targets[i], slope)
        hits[i] = hit_of_row(code, z, targets[i])
    weigh(weights, scale, delta)


@kernel_inline
def loss_of_row(code, option, outputs, target, delta):
    """The loss of one sample, in the dtype of the network."""
    number = outputs.dtype.type
    if code == MAE_CODE:
        return mae(outputs, target, delta)
    if code == HUBER_CODE:
        return huber(outputs, target, delta, number(option))
    if code == GAUSSIAN_NLL_CODE:
        return gaussian_nll(outputs, target, delta)
    if code == POISSON_NLL_CODE:
        return poisson_nll(outputs, target, delta)
    if code == HINGE_CODE:
        return hinge(outputs, target, delta)
    if code == SQUARED_HINGE_CODE:
        return squared_hinge(outputs, target, delta)
    if code == PERCEPTRON_CODE:
        return perceptron(outputs, target, delta)
    if code == GIVEN_CODE:
        return given(target, delta)
    return number(np.nan)


@kernel_inline
def product_of_row(loss, outputs, target, tangent, out):
    """out = ∇²loss r for one sample: its second derivatives by the outputs, times the row `tangent`.

    `loss` is what `curvature_of` gave.
    """
    code, number = loss.code, outputs.dtype.type
    if code == SOFTMAX_CROSS_ENTROPY_CODE:
        softmax_cross_entropy_product(outputs, target, tangent, out, number(loss.option))
    elif code == MSE_CODE:
        mse_product(tangent, out)
    else:
        call(loss.address, (code, loss.option, outputs, target, tangent, out))


@kernel
def rarer_product_of_row(code, option, outputs, target, tangent, out):
    """`product_of_row` of the other codes; NaN for one that is not known."""
    number = outputs.dtype.type
    if code == HUBER_CODE:
        huber_product(outputs, target, tangent, out, number(option))
    elif code == GAUSSIAN_NLL_CODE:
        gaussian_nll_product(outputs, target, tangent, out)
    elif code == POISSON_NLL_CODE:
        poisson_nll_product(outputs, tangent, out)
    elif code == KL_DIVERGENCE_CODE:
        softmax_cross_entropy_product(outputs, target, tangent, out, number(0))
    elif code == SIGMOID_CROSS_ENTROPY_CODE:
        sigmoid_cross_entropy_product(outputs, tangent, out)
    elif code == SQUARED_HINGE_CODE:
        squared_hinge_product(outputs, target, tangent, out)
    else:
        # Straight lines, whatever the kinks between them.
        straight = code in (MAE_CODE, HINGE_CODE, PERCEPTRON_CODE)
        out[:] = number(0) if straight else number(np.nan)


@kernel
def hit_of_row(code, outputs, target):
    """1 where the outputs hit the class or the sign; 0 for losses without accuracy."""
    if code not in (HINGE_CODE, SQUARED_HINGE_CODE, PERCEPTRON_CODE):
        return 0.0
    if len(outputs) == 1:
        return 1.0 if (outputs[0] > ZERO) == (target[0] > ZERO) else 0.0
    return class_hit(outputs, target)


@kernel
def class_hit(outputs, target):
    """1 if the first largest output is the target's class."""
    label = int(target[0])
    hit = True  # written so that NaN is a miss
    for j in range(len(outputs)):
        hit &= outputs[label] > outputs[j] or (outputs[label] == outputs[j] and label <= j)
    return 1.0 if hit else 0.0

"""Losses: for each its public description, and its kernels: a sample's loss and its ∂/∂outputs, and
the product of its second derivatives with a row, r.

A target is a row of numbers: a class or a sign, wanted outputs, or probabilities. What is summed is
summed over the outputs of a sample; over samples the loss is the weighted mean.

Each file holds one kind, descriptions and kernels of its members together. To add one: a code
(append-only over all files: the next is 12), a frozen dataclass and two kernels in the file of its
kind, and here its place in `LOSSES`, a branch in `loss_of_code` and one in `rarer_product_of_row` (and
in `hit_of_row`, if it has an accuracy).
"""

from typing import Any

import numpy as np

from hotloop._checks import check_choice
from hotloop._jit import kernel, kernel_inline
from hotloop.engine.address import NOWHERE, address_of, call, call_for_number
from hotloop.errors import InvalidValueError
from hotloop.losses.base import Criterion, Loss
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
    "hit_of_row",
    "loss_of_row",
    "product_of_row",
]

ZERO, HALF = np.float32(0), np.float32(0.5)

COMMON = (MSE_CODE, SOFTMAX_CROSS_ENTROPY_CODE)
"""Codes that are part of the loop; the others are called by address."""

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
    if loss.code in COMMON:
        return Criterion(loss.code, loss.option(), NOWHERE)
    row = np.empty(1, dtype)
    address = address_of(rarer_loss_of_row, (loss.code, loss.option(), row, row, row))
    return Criterion(loss.code, loss.option(), address)


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
    if loss.code in COMMON:
        return Criterion(loss.code, loss.option(), NOWHERE)
    row = np.empty(1, dtype)
    address = address_of(rarer_product_of_row, (loss.code, loss.option(), row, row, row, row))
    return Criterion(loss.code, loss.option(), address)


@kernel_inline
def loss_of_row(loss, outputs, target, delta):
    """The loss of one sample; `delta` becomes its gradient with respect to `outputs`.

    `loss` is a `Criterion`.
    """
    code, number = loss.code, outputs.dtype.type
    if code == SOFTMAX_CROSS_ENTROPY_CODE:
        return np.float64(softmax_cross_entropy(outputs, target, delta, number(loss.option)))
    if code == MSE_CODE:
        return np.float64(mse(outputs, target, delta))
    return call_for_number(loss.address, (code, loss.option, outputs, target, delta))


@kernel
def rarer_loss_of_row(code, option, outputs, target, delta):
    """`loss_of_row` of the other codes, compiled when one is first used; NaN for one that is not known."""
    return np.float64(loss_of_code(code, option, outputs, target, delta))


@kernel
def loss_of_code(code, option, outputs, target, delta):
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
        # Written so that NaN is a miss.
        ahead = outputs[label] > outputs[j] or (outputs[label] == outputs[j] and label <= j)
        if not ahead:
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

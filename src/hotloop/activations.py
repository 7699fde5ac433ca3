"""Activations: for each its code, f, and f′ written with z = the input and a = f(z).

To add one: a code (append-only), a pair of kernels, a branch in `activate` and in
`activate_backward`, and a row in `ACTIVATIONS`.
"""

import numpy as np

from hotloop._jit import kernel
from hotloop.engine.mathfun import sigmoid as sigma
from hotloop.engine.mathfun import tanh as tanh_of

__all__ = ["ACTIVATIONS", "activate", "activate_backward"]

# float32 constants that are exact: float32 code stays float32, float64 code promotes them.
ZERO, ONE = np.float32(0), np.float32(1)

IDENTITY = 0
RELU = 1
TANH = 2
SIGMOID = 3

ACTIVATIONS = {"identity": IDENTITY, "relu": RELU, "tanh": TANH, "sigmoid": SIGMOID}
"""Public name → code."""


@kernel
def relu(z):
    """max(z, 0); NaN stays NaN."""
    return ZERO if z < ZERO else z


@kernel
def relu_derivative(z, a):
    """1 for z > 0, else 0: at the kink the left derivative."""
    return ONE if z > ZERO else ZERO


@kernel
def tanh(z):
    """(eᶻ − e⁻ᶻ) / (eᶻ + e⁻ᶻ)."""
    return tanh_of(z)


@kernel
def tanh_derivative(z, a):
    """1 − a²."""
    return ONE - a * a


@kernel
def sigmoid(z):
    """1 / (1 + e⁻ᶻ)."""
    return sigma(z)


@kernel
def sigmoid_derivative(z, a):
    """a (1 − a)."""
    return a * (ONE - a)


@kernel
def activate(code, z, a):
    """a = f(z), element by element."""
    if code == RELU:
        for i in range(len(z)):
            a[i] = relu(z[i])
    elif code == TANH:
        for i in range(len(z)):
            a[i] = tanh(z[i])
    elif code == SIGMOID:
        for i in range(len(z)):
            a[i] = sigmoid(z[i])


@kernel
def activate_backward(code, z, a, delta):
    """delta *= f′(z), in place: from ∂L/∂a to ∂L/∂z."""
    if code == RELU:
        for i in range(len(z)):
            delta[i] *= relu_derivative(z[i], a[i])
    elif code == TANH:
        for i in range(len(z)):
            delta[i] *= tanh_derivative(z[i], a[i])
    elif code == SIGMOID:
        for i in range(len(z)):
            delta[i] *= sigmoid_derivative(z[i], a[i])

"""Each kernel's slow, obvious twin in NumPy: what the fast code is held to, always in float64.

A network is the tuple of its `hotloop.Dense` specs and θ is flat, as in the library, so both sides
can be given the same arguments. Shapes: x (n, features), outputs (n, units), weights (n,), and
targets (n, units) of values or (n, 1) of classes.
"""

import math

import numpy as np


def multiply(start, a, b):
    return start + a @ b


def _sigmoid(z):
    # Each branch only where its exponent is negative.
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + small), small / (1 + small))


def _where_positive(above, below):
    """above(z) for z > 0, else below(z), each called only where it counts."""
    return lambda z: np.where(z > 0, above(np.maximum(z, 0.0)), below(np.minimum(z, 0.0)))


_normal_cdf = np.vectorize(lambda z: math.erfc(-z / math.sqrt(2)) / 2, otypes=[float])


def _normal_pdf(z):
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _mish_factor(z):
    """tanh(ln(1 + eᶻ)), and its derivative."""
    factor = np.tanh(_softplus(z))
    return factor, (1 - factor**2) * _sigmoid(z)


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

ACTIVATIONS = {
    "identity": (lambda z: z, lambda z: np.ones_like(z)),
    "relu": (lambda z: np.maximum(z, 0), lambda z: np.where(z > 0, 1.0, 0.0)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * _sigmoid(-z)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1.0, 0.01)),
    "elu": (_where_positive(lambda z: z, np.expm1), _where_positive(np.ones_like, np.exp)),
    "selu": (
        lambda z: SELU_SCALE * _where_positive(lambda z: z, lambda z: SELU_ALPHA * np.expm1(z))(z),
        lambda z: SELU_SCALE * _where_positive(np.ones_like, lambda z: SELU_ALPHA * np.exp(z))(z),
    ),
    "gelu": (lambda z: z * _normal_cdf(z), lambda z: _normal_cdf(z) + z * _normal_pdf(z)),
    "silu": (lambda z: z * _sigmoid(z), lambda z: _sigmoid(z) * (1 + z * _sigmoid(-z))),
    "mish": (lambda z: z * _mish_factor(z)[0], lambda z: _mish_factor(z)[0] + z * _mish_factor(z)[1]),
    "softplus": (_softplus, _sigmoid),
    "hard_sigmoid": (
        lambda z: np.clip((z + 3) / 6, 0, 1),
        lambda z: np.where((z > -3) & (z < 3), 1 / 6, 0.0),
    ),
}
"""Name → (f, f′), both of z."""


def _mse(outputs, targets):
    return ((outputs - targets) ** 2).sum(axis=1)


def _mse_gradient(outputs, targets):
    return 2 * (outputs - targets)


def _log_softmax(outputs):
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _softmax_cross_entropy(outputs, targets):
    return -np.take_along_axis(_log_softmax(outputs), targets.astype(int), axis=1)[:, 0]


def _softmax_cross_entropy_gradient(outputs, targets):
    one_hot = np.arange(outputs.shape[1]) == targets.astype(int)
    return np.exp(_log_softmax(outputs)) - one_hot


LOSSES = {
    "mse": (_mse, _mse_gradient),
    "softmax_cross_entropy": (_softmax_cross_entropy, _softmax_cross_entropy_gradient),
}
"""Name → (loss of each row, its gradient with respect to the outputs)."""


def unpack(layers, n_in, theta):
    """[(W, b or 0)] of every layer, cut from θ."""
    theta, parts = np.asarray(theta, np.float64), []
    for layer in layers:
        kernel, theta = np.split(theta, [n_in * layer.units])
        bias, theta = np.split(theta, [layer.units if layer.use_bias else 0])
        parts.append((kernel.reshape(n_in, layer.units), bias if layer.use_bias else 0.0))
        n_in = layer.units
    assert theta.size == 0
    return parts


def forward(layers, theta, x):
    """(inputs of every layer and the final outputs, z of every layer)."""
    values, inner = [np.asarray(x, np.float64)], []
    for layer, (kernel, bias) in zip(layers, unpack(layers, values[0].shape[1], theta), strict=True):
        inner.append(values[-1] @ kernel + bias)
        values.append(ACTIVATIONS[layer.activation][0](inner[-1]))
    return values, inner


def predict(layers, theta, x):
    return forward(layers, theta, x)[0][-1]


def value(layers, loss, theta, x, targets, weights):
    """Σ weight · loss / Σ weight."""
    return weights @ LOSSES[loss][0](predict(layers, theta, x), targets) / weights.sum()


def gradient(layers, loss, theta, x, targets, weights):
    """∂ value / ∂θ, by the chain rule."""
    values, inner = forward(layers, theta, x)
    weights = np.asarray(weights, np.float64)
    delta = LOSSES[loss][1](values[-1], targets) * (weights / weights.sum())[:, None]
    parts = []
    for k in reversed(range(len(layers))):
        delta = delta * ACTIVATIONS[layers[k].activation][1](inner[k])
        if layers[k].use_bias:
            parts.append(delta.sum(axis=0))
        parts.append((values[k].T @ delta).ravel())
        delta = delta @ unpack(layers, values[0].shape[1], theta)[k][0].T
    return np.concatenate(parts[::-1])


def accuracy(layers, theta, x, targets, weights):
    return weights @ (predict(layers, theta, x).argmax(axis=1) == targets[:, 0]) / weights.sum()


def sgd(theta, gradient_of, rates, momentum=0.0, nesterov=False):
    """θ after each step, (steps, θ.size)."""
    v, path = np.zeros_like(theta), []
    for rate in rates:
        g = gradient_of(theta)
        v = momentum * v + g
        theta = theta - rate * (g + momentum * v if nesterov else v)
        path.append(theta)
    return np.array(path)


def adam(theta, gradient_of, rates, betas=(0.9, 0.999), eps=1e-8):
    """θ after each step, (steps, θ.size): Kingma & Ba (2015), algorithm 1, word by word."""
    m, v, path = np.zeros_like(theta), np.zeros_like(theta), []
    for t, rate in enumerate(rates, start=1):
        g = gradient_of(theta)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        m_hat = m / (1 - betas[0] ** t)
        v_hat = v / (1 - betas[1] ** t)
        theta = theta - rate * m_hat / (np.sqrt(v_hat) + eps)
        path.append(theta)
    return np.array(path)


def central_differences(function, at, step=1e-6):
    """∂ function / ∂ at, one number after the other; `function` gives a number."""
    out = np.empty_like(at)
    for k in np.ndindex(at.shape):
        h = np.zeros_like(at)
        h[k] = step
        out[k] = (function(at + h) - function(at - h)) / (2 * step)
    return out

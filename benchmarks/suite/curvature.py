"""Second derivatives: products with the Hessian, beside the gradient, and whole matrices.

A product should cost at most three gradients. `benchmarks/curvature_vs_pytorch.py` has PyTorch beside them.
"""

import numpy as np

import hotloop as hl

from .common import network, normal_data


def objective(widths, rows, activation="relu"):
    """The loss of a network with these widths on random labels, and its θ."""
    layers = [*(hl.Dense(units, activation) for units in widths[1:-1]), hl.Dense(widths[-1])]
    model = hl.Sequential(layers, input_dim=widths[0])
    X, y = normal_data(rows, widths[0], widths[-1])
    found = hl.Objective(model, X, y, loss="softmax_cross_entropy")
    # Compiles, before a clock runs.
    found.hvp(model.theta, model.theta)
    return found, model.theta


class Product:
    """784-128-10 (ReLU) on 10,000 rows: the gradient, and products with one vector and with eight at once."""

    function, theta = objective((784, 128, 10), 10_000)
    eight = np.tile(theta, (8, 1))

    def time_gradient(self):
        self.function.gradient(self.theta)

    def time_hvp(self):
        self.function.hvp(self.theta, self.theta)

    def time_hvp_of_eight(self):
        self.function.hvp(self.theta, self.eight)

    def time_gauss_newton_product(self):
        self.function.gauss_newton_product(self.theta, self.theta)


class Matrices:
    """20-16-3 (tanh) on 1,000 rows: (387, 387) numbers."""

    function, theta = objective((20, 16, 3), 1_000, "tanh")
    data, _ = normal_data(1_000, 20, 3)
    model = network(20, 16, 3)

    def time_hessian(self):
        self.function.hessian(self.theta)

    def time_gauss_newton(self):
        self.function.gauss_newton(self.theta)

    def time_per_sample_gradients(self):
        self.function.per_sample_gradients(self.theta)

    def time_jacobian(self):
        hl.jacobian(self.model, self.data, wrt="theta")

"""Second derivatives against PyTorch's, in turn in one run: products with the Hessian, and all of it.

    python benchmarks/curvature_vs_pytorch.py [--threads 1] [--rounds 7]

The product is that of a 784-128-10 network (ReLU, softmax cross-entropy) on 10,000 rows; PyTorch takes it by
two backward passes, and by `torch.func.jvp` of a gradient. The Hessian is that of 20-16-3 (tanh) on 1,000
rows; PyTorch's is `torch.func.hessian`. All in float32. In each round every contestant has one call, in turn;
the figure is its fastest. Before that, all must agree.
"""

import argparse
import time

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import hotloop as hl

SETTLE_SECONDS = 0.02
"""Pause before each call: by then the thread pool of the one before has stopped spinning."""


class Problem:
    """The same network with one hidden layer, data, θ and direction for both."""

    def __init__(self, n_in, hidden, classes, activation, rows, threads):
        rng = np.random.default_rng(0)
        X, y = rng.standard_normal((rows, n_in), np.float32), rng.integers(0, classes, rows)
        self.model = hl.Sequential([hl.Dense(hidden, activation), hl.Dense(classes)], input_dim=n_in)
        self.objective = hl.Objective(self.model, X, y, loss="softmax_cross_entropy", n_threads=threads)
        self.theta = self.model.theta
        self.v = rng.standard_normal(self.objective.size, np.float32)
        self.X, self.y, self.f = torch.from_numpy(X), torch.from_numpy(y), getattr(torch, activation)
        self.parts, self.directions = self.split(self.theta), self.split(self.v)

    def split(self, vector):
        """The parameters in a flat vector, as PyTorch's tensors."""
        return tuple(torch.from_numpy(view.copy()) for view in self.model.views(vector).values())

    def loss(self, w1, b1, w2, b2):
        """What both differentiate."""
        hidden = self.f(torch.addmm(b1, self.X, w1))
        return cross_entropy(torch.addmm(b2, hidden, w2), self.y)

    def loss_of_theta(self, theta):
        """The same of the flat θ."""
        shapes = [part.shape for part in self.parts]
        pieces = torch.split(theta, [shape.numel() for shape in shapes])
        return self.loss(*(piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)))

    def twice_backward(self):
        """A product by a backward pass through a backward pass."""
        parts = [part.requires_grad_() for part in self.parts]
        gradient = torch.autograd.grad(self.loss(*parts), parts, create_graph=True)
        return flat(torch.autograd.grad(gradient, parts, self.directions))

    def forward_over_backward(self):
        """A product by a forward pass through a backward pass."""
        gradient = torch.func.grad(self.loss, argnums=(0, 1, 2, 3))
        parts = tuple(part.detach() for part in self.parts)
        return flat(torch.func.jvp(gradient, parts, self.directions)[1])

    def whole(self):
        """The Hessian by PyTorch."""
        return torch.func.hessian(self.loss_of_theta)(torch.from_numpy(self.theta)).numpy()


def flat(parts):
    """One array of all."""
    return torch.cat([part.reshape(-1) for part in parts]).detach().numpy()


def agree(contestants):
    """Raise if one finds something else than the first; as a side effect, all have warmed up."""
    found = [call() for call in contestants.values()]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-3 * np.abs(found[0]).max())


def in_turn(contestants, rounds):
    """Milliseconds of the fastest call of each."""
    best = dict.fromkeys(contestants, np.inf)
    for _ in range(rounds):
        for name, call in contestants.items():
            time.sleep(SETTLE_SECONDS)
            started = time.perf_counter()
            call()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - started))
    return best


def table(title, times):
    """Print milliseconds, and how many times the first one's."""
    print(title)
    first = next(iter(times.values()))
    for name, milliseconds in times.items():
        print(f"  {name:30}{milliseconds:10.1f} ms{milliseconds / first:8.2f}")


def main():
    """Both problems, and what a product costs in gradients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    large = Problem(784, 128, 10, "relu", 10_000, arguments.threads)
    products = {
        "hotloop": lambda: large.objective.hvp(large.theta, large.v),
        "PyTorch, backward twice": large.twice_backward,
        "PyTorch, torch.func.jvp": large.forward_over_backward,
    }
    agree(products)
    gradient = {"hotloop, the gradient alone": lambda: large.objective.gradient(large.theta)}
    table("product, 784-128-10 on 10,000 rows", in_turn(products | gradient, arguments.rounds))

    small = Problem(20, 16, 3, "tanh", 1_000, arguments.threads)
    hessians = {
        "hotloop": lambda: small.objective.hessian(small.theta),
        "PyTorch, torch.func.hessian": small.whole,
    }
    agree(hessians)
    table("Hessian, 20-16-3 on 1,000 rows", in_turn(hessians, arguments.rounds))


if __name__ == "__main__":
    main()

"""How hotloop and each of its peers train the same network; `peers.py` times them.

A contestant is a function that takes a `Case`, data and a number of threads, and returns
``train(rows, epochs)``, which trains on the first `rows` rows, shuffled anew in each epoch: float32,
Adam or plain gradient descent, softmax cross-entropy, ReLU between dense layers, as fast as the library
can. Peers are imported inside the functions: none is needed for the others. Each runs in a process of its
own, which `turns.py` has limited to its threads. To add one, write its function and name it in `PEERS`.
"""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from typing import NamedTuple

import numpy as np

GATHERED_BYTES = 1 << 18
"""PyTorch gathers minibatches below this all at once, larger ones each in its turn: what is faster."""

Train = Callable[[int, int], None]


class Case(NamedTuple):
    """Widths, from inputs to classes, rows of a minibatch, "adam" or "sgd", and whether on MNIST's images."""

    widths: tuple[int, ...]
    batch: int
    optimizer: str = "adam"
    images: bool = False

    def __str__(self) -> str:
        optimizer = "" if self.optimizer == "adam" else f", {self.optimizer.upper()}"
        return f"{'-'.join(map(str, self.widths))} @ {self.batch}{optimizer}{', MNIST' * self.images}"

    @property
    def flop(self) -> int:
        """Multiplications and additions in the products of a step: forward, gradient, and backward from the
        second layer on, of zeros too. Activations, loss and optimizer come on top, and do not count.
        """
        weights = [n_in * n_out for n_in, n_out in pairwise(self.widths)]
        return 2 * self.batch * (3 * sum(weights) - weights[0])


def hotloop(case: Case, X: np.ndarray, y: np.ndarray, threads: int) -> Train:
    """`Trainer.fit`, checks of the data included."""
    import hotloop as hl

    *hidden, classes = case.widths[1:]
    layers = [*(hl.Dense(units, "relu") for units in hidden), hl.Dense(classes)]
    trainer = hl.Trainer(
        hl.Sequential(layers, input_dim=case.widths[0]),
        loss="softmax_cross_entropy",
        optimizer=hl.Adam(1e-3) if case.optimizer == "adam" else hl.SGD(1e-3),
        batch_size=case.batch,
        n_threads=threads,
    )

    def train(rows: int, epochs: int) -> None:
        trainer.fit(X[:rows], y[:rows], epochs=epochs)

    return train


def pytorch(case: Case, X: np.ndarray, y: np.ndarray, threads: int) -> Train:
    """Eager mode, fused optimizer, rows gathered in the faster of two ways (see `GATHERED_BYTES`)."""
    import torch

    torch.set_num_threads(threads)
    layers = []
    for n_in, n_out in zip(case.widths, case.widths[1:], strict=False):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    kind = torch.optim.Adam if case.optimizer == "adam" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=1e-3, fused=True)
    cross_entropy = torch.nn.functional.cross_entropy
    features, labels = torch.from_numpy(X), torch.from_numpy(y)
    at_once = 4 * case.widths[0] * case.batch < GATHERED_BYTES

    def batches(rows: int):
        order = torch.randperm(rows)
        if at_once:
            return zip(features[order].split(case.batch), labels[order].split(case.batch), strict=True)
        return ((features[part], labels[part]) for part in order.split(case.batch))

    def train(rows: int, epochs: int) -> None:
        for _ in range(epochs):
            for x, target in batches(rows):
                optimizer.zero_grad(set_to_none=True)
                cross_entropy(model(x), target).backward()
                optimizer.step()

    return train


def jax(case: Case, X: np.ndarray, y: np.ndarray, threads: int) -> Train:
    """Its fastest form: one jitted `lax.scan` over the epoch, buffers donated, Adam written out."""
    import jax
    import jax.numpy as jnp

    def loss(theta, x, target):
        for kernel, bias in theta[:-1]:
            x = jax.nn.relu(x @ kernel + bias)
        logits = jax.nn.log_softmax(x @ theta[-1][0] + theta[-1][1])
        return -jnp.take_along_axis(logits, target[:, None], 1).mean()

    def step(state, indices):
        theta, m, v, t = state
        grad = jax.grad(loss)(theta, features[indices], labels[indices])
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grad)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grad)
        rate, root = 1e-3 / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
        theta = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), theta, m, v)
        return (theta, m, v, t), None

    features, labels = jnp.asarray(X), jnp.asarray(y)
    epoch = jax.jit(lambda state, order: jax.lax.scan(step, state, order)[0], donate_argnums=0)
    rng = np.random.default_rng(0)
    sizes = list(zip(case.widths, case.widths[1:], strict=False))
    theta, m, v = (
        [(jnp.asarray(s * rng.standard_normal((a, b), np.float32)), jnp.zeros(b)) for a, b in sizes]
        for s in (0.05, 0, 0)
    )
    state = [(theta, m, v, jnp.float32(0))]

    def train(rows: int, epochs: int) -> None:
        for _ in range(epochs):
            order = rng.permutation(rows).astype(np.int32).reshape(-1, case.batch)
            state[0] = epoch(state[0], order)
        jax.block_until_ready(state[0])

    return train


def scikit_learn(case: Case, X: np.ndarray, y: np.ndarray, threads: int) -> Train:
    """`MLPClassifier`; it has one logistic output for two classes. Its BLAS keeps to `threads`."""
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    model = MLPClassifier(
        case.widths[1:-1],
        solver=case.optimizer,
        momentum=0.0,
        alpha=0.0,
        batch_size=case.batch,
        random_state=0,
    )
    classes = np.arange(case.widths[-1])

    def train(rows: int, epochs: int) -> None:
        with threadpool_limits(threads):
            for _ in range(epochs):
                model.partial_fit(X[:rows], y[:rows], classes=classes)

    return train


PEERS: dict[str, tuple[Callable[..., Train], str]] = {
    "hotloop": (hotloop, "hotloop"),
    "PyTorch": (pytorch, "torch==2.13.0"),
    "JAX": (jax, "jax"),
    "scikit-learn": (scikit_learn, "scikit-learn"),
}
"""How to train, and what `pip install` calls it."""


def installed(name: str) -> str | None:
    """The version of a contestant, or None."""
    if name == "hotloop":
        import hotloop

        return hotloop.__version__  # also where it is only on the path
    try:
        return version(PEERS[name][1].split("==")[0])
    except PackageNotFoundError:
        return None

"""What penalties do to what a network looks at
=============================================

Train the same network on images of digits under several penalties, and look at its first kernel.

Each small image shows the weights of one hidden unit, where the pixels are: blue counts for the unit,
vermillion against it. Without a penalty the weights of pixels that are nearly always dark stay at their
random start. L2 lets them fade, the proximal L1 sets half to exactly 0, L0 keeps a number of them that you
name, MaxNorm limits the length of each unit's weights, and the nuclear norm, a sum of singular values,
leaves a matrix of low rank: its units are mixtures of a few images (notes/002).

To run it::

    python examples/penalties_on_kernels.py
    python examples/penalties_on_kernels.py --epochs 50
"""

import argparse
from pathlib import Path

import numpy as np

import hotloop as hl

UNITS, BATCH = 36, 50
PENALTIES = {
    "none": None,
    "L2": hl.L2(1e-2),
    "L1, proximal": hl.L1(3e-3, proximal=True),
    "L0: 2,000 weights": hl.L0(2000),
    "MaxNorm: 1": hl.MaxNorm(1.0),
    "nuclear norm": hl.Nuclear(0.15),
}


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rows", type=int, default=5000, help="half of them to train on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("penalties_on_kernels.png"))
    return parser.parse_args()


def load_digits(rows, seed):
    """So many images of MNIST if it is found, else drawn digits."""
    try:
        (X, y), _ = hl.data.load_mnist()
    except FileNotFoundError:
        return hl.data.synthetic_digits(rows, seed=seed)
    return X[:rows], y[:rows]


def train(penalty, X, y, epochs, seed):
    """A network whose first kernel has the penalty."""
    layers = [hl.Dense(UNITS, "relu", penalty=penalty), hl.Dense(10)]
    model = hl.Sequential(layers, input_dim=784, seed=seed, uint8_scale=1 / 255)
    optimizer = hl.SGD(hl.Cosine(0.05, epochs=epochs), momentum=0.9)
    trainer = hl.Trainer(model, loss="softmax_cross_entropy", optimizer=optimizer, batch_size=BATCH)
    trainer.fit(X, y, epochs=epochs)
    return trainer


def measures(kernel):
    """How many weights are not 0, and how many singular values hold 99 % of the squares."""
    squares = np.linalg.svd(kernel, compute_uv=False).astype(float) ** 2
    rank = 1 + int(np.searchsorted(np.cumsum(squares), 0.99 * squares.sum()))
    return int(np.count_nonzero(kernel)), rank


def draw(path, found):
    """A panel for each penalty."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, 3, figsize=(12, 8.6), layout="constrained")
    for axes, (name, (trainer, accuracy)) in zip(panels.flat, found.items(), strict=True):
        kernel = trainer.model.parameters()["dense_0/kernel"]
        hl.plot.weights(kernel, units=UNITS, ax=axes)
        count, rank = measures(kernel)
        text = f"{100 * accuracy:.1f} % of new images right\n{count:,} weights, rank about {rank}"
        axes.set_title(f"{name}\n{text}", fontsize="medium")
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    X, y = load_digits(options.rows, options.seed)
    half = len(X) // 2
    found = {}
    for name, penalty in PENALTIES.items():
        trainer = train(penalty, X[:half], y[:half], options.epochs, options.seed)
        accuracy = trainer.evaluate(X[half:], y[half:])["accuracy"]
        found[name] = trainer, accuracy
        count, rank = measures(trainer.model.parameters()["dense_0/kernel"])
        print(f"{name:18} {100 * accuracy:5.1f} % right   {count:6,} weights   rank about {rank}")
    draw(options.picture, found)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

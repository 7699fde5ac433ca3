"""A multi-layer perceptron reads MNIST
====================================

Train a multi-layer perceptron on MNIST, or on digits that hotloop draws where MNIST is not at hand.

Prints the test accuracy, the time and the rows a second, and saves one picture: the curves of loss
and accuracy beside the most confident mistakes.

To run it::

    python examples/mnist_mlp.py                       # 784-128-10, Adam, ten epochs
    python examples/mnist_mlp.py --hidden 256 128 --epochs 20 --threads 2
    python examples/mnist_mlp.py --help
"""

import argparse
import time
from pathlib import Path

import numpy as np

import hotloop as hl

OPTIMIZERS = {  # class, default learning rate, options
    "adam": (hl.Adam, 1e-3, {}),
    "sgd": (hl.SGD, 0.1, {}),
    "momentum": (hl.SGD, 0.05, {"momentum": 0.9}),
    "nesterov": (hl.SGD, 0.05, {"momentum": 0.9, "nesterov": True}),
}


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--hidden", type=int, nargs="*", default=[128], metavar="UNITS")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adam")
    parser.add_argument("--lr", type=float, help="learning rate; the default depends on the optimizer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder with MNIST's four IDX files")
    parser.add_argument("--picture", type=Path, default=Path("mnist_mlp.png"))
    return parser.parse_args()


def load_digits(folder, seed):
    """MNIST if it is found, else drawn digits: name, training set, test set."""
    try:
        return "MNIST", *hl.data.load_mnist(folder)
    except FileNotFoundError:
        if folder is not None:
            raise
        X, y = hl.data.synthetic_digits(14_000, seed=seed)
        return "synthetic digits (no MNIST found)", (X[:12_000], y[:12_000]), (X[12_000:], y[12_000:])


class Clock(hl.Callback):
    """The time of training alone: the first fit on a machine compiles before it begins."""

    def on_fit_begin(self, trainer):
        self.start = time.perf_counter()

    def on_fit_end(self, trainer):
        self.seconds = time.perf_counter() - self.start


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def draw(path, history, images, labels, probabilities, title):
    """Curves on the left, the twelve most confident mistakes on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong])][:12]

    figure = plt.figure(figsize=(11, 5), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subfigures(1, 2, width_ratios=[1.1, 1])
    epochs = np.arange(1, history.epochs + 1)
    upper, lower = left.subplots(2, 1, sharex=True)
    for axes, column, name in ((upper, "loss", "cross-entropy (nats)"), (lower, "accuracy", "accuracy (%)")):
        scale = 100 if column == "accuracy" else 1
        axes.plot(epochs, scale * np.array(history[column]), "o-", ms=4, color="C0", label="training")
        axes.plot(epochs, scale * np.array(history[f"val_{column}"]), "o-", ms=4, color="C3", label="test")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    upper.set_ylim(bottom=0)
    upper.legend(frameon=False)
    lower.set_xlabel("epoch")
    lower.xaxis.get_major_locator().set_params(integer=True)

    right.suptitle(f"most confident of {len(wrong)} mistakes in {len(labels):,}", fontsize="medium")
    for axes in right.subplots(3, 4).flat:
        axes.set_axis_off()
    for axes, k in zip(right.axes, worst, strict=False):
        axes.imshow(images[k].reshape(28, 28), cmap="gray_r")
        axes.set_title(f"{labels[k]} read as {predicted[k]}\n{100 * confidence[k]:.1f} %", fontsize="small")
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    name, (X, y), (X_test, y_test) = load_digits(options.data, options.seed)
    layers = [hl.Dense(units, "relu") for units in options.hidden] + [hl.Dense(10)]
    model = hl.Sequential(layers, input_dim=784, seed=options.seed, uint8_scale=1 / 255)
    kind, default_lr, more = OPTIMIZERS[options.optimizer]
    trainer = hl.Trainer(
        model,
        loss="softmax_cross_entropy",
        optimizer=kind(default_lr if options.lr is None else options.lr, **more),
        batch_size=options.batch_size,
        seed=options.seed,
        n_threads=options.threads,
    )
    widths = "-".join(map(str, [784, *options.hidden, 10]))
    print(f"{name}: {len(X):,} training and {len(X_test):,} test images; network {widths}")

    clock = Clock()
    history = trainer.fit(
        X, y, epochs=options.epochs, validation_data=(X_test, y_test), progress=True, callbacks=[clock]
    )
    if not history.epochs:
        raise SystemExit("interrupted before the first epoch was complete")

    accuracy = history["val_accuracy"][-1]
    seconds = clock.seconds
    rows = history.epochs * len(X) / seconds
    print(f"test accuracy {100 * accuracy:.2f} %   time {seconds:.1f} s   {rows:,.0f} rows/s")
    title = f"{widths} on {name}: {100 * accuracy:.2f} % of the test images right after {seconds:.1f} s"
    draw(options.picture, history, X_test, y_test, softmax(model.predict(X_test)), title)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

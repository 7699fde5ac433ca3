"""The mean of the weights, seen on the loss
==========================================

Look down on the loss of new data, and see why the mean of a path beats each of its points.

Three in ten of the labels to learn from are drawn at random. So gradient descent on small batches with a
constant rate does not settle: it wanders about in a basin, on its walls. The mean of its weights over the
later epochs lies further down (stochastic weight averaging, Izmailov et al. 2018). The plane
is that of the path's two principal components, through the mean; the path itself lies off the plane, along
all the other directions that it wandered in, and higher.

To run it::

    python examples/weight_averages.py
    python examples/weight_averages.py --lr 0.1
"""

import argparse
from pathlib import Path

import numpy as np

import hotloop as hl


class KeepWeights(hl.Callback):
    """θ after each epoch, in `path`, and the loss of the running mean on new data."""

    def __init__(self, objective):
        self.objective, self.path, self.averaged = objective, [], []

    def on_epoch_end(self, trainer, epoch, logs):
        self.path.append(trainer.model.theta.copy())
        if epoch > trainer.average.epochs:
            self.averaged.append(self.objective.value(trainer.averaged_model().theta))


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--start", type=int, default=10, help="epochs before the mean begins")
    parser.add_argument("--wrong", type=float, default=0.3, help="share of labels drawn at random")
    parser.add_argument("--lr", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("weight_averages.png"))
    return parser.parse_args()


def digits(wrong, seed):
    """Images and labels to learn from, a share of them wrong; and new ones, all right."""
    X, y = hl.data.synthetic_digits(6000, seed=seed)
    rng = np.random.default_rng(seed)
    noisy = np.where(rng.random(3000) < wrong, rng.integers(0, 10, 3000), y[:3000])
    return (X[:3000], noisy), (X[3000:], y[3000:])


def draw_plane(axes, objective, path, mean, start):
    """The loss of new data on the plane of the later path; the path, and the mean."""
    later = path[start:]
    plane = hl.landscape(objective, mean, "pca", path=later, n=41)
    hl.plot.landscape(plane, {"the path": later}, ax=axes)
    axes.plot(*plane.project(mean[None]).T, "*", ms=20, color="#E69F00", mec="black", label="its mean")
    axes.legend(loc="lower left")
    axes.set_title("loss of new data, where the path goes")


def draw_losses(axes, history, averaged, start):
    epochs = np.arange(1, len(history["loss"]) + 1)
    axes.plot(epochs, history["loss"], color="0.5", label="training, within the epoch")
    axes.plot(epochs, history["val_loss"], color="#D55E00", label="new data, last weights")
    axes.plot(epochs[start:], averaged, color="#E69F00", lw=3, label="new data, mean of the weights")
    axes.axvline(start, color="0.4", ls=":", lw=1.5)
    axes.set(xlabel="epoch", ylabel="cross-entropy (nats)", ylim=(0, None))
    axes.set_title("the mean is better than each of its parts")
    axes.grid(alpha=0.3)
    axes.legend()


def draw(path, objective, weights, mean, history, averaged, start):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.4), layout="constrained")
    draw_plane(left, objective, weights, mean, start)
    draw_losses(right, history, averaged, start)
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    data, new = digits(options.wrong, options.seed)
    layers = [hl.Dense(32, "tanh"), hl.Dense(10)]
    model = hl.Sequential(layers, input_dim=784, seed=options.seed, uint8_scale=1 / 255)
    objective = hl.Objective(model, *new, loss="softmax_cross_entropy", n_threads=2)
    trainer = hl.Trainer(
        model,
        loss="softmax_cross_entropy",
        optimizer=hl.SGD(options.lr),
        penalty=hl.L2(3e-3),
        batch_size=16,
        average=hl.SWA(epochs=options.start),
    )
    keep = KeepWeights(objective)
    history = trainer.fit(*data, epochs=options.epochs, validation_data=new, callbacks=[keep])
    mean = trainer.averaged_model()
    last = trainer.evaluate(*new)
    print(f"last weights: loss {last['loss']:.4f}, {last['accuracy']:.1%} right")
    right = np.mean(mean.predict(new[0]).argmax(axis=1) == new[1])
    print(f"their mean:   loss {keep.averaged[-1]:.4f}, {right:.1%} right")
    weights = np.array(keep.path)
    draw(options.picture, objective, weights, mean.theta, history, keep.averaged, options.start)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

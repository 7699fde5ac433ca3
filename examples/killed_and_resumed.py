"""A training that is killed, and goes on
=======================================

Kill a training twice, let it go on from its file, and compare it with one that nothing disturbed.

Its images lie in a file that is mapped into memory, as data would that is larger than it. After each epoch
the trainer writes all it goes on from: weights, the optimizer's state, the step and the history. Order of
the rows and masks of dropout follow from seed and epoch. So the pieces make the same curve, and the same
weights, bit for bit, though one of them runs on two threads.

To run it::

    python examples/killed_and_resumed.py
    python examples/killed_and_resumed.py --epochs 30 --kills 4 9 20
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import hotloop as hl


class Killed(Exception):
    """What stands in for a power cut."""


class SaveEachEpoch(hl.Callback):
    """Write the trainer after each epoch; in the middle of one, die."""

    def __init__(self, path, dies_in):
        self.path, self.dies_in, self.epoch = path, dies_in, 0

    def on_epoch_begin(self, trainer, epoch):
        self.epoch = epoch

    def on_block_end(self, trainer):
        if self.epoch == self.dies_in:
            raise Killed

    def on_epoch_end(self, trainer, epoch, logs):
        trainer.save(self.path)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--kills", type=int, nargs="*", default=[5, 11], metavar="EPOCH")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("killed_and_resumed.png"))
    return parser.parse_args()


def mapped_images(folder, rows, seed):
    """Images (rows, 784) that stay on the disk, and their labels."""
    X, y = hl.data.synthetic_digits(rows, seed=seed)
    np.save(folder / "images.npy", X)
    return np.load(folder / "images.npy", mmap_mode="r"), y


def new_trainer(epochs, seed):
    layers = [hl.Dense(64), hl.BatchNorm(), hl.Activation("relu"), hl.Dropout(0.3), hl.Dense(10)]
    model = hl.Sequential(layers, input_dim=784, seed=seed, uint8_scale=1 / 255)
    optimizer = hl.Adam(hl.Warmup(100, hl.Cosine(3e-3, epochs=epochs)))
    return hl.Trainer(model, loss="softmax_cross_entropy", optimizer=optimizer, batch_size=50, seed=seed)


def pieces(path, kills, epochs, data, seed):
    """The trainer as it stands on the disk after each kill, and at the end."""
    trainer = new_trainer(epochs, seed)
    trainer.save(path)
    for k, kill in enumerate([*kills, 0]):
        trainer = hl.Trainer.load(path)
        trainer.n_threads = 1 + k % 2
        try:
            trainer.fit(*data, epochs=epochs - trainer.epoch, callbacks=[SaveEachEpoch(path, kill)])
        except Killed:
            print(f"killed in epoch {kill}; the file has {hl.Trainer.load(path).epoch} epochs")
        yield hl.Trainer.load(path)


def draw(path, straight, parts):
    """The curve of the undisturbed training, the pieces on it, and what each epoch differs by."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(9, 6.4), sharex=True, height_ratios=[3, 1], layout="constrained"
    )
    loss, epochs = np.array(straight.history["loss"]), np.arange(1, straight.epoch + 1)
    upper.semilogy(epochs, loss, color="0.6", lw=9, alpha=0.5, label="nothing happened")
    first = 0
    for k, part in enumerate(parts):
        here = slice(first, part.epoch)
        style = {"color": f"C{k}", "marker": "os^Dv"[k % 5]}
        found = np.array(part.history["loss"])[here]
        upper.semilogy(epochs[here], found, **style, lw=2, label=f"piece {k + 1}, n_threads={part.n_threads}")
        lower.plot(epochs[here], found - loss[here], ls="", **style)
        if part is not parts[-1]:
            for axes in (upper, lower):
                axes.axvline(part.epoch + 0.5, color="0.3", ls=":", lw=1.5)
            upper.text(part.epoch + 0.55, loss[0], "killed", ha="left", va="top", color="0.3")
        first = part.epoch
    same = np.array_equal(straight.model.theta, parts[-1].model.theta)
    upper.set_title(f"the final weights are {'the same, bit for bit' if same else 'NOT the same'}")
    upper.set(ylabel="training loss (nats)")
    upper.legend()
    lower.set(xlabel="epoch", ylabel="difference\nof the loss", ylim=(-2e-16, 2e-16))
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    with tempfile.TemporaryDirectory() as folder:
        data = mapped_images(Path(folder), options.rows, options.seed)
        straight = new_trainer(options.epochs, options.seed)
        straight.fit(*data, epochs=options.epochs)
        file = Path(folder) / "training.safetensors"
        parts = list(pieces(file, options.kills, options.epochs, data, options.seed))
        print(f"{file.stat().st_size / 1e6:.2f} MB of data, no code, are all it takes to go on")
    print("same weights:", np.array_equal(straight.model.theta, parts[-1].model.theta))
    print("same history:", dict(straight.history) == dict(parts[-1].history))
    draw(options.picture, straight, parts)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

"""The Hessian's spectrum while a network learns
=============================================

Look at the curvature of a network of 100,000 weights while it learns to read digits.

Its Hessian H has ten billion entries, but products Hv are enough (notes/000, section 2.3.2). From random
vectors Lanczos' method tells how the eigenvalues are spread, and it finds the largest. Nearly all are close
to 0; some, about as many as there are classes, stand out (Sagun et al. 2017, Empirical analysis of the
Hessian of over-parametrized neural networks). The notes' minimum ratio is the share of positive ones: at the
start the loss bends down along nearly as many directions as up, at the end along hardly any.

To run it::

    python examples/hessian_spectrum.py           # 784-126-10 on 1,000 images
    python examples/hessian_spectrum.py --full    # on 10,000 images, with more probes: some minutes
"""

import argparse
import time
from pathlib import Path

import numpy as np

import hotloop as hl

UNITS, LARGEST = 126, 20
EPOCHS = (0, 1, 3, 10, 30)
"""After how many the spectrum is looked at."""
FLAT = 0.01
"""Up to this |λ|, in units of the largest, a direction counts as flat."""


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="more images and more probes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("hessian_spectrum.png"))
    return parser.parse_args()


def load_digits(rows, seed):
    """So many images of MNIST if it is found, else drawn digits: name, images, labels."""
    try:
        (X, y), _ = hl.data.load_mnist()
    except FileNotFoundError:
        return "synthetic digits", *hl.data.synthetic_digits(rows, seed=seed)
    return "MNIST", X[:rows], y[:rows]


def train(model, X, y, seed, threads):
    """θ after each number of `EPOCHS`."""
    options = {"loss": "softmax_cross_entropy", "batch_size": 100, "seed": seed, "n_threads": threads}
    trainer = hl.Trainer(model, optimizer=hl.Adam(1e-3), **options)
    thetas = [model.theta.copy()]
    for epochs in np.diff(EPOCHS):
        trainer.fit(X, y, epochs=int(epochs))
        thetas.append(model.theta.copy())
    return thetas


def shares(density):
    """The shares of positive and of negative eigenvalues, without what is flat."""
    flat = FLAT * np.abs(density.nodes).max()
    return density.fraction(low=flat), density.fraction(high=-flat)


def draw_density(axes, density, epochs, loss):
    hl.plot.spectrum(density, ax=axes)
    axes.set_title(f"after {epochs} epochs: loss {loss:.3g}", loc="left", fontsize="medium")


def draw_largest(axes, values):
    """A line below the density for each of the largest eigenvalues."""
    axes.plot(values, np.full(len(values), 0.04), "|", color="C3", ms=10, mew=1.2,
              transform=axes.get_xaxis_transform())  # fmt: skip
    text = f"red marks: the {len(values)} largest"
    axes.text(0.98, 0.9, text, ha="right", transform=axes.transAxes, color="C3")


def draw_shares(axes, densities):
    """Both shares after each look, with their standard errors."""
    places = np.arange(len(densities))
    rows = zip(("positive: the minimum ratio", "negative"), ("#0072B2", "#D55E00"), "os", strict=True)
    for k, (label, color, marker) in enumerate(rows):
        found = [shares(density)[k] for density in densities]
        percent, errors = 100 * np.array([(share.value, share.error) for share in found]).T
        axes.errorbar(places, percent, errors, color=color, marker=marker, capsize=3, label=label)
    axes.set_xticks(places, EPOCHS)
    axes.set_ylim(bottom=0)
    axes.set(ylabel="eigenvalues, %", title=f"how many are not flat: |λ| above {FLAT:g} of the largest")
    axes.grid(alpha=0.3)
    axes.legend()


def draw_ends(axes, densities, losses):
    """The loss, and both ends of the spectrum, after each look."""
    places = np.arange(len(densities))
    axes.semilogy(places, losses, "D-", color="#009E73", label="loss")
    axes.semilogy(places, [d.nodes.max() for d in densities], "o-", color="#0072B2", label="largest λ")
    axes.semilogy(
        places, [-d.nodes.min() for d in densities], "s-", color="#D55E00", label="smallest λ, its size"
    )
    axes.set_xticks(places, EPOCHS)
    axes.set(xlabel="epochs", title="the loss, and both ends of the spectrum")
    axes.grid(alpha=0.3)
    axes.legend()


def draw(path, densities, losses, largest):
    """The spectrum at the start and at the end; on the right what happens in between."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, 2, figsize=(13, 7.6), layout="constrained", width_ratios=[1.3, 1])
    for k, axes in ((0, panels[0, 0]), (-1, panels[1, 0])):
        draw_density(axes, densities[k], EPOCHS[k], losses[k])
    draw_largest(panels[1, 0], largest)
    draw_shares(panels[0, 1], densities)
    draw_ends(panels[1, 1], densities, losses)
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    rows, probes, steps = (10_000, 3, 60) if options.full else (1_000, 2, 40)
    name, X, y = load_digits(rows, options.seed)
    layers = [hl.Dense(UNITS, "tanh"), hl.Dense(10)]
    model = hl.Sequential(layers, input_dim=784, seed=options.seed, uint8_scale=1 / 255)
    thetas = train(model, X, y, options.seed, options.threads)
    objective = hl.Objective(model, X, y, loss="softmax_cross_entropy", n_threads=options.threads)
    print(f"{name}: {rows:,} images, θ of {objective.size:,} numbers")
    densities, losses = [], [objective.value(theta) for theta in thetas]
    for epochs, theta, loss in zip(EPOCHS, thetas, losses, strict=True):
        densities.append(hl.spectral_density(objective, theta, n_probes=probes, n_steps=steps))
        positive, negative = shares(densities[-1])
        print(f"{epochs:3} epochs: loss {loss:.3f}, share of λ > 0: {positive}, of λ < 0: {negative}")
    start = time.perf_counter()
    largest = hl.eigsh(objective, thetas[-1], LARGEST)
    print(f"{largest} in {time.perf_counter() - start:.1f} s")
    draw(options.picture, densities, losses, largest.values)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

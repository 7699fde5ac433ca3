"""A curve from one hidden layer
=============================

Build a curve from one hidden layer by hand, and let training build it, too.

A sum of steps is a staircase, so a hidden layer of steps comes as near to any continuous curve as you like:
with k steps the largest error falls like 1/k, where the curve's slope is bounded. If each step takes its
time, as the ramps of notes/000 (section 2.1.2) do, the very same θ joins points of the curve by straight
lines, and on smooth curves the error falls like 1/k². Cybenko, "Approximation by superpositions of a
sigmoidal function" (1989), has the theorem. What it does not say is how to find θ: training starts from
sigmoids at random places, and moves them to where the curve bends.

To run it::

    python examples/universal_approximation.py
    python examples/universal_approximation.py --steps 10000 --seed 3
"""

import argparse
from pathlib import Path

import numpy as np

import hotloop as hl

UNITS = (4, 16, 64)
MORE_UNITS = 2 ** np.arange(1, 9)
X = np.linspace(0, 1, 129)[:, None]
DENSE_X = np.linspace(0, 1, 10_001)[:, None]
STARTS = 3


def curve(x):
    """What is to be approximated, on 0 … 1."""
    return np.sin(2 * np.pi * x) + 0.3 * np.sin(5 * np.pi * x)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=3000, help="of training, on all points at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("universal_approximation.png"))
    return parser.parse_args()


def network(activation, slopes, places, heights, first):
    """ŷ = first + Σ heights · φ(slopes · (x − places)): θ is kernel, bias, kernel, bias."""
    layers = [hl.Dense(len(slopes), activation), hl.Dense(1)]
    model = hl.Sequential(layers, input_dim=1, dtype="float64")
    model.theta[:] = np.concatenate([slopes, -slopes * places, heights, [first]])
    return model


def by_hand(activation, units):
    """A unit for each of `units` equal pieces of x: in its middle, as high as the curve rises over it."""
    knots = np.linspace(0, 1, units + 1)
    slopes = np.full(units, 6.0 * units)  # hotloop's ramp rises for z from -3 to 3: over one piece
    middles = (knots[:-1] + knots[1:]) / 2
    return network(activation, slopes, middles, np.diff(curve(knots)), curve(0.0))


def trained(units, steps, seed):
    """Sigmoids, from the best of some random starts, by full-batch Adam."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(STARTS):
        slopes, places = rng.normal(0, 20, units), rng.uniform(0, 1, units)
        model = network("sigmoid", slopes, places, rng.normal(0, 1 / np.sqrt(units), units), 0.0)
        optimizer = hl.Adam(hl.Cosine(0.03, steps=steps))
        trainer = hl.Trainer(model, loss="mse", optimizer=optimizer, batch_size=None)
        trainer.fit(X, curve(X), epochs=steps)
        found.append((trainer.evaluate(X, curve(X))["loss"], model))
    return min(found, key=lambda pair: pair[0])[1]


def largest_error(model):
    return np.abs(model.predict(DENSE_X) - curve(DENSE_X)).max()


def draw_networks(figure, rows):
    """A row of panels for each way, a column for each number of units."""
    panels = figure.subplots(len(rows), len(UNITS), sharex=True, sharey=True)
    for line, (name, (color, _, models)) in zip(panels, rows.items(), strict=True):
        line[0].set_ylabel(name)
        for axes, units in zip(line, UNITS, strict=True):
            axes.plot(DENSE_X, curve(DENSE_X), color="0.6", lw=4, alpha=0.6, label="the curve")
            axes.plot(DENSE_X, models[units].predict(DENSE_X), color=color, lw=1.4)
            text = f"off by up to {largest_error(models[units]):.2g}"
            axes.text(0.97, 0.94, text, ha="right", va="top", transform=axes.transAxes, fontsize="small")
    for axes, units in zip(panels[0], UNITS, strict=True):
        axes.set_title(f"{units} units")
    for axes in panels[-1]:
        axes.set_xlabel("x")
    panels[0, 0].legend(loc="lower left", fontsize="small", frameon=False)


def draw_errors(axes, rows):
    """The largest error of each way by the number of units, and the slopes that theory gives."""
    # Where a name stands: beside the point of so many units, moved right and up by so many points.
    beside = {"s": (8, 2, 16, "left"), "o": (64, 8, 10, "left"), "^": (16, -10, -16, "right")}
    for name, (color, marker, models) in rows.items():
        errors = {units: largest_error(model) for units, model in models.items()}
        axes.loglog(errors.keys(), errors.values(), marker, ls="-", color=color, ms=5)
        units, dx, dy, side = beside[marker]
        style = {"textcoords": "offset points", "ha": side, "va": "center", "color": color}
        axes.annotate(name, (units, errors[units]), (dx, dy), **style)
    for text, power, first in (("1/k", 1, 0.7), ("1/k²", 2, 0.012)):
        last = first * (16 / 256) ** power
        axes.loglog([16, 256], [first, last], ":", color="0.5")
        axes.annotate(text, (256, last), (6, 0), textcoords="offset points", va="center", color="0.5")
    axes.set_xlim(right=500)
    axes.set(xlabel="units k", ylabel="largest error", title="how fast they come near")
    axes.set_xticks(MORE_UNITS, [str(units) for units in MORE_UNITS])
    axes.minorticks_off()
    axes.grid(alpha=0.3)


def draw(path, rows):
    """The networks on the left, their errors on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(14, 6.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.7, 1])
    draw_networks(left, rows)
    draw_errors(right.subplots(), rows)
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    rows = {
        "steps,\nby hand": ("C0", "s", {k: by_hand("step", k) for k in MORE_UNITS}),
        "ramps,\nthe same θ": ("C1", "o", {k: by_hand("hard_sigmoid", k) for k in MORE_UNITS}),
        "sigmoids,\ntrained": ("C3", "^", {k: trained(k, options.steps, options.seed) for k in UNITS}),
    }
    print("largest error with " + ", ".join(f"{units}" for units in UNITS) + " units")
    for name, (_, _, models) in rows.items():
        errors = [largest_error(models[units]) for units in UNITS]
        print(f"{name.replace(chr(10), ' '):20}" + "".join(f"{error:10.4f}" for error in errors))
    draw(options.picture, rows)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

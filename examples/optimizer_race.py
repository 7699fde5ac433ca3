"""Five optimizers race
====================

Let five optimizers race down a curved valley, and off a saddle.

A network whose input is always 1 puts out its two weights, so with a loss of one's own they move on any
surface. Each row of the data adds a tilt of its own to it, and the tilts cancel in the mean: who takes all
rows at once sees the surface itself, who takes one row a step sees it with noise (notes/001). In the valley
noise is a nuisance, and momentum and adapted rates pay. On the ridge that leads to the saddle nothing pulls
aside: gradient descent ends in the saddle, and the noise lets all the others leave it.

To run it::

    python examples/optimizer_race.py
    python examples/optimizer_race.py --animation race.gif                     # in the valley
    python examples/optimizer_race.py --animation race.gif --surface saddle
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import hotloop as hl

ROWS = 16
NOISE = 0.3
OPTIMIZERS = {  # the optimizer, and whether it sees all rows
    "gradient descent": (hl.SGD(0.01), True),
    "SGD": (hl.SGD(0.01), False),
    "momentum": (hl.SGD(0.01, momentum=0.9), False),
    "RMSprop": (hl.RMSprop(0.02), False),
    "Adam": (hl.Adam(0.05), False),
}


@dataclass(frozen=True)
class Surface:
    """A loss of (x, y), how it begins, and which part of it is drawn; `lowest` is its minimum."""

    loss: hl.losses.Custom
    start: tuple[float, float]
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    lowest: float


def tilted(value, gradient):
    """The loss f(z) + tilt · z of an output z (x, y), whose tilt is the row's target."""
    return hl.losses.Custom(
        value=lambda z, tilt: value(*z.T) + np.sum(tilt * z, axis=1),
        gradient=lambda z, tilt: np.column_stack(gradient(*z.T)) + tilt,
    )


SURFACES = {
    "valley": Surface(
        tilted(
            lambda x, y: (1 - x) ** 2 + 5 * (y - x**2) ** 2,
            lambda x, y: (2 * (x - 1) - 20 * x * (y - x**2), 10 * (y - x**2)),
        ),
        start=(-1.4, 1.0),
        xlim=(-2, 2),
        ylim=(-0.8, 2.6),
        lowest=0.0,
    ),
    "saddle": Surface(
        tilted(lambda x, y: x**2 - y**2 + y**4 / 4, lambda x, y: (2 * x, y**3 - 2 * y)),
        start=(-1.5, 0.0),
        xlim=(-1.9, 1.2),
        ylim=(-1.9, 1.9),
        lowest=-1.0,
    ),
}


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0, help="of the tilts and of the order of the rows")
    parser.add_argument("--picture", type=Path, default=Path("optimizer_race.png"))
    parser.add_argument("--animation", type=Path, metavar="FILE.gif", help="save the race as GIF or MP4, too")
    parser.add_argument("--surface", choices=SURFACES, default="valley", help="of the animation")
    return parser.parse_args()


def two_weights(start):
    """ŷ = (x, y) for the input 1."""
    model = hl.Sequential([hl.Dense(2, use_bias=False)], input_dim=1, dtype="float64")
    model.theta[:] = start
    return model


def tilts(seed):
    """(ROWS, 2), with mean 0."""
    drawn = NOISE * np.random.default_rng(seed).standard_normal((ROWS, 2))
    return drawn - drawn.mean(axis=0)


def run(surface, optimizer, sees_all, steps, seed):
    """θ at the start and after each step, (steps + 1, 2)."""
    model, X, y = two_weights(surface.start), np.ones((ROWS, 1)), tilts(seed)
    trainer = hl.Trainer(model, loss=surface.loss, optimizer=optimizer, batch_size=None)
    order = np.random.default_rng(seed + 1).integers(0, ROWS, steps)
    path = [model.theta.copy()]
    for row in order:  # an epoch is a step: on all rows, or on a single one
        rows = slice(None) if sees_all else slice(row, row + 1)
        trainer.fit(X[rows], y[rows], epochs=1)
        path.append(model.theta.copy())
    return np.array(path)


def objective_of(surface, seed):
    """The surface itself: the mean over all rows."""
    return hl.Objective(two_weights(surface.start), np.ones((ROWS, 1)), tilts(seed), loss=surface.loss)


def draw(path, races):
    """For each surface the paths on it, and below how far each optimizer was above its minimum."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        2, len(races), figsize=(13, 8), height_ratios=[2.2, 1], layout="constrained", squeeze=False
    )
    for (above, below), (name, (objective, paths)) in zip(panels.T, races.items(), strict=True):
        surface = SURFACES[name]
        hl.plot.error_surface(objective, surface.xlim, surface.ylim, paths=paths, ax=above)
        above.set(title=f"the {name}", xlabel="x", ylabel="y")
        colors = {line.get_label(): line.get_color() for line in above.lines}
        for optimizer, thetas in paths.items():
            heights = [objective.value(theta) - surface.lowest for theta in thetas]
            below.semilogy(heights, color=colors[optimizer], lw=1.6, label=optimizer)
        below.set(xlabel="step", ylabel="loss above the minimum", xlim=(0, len(thetas) - 1))
        below.grid(alpha=0.3)
    for axes in panels[0, 1:]:
        axes.get_legend().remove()
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    races = {}
    for name, surface in SURFACES.items():
        objective = objective_of(surface, options.seed)
        paths = {
            label: run(surface, optimizer, sees_all, options.steps, options.seed)
            for label, (optimizer, sees_all) in OPTIMIZERS.items()
        }
        races[name] = objective, paths
        print(f"{name}: above the minimum after {options.steps} steps")
        for label, path in paths.items():
            print(f"  {label:17} {objective.value(path[-1]) - surface.lowest:.4f}")
    draw(options.picture, races)
    print(f"picture: {options.picture}")
    if options.animation is not None:
        hl.plot.animate_descent(*races[options.surface], options.animation)
        print(f"animation: {options.animation}")


if __name__ == "__main__":
    main()

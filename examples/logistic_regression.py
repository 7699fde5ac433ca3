"""Logistic regression next to a perceptron
========================================

Logistic regression next to a perceptron, where no line parts the classes.

The perceptron only knows right and wrong: on classes that overlap it makes mistakes for ever, and where its
line stands depends on which sample came last. Logistic regression minimises a smooth, convex loss with a
single minimum (notes/003), so its line stays, and its outputs are probabilities: of the samples it gives
70 %, about 70 % are of that class. The picture shows the lines, their errors on new data, and how nearly
that last claim holds.

To run it::

    python examples/logistic_regression.py
    python examples/logistic_regression.py --distance 3 --rows 1000
"""

import argparse
from pathlib import Path

import numpy as np

import hotloop as hl

EPOCHS = 40
NEW_ROWS = 50_000
BINS = np.linspace(0, 1, 11)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--distance", type=float, default=2.0, help="between the means, in deviations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("logistic_regression.png"))
    return parser.parse_args()


def two_clouds(rows, distance, seed):
    """Points (rows, 2) of two normal clouds beside each other, and which cloud they are of, 0 or 1."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    return rng.standard_normal((rows, 2)) + np.outer(y - 0.5, [distance, 0]), y


def perceptron_by_epoch(X, y, new_X, new_y, seed):
    """The perceptron's (w₁, w₂, b) after each epoch, and its errors on new data."""
    model = hl.Perceptron(keep="last", random_state=np.random.RandomState(seed))
    lines, errors = [], []
    for _ in range(EPOCHS):
        model.partial_fit(X, y, classes=[0, 1])
        lines.append([*model.coef_[0], *model.intercept_])
        errors.append(1 - model.score(new_X, new_y))
    return np.array(lines), np.array(errors)


def calibration(model, X, y):
    """For each bin of predicted probabilities: its mean, and the share of class 1 in it."""
    p = model.predict_proba(X)[:, 1]
    place = np.digitize(p, BINS[1:-1])
    counts = np.bincount(place, minlength=len(BINS) - 1)
    return tuple(np.bincount(place, values) / counts for values in (p, y))


def draw_line(axes, w1, w2, b, **style):
    foot = -b / (w1**2 + w2**2) * np.array([w1, w2])  # the point of the line next to the origin
    axes.axline(foot, foot + np.array([w2, -w1]), **style)


def draw(path, X, y, model, lines, errors, error, best, calibrated):
    """Data and lines; errors by epoch; probabilities and frequencies."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 5), layout="constrained")
    grid = np.linspace(-4, 4, 200)
    field = model.predict_proba(np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2))[:, 1]
    shown = left.contourf(grid, grid, field.reshape(200, 200), np.linspace(0, 1, 11), cmap="RdBu", alpha=0.45)
    figure.colorbar(shown, ax=left, label="probability of class 1", ticks=[0, 0.5, 1])
    for label, color, marker in ((0, "C3", "s"), (1, "C0", "o")):
        left.scatter(*X[y == label].T, s=10, color=color, marker=marker, label=f"class {label}")
    for k, line in enumerate(lines[-10:]):
        label = "perceptron, last 10 epochs" if k == 0 else None
        draw_line(left, *line, color="black", lw=0.8, alpha=0.6, label=label)
    draw_line(left, *model.coef_[0], *model.intercept_, color="C2", lw=2.5, label="logistic regression")
    left.set(xlim=(-4, 4), ylim=(-4, 4), xlabel="x₁", ylabel="x₂", aspect="equal")
    left.set_title("one line stays, the other wanders")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=4, fontsize="small")

    middle.plot(np.arange(1, EPOCHS + 1), 100 * errors, "o-", ms=3, color="black", label="perceptron")
    middle.axhline(100 * error, color="C2", lw=2.5, label="logistic regression")
    middle.axhline(100 * best, color="0.6", ls="--", zorder=3, label="best possible line")
    middle.set(xlabel="epoch", ylabel="errors on new data, %", title="what the wandering costs")
    middle.set_ylim(bottom=0)
    middle.legend(fontsize="small", loc="lower left")

    right.plot([0, 1], [0, 1], "--", color="0.5", label="as often as it says")
    right.plot(*calibrated, "o-", color="C2", label="logistic regression")
    right.set(xlabel="probability it gives to class 1", ylabel="share of class 1 among these")
    right.set(title="its outputs are probabilities", aspect="equal")
    right.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    X, y = two_clouds(options.rows, options.distance, options.seed)
    new_X, new_y = two_clouds(NEW_ROWS, options.distance, options.seed + 1)
    model = hl.LogisticRegression().fit(X, y)
    error = 1 - model.score(new_X, new_y)
    best = np.mean((new_X[:, 0] > 0) != new_y)
    lines, errors = perceptron_by_epoch(X, y, new_X, new_y, options.seed)
    print(f"logistic regression: {error:.1%} errors on new data; the best possible line: {best:.1%}")
    print(f"perceptron, by epoch: from {errors.min():.1%} to {errors.max():.1%}, mean {errors.mean():.1%}")
    calibrated = calibration(model, new_X, new_y)
    print(f"probabilities are off by at most {np.abs(np.subtract(*calibrated)).max():.1%}")
    draw(options.picture, X, y, model, lines, errors, error, best, calibrated)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

"""The perceptron, and the bound on its mistakes
=============================================

Watch the perceptron converge, and hold its mistakes against the bound of the convergence theorem.

If a hyperplane separates two classes with margin γ, and no sample is longer than R, the perceptron
makes at most (R/γ)² mistakes (Novikoff, 1962; notes/003, section 2.3). The picture shows the line that
was found, the mistakes of each epoch until one has none, and how mistakes and bound grow when the
gap between the classes closes.

To run it::

    python examples/perceptron_convergence.py
    python examples/perceptron_convergence.py --gap 0.05 --rows 1000
"""

import argparse
from pathlib import Path

import numpy as np

import hotloop as hl

NORMAL, OFFSET = np.array([2, 1]) / np.sqrt(5), 0.3
"""Of the line that parts the classes: NORMAL · x = OFFSET."""
GAPS = np.geomspace(0.8, 0.02, 14)
ORDERS = 20


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--gap", type=float, default=0.1, help="distance of both classes from the true line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("perceptron_convergence.png"))
    return parser.parse_args()


def two_classes(rows, gap, seed):
    """Points (rows, 2) on both sides of the true line, none nearer to it than `gap`; labels ±1."""
    X = np.random.default_rng(seed).uniform(-2, 2, (rows, 2))
    y = np.where(X @ NORMAL > OFFSET, 1, -1)
    return X + gap * y[:, None] * NORMAL, y


def true_margin(X, y):
    """That of the true line, in the space with the constant 1, where the theorem holds."""
    return np.min(y * (X @ NORMAL - OFFSET)) / np.sqrt(1 + OFFSET**2)


def by_gap(rows, seed):
    """For each gap: mistakes in many random orders, and the bounds by the margin found and the true one."""
    updates, found, true = [], [], []
    for gap in GAPS:
        X, y = two_classes(rows, gap, seed)
        models = [hl.Perceptron(max_iter=100_000, random_state=k).fit(X, y) for k in range(ORDERS)]
        updates.append([model.n_updates_ for model in models])
        found.append(min(model.bound_ for model in models))
        true.append((models[0].radius_ / true_margin(X, y)) ** 2)
    return np.array(updates), np.array(found), np.array(true)


def draw(path, X, y, model, updates, found, true):
    """Data and line; mistakes of each epoch; mistakes and bounds by gap."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
    for label, color, marker in ((1, "C0", "o"), (-1, "C3", "s")):
        left.scatter(*X[y == label].T, s=16, color=color, marker=marker, alpha=0.7, label=f"y = {label:+d}")
    (w1, w2), b = model.coef_[0], model.intercept_[0]
    foot = -b / (w1**2 + w2**2) * np.array([w1, w2])  # the point of the line next to the origin
    left.axline(foot, foot + np.array([w2, -w1]), color="black", label="w·x + b = 0")
    left.set(xlim=(-3, 3), ylim=(-3, 3), xlabel="x₁", ylabel="x₂", aspect="equal")
    left.set_title(f"separator after {model.n_updates_} mistakes")
    left.legend(loc="lower left", fontsize="small")

    epochs = np.arange(1, model.n_iter_ + 1)
    middle.bar(epochs, model.n_mistakes_, width=1 if len(epochs) > 50 else 0.8, color="C0")
    middle.set(xlabel="epoch", ylabel="mistakes", title=f"epoch {model.n_iter_} has none: stop")
    middle.xaxis.get_major_locator().set_params(integer=True)

    right.fill_between(GAPS, updates.min(axis=1), updates.max(axis=1), color="C0", alpha=0.25, lw=0)
    right.loglog(
        GAPS,
        np.median(updates, axis=1),
        "o-",
        ms=4,
        color="C0",
        label=f"mistakes: median, range of {ORDERS} orders",
    )
    right.loglog(GAPS, true, "--", color="black", label="(R/γ)², γ of the true line")
    right.loglog(GAPS, found, ":", color="C3", label="(R/γ)², largest γ found")
    right.set(
        xlabel="gap between class and line",
        ylabel="mistakes until convergence",
        title="never more than the bound",
    )
    right.set_xticks([0.02, 0.05, 0.1, 0.2, 0.5], ["0.02", "0.05", "0.1", "0.2", "0.5"])
    right.minorticks_off()
    right.grid(alpha=0.3)
    right.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    X, y = two_classes(options.rows, options.gap, options.seed)
    model = hl.Perceptron(max_iter=100_000, random_state=options.seed).fit(X, y)
    bound = (model.radius_ / true_margin(X, y)) ** 2
    print(f"{model.n_updates_} mistakes in {model.n_iter_} epochs; converged: {model.converged_}")
    print(f"bound (R/γ)²: {bound:,.0f} by the true line, {model.bound_:,.0f} by the line found")
    draw(options.picture, X, y, model, *by_gap(options.rows, options.seed))
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

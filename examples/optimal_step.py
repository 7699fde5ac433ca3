"""How long a step should be
=========================

How long a step should be: fixed lengths, too short, good and too long, beside the best one.

A straight line through points far from x = 0 is a narrow valley in slope and offset: what one adds the other
can take away. In it gradient descent zigzags. The best length of each step, gᵀg / gᵀHg (notes/004), needs no
tuning, and zigzags too: a step that goes as low as it can ends at right angles to the next. What it gains
depends on the condition κ of H. Each step leaves at most the share ((κ − 1)/(κ + 1))² of what L is above its
minimum L* (Kantorovich; Nocedal & Wright, theorem 3.3), and from the worst start it leaves all of that.

To run it::

    python examples/optimal_step.py
    python examples/optimal_step.py --center 3    # farther away: a narrower valley
"""

import argparse
from pathlib import Path

import numpy as np

import hotloop as hl

ROWS, NOISE = 60, 0.3
START = np.array([0.95, 0.12])
"""From the minimum: along the valley's axis, and across it, in units of SPAN."""
SPAN = 2.0
OTHERS = 30
COLORS = {"too short": "C0", "good": "C2", "too long": "C3", "best": "C1"}


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--center", type=float, default=1.5, help="mean of x, whose deviation is 1")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("optimal_step.png"))
    return parser.parse_args()


def straight_line(center, seed):
    """The mean squared error of slope · x + offset on noisy points around a line."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(ROWS)
    x = center + (x - x.mean()) / x.std()
    y = 0.5 * x + 1 + NOISE * rng.standard_normal(ROWS)
    model = hl.Sequential([hl.Dense(1)], input_dim=1, dtype="float64")
    return hl.Objective(model, x[:, None], y, loss="mse")


def descend(objective, start, step, steps):
    """L and θ at the start and after each step."""
    # gtol and ftol 0: a run ends after all its steps, or where L no longer falls at all.
    options = {"step": step, "max_iter": steps, "gtol": 0.0, "ftol": 0.0, "path": True}
    found = hl.minimize(objective, start, method="gradient_descent", **options)
    return found.values, found.path


def worst_start(best, values, vectors):
    """Where the gradient is as large along the valley as across it: every best step is the worst possible."""
    return best + SPAN * vectors @ (values.min() / values)


def draw_paths(panels, objective, best, runs):
    """A panel for each way, all on the same part of the surface."""
    slope, offset = (np.linspace(center - SPAN, center + SPAN, 81) for center in best)
    surface = np.array([[objective.value([a, b]) for a in slope] for b in offset])
    levels = np.geomspace(surface.min() + 0.02, surface.max(), 14)
    for axes, (name, (values, path)) in zip(panels.flat, runs.items(), strict=True):
        axes.contour(slope, offset, surface, levels, colors="0.6", linewidths=0.7)
        axes.plot(*path.T, ".-", color=COLORS[name], lw=1.4, ms=5)
        axes.plot(*best, "*", color="gold", mec="black", ms=13, zorder=5)
        axes.set(xlim=slope[[0, -1]], ylim=offset[[0, -1]], aspect="equal")
        axes.set_title(f"{name}: {len(values) - 1} steps", fontsize="medium")
    for axes in panels[-1]:
        axes.set_xlabel("slope")
    for axes in panels[:, 0]:
        axes.set_ylabel("offset")


def draw_losses(axes, runs, others, worst, share, lowest):
    """How far L is above its minimum, by step, and the bound for the best steps."""
    for k, values in enumerate(others):
        label = "best, from other starts" if k == 0 else None
        axes.semilogy(
            (values - lowest) / (values[0] - lowest), color=COLORS["best"], lw=0.5, alpha=0.5, label=label
        )
    for name, (values, _) in runs.items():
        axes.semilogy((values - lowest) / (values[0] - lowest), color=COLORS[name], lw=2, label=name)
    steps = np.arange(len(worst))
    axes.semilogy(
        steps[::3],
        ((worst - lowest) / (worst[0] - lowest))[::3],
        "o",
        mfc="none",
        color=COLORS["best"],
        ms=5,
        label="best, from the worst start",
    )
    axes.semilogy(steps, share**steps, "--", color="0.5", lw=1.5, label="Kantorovich's bound for the best")
    axes.set(xlabel="step", ylabel="(L − L*) / (L₀ − L*)", ylim=(1e-9, 1e4), xlim=(0, steps[-1]))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="upper left", ncols=2)


def draw(path, objective, best, runs, others, worst, condition):
    """The paths on the left, the losses on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(13, 6.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1])
    draw_paths(left.subplots(2, 2, sharex=True, sharey=True), objective, best, runs)
    axes = right.subplots()
    share = ((condition - 1) / (condition + 1)) ** 2
    draw_losses(axes, runs, others, worst, share, objective.value(best))
    axes.set_title(f"κ = {condition:.3g}: a best step leaves at most {100 * share:.1f} %", fontsize="medium")
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    objective = straight_line(options.center, options.seed)
    best = hl.minimize(objective, np.zeros(2), method="newton").theta
    lowest = objective.value(best)
    values, vectors = np.linalg.eigh(objective.hessian(best))
    condition = values[1] / values[0]
    print(f"eigenvalues of H: {values[0]:.3g} and {values[1]:.3g}; κ = {condition:.1f}")
    start = best + SPAN * vectors @ START
    # From 2/λ_max on fixed steps diverge; 2/(λ_min + λ_max) is the one that is never worse than the bound.
    lengths = {
        "too short": 0.1 * 2 / values[1],
        "good": 2 / values.sum(),
        "too long": 1.02 * 2 / values[1],
        "best": "optimal",
    }
    runs = {name: descend(objective, start, step, options.steps) for name, step in lengths.items()}
    for name, (losses, _) in runs.items():
        print(f"{name:10} L − L* from {losses[0] - lowest:.2g} to {losses[-1] - lowest:.2g}")
    starts = best + np.random.default_rng(options.seed).standard_normal((OTHERS, 2))
    others = [descend(objective, other, "optimal", options.steps)[0] for other in starts]
    worst = descend(objective, worst_start(best, values, vectors), "optimal", options.steps)[0]
    draw(options.picture, objective, best, runs, others, worst, condition)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

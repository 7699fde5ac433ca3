"""What a hidden layer is for, and what more of them agree on
===========================================================

Part two interleaved moons by a line, by small and by larger networks, and by many of them.

Logistic regression has a line (notes/003). A few hidden units bend it as the moons are; many bend it around
single samples, are right on all they have seen, and less often on new data, and other first weights end in
another border. The mean of networks that differ in their seed alone is as good as the better of them.

To run it::

    python examples/decision_regions.py
    python examples/decision_regions.py --noise 0.2 --members 30
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import make_moons

import hotloop as hl


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--members", type=int, default=10, help="of the ensemble")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("decision_regions.png"))
    return parser.parse_args()


def network(units, seed):
    options = {"activation": "tanh", "solver": "lbfgs", "alpha": 1e-3, "tol": 1e-3}
    return hl.MLPClassifier(units, **options, max_iter=3000, max_fun=30_000, random_state=seed)


def classifiers(members, seed):
    """From the simplest to the calmest, by name."""
    large = network((30, 30), seed)
    return {
        "logistic regression": hl.LogisticRegression(),
        "3 hidden units": network((3,), seed),
        "5 hidden units": network((5,), seed),
        "30 and 30 hidden units": large,
        "the same, another seed": network((30, 30), seed + 1),
        f"the mean of {members} seeds": hl.SeedEnsembleClassifier(
            large, n_estimators=members, n_jobs=2, random_state=seed
        ),
    }


def draw(path, fitted, X, y, scores):
    """The regions of each, and how much of new data it gets right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, 3, figsize=(13, 8), sharex=True, sharey=True, layout="constrained")
    for axes, (name, model) in zip(panels.flat, fitted.items(), strict=True):
        hl.plot.decision_regions(model, X, y, ax=axes)
        axes.set_title(f"{name}: {100 * scores[name]:.1f} % of new data right", fontsize="medium")
        axes.set(xlabel="", ylabel="")
        if axes is not panels[0, 0] and axes.get_legend():
            axes.get_legend().remove()
    for axes in panels[-1]:
        axes.set_xlabel("x₁")
    for axes in panels[:, 0]:
        axes.set_ylabel("x₂")
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    X, y = make_moons(options.rows, noise=options.noise, random_state=options.seed)
    new_X, new_y = make_moons(20_000, noise=options.noise, random_state=options.seed + 1)
    fitted = classifiers(options.members, options.seed)
    scores = {}
    for name, model in fitted.items():
        scores[name] = model.fit(X, y).score(new_X, new_y)
        print(f"{name:24} {model.score(X, y):6.1%} of its data right, {scores[name]:6.1%} of new data")
    members = [member.score(new_X, new_y) for member in model.estimators_]
    print(f"its members: {min(members):.1%} to {max(members):.1%}, mean {np.mean(members):.1%}")
    draw(options.picture, fitted, X, y, scores)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

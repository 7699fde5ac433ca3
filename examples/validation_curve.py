"""Choosing a penalty by cross-validation
======================================

Choose the strength of a penalty by cross-validation, and see what too little and too much of it do.

A curve of 25 cubic pieces can follow every wiggle of forty noisy points. Ridge regression adds λ‖w‖² to the
squared errors (notes/001; notes/002). With a small λ it learns the noise: the error is small on the data it
was fitted to, and large on the rest. With a large λ it learns next to nothing: both errors are large.
In between, the data that each fold leaves out choose λ.

To run it::

    python examples/validation_curve.py
    python examples/validation_curve.py --rows 400  # with much data there is little to overfit
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RepeatedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

import hotloop as hl

PIECES = 25
STRENGTHS = np.logspace(-4, 3, 22)
NAMES = ("too small", "chosen", "too large")
TOO_LARGE = 10.0
FOLDS, REPEATS = 5, 5
NEW_X = np.linspace(0, 1, 2001)[:, None]


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--noise", type=float, default=0.3, help="standard deviation")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--picture", type=Path, default=Path("validation_curve.png"))
    return parser.parse_args()


def truth(X):
    """The values (n,) without noise."""
    return np.sin(2 * np.pi * X[:, 0]) + 0.5 * np.cos(5 * np.pi * X[:, 0])


def noisy_points(rows, noise, seed):
    """X (rows, 1), uniform in 0 … 1, and y (rows,)."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 1, (rows, 1))
    return X, truth(X) + noise * rng.standard_normal(rows)


def cross_validate(X, y, seed):
    """Fit every strength on four fifths of the data, and measure on both parts, 25 times."""
    knots = np.linspace(0, 1, PIECES + 1)[:, None]
    search = GridSearchCV(
        make_pipeline(SplineTransformer(knots=knots), hl.Ridge()),
        {"ridge__alpha": STRENGTHS},
        scoring="neg_root_mean_squared_error",
        cv=RepeatedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=seed),
        return_train_score=True,
    )
    return search.fit(X, y)


def error_on_new_data(model, noise):
    """Root mean squared error (n → ∞), in units of y."""
    return np.sqrt(np.mean((model.predict(NEW_X) - truth(NEW_X)) ** 2) + noise**2)


def draw_errors(axes, search, fits, noise):
    """Errors of training and validation by λ, mean ± deviation over the folds, and which fits are shown."""
    results = search.cv_results_
    for part, color, style, name in (
        ("test", "C3", "-", "data left out"),
        ("train", "C0", "--", "data it was fitted to"),
    ):
        mean, spread = -results[f"mean_{part}_score"], results[f"std_{part}_score"]
        axes.fill_between(STRENGTHS, mean - spread, mean + spread, color=color, alpha=0.2, lw=0)
        axes.semilogx(
            STRENGTHS, mean, style, color=color, lw=2, label=f"{name} (mean ± std of {FOLDS * REPEATS} folds)"
        )
    axes.axhline(noise, color="0.5", ls=":", label="the noise itself")
    for (strength, _), name in zip(fits, NAMES, strict=True):
        axes.axvline(strength, color="0.5", lw=0.8, zorder=0)
        axes.text(strength, 1.02, name, ha="center", transform=axes.get_xaxis_transform())
    axes.set(xlabel="λ", ylabel="root mean squared error", ylim=(0, 4 * noise + 0.3))
    axes.legend()


def draw_fit(axes, title, model, X, y, noise):
    """One curve over the points and the truth."""
    axes.plot(NEW_X, truth(NEW_X), color="0.6", lw=4, alpha=0.6, label="truth")
    axes.plot(*X.T, y, "o", ms=4, color="C0", label="data")
    axes.plot(NEW_X, model.predict(NEW_X), color="C3", lw=2, label="fit")
    axes.set(xlabel="x", ylim=(-2.2, 2.4))
    axes.set_title(f"{title}\nerror on new data: {error_on_new_data(model, noise):.2f}", fontsize="medium")


def draw(path, search, fits, X, y, noise):
    """The errors above; below them an overfitted, the chosen and an underfitted curve."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(11, 7.5), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.25, 1])
    draw_errors(upper.subplots(), search, fits, noise)
    panels = lower.subplots(1, 3, sharey=True)
    for axes, name, (strength, model) in zip(panels, NAMES, fits, strict=True):
        draw_fit(axes, f"λ = {strength:.3g}, {name}", model, X, y, noise)
    panels[0].set_ylabel("y")
    panels[0].legend(loc="lower left", fontsize="small")
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    X, y = noisy_points(options.rows, options.noise, options.seed)
    search = cross_validate(X, y, options.seed)
    chosen = search.best_params_["ridge__alpha"]
    fits = [
        (strength, clone(search.best_estimator_).set_params(ridge__alpha=strength).fit(X, y))
        for strength in (STRENGTHS[0], chosen, TOO_LARGE)
    ]
    print("      λ   error on the data   on new data")
    for strength, model in fits:
        seen = np.sqrt(np.mean((model.predict(X) - y) ** 2))
        print(f"{strength:7.3g}   {seen:17.2f}   {error_on_new_data(model, options.noise):11.2f}")
    print(f"chosen by cross-validation, where the error was {-search.best_score_:.2f}: λ = {chosen:.3g}")
    draw(options.picture, search, fits, X, y, options.noise)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

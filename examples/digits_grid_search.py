"""A grid search over networks that read digits
============================================

Let a grid search choose the penalty, the size and the dropout of a network that reads digits.

scikit-learn comes with 1,797 small images of handwritten digits. A third of them is put aside and sees no
choice; on the rest three-fold cross-validation compares 32 networks, each behind a scaler that is fitted
to the same folds as the network. The picture shows what the search saw, and what the chosen network does
with the images put aside: how often it takes one digit for another, and which images these are.

To run it::

    python examples/digits_grid_search.py
    python examples/digits_grid_search.py --folds 5
"""

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import hotloop as hl

STRENGTHS = [0.01, 0.1, 1.0, 10.0]
UNITS = [8, 16, 32, 64]
RATES = [0.0, 0.3]
GRID = {
    "mlpclassifier__alpha": STRENGTHS,
    "mlpclassifier__dropout": RATES,
    "mlpclassifier__hidden_layer_sizes": UNITS,
}


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("digits_grid_search.png"))
    return parser.parse_args()


def search_grid(X, y, folds, seed):
    """Every network of the grid on every fold, and the best one on all rows."""
    network = hl.MLPClassifier(learning_rate_init=0.01, max_iter=500, random_state=seed, dtype="float32")
    folds = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return GridSearchCV(make_pipeline(StandardScaler(), network), GRID, cv=folds).fit(X, y)


def draw_scores(figure, search):
    """A heat map for each dropout: accuracy by penalty and size, the chosen network framed."""
    # The search varies the parameters in the alphabetical order of their names, the last one fastest.
    accuracy = 100 * search.cv_results_["mean_test_score"].reshape(len(STRENGTHS), len(RATES), len(UNITS))
    middle = (accuracy.min() + accuracy.max()) / 2
    panels = figure.subplots(1, len(RATES), sharey=True)
    for k, axes in enumerate(panels):
        limits = {"vmin": accuracy.min(), "vmax": accuracy.max()}
        image = axes.imshow(accuracy[:, k], cmap="viridis", origin="lower", **limits)
        for (row, column), value in np.ndenumerate(accuracy[:, k]):
            color = "white" if value < middle else "black"
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=color)
        axes.set_xticks(range(len(UNITS)), UNITS)
        axes.set_yticks(range(len(STRENGTHS)), [f"{strength:g}" for strength in STRENGTHS])
        axes.set(xlabel="hidden units", title=f"dropout {RATES[k]:g}")
    panels[0].set_ylabel("α, strength of the penalty")
    row, k, column = np.unravel_index(search.best_index_, accuracy.shape)
    across, up = np.array([-0.5, 0.5, 0.5, -0.5, -0.5]), np.array([-0.5, -0.5, 0.5, 0.5, -0.5])
    panels[k].plot(column + across, row + up, color="C3", lw=4, clip_on=False)
    figure.colorbar(image, ax=panels, label="accuracy on rows left out, %")


def draw_confusion(axes, y, predicted):
    """How often each digit was read as each; the diagonal, which is right, is left grey."""
    counts = confusion_matrix(y, predicted)
    wrong = np.ma.masked_equal(counts * (1 - np.eye(10, dtype=int)), 0)
    axes.imshow(np.eye(10), cmap="Greys", vmax=6)
    axes.imshow(wrong, cmap="Oranges", vmin=0, vmax=6)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axes.text(column, row, count, ha="center", va="center", color="black", fontsize="small")
    axes.set_facecolor("white")
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    axes.set(xlabel="read as", ylabel="digit")
    axes.set_title(f"{np.trace(counts)} of {len(y)} images put aside read right", fontsize="medium")


def draw_mistakes(figure, images, y, predicted):
    """The images that were misread, at most fifteen."""
    wrong = np.flatnonzero(predicted != y)
    figure.suptitle(f"the {len(wrong)} that were misread", fontsize="medium")
    panels = list(figure.subplots(3, 5).flat)
    for axes in panels:
        axes.set_axis_off()
    for axes, k in zip(panels, wrong, strict=False):
        axes.imshow(images[k].reshape(8, 8), cmap="gray_r")
        axes.set_title(f"{y[k]} as {predicted[k]}", fontsize="small")


def draw(path, search, X, y):
    """The grid above; mistakes of the chosen network below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    predicted = search.predict(X)
    figure = plt.figure(figsize=(11, 9), layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    draw_scores(upper, search)
    left, right = lower.subfigures(1, 2)
    draw_confusion(left.subplots(), y, predicted)
    draw_mistakes(right, X, y, predicted)
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=1 / 3, stratify=y, random_state=options.seed)
    start = time.perf_counter()
    search = search_grid(X, y, options.folds, options.seed)
    fits = len(search.cv_results_["params"]) * options.folds + 1
    print(f"{fits} networks in {time.perf_counter() - start:.1f} s")
    chosen = {name.removeprefix("mlpclassifier__"): value for name, value in search.best_params_.items()}
    print(f"chosen: {chosen}, right on {100 * search.best_score_:.1f} % of the rows left out")
    print(f"right on {100 * search.score(X_test, y_test):.1f} % of the {len(y_test)} images put aside")
    draw(options.picture, search, X_test, y_test)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

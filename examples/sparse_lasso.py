"""Which of ten thousand words matter
===================================

Find twenty words that move a price among ten thousand that do not, from a sparse matrix.

The rows are made-up advertisements, the columns say how often each word occurs; 99.5 % of the numbers are 0
and are never stored. The lasso's penalty α‖w‖₁ leaves most coefficients at exactly 0 (notes/002). From the
largest α on, where all are 0, each fit starts at the last one. With a large α the words that matter come in
one after the other; with a small one many others join them, and the error on new data grows again.

To run it::

    python examples/sparse_lasso.py
    python examples/sparse_lasso.py --noise 1
"""

import argparse
import time
from pathlib import Path

import numpy as np
from scipy import sparse

import hotloop as hl

WORDS, TELLING = 10_000, 20


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2000, help="half of them to fit to")
    parser.add_argument("--noise", type=float, default=2.0, help="standard deviation")
    parser.add_argument("--alphas", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("sparse_lasso.png"))
    return parser.parse_args()


def advertisements(rows, noise, seed):
    """Counts of words (rows, words) in CSR form, prices (rows,), and what each word is worth (words,)."""
    rng = np.random.default_rng(seed)
    counts = sparse.random(rows, WORDS, density=0.005, format="csr", rng=rng, data_rvs=lambda n: np.ones(n))
    worth = np.zeros(WORDS)
    worth[:TELLING] = rng.choice([-1, 1], TELLING) * rng.uniform(2, 6, TELLING)
    # Words that matter are frequent enough to be learnt.
    frequent = sparse.random(rows, TELLING, density=0.1, format="csr", rng=rng, data_rvs=lambda n: np.ones(n))
    counts = sparse.hstack([frequent, counts[:, TELLING:]], format="csr")
    return counts, counts @ worth + noise * rng.standard_normal(rows), worth


def regularization_path(X, y, alphas):
    """Coefficients (alphas, words) and intercepts: each fit begins where the last ended."""
    model = hl.Lasso(warm_start=True, max_iter=5000)
    coefficients, intercepts = [], []
    for alpha in alphas:
        model.set_params(alpha=alpha).fit(X, y)
        coefficients.append(model.coef_.copy())
        intercepts.append(model.intercept_)
    return np.array(coefficients), np.array(intercepts)


def draw_path(axes, alphas, found, worth):
    others = np.flatnonzero(found.any(axis=0) & (worth == 0))
    axes.semilogx(alphas, found[:, others], color="0.6", lw=0.6, alpha=0.7)
    axes.semilogx(alphas, found[:, :TELLING], lw=1.8)
    axes.plot(np.full(TELLING, alphas[-1] / 1.15), worth[:TELLING], "k<", ms=5, clip_on=False)
    axes.plot([], [], color="C0", lw=2, label=f"the {TELLING} words that matter")
    axes.plot([], [], color="0.6", label=f"{len(others):,} of the other {WORDS - TELLING:,}")
    axes.plot([], [], "k<", label="what they are worth")
    axes.set(ylabel="coefficient")
    axes.legend(loc="lower left")


def draw_errors(axes, alphas, errors, noise, best):
    for (name, values), (color, style) in zip(errors.items(), (("C0", "--"), ("C3", "-")), strict=True):
        axes.semilogx(alphas, values, style, color=color, lw=2, label=name)
    axes.axhline(noise, color="0.5", ls=":", label="the noise itself")
    axes.axvline(alphas[best], color="0.4", lw=1)
    axes.text(alphas[best], 1.02, "best", ha="center", transform=axes.get_xaxis_transform())
    axes.set(xlabel="α, strength of the penalty", ylabel="root mean squared error", ylim=(0, None))
    axes.legend(loc="lower left")


def draw(path, alphas, found, worth, errors, noise, best):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(9.5, 8), sharex=True, height_ratios=[1.6, 1], layout="constrained"
    )
    draw_path(upper, alphas, found, worth)
    draw_errors(lower, alphas, errors, noise, best)
    upper.invert_xaxis()  # for both: they share it
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    X, y, worth = advertisements(options.rows, options.noise, options.seed)
    half = options.rows // 2
    largest = np.abs(X[:half].T @ (y[:half] - y[:half].mean())).max() / half
    alphas = largest * np.logspace(0, -2.3, options.alphas)
    start = time.perf_counter()
    found, intercepts = regularization_path(X[:half], y[:half], alphas)
    print(f"{X.nnz:,} of {X.shape[0] * X.shape[1]:,} numbers stored")
    print(f"{len(alphas)} fits in {time.perf_counter() - start:.2f} s")
    errors = {
        name: np.sqrt(np.mean((X[rows] @ found.T + intercepts - y[rows, None]) ** 2, axis=0))
        for name, rows in (("data it was fitted to", slice(half)), ("new data", slice(half, None)))
    }
    best = int(errors["new data"].argmin())
    chosen = np.flatnonzero(found[best])
    right = np.sum(chosen < TELLING)
    print(
        f"best α = {alphas[best]:.3f}: {len(chosen)} words, among them {right} of the {TELLING} that matter"
    )
    draw(options.picture, alphas, found, worth, errors, options.noise, best)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

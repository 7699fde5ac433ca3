"""Regression that knows how sure it is
=====================================

Predict a value and how far off it may be, in noise that differs from place to place.

With the loss "gaussian_nll" a network has two outputs, the mean and the log-variance, and learns the noise
from the data (Nix & Weigend 1994). That is what no more data could take away. Where there are no data, one
network does not notice; but networks from several seeds disagree there. Their mixture has the variance
mean(σ²) + var(μ) (Lakshminarayanan, Pritzel & Blundell 2017, deep ensembles): both parts, side by side.

To run it::

    python examples/regression_intervals.py
    python examples/regression_intervals.py --members 20
"""

import argparse
from pathlib import Path

import numpy as np

import hotloop as hl

GAP = (2.2, 4.2)
"""Where nothing was measured."""
X_NEW = np.linspace(-1, 7, 801)[:, None]


def truth(x):
    """Mean and standard deviation of y."""
    return np.sin(1.5 * x) + 0.3 * x, 0.08 + 0.32 / (1 + np.exp(-3 * (x - 4.8)))


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("regression_intervals.png"))
    return parser.parse_args()


def measured(rows, seed, gap=GAP):
    """x (rows, 1) in 0 … 6 outside of the gap, and y (rows,)."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 6 - (gap[1] - gap[0]), rows)
    x[x > gap[0]] += gap[1] - gap[0]
    mean, deviation = truth(x)
    return x[:, None], mean + deviation * rng.standard_normal(rows)


def train(x, y, seed):
    """A network of two outputs; it standardises its input by itself."""
    steep = hl.initializers.Normal(2.0)
    first = hl.Dense(64, "tanh", kernel_init=steep, bias_init=steep)
    layers = [hl.Standardize(), first, hl.Dense(32, "tanh"), hl.Dense(2)]
    model = hl.Sequential(layers, input_dim=1, seed=seed)
    optimizer = hl.Adam(hl.OneCycle(0.01, epochs=300))
    trainer = hl.Trainer(model, loss="gaussian_nll", optimizer=optimizer, batch_size=40, clip_norm=5.0)
    trainer.fit(x, y, epochs=300)
    return model


def mixture(models, x):
    """(mean, σ of the noise, σ in all) of each row: what members learnt, and where they disagree."""
    outputs = np.stack([model.predict(x) for model in models]).astype(float)
    means, variances = outputs[..., 0], np.exp(outputs[..., 1])
    return means.mean(axis=0), np.sqrt(variances.mean(axis=0)), np.sqrt(variances.mean(0) + means.var(axis=0))


def draw_intervals(axes, x, y, models):
    mean, noise, total = mixture(models, X_NEW)
    line = X_NEW[:, 0]
    for factor, color in ((2, "#cfe1f2"), (1, "#93c4df")):
        low, high = mean - factor * total, mean + factor * total
        axes.fill_between(line, low, high, color=color, lw=0, label=f"± {factor} σ")
    for side in (-2, 2):
        axes.plot(line, mean + side * noise, color="C1", lw=1.5, ls="--", label="± 2 σ of the noise alone")
    axes.plot(line, truth(line)[0], color="0.25", lw=1.5, label="truth")
    axes.plot(line, mean, color="C0", lw=2.5, label="mean of the networks")
    axes.plot(x, y, ".", color="0.2", ms=4, alpha=0.6, label="data")
    axes.axvspan(*GAP, color="0.5", alpha=0.12, lw=0, zorder=0)
    axes.text(sum(GAP) / 2, -2.6, "no data", ha="center", color="0.35")
    axes.set(xlabel="x", ylabel="y", ylim=(-3, 4.6), xlim=(-1, 7))
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes.legend(unique.values(), unique.keys(), loc="upper left", ncols=3, fontsize="small")


def draw_deviations(axes, models):
    """σ over x: that of the noise, what was learnt of it, and in all."""
    _, noise, total = mixture(models, X_NEW)
    line = X_NEW[:, 0]
    axes.plot(line, truth(line)[1], color="0.25", lw=1.5, label="true σ of the noise")
    axes.plot(line, noise, "--", color="C1", lw=2, label="σ of the noise, learnt")
    axes.plot(line, total, color="C0", lw=2, label="with the networks' disagreement")
    axes.axvspan(*GAP, color="0.5", alpha=0.12, lw=0, zorder=0)
    axes.set(xlabel="x", ylabel="standard deviation, in units of y", xlim=(-1, 7), ylim=(0, 1.2))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize="small")


def draw(path, x, y, models, share):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.2), width_ratios=[1.6, 1], layout="constrained")
    draw_intervals(left, x, y, models)
    left.set_title(f"{100 * share:.1f} % of new data within ± 2 σ; 95.4 % would be right")
    draw_deviations(right, models)
    right.set_title("two reasons not to be sure")
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    x, y = measured(options.rows, options.seed)
    models = [train(x, y, seed) for seed in range(options.members)]
    new_x, new_y = measured(20_000, options.seed + 1)
    mean, _, total = mixture(models, new_x)
    share = np.mean(np.abs(new_y - mean) < 2 * total)
    print(f"{options.members} networks; of new data where there were some, {share:.1%} lie within ± 2 σ")
    draw(options.picture, x, y, models, share)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

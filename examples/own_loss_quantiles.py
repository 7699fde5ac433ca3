"""Quantiles by a loss of one's own
=================================

Learn the whole spread of skewed data: nine quantiles at once, by a loss that hotloop does not have.

The pinball loss, max(q (y − ŷ), (q − 1)(y − ŷ)), is least where ŷ is the q-quantile of y (Koenker & Bassett
1978). `hl.losses.Custom` takes it as two functions of a minibatch, its value and its derivative by the
outputs; here the network has an output for each q. If it is right, then of new data the share below the
q-quantile is q.

To run it::

    python examples/own_loss_quantiles.py
    python examples/own_loss_quantiles.py --rows 20000
"""

import argparse
from pathlib import Path

import numpy as np

import hotloop as hl

Q = np.array([0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98], dtype="float32")
X_NEW = np.linspace(0, 1, 401)[:, None]


def pinball(outputs, y):
    """The loss of each row (n,): outputs (n, 9), y (n, 1)."""
    error = y - outputs
    return np.maximum(Q * error, (Q - 1) * error).sum(axis=1)


def pinball_gradient(outputs, y):
    """Its derivative by the outputs, (n, 9)."""
    return np.where(y > outputs, -Q, 1 - Q)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("own_loss_quantiles.png"))
    return parser.parse_args()


def waiting_times(rows, seed):
    """Hours since midnight / 24 (rows, 1), and minutes of waiting: long in the morning and the evening."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, rows)
    typical = 4 + 11 * np.exp(-((x - 0.36) ** 2) / 0.012) + 7 * np.exp(-((x - 0.74) ** 2) / 0.012)
    return x[:, None], rng.gamma(2.0, typical / 2)


def train(x, y, epochs, seed):
    steep = hl.initializers.Normal(2.0)  # the curves bend within a few hours of the day
    first = hl.Dense(64, "tanh", kernel_init=steep, bias_init=steep)
    layers = [hl.Standardize(), first, hl.Dense(len(Q))]
    model = hl.Sequential(layers, input_dim=1, seed=seed)
    loss = hl.losses.Custom(pinball, pinball_gradient)
    optimizer = hl.Adam(hl.Cosine(0.01, epochs=epochs))
    trainer = hl.Trainer(model, loss=loss, optimizer=optimizer, batch_size=32, seed=seed)
    trainer.fit(x, y, epochs=epochs)
    return model


def draw_fan(axes, x, y, model):
    """Data, and bands between the quantiles."""
    curves, hours = model.predict(X_NEW), 24 * X_NEW[:, 0]
    for k in range(len(Q) // 2):
        name = f"{100 * Q[k]:.0f} % to {100 * Q[-1 - k]:.0f} %"
        shade = (0.81 - 0.19 * k, 0.88 - 0.13 * k, 0.95 - 0.07 * k)
        axes.fill_between(hours, curves[:, k], curves[:, -1 - k], color=shade, lw=0, label=name)
    axes.plot(24 * x[:, 0], y, ".", color="0.2", ms=2.5, alpha=0.3, label="data")
    axes.plot(hours, curves[:, len(Q) // 2], color="C3", lw=2, label="median")
    axes.set(xlabel="time of day, hours", ylabel="waiting, minutes", xlim=(0, 24), ylim=(0, 50))
    axes.set_xticks(range(0, 25, 4))
    axes.legend(loc="upper left", fontsize="small")


def draw_shares(axes, shares):
    axes.plot([0, 1], [0, 1], "--", color="0.5", label="as it should be")
    axes.plot(Q, shares, "o", color="C0", ms=7, label="found")
    axes.set(xlabel="q", ylabel="share of new data below the q-quantile", aspect="equal")
    axes.grid(alpha=0.3)
    axes.legend()


def draw(path, x, y, model, shares):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.4), width_ratios=[1.5, 1], layout="constrained")
    draw_fan(left, x, y, model)
    left.set_title("how long people wait, by nine quantiles")
    draw_shares(right, shares)
    right.set_title(f"off by at most {100 * np.abs(shares - Q).max():.1f} points of a hundred")
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    x, y = waiting_times(options.rows, options.seed)
    model = train(x, y, options.epochs, options.seed)
    new_x, new_y = waiting_times(50_000, options.seed + 1)
    shares = np.mean(new_y[:, None] < model.predict(new_x), axis=0)
    for q, share in zip(Q, shares, strict=True):
        print(f"{q:5.0%} quantile: {share:6.1%} of new data are below it")
    draw(options.picture, x, y, model, shares)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

"""Levenberg-Marquardt beside L-BFGS and Adam
==========================================

Fit a curve with a small network: Levenberg-Marquardt beside L-BFGS and Adam.

With a few dozen weights the whole Gauss-Newton matrix 2JᵀJ/n costs little, and it is nearly the Hessian where
the residuals are small (Madsen, Nielsen & Tingleff 2004, section 3.2). So each step knows how the loss bends
in all directions at once. That is what it takes: the valleys that such networks lie in are millions of times
longer than wide. Adam, which knows one number a weight, is fast at the beginning, and then creeps.
docs/minimizers.md compares more methods.

To run it::

    python examples/levenberg_marquardt.py
    python examples/levenberg_marquardt.py --units 12 --seconds 10
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for matrices this small NumPy's threads only wait

import numpy as np

import hotloop as hl

ROWS = 60
X = np.linspace(-1, 1, ROWS)[:, None]
DENSE_X = np.linspace(-1, 1, 1001)[:, None]
EARLY = 0.01
"""Seconds after which the first fits are drawn."""
STARTS = 3
STEPS = 20
"""Of Adam between two looks at the loss."""
COLORS = {"Adam": "C0", "L-BFGS": "C2", "Levenberg-Marquardt": "C3"}


def curve(x):
    """What is to be fitted, without noise."""
    return np.sin(5 * x) * np.exp(-x) / 2


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--units", type=int, default=8, help="of the hidden layer")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each method and start")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("levenberg_marquardt.png"))
    return parser.parse_args()


def network(units, seed):
    """1-units-1."""
    layers = [hl.Dense(units, "tanh"), hl.Dense(1)]
    return hl.Sequential(layers, input_dim=1, seed=seed, dtype="float64")


def minimized(method, units, seed, seconds):
    """(seconds, loss, θ) at each iteration of a method of `hl.minimize`."""
    objective = hl.Objective(network(units, seed), X, curve(X), loss="mse")
    track = []
    hl.minimize(
        objective,
        method=method,
        max_iter=10**6,
        gtol=0.0,
        max_seconds=seconds,
        callback=lambda state: track.append((state.seconds, state.value, state.theta)),
    )
    return track


class Track(hl.Callback):
    """(seconds, loss, θ) at the end of each epoch, until the time is up."""

    def __init__(self, objective, seconds):
        self.objective, self.seconds, self.entries = objective, seconds, []
        self.looked = 0.0  # seconds spent on looking, which are not Adam's

    def on_fit_begin(self, trainer):
        self.start = time.perf_counter()

    def on_epoch_end(self, trainer, epoch, logs):
        now = time.perf_counter()
        theta = trainer.model.theta.copy()
        passed = now - self.start - self.looked
        self.entries.append((passed, self.objective.value(theta), theta))
        if passed >= self.seconds:
            trainer.stop("time is up")
        self.looked += time.perf_counter() - now


def adam(units, seed, seconds):
    """The same of Adam, every `STEPS` steps on all rows: an epoch of as many equal minibatches."""
    model = network(units, seed)
    track = Track(hl.Objective(model, X, curve(X), loss="mse"), seconds)
    trainer = hl.Trainer(model, loss="mse", optimizer=hl.Adam(0.01), batch_size=ROWS)
    rows = np.tile(X, (STEPS, 1))
    trainer.fit(rows, curve(rows), epochs=10**6, shuffle=False, callbacks=[track])
    return track.entries


def at_time(track, seconds):
    """The last entry before so many seconds, or the first."""
    return max(
        (entry for entry in track if entry[0] <= seconds), key=lambda entry: entry[0], default=track[0]
    )


def draw_losses(axes, tracks):
    for name, runs in tracks.items():
        for k, track in enumerate(runs):
            times, losses = np.array([entry[:2] for entry in track]).T
            lowest = np.minimum.accumulate(losses)
            label = name if k == 0 else None
            axes.loglog(times, losses, color=COLORS[name], lw=0.4, alpha=0.35)
            axes.loglog(times, lowest, color=COLORS[name], lw=2.2 if k == 0 else 1.2, label=label)
    axes.axvline(EARLY, color="0.6", ls=":")
    axes.set(xlabel="seconds", ylabel="mean squared error", xlim=(1e-3, None))
    axes.set_title(f"the lowest loss so far, from {STARTS} starts")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")


def draw_fits(upper, lower, tracks, units):
    """Above the networks at an early time; below how far they are off at the end."""
    model = network(units, 0)
    upper.plot(X, curve(X), "o", mfc="none", color="0.5", ms=5, label="data")
    for name, (track, *_) in tracks.items():
        style = {"color": COLORS[name], "lw": 1.6, "label": name}
        model.theta[:] = at_time(track, EARLY)[2]
        upper.plot(DENSE_X, model.predict(DENSE_X), **style)
        model.theta[:] = min(track, key=lambda entry: entry[1])[2]
        lower.semilogy(DENSE_X, np.abs(model.predict(DENSE_X) - curve(DENSE_X)), **style)
    upper.set(title=f"after {1000 * EARLY:.0f} ms", ylabel="y")
    upper.legend(fontsize="small")
    lower.set(title="how far they are off at the end", xlabel="x", ylabel="|ŷ − y|")
    lower.set_ylim(bottom=1e-8)
    lower.grid(alpha=0.3)


def draw(path, tracks, units):
    """The loss by time on the left, the curves on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(13, 6), layout="constrained")
    left, right = figure.subfigures(1, 2)
    draw_losses(left.subplots(), tracks)
    draw_fits(*right.subplots(2, 1, sharex=True), tracks, units)
    figure.savefig(path, dpi=120)


def main():
    options = parse_options()
    seeds = range(options.seed, options.seed + STARTS)
    for warm in (adam, lambda *given: minimized("levenberg_marquardt", *given)):
        warm(options.units, options.seed, 1e-3)  # compiles, where nothing is cached yet
    tracks = {"Adam": [adam(options.units, seed, options.seconds) for seed in seeds]}
    for name, method in (("L-BFGS", "l-bfgs"), ("Levenberg-Marquardt", "levenberg_marquardt")):
        tracks[name] = [minimized(method, options.units, seed, options.seconds) for seed in seeds]
    size = len(network(options.units, 0).theta)
    print(f"{size} weights, {ROWS} rows; the lowest loss from {STARTS} starts, and the time to 1e-8")
    for name, runs in tracks.items():
        for track in runs:
            reached = next((f"{t:.3f} s" for t, loss, _ in track if loss <= 1e-8), "not reached")
            print(f"{name:20} {min(loss for _, loss, _ in track):8.1e}   {reached}")
    draw(options.picture, tracks, options.units)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()

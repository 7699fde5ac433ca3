"""`training_curves`: what each epoch gave."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.history import History
from hotloop.plot._style import COLORS, axes, ink, matplotlib

__all__ = ["training_curves"]

PURPOSE = "hl.plot.training_curves"
LOG_FROM = 20.0
"""The largest value over the smallest from which on a scale is logarithmic."""

RATE_DEPTH = 2e3
"""The highest learning rate over the lowest that a logarithmic axis shows."""


def training_curves(
    history: History | Mapping[str, History], column: str = "loss", *, ax: Any = None
) -> dict[str, Any]:
    """Draw a column of the history by epoch, that of the validation data, and the learning rate.

    Scales are logarithmic where the numbers span more than a factor of 20. A new figure has a strip below
    for the learning rate, unless it is constant; in a figure of your own it is ``column="lr"``.

    Parameters
    ----------
    history : History, or dict of str to History
        Of one training, or of several by name.
    column : str, default "loss"
        What to draw: "loss", "accuracy", or another name of a column; ``"val_" + column`` is drawn
        beside it, dashed, where it is there.
    ax : Axes, optional
        Where to draw this column; a new figure if not given.

    Returns
    -------
    dict of str to Axes
        By the name of the column; with "lr" if there is a strip.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If there is nothing to draw, no such column, or an argument is not as described.

    Examples
    --------
    >>> import hotloop as hl
    >>> history = hl.History()
    >>> for loss in (2.0, 0.5, 0.1):
    ...     history.append({"loss": loss, "val_loss": 1.1 * loss})
    >>> hl.plot.training_curves(history)["loss"].get_ylabel()
    'loss'
    """
    runs = _runs(history)
    if not isinstance(column, str):
        raise InvalidTypeError(f"column: expected a name such as 'loss', got {column!r}")
    for name, run in runs.items():
        if column not in run:
            where = f" of {name!r}" if name else ""
            raise InvalidValueError(f"column: the history{where} has {sorted(run)}, not {column!r}")
    wants_strip = ax is None and column != "lr" and any(_varies(run) for run in runs.values())
    if not wants_strip:
        ax = axes(ax, PURPOSE)
        _draw(ax, runs, column)
        return {column: ax}
    pyplot = matplotlib("pyplot", PURPOSE)
    figure, (ax, strip) = pyplot.subplots(
        2, 1, sharex=True, height_ratios=(3.5, 1), figsize=(6.0, 4.8), layout="constrained"
    )
    figure.align_ylabels()
    _draw(ax, runs, column)
    _draw(strip, {name: run for name, run in runs.items() if "lr" in run}, "lr")
    ax.set_xlabel("")
    if strip.get_legend() is not None:
        strip.get_legend().remove()  # the same as above
    return {column: ax, "lr": strip}


def _draw(ax: Any, runs: Mapping[str, History], column: str) -> None:
    """The column of each run, with its axes."""
    for k, (name, run) in enumerate(runs.items()):
        color = COLORS[k % len(COLORS)]
        epochs = np.arange(1, run.epochs + 1)
        style = {"lw": 1.8, "marker": "o", "ms": 3.5 if run.epochs <= 40 else 0}
        ax.plot(epochs, run[column], color=color, label=name or "training", **style)
        if f"val_{column}" in run:
            second = color if name else COLORS[1]
            label = f"{name}, validation" if name else "validation"
            ax.plot(epochs, run[f"val_{column}"], "--", color=second, label=label, **style)
    ax.set(xlabel="epoch", ylabel="learning rate" if column == "lr" else column.replace("_", " "))
    ax.grid(color=ink(ax), alpha=0.15, lw=0.6)
    ax.xaxis.get_major_locator().set_params(integer=True)
    if len(ax.lines) > 1:
        ax.legend(frameon=False)
    values: NDArray[np.float64] = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines])
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() > LOG_FROM * values.min():
        ax.set_yscale("log")
        if column == "lr":  # a schedule that ends at 0 would leave no room for the rest
            ax.set_ylim(bottom=max(ax.get_ylim()[0], values.max() / RATE_DEPTH))


def _runs(history: Any) -> dict[str, History]:
    """Histories by name; "" for the only one."""
    if isinstance(history, History):
        runs = {"": history}
    elif isinstance(history, Mapping) and all(isinstance(run, History) for run in history.values()):
        runs = {str(name): run for name, run in history.items()}
    else:
        raise InvalidTypeError(f"history: expected a hotloop.History or a dict of them, got {history!r}")
    if not any(run.epochs for run in runs.values()):
        raise InvalidValueError("history: has no epochs yet; train first, with Trainer.fit")
    return runs


def _varies(run: History) -> bool:
    return len(set(run.get("lr", []))) > 1

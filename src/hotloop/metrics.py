"""Metrics: numbers of a model's outputs that are reported beside the loss."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import InvalidTypeError, InvalidValueError

__all__ = ["Metric", "check_metrics", "check_targets", "measure", "r2"]

Metric = Callable[[NDArray[Any], NDArray[Any]], float]


def r2(y: NDArray[Any], outputs: NDArray[Any]) -> float:
    """R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)², the mean over the outputs: 1 is perfect, 0 as good as the mean.

    As scikit-learn's ``r2_score``; NaN where the targets are all alike.
    """
    if np.size(y) != outputs.size:
        raise InvalidValueError(
            f"y: R² is of values, one for each output; y has shape {np.shape(y)}, outputs {outputs.shape}"
        )
    y = np.asarray(y, np.float64).reshape(outputs.shape)
    residual = np.square(y - outputs).sum(axis=0)
    spread = np.square(y - y.mean(axis=0)).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(np.where(spread > 0, 1.0 - residual / spread, np.nan)))


METRICS: dict[str, Metric] = {"r2": r2}
"""Public name → function of (y, outputs)."""

TAKEN = ("loss", "accuracy")
"""Names of columns that are there without metrics."""


def check_metrics(metrics: Any) -> dict[str, Metric]:
    """`metrics` as {name of a column: function}; names of our own, or a mapping with the user's."""
    if isinstance(metrics, str):
        metrics = (metrics,)
    pairs: list[tuple[Any, Any]]
    if isinstance(metrics, Mapping):
        pairs = list(metrics.items())
    else:
        try:
            pairs = [(name, METRICS.get(name) if isinstance(name, str) else None) for name in metrics]
        except TypeError as error:
            raise InvalidTypeError(
                f'metrics: expected names or {{"name": function}}, got {metrics!r}'
            ) from error
    for name, function in pairs:
        if function is None:
            raise InvalidValueError(
                f"metrics: {name!r} is not one of {sorted(METRICS)}; for a function of your own pass "
                '{"name": function}, called with (y, outputs)'
            )
        if not isinstance(name, str) or not callable(function):
            raise InvalidTypeError(f"metrics: expected {{name: function}}, got {name!r}: {function!r}")
        if name in TAKEN:
            raise InvalidValueError(f"metrics: the column 'val_{name}' is there already; choose another name")
    return dict(pairs)


def check_targets(metrics: Mapping[str, Metric], y: NDArray[Any], n_outputs: int) -> None:
    """That `y`, as the user gave it, has what our own of the metrics are made for."""
    if r2 in metrics.values() and y.size != len(y) * n_outputs:
        raise InvalidValueError(
            f"metrics: 'r2' is of values, one for each of the {n_outputs} outputs; y has shape {y.shape}"
        )


def measure(metrics: Mapping[str, Metric], y: NDArray[Any], outputs: NDArray[Any]) -> dict[str, float]:
    """The value of each metric."""
    found = {}
    for name, metric in metrics.items():
        value = metric(y, outputs)
        try:
            found[name] = float(value)
        except (TypeError, ValueError) as error:
            raise InvalidTypeError(
                f"metrics: {name!r} must return a number, it returned {value!r}"
            ) from error
    return found

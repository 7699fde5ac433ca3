"""`decision_regions` and `confusion_matrix`: what a classifier says, and what it mistakes for what."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_features, check_flag, check_integer
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.plot._style import COLORS, MARKERS, axes, blend, class_colors, ink, paper, readable
from hotloop.sequential import Sequential

__all__ = ["confusion_matrix", "decision_regions"]

MOST_CLASSES = 256
"""That regions are drawn for: more are the values of a regressor, and would take hours."""


def decision_regions(
    model_or_estimator: Any,
    X: Any,
    y: Any,
    *,
    names: Sequence[str] | None = None,
    n: int = 300,
    ax: Any = None,
) -> Any:
    """Draw which class a classifier gives to each point of the plane, and the samples on it.

    Parameters
    ----------
    model_or_estimator : Sequential or an object with `predict`
        A network of several outputs gives the class of the largest; of one output, the second class
        where it is above 0 (above ½ after a sigmoid). An estimator says the class itself.
    X : array-like (m, 2)
        Samples.
    y : array-like (m,)
        Their classes, of any type that sorts. For a network of several outputs, their numbers; for one
        output, two values, such as 0 and 1 or -1 and 1.
    names : sequence of str, optional
        What the legend calls the classes, in their order; themselves if not given.
    n : int, default 300
        Points of the grid along each side, at least 2.
    ax : Axes, optional
        Where to draw; a new figure if not given.

    Returns
    -------
    Axes

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Dense(8, "tanh"), hl.Dense(2)], input_dim=2)
    >>> X, y = [[0.0, 1.0], [1.0, 0.0]], [0, 1]
    >>> ax = hl.plot.decision_regions(model, X, y)
    """
    if not hasattr(model_or_estimator, "predict"):
        raise InvalidTypeError(
            f"model_or_estimator: expected a hotloop.Sequential or a classifier, got {model_or_estimator!r}"
        )
    X = check_features(X, "X", 2, np.dtype(np.float64)).astype(np.float64)
    labels = _labels(y, "y")
    if len(labels) != len(X):
        raise InvalidValueError(f"y: has {len(labels)} labels, but X has {len(X)} rows")
    n = check_integer(n, "n", low=2)
    low, high = X.min(axis=0), X.max(axis=0)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)
    x0, x1 = np.linspace(low - margin, high + margin, n).T
    grid = np.stack(np.meshgrid(x0, x1), axis=-1).reshape(-1, 2)
    regions, classes = _classify(model_or_estimator, grid, labels)
    titles = _names(names, classes)

    ax = axes(ax, "hl.plot.decision_regions", (5.6, 4.6))
    colors, page = class_colors(len(classes)), paper(ax)
    tint = np.array([blend(color, page, 0.28) for color in colors])
    regions = regions.reshape(n, n)
    extent = (x0[0], x0[-1], x1[0], x1[-1])
    ax.imshow(tint[regions], extent=extent, origin="lower", aspect="auto", zorder=0)
    for k in range(len(classes)):
        inside = (regions == k).astype(float)
        if 0 < inside.mean() < 1:
            ax.contour(x0, x1, inside, levels=[0.5], colors=[ink(ax)], linewidths=0.9, alpha=0.7, zorder=1)
    for k, (label, title) in enumerate(zip(classes, titles, strict=True)):
        mark = MARKERS[k % len(MARKERS)]
        points = X[labels == label]
        ax.plot(*points.T, mark, color=colors[k], ms=5.5, mec=page, mew=0.7, ls="", label=title, zorder=2)
    ax.set(xlim=extent[:2], ylim=extent[2:], xlabel="x₁", ylabel="x₂")
    ax.legend(framealpha=0.85)
    return ax


def confusion_matrix(
    y_true: Any, y_pred: Any, labels: Sequence[Any] | None = None, *, normalize: bool = False, ax: Any = None
) -> Any:
    """Draw how often each class was taken for each: rows are the true classes, columns what was said.

    The diagonal is blue and mistakes are vermillion, stronger the larger their share of the row.

    Parameters
    ----------
    y_true, y_pred : array-like (n,)
        True and predicted classes.
    labels : sequence, optional
        All classes, in the order of the rows; those that occur, sorted, if not given.
    normalize : bool, default False
        Write shares of the row in percent in place of counts.
    ax : Axes, optional
        Where to draw; a new figure if not given.

    Returns
    -------
    Axes
        The numbers are ``ax.texts``, row by row.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described, or a class is missing in `labels`.

    Examples
    --------
    >>> import hotloop as hl
    >>> ax = hl.plot.confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1])
    """
    sorts = labels is None
    true, predicted = _labels(y_true, "y_true", sorts=sorts), _labels(y_pred, "y_pred", sorts=sorts)
    if len(true) != len(predicted):
        raise InvalidValueError(f"y_pred: has {len(predicted)} labels, but y_true has {len(true)}")
    check_flag(normalize, "normalize")
    classes = list(np.union1d(true, predicted)) if labels is None else _listed(labels, "labels")
    counts = _counts(true, predicted, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    k = len(classes)
    side = max(3.6, 0.5 * k + 1.2)
    ax = axes(ax, "hl.plot.confusion_matrix", (side, side))
    cells = np.empty((k, k, 3))
    for i, j in np.ndindex(k, k):
        # The root lets rare mistakes be seen.
        cells[i, j] = blend(COLORS[0] if i == j else COLORS[1], paper(ax), np.sqrt(shares[i, j]))
        text = f"{100 * shares[i, j]:.1f}" if normalize else f"{counts[i, j]:,}"
        shade = 1.0 if counts[i, j] else 0.35
        ax.text(
            j, i, text, ha="center", va="center", fontsize="small" if k > 6 else "medium",
            color=readable(cells[i, j]), alpha=shade,
        )  # fmt: skip
    ax.imshow(cells)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.set_xticks(range(k), [str(label) for label in classes])
    ax.set_yticks(range(k), [str(label) for label in classes])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    right = np.trace(counts) / counts.sum()
    unit = "; cells in % of the row" if normalize else ""
    ax.set_title(f"{100 * right:.1f} % right{unit}", loc="left", fontsize="medium")
    return ax


def _counts(true: NDArray[Any], predicted: NDArray[Any], classes: list[Any]) -> NDArray[np.int64]:
    """How often class i was taken for class j, shape (k, k)."""
    place = {label: k for k, label in enumerate(classes)}
    if len(place) < len(classes):
        raise InvalidValueError(f"labels: a class is there twice: {classes}")
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for pair in zip(true.tolist(), predicted.tolist(), strict=True):
        for label in pair:
            if label not in place:
                raise InvalidValueError(f"labels: class {label!r} occurs, but is not among {classes}")
        counts[place[pair[0]], place[pair[1]]] += 1
    return counts


def _classify(
    model: Any, grid: NDArray[np.float64], labels: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The class of each row of the grid as its place among all classes, and these, sorted."""
    seen = np.unique(labels)
    said = np.asarray(model.predict(grid))
    if not isinstance(model, Sequential):
        classes = np.union1d(seen, said)
        if len(classes) > MOST_CLASSES:
            raise InvalidValueError(
                f"model_or_estimator: predicts {len(classes)} different values, more than the {MOST_CLASSES} "
                "classes that can be told apart; give a classifier"
            )
        return np.searchsorted(classes, said).astype(np.int64), classes
    if model.output_dim == 1:
        if len(seen) != 2:
            raise InvalidValueError(f"y: a network of one output tells two classes apart; found {len(seen)}")
        threshold = 0.5 if model.output_activation in ("sigmoid", "hard_sigmoid") else 0.0
        return (said[:, 0] > threshold).astype(np.int64), seen
    classes = np.arange(model.output_dim)
    if not np.isin(seen, classes).all():
        raise InvalidValueError(
            f"y: expected class numbers 0 … {model.output_dim - 1}, one for each output; found {seen}"
        )
    return said.argmax(axis=1).astype(np.int64), classes


def _labels(y: Any, name: str, *, sorts: bool = True) -> NDArray[Any]:
    """`y` as a flat array of at least one label; of such that sort, if need be."""
    labels = np.asarray(y)
    if labels.ndim != 1 or labels.size == 0:
        raise InvalidValueError(f"{name}: expected one label a sample, shape (n,), got shape {labels.shape}")
    try:
        if sorts:
            np.sort(labels)
    except TypeError as error:
        raise InvalidTypeError(f"{name}: labels must be of one type that sorts: {error}") from error
    return labels


def _names(names: Sequence[str] | None, classes: NDArray[Any]) -> list[str]:
    if names is None:
        return [str(label) for label in classes]
    given = _listed(names, "names")
    if len(given) != len(classes):
        raise InvalidValueError(f"names: there are {len(classes)} classes, but {len(given)} names")
    return given


def _listed(values: Any, name: str) -> list[Any]:
    """The items of a sequence."""
    if not isinstance(values, Iterable):
        raise InvalidTypeError(f"{name}: expected a sequence, got {values!r}")
    return list(values)

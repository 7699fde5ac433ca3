"""`landscape`: the loss along a line, or on a plane, through the space of θ."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_choice, check_flag, check_integer, check_number
from hotloop.analysis.directions import (
    center_of,
    check_path,
    eigenvectors,
    filter_normalized,
    given,
    principal,
    random_directions,
)
from hotloop.analysis.functions import Differentiable, check_objective
from hotloop.errors import InvalidValueError
from hotloop.objective import Objective
from hotloop.progress import bar

__all__ = ["Landscape", "evaluate", "landscape"]

MARGIN = 0.15
"""Of the extent of a path, left free on each side of it."""


@dataclass(frozen=True, repr=False)
class Landscape:
    """The loss at the points center + Σ aₖ directions[k] of a grid.

    Attributes
    ----------
    center : ndarray (size,)
        Where all aₖ are 0.
    directions : ndarray (1 or 2, size)
        Of the line, or of the plane.
    coordinates : tuple of ndarray (n,)
        The values of a₀, and of a₁ if there are two directions.
    values : ndarray (n,) or (n, n)
        The loss; of a plane, ``values[i, j]`` belongs to a₀ = ``coordinates[0][j]`` and
        a₁ = ``coordinates[1][i]``, as in `numpy.meshgrid`. Not finite where the loss overflows.
    names : tuple of str
        What each direction is, for the labels of a picture.
    explained : ndarray (2,) or None
        With directions of a path: the share of Σ‖θ − center‖² along each.

    Examples
    --------
    >>> import hotloop as hl
    >>> bowl = hl.Function(lambda t: t @ t, 3)
    >>> found = hl.landscape(bowl, [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], n=5)
    >>> found.values
    array([1.  , 0.25, 0.  , 0.25, 1.  ])
    """

    center: NDArray[np.float64]
    directions: NDArray[np.float64]
    coordinates: tuple[NDArray[np.float64], ...]
    values: NDArray[np.float64]
    names: tuple[str, ...]
    explained: NDArray[np.float64] | None = field(default=None)

    def project(self, thetas: Any) -> NDArray[np.float64]:
        """The coordinates of the points of the line or plane that are nearest to some θ.

        Parameters
        ----------
        thetas : array-like (m, size)
            Rows of θ, such as the steps of an optimizer.

        Returns
        -------
        ndarray (m, 1 or 2)
            a₀, or a₀ and a₁, of each row; exact for a θ that lies in the plane.

        Raises
        ------
        InvalidValueError, InvalidTypeError
            If the rows have another length than the center.
        """
        rows = check_path(thetas, "thetas", self.center.size) - self.center
        found: NDArray[Any] = np.linalg.lstsq(self.directions.T, rows.T, rcond=None)[0]
        return found.T

    def __repr__(self) -> str:
        shape = " x ".join(str(len(axis)) for axis in self.coordinates)
        low, high = np.min(self.values), np.max(self.values)
        return f"Landscape({' and '.join(self.names)}; {shape} values from {low:.4g} to {high:.4g})"


def landscape(
    objective: Differentiable,
    center: Any = None,
    directions: Any = "random",
    *,
    path: Any = None,
    span: float | None = None,
    n: int = 41,
    normalize: str = "auto",
    seed: int = 0,
    progress: bool = False,
) -> Landscape:
    """The loss along one direction, or on the plane of two, around a point.

    Parameters
    ----------
    objective : Objective or Function
        The loss; only its value is used, but for "eigenvectors".
    center : array-like (size,), optional
        The point; by default the end of `path` or, without one, the model's weights.
    directions : {"random", "eigenvectors", "pca"} or array-like (1 or 2, size), default "random"
        Two random ones; those of the Hessian's largest and smallest eigenvalue (for at most 2,000
        numbers); the two principal components of `path` around the center; or any of your own.
    path : array-like (steps, size), optional
        θ after each step of an optimizer: what "pca" looks at. With a path and without a `span`, the
        grid covers it.
    span : float, optional
        The grid reaches from -span to span along each direction, in units of its length; 1 by default.
    n : int, default 41
        Points of the grid along each direction, at least 2.
    normalize : {"auto", "filter", "none"}, default "auto"
        "filter" gives each unit's column of weights in a direction the length that it has in the
        center, and sets all else (biases, batch normalisation, slopes) to 0; "none" leaves directions
        as they are, random ones with length 1. "auto" is "filter" for random directions of a network.
    seed : int, default 0
        Of random directions.
    progress : bool, default False
        Show a progress bar on stderr.

    Returns
    -------
    Landscape
        For `hl.plot.landscape` and `hl.plot.animate_descent`, or to look at the numbers.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Notes
    -----
    ``notes/000``, section 1.2, error surfaces; Li, Xu, Taylor, Studer & Goldstein, *Visualizing the loss
    landscape of neural nets*, 2018, sections 4 and 7. Look at a network with `BatchNorm` as it is trained,
    with ``hl.Objective(..., training=True)``: running statistics fit the center only.

    Examples
    --------
    >>> import hotloop as hl
    >>> X, y = hl.data.synthetic_digits(100)
    >>> model = hl.Sequential([hl.Dense(8, "tanh"), hl.Dense(10)], input_dim=784, uint8_scale=1 / 255)
    >>> objective = hl.Objective(model, X, y, loss="softmax_cross_entropy")
    >>> found = hl.landscape(objective, n=5)
    >>> found.values.shape, bool(found.values[2, 2] == objective.value(model.theta))
    ((5, 5), True)
    """
    check_objective(objective)
    if path is not None:
        path = check_path(path, "path", objective.size)
    point = center_of(objective, path[-1] if center is None and path is not None else center)
    rows, names, explained = _directions(objective, point, directions, path, seed)
    if _filters(normalize, directions, objective):
        assert isinstance(objective, Objective)
        rows = filter_normalized(objective.model, rows, point)
        if not rows.any(axis=1).all():
            raise InvalidValueError(
                "normalize: every kernel is zero in the center, so 'filter' leaves nothing of a direction; "
                "pass normalize='none'"
            )
    n = check_integer(n, "n", low=2)
    empty = Landscape(point, rows, (), np.empty(0), names, explained)
    coordinates = _coordinates(empty, path, span, n)
    values = evaluate(objective, point, rows, coordinates, check_flag(progress, "progress"))
    return Landscape(point, rows, coordinates, values, names, explained)


def evaluate(
    objective: Differentiable,
    center: NDArray[np.float64],
    directions: NDArray[np.float64],
    coordinates: tuple[NDArray[np.float64], ...],
    progress: bool = False,
) -> NDArray[np.float64]:
    """The value at each point of the grid, shape (n,), or (n₁, n₀) for a₁ by a₀."""
    grid = np.meshgrid(*coordinates)
    steps = np.stack([axis.ravel() for axis in grid], axis=1)  # (points, 1 or 2)
    with np.errstate(over="ignore"):
        values = [objective.value(center + a @ directions) for a in bar(steps, shown=progress)]
    return np.array(values).reshape(grid[0].shape)


def _directions(
    objective: Differentiable, center: NDArray[np.float64], directions: Any, path: Any, seed: int
) -> tuple[NDArray[np.float64], tuple[str, ...], NDArray[np.float64] | None]:
    """Directions (1 or 2, size), what they are called, and what they explain of a path."""
    seed = check_integer(seed, "seed", low=0)
    if not isinstance(directions, str):
        rows = given(directions, objective.size)
        return rows, ("direction 1", "direction 2") if len(rows) == 2 else ("along the direction",), None
    kind = check_choice(directions, "directions", ("random", "eigenvectors", "pca"))
    if objective.size < 2:
        raise InvalidValueError(
            f"directions: {kind!r} spans a plane, and this function has one number; pass [[1.0]] for the line"
        )
    if kind == "random":
        return random_directions(objective.size, 2, seed), ("random direction 1", "random direction 2"), None
    if kind == "eigenvectors":
        bends = ("eigenvector of the largest λ", "eigenvector of the smallest λ")
        return eigenvectors(objective, center), bends, None
    if path is None:
        raise InvalidValueError("path: 'pca' needs one: θ after each step of an optimizer, (steps, size)")
    rows, shares = principal(path, center)
    names = tuple(f"principal direction {k + 1} ({100 * share:.1f} %)" for k, share in enumerate(shares))
    return rows, names, shares


def _filters(normalize: str, directions: Any, objective: Differentiable) -> bool:
    """Whether the directions are to be filter-normalised."""
    kind = check_choice(normalize, "normalize", ("auto", "filter", "none"))
    is_network = isinstance(objective, Objective)
    if kind == "filter" and not is_network:
        raise InvalidValueError("normalize: a function has no units whose weights 'filter' could go by")
    is_random = isinstance(directions, str) and directions == "random"
    return kind == "filter" or (kind == "auto" and is_random and is_network)


def _coordinates(
    plane: Landscape, path: NDArray[np.float64] | None, span: float | None, n: int
) -> tuple[NDArray[np.float64], ...]:
    """n numbers for each direction: over ±span, or over a path and the center, with a margin."""
    if span is not None or path is None:
        reach = 1.0 if span is None else check_number(span, "span")
        if reach <= 0:
            raise InvalidValueError(f"span: must be above 0, got {span!r}")
        return tuple(np.linspace(-reach, reach, n) for _ in plane.directions)
    seen = np.vstack([plane.project(path), np.zeros(len(plane.directions))])
    low, high = seen.min(axis=0), seen.max(axis=0)
    margin = np.where(high > low, MARGIN * (high - low), 1.0)
    return tuple(np.linspace(a, b, n) for a, b in zip(low - margin, high + margin, strict=True))

"""Directions in the space of θ along which a loss is worth looking at."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_directions, check_vector
from hotloop.analysis.functions import Differentiable
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.objective import Objective
from hotloop.sequential import Sequential

__all__ = [
    "center_of",
    "check_path",
    "eigenvectors",
    "filter_normalized",
    "given",
    "principal",
    "random_directions",
]

DENSE_LIMIT = 2000
"""Numbers of θ up to which the whole Hessian is formed: 32 MB, and some seconds for its eigenvectors."""


def check_path(path: Any, name: str, size: int) -> NDArray[np.float64]:
    """`path` as float64 rows of θ, shape (steps, size)."""
    if len(np.shape(path)) != 2:
        raise InvalidValueError(
            f"{name}: expected one row of θ a step, shape (steps, {size}), got {np.shape(path)}"
        )
    rows: NDArray[np.float64] = check_directions(path, name, size, np.dtype(np.float64))
    return rows


def random_directions(size: int, k: int, seed: int) -> NDArray[np.float64]:
    """k unit vectors (k, size), drawn evenly from all directions."""
    directions = np.random.default_rng(seed).standard_normal((k, size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions


def filter_normalized(
    model: Sequential, directions: NDArray[np.float64], center: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Each unit's column of weights as long in a direction as it is in `center`; biases and their like 0.

    A unit's weights may grow while those behind it shrink, and the network computes the same: without
    this, sharp and flat would say how large the weights are. Li et al. 2018, section 4, and their code
    for biases and batch normalisation, which a step of the same relative size would blur.
    """
    scaled = np.zeros_like(directions)
    for direction, result in zip(directions, scaled, strict=True):
        weights, drawn = model.views(center), model.views(direction)
        for name, view in model.views(result).items():
            if name.endswith("/kernel"):
                length = np.maximum(np.linalg.norm(drawn[name], axis=0), np.finfo(np.float64).tiny)
                view[...] = drawn[name] * (np.linalg.norm(weights[name], axis=0) / length)
    return scaled


def eigenvectors(objective: Differentiable, center: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those of the Hessian's largest and smallest eigenvalue (2, size): the steepest bend up, and down."""
    if objective.size > DENSE_LIMIT:
        raise InvalidValueError(
            f"directions: 'eigenvectors' forms the Hessian, too large for {objective.size:,} numbers "
            f"(more than {DENSE_LIMIT:,}); compute the two you want, and pass them as an array (2, size)"
        )
    vectors: NDArray[np.float64] = np.linalg.eigh(np.asarray(objective.hessian(center), np.float64))[1]
    return vectors[:, [-1, 0]].T


def principal(
    path: NDArray[np.float64], center: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two unit directions (2, size) that hold most of `path` − `center`, and the share of each.

    Principal components of the steps as seen from `center`, not from their mean, so that the plane goes
    through it (Li et al. 2018, section 7.2). A share is a part of Σ‖θ − center‖².
    """
    singular, rows = np.linalg.svd(path - center, full_matrices=False)[1:]
    if len(singular) < 2 or singular[1] <= singular[0] * 1e-12:
        raise InvalidValueError(
            "path: its steps lie on one line, so they span no plane; give a path of more steps, or the "
            "line as directions=path[-1:] - path[:1]"
        )
    shares: NDArray[np.float64] = singular**2 / np.sum(singular**2)
    return rows[:2], shares[:2]


def given(directions: Any, size: int) -> NDArray[np.float64]:
    """An array of one or two directions, as rows (1 or 2, size)."""
    if isinstance(directions, str) or directions is None:
        raise InvalidTypeError(
            f"directions: expected 'random', 'eigenvectors', 'pca', or an array (1 or 2, size), "
            f"got {directions!r}"
        )
    rows = np.atleast_2d(check_directions(directions, "directions", size, np.dtype(np.float64)))
    if len(rows) > 2:
        raise InvalidValueError(f"directions: expected one or two of them, got {len(rows)}")
    lengths = np.linalg.norm(rows, axis=1)
    if not lengths.all() or (len(rows) == 2 and np.linalg.matrix_rank(rows / lengths[:, None]) < 2):
        raise InvalidValueError("directions: must not be zero, nor the two of them on one line")
    return rows


def center_of(objective: Differentiable, center: Any) -> NDArray[np.float64]:
    """`center` in float64; the model's weights if it is None."""
    if center is None:
        if not isinstance(objective, Objective):
            raise InvalidTypeError("center: a function has no weights of its own; say where to look")
        center = objective.model.theta
    return check_vector(center, "center", objective.size, objective.dtype).astype(np.float64)

"""Handwritten digits drawn by the library: MNIST's shape and difficulty, without a file.

A digit is a few strokes through control points. Each image jitters the points, bends them into smooth
curves, turns, shears, scales and shifts the result, and draws it with a pen of random width: the ink of a
pixel is a function of its distance to the nearest stroke.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidTypeError, InvalidValueError

Float = NDArray[np.floating[Any]]

_SIDE = 28  # pixels, as MNIST
_CHUNK = 250  # images drawn at once: 25 of each digit
_SEGMENTS_PER_SPAN = 3  # of a curve, between two control points

# How far hands differ. Lengths of the first three are fractions of the digit's height, angles are in radians.
_JITTER = 0.025  # standard deviation of a control point
_SHIFT = 0.17  # at most, each way
_SCALE = (0.8, 1.1)  # of width and height
_ROTATION = 0.12  # standard deviation
_SHEAR = 0.18  # standard deviation
_HEIGHT = 18.0  # pixels, of the unit square
_RADIUS = (1.1, 2.0)  # pixels, of the pen
_SOFTNESS = (1.2, 2.0)  # pixels, from full ink to none
_INTENSITY = (0.65, 1.0)
_NOISE = 0.03  # standard deviation of a pixel, at most

# The styles of 0, 1, …, 9: strokes, divided by /, through points x,y of a square of 100 × 100, y pointing
# down. A stroke of two points is straight, a longer one smooth, one that ends where it began closed. Points
# at the same place are one point, so strokes that meet stay together under jitter.
_STYLES = (
    (
        "50,0 22,20 14,55 28,90 54,100 80,80 86,40 72,8 50,0",
        "62,5 34,10 16,45 22,88 50,100 78,75 80,30 55,2 40,10",
    ),  # 0
    (
        "50,0 50,100",
        "28,24 52,0 / 52,0 52,100",
        "28,22 52,0 / 52,0 52,100 / 25,100 80,100",
    ),  # 1
    (
        "18,25 38,2 70,5 78,30 60,60 16,97 / 16,97 86,95",
        "20,20 46,0 76,14 70,45 40,85 20,98 14,82 36,80 60,96 90,88",
    ),  # 2
    (
        "20,10 50,0 76,16 68,38 40,47 / 40,47 74,56 82,80 54,100 17,90",
        "20,4 78,2 / 78,2 45,40 / 45,40 76,50 82,78 52,100 16,90",
    ),  # 3
    (
        "26,2 16,56 / 16,56 88,53 / 70,5 64,100",
        "66,0 12,64 / 12,64 90,62 / 66,0 64,100",
    ),  # 4
    (
        "80,3 30,4 / 30,4 24,44 / 24,44 54,36 80,58 74,88 44,100 15,88",
        "86,0 36,6 26,40 58,44 76,68 60,95 20,96",
    ),  # 5
    (
        "72,3 40,20 20,56 25,88 52,100 78,84 74,60 48,52 23,70",
        "50,0 28,40 20,78 42,100 72,90 72,66 48,58 24,76",
    ),  # 6
    (
        "14,5 84,3 / 84,3 58,48 42,100",
        "14,5 84,3 / 84,3 40,100 / 34,52 82,50",
        "14,22 16,4 / 16,4 84,3 / 84,3 58,44 46,100",
    ),  # 7
    (
        "74,14 46,0 24,20 48,46 76,74 52,100 24,82 46,52 74,14",
        "50,0 27,22 50,46 73,22 50,0 / 50,46 20,74 50,100 80,74 50,46",
    ),  # 8
    (
        "76,20 50,2 22,24 40,50 66,42 76,20 / 76,20 68,100",
        "78,24 54,0 24,20 36,48 66,44 78,24 / 78,24 78,64 60,94 26,96",
    ),  # 9
)


def synthetic_digits(n: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw images of handwritten digits, in the form of MNIST.

    Parameters
    ----------
    n : int
        How many, at least 1.
    seed : int, default 0
        At least 0. Image i depends on the seed and on i alone, so a longer set begins with the shorter one.

    Returns
    -------
    X : ndarray of uint8, shape (n, 784)
        Images of 28 × 28 pixels, row by row, 0 for paper and up to 255 for ink.
    y : ndarray of int64, shape (n,)
        The digits, 0 to 9, in random order: every 250 images hold 25 of each.

    Raises
    ------
    InvalidTypeError
        `n` or `seed` is not an integer.
    InvalidValueError
        `n` is below 1 or `seed` below 0.

    Notes
    -----
    NumPy may change its random streams from one version to another, and the images with them.

    Examples
    --------
    >>> from hotloop.data import synthetic_digits
    >>> X, y = synthetic_digits(1000, seed=1)
    >>> X.shape, X.dtype, y.shape
    ((1000, 784), dtype('uint8'), (1000,))
    >>> sorted(set(y.tolist()))
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    n = _integer("n", n, minimum=1)
    seed = _integer("seed", seed, minimum=0)
    X = np.empty((n, _SIDE * _SIDE), np.uint8)
    y = np.empty(n, np.int64)
    glyphs = _glyphs()
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        images, labels = _draw_chunk(glyphs, np.random.default_rng([seed, start // _CHUNK]), stop - start)
        X[start:stop] = images
        y[start:stop] = labels
    return X, y


def _integer(name: str, value: object, minimum: int) -> int:
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise InvalidTypeError(f"{name} must be an integer, got {value!r} ({type(value).__name__})")
    number = operator.index(value)
    if number < minimum:
        raise InvalidValueError(f"{name} must be at least {minimum}, got {number}")
    return number


class _Glyphs(NamedTuple):
    """All styles of all digits as arrays; g counts the styles, padded with zeros to the largest."""

    points: Float  # (g, p, 2), control points
    curves: Float  # (g, 2, s, p), from control points to the starts and the ends of segments
    first: NDArray[np.int64]  # (10,), first style of each digit
    n_styles: NDArray[np.int64]  # (10,)


def _glyphs() -> _Glyphs:
    parts = [_glyph(style) for styles in _STYLES for style in styles]
    n_points = max(len(points) for points, _ in parts)
    n_segments = max(curves.shape[1] for _, curves in parts)
    points = np.zeros((len(parts), n_points, 2))
    curves = np.zeros((len(parts), 2, n_segments, n_points))
    for g, (p, c) in enumerate(parts):
        points[g, : len(p)] = p
        curves[g, :, : c.shape[1], : len(p)] = c
        curves[g, :, c.shape[1] :, : len(p)] = c[:, -1:]  # repeat the last segment: it changes no distance
    n_styles = np.array([len(styles) for styles in _STYLES])
    return _Glyphs(points, curves, np.cumsum(n_styles) - n_styles, n_styles)


def _glyph(style: str) -> tuple[Float, Float]:
    """Control points (p, 2) of one style, and the map (2, s, p) from them to its segments."""
    points = list(dict.fromkeys(style.replace("/", " ").split()))
    starts: list[Float] = []
    ends: list[Float] = []
    for stroke in style.split("/"):
        curve = _curve(np.eye(len(points))[[points.index(point) for point in stroke.split()]])
        starts.append(curve[:-1])
        ends.append(curve[1:])
    xy = np.array([point.split(",") for point in points], np.float64) / 100
    return xy, np.stack([np.concatenate(starts), np.concatenate(ends)])


def _curve(P: Float) -> Float:
    """Sample the Catmull-Rom spline through the rows of P, (k, p); a pair of rows is returned as it is."""
    if len(P) == 2:
        return P
    closed = np.array_equal(P[0], P[-1])
    before, after = (P[-2], P[1]) if closed else (P[0], P[-1])
    Q = np.concatenate([before[None], P, after[None]])
    t = np.arange(_SEGMENTS_PER_SPAN)[:, None] / _SEGMENTS_PER_SPAN
    weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3)
    spans = [sum(0.5 * w * Q[i + j] for j, w in enumerate(weights)) for i in range(len(P) - 1)]
    return np.concatenate([*spans, P[-1:]])


def _draw_chunk(
    glyphs: _Glyphs, rng: np.random.Generator, n: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, 784) and labels (n,); all numbers are drawn for a whole chunk, so n only cuts it off."""
    labels = rng.permutation(_CHUNK) % 10
    style = glyphs.first[labels] + (rng.random(_CHUNK) * glyphs.n_styles[labels]).astype(np.int64)
    points = glyphs.points[style] - 0.5
    points += rng.normal(0.0, _JITTER, points.shape)
    points = points @ _random_affine(rng) + rng.uniform(-_SHIFT, _SHIFT, (_CHUNK, 1, 2))
    radius = rng.uniform(*_RADIUS, _CHUNK)
    softness = rng.uniform(*_SOFTNESS, _CHUNK)
    intensity = rng.uniform(*_INTENSITY, _CHUNK)
    noise = rng.standard_normal((_CHUNK, _SIDE * _SIDE), np.float32) * rng.uniform(0, _NOISE, (_CHUNK, 1))

    points = points * _HEIGHT + (_SIDE - 1) / 2
    start, end = np.moveaxis(glyphs.curves[style[:n]] @ points[:n, None], 1, 0)
    distance = _distance(start.astype(np.float32), end.astype(np.float32))
    column = np.s_[:n, None]
    ink = np.clip((radius[column] - distance) / softness[column] + 0.5, 0.0, 1.0)
    ink = intensity[column] * ink + noise[:n]
    return np.rint(255 * np.clip(ink, 0.0, 1.0)).astype(np.uint8), labels[:n]


def _random_affine(rng: np.random.Generator) -> Float:
    """Rotations times shears times scales, (chunk, 2, 2), to be multiplied from the right."""
    angle = rng.normal(0.0, _ROTATION, _CHUNK)
    shear = rng.normal(0.0, _SHEAR, _CHUNK)
    width, height = rng.uniform(*_SCALE, (2, _CHUNK))
    c, s = np.cos(angle), np.sin(angle)
    x_row = np.stack([width * c, width * s], axis=-1)
    y_row = np.stack([height * (-shear * c - s), height * (c - shear * s)], axis=-1)
    return np.stack([x_row, y_row], axis=1)


def _distance(start: Float, end: Float) -> Float:
    """Distance of each pixel to the nearest segment, (n, 784).

    With p a pixel, a and u a segment's start and direction, and s = (p−a)·u/|u|² clipped to t in [0, 1], the
    square of the distance is |p−a|² + t(t−2s)|u|². |p−a|² and s are sums of a term in x and a term in y.
    """
    n, n_segments, _ = start.shape
    pixel = np.arange(_SIDE, dtype=np.float32)
    nearest = np.full((n, _SIDE, _SIDE), np.inf, np.float32)
    s, t = np.empty_like(nearest), np.empty_like(nearest)
    for k in range(n_segments):
        a, u = start[:, k], end[:, k] - start[:, k]
        length2 = np.maximum((u**2).sum(axis=1), 1e-6)
        offset = pixel - a[:, :, None]  # (n, 2, 28)
        share = offset * (u / length2[:, None])[:, :, None]
        np.add(share[:, 1, :, None], share[:, 0, None, :], out=s)
        np.clip(s, 0.0, 1.0, out=t)
        s *= -2.0
        s += t
        s *= t
        s *= length2[:, None, None]
        offset *= offset
        np.add(offset[:, 1, :, None], offset[:, 0, None, :], out=t)
        s += t
        np.minimum(nearest, s, out=nearest)
    return np.sqrt(np.maximum(nearest, 0.0)).reshape(n, -1)

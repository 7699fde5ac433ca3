"""What all pictures share: where they are drawn, and colours that suit a white and a dark page."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop import extras
from hotloop.errors import InvalidTypeError, InvalidValueError

__all__ = [
    "COLORS",
    "MARKERS",
    "axes",
    "blend",
    "check_named",
    "class_colors",
    "contrast_with",
    "halo",
    "ink",
    "matplotlib",
    "paper",
    "ramp",
    "readable",
]

Color = tuple[float, float, float]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Told apart with any colour vision (Okabe & Ito 2008, *Color universal design*); the first four also
stand out from white and from black by a contrast of at least 3."""

MARKERS = "osD^vP"
"""A shape for each colour, so that nothing hangs on colour alone."""


def matplotlib(module: str, purpose: str) -> ModuleType:
    """A module of Matplotlib, or an error that says how to install it."""
    return extras.require(f"matplotlib.{module}", "plot", purpose)


def axes(ax: Any, purpose: str, size: tuple[float, float] = (6.0, 4.2), **options: Any) -> Any:
    """`ax`, if it is one of Matplotlib's Axes; those of a new figure of `size` inches if it is None."""
    pyplot = matplotlib("pyplot", purpose)
    if ax is None:
        return pyplot.subplots(figsize=size, layout="constrained", subplot_kw=options)[1]
    if not isinstance(ax, pyplot.Axes):
        raise InvalidTypeError(f"ax: expected Axes of Matplotlib, or None for a new figure, got {ax!r}")
    wanted = options.get("projection", ax.name if ax.name != "3d" else "rectilinear")
    if ax.name != wanted:
        raise InvalidValueError(
            f"ax: this picture needs Axes with projection={wanted!r}, got {ax.name!r}; "
            "make them with plt.subplots(subplot_kw={'projection': ...})"
        )
    return ax


def ink(ax: Any) -> Color:
    """The colour of writing: black on a white page, white on a dark one."""
    return _rgb(ax.xaxis.label.get_color())


def paper(ax: Any) -> Color:
    """The colour behind `ax`; the opposite of the ink where it is transparent."""
    for face in (ax.get_facecolor(), ax.figure.get_facecolor()):
        if face[3] > 0:
            return _rgb(face)
    return (1.0, 1.0, 1.0) if readable(ink(ax)) == "white" else (0.0, 0.0, 0.0)


def blend(color: Any, background: Any, amount: float) -> Color:
    """`amount` of a colour on a background: opaque, so that nothing shines through."""
    mixed = amount * np.array(_rgb(color)) + (1 - amount) * np.array(_rgb(background))
    return (float(mixed[0]), float(mixed[1]), float(mixed[2]))


def contrast_with(color: Any, background: Any) -> float:
    """From 1 for the same luminance to 21 for black on white (W3C, WCAG 2.2, contrast ratio)."""
    channels = np.array([_rgb(color), _rgb(background)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ (0.2126, 0.7152, 0.0722))
    return float((high + 0.05) / (low + 0.05))


def readable(background: Any) -> str:
    """Black or white, whichever stands out more from a background."""
    return max(("black", "white"), key=lambda color: contrast_with(color, background))


def ramp(*colors: Any) -> Any:
    """The colour map through these colours."""
    made = matplotlib("colors", "hl.plot").LinearSegmentedColormap.from_list("hotloop", colors)
    return made.with_extremes(bad=(0.5, 0.5, 0.5, 0.0))


def class_colors(k: int) -> list[Color]:
    """k colours for classes: those of `COLORS`, or as many steps of a perceptually even map."""
    if k <= len(COLORS):
        return [_rgb(color) for color in COLORS[:k]]
    even = matplotlib("pyplot", "hl.plot").get_cmap("turbo")
    return [_rgb(even(x)) for x in np.linspace(0.05, 0.95, k)]


def halo(ax: Any, width: float = 3.6) -> list[Any]:
    """The effect that parts a line or a text from what lies behind it."""
    effects = matplotlib("patheffects", "hl.plot")
    return [effects.withStroke(linewidth=width, foreground=paper(ax))]


def check_named(given: Any, name: str, what: str) -> Mapping[str, Any]:
    """`given`, if it is a dict of names and something."""
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise InvalidTypeError(f"{name}: expected a dict {{'a name': {what}}}, got {given!r}")
    return given


def _rgb(color: Any) -> Color:
    found: NDArray[np.float64] = np.array(matplotlib("colors", "hl.plot").to_rgb(color))
    return (float(found[0]), float(found[1]), float(found[2]))

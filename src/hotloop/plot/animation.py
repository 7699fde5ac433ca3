"""`animate_descent`: optimizers that race down a surface."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_flag, check_integer
from hotloop.analysis.functions import Differentiable
from hotloop.analysis.landscape import MARGIN, Landscape
from hotloop.errors import InvalidTypeError, InvalidValueError, MissingExtraError
from hotloop.plot._plane import check_paths, check_values, draw_ground, landscape_of, points_on
from hotloop.plot._style import COLORS, MARKERS, axes, halo, matplotlib, paper
from hotloop.progress import bar

__all__ = ["animate_descent"]

PURPOSE = "hl.plot.animate_descent"
GRID = 101
HOLD = 0.15
"""Of all frames, how many the last picture stays."""


def animate_descent(
    surface: Landscape | Differentiable,
    paths: Mapping[str, Any],
    filename: str | os.PathLike[str] | None = None,
    *,
    fps: int = 20,
    frames: int = 100,
    trail: int | None = None,
    progress: bool = False,
    ax: Any = None,
) -> Any:
    """Let the paths of several optimizers run over a loss, step by step, and save it as GIF or MP4.

    All paths run by the same clock: the frame that shows step k of one shows step k of all.

    Parameters
    ----------
    surface : Landscape, Objective or Function
        What `hl.landscape` found; or a function of one or two numbers, of which the part is drawn where
        the paths are.
    paths : dict of str to array-like (steps, size)
        θ after each step, the start first, by the name of the optimizer.
    filename : str or path, optional
        Where to save it: ``*.gif``, or ``*.mp4`` where the program ffmpeg is installed.
    fps : int, default 20
        Frames a second.
    frames : int, default 100
        Frames at most, before the last stays for a moment; longer paths are shown with equal leaps.
    trail : int, optional
        How many of the last steps each path keeps behind it; all if not given.
    progress : bool, default False
        Show a progress bar on stderr while the file is written.
    ax : Axes, optional
        Where to draw; a new figure if not given.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        Keep it until it has been shown or saved.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.
    MissingExtraError
        If Matplotlib, or ffmpeg for an MP4, is not installed.
    OSError
        If the file cannot be written.

    Notes
    -----
    ``notes/004``, animation of a descent.

    Examples
    --------
    >>> import hotloop as hl
    >>> bowl = hl.Function(lambda t: t[0] ** 2 + 10 * t[1] ** 2, 2, gradient="differences")
    >>> path = [[1.0, 1.0]]
    >>> for step in range(20):
    ...     path.append(path[-1] - 0.09 * bowl.gradient(path[-1]))
    >>> race = hl.plot.animate_descent(bowl, {"descent": path}, "race.gif")
    """
    fps, frames = check_integer(fps, "fps", low=1), check_integer(frames, "frames", low=1)
    trail = None if trail is None else check_integer(trail, "trail", low=1)
    check_flag(progress, "progress")
    if not (
        isinstance(surface, Landscape) or (isinstance(surface, Differentiable) and surface.size in (1, 2))
    ):
        raise InvalidTypeError(
            "surface: expected what hl.landscape returns, or a function of one or two numbers, "
            f"got {surface!r}"
        )
    size = surface.center.size if isinstance(surface, Landscape) else surface.size
    named = check_paths(paths, size)
    if not named:
        raise InvalidValueError("paths: is empty; give {'a name': array (steps, size)}")
    ground = surface if isinstance(surface, Landscape) else _around(surface, named)
    check_values(ground, "surface")
    if not (filename is None or isinstance(filename, (str, os.PathLike))):
        raise InvalidTypeError(f"filename: expected a path, got {filename!r}")
    writer = None if filename is None else _writer(Path(filename), fps)
    own_figure = ax is None
    ax = axes(ax, PURPOSE)
    shown = _animation(ax, ground, named, fps, frames, trail)
    if own_figure:  # laid out once, not for each frame
        ax.figure.draw_without_rendering()
        ax.figure.set_layout_engine("none")
    if writer is not None:
        with bar(shown=progress, desc=Path(str(filename)).name, unit=" frames") as frame_bar:
            shown.save(filename, writer=writer, progress_callback=lambda _, total: _advance(frame_bar, total))
    return shown


def _animation(
    ax: Any,
    ground: Landscape,
    paths: dict[str, NDArray[np.float64]],
    fps: int,
    frames: int,
    trail: int | None,
) -> Any:
    """The animation on `ax`, its contours drawn."""
    draw_ground(ax, ground)
    points = [points_on(ground, path) for path in paths.values()]
    runners = [_runner(ax, k, name) for k, name in enumerate(paths)]
    ax.legend(loc=_free_corner(ax, np.vstack(points)), framealpha=0.85)
    title = ax.set_title("step 0", loc="left", fontsize="medium")
    last = max(map(len, points)) - 1
    steps = np.unique(np.linspace(0, last, min(frames, last + 1)).round().astype(int))
    steps = np.append(steps, [last] * round(HOLD * len(steps)))

    def show(step: int) -> list[Any]:
        for (line, head), path in zip(runners, points, strict=True):
            now = min(step, len(path) - 1)
            first = 0 if trail is None else max(0, now - trail)
            line.set_data(*path[first : now + 1].T)
            head.set_data(*path[now : now + 1].T)
        title.set_text(f"step {step}")
        return [title, *(artist for runner in runners for artist in runner)]

    animation = matplotlib("animation", PURPOSE)
    return animation.FuncAnimation(ax.figure, show, frames=list(map(int, steps)), interval=1000 / fps)


def _runner(ax: Any, k: int, name: str) -> tuple[Any, Any]:
    """The trail and the head of the k-th path."""
    color = COLORS[(k + 1) % len(COLORS)]
    (line,) = ax.plot([], [], color=color, lw=1.8, zorder=3, path_effects=halo(ax))
    mark = MARKERS[k % len(MARKERS)]
    (head,) = ax.plot([], [], mark, color=color, ms=9, mec=paper(ax), mew=1.2, zorder=5, label=name)
    return line, head


def _free_corner(ax: Any, points: NDArray[np.float64]) -> str:
    """The corner of `ax` with the fewest points around it, for what would hide them."""
    places = ax.transAxes.inverted().transform(ax.transData.transform(points))
    corners = {"upper right": (1, 1), "upper left": (0, 1), "lower right": (1, 0), "lower left": (0, 0)}
    near = {name: np.sum(np.abs(places - corner).max(axis=1) < 0.5) for name, corner in corners.items()}
    return min(corners, key=lambda name: near[name])


def _around(objective: Differentiable, paths: dict[str, NDArray[np.float64]]) -> Landscape:
    """The part of a function of one or two numbers where the paths are."""
    everywhere = np.vstack(list(paths.values()))
    low, high = everywhere.min(axis=0), everywhere.max(axis=0)
    margin = np.where(high > low, MARGIN * (high - low), 1.0)
    return landscape_of(objective, list(zip(low - margin, high + margin, strict=True)), GRID)


def _writer(path: Path, fps: int) -> Any:
    """What writes a file of this kind."""
    animation = matplotlib("animation", PURPOSE)
    if path.suffix.lower() == ".gif":
        return animation.PillowWriter(fps=fps)
    if path.suffix.lower() != ".mp4":
        raise InvalidValueError(f"filename: must end in .gif or .mp4, got {str(path)!r}")
    if not animation.FFMpegWriter.isAvailable():
        raise MissingExtraError(
            f"{PURPOSE} needs the program ffmpeg for an MP4, and it is not installed; "
            "install it with your system's packages, or save a .gif"
        )
    return animation.FFMpegWriter(fps=fps)


def _advance(frame_bar: Any, total: int) -> None:
    frame_bar.total = total
    frame_bar.update()

"""Progress bars: tqdm's where one is wanted, and nothing at all elsewhere."""

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from tqdm import tqdm

__all__ = ["NoBar", "Progress", "bar"]


def bar(over: Iterable[Any] | None = None, *, shown: bool, **given: Any) -> "tqdm[Any] | NoBar":
    """tqdm's bar over something, or without end; or, if it is not to be shown, what does nothing instead.

    Not tqdm's own ``disable=True``: that too starts a thread, and takes a lock which processes share that
    were forked from one, so that one killed within it stops the others for good.
    """
    return tqdm(over, **given) if shown else NoBar(over)


class NoBar:
    """In place of a bar: as many items, and silence."""

    disable = True

    def __init__(self, over: Iterable[Any] | None = None):
        self._over = () if over is None else over

    def __iter__(self) -> Iterator[Any]:
        return iter(self._over)

    def __enter__(self) -> "NoBar":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _say_nothing(self, *_: object, **__: object) -> None:
        pass

    update = set_description = set_postfix = close = _say_nothing


class Progress:
    """The bar of a fit, over all rows of all epochs: epoch, loss, accuracy, rows a second."""

    def __init__(self, shown: bool, epochs: int, rows: int):
        self._epochs = epochs
        self._shown: dict[str, float] = {}  # numbers of validation stay until the next ones
        self._bar = bar(shown=shown, total=epochs * rows, unit=" rows", unit_scale=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def begin_epoch(self, epoch: int) -> None:
        """Name the epoch, counted from 1 in this fit."""
        if self._bar.disable:
            return
        self._bar.set_description(f"epoch {epoch}/{self._epochs}", refresh=False)

    def advance(self, rows: int, logs: Mapping[str, float]) -> None:
        """Move on by `rows`, with the numbers so far."""
        if self._bar.disable:
            return
        self._shown |= logs
        self._bar.set_postfix({name: f"{value:.4f}" for name, value in self._shown.items()}, refresh=False)
        self._bar.update(rows)

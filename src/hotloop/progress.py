"""The progress bar of a fit: epoch, loss, accuracy, rows a second."""

from collections.abc import Mapping
from types import TracebackType

from tqdm import tqdm

__all__ = ["Progress"]


class Progress:
    """A bar over all rows of all epochs on stderr, or nothing if it is not wanted."""

    def __init__(self, shown: bool, epochs: int, rows: int):
        self._epochs = epochs
        self._shown: dict[str, float] = {}  # numbers of validation stay until the next ones
        self._bar = tqdm(total=epochs * rows, unit=" rows", unit_scale=True, disable=not shown)

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

"""`History`: what each epoch gave."""

from collections.abc import Iterator, Mapping

from hotloop.errors import InvalidTypeError

__all__ = ["History"]


class History(Mapping[str, list[float]]):
    """Columns of numbers, one entry an epoch: ``history["loss"]``, ``history["val_accuracy"]``, …

    Attributes
    ----------
    stopped_by : str or None
        Why the last fit ended: "epochs", "interrupt", or what a callback said; None before.

    Examples
    --------
    >>> import hotloop as hl
    >>> history = hl.History()
    >>> history.append({"loss": 0.5})
    >>> history
    History(epochs=1, loss=0.5, stopped_by=None)
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {}
        self.epochs = 0
        self.stopped_by: str | None = None

    @classmethod
    def from_columns(cls, columns: Mapping[str, list[float]], stopped_by: str | None) -> "History":
        """A history with these columns, all of one length."""
        if not (stopped_by is None or isinstance(stopped_by, str)):
            raise InvalidTypeError(f"stopped_by: expected text or None, got {stopped_by!r}")
        history = cls()
        for values in zip(*columns.values(), strict=True):
            history.append(dict(zip(columns, values, strict=True)))
        history.stopped_by = stopped_by
        return history

    def append(self, logs: Mapping[str, float]) -> None:
        """Add an epoch. A column that is new, or missing here, is filled up with NaN."""
        for name in logs:
            if name not in self._columns:
                self._columns[name] = [float("nan")] * self.epochs
        for name, column in self._columns.items():
            column.append(float(logs[name]) if name in logs else float("nan"))
        self.epochs += 1

    def __getitem__(self, name: str) -> list[float]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        last = "".join(f", {name}={column[-1]:.4g}" for name, column in self._columns.items())
        return f"History(epochs={self.epochs}{last}, stopped_by={self.stopped_by!r})"

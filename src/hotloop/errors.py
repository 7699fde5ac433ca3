"""Everything hotloop raises on purpose is a `HotloopError` and also the built-in a Python user expects."""

__all__ = [
    "CacheError",
    "DivergenceError",
    "DownloadError",
    "FileFormatError",
    "HotloopError",
    "InvalidTypeError",
    "InvalidValueError",
    "MissingExtraError",
    "NotFoundError",
]


class HotloopError(Exception):
    """Base of every error that hotloop raises on purpose."""


class InvalidValueError(HotloopError, ValueError):
    """An argument has the right type but a value that cannot be used."""


class InvalidTypeError(HotloopError, TypeError):
    """An argument has a type that cannot be used."""


class FileFormatError(HotloopError, ValueError):
    """A file is damaged, truncated, or not what its name promises."""


class NotFoundError(HotloopError, FileNotFoundError):
    """A file or a data set is not where it was looked for."""


class DownloadError(HotloopError, OSError):
    """A data set could not be fetched."""


class CacheError(HotloopError, OSError):
    """Compiled kernels cannot be kept; the message says what to do."""


class MissingExtraError(HotloopError, ImportError):
    """A package is missing that only some parts of hotloop need; the message has the command."""


class DivergenceError(HotloopError, ArithmeticError):
    """The training loss is not finite; the model holds the last finite weights.

    Attributes
    ----------
    epoch, step : int
        Where it happened, counted from 1; `step` counts within the epoch.
    """

    def __init__(self, message: str, epoch: int, step: int):
        super().__init__(message)
        self.epoch = epoch
        self.step = step

    def __reduce__(self) -> tuple[type, tuple[str, int, int]]:
        return type(self), (str(self), self.epoch, self.step)

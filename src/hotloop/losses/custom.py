"""A loss of the user's own: a pair of functions, called from Python for each minibatch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_array
from hotloop._jit import kernel
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.losses.base import Loss

__all__ = ["Custom"]

GIVEN_CODE = 11

LossFunction = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Custom(Loss):
    """A loss of your own, as a pair of functions of a minibatch.

    Parameters
    ----------
    value : callable
        ``value(outputs, targets)`` returns the loss of each sample, shape (n,). `outputs` is
        (n, output_dim), `targets` (n, columns of y), both in the model's dtype and yours to keep.
    gradient : callable
        ``gradient(outputs, targets)`` returns ∂loss/∂outputs of each sample, shape (n, output_dim).
        Samples are weighted and averaged for you.

    Raises
    ------
    InvalidTypeError
        If a function cannot be called, or returns something else; the latter when it is used.

    Notes
    -----
    The functions may be plain NumPy, or compiled with ``numba.njit``. They run once for each minibatch,
    between two parts of the compiled loop, which costs what the built-in losses do not: some ten
    microseconds of Python a step (some hundred with several threads), and a second forward pass; the
    benchmark ``training.Options`` has the numbers. `Trainer.save` refuses such a loss, since
    files hold data, never code; save the model alone.

    Examples
    --------
    >>> import hotloop as hl, numpy as np
    >>> log_cosh = hl.losses.Custom(
    ...     value=lambda z, y: np.log(np.cosh(z - y)).sum(axis=1),
    ...     gradient=lambda z, y: np.tanh(z - y),
    ... )
    >>> model = hl.Sequential([hl.Dense(1)], input_dim=1, dtype="float64")
    >>> objective = hl.Objective(model, [[1.0], [2.0]], [2.0, 4.0], loss=log_cosh)
    >>> hl.check_gradient(objective, model.theta).passed
    True
    """

    value: LossFunction
    gradient: LossFunction

    name: ClassVar[str] = "custom"
    code: ClassVar[int] = GIVEN_CODE

    def __post_init__(self) -> None:
        for field in ("value", "gradient"):
            if not callable(getattr(self, field)):
                raise InvalidTypeError(
                    f"{field}: expected a function of (outputs, targets), got {getattr(self, field)!r}"
                )

    def label(self) -> str:
        """The call that made it."""
        return repr(self)

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Any finite numbers, (n,) or (n, columns)."""
        return check_array(y, name, n_rows, dtype)

    def rows(self, outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[Any]:
        """(n, 1 + output_dim): for each sample its loss, and the gradient with respect to its outputs."""
        rows = np.empty((len(outputs), 1 + outputs.shape[1]), outputs.dtype)
        # Copies: a function that writes to its arguments changes nothing of ours.
        rows[:, 0] = self._call("value", outputs.copy(), targets.copy(), (len(outputs),))
        rows[:, 1:] = self._call("gradient", outputs.copy(), targets.copy(), outputs.shape)
        return rows

    def _call(
        self, field: str, outputs: NDArray[Any], targets: NDArray[Any], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        returned = getattr(self, field)(outputs, targets)
        try:
            found = np.asarray(returned)
        except ValueError:  # ragged
            found = np.empty(0, object)
        if found.dtype.kind not in "iuf":
            raise InvalidTypeError(f"loss.{field}: must return numbers, returned {found.dtype}")
        if found.shape != shape:
            what = "one number a sample" if field == "value" else "a number for each output"
            raise InvalidValueError(
                f"loss.{field}: must return {what}, shape {shape}; returned shape {found.shape}"
            )
        return found


@kernel
def given(target, delta):
    """The loss of a sample and its gradient, as they stand in `target` (1 + outputs,)."""
    for j in range(len(delta)):
        delta[j] = target[j + 1]
    return target[0]

"""What all losses share: an immutable description that turns into numbers for its kernel."""

from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_values
from hotloop._jit import kernel
from hotloop.errors import InvalidValueError

__all__ = ["Criterion", "Loss", "weigh"]


class Criterion(NamedTuple):
    """A loss as numbers: what the kernels take."""

    code: int
    option: float  # of Loss.option
    address: int  # of its kernel


@dataclass(frozen=True)
class Loss(ABC):
    """Base of all losses: immutable; give one, or its name, to `Trainer` and `Objective`."""

    name: ClassVar[str]
    code: ClassVar[int]
    has_accuracy: ClassVar[bool] = False
    """True where a target can be hit or missed: accuracy is then reported."""
    least_outputs: ClassVar[int] = 1
    outputs_a_target: ClassVar[int] = 1
    includes: ClassVar[str | None] = None
    """The activation that is part of the loss, since it takes logits: the model may not end with it too."""

    def option(self) -> float:
        """The number that the kernel reads, if it reads one."""
        return 0.0

    def label(self) -> str:
        """As a user would write it: the name, or the call if there are options."""
        return repr(self.name if self == type(self)() else self)

    def check_outputs(self, n_outputs: int) -> None:
        """Raise `InvalidValueError` if a model with so many outputs cannot have this loss."""
        if n_outputs < self.least_outputs:
            raise InvalidValueError(
                f"loss: {self.name!r} needs a model with one output a class, at least 2; "
                f"this one has {n_outputs}"
            )
        if n_outputs % self.outputs_a_target:
            raise InvalidValueError(
                f"loss: {self.name!r} needs {self.outputs_a_target} outputs a target; "
                f"this model has {n_outputs}"
            )

    def check_targets(
        self, y: Any, name: str, n_rows: int, n_outputs: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """`y` as an array (n_rows, width) that the kernel can take. Default: a value for each output."""
        return check_values(y, name, n_rows, n_outputs, dtype)

    def weights(self, targets: NDArray[Any], n_outputs: int) -> NDArray[np.float64] | None:
        """(rows, 1): what multiplies each sample's weight; None for ones."""
        return None


@kernel
def weigh(weights, scale, delta):
    """Multiply the gradient of each of n samples, a part of `delta`, by scale · weight."""
    n_out, number = len(delta) // len(weights), delta.dtype.type
    for i in range(len(weights)):
        slope, factor = delta[i * n_out : (i + 1) * n_out], number(weights[i] * scale)
        if factor == 0:
            slope[:] = 0  # also where the loss is infinite: a row of no weight is not there
        for j in range(len(slope)):
            slope[j] *= factor

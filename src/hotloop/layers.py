"""Layer specs: frozen descriptions that answer "with this fan-in: which operations, and what fan-out?"

To add one: a frozen dataclass with `operations`, a row in `LAYERS`, and, if no existing operation of
the table does it, a code in `engine.table` and its branches in `engine.network`.
"""

from abc import ABC, abstractmethod
from dataclasses import MISSING, dataclass, fields
from typing import Any

from hotloop._checks import check_choice, check_flag, check_integer
from hotloop.activations import ACTIVATIONS
from hotloop.engine.table import DENSE, ELEMENTWISE, Operation, Parameter
from hotloop.initializers import INITIALIZERS

__all__ = ["LAYERS", "Dense", "Layer"]


@dataclass(frozen=True, repr=False)
class Layer(ABC):
    """Base of all layers: immutable, without weights; a model keeps those in its θ."""

    @abstractmethod
    def operations(self, n_in: int, name: str) -> list[Operation]:
        """The rows of the layer table for a fan-in; the last one's `n_out` is the fan-out."""

    def __repr__(self) -> str:
        said = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if f.default is MISSING or getattr(self, f.name) != f.default
        ]
        return f"{type(self).__name__}({', '.join(said)})"

    def to_dict(self) -> dict[str, Any]:
        """Type and fields, as JSON can hold them."""
        return {"type": type(self).__name__} | {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, repr=False)
class Dense(Layer):
    """A dense layer: a = f(x W + b), with W of shape (fan_in, units).

    Parameters
    ----------
    units : int
        Outputs, at least 1.
    activation : {"identity", "relu", "tanh", "sigmoid"}, default "identity"
        f.
    kernel_init : {"glorot_uniform", "he_uniform", "zeros"}, default "glorot_uniform"
        How the first values of W are drawn.
    bias_init : {"zeros"}, default "zeros"
        How the first values of b are set.
    use_bias : bool, default True
        Whether there is a b.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is unknown or out of its range.

    Notes
    -----
    ``notes/003``, the MP neuron and the multi-layer perceptron.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Dense(128, "relu")
    Dense(units=128, activation='relu')
    """

    units: int
    activation: str = "identity"
    kernel_init: str = "glorot_uniform"
    bias_init: str = "zeros"
    use_bias: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", check_integer(self.units, "units", low=1))
        check_choice(self.activation, "activation", ACTIVATIONS)
        check_choice(self.kernel_init, "kernel_init", INITIALIZERS)
        check_choice(self.bias_init, "bias_init", {"zeros"})
        object.__setattr__(self, "use_bias", check_flag(self.use_bias, "use_bias"))

    def operations(self, n_in: int, name: str) -> list[Operation]:
        """The affine map, and the activation unless it is the identity."""
        kernel = Parameter(f"{name}/kernel", (n_in, self.units), self.kernel_init)
        bias = Parameter(f"{name}/bias", (self.units,), self.bias_init) if self.use_bias else None
        rows = [Operation(DENSE, n_in, self.units, kernel=kernel, bias=bias)]
        if self.activation != "identity":
            rows.append(Operation(ELEMENTWISE, self.units, self.units, code=ACTIVATIONS[self.activation]))
        return rows


LAYERS: dict[str, type[Layer]] = {"Dense": Dense}
"""Type name in model files → layer."""

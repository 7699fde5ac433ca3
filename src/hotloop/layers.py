"""Layer specs: frozen descriptions that answer "with this fan-in: which operations, and what fan-out?"

To add one: a frozen dataclass with `operations`, a row in `LAYERS`, and, if no existing operation of
the table does it, a code in `engine.table` and its branches in `engine.network`.
"""

from abc import ABC, abstractmethod
from dataclasses import MISSING, dataclass, fields
from typing import Any

from hotloop._checks import check_choice, check_flag, check_integer
from hotloop.activations import ACTIVATIONS, KERNEL_INIT
from hotloop.engine.table import DENSE, ELEMENTWISE, Operation, Parameter
from hotloop.initializers import Initializer, check_bias_init, check_kernel_init, initializer_from_dict

__all__ = ["LAYERS", "Dense", "Layer", "layer_from_dict"]


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
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"type": type(self).__name__} | {
            name: value.to_dict() if isinstance(value, Initializer) else value
            for name, value in values.items()
        }


@dataclass(frozen=True, repr=False)
class Dense(Layer):
    """A dense layer: a = f(x W + b), with W of shape (fan_in, units).

    Parameters
    ----------
    units : int
        Outputs, at least 1.
    activation : str, default "identity"
        f: "identity", "relu", "tanh", "sigmoid", "hard_sigmoid", "leaky_relu" (slope 0.01), "elu" (α = 1),
        "selu", "gelu" (the exact one), "silu", "mish" or "softplus"; formulas and sources are in
        ``hotloop/activations.py``.
    kernel_init : str or initializer, default "glorot_uniform"
        How the first values of W are drawn: "uniform" (±1/√fan_in), "normal" (standard deviation 0.01),
        "lecun_uniform", "lecun_normal" (variance 1/fan_in), "glorot_uniform", "glorot_normal"
        (2/(fan_in + units)), "he_uniform", "he_normal" (2/fan_in), "orthogonal", "zeros", "ones";
        "auto" for what suits the activation (he_uniform for relu and its kin, lecun_normal for selu,
        else glorot_uniform); or ``hl.initializers.Constant(value)``, ``Normal(std)``, ``Orthogonal(gain)``.
    bias_init : str or initializer, default "zeros"
        How the first values of b are set: "zeros", "ones", "uniform", "normal", ``Constant`` or ``Normal``.
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
    kernel_init: str | Initializer = "glorot_uniform"
    bias_init: str | Initializer = "zeros"
    use_bias: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", check_integer(self.units, "units", low=1))
        check_choice(self.activation, "activation", ACTIVATIONS)
        check_kernel_init(self.kernel_init, "kernel_init")
        check_bias_init(self.bias_init, "bias_init")
        object.__setattr__(self, "use_bias", check_flag(self.use_bias, "use_bias"))

    def operations(self, n_in: int, name: str) -> list[Operation]:
        """The affine map, and the activation unless it is the identity."""
        init = KERNEL_INIT[self.activation] if self.kernel_init == "auto" else self.kernel_init
        fans = (n_in, self.units)
        kernel = Parameter(f"{name}/kernel", fans, init, fans)
        bias = Parameter(f"{name}/bias", (self.units,), self.bias_init, fans) if self.use_bias else None
        rows = [Operation(DENSE, n_in, self.units, kernel=kernel, bias=bias)]
        if self.activation != "identity":
            rows.append(Operation(ELEMENTWISE, self.units, self.units, code=ACTIVATIONS[self.activation]))
        return rows


LAYERS: dict[str, type[Layer]] = {"Dense": Dense}
"""Type name in model files → layer."""


def layer_from_dict(entry: dict[str, Any]) -> Layer:
    """The layer whose `to_dict` this is."""
    kind = LAYERS[entry["type"]]
    return kind(
        **{
            name: initializer_from_dict(value) if isinstance(value, dict) else value
            for name, value in entry.items()
            if name != "type"
        }
    )

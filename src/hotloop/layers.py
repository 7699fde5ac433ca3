"""Layer specs: frozen descriptions that answer "with this fan-in: which operations, and what fan-out?"

To add one: a frozen dataclass with `operations`, a row in `LAYERS`, and, if no existing operation of
the table does it, a code in `engine.table` and its branches in `engine.operations`.
"""

from abc import ABC, abstractmethod
from dataclasses import MISSING, dataclass, fields
from typing import Any

from hotloop._checks import check_choice, check_flag, check_integer, check_number
from hotloop.activations import ACTIVATIONS, ELEMENTWISE_CODES, KERNEL_INIT
from hotloop.engine.table import (
    BATCH_NORM,
    DENSE,
    DROPOUT,
    ELEMENTWISE,
    PRELU,
    SOFTMAX,
    STANDARDIZE,
    Buffer,
    Operation,
    Parameter,
)
from hotloop.errors import InvalidTypeError
from hotloop.initializers import CONFIGURABLE, Constant, Initializer, check_bias_init, check_kernel_init
from hotloop.penalties import PENALTIES, Penalty, check_penalty
from hotloop.specs import spec_from_dict, spec_to_dict

__all__ = ["LAYERS", "Activation", "BatchNorm", "Dense", "Dropout", "Layer", "Standardize", "layer_from_dict"]

PRELU_SLOPE = 0.25


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
        return spec_to_dict(self, "layer")


@dataclass(frozen=True, repr=False)
class Dense(Layer):
    """A dense layer: a = f(x W + b), with W of shape (fan_in, units).

    Parameters
    ----------
    units : int
        Outputs, at least 1.
    activation : str, default "identity"
        f: "identity", "relu", "tanh", "sigmoid", "hard_sigmoid", "leaky_relu" (slope 0.01), "elu" (α = 1),
        "selu", "gelu" (the exact one), "silu", "mish", "softplus", "prelu" (a slope for each unit, learnt),
        "softmax" (over the units), or "step" (for prediction: a network with it cannot be trained);
        formulas and sources are in ``hotloop/activations.py``.
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
    penalty : Penalty, optional
        On W, in place of the trainer's: ``hl.L2(1e-4)``, ``hl.L1``, ``hl.ElasticNet``, ``hl.L0``,
        ``hl.MaxNorm`` or ``hl.Nuclear``; ``hl.L2(0)`` for none.
    lr_scale : float, default 1.0
        Factor of the learning rate for W, b and slopes; 0 freezes them.

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
    penalty: Penalty | None = None
    lr_scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", check_integer(self.units, "units", low=1))
        check_choice(self.activation, "activation", ACTIVATIONS)
        check_kernel_init(self.kernel_init, "kernel_init")
        check_bias_init(self.bias_init, "bias_init")
        object.__setattr__(self, "use_bias", check_flag(self.use_bias, "use_bias"))
        check_penalty(self.penalty, "penalty")
        check_number(self.lr_scale, "lr_scale", low=0.0, below=1e30)

    def operations(self, n_in: int, name: str) -> list[Operation]:
        """The affine map, and the activation unless it is the identity."""
        init = KERNEL_INIT[self.activation] if self.kernel_init == "auto" else self.kernel_init
        fans = (n_in, self.units)
        kernel = Parameter(f"{name}/kernel", fans, init, fans)
        bias = Parameter(f"{name}/bias", (self.units,), self.bias_init, fans) if self.use_bias else None
        term = None if self.penalty is None else self.penalty.term()
        dense = Operation(
            DENSE, n_in, self.units, weight=kernel, bias=bias, penalty=term, lr_scale=self.lr_scale
        )
        if self.activation == "identity":
            return [dense]
        return [dense, activation_operation(self.activation, self.units, name, self.lr_scale)]


@dataclass(frozen=True, repr=False)
class Activation(Layer):
    """An activation as a layer of its own, for example after batch normalisation.

    Parameters
    ----------
    name : str
        What `Dense` takes as its activation.
    lr_scale : float, default 1.0
        Factor of the learning rate for the slopes of "prelu".

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is unknown or out of its range.

    Examples
    --------
    >>> import hotloop as hl
    >>> [hl.Dense(64, use_bias=False), hl.BatchNorm(), hl.Activation("relu")]
    [Dense(units=64, use_bias=False), BatchNorm(), Activation(name='relu')]
    """

    name: str
    lr_scale: float = 1.0

    def __post_init__(self) -> None:
        check_choice(self.name, "name", ACTIVATIONS)
        check_number(self.lr_scale, "lr_scale", low=0.0, below=1e30)

    def operations(self, n_in: int, name: str) -> list[Operation]:
        """One row."""
        return [activation_operation(self.name, n_in, name, self.lr_scale)]


@dataclass(frozen=True, repr=False)
class BatchNorm(Layer):
    """Batch normalisation: γ (z − mean) / √(variance + ε) + β for each unit, γ and β learnt.

    In training mean and variance are those of the minibatch, all rows alike, whatever their weights;
    in prediction the running ones, which follow them: running ← momentum · running + (1 − momentum) · batch.

    Parameters
    ----------
    momentum : float, default 0.9
        How much of the running statistics is kept in a step; 0 ≤ momentum < 1. PyTorch's ``momentum`` is
        1 minus this one.
    eps : float, default 1e-5
        ε, above 0.
    lr_scale : float, default 1.0
        Factor of the learning rate for γ and β.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is out of its range; in fit, if minibatches have one row, which has no variance.

    Notes
    -----
    Ioffe & Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift" (2015), algorithms 1 and 2; ``notes/003``. As in PyTorch the minibatch is normalised by
    its variance with 1/n, and the running variance follows the one with 1/(n − 1). A last minibatch of
    a single row is normalised by the running statistics. A bias just before it has no effect:
    ``Dense(units, use_bias=False)`` saves it.

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Dense(8), hl.BatchNorm(), hl.Activation("relu")], input_dim=4)
    >>> list(model.buffers())
    ['batchnorm_0/mean', 'batchnorm_0/variance']
    """

    momentum: float = 0.9
    eps: float = 1e-5
    lr_scale: float = 1.0

    def __post_init__(self) -> None:
        check_number(self.momentum, "momentum", low=0.0, below=1.0)
        check_number(self.eps, "eps", low=1e-30, below=1e30)
        check_number(self.lr_scale, "lr_scale", low=0.0, below=1e30)

    def operations(self, n_in: int, name: str) -> list[Operation]:
        """One row: γ and β in θ, mean and variance among the running statistics."""
        fans = (n_in, n_in)
        return [
            Operation(
                BATCH_NORM, n_in, n_in,
                weight=Parameter(f"{name}/gamma", (n_in,), "ones", fans),
                bias=Parameter(f"{name}/beta", (n_in,), "zeros", fans),
                buffers=(Buffer(f"{name}/mean", n_in, 0.0), Buffer(f"{name}/variance", n_in, 1.0)),
                options=(self.eps, self.momentum), lr_scale=self.lr_scale,
            )
        ]  # fmt: skip


@dataclass(frozen=True, repr=False)
class Dropout(Layer):
    """Dropout: in training each number becomes 0 with probability `rate`, and the others grow to make up.

    Inverted: what is kept is divided by 1 − rate, so prediction changes nothing. The mask follows from
    (the trainer's seed, step, layer, index), whatever the threads, blocks, or a stop and resume.

    Parameters
    ----------
    rate : float
        0 ≤ rate < 1.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If the rate is not such a number.

    Notes
    -----
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).

    Examples
    --------
    >>> import hotloop as hl
    >>> [hl.Dense(64, "relu"), hl.Dropout(0.2), hl.Dense(10)]
    [Dense(units=64, activation='relu'), Dropout(rate=0.2), Dense(units=10)]
    """

    rate: float

    def __post_init__(self) -> None:
        check_number(self.rate, "rate", low=0.0, below=1.0)

    def operations(self, n_in: int, name: str) -> list[Operation]:
        """One row."""
        return [Operation(DROPOUT, n_in, n_in, options=(float(self.rate),))]


@dataclass(frozen=True, repr=False)
class Standardize(Layer):
    """Standardised inputs: (x − mean) / deviation for each feature; the first layer of a model, if at all.

    Mean and deviation (with 1/n) are those of the data of the first `Trainer.fit`, or of
    ``model.standardize(X)``, and are saved with the model; before that the layer changes nothing. A
    feature that is constant is only shifted.

    Notes
    -----
    Keras calls it ``Normalization``, scikit-learn ``StandardScaler``.

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Standardize(), hl.Dense(1)], input_dim=2)
    >>> model.standardize([[1.0, 10.0], [3.0, 30.0]])
    >>> {name: values.tolist() for name, values in model.buffers().items()}
    {'standardize_0/mean': [2.0, 20.0], 'standardize_0/deviation': [1.0, 10.0], 'standardize_0/rows': [2.0]}
    """

    def operations(self, n_in: int, name: str) -> list[Operation]:
        """One row."""
        buffers = (
            Buffer(f"{name}/mean", n_in, 0.0),
            Buffer(f"{name}/deviation", n_in, 1.0),
            Buffer(f"{name}/rows", 1, 0.0),
        )
        return [Operation(STANDARDIZE, n_in, n_in, buffers=buffers)]


def activation_operation(activation: str, n: int, name: str, lr_scale: float) -> Operation:
    """The row of an activation of `n` units."""
    if activation == "prelu":
        slopes = Parameter(f"{name}/slope", (n,), Constant(PRELU_SLOPE), (n, n))
        return Operation(PRELU, n, n, weight=slopes, lr_scale=lr_scale)
    if activation == "softmax":
        return Operation(SOFTMAX, n, n)
    return Operation(ELEMENTWISE, n, n, code=ELEMENTWISE_CODES[activation])


LAYERS: dict[str, type[Layer]] = {
    kind.__name__: kind for kind in (Dense, Activation, BatchNorm, Dropout, Standardize)
}
"""Type name in model files → layer."""

PARTS = CONFIGURABLE | {kind.__name__: kind for kind in PENALTIES}
"""What the fields of a layer may name."""


def layer_from_dict(entry: dict[str, Any]) -> Layer:
    """The layer whose `to_dict` this is."""
    found = spec_from_dict(entry, {**LAYERS, **PARTS})
    if not isinstance(found, Layer):
        raise InvalidTypeError(f"layers: expected a layer, got {found!r}")
    return found

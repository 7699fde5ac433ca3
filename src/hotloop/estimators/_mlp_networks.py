"""From an MLP's parameters to a network, with scikit-learn's initial weights, and to an optimizer."""

import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_choice, check_flag, check_integer, check_number
from hotloop.activations import ACTIVATIONS
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.layers import Activation, BatchNorm, Dense, Dropout, Layer
from hotloop.optimizers import SGD, Adam, Optimizer
from hotloop.sequential import Sequential

__all__ = ["check_parameters", "hidden_layers", "network", "optimizer_of"]

Array = NDArray[Any]

SOLVERS = ("adam", "lbfgs", "sgd")
SEEDS = np.iinfo(np.int32).max


def check_parameters(estimator: Any) -> None:
    """Raise if a parameter of an MLP is not as described; layers and losses are checked as they are made."""
    e = estimator
    check_choice(e.solver, "solver", SOLVERS)
    check_choice(e.learning_rate, "learning_rate", ("adaptive", "constant", "invscaling"))
    for name in ("alpha", "power_t", "tol"):
        check_number(getattr(e, name), name, low=0.0)
    for name in ("learning_rate_init", "epsilon"):
        if check_number(getattr(e, name), name, low=0.0) == 0:
            raise InvalidValueError(f"{name}: must be above 0, got 0")
    for name in ("momentum", "beta_1", "beta_2", "validation_fraction"):
        check_number(getattr(e, name), name, low=0.0, below=1.0)
    for name in ("max_iter", "max_fun"):
        check_integer(getattr(e, name), name, low=1)
    if e.batch_size != "auto":
        check_integer(e.batch_size, "batch_size", low=1)
    if e.n_iter_no_change != np.inf:
        check_integer(e.n_iter_no_change, "n_iter_no_change", low=1)
    flags = "shuffle", "warm_start", "nesterovs_momentum", "early_stopping", "batch_normalization", "progress"
    for name in flags:
        check_flag(getattr(e, name), name)
    if e.optimizer is not None and not isinstance(e.optimizer, Optimizer):
        raise InvalidTypeError(f"optimizer: expected one such as hl.AdamW(1e-3), got {e.optimizer!r}")
    if e.dtype != "auto":
        check_choice(e.dtype, "dtype", ("auto", "float32", "float64"))
    if e.solver == "lbfgs":
        for name in ("optimizer", "callbacks", "dropout"):
            if getattr(e, name):
                raise InvalidValueError(f"{name}: L-BFGS has no use for it; choose solver='adam' or 'sgd'")


def hidden_layers(estimator: Any) -> list[Layer]:
    """The layers before the last one."""
    if estimator.layers is not None:
        return _own_layers(estimator)
    sizes = _sizes(estimator.hidden_layer_sizes)
    activations = _one_each(estimator.activation, "activation", len(sizes), str)
    rates = _one_each(estimator.dropout or 0.0, "dropout", len(sizes), numbers.Real)
    layers: list[Layer] = []
    for units, name, rate in zip(sizes, activations, rates, strict=True):
        check_choice(name, "activation", (*ACTIVATIONS, "logistic"))
        name = "sigmoid" if name == "logistic" else name
        check_number(rate, "dropout", low=0.0, below=1.0)
        if estimator.batch_normalization:
            layers += [Dense(units), BatchNorm(), Activation(name)]
        else:
            layers += [Dense(units, name)]
        layers += [Dropout(rate)] if rate else []
    if estimator.solver == "lbfgs" and estimator.batch_normalization:
        raise InvalidValueError(
            "batch_normalization: L-BFGS has no minibatches; choose solver='adam' or 'sgd'"
        )
    return layers


def network(estimator: Any, n_in: int, n_out: int, dtype: Any, rng: np.random.RandomState) -> Sequential:
    """A new network, its weights drawn from `rng` in scikit-learn's order.

    Without `layers` of the user's own, kernels and biases are uniform within √(6 / (fan_in + fan_out)),
    or √(2 / …) for the logistic activation: Glorot & Bengio (2010), as scikit-learn has it.
    """
    hidden = hidden_layers(estimator)
    own = estimator.layers is not None
    seed = int(rng.randint(SEEDS)) if own else 0
    model = Sequential([*hidden, Dense(n_out)], input_dim=n_in, seed=seed, dtype=np.dtype(dtype).name)
    if own:
        return model
    names = list(
        _one_each(estimator.activation, "activation", len(_sizes(estimator.hidden_layer_sizes)), str)
    )
    last = names[-1] if names else estimator.activation
    values = model.parameters()
    kernels = [name for name in values if name.endswith("/kernel")]
    for kernel, activation in zip(kernels, [*names, last], strict=True):
        fans = values[kernel].shape
        bound = np.sqrt((2.0 if activation in ("logistic", "sigmoid") else 6.0) / sum(fans))
        values[kernel][...] = rng.uniform(-bound, bound, fans)
        values[kernel.replace("/kernel", "/bias")][...] = rng.uniform(-bound, bound, fans[1])
    return model


@dataclass(frozen=True)
class _PlainAdam(Adam):
    """Adam with its ε beside √v, not √v̂, as in scikit-learn and at the end of section 2 of the paper."""

    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Adam's, but ε as it is."""
        found = super().scalars(steps, rates)
        found[:, 1] = 1.0
        return found


def optimizer_of(estimator: Any) -> Optimizer:
    """The optimizer of a minibatch solver."""
    e = estimator
    if e.optimizer is not None:
        found: Optimizer = e.optimizer
        return found
    if e.solver == "sgd":
        return SGD(e.learning_rate_init, e.momentum, bool(e.nesterovs_momentum and e.momentum > 0))
    return _PlainAdam(e.learning_rate_init, (e.beta_1, e.beta_2), e.epsilon)


def _own_layers(estimator: Any) -> list[Layer]:
    layers = estimator.layers
    if isinstance(layers, Layer) or not isinstance(layers, Iterable):
        raise InvalidTypeError(f"layers: expected a list of layers, got {layers!r}")
    found = list(layers)
    for k, layer in enumerate(found):
        if not isinstance(layer, Layer):
            raise InvalidTypeError(f"layers[{k}]: expected a layer such as hl.Dense(10), got {layer!r}")
        if estimator.solver == "lbfgs" and isinstance(layer, (BatchNorm, Dropout)):
            raise InvalidValueError(f"layers[{k}]: L-BFGS has no use for {layer!r}; choose solver='adam'")
    if estimator.dropout or estimator.batch_normalization:
        raise InvalidValueError("dropout, batch_normalization: `layers` says it all; put them into it")
    return found


def _sizes(sizes: Any) -> list[int]:
    found = list(sizes) if isinstance(sizes, Iterable) and not isinstance(sizes, str) else [sizes]
    for size in found:
        if isinstance(size, numbers.Integral) and size <= 0:
            raise InvalidValueError(f"hidden_layer_sizes: must be > 0, got {found}")
    return [check_integer(size, "hidden_layer_sizes", low=1) for size in found]


def _one_each(value: Any, name: str, n: int, single: type) -> list[Any]:
    """`value` for each of `n` hidden layers: one for all, or a list of them."""
    if isinstance(value, single):
        return [value] * n
    if not isinstance(value, (list, tuple)):
        raise InvalidTypeError(
            f"{name}: expected one, or a list with one for each hidden layer, got {value!r}"
        )
    if len(value) != n:
        raise InvalidValueError(f"{name}: has {len(value)} entries for {n} hidden layers")
    return list(value)

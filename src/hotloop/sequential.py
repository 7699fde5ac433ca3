"""`Sequential`: layers, their weights as one flat θ, prediction, and model files."""

import json
import os
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_dtype, check_integer, check_number
from hotloop.activations import ELEMENTWISE_CODES
from hotloop.data.staging import check_rows, column_statistics
from hotloop.engine.amx import is_worth_amx
from hotloop.engine.direct import is_direct
from hotloop.engine.memory import THETA, aligned_zeros, placed_copy, placed_zeros
from hotloop.engine.operations import link
from hotloop.engine.table import (
    BATCH_NORM,
    DENSE,
    ELEMENTWISE,
    STANDARDIZE,
    Net,
    Operation,
    bind,
    buffer_offsets,
    rate_groups,
    theta_offsets,
)
from hotloop.engine.team import check_threads
from hotloop.engine.unit import has_amx
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.files import TensorFile, read_tensors, write_tensors
from hotloop.initializers import initial_values
from hotloop.layers import Dense, Dropout, Layer, Standardize, layer_from_dict
from hotloop.penalties import Penalty, PenaltyTerm
from hotloop.prediction import outputs_as_given, outputs_of, predictor

__all__ = ["Sequential"]

STATE_PREFIX = "optimizer/"
"""Names of tensors that a trainer keeps beside a model's."""


class Sequential:
    """A feed-forward network: layers one after the other, all weights in one flat vector θ.

    Parameters
    ----------
    layers : sequence of Layer
        At least one.
    input_dim : int
        Features of a row, at least 1.
    seed : int, default 0
        The initial weights follow from it.
    dtype : {"float32", "float64"}, default "float32"
        Of θ and of all computation: float32 for training, float64 for checking and curvature.
    uint8_scale : float, default 1.0
        uint8 inputs are multiplied by it as they are read, for example ``1 / 255`` for images. Inputs of
        other dtypes are taken as they are.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Dense(16, "relu"), hl.Dense(3)], input_dim=4)
    >>> model.predict([[5.1, 3.5, 1.4, 0.2]]).shape
    (1, 3)
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        input_dim: int,
        seed: int = 0,
        dtype: str = "float32",
        uint8_scale: float = 1.0,
    ):
        if isinstance(layers, Layer) or not isinstance(layers, Sequence):
            raise InvalidTypeError(f"layers: expected a list of layers, got {layers!r}")
        if not layers:
            raise InvalidValueError("layers: is empty; give at least one, for example [hl.Dense(10)]")
        for k, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise InvalidTypeError(f"layers[{k}]: expected a layer such as hl.Dense(10), got {layer!r}")
        self.layers = tuple(layers)
        self.input_dim = check_integer(input_dim, "input_dim", low=1)
        self.seed = check_integer(seed, "seed", low=0)
        self.dtype = check_dtype(dtype, "dtype")
        largest = float(np.finfo(self.dtype).max) / 255
        self.uint8_scale = check_number(uint8_scale, "uint8_scale", low=-largest, below=largest)
        self._operations = plan(self.layers, self.input_dim)
        self._output_dim = self._operations[-1].n_out  # at hand, since each prediction asks for it
        size = sum(p.size for p, _ in theta_offsets(self._operations))
        self._theta = placed_zeros(size, self.dtype, THETA)
        self._running = aligned_zeros(
            sum(buffer.size for buffer, _ in buffer_offsets(self._operations)), self.dtype
        )
        for name, values in self.buffers().items():
            values[:] = self._initial_buffers()[name]
        self._local = threading.local()
        for k, (parameter, offset) in enumerate(theta_offsets(self._operations)):
            values = initial_values(parameter.init, parameter.shape, parameter.fans, self.seed, k)
            self._theta[offset : offset + parameter.size] = values.ravel()

    @property
    def theta(self) -> NDArray[Any]:
        """All weights, flat, shape (n_parameters,). Write with ``model.theta[:] = values``."""
        return self._theta

    @theta.setter
    def theta(self, values: Any) -> None:
        """Refuse: a new array would leave the parameters' views behind."""
        if values is self._theta:  # model.theta *= 2 has written into it already
            return
        raise InvalidTypeError("theta: is the model's own memory; write into it with model.theta[:] = values")

    @property
    def output_dim(self) -> int:
        """Outputs of the last layer."""
        return self._output_dim

    def parameters(self) -> dict[str, NDArray[Any]]:
        """Named views into θ, in its order: writing to one writes the model.

        Examples
        --------
        >>> import hotloop as hl
        >>> model = hl.Sequential([hl.Dense(2)], input_dim=3)
        >>> {name: value.shape for name, value in model.parameters().items()}
        {'dense_0/kernel': (3, 2), 'dense_0/bias': (2,)}
        """
        return self.views(self._theta)

    def views(self, vector: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The same named views into any vector of θ's shape: a gradient, a direction, an average."""
        return {
            parameter.name: vector[offset : offset + parameter.size].reshape(parameter.shape)
            for parameter, offset in theta_offsets(self._operations)
        }

    @property
    def running(self) -> NDArray[Any]:
        """What is learnt without a gradient (running statistics), flat: the second vector of a model."""
        return self._running

    def buffers(self) -> dict[str, NDArray[Any]]:
        """Named views into `running`: of `BatchNorm` and `Standardize`.

        Examples
        --------
        >>> import hotloop as hl
        >>> model = hl.Sequential([hl.BatchNorm()], input_dim=2)
        >>> model.buffers()["batchnorm_0/variance"]
        array([1., 1.], dtype=float32)
        """
        return {
            buffer.name: self._running[offset : offset + buffer.size]
            for buffer, offset in buffer_offsets(self._operations)
        }

    def _initial_buffers(self) -> dict[str, float]:
        return {buffer.name: buffer.initial for buffer, _ in buffer_offsets(self._operations)}

    @property
    def rate_groups(self) -> list[float]:
        """The distinct `lr_scale` of the layers; 1 first."""
        return rate_groups(self._operations)

    @property
    def has_batch_norm(self) -> bool:
        """Whether a minibatch needs at least two rows."""
        return any(operation.op == BATCH_NORM for operation in self._operations)

    @property
    def needs_standardizing(self) -> bool:
        """Whether there is a `Standardize` layer that has not seen data."""
        return self._operations[0].op == STANDARDIZE and self.buffers()["standardize_0/rows"][0] == 0

    def standardize(self, X: Any) -> None:
        """Fit the `Standardize` layer to the features of `X`, in place of what it had.

        Parameters
        ----------
        X : array-like (n, input_dim)
            As in `predict`; a memory map is read piece by piece, twice.

        Raises
        ------
        InvalidValueError, InvalidTypeError
            If X is not as described, or the model has no such layer.

        Examples
        --------
        >>> import hotloop as hl
        >>> model = hl.Sequential([hl.Standardize(), hl.Dense(1)], input_dim=1)
        >>> model.standardize([[1.0], [3.0]])
        >>> model.buffers()["standardize_0/deviation"]
        array([1.], dtype=float32)
        """
        if self._operations[0].op != STANDARDIZE:
            raise InvalidValueError("model: has no hl.Standardize() layer; make it the first of the layers")
        features = check_rows(X, "X", self.input_dim, self.dtype)
        mean, deviation = column_statistics(features, self.uint8_scale)
        # A constant's deviation is the rounding of its mean, or of its values to the model's dtype; one
        # that is no normal number of the dtype would divide by 0.
        float_info = np.finfo(self.dtype)
        rounding = max(len(features) * np.finfo(np.float64).eps, float(float_info.eps)) * np.abs(mean)
        varies = deviation > np.maximum(rounding, float(float_info.tiny))
        kept = self.buffers()
        kept["standardize_0/mean"][:] = mean
        kept["standardize_0/deviation"][:] = np.where(varies, deviation, 1.0)
        kept["standardize_0/rows"][:] = len(features)

    def check_trainable(self) -> None:
        """Raise `InvalidValueError` if a gradient of this network says nothing."""
        if self._theta.size == 0:
            raise InvalidValueError("model: has no parameters; add a layer such as hl.Dense(10)")
        for k, layer in enumerate(self.layers):
            if "step" in (getattr(layer, "activation", ""), getattr(layer, "name", "")):
                raise InvalidValueError(
                    f"layers[{k}]: the derivative of 'step' is 0 wherever it exists, so no gradient passes "
                    "and nothing before it would learn; train with 'sigmoid' in its place, or a single "
                    "layer with hl.Perceptron"
                )

    def penalties(self, default: Penalty | None) -> list[tuple[str, Dense, Penalty]]:
        """(name of a kernel, its layer, its penalty: that of the layer, or `default`), where there is one."""
        pairs = zip(self.layers, layer_names(self.layers), strict=True)
        found = [(name, layer, layer.penalty or default) for layer, name in pairs if isinstance(layer, Dense)]
        return [(f"{name}/kernel", layer, penalty) for name, layer, penalty in found if penalty is not None]

    @property
    def output_activation(self) -> str:
        """Name of what the last layer ends with; dropout aside, which is not there in prediction."""
        last = [layer for layer in self.layers if not isinstance(layer, Dropout)] or [self.layers[0]]
        return getattr(last[-1], "activation", getattr(last[-1], "name", "identity"))

    def bind(
        self, capacity: int, n_threads: int, penalty: PenaltyTerm | None = None, gathers: bool = False,
        on_unit: Collection[int] = (), direct: bool = False,
    ) -> Net:  # fmt: skip
        """The network's table and fresh memory for batches of `capacity` rows, for the kernels.

        `penalty` is on the kernels whose layers have none. The running statistics are the model's own. With
        `gathers` the loop may be told which rows of the data to take; if it is `direct`, the first layer
        reads them where they lie. `on_unit` has the rows of the table whose products are those of
        `engine.amx`.
        """
        arguments = (self._running, penalty, gathers, on_unit, direct)
        return link(bind(self._operations, capacity, n_threads, self.dtype, *arguments))

    def rows_on_unit(self, capacity: int) -> list[int]:
        """The rows of the table whose products the processor's matrix unit takes, if it has one.

        They are for training with minibatches of up to `capacity` rows (`engine.amx`).
        """
        if self.dtype != np.float32 or not has_amx():
            return []
        rows = enumerate(self._operations)
        return [k for k, row in rows if row.op == DENSE and is_worth_amx(row.n_in, row.n_out, capacity)]

    def is_direct(self, capacity: int, filled: Callable[[int], NDArray[np.bool_]]) -> bool:
        """Whether the first layer had better read inputs where they lie: see `engine.direct`."""
        return is_direct(self._operations[0], capacity, filled)

    def bind_inputs(self, capacity: int) -> Net:
        """`bind` for one thread, with a first row that is the identity: so the inputs have deltas, too."""
        first = Operation(ELEMENTWISE, self.input_dim, self.input_dim, code=ELEMENTWISE_CODES["identity"])
        net = bind([first, *self._operations], capacity, 1, self.dtype, self._running)
        return link(net._replace(first=0))

    def predict(self, X: Any, *, n_threads: int | None = 1) -> NDArray[Any]:
        """Outputs of the last layer, in inference mode.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix (n, input_dim)
            Real, finite numbers; a memory map is read piece by piece, a sparse matrix made dense piece by
            piece.
        n_threads : int or None, default 1
            Threads to share the rows, up to 1,024; None means one for each processor available.

        Returns
        -------
        ndarray (n, output_dim)
            In the model's dtype. For a loss on logits these are logits.

        Raises
        ------
        InvalidValueError, InvalidTypeError
            If X is empty, of another width, not numeric or not finite.
        """
        threads = 1 if type(n_threads) is int and n_threads == 1 else check_threads(n_threads)
        out = outputs_as_given(self, X, threads)
        if out is not None:
            return out
        features = check_rows(X, "X", self.input_dim, self.dtype)
        return outputs_of(self, features, threads)

    def predictor(self, rows: int = 1) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """`predict` for batches of one shape, bound: for loops that wait for each answer.

        Parameters
        ----------
        rows : int, default 1
            Of a batch, at least 1.

        Returns
        -------
        callable
            From an array (rows, input_dim) of the model's dtype, C-contiguous, to a new array
            (rows, output_dim). It looks at dtype and shape, and not at the numbers: NaN and infinity go
            through. It uses the weights of the moment, on one thread; several threads may call it.

        Raises
        ------
        InvalidValueError, InvalidTypeError
            If `rows` is not as described; when called, if the array is not.

        Examples
        --------
        >>> import hotloop as hl, numpy as np
        >>> model = hl.Sequential([hl.Dense(64, "relu"), hl.Dense(2)], input_dim=20)
        >>> control = model.predictor()
        >>> control(np.zeros((1, 20), np.float32))
        array([[0., 0.]], dtype=float32)
        """
        return predictor(self, check_integer(rows, "rows", low=1))

    def net_of_thread(self, capacity: int, n_threads: int) -> tuple[Any, ...]:
        """A `Net` of this thread's own for predictions, as a tuple, kept for the next of the same kind."""
        kept: tuple[int, int, tuple[Any, ...]] | None = getattr(self._local, "net", None)
        if kept is None or kept[0] != capacity or kept[1] != n_threads:
            kept = capacity, n_threads, tuple(self.bind(capacity, n_threads))
            self._local.net = kept
        return kept[2]

    def summary(self) -> None:
        """Print the layers, their shapes, and how many parameters they have."""
        rows, n_in = [("layer", "output", "parameters")], self.input_dim
        rows.append((f"input ({self.dtype})", str(self.input_dim), "0"))
        for layer, name in zip(self.layers, layer_names(self.layers), strict=True):
            operations = layer.operations(n_in, name)
            count = sum(p.size for p, _ in theta_offsets(operations))
            n_in = operations[-1].n_out
            rows.append((f"{name}: {layer!r}", str(n_in), f"{count:,}"))
        rows.append(("total", "", f"{self._theta.size:,}"))
        widths = [max(len(row[k]) for row in rows) for k in range(3)]
        for row in rows:
            print(f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}")

    def __repr__(self) -> str:
        rest = "" if self.uint8_scale == 1.0 else f", uint8_scale={self.uint8_scale!r}"
        return (
            f"Sequential({list(self.layers)!r}, input_dim={self.input_dim}, seed={self.seed}, "
            f"dtype={self.dtype.name!r}{rest})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Memory from a pickle is aligned to nothing in particular.
        self._theta = placed_copy(self._theta, THETA)
        running = aligned_zeros(self._running.size, self.dtype)
        running[:] = self._running
        self._running = running
        self._local = threading.local()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a safetensors file: weights by name, the architecture as metadata.

        The file is written beside `path` and renamed, so a kill at any moment leaves one whole file.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        write_tensors(Path(path), self.tensors(), {"architecture": self.architecture()})

    def tensors(self) -> dict[str, NDArray[Any]]:
        """All arrays of the model by name: parameters and buffers."""
        return self.parameters() | self.buffers()

    def architecture(self) -> str:
        """All but the weights, as JSON: what a model file has as metadata."""
        return json.dumps(
            {
                "layers": [layer.to_dict() for layer in self.layers],
                "input_dim": self.input_dim,
                "seed": self.seed,
                "dtype": self.dtype.name,
                "uint8_scale": self.uint8_scale,
            }
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Sequential":
        """Read a model that `save` wrote, or that of a `Trainer.save`.

        Files are data: no code in them is ever run.

        Raises
        ------
        FileFormatError
            If the file is damaged, truncated, or not a hotloop model.
        NotFoundError
            If there is no such file.

        Examples
        --------
        >>> import hotloop as hl, tempfile, pathlib
        >>> model = hl.Sequential([hl.Dense(2)], input_dim=3)
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> model.save(path)
        >>> hl.Sequential.load(path)
        Sequential([Dense(units=2)], input_dim=3, seed=0, dtype='float32')
        """
        with read_tensors(Path(path)) as file:
            return cls.from_file(file)

    @classmethod
    def from_file(cls, file: TensorFile) -> "Sequential":
        """The model in an open file."""
        architecture = file.metadata_json("architecture")
        with file.complaints("its architecture is not one of hotloop's"):
            layers = [layer_from_dict(entry) for entry in architecture.pop("layers")]
            operations = plan(layers, check_integer(architecture["input_dim"], "input_dim", low=1))
            shapes = {parameter.name: parameter.shape for parameter, _ in theta_offsets(operations)}
            shapes |= {buffer.name: (buffer.size,) for buffer, _ in buffer_offsets(operations)}
            dtype = check_dtype(architecture["dtype"], "dtype")
        # Before any memory is taken: a header may promise more than the file holds.
        file.check_tensors(shapes, dtype, but=(STATE_PREFIX,))
        with file.complaints("its architecture is not one of hotloop's"):
            model = cls(layers, **architecture)
        for name, view in model.tensors().items():
            view[...] = file.tensor(name)
        return model


def layer_names(layers: Sequence[Layer]) -> list[str]:
    """dense_0, dense_1, …: the type in lower case and its number among its kind."""
    seen: dict[str, int] = {}
    names = []
    for layer in layers:
        kind = type(layer).__name__.lower()
        names.append(f"{kind}_{seen.get(kind, 0)}")
        seen[kind] = seen.get(kind, 0) + 1
    return names


def plan(layers: Sequence[Layer], input_dim: int) -> list[Operation]:
    """The operations of all layers, in order."""
    operations: list[Operation] = []
    n_in = input_dim
    for layer, name in zip(layers, layer_names(layers), strict=True):
        if isinstance(layer, Standardize) and operations:
            raise InvalidValueError("layers: Standardize is for the inputs; it must be the first layer")
        operations += layer.operations(n_in, name)
        n_in = operations[-1].n_out
    return operations

"""`Objective`: model, data and loss together, as a function of the flat θ."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_directions, check_dtype, check_flag, check_integer, check_vector
from hotloop.curvature import matrix, products
from hotloop.custom import with_own_loss
from hotloop.data.staging import BLOCK_BYTES, check_samples
from hotloop.engine.curvature import add_penalty_products, gauss_newton_block, hvp_block
from hotloop.engine.jacobian import sample_gradients_block
from hotloop.engine.loop import Block, evaluate_block, gradient_block
from hotloop.engine.memory import aligned_zeros
from hotloop.engine.operations import link
from hotloop.engine.penalise import add_penalties
from hotloop.engine.table import BATCH_NORM, MOMENTUM, OP, PREDICTION, Mode, mask_seed
from hotloop.engine.team import Team, check_threads
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.losses import Criterion, Loss, check_loss, criterion_of, curvature_of
from hotloop.penalties import HAS_LIMIT, Nuclear, Penalty, check_penalty
from hotloop.sequential import Sequential

__all__ = ["Objective"]


class Objective:
    """L(θ): the weighted mean loss of a network over all of some data, and penalties.

    What minimizers, gradient checks and pictures of the loss surface take. The model gives the
    architecture and the dtype; its own weights are never changed.

    Parameters
    ----------
    model : Sequential
        The network.
    X, y : array-like
        Data, as `Trainer.fit` takes them.
    loss : str or Loss
        The loss of a sample, as `Trainer` takes it.
    penalty : Penalty, optional
        On the kernels whose layers have none, as in `Trainer`. Where |w| or a singular value has a kink,
        the gradient is the subgradient with 0 there. `L0` and `MaxNorm` are limits, not functions.
    sample_weight : array-like (n,), optional
        How much each sample counts.
    batch_size : int, default 256
        Rows that go through the network at once: memory, not the result, depends on it.
    n_threads : int or None, default 1
        Threads, up to 1,024; the result is the same for any number.
    training : bool, default False
        False is the network that predicts: running statistics, no dropout. True is the one that is
        trained: `BatchNorm` takes the statistics of each `batch_size` rows (so the result depends on
        it), and `Dropout` the masks of `seed` at step 0, the same at each call.
    seed : int, default 0
        Of the masks of dropout.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Examples
    --------
    >>> import hotloop as hl
    >>> model = hl.Sequential([hl.Dense(1, use_bias=False)], input_dim=1, dtype="float64")
    >>> objective = hl.Objective(model, [[1.0], [2.0]], [2.0, 4.0], loss="mse")
    >>> objective.value([1.0]), objective.gradient([1.0])
    (2.5, array([-5.]))
    """

    def __init__(
        self,
        model: Sequential,
        X: Any,
        y: Any,
        *,
        loss: str | Loss,
        penalty: Penalty | None = None,
        sample_weight: Any = None,
        batch_size: int = 256,
        n_threads: int | None = 1,
        training: bool = False,
        seed: int = 0,
    ):
        if not isinstance(model, Sequential):
            raise InvalidTypeError(f"model: expected a hotloop.Sequential, got {model!r}")
        self.model = model
        self.loss = check_loss(loss, model.output_dim, model.output_activation)
        self.penalty = check_penalty(penalty, "penalty")
        for _, _, found in model.penalties(self.penalty):
            if found.code in HAS_LIMIT:
                raise InvalidValueError(
                    f"penalty: {found!r} is a limit that training keeps, not a part of the loss; leave it out"
                )
        self.training = check_flag(training, "training")
        self.seed = check_integer(seed, "seed", low=0)
        self.batch_size = check_integer(batch_size, "batch_size", low=1)
        self.n_threads = check_threads(n_threads)
        self._given = (X, y, sample_weight)
        self._samples = check_samples(
            X, y, sample_weight, loss=self.loss, n_in=model.input_dim, n_out=model.output_dim,
            dtype=model.dtype, scale=model.uint8_scale,
        )  # fmt: skip
        n = len(self._samples)
        batch = min(self.batch_size, n)
        per_block = max(1, BLOCK_BYTES // (self._samples.row_bytes(model.dtype) * batch)) * batch
        self._net = model.bind(batch, self.n_threads, None if penalty is None else penalty.term())
        if self.training:
            # The running statistics stay those of the model: a function remembers no earlier call, and
            # its gradient does not go through them where a last batch of one row is normalised by them.
            self._net = self._net._replace(running=model.running.copy())
            self._net.options[self._net.table[:, OP] == BATCH_NORM, MOMENTUM] = 1.0
        self._block = self._samples.empty_block(min(per_block, n), model.dtype)
        self._theta = aligned_zeros(self.size, model.dtype)
        self._grad = aligned_zeros(self.size, model.dtype)
        self._nuclear = [
            (name, found) for name, _, found in model.penalties(self.penalty) if isinstance(found, Nuclear)
        ]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        link(self._net)  # addresses of kernels hold in one process alone

    @property
    def size(self) -> int:
        """How many numbers θ has."""
        return self.model.theta.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The model's: of the gradient, and of all numbers on the way."""
        return self.model.dtype

    def value(self, theta: Any) -> float:
        """L(θ).

        Parameters
        ----------
        theta : array-like (size,)
            Finite numbers.

        Raises
        ------
        InvalidValueError, InvalidTypeError
            If θ has the wrong shape or numbers that are not finite.
        """
        return self._run(theta, evaluate_block, ()) + self._add_penalties(None)

    def gradient(self, theta: Any) -> NDArray[Any]:
        """∇L(θ), shape (size,), in the model's dtype. Raises as `value` does."""
        return self.value_and_gradient(theta)[1]

    def value_and_gradient(self, theta: Any) -> tuple[float, NDArray[Any]]:
        """(L(θ), ∇L(θ)), for the price of the gradient. Raises as `value` does."""
        self.model.check_trainable()
        self._grad[:] = 0
        value = self._run(theta, gradient_block, (self._grad,))
        value += self._add_penalties(self._grad)
        return value, self._grad.copy()

    def hvp(self, theta: Any, v: Any) -> NDArray[Any]:
        """∇²L(θ) v, exactly, for at most some three times the price of a gradient.

        Where the loss has a kink (relu and its kin, hard_sigmoid, prelu at 0, hinge, mae, huber at ±δ,
        |w|), its derivatives are those of the side that the gradient takes; on straight pieces the second
        ones are 0. In training mode the derivatives go through the statistics of the batch.

        Parameters
        ----------
        theta : array-like (size,)
            Finite numbers.
        v : array-like (size,) or (k, size)
            A vector, or several: these share a pass, and are cheaper than one by one.

        Returns
        -------
        ndarray
            Of v's shape, in the model's dtype.

        Raises
        ------
        InvalidValueError, InvalidTypeError
            If θ or v has the wrong shape or numbers that are not finite; if the loss is a
            `losses.Custom`, or a penalty is `Nuclear`: no second derivatives are known of these, and
            `numerical_hessian` takes differences.

        Notes
        -----
        Pearlmutter, "Fast exact multiplication by the Hessian" (1994); ``notes/000``, second order.

        Examples
        --------
        >>> import hotloop as hl
        >>> model = hl.Sequential([hl.Dense(1, use_bias=False)], input_dim=1, dtype="float64")
        >>> objective = hl.Objective(model, [[1.0], [2.0]], [2.0, 4.0], loss="mse")
        >>> objective.hvp([1.0], [3.0])  # ∂²/∂w² is 2 (1 + 4) / 2
        array([15.])
        """
        return self._products(hvp_block, theta, v)

    def gauss_newton_product(self, theta: Any, v: Any) -> NDArray[Any]:
        """Jᵀ ∇²loss J v, and the penalties' part: the Hessian without the curvature of the network.

        J is the Jacobian of the outputs by θ. With a loss that is convex in the outputs it has no
        negative eigenvalue; for a linear model it is `hvp`. Takes, returns and raises as `hvp` does.
        Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent" (2002).
        """
        return self._products(gauss_newton_block, theta, v)

    def hessian(self, theta: Any) -> NDArray[Any]:
        """∇²L(θ), shape (size, size), made symmetric: size products, some at once. Raises as `hvp` does."""
        return self._matrix(hvp_block, theta)

    def gauss_newton(self, theta: Any) -> NDArray[Any]:
        """The matrix of `gauss_newton_product`, shape (size, size), made symmetric. Raises as `hvp` does."""
        return self._matrix(gauss_newton_block, theta)

    def per_sample_gradients(self, theta: Any) -> NDArray[Any]:
        """The gradient of each sample's own loss, shape (n, size): without weights and without penalty.

        Their weighted mean is `gradient` less that of the penalties. In training mode each has its
        dropout mask. Raises as `value` does, and where batch normalisation is in training mode, since
        then no sample has a loss of its own.
        """
        self.model.check_trainable()
        if self.training and self.model.has_batch_norm:
            raise InvalidValueError(
                "objective: with batch normalisation in training mode a sample's loss depends on its "
                "batch, so it has no gradient of its own; build the objective with training=False"
            )
        self._theta[:] = check_vector(theta, "theta", self.size, self.dtype)
        out = np.zeros((len(self._samples), 1, self.size), self.dtype)
        criterion, mode = criterion_of(self.loss, self.dtype), self._mode
        with Team(self.n_threads) as team:
            for rows, block in self._blocks(team):
                alike = block._replace(weights=np.ones_like(block.weights))
                arguments = (self._theta, out[rows], len(self._net.row_loss), mode)
                team.run(sample_gradients_block, self._net, alike, criterion, *arguments)
        return out[:, 0]

    def astype(self, dtype: str) -> "Objective":
        """The same function computed in "float32" or "float64"; itself if it is already."""
        if check_dtype(dtype, "dtype") == self.model.dtype:
            return self
        model = Sequential(
            self.model.layers,
            input_dim=self.model.input_dim,
            seed=self.model.seed,
            dtype=dtype,
            uint8_scale=self.model.uint8_scale,
        )
        model.theta[:], model.running[:] = self.model.theta, self.model.running
        X, y, weights = self._given
        return type(self)(
            model, X, y, loss=self.loss, penalty=self.penalty, sample_weight=weights,
            batch_size=self.batch_size, n_threads=self.n_threads, training=self.training, seed=self.seed,
        )  # fmt: skip

    def _add_penalties(self, grad: NDArray[Any] | None) -> float:
        """Add the gradient of all penalties at the last θ to `grad` if it is given; their value."""
        if not self._net.penalised and not self._nuclear:
            return 0.0
        grad = np.zeros_like(self._grad) if grad is None else grad
        value = float(add_penalties(self._net, self._theta, grad))
        for name, penalty in self._nuclear:
            kernel = self.model.views(self._theta)[name]
            value += penalty.value(kernel)
            self.model.views(grad)[name][...] += penalty.gradient(kernel).astype(grad.dtype)
        return value

    def _curvature(self) -> Criterion:
        """The loss as the kernels of second derivatives take it, if all parts have some."""
        self.model.check_trainable()
        if self._nuclear:
            raise InvalidValueError(
                "penalty: Nuclear has no second derivative where a singular value is 0; leave it out, or "
                "use hl.numerical_hessian(objective, theta)"
            )
        return curvature_of(self.loss, self.dtype)

    def _products(self, kernel: Any, theta: Any, v: Any) -> NDArray[Any]:
        curvature, v = self._curvature(), check_directions(v, "v", self.size, self.dtype)
        rows = np.atleast_2d(v)
        out = products(partial(self._run, theta), kernel, self._net, curvature, rows)
        return self._with_penalties(rows, out).reshape(v.shape)

    def _matrix(self, kernel: Any, theta: Any) -> NDArray[Any]:
        run, curvature = partial(self._run, theta), self._curvature()
        H = matrix(run, kernel, self._net, curvature, self.size, self.n_threads)
        return self._with_penalties(np.eye(self.size, dtype=self.dtype), H)

    def _with_penalties(self, v: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
        """`out`, with the penalties' second derivatives times the rows of `v` added."""
        if self._net.penalised:
            for row, product in zip(v, out, strict=True):
                add_penalty_products(self._net, row, product)
        return out

    def _run(self, theta: Any, kernel: Any, outputs: tuple[Any, ...]) -> float:
        """Stage the data block by block and let `kernel` add to `outputs`; the mean loss."""
        self._theta[:] = check_vector(theta, "theta", self.size, self.model.dtype)
        batch, scale = len(self._net.row_loss), 1.0 / self._samples.total_weight
        factors = (scale,) if outputs else ()
        sums, criterion = np.zeros(2), criterion_of(self.loss, self.model.dtype)
        arguments = (*factors, self._theta, *outputs, batch, self._mode, sums)
        with Team(self.n_threads) as team:
            for _, block in self._blocks(team):
                team.run(kernel, self._net, block, criterion, *arguments)
        return float(sums[0] * scale)

    @property
    def _mode(self) -> Mode:
        return Mode(1, mask_seed(self.seed), 0, 0) if self.training else PREDICTION

    def _blocks(self, team: Team) -> Iterator[tuple[slice, Block]]:
        """The data, staged block by block in the same memory, and which rows of it each is."""
        if self.training:
            self._net.running[:] = self.model.running
        n, rows, batch = len(self._samples), len(self._block.weights), len(self._net.row_loss)
        for first in range(0, n, rows):
            part = slice(first, min(first + rows, n))
            block = self._samples.fill(self._block, part)
            yield part, with_own_loss(self.loss, self._net, block, self._theta, batch, self._mode, team)

"""Averages of the weights in place of a schedule: the mean predicts, and training may stop anywhere."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import COUNTABLE, check_integer, check_number
from hotloop._jit import kernel, kernel_exact
from hotloop.engine.mathfun import quotient
from hotloop.optimizers.base import Optimizer, check_betas, one_minus_power
from hotloop.schedules import ScheduleFunction

__all__ = ["ScheduleFreeAdamW", "ScheduleFreeSGD", "schedule_free_step"]

SCHEDULE_FREE_SGD_CODE = 11
SCHEDULE_FREE_ADAMW_CODE = 12

CHUNK = 1024
"""Steps after which the sum of the averaging weights is kept."""


class ScheduleFree(Optimizer, ABC):
    """What they share: the iterate z that takes the steps, its average x, and y between the two.

    In training θ is y, where the gradient is taken; else it is x. (No dataclass of its own: the fields
    stand in the order of each member.)
    """

    weight_decay: float
    warmup_steps: int
    r: float
    weight_lr_power: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.weight_decay, "weight_decay", low=0.0)
        check_integer(self.warmup_steps, "warmup_steps", low=0, below=COUNTABLE)
        check_number(self.r, "r", low=0.0)
        check_number(self.weight_lr_power, "weight_lr_power", low=0.0)

    @property
    @abstractmethod
    def share_of_average(self) -> float:
        """β: how much of y is x."""

    def rates(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The learning rate of each step, counted from 0, with the warm-up."""
        return super().rates(steps) * np.minimum((steps + 1) / max(self.warmup_steps, 1), 1.0)

    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """(ηₜ, cₜ, whether it is the first step) of consecutive steps; no scale of the rates changes cₜ."""
        first = int(steps[0]) if steps.size else 0
        chunk = first // CHUNK
        for k in range(len(self._edges) - 1, chunk):
            _, edge = self._averaging(np.arange(k * CHUNK, (k + 1) * CHUNK), self._edges[k])
            self._edges[k + 1] = edge
        # Always from the start of a chunk, so that no sum depends on how the steps come in blocks.
        before = first - chunk * CHUNK
        wanted = np.arange(chunk * CHUNK, first + steps.size)
        shares, _ = self._averaging(wanted, self._edges[chunk])
        return np.column_stack((rates, shares[before:], steps == 0))

    @cached_property
    def _edges(self) -> dict[int, tuple[float, float]]:
        """The largest rate and the sum of the weights before step k · `CHUNK`, as far as they were needed.

        To go on from step n in a new process takes all n weights once; after that, those of a chunk.
        """
        return {0: (0.0, 0.0)}

    def _averaging(
        self, steps: NDArray[np.int64], before: tuple[float, float]
    ) -> tuple[NDArray[np.float64], tuple[float, float]]:
        """cₜ of each step, and what comes before the step after them."""
        rates = self.rates(steps)
        largest = np.maximum.accumulate(np.append(before[0], rates))
        weights = (steps + 1.0) ** self.r * largest[1:] ** self.weight_lr_power
        sums = np.cumsum(np.append(before[1], weights))
        # As long as all rates are 0, z stays where it is, and so does its average.
        shares = np.divide(weights, sums[1:], out=np.zeros_like(weights), where=sums[1:] > 0)
        return shares, (float(largest[-1]), float(sums[-1]))

    def to_training(self, theta: NDArray[Any], state: NDArray[Any], steps_done: int) -> None:
        """θ ← y; weights that were written since then replace z and x."""
        if steps_done == 0:
            return
        z, x = state[0], state[1]
        if not np.array_equal(theta, x):
            x[:] = theta
            z[:] = theta
        # z + β (x − z), in the operations of the kernels, so that y is theirs to the last bit.
        np.subtract(x, z, out=theta)
        theta *= theta.dtype.type(self.share_of_average)
        theta += z

    def to_evaluation(self, theta: NDArray[Any], state: NDArray[Any], steps_done: int) -> None:
        """θ ← x."""
        if steps_done > 0:
            theta[:] = state[1]


@dataclass(frozen=True)
class ScheduleFreeSGD(ScheduleFree):
    """Gradient descent whose average predicts, without a schedule.

    .. math::
        y_t &= (1−β) z_t + β x_t, \\qquad g_t = ∇L(y_t) + λ y_t \\\\
        z_{t+1} &= z_t − η_t g_t, \\qquad x_{t+1} = (1−c_t) x_t + c_t z_{t+1} \\\\
        c_t &= w_t / \\sum_{i≤t} w_i, \\qquad w_t = t^r \\, (\\max_{i≤t} η_i)^p

    from z₁ = x₁ = θ. The model holds y inside an epoch, and x, which is better, whenever you look at it:
    after each epoch, for validation, callbacks, `predict` and files. (The training loss is that at y.)

    Parameters
    ----------
    lr : float or callable, default 1.0
        The rate η; ten times that of `SGD`, or more. A schedule is possible, and should not be needed.
    momentum : float, default 0.9
        β, at least 0 and below 1: how near to the average x the gradient is taken.
    weight_decay : float, default 0.0
        λ, of all of θ, as part of the gradient at y.
    warmup_steps : int, default 0
        η grows in equal parts over as many steps, as under the schedule `Warmup`.
    r : float, default 0.0
        r, at least 0: above 0, later steps weigh more in the average.
    weight_lr_power : float, default 2.0
        p, at least 0: how little the steps of a warm-up weigh in the average.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Defazio et al., "The road less scheduled" (2024), section 1; the weights of the average are
    those of the authors' package ``schedulefree``, whose ``SGDScheduleFree`` takes the same steps.

    Use it where you do not know how long you will train: `Cosine` and its kin must be told when to end,
    here each epoch ends as if the rate had been taken down for it.

    Batch normalisation follows y in training, and x predicts with its statistics, which are near by. A
    penalty that changes θ after the step (soft threshold, `L0`, `MaxNorm`, `Nuclear`) would change
    y alone, so the trainer refuses it.

    Weights written into ``model.theta`` between epochs count: they replace x and z. The average then
    treats them as all of its past; for a new one, make a new `Trainer`.

    Examples
    --------
    >>> import hotloop as hl
    >>> X, y = hl.data.synthetic_digits(500, seed=0)
    >>> model = hl.Sequential([hl.Dense(32, "relu"), hl.Dense(10)], input_dim=784, uint8_scale=1 / 255)
    >>> optimizer = hl.ScheduleFreeSGD(1.0, warmup_steps=20)
    >>> trainer = hl.Trainer(model, loss="softmax_cross_entropy", optimizer=optimizer, batch_size=25)
    >>> history = trainer.fit(X, y, epochs=10)
    >>> trainer.evaluate(X, y)["accuracy"] > 0.9
    True
    """

    lr: float | ScheduleFunction = 1.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup_steps: int = 0
    r: float = 0.0
    weight_lr_power: float = 2.0

    code: ClassVar[int] = SCHEDULE_FREE_SGD_CODE
    slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.momentum, "momentum", low=0.0, below=1.0)

    @property
    def share_of_average(self) -> float:
        """β."""
        return self.momentum

    def kernel(self) -> Any:
        """That of its family."""
        return schedule_free_step

    def hyper(self) -> tuple[float, ...]:
        """(β, λ)."""
        return (self.momentum, self.weight_decay)


@dataclass(frozen=True)
class ScheduleFreeAdamW(ScheduleFree):
    """Adam whose average predicts, without a schedule.

    .. math::
        y_t &= (1−β_1) z_t + β_1 x_t, \\qquad g_t = ∇L(y_t) \\\\
        v &← β_2 v + (1−β_2) g_t², \\qquad \\hat v = v/(1−β_2^t) \\\\
        z_{t+1} &= z_t − η_t \\left( g_t / (\\sqrt{\\hat v} + ε) + λ y_t \\right), \\qquad
        x_{t+1} = (1−c_t) x_t + c_t z_{t+1}

    with cₜ, and the places of x, y and z, as in `ScheduleFreeSGD`.

    Parameters
    ----------
    lr : float or callable, default 0.0025
        The rate η; one to ten times as large as `AdamW`'s under a schedule. It may be one itself.
    betas : (float, float), default (0.9, 0.999)
        β₁, how near to the average x the gradient is taken, and β₂; each at least 0 and below 1.
    eps : float, default 1e-8
        ε, added outside the root.
    weight_decay : float, default 0.0
        λ, decoupled, of all of θ at y.
    warmup_steps : int, default 0
        η grows in equal parts over as many steps.
    r : float, default 0.0
        As in `ScheduleFreeSGD`.
    weight_lr_power : float, default 2.0
        As in `ScheduleFreeSGD`.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Defazio et al., "The road less scheduled" (2024), algorithm 1, but with the correction of v, not of
    the rate, as in the authors' package ``schedulefree``, whose ``AdamWScheduleFree`` takes the same steps.
    When to use it, and what becomes of weights that you write: see `ScheduleFreeSGD`.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.ScheduleFreeAdamW(warmup_steps=100).betas
    (0.9, 0.999)
    """

    lr: float | ScheduleFunction = 2.5e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup_steps: int = 0
    r: float = 0.0
    weight_lr_power: float = 2.0

    code: ClassVar[int] = SCHEDULE_FREE_ADAMW_CODE
    slots: ClassVar[int] = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "betas", check_betas(self.betas))
        check_number(self.eps, "eps", low=0.0)

    @property
    def share_of_average(self) -> float:
        """β₁."""
        return self.betas[0]

    def kernel(self) -> Any:
        """That of its family."""
        return schedule_free_step

    def hyper(self) -> tuple[float, ...]:
        """(β₁, λ, β₂, ε)."""
        return (self.betas[0], self.weight_decay, self.betas[1], self.eps)

    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """(ηₜ, cₜ, whether it is the first step, 1 / √(1 − β₂ᵗ))."""
        correction = 1.0 / np.sqrt(one_minus_power(self.betas[1], steps + 1.0))
        return np.column_stack((super().scalars(steps, rates), correction))


@kernel
def start_averages(theta, z, x):
    """z, x ← θ."""
    for i in range(len(theta)):
        z[i] = theta[i]
        x[i] = theta[i]


@kernel_exact
def schedule_free_sgd_step(theta, grad, z, x, rate, share, momentum, weight_decay):
    """A step of `ScheduleFreeSGD`: θ is y, before and after."""
    number = theta.dtype.type
    eta, c, beta, decay = number(rate), number(share), number(momentum), number(weight_decay)
    for i in range(len(theta)):
        z_i, x_i = z[i], x[i]
        z_i -= eta * (grad[i] + decay * theta[i])
        x_i += c * (z_i - x_i)
        theta[i] = z_i + beta * (x_i - z_i)
        z[i], x[i] = z_i, x_i


@kernel_exact
def schedule_free_adamw_step(
    theta, grad, z, x, v, rate, share, root_correction, momentum, weight_decay, beta2, eps
):
    """A step of `ScheduleFreeAdamW`: θ is y, before and after; `momentum` is β₁."""
    number = theta.dtype.type
    eta, c, beta, decay = number(rate), number(share), number(momentum), number(weight_decay)
    keep, take = number(beta2), number(1.0 - beta2)
    correction, epsilon = number(root_correction), number(eps)
    for i in range(len(theta)):
        g, v_i, z_i, x_i, theta_i = grad[i], v[i], z[i], x[i], theta[i]
        v_i = keep * v_i + take * g * g
        scaled = quotient(g, np.sqrt(v_i) * correction + epsilon)
        z_i -= eta * (scaled + decay * theta_i)
        x_i += c * (z_i - x_i)
        theta[i] = z_i + beta * (x_i - z_i)
        v[i], z[i], x[i] = v_i, z_i, x_i


@kernel
def schedule_free_step(code, hyper, scalars, state, theta, grad, lo, hi):
    """A step on θ[lo:hi] of the member with this code."""
    theta, z, x = theta[lo:hi], state[0][lo:hi], state[1][lo:hi]
    rate, share, beta, weight_decay = scalars[0], scalars[1], hyper[0], hyper[1]
    if scalars[2] != 0.0:
        start_averages(theta, z, x)
    if code == SCHEDULE_FREE_SGD_CODE:
        schedule_free_sgd_step(theta, grad, z, x, rate, share, beta, weight_decay)
    else:
        v, correction, beta2, eps = state[2][lo:hi], scalars[3], hyper[2], hyper[3]
        schedule_free_adamw_step(
            theta, grad, z, x, v, rate, share, correction, beta, weight_decay, beta2, eps
        )  # fmt: skip

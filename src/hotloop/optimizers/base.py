"""What all optimizers share: an immutable description that turns into numbers for its kernel."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_number
from hotloop.errors import InvalidTypeError, InvalidValueError
from hotloop.schedules import ScheduleFunction

__all__ = ["Optimizer", "TwoAverages", "adam_corrections", "check_betas", "one_minus_power"]


@dataclass(frozen=True)
class Optimizer(ABC):
    """Base of all optimizers: immutable; what changes while training lives in the trainer."""

    lr: float | ScheduleFunction

    code: ClassVar[int]
    slots: ClassVar[int]
    """Vectors of θ's shape that the state needs."""

    def __post_init__(self) -> None:
        if isinstance(self.lr, type):
            raise InvalidTypeError(f"lr: expected a schedule such as hl.Cosine(...), got the class {self.lr}")
        if not callable(self.lr):
            check_number(self.lr, "lr", low=0.0)

    @abstractmethod
    def kernel(self) -> Any:
        """That of its family, (code, hyper, scalars, state, theta, grad, lo, hi): a step on θ[lo:hi].

        `grad` is the gradient of these numbers alone, (hi − lo,).
        """

    def single_kernels(self, n_out: int) -> tuple[Any, Any]:
        """What steps on a layer of so many units for one sample, whose gradient x δᵀ is written nowhere.

        The first is (net, k, hyper, scalars, state, theta, source, offset, lo, hi): a step on rows lo:hi of
        the kernel of row k of the table, for the sample at source[offset:]. The second is (net, hyper,
        scalars, state, theta, source, offset, samples, coming): a step on that of row 0, and its outputs for
        the sample at samples[coming:]. None where there is none.
        """
        return None, None

    @abstractmethod
    def hyper(self) -> tuple[float, ...]:
        """The numbers that the kernel reads, in its order."""

    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """The numbers of each step, counted from 0, that the kernel reads: (steps, numbers).

        What depends on the step alone is computed here, for a whole block at once: by default the rate.
        `rates` are those of the steps, with what multiplies them.
        """
        return rates[:, None]

    def rates(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The learning rate of each step, counted from 0."""
        if not callable(self.lr):
            return np.full(steps.shape, float(self.lr))
        returned = np.asarray(self.lr(steps))
        rates = returned.astype(np.float64) if returned.dtype.kind in "iuf" else np.empty(0)
        if rates.shape != steps.shape or not np.all(np.isfinite(rates)) or np.any(rates < 0):
            raise InvalidValueError(
                f"lr: the schedule {self.lr!r} must return one finite rate >= 0 for each of the "
                f"{steps.size} steps it is given; it returned {returned!r}"
            )
        return rates

    # Most optimizers need neither of the next two: empty on purpose.
    def to_training(  # noqa: B027
        self, theta: NDArray[Any], state: NDArray[Any], steps_done: int
    ) -> None:
        """Before an epoch: put into θ what the steps start from. By default the weights that predict."""

    def to_evaluation(  # noqa: B027
        self, theta: NDArray[Any], state: NDArray[Any], steps_done: int
    ) -> None:
        """After an epoch, also one cut short: put into θ what predicts. By default it stays as it is."""


@dataclass(frozen=True)
class TwoAverages(Optimizer, ABC):
    """What Adam and its kin share: a running mean m of the gradient, and v or its kin, for its size."""

    lr: float | ScheduleFunction = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    @property
    def slots(self) -> int:  # type: ignore[override]
        """m and v."""
        return 2

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "betas", check_betas(self.betas))
        check_number(self.eps, "eps", low=0.0)

    def hyper(self) -> tuple[float, ...]:
        """(β₁, β₂, ε)."""
        return (*self.betas, self.eps)

    @abstractmethod
    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """The numbers of each step that the kernel reads: (steps, numbers)."""


def check_betas(betas: Any) -> tuple[float, float]:
    """`betas` as a pair of numbers, each at least 0 and below 1."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise InvalidTypeError(f"betas: expected a pair of numbers (β₁, β₂), got {betas!r}")
    return (
        check_number(betas[0], "betas[0]", low=0.0, below=1.0),
        check_number(betas[1], "betas[1]", low=0.0, below=1.0),
    )


def adam_corrections(
    steps: NDArray[np.int64], rates: NDArray[np.float64], betas: tuple[float, float], columns: int = 2
) -> NDArray[np.float64]:
    """(η √(1 − β₂ᵗ) / (1 − β₁ᵗ), √(1 − β₂ᵗ)) for t = step + 1, and room for further columns.

    The averages of Adam and its kin start at 0; these two take that bias out, in the order that their paper
    names at the end of section 2: m and √v stay as they are, the one multiplies the rate, the other ε.
    """
    t = steps + 1.0
    scalars = np.empty((len(steps), columns))
    scalars[:, 1] = np.sqrt(one_minus_power(betas[1], t))
    scalars[:, 0] = rates * scalars[:, 1] / one_minus_power(betas[0], t)
    return scalars


def one_minus_power(beta: float, t: NDArray[Any]) -> NDArray[np.float64]:
    """1 − βᵗ: exact where it is small, and no slower where βᵗ underflows, as the power is."""
    return -np.expm1(t * (math.log(beta) if beta > 0.0 else -math.inf))

"""Penalties and limits on kernels: for each its public description, and its kernel.

A penalty adds a term to the loss, for each kernel W by itself; a limit is kept by changing W after
the step. Biases and the parameters of batch normalisation are left alone. To add one: a code
(append-only), a frozen dataclass, a kernel, a row in `PENALTIES`, and its branch in
`engine.penalise`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import COUNTABLE, check_flag, check_integer, check_number
from hotloop._jit import kernel, kernel_exact
from hotloop.errors import InvalidTypeError

__all__ = ["L0", "L1", "L2", "PENALTIES", "ElasticNet", "MaxNorm", "Nuclear", "Penalty", "PenaltyTerm"]

ZERO = np.float32(0)

# Codes (append-only).
GRADIENT = 1  # λ₁ Σ|w| + ½ λ₂ Σw² through its (sub)gradient
PROXIMAL = 2  # the same, but |w| by soft threshold after the step
L0_CODE = 3
MAX_NORM = 4
NUCLEAR = 5

HAS_GRADIENT = (GRADIENT, PROXIMAL)
"""Codes with a value and a gradient that the training loop adds."""
HAS_LIMIT = (L0_CODE, MAX_NORM)
"""Codes that the training loop keeps after each step."""

HALVINGS = 2200
"""At most, of the interval in which `keep_largest` looks for its threshold: enough from the largest float64
to the smallest. It ends as soon as no number lies between, after some 30 in float32, 60 in float64."""
LARGEST = 1e30


class PenaltyTerm(NamedTuple):
    """A penalty as numbers: what the kernels read."""

    code: int
    options: tuple[float, float]
    rows: int = 0
    """It is that of a minibatch of so many rows, and goes with 1 / rows; 0: the same for all minibatches."""


@dataclass(frozen=True)
class Penalty(ABC):
    """Base of all penalties: immutable; give one to a layer, or to `Trainer` for all kernels."""

    code: ClassVar[int]

    @abstractmethod
    def options(self) -> tuple[float, float]:
        """The two numbers that the kernel reads."""

    def term(self) -> PenaltyTerm:
        """This penalty as the kernels take it."""
        return PenaltyTerm(self.code, self.options())


@dataclass(frozen=True)
class L1(Penalty):
    """λ Σ|w|: pulls weights to 0; with ``proximal=True`` many become exactly 0.

    Parameters
    ----------
    strength : float
        λ, at least 0.
    proximal : bool, default False
        False takes the subgradient λ sign(w), 0 at w = 0. True leaves |w| out of the gradient and
        shrinks each weight by ηλ after the step, stopping at 0 (soft threshold), η being the step's
        learning rate, also for optimizers that scale their steps by something else: with those, or with
        momentum, training settles at other weights than with the subgradient.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Notes
    -----
    ``notes/001`` and ``notes/002``. Tibshirani, "Regression shrinkage and selection via the lasso"
    (1996); the proximal step: Parikh & Boyd, "Proximal algorithms" (2014), section 6.5.2.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Dense(64, "relu", penalty=hl.L1(1e-4, proximal=True))
    Dense(units=64, activation='relu', penalty=L1(strength=0.0001, proximal=True))
    """

    strength: float
    proximal: bool = False

    def __post_init__(self) -> None:
        check_strength(self.strength, "strength")
        object.__setattr__(self, "proximal", check_flag(self.proximal, "proximal"))

    @property
    def code(self) -> int:  # type: ignore[override]
        """Whether |w| acts by its subgradient or by soft threshold."""
        return PROXIMAL if self.proximal else GRADIENT

    def options(self) -> tuple[float, float]:
        """(λ, 0)."""
        return (self.strength, 0.0)


@dataclass(frozen=True)
class L2(Penalty):
    """½ λ Σw², with gradient λw: keeps weights small (weight decay, ridge, Tikhonov).

    Parameters
    ----------
    strength : float
        λ, at least 0. Where a library or ``notes/001`` has no ½, its λ is half of this one. With Adam,
        `AdamW`'s decay is something else: it is not part of the gradient.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If λ is not such a number.

    Notes
    -----
    ``notes/001``, ``notes/002`` (ridge); the negative logarithm of a Gaussian prior of variance 1/λ.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.L2(1e-4)
    L2(strength=0.0001)
    """

    strength: float

    code: ClassVar[int] = GRADIENT

    def __post_init__(self) -> None:
        check_strength(self.strength, "strength")

    def options(self) -> tuple[float, float]:
        """(0, λ)."""
        return (0.0, self.strength)


@dataclass(frozen=True)
class ElasticNet(Penalty):
    """λ Σ (½ β w² + |w|): `L1` and `L2` together.

    Parameters
    ----------
    strength : float
        λ, at least 0.
    beta : float
        β, at least 0: how much of the square for each absolute value.
    proximal : bool, default False
        As in `L1`; the square always acts through its gradient.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Notes
    -----
    ``notes/001``. Zou & Hastie, "Regularization and variable selection via the elastic net" (2005).
    scikit-learn's ``alpha`` and ``l1_ratio`` are λ = alpha l1_ratio, β = (1 − l1_ratio) / l1_ratio.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.ElasticNet(1e-4, beta=0.5)
    ElasticNet(strength=0.0001, beta=0.5, proximal=False)
    """

    strength: float
    beta: float
    proximal: bool = False

    def __post_init__(self) -> None:
        check_strength(self.strength, "strength")
        check_strength(self.beta, "beta")
        object.__setattr__(self, "proximal", check_flag(self.proximal, "proximal"))

    @property
    def code(self) -> int:  # type: ignore[override]
        """Whether |w| acts by its subgradient or by soft threshold."""
        return PROXIMAL if self.proximal else GRADIENT

    def options(self) -> tuple[float, float]:
        """(λ, λβ)."""
        return (self.strength, self.strength * self.beta)


@dataclass(frozen=True)
class L0(Penalty):
    """A limit on the number of weights: after each step the k largest of a kernel stay, the rest is 0.

    Parameters
    ----------
    k : int
        Weights to keep in each kernel, at least 1; of equal ones the first. A kernel with no more than
        k weights is left alone.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If k is not such a number.

    Notes
    -----
    ``notes/002``, the 0-norm. Blumensath & Davies, "Iterative hard thresholding for compressed
    sensing" (2009).

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Dense(1, penalty=hl.L0(10))
    Dense(units=1, penalty=L0(k=10))
    """

    k: int

    code: ClassVar[int] = L0_CODE

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", check_integer(self.k, "k", low=1, below=COUNTABLE))

    def options(self) -> tuple[float, float]:
        """(k, 0)."""
        return (float(self.k), 0.0)


@dataclass(frozen=True)
class MaxNorm(Penalty):
    """A limit on the weights into each unit: after each step a longer column W[:, j] is scaled to it.

    Parameters
    ----------
    limit : float
        The largest 2-norm of a unit's incoming weights, above 0; 3 to 4 is usual with dropout.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If the limit is not such a number.

    Notes
    -----
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014),
    section 5.1. As Keras' ``MaxNorm(limit, axis=0)``.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Dense(64, "relu", penalty=hl.MaxNorm(3.0))
    Dense(units=64, activation='relu', penalty=MaxNorm(limit=3.0))
    """

    limit: float

    code: ClassVar[int] = MAX_NORM

    def __post_init__(self) -> None:
        check_number(self.limit, "limit", low=1e-30, below=LARGEST)

    def options(self) -> tuple[float, float]:
        """(limit, 0)."""
        return (self.limit, 0.0)


@dataclass(frozen=True)
class Nuclear(Penalty):
    """λ Σσᵢ, the singular values of a kernel: pulls it to a low rank, by its proximal step.

    After every `every`-th step the singular values shrink by λ times the learning rates since the
    last time, stopping at 0. That takes a singular value decomposition, which costs far more than a
    step of training on a small minibatch: hence `every`.

    Parameters
    ----------
    strength : float
        λ, at least 0.
    every : int, default 10
        Steps from one decomposition to the next, at least 1.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Notes
    -----
    ``notes/002``, the nuclear norm. Cai, Candès & Shen, "A singular value thresholding algorithm for
    matrix completion" (2010), theorem 2.1.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Nuclear(1e-3, every=20)
    Nuclear(strength=0.001, every=20)
    """

    strength: float
    every: int = 10

    code: ClassVar[int] = NUCLEAR

    def __post_init__(self) -> None:
        check_strength(self.strength, "strength")
        object.__setattr__(self, "every", check_integer(self.every, "every", low=1))

    def options(self) -> tuple[float, float]:
        """(λ, 0)."""
        return (self.strength, 0.0)

    def value(self, w: NDArray[Any]) -> float:
        """λ Σσᵢ of a kernel (fan_in, units)."""
        return self.strength * float(np.linalg.svd(w.astype(np.float64), compute_uv=False).sum())

    def gradient(self, w: NDArray[Any]) -> NDArray[np.float64]:
        """λ U Vᵀ: the gradient where all singular values are above 0, a subgradient elsewhere."""
        u, s, v = np.linalg.svd(w.astype(np.float64), full_matrices=False)
        return np.asarray(self.strength * (u * (s > 1e-12 * s[0])) @ v)

    def shrink(self, w: NDArray[Any], rate: float) -> None:
        """Soft threshold of the singular values by `rate` λ, in place."""
        if w.dtype == np.float32:
            self._shrink_by_gram(w if w.shape[0] >= w.shape[1] else w.T, rate)
            return
        u, s, v = np.linalg.svd(w, full_matrices=False)
        w[...] = (u * np.maximum(s - rate * self.strength, 0.0)) @ v

    def _shrink_by_gram(self, w: NDArray[Any], rate: float) -> None:
        """The same through the eigenvectors of WᵀW, several times as fast.

        It finds singular values to 1e-8 of the largest, which is below the rounding of float32.
        """
        squares, v = np.linalg.eigh(w.T.astype(np.float64) @ w)
        s = np.sqrt(np.maximum(squares, 0.0))
        kept = np.maximum(1.0 - rate * self.strength / np.maximum(s, 1e-300), 0.0)
        w[...] = w @ ((v * kept) @ v.T)


PENALTIES: tuple[type[Penalty], ...] = (L1, L2, ElasticNet, L0, MaxNorm, Nuclear)
"""All members: what a file may name."""


def check_strength(value: Any, name: str) -> float:
    """`value`, if it is a number of at least 0 that fits float32."""
    return check_number(value, name, low=0.0, below=LARGEST)


def check_penalty(value: Any, name: str) -> Penalty | None:
    """`value`, if it is a penalty or None."""
    if value is not None and not isinstance(value, Penalty):
        raise InvalidTypeError(f"{name}: expected a penalty such as hl.L2(1e-4), or None, got {value!r}")
    return value


@kernel_exact
def penalty_gradient(w, grad, l1, l2):
    """grad += λ₁ sign(w) + λ₂ w, with sign(0) = 0."""
    number = w.dtype.type
    a, b = number(l1), number(l2)
    if l1 == 0.0:
        for i in range(len(w)):
            grad[i] += b * w[i]
        return
    for i in range(len(w)):
        step = a if w[i] > ZERO else (-a if w[i] < ZERO else ZERO)
        grad[i] += step
        grad[i] += b * w[i]


@kernel
def penalty_value(w, l1, l2):
    """λ₁ Σ|w| + ½ λ₂ Σw², in float64."""
    total, squares = 0.0, 0.0
    for i in range(len(w)):
        x = np.float64(w[i])
        total += abs(x)
        squares += x * x
    return l1 * total + 0.5 * l2 * squares


@kernel_exact
def soft_threshold(w, amount):
    """Each weight nearer to 0 by `amount`, and not beyond; a divergence stays one (NaN, ∞ − ∞)."""
    t = w.dtype.type(amount)
    for i in range(len(w)):
        nearer = w[i] - t if w[i] > ZERO else w[i] + t
        w[i] = ZERO if abs(w[i]) < t else nearer


@kernel
def count_above(w, threshold):
    """How many |w| are above `threshold`."""
    count = 0
    for i in range(len(w)):
        count += 1 if abs(w[i]) > threshold else 0
    return count


@kernel
def keep_largest(w, k):
    """Set all but the k largest |w| to 0; of equal ones the first are kept.

    The threshold is found by halving: no sort, no memory, and each look at w vectorises. What is not
    finite is never set to 0: a divergence must be seen.
    """
    if len(w) <= k:
        return
    low = w.dtype.type(0)
    high = low
    for i in range(len(w)):
        high = max(high, abs(w[i]))
    if count_above(w, low) <= k or high == np.inf:
        return
    # More than k lie above low, at most k above high.
    for _ in range(HALVINGS):
        middle = low + (high - low) / w.dtype.type(2)
        if middle <= low or middle >= high:
            break
        if count_above(w, middle) > k:
            low = middle
        else:
            high = middle
    ties = k - count_above(w, high)
    for i in range(len(w)):
        size = abs(w[i])
        if size <= high:
            if size > low and ties > 0:
                ties -= 1
            else:
                w[i] = ZERO


@kernel_exact
def limit_norms(w, n_cols, lo, hi, limit, squares):
    """Scale columns lo:hi of the matrix `w` (flat) whose 2-norm is above `limit`.

    One whose norm is no finite number of the dtype becomes NaN, not 0: a divergence must be seen.
    `squares` is scratch of n_cols numbers.
    """
    n_rows = len(w) // n_cols
    sums = squares[lo:hi]
    sums[:] = 0
    for i in range(n_rows):
        row = w[i * n_cols + lo : i * n_cols + hi]
        for j in range(len(row)):
            sums[j] += row[j] * row[j]
    most = w.dtype.type(limit)
    for j in range(len(sums)):
        norm = np.sqrt(sums[j])
        sums[j] = most / norm if norm > most else w.dtype.type(1)
        if norm == np.inf:
            sums[j] = np.nan
    for i in range(n_rows):
        row = w[i * n_cols + lo : i * n_cols + hi]
        for j in range(len(row)):
            row[j] *= sums[j]

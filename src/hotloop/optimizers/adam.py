"""Adam and AdamW: a running mean of the gradient over a running root mean square.

`adam_step` is the loop to read. Training spends most of its time in this, beside products, so it is also
written as vectors (`adam_vector`), of which `engine.strip` makes three loops: over a gradient in memory, and
for a single sample two that make the gradient, and the next sample's outputs, as they pass.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_flag, check_number
from hotloop._jit import INTRINSICS, distinct, kernel, kernel_exact, kernel_in_order
from hotloop.engine.lone import begin_outputs
from hotloop.engine.mathfun import less_quotient, quotient
from hotloop.engine.strip import FEWEST_UNITS, steps_of, strips_of
from hotloop.engine.table import DELTA, N_IN, N_OUT, VALUE, WEIGHT
from hotloop.optimizers.base import TwoAverages, adam_corrections

__all__ = ["Adam", "AdamW"]

ADAM_CODE = 1
SHORTEST_MEMORY = 0.5
"""The least β of `adam_vector`, whose averages would lose small numbers that follow large ones below it."""


class _Adam(TwoAverages):
    """What `Adam` and `AdamW` share: to the kernel they differ in what is kept of θ."""

    amsgrad: bool

    code: ClassVar[int] = ADAM_CODE

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "amsgrad", check_flag(self.amsgrad, "amsgrad"))

    @property
    def slots(self) -> int:  # type: ignore[override]
        """m and v, and with `amsgrad` the largest v."""
        return 3 if self.amsgrad else 2

    def kernel(self) -> Any:
        """A step, with `amsgrad` or without: most training compiles the one alone."""
        return lone_amsgrad_step if self.amsgrad else lone_adam_step

    def single_kernels(self, n_out: int) -> tuple[Any, Any]:
        """For the steps of `lone_adam_step`, where rows are long enough."""
        fits = n_out >= FEWEST_UNITS and not self.amsgrad
        return (single_adam, single_adam_ahead) if fits else (None, None)


@dataclass(frozen=True)
class Adam(_Adam):
    """Adam: momentum, scaled by a running root mean square of the gradient.

    .. math::
        m &← β_1 m + (1−β_1) g, \\qquad v ← β_2 v + (1−β_2) g² \\\\
        θ &← θ − η \\, \\hat m / (\\sqrt{\\hat v} + ε), \\quad
        \\hat m = m/(1−β_1^t), \\; \\hat v = v/(1−β_2^t)

    Parameters
    ----------
    lr : float or callable, default 0.001
        The rate η, or a schedule: given an array of step numbers, it returns an array of rates.
    betas : (float, float), default (0.9, 0.999)
        β₁ and β₂, each at least 0 and below 1.
    eps : float, default 1e-8
        ε, added outside the root.
    amsgrad : bool, default False
        Divide by the largest v̂ so far, so that a rate never grows again: Reddi, Kale & Kumar, "On the
        convergence of Adam and beyond" (2018), algorithm 2.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Kingma & Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1; ``notes/001`` and
    ``notes/003`` (whose code puts ε inside the root). PyTorch's ``torch.optim.Adam`` takes the same
    steps.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.Adam(1e-3)
    Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08, amsgrad=False)
    """

    amsgrad: bool = False

    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """The two corrections, and 1: what is kept of θ."""
        scalars = adam_corrections(steps, rates, self.betas, columns=3)
        scalars[:, 2] = 1.0
        return scalars


@dataclass(frozen=True)
class AdamW(_Adam):
    """Adam with decoupled weight decay: θ shrinks by itself, not through the gradient.

    .. math:: θ ← (1 − η λ) θ, \\qquad \\text{then a step of Adam}

    Parameters
    ----------
    lr : float or callable, default 0.001
        The rate η, or a schedule.
    betas : (float, float), default (0.9, 0.999)
        β₁ and β₂, each at least 0 and below 1.
    eps : float, default 1e-8
        ε, added outside the root.
    weight_decay : float, default 0.01
        λ. It shrinks all of θ, biases too, as PyTorch's does.
    amsgrad : bool, default False
        As in `Adam`.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If a number is out of its range or not a number.

    Notes
    -----
    Loshchilov & Hutter, "Decoupled weight decay regularization" (2019), algorithm 2, with the decay
    multiplied by η, as in ``torch.optim.AdamW``.

    Examples
    --------
    >>> import hotloop as hl
    >>> hl.AdamW(1e-3, weight_decay=0.1).weight_decay
    0.1
    """

    weight_decay: float = 0.01
    amsgrad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.weight_decay, "weight_decay", low=0.0)

    def scalars(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """The two corrections, and 1 − η λ: what is kept of θ."""
        scalars = adam_corrections(steps, rates, self.betas, columns=3)
        scalars[:, 2] = 1.0 - rates * self.weight_decay
        return scalars


@kernel_exact
def product(x, y):
    """x y, rounded: no processor fuses it with what it is added to."""
    return x * y


@kernel_in_order
def adam_number(g, m, v, w, keep_m, take_m, keep_v, take_v, eta, epsilon, kept):
    """m, v and w after a step with the gradient g: `kept` of w is left. Each line has one product to fuse."""
    m = product(keep_m, m) + take_m * g
    v = product(keep_v, v) + take_v * product(g, g)
    return m, v, product(kept, w) - quotient(eta * m, np.sqrt(v) + epsilon)


@kernel_in_order
def adam_step(passing, at, grad, numbers):
    """A step of `Adam` or `AdamW` on as many numbers from `at` on as `grad` has, of θ, m and v."""
    theta, m, v = passing[0][at:], passing[1][at:], passing[2][at:]
    for i in range(len(grad)):
        m[i], v[i], theta[i] = adam_number(grad[i], m[i], v[i], theta[i], *numbers)


@kernel
def adam_numbers(theta, hyper, scalars):
    """What loops over numbers of Adam want, in the precision of θ: `scalars` hold the corrections."""
    number, beta1, beta2 = theta.dtype.type, hyper[0], hyper[1]
    averages = number(beta1), number(1.0 - beta1), number(beta2), number(1.0 - beta2)
    return (*averages, number(scalars[0]), number(scalars[1] * hyper[2]), number(scalars[2]))


@kernel
def in_vectors(hyper):
    """Whether steps are those of `adam_vector`."""
    return INTRINSICS and min(hyper[0], hyper[1]) >= SHORTEST_MEMORY


@kernel_exact
def amsgrad_step(theta, grad, m, v, largest, rate, of_eps, kept, beta1, beta2, eps):
    """A step of `Adam` or `AdamW` with `amsgrad`."""
    number = theta.dtype.type
    keep_m, take_m, keep_v, take_v = number(beta1), number(1.0 - beta1), number(beta2), number(1.0 - beta2)
    eta, epsilon, rest = number(rate), number(of_eps * eps), number(kept)
    for i in range(len(theta)):
        g, m_i, v_i, largest_i, theta_i = grad[i], m[i], v[i], largest[i], theta[i]
        m_i = keep_m * m_i + take_m * g
        v_i = keep_v * v_i + take_v * g * g
        largest_i = max(largest_i, v_i)
        theta[i] = rest * theta_i - quotient(eta * m_i, np.sqrt(largest_i) + epsilon)
        m[i], v[i], largest[i] = m_i, v_i, largest_i


@kernel_exact
def lone_adam_step(code, hyper, scalars, state, theta, grad, lo, hi):
    """A step on θ[lo:hi] of `Adam` or `AdamW` without `amsgrad`."""
    passing, grad, numbers = (theta, state[0], state[1]), grad[: hi - lo], adam_numbers(theta, hyper, scalars)
    if not in_vectors(hyper):
        adam_step(passing, lo, grad, numbers)
    elif scalars[2] == 1.0:
        adam_vectors(passing, lo, grad, numbers)
    else:
        decayed_vectors(passing, lo, grad, numbers)


@kernel
def lone_amsgrad_step(code, hyper, scalars, state, theta, grad, lo, hi):
    """A step on θ[lo:hi] of `Adam` or `AdamW` with `amsgrad`."""
    theta, m, v, largest = theta[lo:hi], state[0][lo:hi], state[1][lo:hi], state[2][lo:hi]
    rate, of_eps, kept = scalars[0], scalars[1], scalars[2]
    amsgrad_step(theta, grad, m, v, largest, rate, of_eps, kept, hyper[0], hyper[1], hyper[2])


@kernel_exact
def single_adam(one, hyper, scalars, state, theta, source, offset, lo, hi):
    """`lone_adam_step` for one sample, on rows lo:hi of a kernel: the gradient is written nowhere."""
    row, n_out, passing = one.row, one.row[N_OUT], (theta, state[0], state[1])
    x, delta = source[offset + lo : offset + hi], one.work[row[DELTA] :][:n_out]
    at, numbers = row[WEIGHT] + lo * n_out, adam_numbers(theta, hyper, scalars)
    if not in_vectors(hyper):
        plain_adam(passing, at, n_out, None, x, delta, delta, x, numbers)
    elif scalars[2] == 1.0:
        adam_strips(passing, at, n_out, None, x, delta, delta, x, numbers)
    else:
        decayed_strips(passing, at, n_out, None, x, delta, delta, x, numbers)


@kernel_exact
def single_adam_ahead(one, hyper, scalars, state, theta, source, offset, samples, coming):
    """`single_adam` on all of a kernel, and z = b + Σ xᵢ Wᵢ of the coming sample with the new W.

    So W is read once a step, not twice: where it does not fit the second cache, this is what a step costs.
    """
    row, passing = one.row, (theta, state[0], state[1])
    n_in, n_out = row[N_IN], row[N_OUT]
    begin_outputs(one, theta)
    z, delta = one.work[row[VALUE] :][:n_out], one.work[row[DELTA] :][:n_out]
    x, y = source[offset : offset + n_in], samples[coming : coming + n_in]
    at, numbers = row[WEIGHT], adam_numbers(theta, hyper, scalars)
    if not in_vectors(hyper):
        plain_adam_ahead(passing, at, n_out, None, x, delta, z, y, numbers)
    elif scalars[2] == 1.0:
        adam_strips_ahead(passing, at, n_out, None, x, delta, z, y, numbers)
    else:
        decayed_strips_ahead(passing, at, n_out, None, x, delta, z, y, numbers)


@kernel
def plain_adam(passing, at, step, places, x, delta, z, y, numbers):
    """`adam_step` on W, whose gradient is x δᵀ."""
    adam_rows(passing[0][at:], passing[1][at:], passing[2][at:], np.uint64(step), x, delta, numbers)


@distinct
@kernel_in_order
def adam_rows(w, m, v, step, x, delta, numbers):
    """`plain_adam`; unsigned, since of a signed index numba asks whether it counts from the end."""
    for i in range(np.uint64(len(x))):
        for j in range(np.uint64(len(delta))):
            k = i * step + j
            m[k], v[k], w[k] = adam_number(product(x[i], delta[j]), m[k], v[k], w[k], *numbers)


@kernel
def plain_adam_ahead(passing, at, step, places, x, delta, z, y, numbers):
    """`plain_adam`, and z += Σ yᵢ Wᵢ with the new W."""
    w, m, v = passing[0][at:], passing[1][at:], passing[2][at:]
    adam_rows_ahead(w, m, v, np.uint64(step), x, delta, numbers, z, y)


@distinct
@kernel_in_order
def adam_rows_ahead(w, m, v, step, x, delta, numbers, z, y):
    """`adam_rows`, and z += Σ yᵢ Wᵢ. (As two loops they took a third longer, which read W once more.)"""
    for i in range(np.uint64(len(x))):
        for j in range(np.uint64(len(delta))):
            k = i * step + j
            m[k], v[k], w_k = adam_number(product(x[i], delta[j]), m[k], v[k], w[k], *numbers)
            w[k] = w_k
            z[j] += y[i] * w_k


def adam_vector(vectors: Any, row: list[Any], g: Any, numbers: list[Any]) -> list[Any]:
    """`adam_number` for a vector, as `strips_of` wants it: with AVX-512 at the speed of the second cache.

    The averages are sums of differences, m + (1 − β₁)(g − m): as accurate, if β is not small, and of the two
    and three multiplications one and two are left. So there is room for those of `less_quotient`, and the
    root alone has the divider.
    """
    builder, (w, m, v), (_, take_m, _, take_v, eta, epsilon, _) = vectors.builder, row, numbers
    m = vectors.fused(take_m, builder.fsub(g, m), m)
    v = vectors.fused(take_v, vectors.fused(g, g, builder.fneg(v)), v)
    return [less_quotient(vectors, w, builder.fmul(eta, m), builder.fadd(vectors.root(v), epsilon)), m, v]


def decayed_vector(vectors: Any, row: list[Any], g: Any, numbers: list[Any]) -> list[Any]:
    """`adam_vector` with decay: the one without takes 0.96 of its time where it passes by for one sample."""
    w, *averages = row
    return adam_vector(vectors, [vectors.builder.fmul(numbers[-1], w), *averages], g, numbers)


if INTRINSICS:
    adam_vectors, decayed_vectors = steps_of(adam_vector), steps_of(decayed_vector)
    adam_strips, adam_strips_ahead, decayed_strips, decayed_strips_ahead = (
        strips_of(rule, ahead, as_they_lie=True)
        for rule in (adam_vector, decayed_vector)
        for ahead in (False, True)
    )
else:
    adam_vectors = decayed_vectors = adam_step
    adam_strips = decayed_strips = plain_adam
    adam_strips_ahead = decayed_strips_ahead = plain_adam_ahead

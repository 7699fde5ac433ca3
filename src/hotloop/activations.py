"""Activations: for each its code, and f, f′ and f″ written with z = the input and a = f(z).

To add one: a code (append-only), kernels `name`, `name_derivative` and `name_second`, a branch for each in
`rarer_activate`, `rarer_activate_backward` and `activate_second`, a row in `ELEMENTWISE_CODES` and in
`KERNEL_INIT`, and the code in `CURVED` if f″ is not 0. At a kink f′ and f″ are those of the side that its
docstring names. At ±∞ all have their limits; NaN stays NaN in f.
"""

import numpy as np

from hotloop._jit import kernel, kernel_exact, kernel_in_order
from hotloop.engine.mathfun import constant, exp, expm1, normal_cdf, normal_pdf
from hotloop.engine.mathfun import sigmoid as sigma
from hotloop.engine.mathfun import softplus as log_one_plus_exp
from hotloop.engine.mathfun import tanh as tanh_of

__all__ = [
    "ACTIVATIONS",
    "COMMON",
    "CURVED",
    "ELEMENTWISE_CODES",
    "KERNEL_INIT",
    "activate",
    "activate_backward",
    "activate_second",
    "prelu",
    "prelu_backward",
    "prelu_gradient",
    "prelu_gradient_tangent",
    "prelu_slope_part",
    "rarer_activate",
    "rarer_activate_backward",
    "softmax_backward",
    "softmax_rows",
    "softmax_second",
]

# float32 constants that are exact: float32 code stays float32, float64 code promotes them.
ZERO, ONE, TWO, THREE, FOUR, SIX = (np.float32(k) for k in (0, 1, 2, 3, 4, 6))

# Between these, nothing that multiplies an exponential overflows; beyond, f and f′ are at their limits.
FAR = np.float32(800)
MISH_HIGH = np.float32(20)  # tanh(softplus(20)) is 1 in float64 too

LEAK = 0.01
SELU_SCALE = 1.0507009873554804934193349852946
SELU_FLOOR = SELU_SCALE * 1.6732632423543772848170429916717  # λα

IDENTITY = 0
RELU = 1
TANH = 2
SIGMOID = 3
LEAKY_RELU = 4
ELU = 5
SELU = 6
GELU = 7
SILU = 8
MISH = 9
SOFTPLUS = 10
HARD_SIGMOID = 11
STEP = 12

COMMON = (IDENTITY, RELU, TANH, SIGMOID)
"""Codes of `activate` and `activate_backward`; the others are in `rarer_activate` and its backward."""

CURVED = (TANH, SIGMOID, ELU, SELU, GELU, SILU, MISH, SOFTPLUS)
"""Codes whose f″ is not 0."""

ELEMENTWISE_CODES = {
    "identity": IDENTITY,
    "relu": RELU,
    "tanh": TANH,
    "sigmoid": SIGMOID,
    "leaky_relu": LEAKY_RELU,
    "elu": ELU,
    "selu": SELU,
    "gelu": GELU,
    "silu": SILU,
    "mish": MISH,
    "softplus": SOFTPLUS,
    "hard_sigmoid": HARD_SIGMOID,
    "step": STEP,
}
"""Public name → code, of those that work number by number and learn nothing."""

ACTIVATIONS = (*ELEMENTWISE_CODES, "prelu", "softmax")
"""Public names of all."""

KERNEL_INIT = {
    "identity": "glorot_uniform",
    "relu": "he_uniform",
    "tanh": "glorot_uniform",
    "sigmoid": "glorot_uniform",
    "leaky_relu": "he_uniform",
    "elu": "he_uniform",
    "selu": "lecun_normal",
    "gelu": "he_uniform",
    "silu": "he_uniform",
    "mish": "he_uniform",
    "softplus": "glorot_uniform",
    "hard_sigmoid": "glorot_uniform",
    "step": "glorot_uniform",
    "prelu": "he_uniform",
    "softmax": "glorot_uniform",
}
"""Public name → the initial values of a kernel before it, under kernel_init="auto"."""


@kernel
def within(z, low, high):
    """z, limited to low … high; NaN stays NaN."""
    z = low if z < low else z
    return high if z > high else z


@kernel
def relu(z):
    """max(z, 0). Nair & Hinton, "Rectified linear units improve restricted Boltzmann machines" (2010)."""
    return ZERO if z < ZERO else z


@kernel
def relu_derivative(z, a):
    """1 for z > 0, else 0: at the kink the left derivative. (It asks a: z may be nowhere in memory.)"""
    return ONE if a > ZERO else ZERO


@kernel
def relu_second(z, a):
    """0."""
    return ZERO


@kernel
def tanh(z):
    """(eᶻ − e⁻ᶻ) / (eᶻ + e⁻ᶻ)."""
    return tanh_of(z)


@kernel
def tanh_derivative(z, a):
    """1 − a²."""
    return ONE - a * a


@kernel
def tanh_second(z, a):
    """−2a (1 − a²)."""
    return -TWO * a * (ONE - a * a)


@kernel
def sigmoid(z):
    """σ(z) = 1 / (1 + e⁻ᶻ)."""
    return sigma(z)


@kernel
def sigmoid_derivative(z, a):
    """a (1 − a)."""
    return a * (ONE - a)


@kernel
def sigmoid_second(z, a):
    """a (1 − a) (1 − 2a)."""
    return a * (ONE - a) * (ONE - TWO * a)


@kernel
def leaky_relu(z):
    """z for z > 0, else 0.01 z. Maas et al., "Rectifier nonlinearities improve … models" (2013)."""
    return z if z > ZERO else constant(LEAK, z) * z


@kernel
def leaky_relu_derivative(z, a):
    """1 for z > 0, else 0.01: at the kink the left derivative."""
    return ONE if z > ZERO else constant(LEAK, z)


@kernel
def leaky_relu_second(z, a):
    """0."""
    return ZERO


@kernel
def elu(z):
    """z for z > 0, else eᶻ − 1. Clevert et al., "… exponential linear units (ELUs)" (2016), with α = 1."""
    below = expm1(ZERO if z > ZERO else z)
    return z if z > ZERO else below


@kernel
def elu_derivative(z, a):
    """1 for z > 0, else eᶻ = a + 1: no kink."""
    return ONE if z > ZERO else a + ONE


@kernel
def elu_second(z, a):
    """0 for z > 0, else eᶻ: at the jump the left value, 1."""
    return ZERO if z > ZERO else a + ONE


@kernel
def selu(z):
    """λz for z > 0, else λα (eᶻ − 1): keeps mean 0 and variance 1 from layer to layer.

    Klambauer et al., "Self-normalizing neural networks" (2017), equation 2, λ and α from there.
    """
    below = constant(SELU_FLOOR, z) * expm1(ZERO if z > ZERO else z)
    return constant(SELU_SCALE, z) * z if z > ZERO else below


@kernel
def selu_derivative(z, a):
    """λ for z > 0, else λα eᶻ = a + λα: at the kink the left derivative, λα."""
    return constant(SELU_SCALE, z) if z > ZERO else a + constant(SELU_FLOOR, z)


@kernel
def selu_second(z, a):
    """0 for z > 0, else λα eᶻ."""
    return ZERO if z > ZERO else a + constant(SELU_FLOOR, z)


@kernel
def gelu(z):
    """z Φ(z), Φ the normal distribution's: Hendrycks & Gimpel, "Gaussian error linear units" (2016).

    The exact form; their approximation by tanh is off by up to 5e-4.
    """
    c = -FAR if z < -FAR else z
    return c * normal_cdf(c)


@kernel
def gelu_derivative(z, a):
    """Φ(z) + z φ(z)."""
    c = within(z, -FAR, FAR)
    return normal_cdf(c) + c * normal_pdf(c)


@kernel
def gelu_second(z, a):
    """φ(z) (2 − z²)."""
    c = within(z, -FAR, FAR)
    return normal_pdf(c) * (TWO - c * c)


@kernel
def silu(z):
    """z σ(z). Elfwing et al., "Sigmoid-weighted linear units for …" (2018); also called swish."""
    c = -FAR if z < -FAR else z
    return c / (ONE + exp(-c))


@kernel
def silu_derivative(z, a):
    """σ (1 + z (1 − σ))."""
    c = within(z, -FAR, FAR)
    s = sigma(c)
    return s * (ONE + c * (ONE - s))


@kernel
def silu_second(z, a):
    """σ (1 − σ) (2 + z (1 − 2σ))."""
    c = within(z, -FAR, FAR)
    s = sigma(c)
    return s * (ONE - s) * (TWO + c * (ONE - TWO * s))


@kernel_in_order
def mish(z):
    """z tanh(ln(1 + eᶻ)) = z n / (n + 2) with n = u² + 2u, u = eᶻ. Misra, "Mish: …" (2020)."""
    c = -FAR if z < -FAR else z
    u = exp(MISH_HIGH if c > MISH_HIGH else c)
    n = u * u + TWO * u
    return z if z > MISH_HIGH else c * (n / (n + TWO))


@kernel_exact
def mish_derivative(z, a):
    """n / (n + 2) + 4z u (1 + u) / (n + 2)², with the n and u of `mish`."""
    c = within(z, -FAR, MISH_HIGH)
    u = exp(c)
    n = u * (u + TWO)
    d = n + TWO
    return (n * d + FOUR * c * u * (ONE + u)) / (d * d)


@kernel_exact
def mish_second(z, a):
    """wσ (2 + z (1 − σ − 2σt)) with σ = σ(z), t = tanh(ln(1 + eᶻ)), w = 1 − t²."""
    c = within(z, -FAR, MISH_HIGH)
    u = exp(c)
    d = u * (u + TWO) + TWO
    s, t = u / (ONE + u), ONE - TWO / d
    # 1 − t² = (1 − t)(1 + t) without cancellation
    w = TWO / d * (ONE + t)
    return ZERO if z > MISH_HIGH else w * s * (TWO + c * (ONE - s - TWO * s * t))


@kernel
def softplus(z):
    """ln(1 + eᶻ). Dugas et al., "Incorporating second-order functional knowledge …" (2001)."""
    return log_one_plus_exp(z)


@kernel
def softplus_derivative(z, a):
    """σ(z)."""
    return sigma(z)


@kernel
def softplus_second(z, a):
    """σ(z) (1 − σ(z))."""
    s = sigma(z)
    return s * (ONE - s)


@kernel
def hard_sigmoid(z):
    """z/6 + ½, limited to 0 … 1. Howard et al., "Searching for MobileNetV3" (2019), section 5.2."""
    return within(z + THREE, ZERO, SIX) * constant(1 / 6, z)


@kernel
def hard_sigmoid_derivative(z, a):
    """1/6 for −3 < z < 3, else 0: at both kinks the derivative from outside, as in PyTorch."""
    return constant(1 / 6, z) if -THREE < z < THREE else ZERO


@kernel
def hard_sigmoid_second(z, a):
    """0."""
    return ZERO


@kernel
def step(z):
    """1 for z ≥ 0, else 0: the MP neuron's, McCulloch & Pitts (1943). Its derivative is 0: forward only."""
    return z if z != z else (ONE if z >= ZERO else ZERO)


@kernel
def activate(code, z, a):
    """a = f(z), element by element, of the codes in `COMMON`."""
    if code == IDENTITY:
        for i in range(len(z)):
            a[i] = z[i]
    elif code == RELU:
        for i in range(len(z)):
            a[i] = relu(z[i])
    elif code == TANH:
        for i in range(len(z)):
            a[i] = tanh(z[i])
    elif code == SIGMOID:
        for i in range(len(z)):
            a[i] = sigmoid(z[i])


@kernel
def rarer_activate(code, z, a):
    """a = f(z), element by element, of the other codes: compiled for networks that have one."""
    if code == LEAKY_RELU:
        for i in range(len(z)):
            a[i] = leaky_relu(z[i])
    elif code == ELU:
        for i in range(len(z)):
            a[i] = elu(z[i])
    elif code == SELU:
        for i in range(len(z)):
            a[i] = selu(z[i])
    elif code == GELU:
        for i in range(len(z)):
            a[i] = gelu(z[i])
    elif code == SILU:
        for i in range(len(z)):
            a[i] = silu(z[i])
    elif code == MISH:
        for i in range(len(z)):
            a[i] = mish(z[i])
    elif code == SOFTPLUS:
        for i in range(len(z)):
            a[i] = softplus(z[i])
    elif code == HARD_SIGMOID:
        for i in range(len(z)):
            a[i] = hard_sigmoid(z[i])
    elif code == STEP:
        for i in range(len(z)):
            a[i] = step(z[i])


@kernel
def activate_backward(code, z, a, delta):
    """delta *= f′(z), in place: from ∂L/∂a to ∂L/∂z."""
    if code == RELU:
        for i in range(len(z)):
            delta[i] *= relu_derivative(z[i], a[i])
    elif code == TANH:
        for i in range(len(z)):
            delta[i] *= tanh_derivative(z[i], a[i])
    elif code == SIGMOID:
        for i in range(len(z)):
            delta[i] *= sigmoid_derivative(z[i], a[i])


@kernel
def rarer_activate_backward(code, z, a, delta):
    """`activate_backward` of the other codes."""
    if code == LEAKY_RELU:
        for i in range(len(z)):
            delta[i] *= leaky_relu_derivative(z[i], a[i])
    elif code == ELU:
        for i in range(len(z)):
            delta[i] *= elu_derivative(z[i], a[i])
    elif code == SELU:
        for i in range(len(z)):
            delta[i] *= selu_derivative(z[i], a[i])
    elif code == GELU:
        for i in range(len(z)):
            delta[i] *= gelu_derivative(z[i], a[i])
    elif code == SILU:
        for i in range(len(z)):
            delta[i] *= silu_derivative(z[i], a[i])
    elif code == MISH:
        for i in range(len(z)):
            delta[i] *= mish_derivative(z[i], a[i])
    elif code == SOFTPLUS:
        for i in range(len(z)):
            delta[i] *= softplus_derivative(z[i], a[i])
    elif code == HARD_SIGMOID:
        for i in range(len(z)):
            delta[i] *= hard_sigmoid_derivative(z[i], a[i])
    elif code == STEP:
        for i in range(len(z)):
            delta[i] = ZERO


@kernel
def activate_second(code, z, a, out):
    """out = f″(z), element by element: for curvature."""
    if code == RELU:
        for i in range(len(z)):
            out[i] = relu_second(z[i], a[i])
    elif code == TANH:
        for i in range(len(z)):
            out[i] = tanh_second(z[i], a[i])
    elif code == SIGMOID:
        for i in range(len(z)):
            out[i] = sigmoid_second(z[i], a[i])
    elif code == LEAKY_RELU:
        for i in range(len(z)):
            out[i] = leaky_relu_second(z[i], a[i])
    elif code == ELU:
        for i in range(len(z)):
            out[i] = elu_second(z[i], a[i])
    elif code == SELU:
        for i in range(len(z)):
            out[i] = selu_second(z[i], a[i])
    elif code == GELU:
        for i in range(len(z)):
            out[i] = gelu_second(z[i], a[i])
    elif code == SILU:
        for i in range(len(z)):
            out[i] = silu_second(z[i], a[i])
    elif code == MISH:
        for i in range(len(z)):
            out[i] = mish_second(z[i], a[i])
    elif code == SOFTPLUS:
        for i in range(len(z)):
            out[i] = softplus_second(z[i], a[i])
    elif code == HARD_SIGMOID:
        for i in range(len(z)):
            out[i] = hard_sigmoid_second(z[i], a[i])
    elif code in (IDENTITY, STEP):
        for i in range(len(z)):
            out[i] = ZERO


@kernel
def prelu(z, a, slopes):
    """z for z > 0, else αⱼ z, with a learnt slope αⱼ for each unit j; z and a (rows x units), flat.

    He et al., "Delving deep into rectifiers" (2015), equation 1, α₀ = 0.25 as there.
    """
    for i in range(len(z) // len(slopes)):
        row, out = z[i * len(slopes) : (i + 1) * len(slopes)], a[i * len(slopes) : (i + 1) * len(slopes)]
        for j in range(len(row)):
            out[j] = row[j] if row[j] > ZERO else slopes[j] * row[j]


@kernel
def prelu_backward(z, delta, before, slopes):
    """before = δ for z > 0, else αⱼ δ: from ∂L/∂a to ∂L/∂z; at the kink the left derivative."""
    for i in range(len(z) // len(slopes)):
        row, d = z[i * len(slopes) : (i + 1) * len(slopes)], delta[i * len(slopes) : (i + 1) * len(slopes)]
        out = before[i * len(slopes) : (i + 1) * len(slopes)]
        for j in range(len(row)):
            out[j] = d[j] if row[j] > ZERO else slopes[j] * d[j]


@kernel_exact
def prelu_gradient(z, delta, grad):
    """∂L/∂αⱼ += δ z where z ≤ 0, for one row of the batch."""
    for j in range(len(z)):
        part = delta[j] * z[j]
        grad[j] += ZERO if z[j] > ZERO else part


@kernel
def softmax_rows(z, a, width):
    """aⱼ = e^zⱼ / Σₖ e^zₖ for each row of `width` numbers: a vector-valued activation.

    Its largest z is taken off first, so that nothing overflows. Bridle, "Probabilistic interpretation
    of feedforward classification network outputs" (1990); ``notes/003``, softmax.
    """
    for i in range(len(z) // width):
        row, out = z[i * width : (i + 1) * width], a[i * width : (i + 1) * width]
        largest = row[0]
        for j in range(len(row)):
            largest = max(largest, row[j])
        total = ZERO
        for j in range(len(row)):
            out[j] = exp(row[j] - largest)
            total += out[j]
        for j in range(len(out)):
            out[j] /= total


@kernel
def softmax_backward(a, delta, width):
    """δⱼ ← aⱼ (δⱼ − Σₖ aₖ δₖ): the product with the full Jacobian diag(a) − a aᵀ, in place."""
    for i in range(len(a) // width):
        row, d = a[i * width : (i + 1) * width], delta[i * width : (i + 1) * width]
        mean = ZERO
        for j in range(len(row)):
            mean += row[j] * d[j]
        for j in range(len(row)):
            d[j] = row[j] * (d[j] - mean)


@kernel
def softmax_second(a, da, delta, tangent, width):
    """R of `softmax_backward`: r ← ȧ (δ − aᵀδ) + a (r − ȧᵀδ − aᵀr), in place, with ȧ = R a and r = R δ."""
    for i in range(len(a) // width):
        row, moved = a[i * width : (i + 1) * width], da[i * width : (i + 1) * width]
        d, r = delta[i * width : (i + 1) * width], tangent[i * width : (i + 1) * width]
        mean, change = ZERO, ZERO
        for j in range(len(row)):
            mean += row[j] * d[j]
            change += moved[j] * d[j] + row[j] * r[j]
        for j in range(len(row)):
            r[j] = moved[j] * (d[j] - mean) + row[j] * (r[j] - change)


@kernel
def prelu_slope_part(z, other, out, slopes):
    """out += sⱼ · other where z ≤ 0: how `slopes`, a tangent of those of `prelu`, moves what `other` is."""
    for i in range(len(z) // len(slopes)):
        row, d = z[i * len(slopes) : (i + 1) * len(slopes)], other[i * len(slopes) : (i + 1) * len(slopes)]
        to = out[i * len(slopes) : (i + 1) * len(slopes)]
        for j in range(len(row)):
            to[j] += ZERO if row[j] > ZERO else slopes[j] * d[j]


@kernel_exact
def prelu_gradient_tangent(z, dz, delta, tangent, grad):
    """R of `prelu_gradient`: grad += Rδ z + δ Rz where z ≤ 0, for one row of the batch."""
    for j in range(len(z)):
        part = tangent[j] * z[j] + delta[j] * dz[j]
        grad[j] += ZERO if z[j] > ZERO else part

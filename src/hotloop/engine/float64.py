"""exp, tanh, … of one float64: polynomials where loops are to vectorise; the normal distribution's by libm.

The coefficients are minimax fits (Remez' exchange): off by less than a tenth of a rounding error.
"""

import math

import numpy as np

from hotloop._jit import kernel, kernel_in_order
from hotloop.engine.float32 import DIVIDES
from hotloop.engine.polynomial import polynomial_float64

LOG2_E = 1.4426950408889634
LN2 = 0.6931471805599453
LN2_HIGH = 6.93145751953125e-1  # few bits: its products with whole numbers are exact
LN2_LOW = 1.42860682030941723212e-6
WHOLE = 1.5 * 2.0**52  # a number so large that it keeps no fraction, and its last bits count from 0
WHOLE_BITS = np.int64(0x4338000000000000)
EXP_LOW, EXP_HIGH = -746.0, 710.0  # beyond: 0 and inf
EXPM1_LOW, EXPM1_HIGH = -38.0, 709.782712893384  # beyond: -1 and inf
RECIPROCAL_GUESS = np.int64(0x7FDE623822FC16E6)  # less the bits of x, those of about 1/x
MANTISSA = np.int64(2**52 - 1)
EXPONENT_OF_ONE = np.int64(1023)
MANTISSA_BITS = np.int64(52)
ROOT_HALF = math.sqrt(0.5)
ROOT_TAU_INVERSE = 1 / math.sqrt(2 * math.pi)

# Coefficients, of the highest power first: of (eʳ − 1 − r) / r², and of (2 artanh s − 2 s) / s³ by s².
EXPM1 = (
    2.5000042175242414e-08, 2.7630275333307764e-07, 2.7557586572747764e-06, 2.4801493029551872e-05,
    1.98412695062058e-04, 1.388888894369023e-03, 8.3333333334947e-03, 4.166666666652996e-02,
    1.6666666666666413e-01, 0.5000000000000011,
)  # fmt: skip
ARTANH = (
    0.17009611305836006, 0.08345054658159107, 0.12104924593079561, 0.13301124140220033,
    0.1538654816432754, 0.1818174449086417, 0.22222223953271733, 0.2857142854812494,
    0.4000000000015505, 0.6666666666666631,
)  # fmt: skip


@kernel_in_order
def exp_float64(x):
    """eˣ = 2ⁿ eʳ with whole n and |r| ≤ ln 2 / 2; relative error below 2.3e-16."""
    x = EXP_LOW if x < EXP_LOW else x
    x = EXP_HIGH if x > EXP_HIGH else x
    r, n = reduced(x)
    # 2ⁿ in two factors: n runs to ±1076, a float64 exponent only to 1023.
    half = n >> np.int64(1)
    return (1.0 + expm1_of_reduced(r)) * power_of_two(half) * power_of_two(n - half)


@kernel_in_order
def expm1_float64(x):
    """eˣ − 1 = 2ⁿ (eʳ − 1) + (2ⁿ − 1), whose last term is exact or does not matter."""
    c = EXPM1_LOW if x < EXPM1_LOW else x
    c = EXPM1_HIGH if c > EXPM1_HIGH else c
    r, n = reduced(c)
    # 2ⁿ⁻¹, twice: n may be 1024.
    half = power_of_two(n - np.int64(1))
    y = 2.0 * (expm1_of_reduced(r) * half + (half - 0.5))
    return np.inf if x > EXPM1_HIGH else y


@kernel_in_order
def reduced(x):
    """(r, n) with x = n ln 2 + r, whole n and |r| ≤ ln 2 / 2."""
    shifted = x * LOG2_E + WHOLE
    whole = shifted - WHOLE
    n = np.float64(shifted).view(np.int64) - WHOLE_BITS
    return (x - whole * LN2_HIGH) - whole * LN2_LOW, n


@kernel_in_order
def expm1_of_reduced(r):
    """eʳ − 1 for |r| ≤ ln 2 / 2."""
    p = polynomial_float64(r, EXPM1)
    return p * (r * r) + r


@kernel
def power_of_two(n):
    """2ⁿ, for n from -1022 to 1023: the bits of the exponent."""
    return np.int64((n + EXPONENT_OF_ONE) << MANTISSA_BITS).view(np.float64)


@kernel_in_order
def tanh_float64(x):
    """tanh |x| = m / (2 − m) with m = 1 − e^(−2|x|)."""
    m = 0.0 - expm1_float64(-2.0 * abs(x))
    t = m / (2.0 - m)
    return -t if x < 0.0 else t


@kernel_in_order
def sigmoid_float64(x):
    """1 / (1 + e⁻ˣ), with relative accuracy in the lower tail too."""
    small = exp_float64(-abs(x))
    return (small if x < 0.0 else 1.0) / (1.0 + small)


@kernel_in_order
def log1p_float64(u):
    """ln(1 + u) = 2 artanh s for 0 ≤ u ≤ 1, with s = u / (2 + u)."""
    s = u / (2.0 + u)
    z = s * s
    p = polynomial_float64(z, ARTANH)
    return s * z * p + (s + s)


@kernel_in_order
def log_float64(x):
    """ln x = k ln 2 + ln m with 1 ≤ m < 2, for x ≥ 1."""
    bits = np.float64(x).view(np.int64)
    k = (bits >> MANTISSA_BITS) - EXPONENT_OF_ONE
    m = np.int64((bits & MANTISSA) | (EXPONENT_OF_ONE << MANTISSA_BITS)).view(np.float64)
    y = np.float64(k) * LN2 + log1p_float64(m - 1.0)
    return y if x - x == 0.0 else x


@kernel
def softplus_float64(x):
    """ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|)."""
    return (0.0 if x < 0.0 else x) + log1p_float64(exp_float64(-abs(x)))


@kernel_in_order
def quotient_float64(x, y):
    """x/y for 1e-300 < y < 1e300, mostly without the divider; relative error below 5e-16.

    As `quotient_float32`: the first guess is 5 % off. A division takes half of the time of Adam.
    """
    if DIVIDES:
        return x / y
    z = np.int64(RECIPROCAL_GUESS - np.float64(y).view(np.int64)).view(np.float64)
    z = z * (2.0 - y * z)
    z = z * (2.0 - y * z)
    z = z * (2.0 - y * z)
    return x * (z * (2.0 - y * z))


@kernel
def normal_cdf_float64(x):
    return 0.5 * math.erfc(-x * ROOT_HALF)


@kernel
def normal_pdf_float64(x):
    return math.exp(-0.5 * x * x) * ROOT_TAU_INVERSE

"""Coordinate descent for logistic regression, on the second-order model of the loss.

Of a row of weight s, with shares p of the classes (or of the second of two): pulls are s p, and the curvature
in a logit is s p (1 − p). A kernel reads the columns of X, dense or sparse, float32 or float64; all else is
float64, and so are sums.
"""

from typing import Any, NamedTuple

from hotloop._jit import kernel, kernel_inline
from hotloop.engine.coordinate import soft_threshold

__all__ = ["Columns", "column_bends", "column_slopes", "newton_sweeps"]

RIDGE = 1e-12
"""Added to every curvature of `newton_sweeps`, which may be 0: ν of Yuan, Ho and Lin (2012), section 2.2."""


class Columns(NamedTuple):
    """q columns of n numbers, dense or sparse; `values.ndim` tells which, when a kernel is compiled."""

    values: Any
    """Xᵀ (q, n) in C order; or the data of a CSC matrix, (nonzeros,)."""
    indices: Any
    """None; or the row of each value."""
    starts: Any
    """None; or where each column begins in `values`, shape (q + 1,)."""


@kernel
def column_slopes(columns, slopes, out):
    """out[k, j] = Σᵢ xᵢⱼ slopes[k, i]"""
    values, indices, starts = columns
    for j in range(out.shape[1]):
        for k in range(len(out)):
            out[k, j] = dot(values, indices, starts, j, slopes[k])


@kernel
def column_bends(columns, curvature, out):
    """out[k, j] = Σᵢ xᵢⱼ² curvature[k, i]: the diagonal of the Hessian."""
    values, indices, starts = columns
    for j in range(out.shape[1]):
        for k in range(len(out)):
            out[k, j] = squared_dot(values, indices, starts, j, curvature[k])


@kernel
def newton_sweeps(columns, gradient, bends, pulls, shares, l1, l2, order, w, moved, means, tol, max_sweeps):
    """Coordinate descent on the second-order model of the loss around w₀, plus λ₁‖w‖₁ + ½λ₂‖w‖².

    Hessian and u = X (w − w₀) give the model's slope at any w: with the mean movement m = Σₖ pₖ uₖ of a
    row, it is gradient + Σᵢ xᵢⱼ s pₖ (uₖ − m). So all classes are moved together, for the price of one.
    With one logit, m = p u and s p (u − m) = s p (1 − p) u: the same formula.

    Parameters
    ----------
    columns : Columns
        Those of X, q with one of ones for the intercept.
    gradient, bends : ndarray (K, q)
        Of Σ s ℓ at w₀, and the diagonal of its Hessian.
    pulls, shares : ndarray (K, n)
        s p and p at w₀.
    l1, l2 : ndarray (q,)
        λ₁ and λ₂ of each column.
    order : ndarray of int64
        Which coefficients to sweep over, k q + j each.
    w, moved, means : ndarray (K, q), (K, n), (n,)
        w, u and m, changed in place; w₀, 0 and 0 at first.

    Returns
    -------
    int
        Sweeps. It ends when no slope was larger than `tol` in one.
    """
    values, indices, starts = columns
    q = len(l1)
    for sweep in range(max_sweeps):
        steepest = 0.0
        for at in range(len(order)):
            k, j = order[at] // q, order[at] % q
            old, bend = w[k, j], bends[k, j] + l2[j] + RIDGE
            slope = (
                gradient[k, j]
                + l2[j] * old
                + slope_moved(values, indices, starts, j, pulls[k], moved[k], means)
            )
            new = soft_threshold(bend * old - slope, l1[j], False) / bend
            if new != old:
                move(values, indices, starts, j, new - old, shares[k], moved[k], means)
                w[k, j] = new
                steepest = max(steepest, bend * abs(new - old))
        if steepest <= tol:
            return sweep + 1
    return max_sweeps


# --- one column -------------------------------------------------------------------------------------


@kernel_inline
def dot(values, indices, starts, j, a):
    """Σᵢ xᵢⱼ aᵢ"""
    total = 0.0
    if values.ndim == 2:
        x = values[j]
        for i in range(len(x)):
            total += x[i] * a[i]
    else:
        for at in range(starts[j], starts[j + 1]):
            total += values[at] * a[indices[at]]
    return total


@kernel_inline
def squared_dot(values, indices, starts, j, a):
    """Σᵢ xᵢⱼ² aᵢ"""
    total = 0.0
    if values.ndim == 2:
        x = values[j]
        for i in range(len(x)):
            total += x[i] * a[i] * x[i]
    else:
        for at in range(starts[j], starts[j + 1]):
            total += values[at] * a[indices[at]] * values[at]
    return total


@kernel_inline
def slope_moved(values, indices, starts, j, pull, u, means):
    """Σᵢ xᵢⱼ s p (u − m)"""
    total = 0.0
    if values.ndim == 2:
        x = values[j]
        for i in range(len(x)):
            total += x[i] * pull[i] * (u[i] - means[i])
    else:
        for at in range(starts[j], starts[j + 1]):
            i = indices[at]
            total += values[at] * pull[i] * (u[i] - means[i])
    return total


@kernel_inline
def move(values, indices, starts, j, step, share, u, means):
    """u ← u + step · xⱼ, and the means with it."""
    if values.ndim == 2:
        x = values[j]
        for i in range(len(x)):
            u[i] += step * x[i]
            means[i] += step * x[i] * share[i]
    else:
        for at in range(starts[j], starts[j + 1]):
            i = indices[at]
            u[i] += step * values[at]
            means[i] += step * values[at] * share[i]

"""Coordinate descent: one coefficient after the other goes to its own optimum, the residual follows.

Minimises ½‖y − Xw‖² + λ₁‖w‖₁ + ½λ₂‖w‖². With all coefficients but wⱼ fixed, xⱼ being a column of X and
r = y − Xw the residual, the minimum over wⱼ is S(xⱼᵀr + ‖xⱼ‖² wⱼ, λ₁) / (‖xⱼ‖² + λ₂), where S is the soft
threshold: Friedman, Hastie and Tibshirani, "Regularization paths for generalized linear models via
coordinate descent" (2010), section 2.

A kernel sweeps until a whole sweep hardly moves anything, and returns how often; whether that is the
optimum its caller asks the duality gap. Lengths: `order` holds columns, a row of it a sweep, and is used
in turn; `squares` is ‖xⱼ‖² > 0 of every column in `order`; λ₁, λ₂ and `tol` have the dtype of X.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hotloop._jit import kernel, kernel_inline

__all__ = ["SparseColumns", "descend", "descend_gram", "descend_sparse", "soft_threshold"]

ZERO = np.float32(0)


class SparseColumns(NamedTuple):
    """Columns in SciPy's CSC form, rows scaled by √weight, the means not yet taken out.

    Attributes
    ----------
    data, indices : ndarray (n_stored,)
    starts : ndarray (p + 1,)
        Column j is data[starts[j]:starts[j + 1]], in the rows of `indices`.
    means : ndarray (p,)
        What a column is centred by; 0 without an intercept.
    total : number of the dtype of `data`
        Σ weight.
    """

    data: NDArray[Any]
    indices: NDArray[Any]
    starts: NDArray[Any]
    means: NDArray[Any]
    total: Any


@kernel_inline
def soft_threshold(value, threshold, positive):
    """`value` moved towards 0 by `threshold`, and no further; 0 if it must be positive and is not."""
    if value > threshold:
        return value - threshold
    if value < -threshold and not positive:
        return value + threshold
    return ZERO


@kernel
def descend(columns, squares, l1, l2, positive, orders, w, residual, tol, max_sweeps):
    """Sweep over `columns`, Xᵀ of shape (p, n) in C order; w and the residual y − Xw change in place."""
    for sweep in range(max_sweeps):
        order = orders[sweep % len(orders)]
        largest, change = ZERO, ZERO
        for k in range(len(order)):
            j = order[k]
            x, old = columns[j], w[j]
            rho = squares[j] * old
            for i in range(len(x)):
                rho += x[i] * residual[i]
            new = soft_threshold(rho, l1, positive) / (squares[j] + l2)
            if new != old:
                step = new - old
                for i in range(len(x)):
                    residual[i] -= step * x[i]
                w[j] = new
            largest, change = max(largest, abs(new)), max(change, abs(new - old))
        if change <= tol * largest:
            return sweep + 1
    return max_sweeps


@kernel
def descend_gram(gram, l1, l2, positive, orders, w, gradient, tol, max_sweeps):
    """The same where XᵀX (p, p) is known: it moves `gradient` = Xᵀ(y − Xw), and n no longer counts."""
    for sweep in range(max_sweeps):
        order = orders[sweep % len(orders)]
        largest, change = ZERO, ZERO
        for k in range(len(order)):
            j = order[k]
            row, old = gram[j], w[j]
            new = soft_threshold(gradient[j] + row[j] * old, l1, positive) / (row[j] + l2)
            if new != old:
                step = new - old
                for i in range(len(row)):
                    gradient[i] -= step * row[i]
                w[j] = new
            largest, change = max(largest, abs(new)), max(change, abs(new - old))
        if change <= tol * largest:
            return sweep + 1
    return max_sweeps


@kernel
def descend_sparse(columns, squares, l1, l2, positive, orders, w, residual, tol, max_sweeps):
    """The same on `SparseColumns`: a sweep costs what is stored, though the columns are centred.

    A centred column is xⱼ − mⱼs, with s the vector of √weight. The true residual is residual + shift · s:
    what the means add to it is one number. It stays orthogonal to s, since y and all columns are.
    On return `residual` lacks the shift: the caller computes it anew.
    """
    data, indices, starts, means, total = columns
    shift = ZERO * total
    for sweep in range(max_sweeps):
        order = orders[sweep % len(orders)]
        largest, change = ZERO, ZERO
        for k in range(len(order)):
            j = order[k]
            old = w[j]
            rho = squares[j] * old + shift * means[j] * total  # sᵀxⱼ = mⱼ Σ weight
            for at in range(starts[j], starts[j + 1]):
                rho += data[at] * residual[indices[at]]
            new = soft_threshold(rho, l1, positive) / (squares[j] + l2)
            if new != old:
                step = new - old
                for at in range(starts[j], starts[j + 1]):
                    residual[indices[at]] -= step * data[at]
                shift += step * means[j]
                w[j] = new
            largest, change = max(largest, abs(new)), max(change, abs(new - old))
        if change <= tol * largest:
            return sweep + 1
    return max_sweeps

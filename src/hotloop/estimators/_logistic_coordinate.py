"""Logistic regression with an L1 penalty: proximal Newton steps, each by coordinate descent.

Around the current W the loss is replaced by its second-order model, whose minimum with the penalty
coordinate descent finds; a line search makes sure that the objective sinks. Friedman, Hastie and
Tibshirani, "Regularization paths for generalized linear models via coordinate descent" (2010), sections 3
and 4, with the line search and shrinking of Yuan, Ho and Lin, "An improved GLMNET for L1-regularized
logistic regression" (2012), sections 2.2 and 3. Where GLMNET takes several classes in turn, here the model
has the whole Hessian, so convergence is faster than linear for them too.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from hotloop.engine.logistic import binary_slopes, softmax_slopes
from hotloop.engine.logistic_coordinate import Columns, column_bends, column_slopes, newton_sweeps
from hotloop.estimators._logistic import (
    MAX_HALVINGS,
    ROUNDING,
    SUFFICIENT,
    Found,
    Task,
    describe_trouble,
)

__all__ = ["by_coordinates"]

Array = NDArray[Any]

MAX_SWEEPS = 200
"""Of one step: further ones are worth more around a better point."""
PRECISION = 0.1
"""The model is minimised until its slopes are this much less than those of the objective, or still less."""


def by_coordinates(task: Task, start: Array, *, tol: float, max_iter: int) -> Found:
    """Until no slope of the objective is larger than `tol`."""
    return _Descent(task).run(start, tol, max_iter)


class _Descent:
    """W and b are one matrix (K, p + 1), b the last column, which belongs to a column of ones."""

    def __init__(self, task: Task):
        self.task = task
        n, p = task.X.shape
        q = p + task.fit_intercept
        self.design: Any
        self.design, self.means = (_sparse_design if sparse.issparse(task.X) else _dense_design)(task)
        self.columns = _columns_of(self.design)
        self.l1, self.l2 = np.zeros(q), np.zeros(q)
        self.l1[:p], self.l2[:p] = task.l1, task.l2
        self.slopes = np.empty((n, task.n_logits))
        self.shares = np.empty((n, task.n_logits))

    def run(self, start: Array, tol: float, max_iter: int) -> Found:
        """Proximal Newton steps from θ."""
        w = self._centred(start)
        z = np.ascontiguousarray(self.design @ w.T)
        value = self._loss(z) + self._penalty(w)
        first = 0.0
        for n_iter in range(max_iter + 1):
            gradient = np.empty_like(w)
            column_slopes(self.columns, np.ascontiguousarray(self.slopes.T), gradient)
            violations = self._violations(w, gradient)
            steepest = float(violations.max())
            first = first or steepest
            if not steepest > tol:
                return Found(self._uncentred(w, start), n_iter, "")
            if n_iter == max_iter:
                break
            precision = min(PRECISION, (steepest / first) ** 0.5) * steepest
            new, moved = self._minimise_model(w, gradient, violations, precision)
            # What the slopes promise (Yuan, Ho and Lin, (9)); both penalties are in it as they are.
            promise = float((gradient * (new - w)).sum()) + self._penalty(new) - self._penalty(w)
            step, direction = 1.0, new - w
            for _ in range(MAX_HALVINGS):
                new_z, new = z + step * moved, w + step * direction
                new_value = self._loss(new_z) + self._penalty(new)
                if new_value <= value + SUFFICIENT * step * promise + ROUNDING * abs(value):
                    break
                step *= 0.5
            else:
                break
            w, z, value = new, new_z, new_value
        return Found(self._uncentred(w, start), n_iter, describe_trouble(steepest, n_iter, tol))

    def _minimise_model(
        self, w: Array, gradient: Array, violations: Array, precision: float
    ) -> tuple[Array, Array]:
        """W at the model's minimum, and how it moves the logits, shape (n, K)."""
        shares = np.ascontiguousarray(self.shares.T)
        pulls = shares * self.task.weights
        bends = np.empty_like(w)
        column_bends(self.columns, pulls * (1 - shares), bends)
        # Coefficients at 0 whose slopes are far from moving them stay out; the next step looks again.
        order = np.flatnonzero((w != 0) | (violations > 0) | (np.abs(gradient) >= self.l1 * (1 - PRECISION)))
        new, moved, means = w.copy(), np.zeros_like(shares), np.zeros(len(self.slopes))
        newton_sweeps(
            self.columns, gradient, bends, pulls, shares, self.l1, self.l2, order, new, moved, means,
            precision, MAX_SWEEPS,
        )  # fmt: skip
        return new, moved.T

    def _loss(self, z: Array) -> float:
        """Mean loss; slopes and shares of these logits (n, K) are kept."""
        targets, weights = self.task.targets, self.task.weights
        if self.task.n_logits > 1:
            return float(softmax_slopes(z, targets, weights, self.slopes, self.shares))
        curvature = np.empty(len(z))
        loss = float(binary_slopes(z[:, 0], targets, weights, self.slopes[:, 0], curvature))
        self.shares[:, 0] = expit(z[:, 0])
        return loss

    def _penalty(self, w: Array) -> float:
        return float((np.abs(w) @ self.l1 + 0.5 * np.square(w) @ self.l2).sum())

    def _violations(self, w: Array, gradient: Array) -> Array:
        """How far 0 is from the subgradients of the objective, for each coefficient."""
        slope = gradient + self.l2 * w
        at_zero = np.maximum(np.abs(slope) - self.l1, 0)
        return np.where(w == 0, at_zero, np.abs(slope + np.sign(w) * self.l1))

    def _centred(self, theta: Array) -> Array:
        W, b = self._split(theta)
        return np.hstack([W, b + (W @ self.means)[:, None]])

    def _uncentred(self, w: Array, start: Array) -> Array:
        """θ. Where adding a number to all classes changes nothing, their mean stays what it was."""
        p = len(self.means)
        W, b = w[:, :p], w[:, p:] - (w[:, :p] @ self.means)[:, None]
        if len(w) > 1:
            start_W, start_b = self._split(start)
            b = b - (b - start_b).mean(axis=0)
            if self.task.l1 == self.task.l2 == 0:
                W = W - (W - start_W).mean(axis=0)
        return np.concatenate([W.ravel(), b.ravel()])

    def _split(self, theta: Array) -> tuple[Array, Array]:
        """W (K, p) and b (K, 1), or (K, 0) without an intercept."""
        k, p = self.task.n_logits, len(self.means)
        return theta[: k * p].reshape(k, p), theta[k * p :].reshape(k, -1)


def _dense_design(task: Task) -> tuple[Array, Array]:
    """The centred X and a column of ones (n, q), and the means (p,).

    The intercept then hardly moves with the coefficients.
    """
    n, p = task.X.shape
    columns = np.ones((p + task.fit_intercept, n), task.X.dtype)
    columns[:p] = task.X.T
    means = np.zeros(p)
    if task.fit_intercept:
        means = (task.weights @ task.X).astype(task.X.dtype)
        columns[:p] -= means[:, None]
    return columns.T, means


def _sparse_design(task: Task) -> tuple[Any, Array]:
    """The same in CSC form, but not centred, since that would fill it: the means are 0."""
    ones = np.ones((task.X.shape[0], int(task.fit_intercept)), task.X.dtype)
    return sparse.hstack([task.X, sparse.csc_array(ones)], format="csc"), np.zeros(task.X.shape[1])


def _columns_of(design: Any) -> Columns:
    """For the kernels."""
    if sparse.issparse(design):
        return Columns(design.data, design.indices, design.indptr)
    return Columns(design.T, None, None)

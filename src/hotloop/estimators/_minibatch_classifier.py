"""Logistic regression by minibatches: a network of one dense layer, with any optimizer."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning

from hotloop.estimators._inputs import rows_of
from hotloop.estimators._logistic import Task
from hotloop.estimators._minibatch import Plateau
from hotloop.layers import Dense
from hotloop.optimizers import SGD, Adam, Optimizer
from hotloop.penalties import L1, L2, ElasticNet, Penalty
from hotloop.schedules import InverseSqrt
from hotloop.sequential import Sequential
from hotloop.trainer import Trainer

__all__ = ["MinibatchClassification"]

Array = NDArray[Any]

SAMPLED_ROWS = 10_000
"""So many rows say how long a row of X is."""


class MinibatchClassification:
    """A trainer of one dense layer: a logit for two classes, or one for each of more.

    Parameters
    ----------
    task : Task
        The first data, and the penalty next to their mean loss. Later calls may bring other data.
    """

    def __init__(self, task: Task, *, optimizer: Optimizer | None, batch_size: int | None, seed: int):
        layer = Dense(task.n_logits, kernel_init="zeros", use_bias=task.fit_intercept)
        dtype = "float32" if task.X.dtype == np.float32 else "float64"
        optimizer = default_optimizer(task) if optimizer is None else optimizer
        # A soft threshold of rate times μ leads to the minimum only where the step is the rate times the
        # gradient; other optimizers take the subgradient, whose coefficients come near 0 but not to it.
        proximal = isinstance(optimizer, SGD) and optimizer.momentum == 0
        self._trainer = Trainer(
            Sequential([layer], input_dim=task.X.shape[1], dtype=dtype),
            loss="sigmoid_cross_entropy" if task.n_logits == 1 else "softmax_cross_entropy",
            optimizer=optimizer,
            batch_size=batch_size,
            seed=seed,
            penalty=penalty_of(task, proximal),
        )

    @property
    def n_logits(self) -> int:
        """K."""
        return self._trainer.model.output_dim

    def train(self, X: Any, labels: Array, weights: Array, *, epochs: int, tol: float | None) -> int:
        """Train for at most `epochs`; how many it took.

        With a `tol` it stops when the objective has not sunk by `tol` in some epochs, and warns if that never
        happens, or if it ended worse than it began.
        """
        before = self._trainer.epoch
        stop = [] if tol is None else [Plateau(tol)]
        history = self._trainer.fit(rows_of(X), labels, epochs=epochs, sample_weight=weights, callbacks=stop)
        trouble = None
        if tol is not None and history["loss"][-1] > 2 * np.log(max(2, self.n_logits)):
            trouble = "the coefficients are worse than none; lower the optimizer's rate, or"
        elif tol is not None and history.stopped_by == "epochs":
            trouble = f"the loss was still sinking after {epochs} epochs; raise max_iter, or"
        if trouble:
            trouble += " standardise the features, or choose another optimizer"
            warnings.warn(trouble, ConvergenceWarning, stacklevel=4)
        return self._trainer.epoch - before

    @property
    def theta(self) -> Array:
        """θ as `Task` has it: the rows of W (K, p), then b."""
        found = list(self._trainer.model.parameters().values())
        return np.concatenate([found[0].T.ravel(), *found[1:]])

    @theta.setter
    def theta(self, theta: Array) -> None:
        found = list(self._trainer.model.parameters().values())
        found[0][...] = theta[: found[0].size].reshape(found[0].shape[::-1]).T
        if len(found) > 1:
            found[1][...] = theta[found[0].size :]


def penalty_of(task: Task, proximal: bool) -> Penalty | None:
    """μ‖W‖₁ + ½λ‖W‖²."""
    if task.l1 == 0:
        return L2(task.l2) if task.l2 else None
    if task.l2 == 0:
        return L1(task.l1, proximal=proximal)
    return ElasticNet(task.l1, beta=task.l2 / task.l1, proximal=proximal)


def default_optimizer(task: Task) -> Optimizer:
    """Adam; with an L1 penalty SGD, for exact zeros. Both slow down as 1/√steps.

    The curvature of ℓ in z is at most ¼, or ½ for several classes, so that of the mean loss in θ is at most
    that times the mean of ‖x‖² + 1: its inverse is a rate at which full batches cannot diverge.
    """
    if task.l1 == 0:
        return Adam(InverseSqrt(0.01, steps=1000))
    X = task.X[:SAMPLED_ROWS]
    numbers = (X.data if issparse(X) else X).astype(np.float64)
    length = float(np.square(numbers).sum()) / X.shape[0] + task.fit_intercept
    curvature = length / (4 if task.n_logits == 1 else 2) + task.l2
    return SGD(InverseSqrt(min(1.0, 1 / max(curvature, 1e-30)), steps=1000))

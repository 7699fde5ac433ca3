"""Linear regression by minibatches: a network of one dense layer, for data too large for a closed form."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from hotloop.callbacks import Callback
from hotloop.estimators._inputs import rows_of
from hotloop.layers import Dense
from hotloop.optimizers import Adam, Optimizer
from hotloop.penalties import L2
from hotloop.schedules import InverseSqrt
from hotloop.sequential import Sequential
from hotloop.trainer import Trainer

__all__ = ["MinibatchRegression", "Plateau", "l2_penalty"]

Array = NDArray[Any]

PATIENCE = 5
"""Epochs without progress before training stops, as in scikit-learn's SGDRegressor."""
PATIENT_STEPS = 100
"""Steps without progress that it takes at least: momentum overshoots for some, and epochs can be short."""


class MinibatchRegression:
    """A trainer of one dense layer on targets of mean 0 and variance 1.

    The layer begins at 0, which predicts the mean; measured in standard deviations of the target, one rate
    suits targets of any unit. X is used as it is: features should have a scale of about 1.

    Parameters
    ----------
    X : array or CSR matrix (n, p)
        The first data, which the scale of the targets comes from. Later calls may bring other data.
    Y : array (n, k)
    weights : array (n,) or None
    alpha : float
        Weight of ‖W‖² next to the sum of squared errors over the first data.
    """

    def __init__(
        self, X: Any, Y: Array, weights: Array | None, *, fit_intercept: bool, alpha: float,
        optimizer: Optimizer | None, batch_size: int | None, seed: int,
    ):  # fmt: skip
        Y = Y.astype(np.float64)
        self._means = np.average(Y, axis=0, weights=weights) if fit_intercept else np.zeros(Y.shape[1])
        spread = np.sqrt(np.average((Y - self._means) ** 2, axis=0, weights=weights))
        self._scales = np.where(spread > 0, spread, 1.0)
        layer = Dense(Y.shape[1], kernel_init="zeros", use_bias=fit_intercept)
        dtype = "float32" if X.dtype == np.float32 else "float64"
        total = X.shape[0] if weights is None else float(weights.sum())
        self._trainer = Trainer(
            Sequential([layer], input_dim=X.shape[1], dtype=dtype),
            loss="mse",
            optimizer=Adam(InverseSqrt(0.01, steps=1000)) if optimizer is None else optimizer,
            batch_size=batch_size,
            seed=seed,
            penalty=l2_penalty(alpha, total) if alpha else None,
        )

    @property
    def n_targets(self) -> int:
        """k."""
        return self._trainer.model.output_dim

    def train(self, X: Any, Y: Array, weights: Array | None, *, epochs: int, tol: float | None) -> int:
        """Train for at most `epochs`; how many it took.

        With a `tol` it stops when the loss, in variances of the targets, has not sunk by `tol` in
        `PATIENCE` epochs, and warns if that never happens, or if it ended worse than it began.
        """
        before = self._trainer.epoch
        stop = [] if tol is None else [Plateau(tol * Y.shape[1])]
        scaled = ((Y - self._means) / self._scales).astype(self._trainer.model.dtype)
        history = self._trainer.fit(rows_of(X), scaled, epochs=epochs, sample_weight=weights, callbacks=stop)
        trouble = None
        if tol is not None and history["loss"][-1] > 2 * Y.shape[1]:  # predicting the means has a loss of k
            trouble = "the coefficients are worse than none; lower the optimizer's rate, or"
        elif tol is not None and history.stopped_by == "epochs":
            trouble = f"the loss was still sinking after {epochs} epochs; raise max_iter, or"
        if trouble:
            trouble += " standardise the features, or choose another optimizer"
            warnings.warn(trouble, ConvergenceWarning, stacklevel=4)
        return self._trainer.epoch - before

    def start_from(self, W: Array, b: Array) -> None:
        """Begin with coefficients of another solver: what `coefficients` would return."""
        found = list(self._trainer.model.parameters().values())
        found[0][:] = W / self._scales
        if len(found) > 1:
            found[1][:] = (b - self._means) / self._scales

    def coefficients(self) -> tuple[Array, Array]:
        """W (p, k) and b (k,), in the units of the targets."""
        found, dtype = list(self._trainer.model.parameters().values()), self._trainer.model.dtype
        bias = found[1] if len(found) > 1 else np.zeros(len(self._scales))
        return (found[0] * self._scales).astype(dtype), (bias * self._scales + self._means).astype(dtype)


class Plateau(Callback):
    """Stops when the loss has not sunk by `least` in some epochs."""

    def __init__(self, least: float):
        self._least, self._best, self._waited, self._since = least, np.inf, 0, 0

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """Count the epochs without progress."""
        progress = logs["loss"] < self._best - self._least
        if progress:
            self._waited, self._since = 0, trainer.step
        else:
            self._waited += 1
        self._best = min(self._best, logs["loss"])
        if self._waited >= PATIENCE and trainer.step - self._since >= PATIENT_STEPS:
            trainer.stop("no progress")


def l2_penalty(alpha: float, total_weight: float) -> L2:
    """The penalty that turns the mean loss into ridge's objective, divided by Σ weight.

    Ridge adds α‖W‖² to the sum of squared errors; `L2(λ)` adds ½λ‖W‖² to their mean.
    """
    return L2(2 * alpha / total_weight)

"""How an MLP learns: a trainer with scikit-learn's order of rows, penalty and stopping rule; and L-BFGS."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from hotloop.callbacks import Callback
from hotloop.losses import Loss
from hotloop.objective import Objective
from hotloop.optimizers import SGD, Optimizer
from hotloop.penalties import L2, PenaltyTerm
from hotloop.sequential import Sequential
from hotloop.session import EPOCHS
from hotloop.trainer import Trainer

__all__ = ["Minibatches", "Pace", "Watch", "l2", "run_lbfgs"]

Array = NDArray[Any]

SMALLEST_RATE = 1e-6
"""``learning_rate="adaptive"`` ends below it, as in scikit-learn."""


@dataclass
class Pace:
    """What of an optimizer outlives a fit, for `partial_fit`.

    Attributes
    ----------
    learning_rate : float
        Of the steps to come.
    state : ndarray (slots, θ.size) or None
        The optimizer's vectors.
    steps, epochs : int
        Done so far: bias corrections, schedules and dropout masks follow from them.
    """

    learning_rate: float
    state: Array | None = None
    steps: int = 0
    epochs: int = 0


def l2(alpha: float, weight: float) -> L2 | None:
    """½ α ‖W‖² / weight: scikit-learn's penalty on a mean loss over samples of so much weight together."""
    return L2(alpha / weight) if alpha and weight > 0 else None


@dataclass(frozen=True)
class _L2OverRows(L2):
    """L2 of a minibatch of `rows` rows; one of fewer rows has more of it."""

    rows: int = 0

    def term(self) -> PenaltyTerm:
        """With the rows."""
        return super().term()._replace(rows=self.rows)


class Minibatches(Trainer):
    """A trainer with scikit-learn's order of the rows, and its penalty: α over the rows of a minibatch.

    The last minibatch of an epoch, if it is smaller, has the larger penalty that this means.

    Parameters
    ----------
    rng : RandomState
        Where orders come from; the seed of dropout too.
    alpha : float
        α.
    mean_weight : float
        Of the samples: a minibatch of n rows counts as n times it. (scikit-learn takes the sum of its
        weights, which is the same where all weights are alike.)
    """

    def __init__(
        self, model: Sequential, *, loss: Loss, optimizer: Optimizer, batch_size: int, n_threads: int | None,
        rng: np.random.RandomState, seed: int, alpha: float, mean_weight: float, pace: Pace,
    ):  # fmt: skip
        weight = batch_size * mean_weight
        super().__init__(
            model, loss=loss, optimizer=optimizer, batch_size=batch_size, n_threads=n_threads, seed=seed,
            penalty=_L2OverRows(alpha / weight, batch_size) if alpha and weight > 0 else None,
        )  # fmt: skip
        self._rng = rng
        self._rows = np.empty(0, np.int64)
        self.epoch, self.step = pace.epochs, pace.steps
        if pace.state is not None:
            self.stepper.state[...] = pace.state
        if isinstance(optimizer, SGD) and not callable(optimizer.lr):
            self.lr_factor = pace.learning_rate / optimizer.lr

    def change_rate(self, before: float, after: float) -> None:
        """Go on with another rate. scikit-learn's velocity has the rate in it, and ours has not."""
        if before != after:
            self.lr_factor *= after / before
            self.stepper.state[...] *= before / after

    def _order(self, n: int, epoch: int) -> NDArray[np.int64]:
        if len(self._rows) != n:
            self._rows = np.arange(n)
        self._rng.shuffle(self._rows)
        return self._rows.copy()


class Watch(Callback):
    """Keeps an MLP's fitted attributes up to date, and stops it as scikit-learn would.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    report : callable
        From the logs of an epoch to the loss as scikit-learn reports it.
    rows : int
        Samples of an epoch.
    early, forever : bool
        Whether scores of validation data decide; whether nothing does, as in `partial_fit`.
    """

    def __init__(
        self,
        estimator: Any,
        report: Callable[[Mapping[str, float]], float],
        rows: int,
        early: bool,
        forever: bool,
    ):
        self._of, self._report, self._rows, self._early, self._forever = (
            estimator,
            report,
            rows,
            early,
            forever,
        )
        self.converged = False

    def epochs_at_once(self) -> int:
        """As many as may go by without an improvement, unless the rate follows their number."""
        e = self._of
        follows = e.solver == "sgd" and e.optimizer is None and e.learning_rate == "invscaling"
        return 1 if follows else int(min(max(e.n_iter_no_change + 1 - e._no_improvement_count, 1), EPOCHS))

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        """One more iteration."""
        e = self._of
        self.count(self._report(logs), logs.get("val_score", math.nan))
        if self._early and e.validation_scores_[-1] > e.best_validation_score_:
            e.best_validation_score_ = e.validation_scores_[-1]
            e._best = trainer.model.theta.copy(), trainer.model.running.copy()
        pace, before = e._optimizer, e._optimizer.learning_rate
        own = e.solver == "sgd" and e.optimizer is None
        if own and e.learning_rate == "invscaling":
            pace.learning_rate = e.learning_rate_init / (e.t_ + 1) ** e.power_t
        if e._no_improvement_count > e.n_iter_no_change:
            what = "Validation score" if self._early else "Training loss"
            said = (
                f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive epochs."
            )
            if own and e.learning_rate == "adaptive" and pace.learning_rate > SMALLEST_RATE:
                pace.learning_rate /= 5.0
                e._no_improvement_count = 0
                self._say(f"{said} Setting learning rate to {pace.learning_rate:f}")
            else:
                self.converged = True
                self._say(f"{said} Stopping.")
                if not self._forever:
                    trainer.stop("tol")
        if isinstance(trainer, Minibatches):
            trainer.change_rate(before, pace.learning_rate)

    def count(self, loss: float, score: float) -> None:
        """Take down an epoch's numbers, and whether they are better than before."""
        e = self._of
        e.n_iter_ += 1
        e.t_ += self._rows
        e.loss_ = loss
        e.loss_curve_.append(loss)
        self._say(f"Iteration {e.n_iter_}, loss = {loss:.8f}")
        if self._early:
            e.validation_scores_.append(score)
            self._say(f"Validation score: {score:f}")
            worse = score < e.best_validation_score_ + e.tol
        else:
            worse = loss > e.best_loss_ - e.tol
            e.best_loss_ = min(e.best_loss_, loss)
        e._no_improvement_count = e._no_improvement_count + 1 if worse else 0

    def _say(self, text: str) -> None:
        if self._of.verbose:
            print(text)


def run_lbfgs(estimator: Any, objective: Objective, report: Callable[[Array, float], float]) -> Any:
    """Minimise with SciPy's L-BFGS-B, in float64, and write θ into the model; SciPy's result.

    `report` makes scikit-learn's loss of θ and the objective's value.
    """
    e, precise = estimator, objective.astype("float64")

    def after_iteration(intermediate_result: Any) -> None:
        e.loss_curve_.append(report(intermediate_result.x, float(intermediate_result.fun)))
        if e.verbose:
            print(f"Iteration {len(e.loss_curve_)}, loss = {e.loss_curve_[-1]:.8f}")

    # SciPy's products are of vectors: BLAS threads would only wait for each other, and hold up other models.
    with threadpool_limits(1, "blas"):
        found = minimize(
            precise.value_and_gradient, objective.model.theta.astype(np.float64), method="L-BFGS-B", jac=True,
            callback=after_iteration, options={"maxfun": e.max_fun, "maxiter": e.max_iter, "gtol": e.tol},
        )  # fmt: skip
    e.loss_ = report(found.x, float(found.fun))
    e.n_iter_ = min(int(found.nit), e.max_iter)
    objective.model.theta[:] = found.x
    return found

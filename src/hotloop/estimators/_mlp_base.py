"""What `MLPClassifier` and `MLPRegressor` share: from checked data to a trained network."""

import copy
import math
import numbers
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from hotloop._checks import check_weights
from hotloop.callbacks import check_callbacks
from hotloop.errors import DivergenceError, InvalidTypeError, InvalidValueError
from hotloop.estimators._inputs import as_it_was_if_refused, read, rows_of
from hotloop.estimators._mlp_networks import check_parameters, hidden_layers, network, optimizer_of
from hotloop.estimators._mlp_training import Minibatches, Pace, Watch, l2, run_lbfgs
from hotloop.layers import Dense, Dropout
from hotloop.losses import Loss
from hotloop.objective import Objective
from hotloop.prediction import outputs_as_given
from hotloop.sequential import Sequential

__all__ = ["MLP", "Task", "trains_in_minibatches"]

Array = NDArray[Any]

HOW_TO_READ: dict[str, Any] = {"accept_sparse": "csr", "dtype": [np.float64, np.float32]}


def trains_in_minibatches(estimator: Any) -> bool:
    """Whether `partial_fit` is there."""
    return bool(estimator.solver != "lbfgs")


class Task(NamedTuple):
    """Samples to learn from, or to be scored on.

    Attributes
    ----------
    X : array or CSR matrix (n, n_features)
    y : array
        Labels or values as the user has them, for scores.
    targets : array
        What the loss takes.
    weights : ndarray (n,) or None
        Of the loss.
    given : ndarray (n,) or None
        Of the score: the user's, without those of classes.
    """

    X: Any
    y: Array
    targets: Array
    weights: Array | None
    given: Array | None

    def part(self, rows: Array) -> "Task":
        """Some of the samples."""
        weights, given = (None if w is None else w[rows] for w in (self.weights, self.given))
        return Task(self.X[rows], self.y[rows], self.targets[rows], weights, given)


class MLP(BaseEstimator, ABC):
    """Base of the multi-layer perceptrons."""

    n_outputs_: int
    n_features_in_: int
    out_activation_: str
    _model: Sequential
    _loss: Loss

    @property
    def coefs_(self) -> list[Array]:
        """The kernels, (fan_in, units) each: views into θ."""
        return [value for name, value in self._model.parameters().items() if name.endswith("/kernel")]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases, (units,) each: views into θ."""
        return [value for name, value in self._model.parameters().items() if name.endswith("/bias")]

    @property
    def model_(self) -> Sequential:
        """The network: save it, look at it, or hand it to `Objective`."""
        return self._model

    @abstractmethod
    def _read(self, X: Any, y: Any, weights: Any, *, reset: bool, grows: bool) -> Task:
        """Check data; settle classes, loss and outputs, if `reset`. `grows` says that it is partial_fit."""

    @abstractmethod
    def _stratify(self, task: Task) -> Any:
        """What a validation set must have in the same shares, or None."""

    @abstractmethod
    def _score_of(self, task: Task, outputs: Array) -> float:
        """The default score of the network's outputs."""

    @abstractmethod
    def _report_terms(self, task: Task) -> tuple[float, float]:
        """scikit-learn's loss is the first times ours plus the second, before the penalty."""

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any = None, y_val: Any = None, grows: bool = False
    ) -> Any:
        with as_it_was_if_refused(self):
            check_parameters(self)
            if grows and self.early_stopping:
                raise InvalidValueError("early_stopping: partial_fit does not support early_stopping=True")
            if grows and self.scoring is not None:
                raise InvalidValueError("scoring: partial_fit has no validation data to score; leave it out")
            if (X_val is None) != (y_val is None):
                raise InvalidValueError("X_val, y_val: give both, or none")
            if X_val is not None and self.solver == "lbfgs":
                raise InvalidValueError("X_val: L-BFGS does not stop early; choose solver='adam' or 'sgd'")
            first = not hasattr(self, "_model") or (not self.warm_start and not grows)
            task = self._read(X, y, sample_weight, reset=first, grows=grows)
            rng = check_random_state(self.random_state)
            self._begin(task, rng, first)
            if self.solver == "lbfgs":
                self._fit_lbfgs(task)
                return self
            validation = None
            if X_val is not None:
                validation = self._read(X_val, y_val, None, reset=False, grows=True)
            elif self.early_stopping or self.scoring is not None:
                task, validation = self._split(task, rng)
            self._fit_minibatches(task, validation, rng, grows)
            return self

    def _begin(self, task: Task, rng: np.random.RandomState, first: bool) -> None:
        """A new network, or the one that there is, if it is of the kind that the parameters ask for."""
        dtype = task.X.dtype if self.dtype == "auto" else np.dtype(self.dtype)
        n_in, n_out = task.X.shape[1], self._n_units()
        if not first:
            if [*self._model.layers] != [*hidden_layers(self), Dense(n_out)] or self._model.input_dim != n_in:
                raise InvalidValueError(
                    "warm_start, partial_fit: the network has other layers than the parameters ask for; "
                    "set warm_start=False and fit to start anew"
                )
        else:
            self._model = network(self, n_in, n_out, dtype, rng)
            self.n_layers_ = 1 + sum(isinstance(layer, Dense) for layer in self._model.layers)
            self.t_, self._no_improvement_count = 0, 0
            self.loss_curve_: list[float] = []
            self.best_loss_: float | None = math.inf
            self.validation_scores_: list[float] | None = None
            self.best_validation_score_: float | None = None
            self._best: tuple[Array, Array] | None = None
            self.__dict__.pop("_optimizer", None)
        self.n_iter_ = 0

    def _n_units(self) -> int:
        """Units of the last layer."""
        return self.n_outputs_

    def _go_on_with(self, loss: Loss, n_units: int) -> None:
        """Take a loss, perhaps another than so far; that one's values say nothing of this one's."""
        if n_units != self._n_units():
            raise InvalidValueError(
                f"loss: {self.loss!r} takes {n_units} units in the last layer, and the network has "
                f"{self._n_units()}; set warm_start=False and fit to start anew"
            )
        if loss != self._loss:
            self.best_loss_, self._no_improvement_count = math.inf, 0
        self._loss = loss

    def _split(self, task: Task, rng: np.random.RandomState) -> tuple[Task, Task]:
        """Set samples aside for validation, the same as scikit-learn would."""
        train, held = train_test_split(
            np.arange(task.X.shape[0]), random_state=rng, test_size=self.validation_fraction,
            stratify=self._stratify(task),
        )  # fmt: skip
        if len(held) < 2:
            raise InvalidValueError(
                "validation_fraction: The validation set is too small. Increase 'validation_fraction' or the "
                "size of your dataset."
            )
        return task.part(train), task.part(held)

    def _fit_minibatches(
        self, task: Task, validation: Task | None, rng: np.random.RandomState, grows: bool
    ) -> None:
        n, early = task.X.shape[0], validation is not None
        if early and self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_ = [], -math.inf
        self.best_loss_ = None if early else math.inf if self.best_loss_ is None else self.best_loss_
        trainer = self._trainer(task, rng, grows)
        watch = Watch(self, self._report(task), n, early, grows)
        options: dict[str, Any] = {}
        if validation is not None:
            data = rows_of(validation.X), validation.targets
            options["validation_data"] = data if validation.weights is None else (*data, validation.weights)
            options["metrics"] = {"score": self._scorer(validation)}
        try:
            trainer.fit(
                rows_of(task.X), task.targets, sample_weight=task.weights,
                epochs=1 if grows else self.max_iter, shuffle=self.shuffle, progress=self.progress,
                callbacks=[watch, *check_callbacks(self.callbacks or ())], **options,
            )  # fmt: skip
        except DivergenceError as error:
            if not early:
                raise _overflow() from error
            watch.count(math.nan, math.nan)
            warnings.warn(f"{error} The best weights so far are kept.", ConvergenceWarning, stacklevel=4)
        pace = self._optimizer
        pace.state, pace.steps, pace.epochs = trainer.stepper.state, trainer.step, trainer.epoch
        if self.n_iter_ == self.max_iter and not grows and not watch.converged:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization "
                "hasn't converged yet.",
                ConvergenceWarning, stacklevel=4,
            )  # fmt: skip
        if early and self._best is not None:
            self._model.theta[:], self._model.running[:] = self._best
            self._best = self._best if self.warm_start else None
        if not np.isfinite(self._model.theta).all():
            raise _overflow()

    def _trainer(self, task: Task, rng: np.random.RandomState, grows: bool) -> Minibatches:
        n, size = task.X.shape[0], 200 if self.batch_size == "auto" else self.batch_size
        if self.batch_size != "auto" and size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                stacklevel=5,
            )
        if not grows or not hasattr(self, "_optimizer"):
            self._optimizer = Pace(float(self.learning_rate_init))
        has_dropout = any(isinstance(layer, Dropout) for layer in self._model.layers)
        return Minibatches(
            self._model, loss=self._loss, optimizer=optimizer_of(self),
            batch_size=min(size, n), n_threads=self.n_threads,
            rng=rng, seed=int(rng.randint(np.iinfo(np.int32).max)) if has_dropout else 0,
            alpha=self.alpha, mean_weight=1.0 if task.weights is None else float(task.weights.mean()),
            pace=self._optimizer,
        )  # fmt: skip

    def _report(self, task: Task) -> Callable[[Mapping[str, float]], float]:
        """From the logs of an epoch to scikit-learn's loss."""
        factor, shift = self._report_terms(task)
        return lambda logs: factor * logs.get("data_loss", logs["loss"]) + shift + logs.get("penalty", 0.0)

    def _scorer(self, task: Task) -> Callable[[Array, Array], float]:
        """The score of validation data, as a metric of the trainer."""
        if self.scoring is None:
            return lambda _, outputs: (
                self._score_of(task, outputs) if np.isfinite(outputs).all() else math.nan
            )
        if not callable(self.scoring) and not isinstance(self.scoring, str):
            raise InvalidTypeError(f"scoring: expected a scorer or its name, got {self.scoring!r}")
        scorer = get_scorer(self.scoring)
        seen = copy.copy(self)  # the same network, but arrays without names of features are its own
        seen.__dict__.pop("feature_names_in_", None)
        options = {} if task.given is None else {"sample_weight": task.given}
        return lambda _, outputs: float(scorer(seen, task.X, task.y, **options))

    def _fit_lbfgs(self, task: Task) -> None:
        weight = float(task.X.shape[0] if task.weights is None else task.weights.sum())
        objective = Objective(
            self._model, rows_of(task.X), task.targets, loss=self._loss, penalty=l2(self.alpha, weight),
            sample_weight=task.weights, n_threads=self.n_threads,
        )  # fmt: skip
        factor, shift = self._report_terms(task)
        kernels = {name for name in self._model.parameters() if name.endswith("/kernel")}

        def report(theta: Array, value: float) -> float:
            squares = sum(
                float(np.sum(w**2)) for name, w in self._model.views(theta).items() if name in kernels
            )
            penalty = self.alpha * squares / (2 * weight)
            return factor * (value - penalty) + shift + penalty

        best, done = self.best_loss_, len(self.loss_curve_)
        found = run_lbfgs(self, objective, report)
        self.best_loss_ = min(self.loss_curve_[done:] or [self.loss_])
        self.best_loss_ = self.best_loss_ if best is None else min(self.best_loss_, best)
        if not np.isfinite(self._model.theta).all() or not math.isfinite(self.loss_):
            raise _overflow()
        if found.status != 0:
            warnings.warn(
                f"lbfgs failed to converge after {self.n_iter_} iteration(s): {found.message}\n"
                "Raise max_iter or max_fun, or scale the data.",
                ConvergenceWarning, stacklevel=4,
            )  # fmt: skip

    def _outputs(self, X: Any) -> Array:
        """The last layer's outputs for checked or unchecked X."""
        # scikit-learn's checks take many times longer than a few rows do, and the kernel checks them itself.
        fitted = self.__dict__
        if "_model" in fitted and "feature_names_in_" not in fitted:
            outputs = outputs_as_given(fitted["_model"], X, self.n_threads)
            if outputs is not None:
                return outputs
        check_is_fitted(self)
        X = read(self, X, reset=False, **HOW_TO_READ)
        return self._model.predict(rows_of(X), n_threads=self.n_threads)

    def _weights(self, weights: Any, n: int) -> Array | None:
        """Weights of samples, (n,)."""
        if weights is None:
            return None
        if isinstance(weights, numbers.Number):
            weights = np.full(n, weights)
        return check_weights(weights, "sample_weight", n, np.dtype(np.float64)).ravel().astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _overflow() -> InvalidValueError:
    return InvalidValueError(
        "X: Solver produced non-finite parameter weights. The input data may contain large values and need "
        "to be preprocessed."
    )

"""`Trainer`: stages blocks of minibatches and calls the compiled loop on each.

Follow a batch: `fit` → `_fit_epochs` → `_train_epoch` (order of the rows) → `Samples.fill` (a block of
minibatches) → `Stepper.train` → `engine.loop.train_block` (forward, loss, backward, update, for each
minibatch). Short epochs share a block: `_train_epochs`.
"""

import copy
import os
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_flag, check_integer, check_number
from hotloop.averages import Average, check_average
from hotloop.callbacks import Callback, check_callbacks
from hotloop.checkpoint import read_trainer, write_trainer
from hotloop.data.staging import Samples, check_samples
from hotloop.engine.cuts import SAMPLE, balance
from hotloop.engine.gather import link_convert
from hotloop.engine.loop import (
    GRADIENT_NORM,
    HIT_SUM,
    LOSS_SUM,
    PENALTY_VALUE,
    SUMS,
    WEIGHT_SUM,
    Block,
)
from hotloop.engine.random import permute
from hotloop.engine.table import ON_UNIT, mask_seed
from hotloop.engine.team import Team, check_threads
from hotloop.errors import DivergenceError, InvalidTypeError, InvalidValueError
from hotloop.evaluation import Evaluation
from hotloop.history import History
from hotloop.interrupt import InterruptFlag
from hotloop.losses import Custom, Loss, check_loss
from hotloop.metrics import Metric, check_metrics, check_targets, measure
from hotloop.optimizers import Adam, Optimizer, ScheduleFree
from hotloop.penalties import HAS_LIMIT, NUCLEAR, PROXIMAL, Penalty, check_penalty
from hotloop.progress import Progress
from hotloop.schedules import Schedule
from hotloop.sequential import Sequential
from hotloop.session import Session, Threads, threads_for
from hotloop.stepper import Recipe, Stepper

__all__ = ["Trainer"]

SETTLED = ("model", "loss", "penalty", "seed", "clip_norm", "clip_value", "average")
"""Attributes of a trainer that cannot be changed."""


class Trainer:
    """Trains a model: minibatches, an optimizer, a loss.

    The same seed gives the same weights, bit for bit, for any number of threads. Calling `fit` again
    goes on from where training stands.

    Parameters
    ----------
    model : Sequential
        Its θ is trained in place.
    loss : str or Loss
        What to minimise: a name from `hotloop.losses` ("softmax_cross_entropy", "mse", …), which has the
        formulas, or a loss with options, such as ``hl.losses.Huber(delta=2.0)``.
    optimizer : Optimizer, default Adam()
        How θ moves.
    penalty : Penalty, optional
        On the kernel of each layer that has none of its own: ``hl.L2(1e-4)``, ``hl.L1``, …. It is part of the
        loss that is minimised and reported.
    batch_size : int or None, default 128
        Rows of a minibatch; None means all rows. The last minibatch of an epoch may be smaller.
    seed : int, default 0
        The order of the rows and the masks of dropout follow from it.
    n_threads : int or None, default 1
        Threads to share each step, at most: fewer do it where that is quicker, with the same results. None
        means one for each processor available; the most are 1,024.
    clip_norm : float, optional
        A gradient (of loss and penalty, over all of θ) whose 2-norm is above it is scaled to it.
    clip_value : float, optional
        Each number of the gradient is limited to ± this; not together with `clip_norm`.
    average : Average, optional
        ``hl.EMA(0.999)`` or ``hl.SWA(epochs=5)``: `averaged_model` then has the averaged weights.

    Attributes
    ----------
    history : History
        All epochs so far.
    epoch : int
        Epochs done so far.
    lr_factor : float
        Multiplies the learning rate from the next block of steps on; 1 at first.
    optimizer : Optimizer
        Another of the same kind may be assigned, as by ``dataclasses.replace(trainer.optimizer, lr=1e-4)``.
        So may `batch_size` and `n_threads`; what else the steps are made of stays as it is.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an argument is not as described.

    Examples
    --------
    >>> import hotloop as hl
    >>> X, y = hl.data.synthetic_digits(500, seed=0)
    >>> model = hl.Sequential([hl.Dense(32, "relu"), hl.Dense(10)], input_dim=784, uint8_scale=1 / 255)
    >>> trainer = hl.Trainer(model, loss="softmax_cross_entropy", optimizer=hl.Adam(3e-3), batch_size=25)
    >>> history = trainer.fit(X, y, epochs=10)
    >>> history["accuracy"][-1] > 0.9
    True
    """

    def __init__(
        self,
        model: Sequential,
        *,
        loss: str | Loss,
        optimizer: Optimizer | None = None,
        penalty: Penalty | None = None,
        batch_size: int | None = 128,
        seed: int = 0,
        n_threads: int | None = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        average: Average | None = None,
    ):
        if not isinstance(model, Sequential):
            raise InvalidTypeError(f"model: expected a hotloop.Sequential, got {model!r}")
        optimizer = Adam() if optimizer is None else optimizer
        self.model = model
        self.loss = check_loss(loss, model.output_dim, model.output_activation)
        self.optimizer = optimizer
        self.penalty = check_penalty(penalty, "penalty")
        self.batch_size: int | None = batch_size
        self.seed = check_integer(seed, "seed", low=0)
        self.n_threads: int = check_threads(n_threads)
        self.clip_norm = _check_clip(clip_norm, "clip_norm")
        self.clip_value = _check_clip(clip_value, "clip_value")
        if self.clip_norm is not None and self.clip_value is not None:
            raise InvalidValueError("clip_norm, clip_value: give one of them, not both")
        self.average = check_average(average, "average")
        self._check_schedule_free()
        self.history = History()
        self.columns: tuple[str, ...] = ()
        self.epoch = 0
        self.stepper = Stepper(
            model,
            Recipe(
                self.loss, optimizer, self.penalty, self.clip_norm, self.clip_value, self.average, self.seed
            ),
        )
        self._threads: Threads | None = None
        self._stop_reason: str | None = None
        self._stop_now = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, checked; what the steps of this trainer are made of stays as it is."""
        if name in SETTLED and name in self.__dict__:
            raise InvalidTypeError(
                f"{name}: this trainer's steps, and what they remember, are made of it; for another, make a "
                "new hl.Trainer"
            )
        if name == "batch_size" and value is not None:
            value = check_integer(value, "batch_size", low=1)
        elif name == "n_threads":
            value = check_threads(value)
        elif name == "optimizer":
            if not isinstance(value, Optimizer):
                raise InvalidTypeError(f"optimizer: expected one such as hl.Adam(1e-3), got {value!r}")
            if name in self.__dict__:
                self.stepper.change_optimizer(value)
        super().__setattr__(name, value)

    def _check_schedule_free(self) -> None:
        """Averages within the optimizer, and what else would change θ after its step."""
        if not isinstance(self.optimizer, ScheduleFree):
            return
        kind = type(self.optimizer).__name__
        if self.average is not None:
            raise InvalidValueError(f"average: {kind} averages already; leave it out")
        for _, _, penalty in self.model.penalties(self.penalty):
            if penalty.code in (PROXIMAL, NUCLEAR, *HAS_LIMIT):
                raise InvalidValueError(
                    f"penalty: {penalty!r} changes the weights after the step, which does not go together "
                    f"with the averages of {kind}; use L1, L2 or ElasticNet, or another optimizer"
                )

    @property
    def step(self) -> int:
        """Updates of θ done so far."""
        return self.stepper.steps_done

    @step.setter
    def step(self, steps: int) -> None:
        self.stepper.steps_done = steps

    @property
    def lr_factor(self) -> float:
        """Multiplies the learning rate from the next block of steps on."""
        return self.stepper.lr_factor

    @lr_factor.setter
    def lr_factor(self, factor: float) -> None:
        self.stepper.lr_factor = check_number(factor, "lr_factor", low=0.0)

    def __repr__(self) -> str:
        named = {name: getattr(self, name) for name in ("penalty", "clip_norm", "clip_value", "average")}
        options = [f"{name}={value!r}, " for name, value in named.items() if value is not None]
        return (
            f"Trainer({self.model!r}, loss={self.loss.label()}, optimizer={self.optimizer!r}, "
            f"{''.join(options)}batch_size={self.batch_size}, seed={self.seed}, n_threads={self.n_threads})"
        )

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int = 10,
        validation_data: tuple[Any, ...] | None = None,
        sample_weight: Any = None,
        shuffle: bool = True,
        progress: bool = False,
        callbacks: Callback | Iterable[Callback] = (),
        metrics: str | Iterable[str] | Mapping[str, Metric] = (),
    ) -> History:
        """Train for some epochs.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix (n, input_dim)
            Real, finite numbers: float32, float64, uint8, …; any memory order. A memory map is never
            copied whole, and a sparse matrix becomes dense some rows at a time.
        y : array-like
            What the loss takes. Classes 0 … output_dim − 1, or signs ±1, have shape (n,); values and
            probabilities (n, output_dim), or (n,) for one output.
        epochs : int, default 10
            Passes over the data, at least 1.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Evaluated after each epoch: columns "val_loss" and "val_accuracy" of the history.
        sample_weight : array-like (n,), optional
            How much each sample counts, at least 0. The loss is Σ weight · loss / Σ weight over each
            minibatch.
        shuffle : bool, default True
            A new order of the rows each epoch; else the given order.
        progress : bool, default False
            Show a progress bar on stderr.
        callbacks : Callback or list of Callback
            Called around each epoch.
        metrics : str, list of str, or {str: callable}, optional
            More numbers of the validation data after each epoch: "r2", or functions of
            ``(y, outputs)``, with y as you gave it and `predict`'s outputs. The column of
            "r2" is "val_r2".

        Returns
        -------
        History
            ``trainer.history``: all epochs of this trainer. "loss" is the mean over the minibatches of an
            epoch as they were trained on. With a penalty it is the sum of "data_loss" and "penalty" (of
            `Nuclear` the value at the epoch's end); "val_loss" has no penalty, so compare it with
            "data_loss". "lr" is the rate of the last step, and "gradient_norm", where it is clipped or
            watched, the mean over the steps.

        Notes
        -----
        A later fit goes on: optimizer, average, step and epoch. Lengths that were given in epochs, as in
        ``hl.Cosine(0.1, epochs=10)``, are counted in the steps that an epoch of the running fit has: with
        other numbers of rows they begin and end elsewhere.

        Raises
        ------
        InvalidValueError, InvalidTypeError
            If an argument is not as described; nothing was trained then.
        DivergenceError
            If the loss is not finite; the model holds the last finite weights.

        Warns
        -----
        UserWarning
            On Ctrl-C: training ends after the running block, with a usable model and history. (A
            second Ctrl-C raises KeyboardInterrupt.)
        """
        samples = self._check_samples(X, y, sample_weight)
        epochs = check_integer(epochs, "epochs", low=1)
        held_out = self._check_validation(validation_data)
        shuffle = check_flag(shuffle, "shuffle")
        progress = check_flag(progress, "progress")
        callbacks = check_callbacks(callbacks)
        watched = check_metrics(metrics)
        if watched and held_out is None:
            raise InvalidValueError("metrics: are of the validation data; pass validation_data=(X, y)")
        if held_out is not None:
            check_targets(watched, held_out.given_targets, self.model.output_dim)
        self.model.check_trainable()
        batch_size = min(self.batch_size or len(samples), len(samples))
        if self.model.has_batch_norm and batch_size < 2:
            raise InvalidValueError(
                f"batch_size: the minibatches have {batch_size} row, and batch normalisation needs at least "
                "2, since one row has no variance; take larger ones, or leave BatchNorm out"
            )
        if not np.isfinite(self.model.theta).all():
            raise InvalidValueError("model.theta: has NaN or infinite weights; set it to finite ones first")
        self._prepare(samples, batch_size, callbacks)
        self.columns = self._names_of_columns(held_out is not None, watched)
        for callback in callbacks:
            callback.check_fit(self)
        if self.model.needs_standardizing:
            self.model.standardize(samples.features)

        with Team(self.n_threads) as team:
            if not isinstance(self.loss, Custom):  # Python looks at the rows of those
                samples = samples.for_loop(self.model.dtype)
            converts = samples.other is not None
            gathers = converts or (shuffle and samples.flat is not None)
            net = self.stepper.bind(batch_size, team.n_threads, gathers, samples.filled, converts)
            if samples.other is not None:
                link_convert(net, samples.other.dtype)
            if net.relays and not net.table[0, ON_UNIT]:
                balance(net.cuts, samples.filled(SAMPLE))
            self._threads = threads_for(self.model, batch_size, team.n_threads, self._threads)
            kept_bytes = self.stepper.kept_bytes
            session = Session(
                self.model, net, samples, batch_size, team, self._threads, kept_bytes, epochs, shuffle
            )
            self.stepper.compile(session.net, session.block)
            validation = None
            if held_out is not None:
                validation = Evaluation(self.model, self.loss, held_out, team)
                validation.compile()
            with Progress(progress, epochs, len(samples)) as session.bar, InterruptFlag() as interrupt:
                for callback in callbacks:
                    callback.on_fit_begin(self)
                done = 0
                while done == 0 or (done < epochs and self._stop_reason is None):
                    done += self._fit_epochs(
                        session, done, epochs, shuffle, validation, watched, callbacks, interrupt
                    )
                    if interrupt.raised:
                        self.stop("interrupt")
                self.history.stopped_by = self._stop_reason or "epochs"
                for callback in callbacks:
                    callback.on_fit_end(self)
        if interrupt.raised:
            warnings.warn(f"training was interrupted; {self.epoch} epochs are complete", stacklevel=2)
        return self.history

    def _prepare(self, samples: Samples, batch_size: int, callbacks: tuple[Callback, ...]) -> None:
        """What a fit settles before its first step."""
        stepper = self.stepper
        stepper.steps_per_epoch = -(-len(samples) // batch_size)
        stepper.resolve_rate()
        # Whether the loss has a part that is not of the data.
        self._is_penalised = any(p.code not in HAS_LIMIT for *_, p in self.model.penalties(self.penalty))
        stepper.reports_norm = self.clip_norm is not None or any(c.needs_gradient_norm for c in callbacks)
        self._stop_reason = self.history.stopped_by = None
        self._stop_now = False

    def _names_of_columns(self, validated: bool, metrics: Mapping[str, Metric]) -> tuple[str, ...]:
        means = ("loss", "accuracy") if self.loss.has_accuracy else ("loss",)
        names = (*means, *(("data_loss", "penalty") if self._is_penalised else ()), "lr")
        names += ("gradient_norm",) if self.stepper.reports_norm else ()
        return names + tuple(f"val_{name}" for name in (*means, *metrics) if validated)

    def stop(self, reason: str, *, now: bool = False) -> None:
        """End training after the running epoch; `reason` becomes ``history.stopped_by``.

        With ``now=True`` after the running block of steps, about a tenth of a second, up to half a
        second where there are millions of weights: the epoch then has no entry in the history.
        """
        if not isinstance(reason, str):
            raise InvalidTypeError(f"reason: expected some text, got {reason!r}")
        if not reason:
            raise InvalidValueError("reason: say why, it becomes history.stopped_by; it is empty")
        self._stop_reason = reason
        self._stop_now = self._stop_now or now

    def evaluate(self, X: Any, y: Any, *, sample_weight: Any = None) -> dict[str, float]:
        """Mean loss, and accuracy where the loss has one, of the model on some data.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        dict
            "loss", and "accuracy" where the loss has one: weighted means over the samples.

        Raises
        ------
        InvalidValueError, InvalidTypeError
            If an argument is not as described.
        """
        samples = self._check_samples(X, y, sample_weight)
        with Team(self.n_threads) as team:
            totals = Evaluation(self.model, self.loss, samples, team).totals()
        return self._means(totals)

    def averaged_model(self) -> Sequential:
        """A copy of the model with the averaged weights: it predicts and saves like any other.

        Its running statistics are those of the model.

        Raises
        ------
        InvalidValueError
            If the trainer has no `average`, or it has taken no weights yet.
        """
        average = self.stepper.average
        if self.average is None:
            raise InvalidValueError("average: pass one, such as hl.EMA() or hl.SWA(epochs=...), to Trainer")
        if not average.any():
            raise InvalidValueError(f"average: {self.average!r} has taken no weights yet; fit, or fit longer")
        model = copy.deepcopy(self.model)
        model.theta[:] = average
        return model

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that training goes on from: model, optimizer state, average, step, epoch, history.

        One safetensors file, written beside `path` and renamed: a kill at any moment leaves one whole
        file. `Sequential.load` reads its model.

        Raises
        ------
        InvalidTypeError
            If the learning rate or the loss is a function of your own: files hold data, never code.
        OSError
            If the file cannot be written.
        """
        write_trainer(self, Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Trainer":
        """Read a trainer that `save` wrote; its `fit` goes on, bit for bit, as if it had not stopped.

        Callbacks are not part of it: an `EarlyStopping` starts anew. ``n_threads`` is that of the file; set
        ``trainer.n_threads`` for another machine, it changes no result.

        Raises
        ------
        FileFormatError
            If the file is damaged, truncated, or does not hold a hotloop trainer.
        NotFoundError
            If there is no such file.

        Examples
        --------
        >>> import hotloop as hl, tempfile, pathlib
        >>> X, y = hl.data.synthetic_digits(100)
        >>> model = hl.Sequential([hl.Dense(10)], input_dim=784, uint8_scale=1 / 255)
        >>> trainer = hl.Trainer(model, loss="softmax_cross_entropy")
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "training.safetensors"
        >>> trainer.fit(X, y, epochs=4).epochs
        4
        >>> trainer.save(path)
        >>> hl.Trainer.load(path).fit(X, y, epochs=6).epochs
        10
        """
        return read_trainer(cls, Path(path))

    def _check_samples(
        self, X: Any, y: Any, weights: Any, names: tuple[str, str, str] = ("X", "y", "sample_weight")
    ) -> Samples:
        model = self.model
        return check_samples(
            X, y, weights, loss=self.loss, n_in=model.input_dim, n_out=model.output_dim,
            dtype=model.dtype, scale=model.uint8_scale, names=names,
        )  # fmt: skip

    def _check_validation(self, data: Any) -> Samples | None:
        if data is None:
            return None
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise InvalidTypeError(
                f"validation_data: expected (X, y) or (X, y, sample_weight), got {type(data).__name__}"
            )
        X, y, weights = (*data, None)[:3]
        names = ("validation_data[0]", "validation_data[1]", "validation_data[2]")
        return self._check_samples(X, y, weights, names)

    def _fit_epochs(
        self,
        session: Session,
        done: int,
        epochs: int,
        shuffle: bool,
        validation: Evaluation | None,
        metrics: Mapping[str, Metric],
        callbacks: tuple[Callback, ...],
        interrupt: InterruptFlag,
    ) -> int:
        """After `done` of the epochs of a fit, the next one, or some short ones, and what surrounds them.

        Returns how many. One that is interrupted leaves no entry in the history.
        """
        n_epochs = 1
        if self._may_join_epochs and validation is None:
            most = min([epochs - done, *(callback.epochs_at_once() for callback in callbacks)])
            n_epochs = session.epochs_of_next_block(most)
        session.bar.begin_epoch(done + n_epochs)
        for k in range(n_epochs):
            for callback in callbacks:
                callback.on_epoch_begin(self, self.epoch + k + 1)
        with self.stepper.training():
            if n_epochs > 1:
                logs_of_epochs, error = self._train_epochs(session, n_epochs, shuffle)
                self._end_block(callbacks)
            else:
                logs_of_epochs, error = self._train_epoch(session, shuffle, callbacks, interrupt)
        for logs in logs_of_epochs:
            if validation is not None:
                totals = validation.totals(interrupt)
                if interrupt.raised:
                    break
                found = self._means(totals) | self._measure(metrics, validation.samples)
                logs |= {f"val_{name}": value for name, value in found.items()}
            session.bar.advance(0, logs)
            self.epoch += 1
            self.history.append(logs)
            for callback in callbacks:
                callback.on_epoch_end(self, self.epoch, logs)
        if error is not None:
            raise error
        return n_epochs

    @property
    def _may_join_epochs(self) -> bool:
        """Whether a block may have several epochs: nothing in Python happens at the end of one."""
        rate = self.optimizer.lr
        known = isinstance(rate, Schedule) or not callable(rate)  # a user's own may look at anything
        return known and self.stepper.in_one_call and not isinstance(self.optimizer, ScheduleFree)

    def _train_epoch(
        self, session: Session, shuffle: bool, callbacks: tuple[Callback, ...], interrupt: InterruptFlag
    ) -> tuple[list[dict[str, float]], DivergenceError | None]:
        """Train on every row once, block by block.

        Returns the numbers of the epoch, unless it was interrupted, and the error that ended it.
        """
        n = len(session.samples)
        order = self._order(n, self.epoch) if shuffle else None
        totals, steps, first = np.zeros(SUMS), 0, 0
        while first < n:
            last = min(first + session.rows_of_next_block(), n)
            rows = slice(first, last) if order is None else order[first:last]
            n_steps = -(-(last - first) // session.batch_size)
            block = session.samples.fill(session.block, rows)
            sums, failed = self._train_block(session, block, n_steps)
            if failed is not None:
                return [], self._divergence(0, steps + failed)
            totals, steps = _add_up(sums, totals), steps + n_steps
            session.bar.advance(last - first, self._means(totals.tolist()))
            first = last
            self._end_block(callbacks)
            if (interrupt.raised or self._stop_now) and first < n:
                return [], None
        return [self._numbers(totals.tolist(), self.stepper.last_rates[-1], steps)], None

    def _train_epochs(
        self, session: Session, n_epochs: int, shuffle: bool
    ) -> tuple[list[dict[str, float]], DivergenceError | None]:
        """`_train_epoch` several times over, in one block: of short epochs most would be Python's time."""
        n, steps = len(session.samples), session.steps_per_epoch
        orders = [self._order(n, self.epoch + k) for k in range(n_epochs if shuffle else 0)]
        block = session.samples.fill(session.block, np.concatenate(orders) if shuffle else slice(0, n))
        sums, failed = self._train_block(session, block, n_epochs * steps)
        sums[:, PENALTY_VALUE] *= sums[:, WEIGHT_SUM]
        totals = sums.reshape(n_epochs, steps, SUMS).sum(axis=1).tolist()
        whole = n_epochs if failed is None else failed // steps
        rates = self.stepper.last_rates[steps - 1 :: steps]
        logs = [self._numbers(*of_epoch, steps) for of_epoch in zip(totals[:whole], rates, strict=False)]
        for numbers in logs:
            session.bar.advance(n, numbers)
        return logs, None if failed is None else self._divergence(*divmod(failed, steps))

    def _end_block(self, callbacks: tuple[Callback, ...]) -> None:
        """Call the callbacks' `on_block_end`: they see the weights that predict."""
        if not callbacks:
            return
        with self.stepper.as_evaluated():
            for callback in callbacks:
                callback.on_block_end(self)

    def _order(self, n: int, epoch: int) -> NDArray[np.int64]:
        """The order of the rows in epoch 0, 1, …: it follows (seed, epoch), so a resumed run repeats it."""
        rows = np.empty(n, np.int64)
        permute(rows, mask_seed(self.seed), epoch)
        return rows

    def _train_block(
        self, session: Session, block: Block, n_steps: int
    ) -> tuple[NDArray[np.float64], int | None]:
        """Train on a block; the sums of its steps, and the first whose loss is not finite."""
        team, started = session.team_of_next_block(), time.perf_counter()
        sums, failed = self.stepper.train(session.net, block, n_steps, session.batch_size, team)
        if failed is None:
            session.took(team, time.perf_counter() - started, n_steps)
        return sums, failed

    def _divergence(self, epochs: int, step: int) -> DivergenceError:
        """The error of a step, from 0, after so many more whole epochs."""
        epoch, step = self.epoch + epochs + 1, step + 1
        return DivergenceError(
            f"the loss is not finite in epoch {epoch}, step {step}; the model holds the last finite weights. "
            f"Try a smaller learning rate (it was {self.stepper.last_rates[-1]:g}), standardised inputs "
            "(hl.Standardize()), clip_norm, or smaller targets.",
            epoch=epoch,
            step=step,
        )

    def _numbers(self, totals: Sequence[float], rate: float, steps: int) -> dict[str, float]:
        """What an epoch reports: means over the data, the parts of the loss, the last rate, the gradient."""
        logs = self._means(totals)
        if self._is_penalised:
            data, weight = logs["loss"], totals[WEIGHT_SUM]
            penalty = totals[PENALTY_VALUE] / weight if weight else float("nan")
            penalty += self.stepper.nuclear_value()
            logs |= {"loss": data + penalty, "data_loss": data, "penalty": penalty}
        logs["lr"] = float(rate)
        if self.stepper.reports_norm:
            logs["gradient_norm"] = totals[GRADIENT_NORM] / steps
        return logs

    def _measure(self, metrics: Mapping[str, Metric], samples: Samples) -> dict[str, float]:
        """The metrics of the model's outputs for the samples."""
        if not metrics:
            return {}
        outputs = self.model.predict(samples.features, n_threads=self.n_threads)
        return measure(metrics, samples.given_targets, outputs)

    def _means(self, totals: Sequence[float]) -> dict[str, float]:
        loss, hits, weight = totals[LOSS_SUM], totals[HIT_SUM], totals[WEIGHT_SUM]
        means = {"loss": loss / weight if weight else float("nan")}
        if self.loss.has_accuracy:
            means["accuracy"] = hits / weight if weight else float("nan")
        return means


def _add_up(sums: NDArray[np.float64], totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """`totals`, and those of more steps; `sums` is changed.

    One step after the other, so that they do not depend on how steps come in blocks.
    """
    sums[:, PENALTY_VALUE] *= sums[:, WEIGHT_SUM]
    sums[0] += totals
    added: NDArray[np.float64] = sums.sum(axis=0)
    return added


def _check_clip(value: Any, name: str) -> float | None:
    return None if value is None else check_number(value, name, low=1e-30)

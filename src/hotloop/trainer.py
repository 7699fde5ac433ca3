"""`Trainer`: stages blocks of minibatches and calls the compiled loop on each.

Follow a batch: `fit` → `_train_epoch` (order of the rows) → `Samples.fill` (a block of minibatches)
→ `Stepper.train` → `engine.loop.train_block` (forward, loss, backward, update, for each minibatch).
"""

import json
import os
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hotloop._checks import check_flag, check_integer
from hotloop.callbacks import Callback, check_callbacks
from hotloop.data.staging import BLOCK_BYTES, Samples, check_samples
from hotloop.engine.loop import Block, evaluate_block
from hotloop.engine.team import Team, check_threads
from hotloop.errors import DivergenceError, InvalidTypeError, InvalidValueError
from hotloop.files import read_tensors, write_tensors
from hotloop.history import History
from hotloop.interrupt import InterruptFlag
from hotloop.losses import LOSSES, Loss, check_loss
from hotloop.optimizers import OPTIMIZERS, Adam, Optimizer
from hotloop.progress import Progress
from hotloop.schedules import SCHEDULES
from hotloop.sequential import PREDICT_BATCH, STATE_PREFIX, Sequential
from hotloop.specs import spec_from_dict, spec_to_dict
from hotloop.stepper import Stepper

__all__ = ["Trainer"]

# What a trainer's file may name.
LOSS_TYPES = {type(loss).__name__: type(loss) for loss in LOSSES.values()}
RATE_TYPES = {kind.__name__: kind for kind in (*OPTIMIZERS, *SCHEDULES)}

BLOCK_SECONDS = 0.03
"""About how long a block runs: short enough for Ctrl-C and the bar, long enough to pay for Python."""


FORWARD_FLOPS, STEP_FLOPS = 2, 6
"""Arithmetic of a row for each parameter: multiply and add, once in prediction, three times in a step."""
SLOW_MACHINE = 1e10
"""Floating-point operations a second that any machine does: the pace before anything was measured."""


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
    batch_size : int or None, default 128
        Rows of a minibatch; None means all rows. The last minibatch of an epoch may be smaller.
    seed : int, default 0
        The order of the rows follows from it.
    n_threads : int or None, default 1
        Threads to share each step; None means one for each processor available.

    Attributes
    ----------
    history : History
        All epochs so far.
    epoch : int
        Epochs done so far.

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
        batch_size: int | None = 128,
        seed: int = 0,
        n_threads: int | None = 1,
    ):
        if not isinstance(model, Sequential):
            raise InvalidTypeError(f"model: expected a hotloop.Sequential, got {model!r}")
        optimizer = Adam() if optimizer is None else optimizer
        if not isinstance(optimizer, Optimizer):
            raise InvalidTypeError(f"optimizer: expected one such as hl.Adam(1e-3), got {optimizer!r}")
        self.model = model
        self.loss = check_loss(loss, model.output_dim)
        self.optimizer = optimizer
        self.batch_size = None if batch_size is None else check_integer(batch_size, "batch_size", low=1)
        self.seed = check_integer(seed, "seed", low=0)
        self.n_threads = check_threads(n_threads)
        self.history = History()
        self.columns: tuple[str, ...] = ()
        self.epoch = 0
        self._stepper = Stepper(model, self.loss, optimizer)
        self._stop_reason: str | None = None

    @property
    def step(self) -> int:
        """Updates of θ done so far."""
        return self._stepper.steps_done

    def __repr__(self) -> str:
        return (
            f"Trainer({self.model!r}, loss={self.loss.label()}, optimizer={self.optimizer!r}, "
            f"batch_size={self.batch_size}, seed={self.seed}, n_threads={self.n_threads})"
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
    ) -> History:
        """Train for some epochs.

        Parameters
        ----------
        X : array-like (n, input_dim)
            Real, finite numbers: float32, float64, uint8, …; any memory order. A memory map is never
            copied whole.
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

        Returns
        -------
        History
            ``trainer.history``: all epochs of this trainer. The loss of an epoch is the mean over its
            minibatches as they were trained on.

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
        validation = self._check_validation(validation_data)
        shuffle = check_flag(shuffle, "shuffle")
        progress = check_flag(progress, "progress")
        callbacks = check_callbacks(callbacks)
        names = ("loss", "accuracy") if self.loss.has_accuracy else ("loss",)
        if not np.isfinite(self.model.theta).all():
            raise InvalidValueError("model.theta: has NaN or infinite weights; set it to finite ones first")
        self.columns = names + tuple(f"val_{name}" for name in names if validation is not None)

        batch_size = min(self.batch_size or len(samples), len(samples))
        self._stop_reason = self.history.stopped_by = None
        with Team(self.n_threads) as team:
            session = _Session(self.model, samples, batch_size, team)
            self._stepper.compile(session.net, session.block)
            if validation is not None:
                self._evaluate(validation.first(1), Team(1))  # compiles
            with Progress(progress, epochs, len(samples)) as session.bar, InterruptFlag() as interrupt:
                for callback in callbacks:
                    callback.on_fit_begin(self)
                for k in range(epochs):
                    self._fit_epoch(session, k + 1, shuffle, validation, callbacks, interrupt)
                    if interrupt.raised:
                        self.stop("interrupt")
                    if self._stop_reason is not None:
                        break
                self.history.stopped_by = self._stop_reason or "epochs"
                for callback in callbacks:
                    callback.on_fit_end(self)
        if interrupt.raised:
            warnings.warn(f"training was interrupted; {self.epoch} epochs are complete", stacklevel=2)
        return self.history

    def stop(self, reason: str) -> None:
        """End training after the running epoch; `reason` becomes ``history.stopped_by``."""
        self._stop_reason = reason

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
            return self._evaluate(samples, team) or {}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that training goes on from: model, optimizer state, step, epoch, history.

        One safetensors file, written beside `path` and renamed: a kill at any moment leaves one whole
        file. `Sequential.load` reads its model.

        Raises
        ------
        InvalidTypeError
            If the learning rate is a function of your own: files hold data, never code.
        OSError
            If the file cannot be written.
        """
        state = {f"{STATE_PREFIX}{k}": vector for k, vector in enumerate(self._stepper.state)}
        write_tensors(
            Path(path),
            self.model.parameters() | state,
            {"architecture": self.model.architecture(), "trainer": json.dumps(self._to_dict())},
        )

    def _to_dict(self) -> dict[str, Any]:
        return {
            "loss": spec_to_dict(self.loss, "loss"),
            "optimizer": spec_to_dict(self.optimizer, "optimizer"),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "n_threads": self.n_threads,
            "epoch": self.epoch,
            "step": self.step,
            "history": dict(self.history),
            "stopped_by": self.history.stopped_by,
        }

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
        with read_tensors(Path(path)) as file:
            model = Sequential.from_file(file)
            entry = file.metadata_json("trainer")
            with file.complaints("what it says of the trainer is not hotloop's"):
                arguments = {name: entry[name] for name in ("batch_size", "seed", "n_threads")}
                loss = spec_from_dict(entry["loss"], LOSS_TYPES)
                trainer = cls(
                    model, loss=loss, optimizer=spec_from_dict(entry["optimizer"], RATE_TYPES), **arguments
                )
                trainer.epoch = check_integer(entry["epoch"], "epoch", low=0)
                trainer._stepper.steps_done = check_integer(entry["step"], "step", low=0)
                trainer.history = History.from_columns(entry["history"], entry["stopped_by"])
            state = trainer._stepper.state
            shapes = {f"{STATE_PREFIX}{k}": vector.shape for k, vector in enumerate(state)}
            file.check_tensors(shapes, model.dtype, but=tuple(model.parameters()))
            for name, vector in zip(shapes, state, strict=True):
                vector[:] = file.tensor(name)
        return trainer

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

    def _fit_epoch(
        self,
        session: "_Session",
        number: int,
        shuffle: bool,
        validation: Samples | None,
        callbacks: tuple[Callback, ...],
        interrupt: InterruptFlag,
    ) -> None:
        """One epoch with all that surrounds it; an interrupted one leaves no entry in the history."""
        session.bar.begin_epoch(number)
        for callback in callbacks:
            callback.on_epoch_begin(self, self.epoch + 1)
        logs = self._train_epoch(session, shuffle, interrupt)
        if logs is None:
            return
        if validation is not None:
            found = self._evaluate(validation, session.team, interrupt)
            if found is None:
                return
            logs |= {f"val_{name}": value for name, value in found.items()}
        session.bar.advance(0, logs)
        self.epoch += 1
        self.history.append(logs)
        for callback in callbacks:
            callback.on_epoch_end(self, self.epoch, logs)

    def _train_epoch(
        self, session: "_Session", shuffle: bool, interrupt: InterruptFlag
    ) -> dict[str, float] | None:
        """Train on every row once; the means of the epoch, or None if it was interrupted."""
        n = len(session.samples)
        # The order follows (seed, epoch), so that a resumed run repeats it.
        order = np.random.default_rng([self.seed, self.epoch]).permutation(n) if shuffle else None
        totals, first = np.zeros(3), 0
        while first < n:
            last = min(first + session.rows_of_next_block(), n)
            rows = slice(first, last) if order is None else order[first:last]
            totals += self._train_block(session, session.samples.fill(session.block, rows), first)
            session.bar.advance(last - first, self._means(totals))
            first = last
            if interrupt.raised and first < n:
                return None
        return self._means(totals)

    def _train_block(self, session: "_Session", block: Block, first_row: int) -> NDArray[np.float64]:
        """Train on a block; the sums of its minibatches. A loss that is not finite is an error."""
        started = time.perf_counter()
        sums, failed = self._stepper.train(session.net, block, session.batch_size, session.team)
        session.took(time.perf_counter() - started, len(sums))
        if failed is None:
            return np.asarray(sums.sum(axis=0))
        epoch, step = self.epoch + 1, first_row // session.batch_size + failed + 1
        rate = self.optimizer.rates(np.array([self.step]))[0]
        raise DivergenceError(
            f"the loss is not finite in epoch {epoch}, step {step}; the model holds the last finite weights. "
            f"Try a smaller learning rate (it was {rate:g}), standardised inputs, or smaller targets.",
            epoch=epoch,
            step=step,
        )

    def _evaluate(
        self, samples: Samples, team: Team, interrupt: InterruptFlag | None = None
    ) -> dict[str, float] | None:
        """Means over the samples, or None if it was interrupted. They do not depend on the threads."""
        model, n = self.model, len(samples)
        net = model.bind(min(PREDICT_BATCH, n), team.n_threads)
        rows = min(n, PREDICT_BATCH * batches_a_block(model, samples, PREDICT_BATCH, FORWARD_FLOPS))
        block, sums = samples.empty_block(rows, model.dtype), np.zeros(2)
        criterion = self.loss.criterion()
        for first in range(0, n, rows):
            part = samples.fill(block, slice(first, min(first + rows, n)))
            team.run(evaluate_block, net, part, criterion, model.theta, PREDICT_BATCH, sums)
            if interrupt is not None and interrupt.raised:
                return None
        return self._means(np.array([*sums, samples.total_weight]))

    def _means(self, totals: NDArray[np.float64]) -> dict[str, float]:
        loss, hits, weight = totals.tolist()
        means = {"loss": loss / weight if weight else float("nan")}
        if self.loss.has_accuracy:
            means["accuracy"] = hits / weight if weight else float("nan")
        return means


def batches_a_block(model: Sequential, samples: Samples, batch_size: int, flops: int) -> int:
    """Batches that should take about `BLOCK_SECONDS` and fit a block, before anything was measured.

    `flops` is the arithmetic of a row for each parameter.
    """
    by_time = BLOCK_SECONDS * SLOW_MACHINE / (flops * model.theta.size * batch_size)
    by_size = BLOCK_BYTES / (samples.row_bytes(model.dtype) * batch_size)
    return max(1, int(min(by_time, by_size)))


class _Session:
    """What lives as long as one fit: the staged block, the network's memory, and the pace."""

    bar: Progress

    def __init__(self, model: Sequential, samples: Samples, batch_size: int, team: Team):
        self.samples, self.batch_size, self.team = samples, batch_size, team
        steps = -(-len(samples) // batch_size)
        most = BLOCK_BYTES // (samples.row_bytes(model.dtype) * batch_size)
        self._most_steps = max(1, min(steps, most))
        self._steps = min(self._most_steps, batches_a_block(model, samples, batch_size, STEP_FLOPS))
        self.net = model.bind(batch_size, team.n_threads)
        self.block = samples.empty_block(self._most_steps * batch_size, model.dtype)

    def rows_of_next_block(self) -> int:
        """Rows of as many steps as should take `BLOCK_SECONDS`."""
        return self._steps * self.batch_size

    def took(self, seconds: float, steps: int) -> None:
        """Adapt to the time that a block took: at most four times as many steps as before."""
        wanted = BLOCK_SECONDS * steps / max(seconds, 1e-9)
        self._steps = max(1, min(int(wanted), 4 * self._steps, self._most_steps))

"""Trainers as files: all that training goes on from, in one safetensors file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotloop._checks import COUNTABLE, check_integer, check_number
from hotloop.averages import AVERAGES
from hotloop.files import read_tensors, write_tensors
from hotloop.history import History
from hotloop.losses import LOSSES
from hotloop.optimizers import OPTIMIZERS
from hotloop.penalties import PENALTIES
from hotloop.schedules import SCHEDULES
from hotloop.sequential import STATE_PREFIX, Sequential
from hotloop.specs import spec_from_dict, spec_to_dict

if TYPE_CHECKING:
    from hotloop.trainer import Trainer

__all__ = ["read_trainer", "write_trainer"]

LOSS_TYPES = {type(loss).__name__: type(loss) for loss in LOSSES.values()}
OPTIMIZER_TYPES = {kind.__name__: kind for kind in (*OPTIMIZERS, *SCHEDULES)}
OPTION_TYPES = {kind.__name__: kind for kind in (*PENALTIES, *AVERAGES)}

AVERAGE = f"{STATE_PREFIX}average"
NUMBERS = ("batch_size", "seed", "n_threads", "clip_norm", "clip_value")


def write_trainer(trainer: "Trainer", path: Path) -> None:
    """Write `trainer` to `path`, whole or not at all."""
    metadata = {"architecture": trainer.model.architecture(), "trainer": json.dumps(entry_of(trainer))}
    write_tensors(path, trainer.model.tensors() | _vectors(trainer), metadata)


def entry_of(trainer: "Trainer") -> dict[str, Any]:
    """All of a trainer but its vectors, as JSON can hold it."""
    specs = {name: getattr(trainer, name) for name in ("loss", "optimizer", "penalty", "average")}
    return {
        **{name: None if spec is None else spec_to_dict(spec, name) for name, spec in specs.items()},
        **{name: getattr(trainer, name) for name in NUMBERS},
        "epoch": trainer.epoch,
        "step": trainer.step,
        "lr_factor": trainer.lr_factor,
        "history": dict(trainer.history),
        "stopped_by": trainer.history.stopped_by,
    }


def read_trainer(kind: "type[Trainer]", path: Path) -> "Trainer":
    """The trainer that `write_trainer` wrote."""
    with read_tensors(path) as file:
        model = Sequential.from_file(file)
        entry = file.metadata_json("trainer")
        with file.complaints("what it says of the trainer is not hotloop's"):
            arguments: dict[str, Any] = {name: entry[name] for name in NUMBERS}
            for name in ("penalty", "average"):
                arguments[name] = None if entry[name] is None else spec_from_dict(entry[name], OPTION_TYPES)
            trainer = kind(
                model,
                loss=spec_from_dict(entry["loss"], LOSS_TYPES),
                optimizer=spec_from_dict(entry["optimizer"], OPTIMIZER_TYPES),
                **arguments,
            )
            trainer.epoch = check_integer(entry["epoch"], "epoch", low=0, below=COUNTABLE)
            trainer.step = check_integer(entry["step"], "step", low=0, below=COUNTABLE)
            trainer.lr_factor = check_number(entry["lr_factor"], "lr_factor", low=0.0)
            trainer.history = History.from_columns(entry["history"], entry["stopped_by"])
        vectors = _vectors(trainer)
        shapes = {name: vector.shape for name, vector in vectors.items()}
        file.check_tensors(shapes, model.dtype, but=tuple(model.tensors()))
        for name, vector in vectors.items():
            vector[:] = file.tensor(name)
    return trainer


def _vectors(trainer: "Trainer") -> dict[str, Any]:
    """The vectors beside the model's, by name: the optimizer's, and the average."""
    vectors = {f"{STATE_PREFIX}{k}": vector for k, vector in enumerate(trainer.stepper.state)}
    return vectors | ({AVERAGE: trainer.stepper.average} if trainer.average is not None else {})

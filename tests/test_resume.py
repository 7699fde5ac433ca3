"""Training saved, killed, loaded and gone on with equals training that never stopped."""

import contextlib
import json
import subprocess
import sys
from inspect import isabstract

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import hotloop as hl
from hotloop._jit import COMPILED
from hotloop.checkpoint import entry_of
from hotloop.errors import FileFormatError, HotloopError, InvalidTypeError, NotFoundError
from hotloop.losses import LOSSES
from hotloop.optimizers import OPTIMIZERS, Optimizer
from hotloop.schedules import SCHEDULES, Schedule
from hotloop.specs import spec_from_dict, spec_to_dict

pytestmark = pytest.mark.skipif(not COMPILED, reason="the face is tested compiled")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((37, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 37)


def trainer_of(optimizer=None, dtype="float32", **given):
    model = hl.Sequential([hl.Dense(7, "gelu"), hl.Dense(3)], input_dim=4, dtype=dtype, seed=5)
    return hl.Trainer(
        model,
        loss=given.pop("loss", "softmax_cross_entropy"),
        optimizer=optimizer or hl.Adam(hl.Warmup(5, hl.Cosine(0.05, steps=60))),
        batch_size=8,
        seed=3,
        **given,
    )


def assert_same(one, other):
    np.testing.assert_array_equal(one.model.theta, other.model.theta)
    np.testing.assert_array_equal(one.stepper.state, other.stepper.state)
    assert (one.epoch, one.step, dict(one.history)) == (other.epoch, other.step, dict(other.history))
    assert one.history.stopped_by == other.history.stopped_by
    assert repr(one) == repr(other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_four_epochs_and_six_are_ten(kind, dtype, tmp_path):
    optimizer = kind() if kind is hl.Rprop else kind(hl.Exponential(0.02, 0.99))
    whole = trainer_of(optimizer, dtype)
    whole.fit(X, Y, epochs=10)
    first = trainer_of(optimizer, dtype)
    first.fit(X, Y, epochs=4)
    first.save(tmp_path / "training")
    second = hl.Trainer.load(tmp_path / "training")
    assert_same(second, first)
    second.fit(X, Y, epochs=6)
    assert_same(second, whole)


def test_six_epochs_in_a_new_process(tmp_path):
    np.savez(tmp_path / "data.npz", X=X, y=Y)
    path = tmp_path / "training"
    trainer = trainer_of(n_threads=2)
    trainer.fit(X, Y, epochs=4, validation_data=(X, Y))
    trainer.save(path)
    code = f"""
import numpy as np, hotloop as hl
data = np.load({str(tmp_path / "data.npz")!r})
trainer = hl.Trainer.load({str(path)!r})
trainer.fit(data["X"], data["y"], epochs=6, validation_data=(data["X"], data["y"]))
trainer.save({str(path)!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    whole = trainer_of(n_threads=2)
    whole.fit(X, Y, epochs=10, validation_data=(X, Y))
    assert_same(hl.Trainer.load(path), whole)


def test_a_fresh_trainer_and_one_without_state_come_back(tmp_path):
    for optimizer in (hl.Adam(), hl.SGD(0.1)):
        trainer = trainer_of(optimizer)
        trainer.save(tmp_path / "training")
        assert_same(hl.Trainer.load(tmp_path / "training"), trainer)


def test_the_model_of_a_training_file_loads_alone(tmp_path):
    trainer = trainer_of()
    trainer.fit(X, Y, epochs=1)
    trainer.save(tmp_path / "training")
    model = hl.Sequential.load(tmp_path / "training")
    np.testing.assert_array_equal(model.predict(X), trainer.model.predict(X))


def test_a_function_of_the_users_own_is_refused_and_nothing_is_written(tmp_path):
    trainer = trainer_of(hl.SGD(lambda steps: np.full(steps.shape, 0.1)))
    with pytest.raises(InvalidTypeError, match=r"^optimizer\.lr: .*never code"):
        trainer.save(tmp_path / "training")
    assert not list(tmp_path.iterdir())


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "training"
    trainer = trainer_of()
    trainer.save(path)
    before = path.read_bytes()
    trainer.fit(X, Y, epochs=1)

    def fail(*arguments):
        raise OSError("no room")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as context:
            context.setattr(f"hotloop.files.os.{name}", fail)
            with pytest.raises(OSError, match="no room"):
                trainer.save(path)
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["training"]


def edited(tmp_path, edit):
    """A training file after `edit(tensors, trainer)`."""
    path = tmp_path / "training"
    trainer = trainer_of()
    trainer.fit(X, Y, epochs=1)
    trainer.save(path)
    tensors, entry = load_file(path), entry_of(trainer)
    edit(tensors, entry)
    metadata = {"format": "hotloop", "version": "1", "architecture": trainer.model.architecture()}
    save_file(tensors, path, metadata=metadata | {"trainer": json.dumps(entry)})
    return path


def put(**values):
    return lambda tensors, entry: entry.update(values)


@pytest.mark.parametrize(
    "edit",
    [
        put(epoch=-1), put(epoch="4"), put(step=None), put(step=2**63),
        put(epoch=10**400), put(batch_size=0), put(seed=-1), put(n_threads="all"),
        put(loss={"type": "os.system"}), put(loss={"type": "MSE", "more": 1}), put(loss=3), put(loss={}),
        put(optimizer={"type": "Cosine", "lr": 1, "steps": 3}), put(optimizer={"type": "SGD", "lr": "fast"}),
        put(optimizer={"type": ["SGD"]}), put(optimizer={"type": "SGD", "lr": {"type": "MSE"}}),
        put(history={"loss": [1.0], "accuracy": []}), put(history={"loss": ["a"]}), put(history=[1]),
        put(stopped_by=7),
        lambda tensors, entry: entry.pop("step"),
        lambda tensors, entry: tensors.pop("optimizer/1"),
        lambda tensors, entry: tensors.update({"optimizer/2": tensors["optimizer/1"]}),
        lambda tensors, entry: tensors.update({"optimizer/1": tensors["optimizer/1"][1:]}),
        lambda tensors, entry: tensors.update({"optimizer/1": tensors["optimizer/1"].astype(np.float64)}),
        lambda tensors, entry: tensors.update({"other": tensors["optimizer/1"]}),
    ],
)  # fmt: skip
def test_a_file_that_lies_is_refused(edit, tmp_path):
    with pytest.raises(FileFormatError, match="training: cannot be loaded"):
        hl.Trainer.load(edited(tmp_path, edit))


def test_what_is_no_training_file_is_refused(tmp_path):
    with pytest.raises(NotFoundError):
        hl.Trainer.load(tmp_path / "nothing")
    trainer_of().model.save(tmp_path / "model")
    with pytest.raises(FileFormatError, match="'trainer'"):
        hl.Trainer.load(tmp_path / "model")


@pytest.fixture(scope="module")
def training_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("resume") / "training"
    trainer_of().save(path)
    return path


@given(data=st.data())
def test_damaged_files_load_or_are_refused(data, training_file):
    content = bytearray(training_file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    damaged = training_file.with_name("damaged")
    damaged.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
    with contextlib.suppress(HotloopError):
        assert isinstance(hl.Trainer.load(damaged), hl.Trainer)


SPECS = [
    *LOSSES.values(),
    hl.losses.Huber(delta=2.5),
    hl.losses.SoftmaxCrossEntropy(label_smoothing=0.1, class_weight={1: 5.0}),
    hl.losses.SoftmaxCrossEntropy(class_weight=(1.0, 2.0, 3.0)),
    *(kind() for kind in OPTIMIZERS),
    hl.AdamW(hl.Warmup(5, hl.Warmup(2, 0.1)), betas=(0.5, 0.75), weight_decay=0.5),
    hl.SGD(np.float32(0.25), momentum=0.5),
]


@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_descriptions_survive_json(spec):
    loss_types = {type(loss).__name__: type(loss) for loss in LOSSES.values()}
    kinds = loss_types | {kind.__name__: kind for kind in (*OPTIMIZERS, *SCHEDULES)}
    assert spec_from_dict(json.loads(json.dumps(spec_to_dict(spec, "spec"))), kinds) == spec


def test_every_kind_may_be_named_in_a_file():
    def below(kind):
        return {sub for child in kind.__subclasses__() for sub in {child, *below(child)}}

    def public(kinds):
        return {kind for kind in kinds if not kind.__name__.startswith("_") and not isabstract(kind)}

    assert public(below(Optimizer)) == set(OPTIMIZERS)
    assert public(below(Schedule)) == set(SCHEDULES)

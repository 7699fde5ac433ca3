"""Model files: what is saved comes back bit for bit; what is damaged or foreign is refused and never run."""

import json
import os
import pickle
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

import hotloop as hl
from helpers import classes, net
from hotloop.errors import FileFormatError, NotFoundError

MODELS = {
    "float32": lambda: net(4, 8, 3, dtype="float32", seed=3),
    "float64": lambda: net(4, 8, 3),
    "no bias, scaled": lambda: hl.Sequential(
        [hl.Dense(5, "relu", use_bias=False), hl.Dense(2)], input_dim=3, uint8_scale=1 / 255
    ),
    "initializers": lambda: hl.Sequential(
        [
            hl.Dense(5, "selu", kernel_init="auto", bias_init=hl.initializers.Constant(0.5)),
            hl.Dense(4, "mish", kernel_init=hl.initializers.Orthogonal(1.5), bias_init="normal"),
            hl.Dense(2, kernel_init=hl.initializers.Normal(0.1), bias_init="ones"),
        ],
        input_dim=3,
    ),
    "one number": lambda: hl.Sequential([hl.Dense(1, use_bias=False)], input_dim=1),
}
ARCHITECTURE = {
    "layers": [
        {"type": "Dense", "units": 2, "activation": "relu", "kernel_init": "glorot_uniform",
         "bias_init": "zeros", "use_bias": True},
    ],
    "input_dim": 3, "seed": 0, "dtype": "float32", "uint8_scale": 1.0,
}  # fmt: skip
TENSORS = {"dense_0/kernel": np.ones((3, 2), np.float32), "dense_0/bias": np.ones(2, np.float32)}
HEADER = {"format": "hotloop", "version": "1"}


def write(path, architecture=ARCHITECTURE, tensors=TENSORS, **header):
    """A safetensors file with that metadata; `architecture` may be text, or None for no entry."""
    text = architecture if isinstance(architecture, str | None) else json.dumps(architecture)
    metadata = HEADER | header | ({} if text is None else {"architecture": text})
    save_file(tensors, path, {key: value for key, value in metadata.items() if value is not None})
    return path


def changed(**fields):
    """ARCHITECTURE with other fields."""
    return ARCHITECTURE | fields


def changed_layer(**fields):
    """ARCHITECTURE with other fields of its layer; those set to None are left out."""
    layer = {name: value for name, value in (ARCHITECTURE["layers"][0] | fields).items() if value is not None}
    return changed(layers=[layer])


def assert_refused(path, error=FileFormatError):
    """Loading raises `error`, and its message begins with the path."""
    with pytest.raises(error) as caught:
        hl.Sequential.load(path)
    assert isinstance(caught.value, hl.HotloopError)
    assert str(caught.value).startswith(f"{path}: ")


def loads_or_refuses(path):
    """Whatever is in the file: a model, or a `HotloopError`."""
    try:
        model = hl.Sequential.load(path)
    except hl.HotloopError:
        return
    assert isinstance(model, hl.Sequential)


def test_a_hand_written_file_loads(tmp_path):
    """What the other tests damage is whole before."""
    model = hl.Sequential.load(write(tmp_path / "model"))
    assert (
        repr(model) == "Sequential([Dense(units=2, activation='relu')], input_dim=3, seed=0, dtype='float32')"
    )
    assert (model.theta == 1).all()


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("as_path", [str, Path])
def test_a_model_comes_back_bit_for_bit(make, as_path, tmp_path):
    model, path = make(), as_path(tmp_path / "model.safetensors")
    model.theta[:] = np.random.default_rng(0).standard_normal(model.theta.size)
    model.theta[0] = -0.0
    model.save(path)
    again = hl.Sequential.load(path)
    assert repr(again) == repr(model)
    assert again.theta.dtype == model.theta.dtype
    assert again.theta.tobytes() == model.theta.tobytes()
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_a_loaded_model_still_trains(tmp_path):
    X, y = classes()
    model = net(4, 8, 3)
    model.save(tmp_path / "model")
    again = hl.Sequential.load(tmp_path / "model")
    for each in (model, again):
        hl.Trainer(each, loss="softmax_cross_entropy").fit(X, y, epochs=2)
    np.testing.assert_array_equal(again.theta, model.theta)


def test_other_programs_read_the_weights(tmp_path):
    from safetensors.numpy import load_file

    model = net(4, 8, 3)
    model.save(tmp_path / "model")
    tensors = load_file(tmp_path / "model")
    assert list(tensors) == sorted(model.parameters())
    for name, value in model.parameters().items():
        np.testing.assert_array_equal(tensors[name], value)


def test_saving_replaces_an_older_file(tmp_path):
    path = tmp_path / "model"
    net(4, 8, 3, seed=1).save(path)
    net(2, 1, seed=2).save(path)
    np.testing.assert_array_equal(hl.Sequential.load(path).theta, net(2, 1, seed=2).theta)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["OSError", "Ctrl-C"])
@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("older", [False, True], ids=["new", "over an older file"])
def test_a_failing_write_leaves_what_was_there(call, error, older, tmp_path, monkeypatch):
    path = tmp_path / "model"
    if older:
        net(4, 8, 3).save(path)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}

    def fail(*args):
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)):
        net(2, 1).save(path)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


def test_a_folder_is_not_overwritten(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(OSError, match="model"):
        net(2, 1).save(tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]


def test_a_missing_folder_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        net(2, 1).save(tmp_path / "nowhere" / "model")


def test_a_missing_file(tmp_path):
    assert_refused(tmp_path / "nothing", NotFoundError)


def test_a_folder(tmp_path):
    assert_refused(tmp_path)


NOT_SAFETENSORS = {
    "empty": b"",
    "text": b"hello, world\n" * 10,
    "zeros": bytes(1000),
    "header of 2**63 bytes": b"\xff" * 7 + b"\x7f" + b"{}",
    "header of a gigabyte": (1 << 30).to_bytes(8, "little") + b"{}",
}


@pytest.mark.parametrize("content", NOT_SAFETENSORS.values(), ids=NOT_SAFETENSORS)
def test_something_else(content, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(content)
    assert_refused(path)


class Payload:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "the pickle was run")


def test_a_pickle_is_refused_and_not_run(tmp_path):
    path, trace = tmp_path / "model", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Payload(trace)))
    assert_refused(path)
    assert not trace.exists()


def test_a_file_that_ends_early_is_refused_wherever_it_ends(tmp_path):
    path = tmp_path / "model"
    net(2, 2, 1).save(path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert_refused(path)
    path.write_bytes(content + b"more")
    assert_refused(path)


def content_of_a_model():
    with tempfile.TemporaryDirectory() as folder:
        net(2, 2, 1).save(Path(folder, "model"))
        return Path(folder, "model").read_bytes()


CONTENT = content_of_a_model()


@given(st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bits_are_refused_or_give_another_model(flips):
    damaged = bytearray(CONTENT)
    for place, mask in flips:
        damaged[place] ^= mask
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        path.write_bytes(damaged)
        loads_or_refuses(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([*ARCHITECTURE, "unknown"]), JSON)
def test_any_architecture_is_refused_or_loads(field, value):
    with tempfile.TemporaryDirectory() as folder:
        loads_or_refuses(write(Path(folder, "model"), changed(**{field: value})))


@given(st.sampled_from([*ARCHITECTURE["layers"][0], "unknown"]), JSON)
def test_any_layer_is_refused_or_loads(field, value):
    with tempfile.TemporaryDirectory() as folder:
        loads_or_refuses(write(Path(folder, "model"), changed_layer(**{field: value})))


FOREIGN = {
    "no metadata": {"format": None, "version": None, "architecture": None},
    "other format": {"format": "pt"},
    "no version": {"version": None},
    "newer version": {"version": "2"},
    "no architecture": {"architecture": None},
    "architecture not JSON": {"architecture": "{'layers': []}"},
    "architecture a list": {"architecture": "[]"},
    "architecture cut off": {"architecture": json.dumps(ARCHITECTURE)[:-1]},
    "architecture nested too deep": {"architecture": "[" * 100_000},
    "architecture of too many digits": {"architecture": '{"layers": ' + "9" * 10_000 + "}"},
    "empty": {"architecture": {}},
    "no layers": {"architecture": changed(layers=[]), "tensors": {}},
    "layers a number": {"architecture": changed(layers=1)},
    "layers of text": {"architecture": changed(layers=["Dense"])},
    "unknown layer": {"architecture": changed_layer(type="Conv2D")},
    "layer by dotted name": {"architecture": changed_layer(type="os.system")},
    "no type": {"architecture": changed_layer(type=None)},
    "unknown field of a layer": {"architecture": changed_layer(dilation=2)},
    "no units": {"architecture": changed_layer(units=None)},
    "units 0": {"architecture": changed_layer(units=0)},
    "units negative": {"architecture": changed_layer(units=-2)},
    "units a float": {"architecture": changed_layer(units=2.0)},
    "unknown activation": {"architecture": changed_layer(activation="rely")},
    "unknown initializer": {"architecture": changed_layer(kernel_init={"type": "eval", "value": 0})},
    "initializer without a type": {"architecture": changed_layer(kernel_init={"std": 1.0})},
    "initializer without its number": {"architecture": changed_layer(bias_init={"type": "Constant"})},
    "unknown field of an initializer": {
        "architecture": changed_layer(kernel_init={"type": "Normal", "std": 1.0, "mean": 0.0})
    },
    "initializer's number a text": {
        "architecture": changed_layer(kernel_init={"type": "Normal", "std": "1"})
    },
    "activation an initializer": {"architecture": changed_layer(activation={"type": "Normal", "std": 1.0})},
    "unknown kernel_init": {"architecture": changed_layer(kernel_init="eval")},
    "unknown field": {"architecture": changed(color="red")},
    "input_dim missing": {"architecture": {k: v for k, v in ARCHITECTURE.items() if k != "input_dim"}},
    "input_dim 0": {"architecture": changed(input_dim=0)},
    "input_dim text": {"architecture": changed(input_dim="3")},
    "seed negative": {"architecture": changed(seed=-1)},
    "dtype other": {"architecture": changed(dtype="float64")},
    "dtype unknown": {"architecture": changed(dtype="banana")},
    "dtype integer": {"architecture": changed(dtype="int32")},
    "dtype a list": {"architecture": changed(dtype=["float32"])},
    "scale infinite": {"architecture": changed(uint8_scale=float("inf"))},
    "tensor missing": {"tensors": {"dense_0/kernel": TENSORS["dense_0/kernel"]}},
    "no tensors": {"tensors": {}},
    "tensor too many": {"tensors": TENSORS | {"dense_1/bias": np.ones(2, np.float32)}},
    "tensor of other name": {
        "tensors": {"kernel": TENSORS["dense_0/kernel"], "dense_0/bias": TENSORS["dense_0/bias"]}
    },
    "tensor transposed": {"tensors": TENSORS | {"dense_0/kernel": np.ones((2, 3), np.float32)}},
    "tensor flat": {"tensors": TENSORS | {"dense_0/kernel": np.ones(6, np.float32)}},
    "tensor too long": {"tensors": TENSORS | {"dense_0/bias": np.ones(3, np.float32)}},
    "tensor of float64": {"tensors": TENSORS | {"dense_0/bias": np.ones(2, np.float64)}},
    "tensor of int32": {"tensors": TENSORS | {"dense_0/bias": np.ones(2, np.int32)}},
    "tensor of float16": {"tensors": TENSORS | {"dense_0/bias": np.ones(2, np.float16)}},
}


@pytest.mark.parametrize("parts", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_not_one_of_ours(parts, tmp_path):
    assert_refused(write(tmp_path / "model", **parts))


HUGE = {
    "units": changed_layer(units=10**12),
    "units whose product with the inputs overflows": changed(
        layers=[ARCHITECTURE["layers"][0] | {"units": 2**32}], input_dim=2**32
    ),
    "units beyond int64": changed_layer(units=10**30),
    "input_dim": changed(input_dim=10**12),
    "units times a list": changed(input_dim=[None], layers=[ARCHITECTURE["layers"][0] | {"units": 10**8}]),
    "two layers": changed(layers=[ARCHITECTURE["layers"][0] | {"units": 10**9}] * 2),
}


@pytest.mark.parametrize("architecture", HUGE.values(), ids=HUGE)
def test_a_huge_promise_takes_no_memory(architecture, tmp_path):
    path = write(tmp_path / "model", architecture)
    tracemalloc.start()
    try:
        started = time.perf_counter()
        assert_refused(path)
        assert time.perf_counter() - started < 1
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()

"""Files damaged in every way: an error of hotloop's own, or, where only weights changed, other weights."""

import gzip
import io
import json
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hotloop as hl
from helpers import classes
from loader import Loader
from sizes import marks, size
from strategies import searching

pytestmark = marks
X, Y = classes(24, 4, 2)


def a_model(path):
    layers = [hl.Standardize(), hl.Dense(3, "prelu", kernel_init=hl.initializers.Normal(0.5)), hl.BatchNorm(),
              hl.Dropout(0.1), hl.Dense(2, penalty=hl.L1(0.1))]  # fmt: skip
    hl.Sequential(layers, input_dim=4).save(path)


def a_trainer(path):
    model = hl.Sequential([hl.Dense(3, "tanh"), hl.Dense(2)], input_dim=4, dtype="float64")
    trainer = hl.Trainer(
        model, loss=hl.losses.SoftmaxCrossEntropy(class_weight={1: 2.0}), batch_size=7, clip_norm=1.0,
        optimizer=hl.Adam(hl.Warmup(3, hl.Cosine(0.01, epochs=4))), penalty=hl.L2(0.1), average=hl.EMA(0.5),
    )  # fmt: skip
    trainer.fit(X, Y, epochs=2)
    trainer.save(path)


FILES = {"model": a_model, "trainer": a_trainer}


@pytest.fixture(scope="module")
def loader():
    with_limit = Loader()
    yield with_limit
    with_limit.close()


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for name, make in FILES.items():
        make(folder / name)
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "file"


def result(loader, path, content):
    """What came of a file with this content: "refused", or the tensors' bytes; nothing else may."""
    path.write_bytes(content)
    found = loader(path)
    for value in found.values():
        assert value == "refused" or isinstance(value, dict), value
    return found


def parts(content):
    """(header as text, bytes of the tensors)."""
    n = int.from_bytes(content[:8], "little")
    return content[8 : 8 + n], content[8 + n :]


def joined(header, data, length=None):
    return struct.pack("<Q", len(header) if length is None else length) + header + data


@pytest.mark.parametrize("kind", FILES)
def test_a_whole_file_loads(kind, loader, contents, damaged):
    found = result(loader, damaged, contents[kind])
    assert isinstance(found["model"], dict)
    assert (found["trainer"] == "refused") == (kind == "model")


@searching(size(50, 5000))
@given(data=st.data(), kind=st.sampled_from(sorted(FILES)))
def test_flipped_bytes_are_refused_or_are_other_weights(data, kind, loader, contents, damaged):
    whole = contents[kind]
    header, _ = parts(whole)
    content, places = bytearray(whole), st.integers(0, len(whole) - 1)
    flips = data.draw(st.dictionaries(places, st.integers(1, 255), min_size=1, max_size=4))
    for place, mask in flips.items():
        content[place] ^= mask
    found = result(loader, damaged, content)
    if min(flips) >= 8 + len(header):  # within the tensors' own bytes: there is nothing to notice
        assert found["model"] != "refused"
        before = result(loader, damaged, whole)["model"]
        in_model = {name for name in found["model"] if found["model"][name] != before[name]}
        assert in_model or kind == "trainer", "the weights are not those of the file"


@searching(size(20, 1000))
@given(data=st.data(), kind=st.sampled_from(sorted(FILES)))
def test_files_that_end_early_or_late_are_refused(data, kind, loader, contents, damaged):
    whole = contents[kind]
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    longer = whole + data.draw(st.binary(min_size=1, max_size=20))
    for content in (cut, longer):
        assert set(result(loader, damaged, content).values()) == {"refused"}


JSON = st.recursive(
    st.sampled_from((None, True, 0, -1, 1e308, float("nan"), 10**18, 2**63, 10**400))
    | st.sampled_from(("", "F16", "F32", "BOOL", "\ud800"))
    | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
NUMBERS = st.sampled_from(
    (0, 1, 2, 3, 7, 8, 24, 10**6, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -1)
)


def places(value, path=()):
    """Each place in a JSON value, as the keys that lead to it."""
    yield path
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inner, (*path, key))


def replaced(value, path, new):
    """`value` with `new` at a place."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


@searching(size(50, 3000))
@given(data=st.data(), kind=st.sampled_from(sorted(FILES)))
def test_headers_that_lie_are_refused_or_change_nothing(data, kind, loader, contents, damaged):
    """Names, dtypes, shapes and offsets of the tensors: anything, in any place of the header."""
    header, values = parts(contents[kind])
    entries = json.loads(header)
    for _ in range(data.draw(st.integers(1, 2))):
        tensors = {name: entry for name, entry in entries.items() if name != "__metadata__"}
        place = data.draw(st.sampled_from(list(places(tensors))[1:]))
        if len(place) == 1 and data.draw(st.booleans()):
            other = data.draw(st.sampled_from(sorted(tensors)) | st.text(max_size=5))
            entries = {other if name == place[0] else name: entry for name, entry in entries.items()}
        else:
            entries = replaced(entries, place, data.draw(NUMBERS | JSON))
    found = result(loader, damaged, joined(json.dumps(entries).encode(), values))
    whole = result(loader, damaged, contents[kind])
    for key, value in found.items():
        assert value in ("refused", whole[key]), f"{key}: other weights"


@searching(size(50, 3000))
@given(data=st.data(), kind=st.sampled_from(sorted(FILES)))
def test_descriptions_that_lie_are_refused_or_can_be_trained(data, kind, loader, contents, damaged):
    """Whatever a file says of layers, optimizer, progress and history: what loads must also run."""
    header, values = parts(contents[kind])
    entries = json.loads(header)
    key = data.draw(st.sampled_from([k for k in ("architecture", "trainer") if k in entries["__metadata__"]]))
    said = json.loads(entries["__metadata__"][key])
    for _ in range(data.draw(st.integers(1, 2))):
        said = replaced(said, data.draw(st.sampled_from(list(places(said))[1:])), data.draw(NUMBERS | JSON))
        if not isinstance(said, dict):
            break
    entries["__metadata__"][key] = json.dumps(said)
    result(loader, damaged, joined(json.dumps(entries).encode(), values))


def huge(**metadata):
    entries = {"__metadata__": {"format": "hotloop", "version": "1", **metadata}}
    return joined(json.dumps(entries).encode(), b"")


MANY = 50_000
HUGE = {
    "a header of 2**63 bytes": lambda: joined(b"{}", b"", length=2**63),
    "a header longer than the file": lambda: joined(b"{}", b"", length=10**9),
    "a header of spaces": lambda: joined(b"{" + b" " * 20_000_000 + b"}", b""),
    "deep JSON": lambda: joined(b"[" * 5_000_000, b""),
    "deep architecture": lambda: huge(architecture="[" * 5_000_000),
    "a number of a million digits": lambda: huge(architecture='{"layers": ' + "9" * 1_000_000 + "}"),
    "many tensors": lambda: joined(
        json.dumps(
            {"__metadata__": {"format": "hotloop", "version": "1", "architecture": "{}"}}
            | {f"t{k}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for k in range(MANY)}
        ).encode(),
        b"",
    ),
    "many layers": lambda: huge(
        architecture=json.dumps(
            {
                "layers": [{"type": "Dropout", "rate": 0.5}] * (MANY // 10),
                "input_dim": 1,
                "seed": 0,
                "dtype": "float32",
            }
        )
    ),
    "long text": lambda: huge(architecture=json.dumps({"layers": ["x" * 10_000_000]})),
}


@pytest.mark.parametrize("make", HUGE.values(), ids=HUGE)
def test_huge_files_take_memory_in_proportion(make, loader, damaged):
    """All within the loader's `MORE_BYTES`."""
    result(loader, damaged, make())


class Payload:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "the pickle was run")


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npz(array):
    buffer = io.BytesIO()
    np.savez(buffer, array)
    return buffer.getvalue()


PNG = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    for name, body in (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\0")),
        (b"IEND", b""),
    )
)
FOREIGN = {  # function of what a pickle would write
    "empty": lambda trace: b"",
    "one byte": lambda trace: b"\0",
    "text": lambda trace: "größer\n".encode() * 100,
    "Python": lambda trace: f"open({str(trace)!r}, 'w').write('run')\n".encode(),
    "zeros": lambda trace: bytes(10_000),
    "JSON": lambda trace: b'{"layers": []}',
    "pickle": lambda trace: pickle.dumps(Payload(trace)),
    "zip of a pickle, as PyTorch has it": lambda trace: zipped(data_pkl=pickle.dumps(Payload(trace))),
    "npz": lambda trace: npz(np.ones(3)),
    "npz of objects": lambda trace: npz(np.array([Payload(trace)], object)),
    "gzip": lambda trace: gzip.compress(b"hotloop"),
    "PNG": lambda trace: PNG,
    "noise": lambda trace: np.random.default_rng(0).bytes(10_000),
    "noise after a true length": lambda trace: joined(np.random.default_rng(0).bytes(1000), b""),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_foreign_files_are_refused_and_not_run(make, loader, damaged, tmp_path):
    trace = tmp_path / "trace"
    assert set(result(loader, damaged, make(trace)).values()) == {"refused"}
    assert not trace.exists()


@pytest.mark.parametrize("damage", ["cut", "emptied", "foreign"])
def test_a_trainer_goes_on_after_a_file_that_did_not_load(damage, contents, damaged):
    """A failed load touches nothing: neither the trainer that would have been replaced, nor the file."""

    def trainer():
        model = hl.Sequential([hl.Dense(3, "tanh"), hl.Dense(2)], input_dim=4)
        made = hl.Trainer(model, loss="softmax_cross_entropy", batch_size=5)
        made.fit(X, Y, epochs=2)
        return made

    one, other = trainer(), trainer()
    content = {"cut": contents["trainer"][:-5], "emptied": b"", "foreign": PNG}[damage]
    damaged.write_bytes(content)
    with pytest.raises(hl.errors.FileFormatError):
        one = hl.Trainer.load(damaged)
    assert damaged.read_bytes() == content
    for each in (one, other):
        each.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(one.model.theta, other.model.theta)
    assert dict(one.history) == dict(other.history)

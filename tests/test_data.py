"""IDX files, MNIST and synthetic digits."""

import gzip
import hashlib
import io
import math
import os
import struct
import subprocess
import sys
import tracemalloc
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import hotloop.data
from hotloop.data import load_mnist, mnist, read_idx, synthetic_digits
from hotloop.errors import (
    DownloadError,
    FileFormatError,
    HotloopError,
    InvalidTypeError,
    InvalidValueError,
    NotFoundError,
)

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}
FEW_MEGABYTES = 4 << 20
quick = settings(deadline=None, max_examples=150)


def header(code, *dims):
    return bytes([0, 0, code, len(dims)]) + struct.pack(f">{len(dims)}I", *dims)


def idx_bytes(array):
    body = array.astype(array.dtype.newbyteorder(">")).tobytes()
    return header(CODES[array.dtype.name], *array.shape) + body


def peak_memory(function):
    """Peak of the memory that `function` takes, and the HotloopError it raised, if any."""
    error = None
    tracemalloc.start()
    try:
        function()
    except HotloopError as raised:
        error = raised
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak, error


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file"


# IDX


@quick
@given(data=st.data(), dtype=st.sampled_from(sorted(CODES)), gzipped=st.booleans())
def test_idx_round_trip(scratch, data, dtype, gzipped):
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=4)))
    content = idx_bytes(array)
    scratch.write_bytes(gzip.compress(content) if gzipped else content)
    result = read_idx(scratch)
    assert result.dtype == np.dtype(dtype)
    assert result.dtype.isnative
    assert result.shape == array.shape
    assert result.flags.writeable
    assert result.flags.c_contiguous
    assert result.tobytes() == array.tobytes()  # bytes, so that NaNs count as equal


def test_idx_of_a_known_file(tmp_path):
    path = tmp_path / "known"
    path.write_bytes(bytes.fromhex("00000b02 00000001 00000003 0007 0100 ffff"))
    np.testing.assert_array_equal(read_idx(str(path)), np.array([[7, 256, -1]], np.int16))
    path.write_bytes(bytes.fromhex("00000d00 3fc00000"))
    assert read_idx(path) == np.float32(1.5)
    assert read_idx(os.fsencode(path)).shape == ()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_truncated_anywhere(scratch, pack):
    content = pack(idx_bytes(np.arange(12, dtype=np.int16).reshape(3, 4)))
    for length in range(len(content)):
        scratch.write_bytes(content[:length])
        with pytest.raises(FileFormatError, match=r"'.*file'"):
            read_idx(scratch)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_too_long(scratch, pack):
    scratch.write_bytes(pack(idx_bytes(np.arange(3, dtype=np.uint8)) + b"\0"))
    with pytest.raises(FileFormatError, match="but more follow"):
        read_idx(scratch)


@quick
@given(data=st.data(), gzipped=st.booleans())
def test_idx_with_flipped_bytes(scratch, data, gzipped):
    content = bytearray(idx_bytes(np.arange(24, dtype=np.int32).reshape(2, 3, 4)))
    if gzipped:
        content = bytearray(gzip.compress(content))
    places = st.integers(0, len(content) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=4)):
        content[place] ^= value
    scratch.write_bytes(content)
    peak, _ = peak_memory(lambda: read_idx(scratch))
    assert peak < FEW_MEGABYTES


@quick
@given(
    code=st.sampled_from(sorted(CODES.values())),
    rank=st.integers(0, 255),
    rest=st.binary(max_size=200),
    gzipped=st.booleans(),
)
def test_idx_with_any_bytes(scratch, code, rank, rest, gzipped):
    content = bytes([0, 0, code, rank]) + rest
    scratch.write_bytes(gzip.compress(content) if gzipped else content)
    peak, _ = peak_memory(lambda: read_idx(scratch))
    assert peak < FEW_MEGABYTES


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    "dims",
    [(2**31,), (2**20, 2**20, 2**20), (2**32 - 1,) * 20, (2**32 - 1,) * 255, (2**32 - 1,) * 3 + (0,)],
    ids=["2 GiB", "2**60", "2**640", "rank 255", "zero beside an overflow"],
)
def test_idx_lying_header_takes_no_memory(scratch, pack, dims):
    scratch.write_bytes(pack(header(0x08, *dims) + bytes(50 if math.prod(dims) else 0)))
    peak, error = peak_memory(lambda: read_idx(scratch))
    assert isinstance(error, FileFormatError)
    assert "declares uint8 of shape" in str(error)
    assert peak < FEW_MEGABYTES


def test_idx_of_more_dimensions_than_numpy_has(scratch):
    scratch.write_bytes(header(0x08, *[1] * 255) + b"\0")
    with pytest.raises(FileFormatError, match="NumPy cannot hold"):
        read_idx(scratch)


def test_idx_gzip_bomb_is_not_inflated(scratch):
    scratch.write_bytes(gzip.compress(header(0x08, 10) + bytes(64 << 20), compresslevel=1))
    peak, error = peak_memory(lambda: read_idx(scratch))
    assert isinstance(error, FileFormatError)
    assert peak < FEW_MEGABYTES


def test_idx_gzip_header_that_declares_a_bit_more_than_there_is(scratch):
    # Not so much that the size of the file gives it away: memory follows the data, not the header.
    content = gzip.compress(header(0x08, 30 << 20) + np.random.default_rng(0).bytes(40_000))
    scratch.write_bytes(content)
    peak, error = peak_memory(lambda: read_idx(scratch))
    assert "40000 follow" in str(error)
    assert peak < FEW_MEGABYTES


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08", b"P5 28 28 255", b"\0\0\x0a\1\0\0\0\0", b"\1\0\x08\0\0"]
)
def test_idx_of_another_format(scratch, content):
    scratch.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"is not an IDX file.*expected 00 00"):
        read_idx(scratch)


def test_idx_paths(tmp_path):
    for path in (tmp_path / "missing", tmp_path, "null\0byte"):
        with pytest.raises(NotFoundError, match="is not a file"):
            read_idx(path)
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "missing")
    with pytest.raises(InvalidTypeError, match="got int"):
        read_idx(3)


# MNIST


def tiny_mnist(n_train=20, n_test=10):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", n_train), ("t10k", n_test)):
        arrays[f"{split}-images-idx3-ubyte"] = rng.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"{split}-labels-idx1-ubyte"] = (np.arange(n) % 10).astype(np.uint8)
    return arrays


def write_folder(folder, arrays, gzipped=False, dotted=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        content = idx_bytes(array)
        path = folder / ((name.replace("-idx", ".idx") if dotted else name) + (".gz" if gzipped else ""))
        path.write_bytes(gzip.compress(content) if gzipped else content)
    return folder


@pytest.fixture
def no_places(tmp_path, monkeypatch):
    """Neither HOTLOOP_DATA nor a cache with files in it; gives the cache's MNIST folder."""
    monkeypatch.delenv("HOTLOOP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hotloop" / "mnist"


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_mnist_spellings(tmp_path, gzipped, dotted):
    arrays = tiny_mnist()
    (X, y), (X_test, y_test) = load_mnist(write_folder(tmp_path, arrays, gzipped, dotted))
    assert (X.dtype, y.dtype) == (np.uint8, np.int64)
    np.testing.assert_array_equal(X, arrays["train-images-idx3-ubyte"].reshape(20, 784))
    np.testing.assert_array_equal(y, arrays["train-labels-idx1-ubyte"])
    np.testing.assert_array_equal(X_test, arrays["t10k-images-idx3-ubyte"].reshape(10, 784))
    np.testing.assert_array_equal(y_test, arrays["t10k-labels-idx1-ubyte"])


def test_mnist_search_order(tmp_path, monkeypatch, no_places):
    def n_train(**arguments):
        return len(load_mnist(**arguments)[0][0])

    write_folder(no_places, tiny_mnist(n_train=1))
    assert n_train() == 1
    monkeypatch.setenv("HOTLOOP_DATA", str(tmp_path / "data"))
    assert n_train() == 1  # nothing there: the cache is next
    write_folder(tmp_path / "data" / "mnist", tiny_mnist(n_train=2))
    assert n_train() == 2
    write_folder(tmp_path / "given", tiny_mnist(n_train=3))
    assert n_train(folder=str(tmp_path / "given")) == 3
    with pytest.raises(NotFoundError):
        load_mnist(tmp_path / "empty")  # a folder that is given is the only one


@pytest.mark.skipif(sys.platform == "win32", reason="the home folder's cache of other systems")
def test_mnist_cache_below_home(tmp_path, monkeypatch, no_places):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    write_folder(tmp_path / ".cache" / "hotloop" / "mnist", tiny_mnist())
    assert len(load_mnist()[1][0]) == 10


def test_mnist_not_found(tmp_path, monkeypatch, no_places):
    monkeypatch.setenv("HOTLOOP_DATA", str(tmp_path))
    arrays = tiny_mnist()
    del arrays["t10k-labels-idx1-ubyte"]
    write_folder(tmp_path / "mnist", arrays)
    with pytest.raises(NotFoundError) as caught:
        load_mnist()
    message = str(caught.value)
    assert f"{tmp_path / 'mnist'} (missing: t10k-labels-idx1-ubyte)" in message
    for part in (str(no_places), "download=True", "HOTLOOP_DATA", "synthetic_digits"):
        assert part in message
    with pytest.raises(InvalidTypeError, match="folder must be"):
        load_mnist(3)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-images-idx3-ubyte", np.zeros((20, 784), np.uint8), r"uint8 of shape \(20, 784\), expected"),
        ("train-images-idx3-ubyte", np.zeros((20, 28, 27), np.uint8), "expected uint8 of shape"),
        ("t10k-images-idx3-ubyte", np.zeros((10, 28, 28), np.float32), "holds float32"),
        ("train-labels-idx1-ubyte", np.zeros((20, 1), np.uint8), "expected uint8 of shape"),
        ("train-labels-idx1-ubyte", np.zeros(20, np.int32), "holds int32"),
        ("train-labels-idx1-ubyte", np.zeros(19, np.uint8), "20 images but .* 19 labels"),
        ("t10k-labels-idx1-ubyte", np.full(10, 10, np.uint8), "holds the label 10"),
    ],
)
def test_mnist_wrong_content(tmp_path, name, array, message):
    with pytest.raises(FileFormatError, match=message) as caught:
        load_mnist(write_folder(tmp_path, tiny_mnist() | {name: array}))
    assert name in str(caught.value)


class Mirror:
    """Stands in for `urlopen`: answers from a table of file names, counts what it was asked."""

    def __init__(self, files, broken_hosts=()):
        self.files, self.broken_hosts, self.urls = files, broken_hosts, []

    def __call__(self, url, timeout):
        assert 0 < timeout < 100
        self.urls.append(url)
        if any(host in url for host in self.broken_hosts):
            raise urllib.error.URLError("Name or service not known")
        return io.BytesIO(self.files[url.rsplit("/", 1)[1]])


@pytest.fixture
def mirror(monkeypatch):
    """A mirror that holds the tiny MNIST, for a loader that expects the tiny MNIST."""
    contents = {name: idx_bytes(array) for name, array in tiny_mnist().items()}
    files = [mnist._File(name, len(c), hashlib.md5(c).hexdigest()) for name, c in contents.items()]
    monkeypatch.setattr(mnist, "_FILES", tuple(files))
    fake = Mirror({f"{name}.gz": gzip.compress(content) for name, content in contents.items()})
    monkeypatch.setattr(urllib.request, "urlopen", fake)
    return fake


def test_download_then_nothing_more(no_places, mirror):
    (X, _), _ = load_mnist(download=True)
    assert X.shape == (20, 784)
    assert sorted(os.listdir(no_places)) == sorted(mirror.files)
    assert len(mirror.urls) == 4
    load_mnist(download=True)
    load_mnist()
    assert len(mirror.urls) == 4


def test_download_only_what_is_missing(tmp_path, mirror):
    arrays = tiny_mnist()
    del arrays["t10k-images-idx3-ubyte"]
    write_folder(tmp_path, arrays)
    load_mnist(tmp_path, download=True)
    assert [url.rsplit("/", 1)[1] for url in mirror.urls] == ["t10k-images-idx3-ubyte.gz"]


def test_download_goes_to_the_first_place(tmp_path, monkeypatch, no_places, mirror):
    monkeypatch.setenv("HOTLOOP_DATA", str(tmp_path / "data"))
    load_mnist(download=True)
    assert len(os.listdir(tmp_path / "data" / "mnist")) == 4
    assert not no_places.exists()


def test_download_from_the_second_mirror(tmp_path, mirror):
    mirror.broken_hosts = ("amazonaws",)
    load_mnist(tmp_path, download=True)
    assert len(mirror.urls) == 8


def test_download_without_network(tmp_path, mirror):
    mirror.broken_hosts = ("https",)
    with pytest.raises(DownloadError, match="Name or service not known") as caught:
        load_mnist(tmp_path / "new", download=True)
    assert isinstance(caught.value, OSError)
    assert "Check the network" in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (gzip.compress(idx_bytes(np.zeros((20, 28, 28), np.uint8))), "the md5 of what it sent"),
        (gzip.compress(bytes(1 << 20)), "the md5 of what it sent"),
        (b"<html>Please log in</html>", "no gzip file"),
        (b"", "the md5 of what it sent"),
        (gzip.compress(bytes(100))[:-5], "a damaged one"),
        (bytes((16 << 20) + 1), "too much"),
    ],
    ids=["other data", "larger", "html", "empty", "truncated", "endless"],
)
def test_download_of_something_else_leaves_nothing(tmp_path, mirror, sent, message):
    mirror.files["train-images-idx3-ubyte.gz"] = sent
    with pytest.raises(DownloadError, match=message):
        load_mnist(tmp_path, download=True)
    assert os.listdir(tmp_path) == []


def test_download_that_is_too_slow(tmp_path, monkeypatch, mirror):
    monkeypatch.setattr(mnist, "_DEADLINE", -1.0)
    with pytest.raises(DownloadError, match="took longer"):
        load_mnist(tmp_path, download=True)


def test_download_that_cannot_be_stored(tmp_path, monkeypatch, mirror):
    (tmp_path / "a file").write_bytes(b"")
    with pytest.raises(DownloadError, match="could not be stored"):
        load_mnist(tmp_path / "a file", download=True)

    def fail(*_):
        raise PermissionError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(DownloadError, match="could not be stored"):
        load_mnist(tmp_path / "folder", download=True)
    assert os.listdir(tmp_path / "folder") == []


real_data = Path(os.environ.get("HOTLOOP_DATA", ""), "mnist")


@pytest.mark.skipif(
    "HOTLOOP_DATA" not in os.environ or not real_data.is_dir(),
    reason="HOTLOOP_DATA is not set to a folder that holds mnist/",
)
def test_real_mnist():
    (X, y), (X_test, y_test) = load_mnist(real_data)
    assert (X.shape, y.shape) == ((60_000, 784), (60_000,))
    assert (X_test.shape, y_test.shape) == ((10_000, 784), (10_000,))
    assert y[:5].tolist() == [5, 0, 4, 1, 9]
    contents = (idx_bytes(a) for a in (X.reshape(-1, 28, 28), y.astype(np.uint8)))
    for content, file in zip(contents, mnist._FILES[:2], strict=True):
        assert (len(content), hashlib.md5(content).hexdigest()) == (file.size, file.md5)


# Synthetic digits


def test_synthetic_form():
    X, y = synthetic_digits(600, seed=4)
    assert (X.shape, X.dtype) == ((600, 784), np.uint8)
    assert (y.shape, y.dtype) == ((600,), np.int64)
    counts = np.bincount(y, minlength=10)
    assert len(counts) == 10
    assert counts.min() >= 50
    assert (X.max(axis=1) > 120).all()  # every image has ink
    ink = (X > 60).mean(axis=1)
    assert 0.02 < ink.min() < ink.max() < 0.5


def test_synthetic_is_a_function_of_seed_and_place():
    X, y = synthetic_digits(520, seed=1)
    X_again, y_again = synthetic_digits(np.int32(251), np.int64(1))
    np.testing.assert_array_equal(X[:251], X_again)
    np.testing.assert_array_equal(y[:251], y_again)
    X_other, y_other = synthetic_digits(251, seed=2)
    assert (X_other != X_again).any()
    assert (y_other != y_again).any()
    assert len(np.unique(X, axis=0)) == 520  # chunks do not repeat one another


@pytest.mark.parametrize("bad", [0, -5, np.int64(0)])
def test_synthetic_n_too_small(bad):
    with pytest.raises(InvalidValueError, match="n must be at least 1, got"):
        synthetic_digits(bad)


@pytest.mark.parametrize("bad", [10.0, "10", None, True, np.bool_(True)])
def test_synthetic_not_an_integer(bad):
    with pytest.raises(InvalidTypeError, match="n must be an integer"):
        synthetic_digits(bad)
    with pytest.raises(InvalidTypeError, match="seed must be an integer"):
        synthetic_digits(1, seed=bad)


def test_synthetic_bad_seed():
    with pytest.raises(InvalidValueError, match="seed must be at least 0, got -1"):
        synthetic_digits(1, seed=-1)
    assert synthetic_digits(1, seed=2**100)[0].shape == (1, 784)


@pytest.mark.parametrize("seed", [0, 1])
def test_synthetic_difficulty(seed):
    """Beyond a linear model, within reach of a nonlinear one."""
    X, y = synthetic_digits(6000, seed)
    X = X.astype(np.float32) / 255
    train, test = slice(5000), slice(5000, None)
    onehot = np.eye(10, dtype=np.float32)[y]

    means = np.stack([X[train][y[train] == d].mean(axis=0) for d in range(10)])
    nearest_mean = (2 * X[test] @ means.T - (means**2).sum(axis=1)).argmax(axis=1)
    assert (nearest_mean == y[test]).mean() < 0.80

    A = np.column_stack([X, np.ones(len(X), np.float32)])
    gram = A[train].T @ A[train] + 10 * np.eye(785, dtype=np.float32)
    W = np.linalg.solve(gram, A[train].T @ onehot[train])
    linear = ((A[test] @ W).argmax(axis=1) == y[test]).mean()
    assert 0.70 < linear < 0.90

    similarity = 2 * X[test] @ X[train].T - (X[train] ** 2).sum(axis=1)
    neighbour = (y[train][similarity.argmax(axis=1)] == y[test]).mean()
    assert neighbour > 0.95


# The package


def test_public_names():
    assert hotloop.data.__all__ == sorted(["read_idx", "load_mnist", "synthetic_digits"])
    assert all(callable(getattr(hotloop.data, name)) for name in hotloop.data.__all__)


def test_network_modules_are_not_imported_before_they_are_needed():
    code = """
import sys
sys.modules["hotloop"] = type(sys)("hotloop")
sys.modules["hotloop"].__path__ = [sys.argv[1]]
import hotloop.data
assert not {"urllib.request", "http.client", "numba", "scipy"} & set(sys.modules)
"""
    package = Path(hotloop.data.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code, str(package)], check=True)

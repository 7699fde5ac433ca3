"""Compilation: once per dtype for all networks, kept on disk, and never a reason to fail."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba.core.caching
import numpy as np
import pytest

import hotloop as hl
from hotloop._jit import (
    COMPILED,
    EXACT,
    FLAGS,
    IN_ORDER,
    apart,
    distinct,
    kernel,
    kernel_exact,
    kernel_in_order,
    parts,
)
from hotloop._jit.cache import KernelCache, processor

compiled_only = pytest.mark.skipif(not COMPILED, reason="with the JIT off nothing is compiled")

SOURCE = Path(hl.__file__).parent
ANNOUNCEMENT = "hotloop: compiling kernels"

# Trains, evaluates and predicts; prints what came out, what was compiled, and what came from the cache.
PROGRAM = """
import json
import numpy as np
import hotloop as hl
from hotloop import _jit

rng = np.random.default_rng(0)
X, y = rng.standard_normal((30, 4)), rng.integers(0, 3, 30)
model = hl.Sequential([hl.Dense(5, "relu"), hl.Dense(3, "tanh")], input_dim=4)
history = hl.Trainer(model, loss="softmax_cross_entropy", batch_size=8).fit(X, y, epochs=2)
model.predict(X)
print(json.dumps({
    "theta": model.theta.tobytes().hex(),
    "loss": history["loss"][-1],
    "compiled": _jit.TALLY.compiled,
    "loaded": _jit.TALLY.loaded,
    "folder": str(_jit.cache_folder()),
}))
"""

# Calls what the program above did not, of kernels that it did compile.
OTHER_PROGRAM = """
import json
import numpy as np
import hotloop as hl
from hotloop import _jit

model = hl.Sequential([hl.Dense(5, "relu"), hl.Dense(3, "tanh")], input_dim=4)
objective = hl.Objective(model, np.ones((9, 4)), np.arange(9) % 3, loss="softmax_cross_entropy")
gradient = objective.gradient(model.theta)
print(json.dumps({
    "gradient": gradient.tolist(), "compiled": _jit.TALLY.compiled, "loaded": _jit.TALLY.loaded,
}))
"""

# After a training, calls a part of its kernels from a function that is not ours.
FOREIGN_PROGRAM = (
    PROGRAM.partition("print(")[0]
    + """
from numba import njit
from hotloop.engine.columns import add_rows

@njit
def foreign(sums, rows):
    add_rows(sums, rows, 0, len(sums), 4)

sums = np.zeros(5, np.float32)
foreign(sums, np.arange(20, dtype=np.float32))
print(json.dumps({"sums": sums.tolist()}))
"""
)

# One small kernel: where what is at stake is the cache of a kernel, not of all of them.
SMALL_PROGRAM = """
import json
from hotloop import _jit
from hotloop.engine.team import share

print(json.dumps({
    "share": [int(k) for k in share(100, 7, 1, 3)],
    "compiled": sum(share.stats.cache_misses.values()),
    "loaded": sum(share.stats.cache_hits.values()),
    "folder": str(_jit.cache_folder()),
}))
"""
SHARE = [35, 70]


def run(cache, *, source=SOURCE, program=PROGRAM, **environment):
    """What the program printed, and what it said on stderr, in a process of its own."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    given |= {"PYTHONPATH": str(source.parent), "PYTHONWARNINGS": "error", **environment}
    if cache is not None:
        given["NUMBA_CACHE_DIR"] = str(cache)
    done = subprocess.run(
        [sys.executable, "-c", program], env=given, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


DAMAGE = {
    "cut": lambda whole: whole[: len(whole) // 2],
    "garbage": lambda whole: np.random.default_rng(0).bytes(len(whole)),
    "empty": lambda whole: b"",
    "something else": lambda whole: b"\x80\x04]\x94.",  # a pickled list
}
"""Kind of damage → what is left of the bytes of a file."""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package: no edit of the sources changes it while the tests run."""
    copy = tmp_path_factory.mktemp("package") / "hotloop"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def cold(package, tmp_path_factory):
    """(cache, result, stderr) of a first process."""
    cache = tmp_path_factory.mktemp("cache")
    return cache, *run(cache, source=package)


@pytest.fixture
def filled(cold, tmp_path):
    """A copy of the filled cache, to damage."""
    shutil.copytree(cold[0], tmp_path / "cache")
    return tmp_path / "cache"


def files(cache, pattern):
    found = sorted(Path(cache).rglob(pattern))
    assert found, f"nothing in the cache is called {pattern}"
    return found


@compiled_only
class TestCache:
    def test_the_first_process_compiles_and_says_so_once(self, cold):
        cache, result, said = cold
        assert said.count(ANNOUNCEMENT) == 1
        assert said.count("\n") == 1
        assert result["compiled"] > 10
        assert Path(result["folder"]).is_relative_to(cache)
        assert len(list(cache.glob("hotloop/kernels-*"))) == 1

    def test_the_second_process_loads_and_says_nothing(self, cold, filled, package):
        result, said = run(filled, source=package)
        assert said == ""
        assert result["compiled"] == 0
        assert result["loaded"] >= 2
        assert result["theta"] == cold[1]["theta"]

    def test_what_is_new_is_linked_from_parts_that_are_there(self, filled, package, tmp_path):
        result, said = run(filled, source=package, program=OTHER_PROGRAM)
        assert said.count(ANNOUNCEMENT) == 1
        assert result["compiled"] < 10
        assert result["loaded"] > 3
        alone, _ = run(tmp_path / "new", source=package, program=OTHER_PROGRAM)
        assert alone["compiled"] > 20
        assert alone["gradient"] == result["gradient"]

    @pytest.mark.parametrize("from_the_cache", [False, True])
    def test_functions_of_others_may_call_parts(self, filled, package, tmp_path, from_the_cache):
        """They have parts of their own. (Once they found those of the loop, which want other arguments.)"""
        result, _ = run(filled if from_the_cache else tmp_path, source=package, program=FOREIGN_PROGRAM)
        assert result["sums"] == [30, 34, 38, 42, 46]

    @pytest.mark.parametrize("pattern", ["*share*.nbc", "*share*.nbi"])
    @pytest.mark.parametrize("kind", DAMAGE)
    def test_a_damaged_file_costs_only_time(self, filled, package, pattern, kind):
        for path in files(filled, pattern):
            path.write_bytes(DAMAGE[kind](path.read_bytes()))
        result, _ = run(filled, source=package, program=SMALL_PROGRAM)
        assert result["share"] == SHARE
        assert result["loaded"] == 0
        # It has healed.
        result, said = run(filled, source=package, program=SMALL_PROGRAM)
        assert result["share"] == SHARE
        assert (result["loaded"], said) == (1, "")

    def test_a_cache_that_is_damaged_all_over_costs_only_time(self, cold, filled, package):
        damage = list(DAMAGE.values())
        for k, path in enumerate(files(filled, "*.nb?")):
            path.write_bytes(damage[k % len(damage)](path.read_bytes()))
        result, said = run(filled, source=package)
        assert result["theta"] == cold[1]["theta"]
        assert said.count(ANNOUNCEMENT) == 1
        result, said = run(filled, source=package)
        assert result["theta"] == cold[1]["theta"]
        assert said == ""

    def test_a_folder_that_cannot_be_written_costs_only_time(self, cold, package, tmp_path):
        """Below a plain file: not even root can write there."""
        blocked = tmp_path / "file"
        blocked.write_text("no folder")
        result, _ = run(blocked / "x", source=package)
        assert result["folder"] == "None"
        assert result["loaded"] == 0
        assert result["theta"] == cold[1]["theta"]
        assert blocked.read_text() == "no folder"

    def test_a_home_that_cannot_be_written_costs_only_time(self, package, tmp_path):
        (tmp_path / "file").write_text("no folder")
        below = str(tmp_path / "file" / "x")
        home = {"HOME": below, "USERPROFILE": below, "XDG_CACHE_HOME": below, "LOCALAPPDATA": below}
        result, _ = run(None, source=package, program=SMALL_PROGRAM, **home)
        assert result["folder"] == "None"
        assert result["share"] == SHARE

    def test_the_cache_is_below_the_users_own_by_default(self, package, tmp_path):
        below = str(tmp_path)
        home = {"HOME": below, "USERPROFILE": below, "XDG_CACHE_HOME": below, "LOCALAPPDATA": below}
        result, _ = run(None, source=package, program=SMALL_PROGRAM, **home)
        assert Path(result["folder"]).is_relative_to(tmp_path)
        assert files(tmp_path, "*share*.nbc")

    def test_a_changed_kernel_is_never_served_from_the_cache(self, cold, filled, package, tmp_path):
        """Numba's own cache would: it looks at the file of the caller alone (numba#1833)."""
        copy = tmp_path / "changed" / "hotloop"
        shutil.copytree(package, copy)
        leaf = copy / "activations.py"
        text = leaf.read_text()
        assert text.count("return tanh_of(z)") == 1
        # Half as high, on the line where tanh was.
        leaf.write_text(text.replace("return tanh_of(z)", "return tanh_of(z) * np.float32(0.5)"))
        result, said = run(filled, source=copy)
        assert result["theta"] != cold[1]["theta"]
        assert said.count(ANNOUNCEMENT) == 1
        assert len(list(filled.glob("hotloop/kernels-*"))) == 2
        # The one before is still served.
        result, said = run(filled, source=package)
        assert result["theta"] == cold[1]["theta"]
        assert said == ""

    def test_processes_that_start_together_share_a_cache(self, package, tmp_path):
        given = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
        given |= {"PYTHONPATH": str(package.parent), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", SMALL_PROGRAM], env=given, stdout=subprocess.PIPE, text=True
            )
            for _ in range(3)
        ]
        for process in processes:
            out, _ = process.communicate(timeout=120)
            assert process.returncode == 0
            assert json.loads(out)["share"] == SHARE

    def test_bounds_checked_code_has_a_cache_of_its_own(self, cold, filled, package):
        checked, _ = run(filled, source=package, program=SMALL_PROGRAM, NUMBA_BOUNDSCHECK="1")
        assert Path(checked["folder"]).name != Path(cold[1]["folder"]).name
        assert checked["loaded"] == 0


def signatures():
    """How many signatures each kernel of the library has been compiled or loaded for, whole or as a part."""
    return {
        f"{member.py_func.__module__}.{member.py_func.__name__}": len(member.signatures) + len(member.parts)
        for name, module in list(sys.modules.items())
        if name.startswith("hotloop")
        for member in vars(module).values()
        if hasattr(member, "signatures") and hasattr(member, "py_func")
    }


def use(layers, X, y, *, loss, dtype="float32", optimizer=None, batch_size=8, n_threads=1, weights=None):
    """Everything that runs a kernel."""
    model = hl.Sequential(layers, input_dim=np.shape(X)[1], dtype=dtype)
    trainer = hl.Trainer(model, loss=loss, optimizer=optimizer, batch_size=batch_size, n_threads=n_threads)
    trainer.fit(X, y, epochs=1, sample_weight=weights, validation_data=(X, y))
    trainer.evaluate(X, y, sample_weight=weights)
    model.predict(X, n_threads=n_threads)
    objective = hl.Objective(model, X, y, loss=loss, sample_weight=weights, n_threads=n_threads)
    objective.value(model.theta)
    objective.gradient(model.theta)


@compiled_only
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_compilation_serves_every_network(dtype, monkeypatch):
    monkeypatch.setattr("hotloop.data.staging.FEW_BYTES", 0)  # few rows are as many
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 4)), rng.integers(0, 3, 20)
    classes = {"loss": "softmax_cross_entropy", "dtype": dtype}
    use([hl.Dense(3, penalty=hl.L2(0.1))], X, y, **classes)
    loop = {name: count for name, count in signatures().items() if name.startswith("hotloop.engine.loop.")}
    # What is called by address is compiled when it is first used: each family of kernels once.
    all_layers = [
        hl.Standardize(), hl.Dense(5, "mish"), hl.BatchNorm(), hl.Dropout(0.1), hl.Activation("prelu"),
        hl.Dense(4, "softmax"),
    ]  # fmt: skip
    use([*all_layers, hl.Dense(3)], X, y, optimizer=hl.SGD(0.1), **classes)
    use([hl.Dense(3, "gelu")], X, X[:, :3], loss="huber", dtype=dtype)

    def limited(penalty):
        model = hl.Sequential([hl.Dense(3, penalty=penalty)], input_dim=4, dtype=dtype)
        hl.Trainer(model, loss="mse").fit(X, X[:, :3], epochs=1)

    limited(hl.L0(2))
    limited(hl.L1(0.1, proximal=True))
    use([hl.Dense(3)], X, y, optimizer=hl.SGD(0.1), batch_size=1, **classes)
    for kind in ("float32", "float64", "uint8"):  # and what converts rows, once for each kind of number
        use([hl.Dense(3)], np.abs(X).astype(kind), y, **classes)
    before = signatures()
    assert {name: before[name] for name in loop} == loop, "the loop was compiled again"
    assert sum(loop.values()) > 0

    use([*all_layers, *all_layers[1:], hl.Dense(3, "elu")], X, y, **classes)
    limited(hl.MaxNorm(1.0))
    for loss in ("mae", "poisson_nll"):
        use([hl.Dense(4, penalty=hl.L1(0.1, proximal=True))], X, np.abs(X), loss=loss, dtype=dtype)
    layers = [hl.Dense(70, "relu"), hl.Dense(5, "tanh", use_bias=False), hl.Dense(4, "sigmoid"), hl.Dense(3)]
    use(layers, X, y, **classes)
    for batch_size in (1, 7, None):
        use([hl.Dense(3)], X, y, batch_size=batch_size, **classes)
    for optimizer in (
        hl.SGD(0.1),
        hl.SGD(0.1, momentum=0.5, nesterov=True),
        hl.Adam(lambda steps: steps * 0.1),
    ):
        use([hl.Dense(3)], X, y, optimizer=optimizer, **classes)
    for n_threads in (2, 3):
        use([hl.Dense(3)], X, y, n_threads=n_threads, **classes)
    for weights in (
        rng.uniform(0, 1, 20),
        rng.integers(1, 3, 20),
        rng.uniform(0, 1, (20, 1)).astype("float32"),
    ):
        use([hl.Dense(3)], X, y, weights=weights, **classes)
    use([hl.Dense(2)], X, X[:, :2], loss="mse", dtype=dtype)
    use([hl.Dense(1)], X, X[:, 0].tolist(), loss="mse", dtype=dtype)
    fixed = X.copy()
    fixed.flags.writeable = False
    for features in (
        np.asfortranarray(X), X[::-1], np.repeat(X, 2, axis=1)[:, ::2], fixed, X.tolist(),
        X.astype(np.float32), X.astype(np.float16), X.astype(">f8"),
        X.astype(np.int8), np.abs(X).astype(np.uint8), X > 0,
    ):  # fmt: skip
        use([hl.Dense(3)], features, y, **classes)
    for labels in (y.astype(np.uint8), y.astype(np.int32)[:, None], y.tolist(), y[::-1]):
        use([hl.Dense(3)], X, labels, **classes)

    assert signatures() == before


@compiled_only
def test_every_kernel_has_its_flags_no_gil_and_no_memory_of_its_own():
    """A helper without flags inherits those of whoever compiles it first (numba#7168)."""
    found = 0
    for name, module in list(sys.modules.items()):
        if not name.startswith("hotloop"):
            continue
        for member in vars(module).values():
            if hasattr(member, "targetoptions"):
                found += 1
                options = member.targetoptions
                assert options["fastmath"] in (FLAGS, IN_ORDER, EXACT), member
                assert options["nogil"]
                assert options["error_model"] == "numpy"
                assert options["_nrt"] is False
                assert isinstance(member._cache, KernelCache)
    assert found > 20


@kernel
def inner(x):
    return 2 * x


@kernel
def outer(x):
    return inner(x) + 1


@compiled_only
def test_only_what_python_calls_becomes_machine_code():
    assert outer(3) == 7
    assert (len(outer.signatures), len(outer.parts)) == (1, 0)
    assert (len(inner.signatures), len(inner.parts)) == (0, 1)
    assert inner(3) == 6
    assert (len(inner.signatures), len(inner.parts)) == (1, 1)
    assert outer(0.5) == 2.0


@apart
@kernel
def helper(x, unused):
    return 2 * x


@compiled_only
def test_a_kernel_apart_is_called_with_what_it_uses():
    """It stays a function of its caller's code; of an array that it does not look at nothing is copied."""

    def calling(x, unused):
        return helper(x, unused) + 1

    fresh = kernel(calling)
    fresh._cache = numba.core.caching.NullCache()  # what comes from a cache cannot be looked at
    assert fresh(3, np.zeros((2, 2))) == 7
    code = next(iter(fresh.inspect_llvm().values()))
    (head,) = [line for line in code.splitlines() if line.startswith("define") and "helper" in line]
    assert head.startswith("define private")
    assert head.count("%arg") == 1


@distinct
@kernel
def add_to(x, y, z):
    for i in range(len(x)):
        x[i] += y[i] * z[i]


@pytest.mark.kernels
def test_that_arrays_are_distinct_is_checked_with_the_jit_off():
    x = np.ones(40)
    y = np.arange(40.0)
    add_to(x, y, y)  # what is only read may be the same
    np.testing.assert_array_equal(x, 1 + y * y)
    if not COMPILED:
        with pytest.raises(AssertionError, match="add_to has written to an array that is part of another"):
            add_to(x[:20], x[10:30], y)


@compiled_only
def test_a_kernel_of_distinct_arrays_does_not_compare_their_addresses():
    found = []
    for decorate in (kernel, lambda function: distinct(kernel(function))):
        fresh = decorate(add_to.py_func)
        fresh._cache = numba.core.caching.NullCache()
        fresh(*np.ones((3, 5)))
        found.append("vector.memcheck" in next(iter(fresh.inspect_llvm().values())))
    assert found == [True, False]


@compiled_only
def test_numbas_own_way_serves_where_ours_fails(monkeypatch):
    class Changed:
        def __init__(self, *args):
            raise AttributeError("numba has no such thing any more")

    monkeypatch.setattr(parts, "_Kernel", Changed)

    @kernel
    def thrice(x):
        return 3 * x

    @kernel
    def more(x):
        return thrice(x) + inner(x)

    assert type(thrice) is not type(inner)
    assert isinstance(thrice._cache, KernelCache)
    assert more(2) == 10


@compiled_only
def test_numbas_passes_serve_where_the_one_of_ours_is_not_there(monkeypatch):
    """As in numba 0.61, whose manager of passes comes alone."""
    ran, codegen = [], type(inner.targetctx.codegen())
    theirs, managers = parts.JITCodeLibrary._optimize_final_module, codegen._module_pass_manager

    def run_theirs(library):
        ran.append(library)
        with monkeypatch.context() as within:
            within.setattr(codegen, "_module_pass_manager", managers)
            theirs(library)

    def result():
        fresh = kernel(doubled)
        fresh._cache = numba.core.caching.NullCache()
        x = np.arange(5.0)
        fresh(x)
        return x.tolist()

    monkeypatch.setattr(parts.JITCodeLibrary, "_optimize_final_module", run_theirs)
    assert result() == [0, 1, 4, 9, 16]
    once = len(ran)
    monkeypatch.setattr(codegen, "_module_pass_manager", lambda self: None)
    assert result() == [0, 1, 4, 9, 16]
    assert not any(isinstance(library, parts._Library) for library in ran[:once])
    assert any(isinstance(library, parts._Library) for library in ran[once:])


@compiled_only
def test_flags_keep_nan_and_infinity():
    """Plain fastmath=True would make isfinite always true."""
    for flags in (FLAGS, IN_ORDER):
        assert not flags & {"fast", "nnan", "ninf"}


@pytest.mark.kernels
def test_plain_kernels_are_as_silent_as_compiled_ones():
    """1/0 is infinite and inf − inf is NaN, without a warning, which pytest would raise."""
    for decorate in (kernel, kernel_in_order, kernel_exact):

        @decorate
        def strange(x, y):
            return x / y, x * x - x * x

        ratio, difference = strange(np.float64(1e300), np.float64(0))
        assert ratio == np.inf
        if not COMPILED:
            assert np.isnan(difference)


@compiled_only
def test_numba_is_imported_in_one_place_only():
    for path in SOURCE.rglob("*.py"):
        if path.parent.name != "_jit":
            for line in path.read_text().splitlines():
                assert not line.strip().startswith(("import numba", "from numba")), path


def doubled(x):
    """A loop that vectorises."""
    for i in range(len(x)):
        x[i] *= x[i]


@compiled_only
@pytest.mark.skipif(
    "+avx512f" not in processor()[1], reason="the widest vectors of others are what LLVM takes"
)
def test_loops_use_the_widest_vectors():
    fresh = kernel(doubled)
    fresh._cache = numba.core.caching.NullCache()  # what comes from a cache cannot be looked at
    fresh(np.ones(3, np.float32))
    assert "zmm" in next(iter(fresh.inspect_asm().values()))


def test_flags_that_are_kept_are_those_of_numba():
    """What is kept is given up as soon as an option is set, by whatever way."""
    plain, kept = parts.compiler.Flags(), parts._Flags()
    for change in (
        lambda flags: None,
        lambda flags: setattr(flags, "release_gil", True),
        lambda flags: setattr(flags, "error_model", "numpy"),
        lambda flags: flags.inherit_if_not_set("nrt", default=True),
        lambda flags: flags.discard("release_gil"),
        lambda flags: delattr(flags, "error_model"),
    ):
        before = kept.copy()
        change(plain), change(kept)
        assert kept.values() == plain.values()
        assert (kept == plain, plain == kept, hash(kept)) == (True, True, hash(plain))
        assert (kept == before) == (plain.values() == before.values())
        assert type(kept.copy()) is parts._Flags

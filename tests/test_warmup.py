"""The cache of kernels is filled beforehand, looked at, and kept small."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

import hotloop as hl
from helpers import child_environment, refuses
from hotloop import folders, warming, warming_runs
from hotloop.__main__ import main
from hotloop._jit import COMPILED, TALLY, cache

compiled_only = pytest.mark.skipif(not COMPILED, reason="with the JIT off nothing is compiled")

# Trains, evaluates and predicts in other ways than the warm-up, and says what that compiled.
PROGRAM = """
import json
import sys
import numpy as np
import hotloop as hl
from hotloop._jit import TALLY, cache_folder

rng = np.random.default_rng(0)
X, y = rng.standard_normal((300, 4)), rng.integers(0, 3, 300)
for optimizer, loss, targets in ((hl.AdamW(), "softmax_cross_entropy", y), (hl.SGD(0.1, 0.9), "mse", X)):
    layers = [hl.Dense(5, "relu"), hl.Dense(6, "tanh", penalty=hl.L1(1e-4)), hl.Dense(4, "sigmoid")]
    model = hl.Sequential([*layers, hl.Dense(4)], input_dim=4)
    trainer = hl.Trainer(model, loss=loss, optimizer=optimizer, batch_size=32, n_threads=2)
    trainer.fit(X, targets, epochs=2, sample_weight=np.ones(300), validation_data=(X[:9], targets[:9]))
    trainer.evaluate(X, targets)
    model.predict(X), model.predict(X[:1].astype(np.float32)), model.predict(X.tolist(), n_threads=2)
    model.predictor()(np.zeros((1, 4), np.float32))
def train(rows, width):  # few rows are converted at once, of many the loop or a kernel takes some at a time
    images, y = rng.integers(0, 256, (rows, width), np.uint8), rng.integers(0, 3, rows)
    for given in (images, images / 255, (images / 255).astype(np.float32)):
        wide = hl.Sequential([hl.Dense(40, "relu"), hl.Dense(3)], input_dim=width)
        trainer = hl.Trainer(wide, loss="softmax_cross_entropy", batch_size=32, n_threads=2, clip_norm=1.0)
        trainer.fit(given, y, epochs=1)
        wide.predict(given)
train(50, 70), train(5_000, 70), train(70_000, 4)
print(json.dumps({
    "compiled": TALLY.compiled, "loaded": TALLY.loaded, "folder": str(cache_folder()),
    "scipy": "scipy.linalg" in sys.modules,
}))
"""


def run(cache, *command):
    """stdout and stderr of a process with a cache of its own."""
    given = child_environment() | {"NUMBA_CACHE_DIR": str(cache), "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, *command], env=given, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """(cache, stdout, stderr) of a warm-up in an empty cache."""
    cache = tmp_path_factory.mktemp("cache")
    return cache, *run(cache, "-m", "hotloop", "warmup", "--dtype", "float32")


@compiled_only
class TestWarmup:
    def test_nothing_is_compiled_after_it(self, warm):
        cache, _, _ = warm
        out, said = run(cache, "-c", PROGRAM)
        found = json.loads(out)
        assert (found["compiled"], said) == (0, "")
        assert found["loaded"] > 3
        assert found["folder"].startswith(str(cache))
        assert not found["scipy"], "what numba compiles with was imported, which takes longer than the fit"

    def test_it_says_what_it_did(self, warm):
        cache, out, said = warm
        (folder,) = cache.glob("hotloop/kernels-*")
        assert out.startswith(f"{folders.contents(folder).kernels} kernels compiled, 0 already there, in ")
        assert out.strip().endswith(f"kept in {folder}")
        assert said.count("hotloop: compiling kernels") == 1
        assert "100%" in said

    def test_info_tells_that_it_is_warm(self, warm, monkeypatch, capsys):
        cache, _, _ = warm
        (folder,) = cache.glob("hotloop/kernels-*")
        files = sorted(folder.iterdir())
        monkeypatch.setattr("hotloop.versions.cache_folder", lambda: folder)
        compiled = TALLY.compiled
        assert main(["info"]) == 0
        shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
        assert shown["cache"] == f"{folder}, writable"
        assert shown["kernels"].startswith(f"{folders.contents(folder).kernels} kernels, ")
        assert shown["numpy"] == np.__version__
        assert (TALLY.compiled, sorted(folder.iterdir())) == (compiled, files)

    @pytest.mark.parametrize("is_there", [True, False])
    def test_a_cache_that_cannot_be_written_is_an_error(self, is_there, tmp_path, monkeypatch, capsys):
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setattr(warming, "cache_folder", lambda: tmp_path / "file" / "x" if is_there else None)
        assert main(["warmup"]) == 1
        out, said = capsys.readouterr()
        assert out == ""
        assert said.startswith("hotloop: the cache of compiled kernels, ")
        assert said.count("\n") == 1
        assert "NUMBA_CACHE_DIR" in said

    def test_kernels_that_are_lost_are_an_error(self, monkeypatch):
        def lose(dtype):
            yield "lost", lambda: setattr(TALLY, "lost", TALLY.lost + 1)

        monkeypatch.setitem(warming.RUNS, "usual", lose)
        with pytest.raises(hl.errors.CacheError, match="is the disk full"):
            hl.warmup(dtypes=["float32"])


@pytest.mark.parametrize(
    ("argument", "value", "builtin"),
    [
        ("what", "everything", ValueError),
        ("what", None, TypeError),
        ("dtypes", "float32", TypeError),
        ("dtypes", 32, TypeError),
        ("dtypes", [], ValueError),
        ("dtypes", ["float16"], ValueError),
        ("progress", "yes", TypeError),
    ],
)
def test_wrong_arguments(argument, value, builtin):
    with refuses(builtin, argument):
        hl.warmup(**{argument: value})


@pytest.mark.skipif(COMPILED, reason="the JIT is on")
@pytest.mark.kernels
def test_without_the_jit_there_is_nothing_to_warm():
    with pytest.raises(hl.errors.CacheError, match="NUMBA_DISABLE_JIT"):
        hl.warmup()


class TestRuns:
    def test_every_member_of_every_family_is_among_them(self):
        labels = [label for label, _ in warming_runs.all_runs("float32")]
        members = (
            *(kind.__name__ for kind in (*hl.optimizers.OPTIMIZERS, *hl.penalties.PENALTIES)),
            *hl.losses.LOSSES, *hl.activations.ACTIVATIONS, *hl.layers.LAYERS,
        )  # fmt: skip
        assert [name for name in members if f"float32 {name}" not in labels] == []

    def test_a_new_member_is_found(self, monkeypatch):
        class Newest(hl.losses.MSE):
            name = "newest"

        monkeypatch.setitem(warming_runs.LOSSES, "newest", Newest())
        labels = [label for label, _ in warming_runs.all_runs("float64")]
        assert {"float64 newest", "float64 curvature of newest"} <= set(labels)

    def test_the_estimators_are_among_them(self):
        pytest.importorskip("sklearn")
        labels = [label for label, _ in warming_runs.all_runs("float32")]
        assert {f"float32 {name}" for name in hl._ESTIMATORS} <= set(labels)

    @pytest.mark.parametrize("loss", hl.losses.LOSSES)
    def test_each_loss_gets_targets_that_it_takes(self, loss):
        model = hl.Sequential([hl.Dense(2)], input_dim=2)
        found = hl.losses.LOSSES[loss]
        y = warming_runs.targets_for(found, model)
        assert len(found.check_targets(y, "y", len(warming_runs.X), 2, model.dtype)) == len(warming_runs.X)

    @pytest.mark.parametrize(
        "kind",
        [*hl.layers.LAYERS.values(), *hl.optimizers.OPTIMIZERS, *hl.penalties.PENALTIES],
        ids=lambda kind: kind.__name__,
    )
    def test_there_is_an_example_of_each_kind(self, kind):
        assert type(warming_runs.example(kind)) is kind


@pytest.fixture
def old_and_new(tmp_path):
    """(the folder in use, one used yesterday, one not used for too long, and one that is no cache)."""
    ages = {"kernels-now": 0, "kernels-young": 1, "kernels-old": folders.UNUSED_DAYS + 1, "other": 400}
    made = []
    for name, age in ages.items():
        folder = tmp_path / "hotloop" / name
        folder.mkdir(parents=True)
        (folder / "share.nbc").write_bytes(b"1234")
        (folder / "share.nbi").write_bytes(b"12")
        then = time.time() - age * 86_400
        os.utime(folder, (then, then))
        made.append(folder)
    return made


class TestFolders:
    def test_only_what_is_unused_is_removed(self, old_and_new):
        now, young, old, other = old_and_new
        folders.remove_unused(now.parent, now)
        assert [path.exists() for path in (now, young, old, other)] == [True, True, False, True]

    def test_the_one_in_use_is_kept_however_old(self, old_and_new):
        _, _, old, _ = old_and_new
        folders.remove_unused(old.parent, old)
        assert old.exists()

    def test_a_folder_that_is_used_becomes_young(self, old_and_new):
        now, _, old, _ = old_and_new
        assert folders.can_write(old)
        folders.remove_unused(now.parent, now)
        assert old.exists()

    def test_another_process_may_remove_the_same(self, old_and_new, monkeypatch):
        now, _, old, _ = old_and_new
        folders.remove(old)
        monkeypatch.setattr(folders, "kernel_folders", lambda root: [old])
        folders.remove_unused(now.parent, now)
        folders.remove(old)
        assert folders.contents(old) == folders.Contents(0, 0)

    def test_contents(self, old_and_new):
        assert folders.contents(old_and_new[0]) == folders.Contents(kernels=1, size=6)

    def test_below_a_file_nothing_can_be_written(self, tmp_path):
        (tmp_path / "file").write_text("no folder")
        assert not folders.can_write(tmp_path / "file" / "x")

    def test_a_new_folder_removes_what_an_update_left_behind(self, old_and_new, monkeypatch):
        now, young, old, _ = old_and_new
        monkeypatch.setattr(cache, "cache_root", lambda: now.parent)
        found = cache.cache_folder.__wrapped__()
        assert found.is_dir()
        assert [path.exists() for path in (now, young, old)] == [True, True, False]

    def test_a_filled_folder_that_can_only_be_read_still_serves(self, tmp_path, monkeypatch):
        monkeypatch.setattr(cache, "cache_root", lambda: tmp_path)
        folder = cache.cache_folder.__wrapped__()
        monkeypatch.setattr(cache, "can_write", lambda folder: False)
        assert cache.cache_folder.__wrapped__() == folder
        folder.rmdir()
        assert cache.cache_folder.__wrapped__() is None

    def test_a_folder_is_for_one_processor(self, monkeypatch):
        here = cache._digest()
        monkeypatch.setattr(cache.config, "CPU_NAME", "generic")
        assert cache._digest() != here
        assert cache.processor()[0] == "generic"


class TestCommands:
    def test_without_a_command_the_usage_is_printed(self, capsys):
        assert main([]) == 0
        said = capsys.readouterr().out
        assert said.startswith("usage: python -m hotloop")
        assert all(command in said for command in ("warmup", "info", "clean"))

    def test_clean_removes_all_but_the_folder_in_use(self, old_and_new, monkeypatch, capsys):
        now, young, old, other = old_and_new
        monkeypatch.setattr("hotloop.__main__.cache_folder", lambda: now)
        assert main(["clean"]) == 0
        assert [path.exists() for path in (now, young, old, other)] == [True, False, False, True]
        assert capsys.readouterr().out.startswith("2 folders of compiled kernels removed, 0.0 MB")

    @pytest.mark.parametrize("options", [[], ["--all"], ["--dtype", "float64"]])
    def test_warmup_hands_its_options_on(self, options, monkeypatch, capsys):
        asked = []
        monkeypatch.setattr("hotloop.__main__.warmup", lambda *given, **named: asked.append((*given, named)))
        assert main(["warmup", *options]) == 0
        dtypes = ["float64"] if "--dtype" in options else ["float32", "float64"]
        wanted = {"dtypes": dtypes, "progress": True}
        assert asked == [("all" if "--all" in options else "usual", wanted)]

    def test_info_names_what_is_missing_and_what_is_left_behind(self, old_and_new, monkeypatch, capsys):
        now, *_ = old_and_new
        monkeypatch.setattr("hotloop.versions.cache_folder", lambda: now)
        monkeypatch.setattr("hotloop.versions.OPTIONAL", ("no-such-package",))
        hl.show_versions()
        shown = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
        shown = {name: value.strip() for name, value in shown.items()}
        assert shown["no-such-package"] == "not installed"
        assert shown["other versions"].startswith("2 folders, 0.0 MB; python -m hotloop clean")
        assert shown["hotloop"].startswith(hl.__version__)

    def test_info_without_a_cache(self, monkeypatch, capsys):
        monkeypatch.setattr("hotloop.versions.cache_folder", lambda: None)
        hl.show_versions()
        assert "cannot be written; set NUMBA_CACHE_DIR" in capsys.readouterr().out

"""Who wants no bar has nothing of tqdm: no lock, no thread."""

import threading

import numpy as np
import pytest
from tqdm import tqdm

import hotloop as hl
from hotloop.progress import NoBar, bar

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((20, 2)), RNG.integers(0, 2, 20)
BOWL = hl.Function(lambda t: t @ t, 2, gradient=lambda t: 2 * t)
LONG = 120
"""Seconds that no silent run takes, not even if it compiles."""


def fit():
    hl.Trainer(hl.Sequential([hl.Dense(2)], input_dim=2), loss="softmax_cross_entropy").fit(X, Y)


def minimize():
    hl.minimize(BOWL, np.ones(2), method="bfgs", max_iter=3)


def landscape():
    hl.landscape(BOWL, np.zeros(2), n=3)


def animate(path):
    pytest.importorskip("matplotlib").use("Agg")
    hl.plot.animate_descent(BOWL, {"a": np.array([[1.0, 1.0], [0.5, 0.5]])}, path / "a.gif", frames=2)


@pytest.mark.parametrize("run", [fit, minimize, landscape, animate], ids=lambda run: run.__name__)
def test_a_silent_run_does_not_wait_for_the_lock_of_all_bars(run, tmp_path):
    """A process that is killed within tqdm leaves it locked for all that were forked with it."""
    given = (tmp_path,) if run is animate else ()
    silent = threading.Thread(target=run, args=given, daemon=True)
    with tqdm.get_lock():
        silent.start()
        silent.join(LONG)
        assert not silent.is_alive(), "it waits for tqdm"


def test_a_silent_fit_starts_no_thread():
    fit()  # compiles
    before = threading.active_count()
    if tqdm.monitor is not None:  # tqdm's own, of another test
        tqdm.monitor.exit()
        tqdm.monitor, before = None, threading.active_count()
    fit()
    assert tqdm.monitor is None
    assert threading.active_count() == before


def test_no_bar_has_as_many_items():
    with bar([1, 2], shown=False) as silent:
        assert isinstance(silent, NoBar)
        silent.set_description("a")
        silent.update(1)
        assert list(silent) == [1, 2]
    assert list(bar(shown=False)) == []


def test_a_bar_that_is_wanted_is_shown(capsys):
    assert list(bar([1, 2], shown=True, unit=" runs")) == [1, 2]
    said = capsys.readouterr()
    assert said.out == ""
    assert "2/2" in said.err
    assert "runs/s" in said.err

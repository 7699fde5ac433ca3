"""Trainings drawn at random: none crashes, and neither threads, blocks, layouts nor a stop change a bit."""

import contextlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hotloop as hl
from cases import LAYOUTS, assert_same, data_of, train, trainer_of
from helpers import python, within
from hotloop.losses import Custom
from sizes import CAMPAIGN, marks, size
from strategies import cases, drawn, searching

pytestmark = marks
LIMIT = 300
"""Seconds after which a training counts as a deadlock; the first of a kind is compiled within them."""


@searching(size(20, 600))
@given(cases())
def test_any_number_of_threads_gives_the_same_bits(case):
    alone = within(LIMIT, train, case)
    for n_threads in (2, 3, 5):
        together = within(LIMIT, lambda n=n_threads: train(case, n_threads=n))
        assert_same(together, alone, f"{n_threads} threads")


BLOCKS = {
    "one step a block": {"BLOCK_BYTES": 1},
    "some steps a block": {"BLOCK_BYTES": 2000},
    "hasty": {"BLOCK_SECONDS": 1e-12},
    "patient": {"BLOCK_SECONDS": 1e9},
}


@searching(size(10, 300))
@given(cases(), st.sampled_from((1, 2)))
def test_any_size_of_a_block_gives_the_same_bits(case, n_threads):
    usual = train(case)
    for name, constants in BLOCKS.items():
        with pytest.MonkeyPatch.context() as context:
            for constant, value in constants.items():
                context.setattr(f"hotloop.session.{constant}", value)
            assert_same(within(LIMIT, lambda: train(case, n_threads=n_threads)), usual, name)


@searching(size(10, 300))
@given(cases())
def test_any_layout_of_the_data_gives_the_same_bits(case):
    usual = train(case)
    for layout in LAYOUTS:
        assert_same(train(case, layout=layout), usual, layout)


@searching(size(10, 300))
@given(case=cases())
def test_a_training_that_was_saved_goes_on_with_the_same_bits(case, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "training"
    X, y, weights = data_of(case)
    trainer = trainer_of(case)
    resumed = None
    try:
        trainer.fit(X, y, sample_weight=weights, **case.fit)
        if isinstance(case.loss, Custom):
            with pytest.raises(hl.errors.InvalidTypeError, match=r"^loss"):
                trainer.save(path)
            return
        trainer.save(path)
        resumed = hl.Trainer.load(path)
        trainer.fit(X, y, sample_weight=weights, **case.fit)
    except hl.errors.DivergenceError:
        if resumed is None:
            return
    with contextlib.suppress(hl.errors.DivergenceError):  # as the other then has
        resumed.fit(X, y, sample_weight=weights, **case.fit)
    assert (resumed.epoch, resumed.step) == (trainer.epoch, trainer.step)
    np.testing.assert_array_equal(resumed.model.theta, trainer.model.theta)
    np.testing.assert_array_equal(resumed.stepper.state, trainer.stepper.state)
    np.testing.assert_array_equal(resumed.stepper.average, trainer.stepper.average)


UNCOMPILED = """
import pickle, sys
sys.path.insert(0, {folder!r})
from cases import train
from hotloop._jit import COMPILED
assert not COMPILED
cases = pickle.load(open({path!r}, "rb"))
pickle.dump([train(case) for case in cases], open({path!r}, "wb"))
"""
# Optimizers that divide a gradient by its own size (or keep its sign alone) make a step of what is
# rounding about 0, such as the gradient of a bias before a softmax: the two runs may differ there by a
# step. Plain steps keep rounding as small as it is.
PLAIN = (hl.SGD, hl.ScheduleFreeSGD)
TOLERANCE, NUDGES = {"float32": 1e-4, "float64": 1e-10}, 10
"""Of the largest number: compiled, sums are in another order, products fused, exp, log, tanh LLVM's. And so
many times what a change of data and weights by some roundings does: batch normalisation of a feature that
hardly varies, or a kink, makes much of little."""


def test_plain_python_trains_to_the_same_numbers(tmp_path, monkeypatch):
    """Tiny networks; the process without the JIT gets all of them in one go."""
    small = {"units": (1, 2, 3), "rows": (1, 3, 7)}
    found = drawn(cases(**small, kinds=PLAIN), size(12, 250))
    path = tmp_path / "cases"
    path.write_bytes(pickle.dumps(found))
    with monkeypatch.context() as patched:  # numba looks at it again whenever it compiles
        patched.setenv("NUMBA_DISABLE_JIT", "1")
        done = python(UNCOMPILED.format(folder=str(CAMPAIGN), path=str(path)), timeout=size(60, 600))
    assert done.returncode == 0, done.stderr
    for case, plain in zip(found, pickle.loads(path.read_bytes()), strict=True):
        compiled, nudged = train(case), [train(case, nudge=seed) for seed in range(5)]
        assert compiled.diverged == plain.diverged, case
        for name in ("theta", "running", "outputs"):
            one, other = getattr(compiled, name), getattr(plain, name)
            assert one.dtype == other.dtype, (name, case)
            spread = max(np.abs(getattr(near, name) - one).max(initial=0.0) for near in nudged)
            largest = max(1.0, np.abs(other).max(initial=0.0))
            allowed = TOLERANCE[case.dtype] * largest + NUDGES * spread
            np.testing.assert_allclose(one, other, rtol=0, atol=allowed, err_msg=f"{name} of {case}")

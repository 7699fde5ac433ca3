"""Vectors start cache lines, and those that an optimizer goes through start apart in a page."""

import copy
import pickle

import numpy as np
import pytest

import hotloop as hl
from hotloop.engine.memory import LINE, PAGE, aligned_zeros, padded, placed_copy, placed_rows, placed_zeros


def place(vector):
    """Where in a page it starts."""
    return vector.ctypes.data % PAGE


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 17, 1024, 5000])
def test_vectors_start_where_they_are_asked_to(n, dtype):
    dtype = np.dtype(dtype)
    aligned, placed = aligned_zeros(n, dtype), placed_zeros(n, dtype, 3)
    assert aligned.shape == placed.shape == (n,)
    assert aligned.ctypes.data % LINE == 0
    assert place(placed) == 3 * 512
    rows = placed_rows(3, n, dtype, 2)
    assert [place(row) for row in rows] == [2 * 512, 3 * 512, 4 * 512]
    assert rows.shape[1] >= n
    assert rows.flags.c_contiguous
    for zeros in (aligned, placed, rows):
        assert zeros.dtype == dtype
        assert not zeros.any()
    rows[...] = 1  # all of it is there to be written
    assert padded(n, dtype) >= n
    assert padded(n, dtype) * dtype.itemsize % LINE == 0


def test_no_numbers_are_no_trouble():
    number = np.dtype(np.float32)
    assert aligned_zeros(0, number).shape == (0,)
    assert placed_rows(0, 5, number, 2).shape[0] == 0
    assert placed_rows(3, 0, number, 2).shape[0] == 3
    assert placed_copy(np.empty(0, number), 3).shape == (0,)


def test_a_copy_is_placed_and_its_own():
    vector = np.arange(7.0)[2:]
    copied = placed_copy(vector, 5)
    np.testing.assert_array_equal(copied, vector)
    assert place(copied) == 5 * 512
    assert not np.shares_memory(copied, vector)


@pytest.mark.parametrize(
    "duplicate",
    [lambda x: x, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))],
    ids=["", "copy", "pickle"],
)
def test_what_an_optimizer_goes_through_lies_apart(duplicate):
    """Also in copies, and those go on as the original does."""
    X, y = np.random.default_rng(0).standard_normal((40, 5), np.float32), np.arange(40) % 3
    model = hl.Sequential([hl.Dense(7, "relu"), hl.Dense(3)], input_dim=5)
    original = hl.Trainer(
        model,
        loss="softmax_cross_entropy",
        optimizer=hl.Adam(amsgrad=True),
        batch_size=8,
        average=hl.EMA(0.9),
    )
    original.fit(X, y, epochs=1)
    trainer = duplicate(original)
    assert [kept.shape for kept in trainer.stepper._kept] == [kept.shape for kept in original.stepper._kept]
    vectors = [trainer.model.theta, trainer.stepper._grad, *trainer.stepper.state, trainer.stepper.average]
    places = [place(vector) for vector in vectors]
    assert len(set(places)) == len(places) == 6
    assert all(at % 512 == 0 for at in places)
    for each in (trainer, original):
        each.fit(X, y, epochs=1)
    np.testing.assert_array_equal(trainer.model.theta, original.model.theta)
    np.testing.assert_array_equal(trainer.stepper.state, original.stepper.state)
    np.testing.assert_array_equal(trainer.stepper.average, original.stepper.average)

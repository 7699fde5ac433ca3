"""Rows that the loop fetches by itself: the rows asked for, and the weights of staged ones."""

import numpy as np
import pytest

import hotloop as hl
from helpers import classes, net
from hotloop.data import staging
from hotloop.engine.fetch import STRIP
from hotloop.engine.gather import gather
from hotloop.engine.loop import Block
from hotloop.engine.team import SYNC_SIZE, Crew

pytestmark = pytest.mark.kernels


@pytest.mark.parametrize("width", [1, 5, STRIP, 2 * STRIP + 3])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_rows_that_are_asked_for(width, n_threads, dtype):
    X = np.random.default_rng(0).standard_normal((40, width)).astype(dtype)
    rows = np.array([39, 0, 0, 7, 12, 38, 5, 1, 2, 3, 30, 31, 32, 20, 11])
    bound = net(width, 2, dtype=dtype).bind(10, n_threads, None, True)
    nothing = np.empty((0, 1), dtype)
    block = Block(X.reshape(-1), rows, nothing, nothing[:, 0])
    bound.work[:] = np.nan
    for tid in range(n_threads):
        gather(bound, block, 3, 13, Crew(tid, n_threads, np.zeros(SYNC_SIZE, np.int64)))
    found = bound.work[bound.inputs : bound.inputs + 10 * width].reshape(10, width)
    np.testing.assert_array_equal(found, X[rows[3:13]])
    assert np.isnan(np.delete(bound.work, np.s_[bound.inputs : bound.inputs + 10 * width])).all()


def samples_of(X):
    y, n_in = np.zeros(len(X), int), X.shape[1]
    loss, dtype = hl.losses.SoftmaxCrossEntropy(), np.dtype("float32")
    return staging.check_samples(X, y, None, loss=loss, n_in=n_in, n_out=2, dtype=dtype, scale=1.0)


def test_wide_rows_of_the_model_s_dtype_are_read_where_they_lie():
    X = np.ones((4, staging.WIDE), np.float32)
    X.flags.writeable = False
    assert np.shares_memory(samples_of(X).flat, X)
    short, strided = X[:, 1:].copy(), np.tile(X, 2)[:, ::2]
    for other in (short, strided, np.asfortranarray(X), X.astype("float64"), X.astype(">f4")):
        assert samples_of(other).flat is None


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("batch_size", [1, 16, None])
def test_rows_in_place_train_the_weights_of_staged_ones(batch_size, n_threads, monkeypatch):
    X, y = classes(n=45, features=6)
    options = {"loss": "softmax_cross_entropy", "batch_size": batch_size, "n_threads": n_threads}

    def trained(least):
        monkeypatch.setattr(staging, "WIDE", least)
        trainer = hl.Trainer(net(6, 9, 3, dtype="float64"), **options)
        history = trainer.fit(X, y, epochs=2, validation_data=(X, y), sample_weight=np.arange(45.0))
        return trainer.model.theta, dict(history)

    (in_place, there), (staged, elsewhere) = trained(1), trained(7)
    np.testing.assert_array_equal(in_place, staged)
    assert there == elsewhere

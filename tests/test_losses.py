"""Losses: a new member is a row of `reference.LOSSES` and of `TARGETS`."""

import numba
import numpy as np
import pytest

import reference
from hotloop import losses
from hotloop._jit import COMPILED, FLAGS
from hotloop.losses import LOSSES, hit_of_row, loss_of_row

pytestmark = pytest.mark.kernels

TOLERANCE = {"float32": 2e-6, "float64": 1e-13}
FLOATS = list(TOLERANCE)


def classes(rng, n, n_out):
    """Labels, the first and the last among them."""
    return np.concatenate([[0, n_out - 1], rng.integers(0, n_out, n - 2)])[:, None].astype(float)


def values(rng, n, n_out):
    return rng.standard_normal((n, n_out))


TARGETS = {"mse": values, "softmax_cross_entropy": classes}


def run(name, outputs, targets):
    """(loss of each row, delta of each row) by the kernel."""
    targets = targets.astype(outputs.dtype)
    delta, loss = np.full_like(outputs, np.nan), np.empty(len(outputs))
    for i in range(len(outputs)):
        loss[i] = loss_of_row(LOSSES[name].code, outputs[i], targets[i], delta[i])
    return loss, delta


def test_every_member_has_a_twin_and_a_code_of_its_own():
    assert set(reference.LOSSES) == set(LOSSES) == set(TARGETS)
    assert len({loss.code for loss in LOSSES.values()}) == len(LOSSES)
    assert all(loss.name == name for name, loss in LOSSES.items())
    assert all(loss.on_labels == (TARGETS[name] is classes) for name, loss in LOSSES.items())


def test_codes_are_append_only():
    assert LOSSES["mse"].code == 0
    assert LOSSES["softmax_cross_entropy"].code == 1


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_out", [2, 3, 10, 33])
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_are_those_of_the_twin(name, n_out, dtype):
    rng = np.random.default_rng(n_out)
    outputs = (3 * rng.standard_normal((12, n_out))).astype(dtype)
    targets = TARGETS[name](rng, 12, n_out).astype(dtype)
    loss, delta = run(name, outputs, targets)
    value, gradient = reference.LOSSES[name]
    exact = outputs.astype(np.float64), targets.astype(np.float64)
    np.testing.assert_allclose(loss, value(*exact), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    np.testing.assert_allclose(delta, gradient(*exact), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_that_of_the_value(name):
    rng = np.random.default_rng(0)
    outputs, targets = rng.standard_normal((4, 5)), TARGETS[name](rng, 4, 5)
    numerical = reference.central_differences(lambda at: run(name, at, targets)[0].sum(), outputs)
    np.testing.assert_allclose(run(name, outputs, targets)[1], numerical, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LOSSES)
def test_extreme_outputs_stay_finite(name, dtype):
    outputs = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]], dtype)
    rng = np.random.default_rng(0)
    for targets in (TARGETS[name](rng, 4, 3), TARGETS[name](rng, 4, 3)[::-1]):
        loss, delta = run(name, outputs, targets)
        assert np.isfinite(loss).all()
        assert np.isfinite(delta).all()
        value, gradient = reference.LOSSES[name]
        np.testing.assert_allclose(loss, value(outputs.astype(float), targets), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(delta, gradient(outputs.astype(float), targets), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_outputs_that_are_not_finite_give_a_loss_that_is_not(name):
    for bad in (np.nan, np.inf):
        outputs = np.array([[0.0, bad, 1.0]])
        targets = np.zeros((1, 1 if LOSSES[name].on_labels else 3))
        assert not np.isfinite(run(name, outputs, targets)[0]).any()


@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax_deltas_sum_to_zero(dtype):
    rng = np.random.default_rng(1)
    outputs = (5 * rng.standard_normal((20, 7))).astype(dtype)
    delta = run("softmax_cross_entropy", outputs, classes(rng, 20, 7))[1]
    np.testing.assert_allclose(delta.sum(axis=1), 0, atol=4 * np.finfo(dtype).eps)


def test_uniform_logits_cost_the_log_of_the_classes():
    loss, _ = run("softmax_cross_entropy", np.full((3, 10), -123.0), np.array([[0], [5], [9]]))
    np.testing.assert_allclose(loss, np.log(10), rtol=1e-15)


def test_mse_is_the_sum_over_outputs_without_a_half():
    loss, delta = run("mse", np.array([[1.0, 5.0]]), np.array([[0.0, 3.0]]))
    assert loss == [5.0]
    np.testing.assert_array_equal(delta, [[2.0, 4.0]])


def test_hit_is_the_first_largest_output():
    code = LOSSES["softmax_cross_entropy"].code
    for outputs, label, hit in [
        ([1, 2, 3], 2, 1), ([1, 2, 3], 1, 0), ([3, 2, 1], 0, 1), ([2, 2, 1], 0, 1), ([2, 2, 1], 1, 0),
    ]:  # fmt: skip
        assert hit_of_row(code, np.array(outputs, float), np.array([label], float)) == hit
    assert hit_of_row(LOSSES["mse"].code, np.array([1.0]), np.array([1.0])) == 0


@pytest.mark.skipif(not COMPILED, reason="only compiled code turns float32 into float64")
@pytest.mark.parametrize("name", LOSSES)
def test_float32_code_holds_no_float64(name):
    row = numba.float32[::1]
    fresh = numba.njit(fastmath=FLAGS, error_model="numpy", nogil=True, _nrt=False)(
        getattr(losses, name).py_func
    )
    fresh.compile((row, row, row))
    assert fresh.overloads[(row, row, row)].signature.return_type == numba.float32
    # Without the wrapper that hands the result to Python, as a double.
    code = fresh.inspect_llvm((row, row, row)).split("define ")
    assert len(code) > 1
    assert not any("fpext" in part for part in code if "cpython" not in part.split("{")[0])

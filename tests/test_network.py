"""Forward, loss and backward of whole networks, held to the twin and to central differences."""

import numpy as np
import pytest

import hotloop as hl
import reference
from hotloop._jit import COMPILED
from hotloop.engine.address import address_of
from hotloop.engine.descent import Inputs, add_gradient, descend, vector_gradient
from hotloop.engine.loop import Update
from hotloop.engine.network import backward, forward, is_relu, loss_rows
from hotloop.engine.table import BIAS, COLUMN_GRAIN, DELTA, N_OUT, PREDICTION, VALUE, Mode
from hotloop.engine.team import Crew, sync_zeros
from hotloop.losses import LOSSES, criterion_of
from hotloop.objective import Objective

pytestmark = pytest.mark.kernels

ALONE = Crew(0, 1, sync_zeros(1))
TRAINING = Mode(1, 0, 0, 0)
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
FLOATS = list(TOLERANCE)

# Features, layers. Widths around the tiles (6 x 16, 4 x 4, …), wide and narrow, with and without bias.
NETWORKS = {
    "one layer": (5, (hl.Dense(3),)),
    "one output": (1, (hl.Dense(1),)),
    "an activation at the end": (4, (hl.Dense(3, "tanh"),)),
    "relu": (7, (hl.Dense(9, "relu"), hl.Dense(3))),
    "tanh": (6, (hl.Dense(8, "tanh"), hl.Dense(5, "tanh"), hl.Dense(2))),
    "sigmoid": (3, (hl.Dense(1, "sigmoid"), hl.Dense(4, "sigmoid"), hl.Dense(3, "sigmoid"))),
    "linear and deep": (2, tuple(hl.Dense(k) for k in (3, 1, 4, 2))),
    "no biases": (5, (hl.Dense(6, "tanh", use_bias=False), hl.Dense(3, use_bias=False))),
    "few outputs of many": (3, (hl.Dense(20, "relu"), hl.Dense(1))),
    "some biases": (5, (hl.Dense(6, "relu", use_bias=False), hl.Dense(4, "sigmoid"), hl.Dense(3))),
}
if COMPILED:
    NETWORKS |= {
        "around a tile": (17, (hl.Dense(33, "relu"), hl.Dense(15, "tanh"), hl.Dense(16), hl.Dense(7))),
        "wide": (100, (hl.Dense(300, "relu"), hl.Dense(130, "sigmoid"), hl.Dense(10))),
    }


def problem(name, loss, n, dtype="float64", weighted=True):
    """(model, x, targets, weights): θ is random in the biases too, weights range from 0 up."""
    n_in, layers = NETWORKS[name]
    rng = np.random.default_rng([len(name), n])
    model = hl.Sequential(layers, input_dim=n_in, seed=1, dtype=dtype)
    model.theta[:] += 0.3 * rng.uniform(-1, 1, model.theta.size)
    x = rng.standard_normal((n, n_in)).astype(dtype)
    n_out = model.output_dim
    targets = (
        rng.integers(0, n_out, (n, 1)) if loss == "softmax_cross_entropy" else rng.standard_normal((n, n_out))
    )
    weights = rng.uniform(0, 3, n) if weighted else np.ones(n)
    if weighted and n > 1:
        weights[n // 2] = 0
    return model, x, targets.astype(dtype), weights.astype(dtype)


def pairs():
    """Each network with each loss that it can have."""
    return [
        pytest.param(name, loss, id=f"{name}-{loss}")
        for name, (_, layers) in NETWORKS.items()
        for loss in ("mse", "softmax_cross_entropy")  # test_losses.py has the others
        if not (loss == "softmax_cross_entropy" and layers[-1].units < 2)
    ]


def close(found, expected, dtype):
    """Within the tolerance, relative to the largest number."""
    scale = max(np.abs(expected).max(), 1e-3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


class Engine:
    """A model with its memory, as one thread of the loop sees it."""

    def __init__(self, model, capacity):
        self.net = model.bind(capacity, 1)
        self.panel = self.net.work[self.net.panels : self.net.panels + self.net.panel_size]
        self.net.work[self.net.panels :] = np.nan
        self.theta, self.input_dim = model.theta, model.input_dim

    def rows(self, column, n, k=-1):
        """Values or deltas of row k of the table."""
        width, start = self.net.table[k, N_OUT], self.net.table[k, column]
        return self.net.work[start : start + n * width].reshape(n, width)

    def deltas(self, loss, x, targets, weights, scale):
        criterion = criterion_of(LOSSES[loss], self.theta.dtype)
        x, n = x.reshape(-1), len(weights)
        forward(self.net, self.theta, x, n, TRAINING, ALONE, self.panel)
        loss_rows(self.net, criterion, targets, weights, scale, ALONE)
        backward(self.net, self.theta, x, n, TRAINING, ALONE, self.panel)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize(("name", "loss"), pairs())
def test_value_and_gradient_of_the_objective(name, loss, weighted, dtype):
    n = 23 if COMPILED else 5
    model, x, targets, weights = problem(name, loss, n, dtype, weighted)
    expected = reference.gradient(model.layers, loss, model.theta, x, targets, weights)
    y = targets[:, 0].astype(int) if loss == "softmax_cross_entropy" else targets
    for batch_size in (1, 4, n - 1, n, 100):
        objective = Objective(
            model, x, y, loss=loss, sample_weight=weights if weighted else None, batch_size=batch_size
        )
        value, gradient = objective.value_and_gradient(model.theta)
        close(gradient, expected, dtype)
        np.testing.assert_allclose(
            value,
            reference.value(model.layers, loss, model.theta, x, targets, weights),
            rtol=TOLERANCE[dtype],
        )
        assert objective.value(model.theta) == value
        assert gradient.dtype == dtype
        np.testing.assert_array_equal(objective.gradient(model.theta), gradient)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("name", "loss"), pairs())
def test_values_deltas_and_gradient_of_the_engine(name, loss, dtype):
    n, capacity = (11, 13) if COMPILED else (4, 5)
    model, x, targets, weights = problem(name, loss, n, dtype)
    engine, scale = Engine(model, capacity), 1 / float(weights.sum(dtype=np.float64))
    engine.deltas(loss, x, targets, weights, scale)

    values, inner = reference.forward(model.layers, model.theta, x)
    value_of, gradient_of = reference.LOSSES[loss]
    close(engine.rows(VALUE, n), values[-1], dtype)
    counts = weights != 0
    close(engine.net.row_loss[:n][counts], value_of(values[-1], targets)[counts], dtype)
    if loss == "softmax_cross_entropy":
        hits = values[-1].argmax(axis=1) == targets[:, 0]
        np.testing.assert_array_equal(engine.net.row_hit[:n][counts], hits[counts])
    last = reference.ACTIVATIONS[model.layers[-1].activation][1]
    expected = gradient_of(values[-1], targets) * (weights[:, None] * scale) * last(inner[-1])
    close(engine.rows(DELTA, n), expected, dtype)

    expected = reference.gradient(model.layers, loss, model.theta, x, targets, weights)
    grad = np.zeros(model.theta.size, dtype)
    add_gradient(engine.net, x.reshape(-1), n, grad, True, ALONE, engine.panel)
    close(grad, expected, dtype)
    add_gradient(engine.net, x.reshape(-1), n, grad, True, ALONE, engine.panel)
    close(grad, 2 * expected, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("units", [1, 3, 32, COLUMN_GRAIN, COLUMN_GRAIN + 1])
@pytest.mark.parametrize("n", [1, 6, 303])
def test_the_gradient_of_biases_is_the_sum_of_deltas(n, units, dtype):
    net = hl.Sequential([hl.Dense(units)], input_dim=1, dtype=dtype).bind(n, 1)
    row, deltas = net.table[0], np.random.default_rng(n).uniform(0, 1, (n, units)).astype(dtype)
    net.work[:] = np.nan
    net.work[row[DELTA] : row[DELTA] + deltas.size] = deltas.reshape(-1)
    grad = np.full(2 * units, 5, dtype)
    for times in (1, 2):
        for lo in range(0, units, COLUMN_GRAIN):  # the shares of threads
            hi = min(lo + COLUMN_GRAIN, units)
            vector_gradient(net, net.work, row, net.work, 0, n, lo, hi, grad, times == 2)
        close(grad[row[BIAS] :], times * deltas.sum(axis=0, dtype=np.float64), dtype)
    np.testing.assert_array_equal(grad[: row[BIAS]], 5)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_step_is_the_gradient_and_its_update(name, dtype):
    n, rate = 9 if COMPILED else 3, 0.25
    model, x, targets, weights = problem(name, "mse", n, dtype)
    before = model.theta.copy()
    engine, scale = Engine(model, n), 1 / float(weights.sum(dtype=np.float64))
    expected = reference.gradient(model.layers, "mse", before, x, targets, weights)
    engine.deltas("mse", x, targets, weights, scale)
    sgd, state = hl.SGD(rate), np.empty((0, model.theta.size), dtype)
    arguments = (0, np.zeros(2), np.zeros(1), state, model.theta, model.theta, 0, 0)
    update = Update(
        address=address_of(sgd.kernel(), arguments), code=sgd.code, hyper=np.array(sgd.hyper()),
        scalars=np.array([[[rate]]]), rates=np.array([[rate]]), state=state,
        clip_norm=0.0, clip_value=0.0, needs_norm=0, average=np.empty(0, dtype), average_rates=np.zeros(1),
    )  # fmt: skip
    grad = np.full(model.theta.size, np.nan, dtype)  # replaced, not added to
    nowhere, nothing = np.empty(0, np.int64), np.empty(0, x.dtype)
    inputs = Inputs(x.reshape(-1), n, False, nowhere, nothing, -1)
    descend(engine.net, inputs, update, 0, model.theta, grad, ALONE, engine.panel)
    close(before.astype(float) - model.theta, rate * expected, dtype)


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_do_not_see_each_other(name):
    """Forward of the second of three threads writes its rows and reads no other."""
    model, x, _, _ = problem(name, "mse", 30)
    n, second = len(x), Crew(1, 3, ALONE.sync)
    whole, part = Engine(model, n), Engine(model, n)
    forward(whole.net, model.theta, x.reshape(-1), n, PREDICTION, ALONE, whole.panel)

    def of_the_second(x):
        for k in range(len(part.net.table)):
            part.rows(VALUE, n, k)[...] = -7.0
        forward(part.net, model.theta, x.reshape(-1), n, PREDICTION, second, part.panel)

    of_the_second(x)
    its = (part.rows(VALUE, n) != -7.0).any(axis=1)
    assert 0 < its.sum() < n
    of_the_second(np.where(its[:, None], x, np.nan))
    # What goes into a ReLU is nowhere in memory.
    for k in (k for k in range(len(part.net.table)) if not is_relu(part.net, k + 1)):
        np.testing.assert_allclose(
            part.rows(VALUE, n, k)[its], whole.rows(VALUE, n, k)[its], rtol=1e-14, atol=1e-15
        )
        assert np.all(part.rows(VALUE, n, k)[~its] == -7.0)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NETWORKS)
def test_predictions(name, dtype):
    for n in (1, 2, 300 if COMPILED else 3):
        model, x, _, _ = problem(name, "mse", n, dtype)
        out = model.predict(x)
        assert out.shape == (n, model.output_dim)
        assert out.dtype == dtype
        close(out, reference.predict(model.layers, model.theta, x), dtype)


@pytest.mark.parametrize(("name", "loss"), pairs())
def test_evaluation(name, loss):
    n = 30 if COMPILED else 4
    model, x, targets, weights = problem(name, loss, n)
    y = targets[:, 0].astype(int) if loss == "softmax_cross_entropy" else targets
    found = hl.Trainer(model, loss=loss).evaluate(x, y, sample_weight=weights)
    expected = {"loss": reference.value(model.layers, loss, model.theta, x, targets, weights)}
    if loss == "softmax_cross_entropy":
        expected["accuracy"] = reference.accuracy(model.layers, model.theta, x, targets, weights)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("name", "loss"), pairs())
def test_gradient_agrees_with_central_differences(name, loss):
    model, x, targets, weights = problem(name, loss, 12 if COMPILED else 3)
    y = targets[:, 0].astype(int) if loss == "softmax_cross_entropy" else targets
    objective = hl.Objective(model, x, y, loss=loss, sample_weight=weights)
    # A small step, so that no relu changes its side on the way.
    check = hl.check_gradient(objective, n_directions=4, step=1e-6 if "relu" in repr(model) else 1e-5)
    assert check, f"relative error {check.relative_error:.3g}"


def test_the_twin_agrees_with_central_differences():
    """Else both could be wrong in the same way."""
    for name, loss in (("some biases", "softmax_cross_entropy"), ("tanh", "mse")):
        model, x, targets, weights = problem(name, loss, 4)
        arguments = model.layers, loss
        numerical = reference.central_differences(
            lambda theta, a=arguments, d=(x, targets, weights): reference.value(*a, theta, *d), model.theta
        )
        found = reference.gradient(*arguments, model.theta, x, targets, weights)
        np.testing.assert_allclose(found, numerical, rtol=1e-6, atol=1e-8)


def test_a_gradient_that_is_wrong_fails_the_check(monkeypatch):
    model, x, targets, _ = problem("tanh", "mse", 4)
    objective = hl.Objective(model, x, targets, loss="mse")
    assert hl.check_gradient(objective)
    right = Objective.value_and_gradient

    def wrong(self, theta):
        value, gradient = right(self, theta)
        gradient[3] *= 1.001
        return value, gradient

    monkeypatch.setattr(Objective, "value_and_gradient", wrong)
    assert not hl.check_gradient(objective)


def test_a_row_of_no_weight_is_not_there():
    """Even where its loss is infinite, and 0 · ∞ would be NaN."""
    model, x, targets, weights = problem("tanh", "mse", 5)
    weights[2], targets[2] = 0, 1e300
    there = weights != 0
    whole = hl.Objective(model, x, targets, loss="mse", sample_weight=weights)
    part = hl.Objective(model, x[there], targets[there], loss="mse", sample_weight=weights[there])
    assert whole.value(model.theta) == pytest.approx(part.value(model.theta), rel=1e-14)
    np.testing.assert_allclose(
        whole.gradient(model.theta), part.gradient(model.theta), rtol=1e-12, atol=1e-15
    )


def test_every_relu_dead_gives_gradient_zero_below():
    model = hl.Sequential([hl.Dense(4, "relu"), hl.Dense(2)], input_dim=3, dtype="float64")
    model.parameters()["dense_0/bias"][:] = -100
    objective = hl.Objective(model, np.ones((3, 3)), np.ones((3, 2)), loss="mse")
    gradient = objective.gradient(model.theta)
    np.testing.assert_array_equal(gradient[: 3 * 4 + 4], 0)
    np.testing.assert_array_equal(gradient[-2:], [-2, -2])

"""`Objective` and `check_gradient`: L(θ) and its gradient against NumPy, PyTorch and differences."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

import hotloop as hl
from helpers import ACTIVATIONS, child_environment, classes, loss_and_gradient, net, refuses, split, values

ROWS = 150
DATA = {"softmax_cross_entropy": classes(ROWS), "mse": values(ROWS, outputs=3)}
WEIGHTS = np.random.default_rng(9).uniform(0, 2, ROWS)
MODELS = {
    "linear": lambda **options: net(4, 3, **options),
    "deep": lambda **options: net(4, 7, 5, 6, 3, **options),
    "relu": lambda **options: net(4, 16, 16, 3, activation="relu", **options),
    "sigmoid": lambda **options: net(4, 16, 3, activation="sigmoid", **options),
    "last activated": lambda **options: hl.Sequential(
        [hl.Dense(5, use_bias=False), hl.Dense(3, "tanh")], input_dim=4, **{"dtype": "float64"} | options
    ),
}
each_loss = pytest.mark.parametrize("loss", DATA)
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
with_weights = pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])


def objective_of(loss="mse", make=MODELS["deep"], **options):
    return hl.Objective(make(), *DATA[loss], loss=loss, **options)


def some_theta(size, seed=0):
    return 0.5 * np.random.default_rng(seed).standard_normal(size)


@each_loss
@each_model
@with_weights
def test_value_and_gradient_are_those_of_numpy(loss, make, weights):
    objective = objective_of(loss, make, sample_weight=weights)
    theta = some_theta(objective.size)
    value, gradient = loss_and_gradient(objective.model, *DATA[loss], loss, weights, theta)
    assert objective.value(theta) == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(objective.gradient(theta), gradient, rtol=1e-9, atol=1e-13)
    both = objective.value_and_gradient(theta.tolist())
    assert both[0] == pytest.approx(value, rel=1e-12)
    np.testing.assert_array_equal(both[1], objective.gradient(theta))


@pytest.mark.torch
@each_loss
@each_model
def test_value_and_gradient_are_those_of_pytorch(loss, make):
    torch = pytest.importorskip("torch")
    objective = objective_of(loss, make)
    theta = some_theta(objective.size)
    parameters = [
        torch.tensor(part, requires_grad=True)
        for pair in split(objective.model, theta)
        for part in pair
        if np.ndim(part)
    ]
    x, y = (torch.tensor(part) for part in DATA[loss])
    rest = iter(parameters)
    for layer in objective.model.layers:
        x = x @ next(rest)
        x = x + next(rest) if layer.use_bias else x
        x = x if layer.activation == "identity" else getattr(torch, layer.activation)(x)
    rows = (x - y) ** 2 if loss == "mse" else torch.nn.functional.cross_entropy(x, y, reduction="none")
    expected = rows.sum() / ROWS
    expected.backward()
    gradient = np.concatenate([parameter.grad.numpy().ravel() for parameter in parameters])
    assert objective.value(theta) == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(objective.gradient(theta), gradient, rtol=1e-9, atol=1e-13)


@each_loss
def test_float32_is_close_and_float32(loss):
    X, y = DATA[loss]
    objective = hl.Objective(MODELS["deep"](dtype="float32"), X, y, loss=loss)
    theta = some_theta(objective.size)
    value, gradient = loss_and_gradient(objective.model, X, y, loss, theta=theta)
    assert objective.value(theta) == pytest.approx(value, rel=1e-5)
    found = objective.gradient(theta)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, gradient, rtol=1e-3, atol=1e-5)


@each_loss
@pytest.mark.parametrize("batch_size", [1, 7, 149, 1000])
def test_the_batch_size_changes_nothing(loss, batch_size):
    whole, parts = objective_of(loss), objective_of(loss, batch_size=batch_size)
    theta = some_theta(whole.size)
    assert parts.value(theta) == pytest.approx(whole.value(theta), rel=1e-13)
    np.testing.assert_allclose(parts.gradient(theta), whole.gradient(theta), rtol=1e-9, atol=1e-14)


@each_loss
@pytest.mark.parametrize("n_threads", [2, 3, None])
def test_threads_change_nothing(loss, n_threads):
    one, more = (objective_of(loss, batch_size=16, n_threads=n) for n in (1, n_threads))
    theta = some_theta(one.size)
    assert more.value(theta) == one.value(theta)
    np.testing.assert_array_equal(more.gradient(theta), one.gradient(theta))


def test_many_rows_are_read_block_by_block():
    X = np.random.default_rng(0).integers(0, 256, (3000, 784)).astype(np.uint8)
    y = np.arange(3000) % 3
    model = net(784, 3, uint8_scale=1 / 255)
    objective = hl.Objective(model, X, y, loss="softmax_cross_entropy")
    value, gradient = loss_and_gradient(model, X / 255, y, "softmax_cross_entropy")
    assert objective.value(model.theta) == pytest.approx(value, rel=1e-11)
    np.testing.assert_allclose(objective.gradient(model.theta), gradient, rtol=1e-8, atol=1e-12)


def test_the_value_is_the_loss_of_evaluate():
    X, y = DATA["softmax_cross_entropy"]
    model = MODELS["deep"]()
    found = hl.Trainer(model, loss="softmax_cross_entropy").evaluate(X, y, sample_weight=WEIGHTS)
    objective = hl.Objective(model, X, y, loss="softmax_cross_entropy", sample_weight=WEIGHTS)
    assert objective.value(model.theta) == pytest.approx(found["loss"], rel=1e-14)


def test_the_model_keeps_its_weights_and_results_are_new():
    objective = objective_of()
    before, theta = objective.model.theta.copy(), some_theta(objective.size)
    kept = theta.copy()
    first = objective.gradient(theta)
    copy_of_first = first.copy()
    assert objective.value(2 * theta) != objective.value(theta)
    assert (objective.gradient(2 * theta) != first).any()
    np.testing.assert_array_equal(first, copy_of_first)
    np.testing.assert_array_equal(objective.model.theta, before)
    np.testing.assert_array_equal(theta, kept)


SIZE = objective_of().size
WRONG_THETA = {
    "too short": (np.zeros(SIZE - 1), ValueError),
    "too long": (np.zeros(SIZE + 1), ValueError),
    "2-D": (np.zeros((1, SIZE)), ValueError),
    "a number": (0.0, ValueError),
    "NaN": (np.full(SIZE, np.nan), ValueError),
    "infinite": (np.full(SIZE, np.inf), ValueError),
    "None": (None, TypeError),
    "text": (["0"] * SIZE, TypeError),
    "complex": (np.zeros(SIZE, complex), TypeError),
}


@pytest.mark.parametrize(("theta", "error"), WRONG_THETA.values(), ids=WRONG_THETA)
@pytest.mark.parametrize("method", ["value", "gradient", "value_and_gradient"])
def test_a_wrong_theta_is_named(method, theta, error):
    with refuses(error, "theta"):
        getattr(objective_of(), method)(theta)


def test_theta_of_any_layout():
    objective = objective_of()
    theta = np.arange(SIZE) % 3 - 1.0
    expected = objective.gradient(theta)
    for same in (theta.astype(int), theta.tolist(), np.repeat(theta, 2)[::2], theta.astype(">f4")):
        np.testing.assert_array_equal(objective.gradient(same), expected)


def test_astype_is_the_same_function():
    objective = objective_of(sample_weight=WEIGHTS)
    single = objective.astype("float32")
    assert single.gradient(some_theta(SIZE)).dtype == np.float32
    assert single.value(some_theta(SIZE)) == pytest.approx(objective.value(some_theta(SIZE)), rel=1e-5)
    assert single.astype("float64").value(some_theta(SIZE)) == objective.value(some_theta(SIZE))
    with refuses((TypeError, ValueError), "dtype"):
        objective.astype("banana")


# The gradient check.


@each_loss
@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - {"relu"}))
@with_weights
def test_smooth_networks_pass(loss, activation, weights):
    model = net(4, 8, 8, 3, activation=activation)
    objective = hl.Objective(model, *DATA[loss], loss=loss, sample_weight=weights)
    check = hl.check_gradient(objective)
    assert check
    assert check.passed
    assert check.relative_error <= 1e-7
    assert check.exact.shape == check.numerical.shape == (10,)
    assert check.relative_error > 0


def test_relu_passes_away_from_its_kinks():
    model = net(4, 8, 3, activation="relu")
    theta = some_theta(model.theta.size)
    objective = hl.Objective(model, *DATA["mse"], loss="mse")
    assert hl.check_gradient(objective, theta, step=1e-7, tolerance=1e-5)


FLAWS = {
    "a number off": lambda gradient: gradient + 1e-3 * (np.arange(gradient.size) == 5),
    "scaled": lambda gradient: gradient * (1 + 1e-6),
    "doubled": lambda gradient: 2 * gradient,
    "sign": lambda gradient: -gradient,
    "zero": np.zeros_like,
    "rotated": lambda gradient: np.roll(gradient, 1),
}


@pytest.mark.parametrize("flaw", FLAWS.values(), ids=FLAWS)
def test_a_wrong_gradient_fails(flaw, monkeypatch):
    right = hl.Objective.gradient
    monkeypatch.setattr(hl.Objective, "gradient", lambda self, theta: flaw(right(self, theta)))
    check = hl.check_gradient(objective_of())
    assert not check
    assert check.relative_error > 1e-7


MINIMA = {
    "softmax_cross_entropy": ("softmax_cross_entropy", DATA["softmax_cross_entropy"], 0.01),
    "mse": ("mse", DATA["mse"], 0.01),
    "huber": ("huber", DATA["mse"], 0.0),
}
each_minimum = pytest.mark.parametrize(("loss", "data", "strength"), MINIMA.values(), ids=MINIMA)


def minimum_of(loss, data, strength):
    """A linear model's loss, and where its gradient is zero up to rounding."""
    objective = hl.Objective(MODELS["linear"](), *data, loss=loss, penalty=hl.L2(strength))
    found = hl.minimize(objective, method="damped_newton", gtol=1e-11)
    assert found.gradient_norm < 1e-9
    return objective, found.theta


@each_minimum
@pytest.mark.parametrize("step", [1e-6, 1e-5, 1e-4])
def test_a_right_gradient_passes_at_a_minimum(step, loss, data, strength):
    """The differences there are rounding and a third derivative, and nothing else."""
    check = hl.check_gradient(*minimum_of(loss, data, strength), step=step, n_directions=50)
    assert 0 < check.relative_error <= 1e-7


@pytest.mark.parametrize("size", [1e-3, 1.0])
def test_a_right_gradient_passes_where_the_fit_is_perfect(size):
    """The loss there is 0, so is its rounding, and the third derivative is what differences show."""
    model, (X, _) = MODELS["deep"](), DATA["mse"]
    model.theta[:] = size * some_theta(SIZE)
    objective = hl.Objective(model, X, model.predict(X), loss="mse")
    assert not objective.gradient(model.theta).any()
    assert hl.check_gradient(objective)


@each_minimum
@pytest.mark.parametrize("distance", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("name", ["sign", "zero", "rotated", "doubled"])
def test_a_wrong_gradient_fails_near_a_minimum_too(name, distance, loss, data, strength, monkeypatch):
    objective, theta = minimum_of(loss, data, strength)
    theta = theta + distance * some_theta(theta.size)
    assert hl.check_gradient(objective, theta)
    right, flaw = hl.Objective.gradient, FLAWS[name]
    monkeypatch.setattr(hl.Objective, "gradient", lambda self, theta: flaw(right(self, theta)))
    assert not hl.check_gradient(objective, theta)


def test_a_penalty_that_the_gradient_leaves_out_is_found_at_the_minimum(monkeypatch):
    objective, theta = minimum_of("mse", DATA["mse"], 1e-4)
    bare = hl.Objective(objective.model, *DATA["mse"], loss="mse")
    monkeypatch.setattr(hl.Objective, "gradient", lambda _, theta: bare.value_and_gradient(theta)[1])
    assert hl.check_gradient(bare, theta)
    assert not hl.check_gradient(objective, theta)


def test_the_objective_that_is_given_is_the_one_that_is_checked():
    class Wrong(hl.Objective):
        def value_and_gradient(self, theta):
            value, gradient = super().value_and_gradient(theta)
            return value, 2 * gradient

    assert not hl.check_gradient(Wrong(MODELS["deep"](), *DATA["mse"], loss="mse"))


def test_float32_is_checked_in_float64():
    objective = hl.Objective(MODELS["deep"](dtype="float32"), *DATA["mse"], loss="mse")
    check = hl.check_gradient(objective)
    assert check
    assert check.exact.dtype == np.float64
    theta = objective.model.theta.astype(np.float64)
    in_double = hl.Objective(MODELS["deep"](), *DATA["mse"], loss="mse")
    np.testing.assert_array_equal(check.exact, hl.check_gradient(in_double, theta).exact)


def test_the_check_takes_place_where_it_is_told():
    objective = objective_of()
    here, there = hl.check_gradient(objective), hl.check_gradient(objective, some_theta(SIZE))
    assert (here.exact != there.exact).all()
    again = hl.check_gradient(objective, objective.model.theta)
    np.testing.assert_array_equal(again.exact, here.exact)
    other = hl.check_gradient(objective, seed=1, n_directions=3)
    assert other.exact.shape == (3,)
    assert (other.exact != here.exact[:3]).all()


WRONG_CHECKS = {
    "objective": ({"objective": MODELS["deep"]()}, TypeError),
    "theta": ({"theta": np.zeros(3)}, ValueError),
    "n_directions": ({"n_directions": 0}, ValueError),
    "step": ({"step": 0.0}, ValueError),
    "tolerance": ({"tolerance": -1.0}, ValueError),
    "seed": ({"seed": -1}, ValueError),
}


@pytest.mark.parametrize(("name", "wrong"), WRONG_CHECKS.items(), ids=WRONG_CHECKS)
def test_wrong_arguments_of_the_check_are_named(name, wrong):
    options, error = wrong
    with refuses(error, name):
        hl.check_gradient(**{"objective": objective_of()} | options)


def test_a_pickled_objective_works_in_another_process(tmp_path):
    """Rarer layers and losses are called by addresses, which another process does not have."""
    X, y = values(n=30)
    layers = [hl.Dense(5, "mish"), hl.BatchNorm(), hl.Dropout(0.3), hl.Activation("prelu"), hl.Dense(2)]
    model = hl.Sequential(layers, input_dim=4, dtype="float64")
    objective = hl.Objective(model, X, y, loss="huber", training=True)
    value, gradient = objective.value_and_gradient(model.theta)
    (tmp_path / "objective.pickle").write_bytes(pickle.dumps(objective))
    code = (
        "import pickle, pathlib, numpy as np, sys; folder = pathlib.Path(sys.argv[1]);"
        "objective = pickle.loads((folder / 'objective.pickle').read_bytes());"
        "value, gradient = objective.value_and_gradient(objective.model.theta);"
        "np.save(folder / 'found.npy', np.append(gradient, value))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=child_environment(), check=True, timeout=300
    )
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), np.append(gradient, value))

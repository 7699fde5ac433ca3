"""`hl.losses.Custom`: a user's own functions train as the built-in losses do, and fail with clear errors."""

import numba
import numpy as np
import pytest

import hotloop as hl
import reference
from helpers import as_memory_map, classes, net, refuses, values
from hotloop._jit import COMPILED
from hotloop.errors import DivergenceError
from hotloop.losses import Custom

pytestmark = pytest.mark.skipif(not COMPILED, reason="the face is tested compiled")

DATA = {"mse": values(75, outputs=3), "softmax_cross_entropy": classes(75)}


@numba.njit
def compiled_value(z, y):
    found = np.zeros(len(z), z.dtype)
    for i in range(len(z)):
        for j in range(z.shape[1]):
            found[i] += (z[i, j] - y[i, j]) ** 2
    return found


@numba.njit
def compiled_gradient(z, y):
    return 2 * (z - y)


def scribbling(function):
    """The same function, which then spoils its arguments."""

    def spoiling(z, y):
        found = function(z, y)
        z[:], y[:] = np.nan, np.nan
        return found

    return spoiling


def spoilt(name):
    return Custom(*map(scribbling, reference.LOSSES[name]))


OWN = {
    "mse": ("mse", Custom(*reference.LOSSES["mse"])),
    "mse compiled": ("mse", Custom(compiled_value, compiled_gradient)),
    "mse that spoils its arguments": ("mse", spoilt("mse")),
    "cross-entropy": ("softmax_cross_entropy", Custom(*reference.LOSSES["softmax_cross_entropy"])),
    "cross-entropy that spoils": ("softmax_cross_entropy", spoilt("softmax_cross_entropy")),
}
each_own = pytest.mark.parametrize(("name", "own"), OWN.values(), ids=OWN)
MODELS = {
    "dense": [hl.Dense(8, "tanh"), hl.Dense(3)],
    "normalised, with dropout": [
        hl.Dense(8, use_bias=False), hl.BatchNorm(), hl.Activation("relu"), hl.Dropout(0.3), hl.Dense(3),
    ],
}  # fmt: skip
each_model = pytest.mark.parametrize("layers", MODELS.values(), ids=MODELS)


def trainer_of(loss, layers=MODELS["dense"], dtype="float64", **options):
    """Of 4 inputs and 3 outputs; 75 rows are five minibatches."""
    model = hl.Sequential(layers, input_dim=4, dtype=dtype, seed=2)
    return hl.Trainer(model, loss=loss, **{"optimizer": hl.Adam(0.01), "batch_size": 16} | options)


def assert_close(one, other, rtol=1e-11):
    np.testing.assert_allclose(one.model.theta, other.model.theta, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(one.model.running, other.model.running, rtol=rtol, atol=rtol)
    for name, column in other.history.items():
        if "accuracy" not in name:
            np.testing.assert_allclose(one.history[name], column, rtol=rtol, err_msg=name)


@each_own
@each_model
@pytest.mark.parametrize("n_threads", [1, 3])
def test_it_trains_as_the_built_in_loss(name, own, layers, n_threads):
    """Also the running statistics and the masks: the second forward pass leaves no trace."""
    X, y = DATA[name]
    weights = np.random.default_rng(0).uniform(0.1, 2, 75)
    ours, built_in = (trainer_of(loss, layers, n_threads=n_threads) for loss in (own, name))
    for trainer in (ours, built_in):
        trainer.fit(X, y, epochs=5, sample_weight=weights, validation_data=(X[:40], y[:40], weights[:40]))
    assert_close(ours, built_in)
    found, expected = (t.evaluate(X, y, sample_weight=weights)["loss"] for t in (ours, built_in))
    assert found == pytest.approx(expected, rel=1e-10)
    assert "accuracy" not in ours.history


@each_own
@each_model
def test_threads_and_blocks_change_nothing(name, own, layers, monkeypatch):
    def trained(n_threads=1):
        trainer = trainer_of(own, layers, n_threads=n_threads, dtype="float32")
        trainer.fit(*DATA[name], epochs=3)
        return trainer

    whole = trained()
    others = [trained(n_threads) for n_threads in (2, 3, 5)]
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", 1e-12)
    for other in (*others, trained()):
        np.testing.assert_array_equal(other.model.theta, whole.model.theta)
        np.testing.assert_array_equal(other.model.running, whole.model.running)
        assert dict(other.history) == dict(whole.history)


def test_it_goes_together_with_what_else_a_trainer_does():
    options = {"penalty": hl.Nuclear(0.05, every=3), "clip_norm": 0.5, "average": hl.EMA(0.9)}
    ours, built_in = (trainer_of(loss, **options) for loss in (OWN["mse"][1], "mse"))
    for trainer in (ours, built_in):
        trainer.fit(*DATA["mse"], epochs=5)
    assert_close(ours, built_in)
    np.testing.assert_allclose(ours.averaged_model().theta, built_in.averaged_model().theta, rtol=1e-10)


@each_own
@each_model
@pytest.mark.parametrize("training", [False, True])
def test_the_objective_is_that_of_the_built_in_loss(name, own, layers, training):
    X, y = DATA[name]
    ours, built_in = (
        hl.Objective(
            trainer_of(name, layers).model, X, y, loss=loss, batch_size=32, n_threads=n_threads,
            training=training,
        )
        for loss, n_threads in ((own, 3), (name, 1))
    )  # fmt: skip
    theta = ours.model.theta.copy()
    assert ours.value(theta) == pytest.approx(built_in.value(theta), rel=1e-12)
    assert ours.value_and_gradient(theta)[0] == ours.value(theta)
    np.testing.assert_allclose(ours.gradient(theta), built_in.gradient(theta), rtol=1e-10, atol=1e-13)
    running = trainer_of(name, layers).model.running
    np.testing.assert_array_equal(ours.model.running, running)


def test_it_takes_any_targets():
    """Two columns of targets for three outputs; what the functions see is in the model's dtype."""
    seen = set()

    def value(z, y):
        seen.add((z.dtype.name, y.dtype.name, z.shape[1:], y.shape[1:], len(z)))
        return (z**2).sum(axis=1) * y[:, 0] + y[:, 1]

    X, y = DATA["mse"][0], np.arange(150).reshape(75, 2) / 100
    own = Custom(value, lambda z, y: 2 * z * y[:, :1])
    trainer = trainer_of(own, dtype="float32")
    trainer.fit(X, y, epochs=2)
    assert seen == {("float32", "float32", (3,), (2,), n) for n in (16, 11)}
    assert hl.check_gradient(hl.Objective(trainer.model, X, y, loss=own)).passed


def test_a_wrong_gradient_is_found():
    wrong = Custom(reference.LOSSES["mse"][0], lambda z, y: 1.999 * (z - y))
    model = trainer_of("mse").model
    assert not hl.check_gradient(hl.Objective(model, *DATA["mse"], loss=wrong)).passed
    assert hl.check_gradient(hl.Objective(model, *DATA["mse"], loss=OWN["mse"][1])).passed


VALUE, GRADIENT = reference.LOSSES["mse"]
BAD = {
    "value, one number": (lambda z, y: VALUE(z, y).sum(), GRADIENT, ValueError, "loss.value"),
    "value, of each output": (lambda z, y: (z - y) ** 2, GRADIENT, ValueError, "loss.value"),
    "value, a column": (lambda z, y: VALUE(z, y)[:, None], GRADIENT, ValueError, "loss.value"),
    "value, nothing": (lambda z, y: None, GRADIENT, TypeError, "loss.value"),
    "value, complex": (lambda z, y: VALUE(z, y) + 0j, GRADIENT, TypeError, "loss.value"),
    "value, text": (lambda z, y: ["a"] * len(z), GRADIENT, TypeError, "loss.value"),
    "gradient, a row": (VALUE, lambda z, y: z[0], ValueError, "loss.gradient"),
    "gradient, the other way": (VALUE, lambda z, y: GRADIENT(z, y).T, ValueError, "loss.gradient"),
    "gradient, booleans": (VALUE, lambda z, y: z > y, TypeError, "loss.gradient"),
}


@pytest.mark.parametrize(("value", "gradient", "error", "name"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_what_a_function_returns_is_checked(value, gradient, error, name, n_threads):
    trainer = trainer_of(Custom(value, gradient), n_threads=n_threads)
    before = trainer.model.theta.copy()
    with refuses(error, name):
        trainer.fit(*DATA["mse"])
    with refuses(error, name):
        trainer.evaluate(*DATA["mse"])
    np.testing.assert_array_equal(trainer.model.theta, before)
    assert (trainer.step, trainer.epoch) == (0, 0)


def test_integers_and_lists_are_numbers():
    own = Custom(lambda z, y: [1] * len(z), lambda z, y: np.ones(z.shape, np.int8))
    assert trainer_of(own).fit(*DATA["mse"], epochs=1)["loss"] == [1.0]


@pytest.mark.parametrize("calls", [0, 3, 7])
@pytest.mark.parametrize("layers", MODELS.values(), ids=MODELS)
def test_a_function_that_raises_leaves_a_usable_trainer(calls, layers, monkeypatch):
    """As from the beginning of the block, here of one step: a fit that goes on ends as without the error."""
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", 1e-12)
    made = 0

    def value(z, y):
        nonlocal made
        made += 1
        if made == calls + 1:
            raise LookupError("in a loss")
        return VALUE(z, y)

    trainer = trainer_of(Custom(value, GRADIENT), layers)
    X, y = DATA["mse"]
    with pytest.raises(LookupError, match="in a loss"):
        trainer.fit(X, y, epochs=2, shuffle=False)
    assert trainer.step == calls
    assert trainer.epoch == calls // 5
    rest = 16 * (calls % 5)
    trainer.fit(X[rest:], y[rest:], epochs=1, shuffle=False)
    straight = trainer_of(Custom(VALUE, GRADIENT), layers)
    if calls // 5:
        straight.fit(X, y, epochs=1, shuffle=False)
    straight.fit(X, y, epochs=1, shuffle=False)
    np.testing.assert_array_equal(trainer.model.theta, straight.model.theta)
    np.testing.assert_array_equal(trainer.model.running, straight.model.running)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", ["value", "gradient"])
def test_a_divergence_is_seen(bad, which):
    def value(z, y):
        return VALUE(z, y) * (bad if which == "value" else 1)

    def gradient(z, y):
        return np.full_like(z, bad if which == "gradient" else 1)

    trainer = trainer_of(Custom(value, gradient))
    before = trainer.model.theta.copy()
    with pytest.raises(DivergenceError):
        trainer.fit(*DATA["mse"])
    np.testing.assert_array_equal(trainer.model.theta, before)
    assert trainer.step == 0


def test_the_users_data_is_not_changed(tmp_path):
    X, y = DATA["mse"]
    y = as_memory_map(y, tmp_path / "y")
    trainer_of(OWN["mse that spoils its arguments"][1]).fit(X, y, epochs=2, validation_data=(X, y))
    np.testing.assert_array_equal(y, DATA["mse"][1])


def test_files_hold_no_code(tmp_path):
    trainer = trainer_of(OWN["mse"][1])
    trainer.fit(*DATA["mse"], epochs=1)
    with refuses(TypeError, "loss.value") as caught:
        trainer.save(tmp_path / "training")
    assert "never code" in str(caught.value)
    assert not list(tmp_path.iterdir())
    trainer.model.save(tmp_path / "model")


@pytest.mark.parametrize("field", ["value", "gradient"])
def test_what_cannot_be_called_is_named(field):
    with refuses(TypeError, field):
        Custom(**{"value": VALUE, "gradient": GRADIENT} | {field: 3})


def test_targets_are_checked():
    with refuses(ValueError, "y"):
        trainer_of(OWN["mse"][1]).fit(DATA["mse"][0], np.full((75, 3), np.nan))
    with refuses(ValueError, "y"):
        trainer_of(OWN["mse"][1]).fit(DATA["mse"][0], np.zeros((74, 3)))


def test_any_output_activation_is_allowed():
    model = net(4, 8, 3)
    model = hl.Sequential([*model.layers[:-1], hl.Dense(3, "softmax")], input_dim=4)
    hl.Trainer(model, loss=OWN["mse"][1]).fit(*DATA["mse"], epochs=1)

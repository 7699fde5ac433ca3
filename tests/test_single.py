"""Minibatches of one row leave out what is 0, and give the bits that any other size would."""

import numpy as np
import pytest

import hotloop as hl
from hotloop._jit import COMPILED
from hotloop.engine.address import NOWHERE
from hotloop.engine.lone import Lone
from hotloop.engine.single import either_nonzero, nonzeros, single_forward, single_step
from hotloop.engine.table import DELTA, PLACES, SINGLE_AHEAD, SINGLE_FORWARD, SINGLE_STEP, VALUE

pytestmark = pytest.mark.kernels
compiled_only = pytest.mark.skipif(not COMPILED, reason="too many trainings for plain loops")

OPTIMIZERS = {
    "sgd": hl.SGD(0.1),
    "schedule": hl.SGD(lambda steps: 0.1 / (steps + 1.0)),
    "momentum": hl.SGD(0.05, momentum=0.9),
    "adam": hl.Adam(0.01),
    "adamw": hl.AdamW(0.01, weight_decay=0.2),
    "short memory": hl.Adam(0.01, betas=(0.9, 0.3)),
}
RECIPES = {
    "": {},
    "clip_value": {"clip_value": 1e-3},
    "clip_norm": {"clip_norm": 0.1},
    "l2": {"penalty": hl.L2(0.1)},
    "proximal": {"penalty": hl.L1(0.1, proximal=True)},
    "average": {"average": hl.EMA(0.9)},
    "own loss": {
        "loss": hl.losses.Custom(
            value=lambda z, y: ((z - y) ** 2).sum(axis=1), gradient=lambda z, y: 2 * (z - y)
        ),
    },
}
# Two rates, so that the kernels of even a small network are updated one by one.
HALF = hl.Dense(5, lr_scale=0.5)
NETWORKS = {
    "two rates": (hl.Dense(17, "relu"), HALF),
    "one penalty": (hl.Dense(17, "relu", penalty=hl.L2(0.1)), HALF),
    "frozen": (hl.Dense(17, "relu", lr_scale=0), HALF),
    "others first": (hl.Standardize(), hl.Dropout(0.4), hl.Dense(9, "tanh"), HALF),
}


def sparse_rows(n=9, width=21, share=0.3, dtype=np.float32):
    """Rows of which about `share` is not 0: one is all 0, one has no 0, one a negative 0."""
    rng = np.random.default_rng(1)
    X = (rng.standard_normal((n, width)) * (rng.random((n, width)) < share)).astype(dtype)
    X[1], X[2], X[3, 0] = 0, 1, -0.0
    return X, np.arange(n) % 5


def dense(*units, use_bias=True):
    """Layers of these widths, tanh between them; the last has half the rate."""
    *hidden, last = units
    layers = [hl.Dense(width, "tanh", use_bias=use_bias) for width in hidden]
    return [*layers, hl.Dense(last, use_bias=use_bias, lr_scale=0.5)]


def trained(layers, X, y, *, n_threads=1, dtype="float32", **recipe):
    """A trainer after two epochs in minibatches of one."""
    model = hl.Sequential(layers, input_dim=X.shape[1], dtype=dtype)
    recipe = {"loss": "softmax_cross_entropy"} | recipe
    trainer = hl.Trainer(model, batch_size=1, n_threads=n_threads, **recipe)
    y = y if recipe["loss"] == "softmax_cross_entropy" else np.eye(model.output_dim)[y]
    trainer.fit(X, y, epochs=2)
    return trainer


def check_as_any_minibatch(monkeypatch, *args, n_threads=1, **options):
    """That it ends as in the form of other minibatches on one thread, bit for bit, having moved."""
    found = trained(*args, n_threads=n_threads, **options)
    with monkeypatch.context() as patch:
        patch.setattr("hotloop.stepper.link_single", lambda *args, **options: None)
        expected = trained(*args, **options)
    fresh = hl.Sequential(found.model.layers, input_dim=found.model.input_dim, dtype=found.model.dtype)
    assert np.any(found.model.theta != fresh.theta)
    np.testing.assert_array_equal(found.model.theta, expected.model.theta)
    np.testing.assert_array_equal(found.stepper.state, expected.stepper.state)
    np.testing.assert_array_equal(found.stepper.average, expected.stepper.average)
    assert found.history["loss"] == expected.history["loss"]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_recipe(optimizer, recipe, dtype, monkeypatch):
    X, y = sparse_rows(dtype=dtype)
    options = RECIPES[recipe] | {"optimizer": OPTIMIZERS[optimizer], "dtype": dtype}
    check_as_any_minibatch(monkeypatch, NETWORKS["two rates"], X, y, **options)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_every_layer_and_any_number_of_threads(network, n_threads, monkeypatch):
    X, y = sparse_rows()
    optimizer = OPTIMIZERS["schedule"]
    check_as_any_minibatch(monkeypatch, NETWORKS[network], X, y, optimizer=optimizer, n_threads=n_threads)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
@pytest.mark.parametrize("units", [(5,), (64, 40, 7), (3, 6), (1, 2, 5), (4, 5)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_any_share_of_zeros_and_any_width(share, units, use_bias, monkeypatch):
    X, y = sparse_rows(share=share)
    layers = dense(*units, use_bias=use_bias)
    check_as_any_minibatch(monkeypatch, layers, X, y, optimizer=hl.SGD(0.1))


def test_rows_that_the_loop_fetches(monkeypatch):
    """64 features are read where they lie, each row just before it is used."""
    X, y = sparse_rows(width=70)
    check_as_any_minibatch(monkeypatch, dense(9, 5), X, y, optimizer=hl.SGD(0.1))


LOOK_AHEAD = {
    "sgd": hl.SGD(0.1),
    "momentum": hl.SGD(0.01, momentum=0.9),
    "nesterov": hl.SGD(0.01, momentum=0.9, nesterov=True),
    "adam": hl.Adam(0.01),
    "adamw": hl.AdamW(0.01, weight_decay=0.1),
    "amsgrad": hl.Adam(0.01, amsgrad=True),
}
WIDE = hl.Dense(48, "relu")
AHEAD = {
    "relu": (WIDE, HALF),
    "tanh": (hl.Dense(64, "tanh", use_bias=False), hl.Dense(48, "tanh"), HALF),
    "rarer": (hl.Dense(48, "gelu", lr_scale=0.3), HALF),
    "dropout": (WIDE, hl.Dropout(0.3), HALF),
    "frozen": (hl.Dense(48, "relu", lr_scale=0), HALF),
    "odd": (hl.Dense(50, "relu"), HALF),
    "wide": (hl.Dense(150, "relu"), HALF),
    # With Adam the first layer does not begin with the next sample here.
    "short": (hl.Dense(20, "relu"), HALF),
    "prelu": (hl.Dense(48, "prelu"), HALF),
    "linear": (hl.Dense(48), HALF),
    "alone": (hl.Dense(48),),
    "penalty": (hl.Dense(48, "relu", penalty=hl.L2(0.1)), HALF),
    "limit": (WIDE, hl.Dense(5, penalty=hl.MaxNorm(0.5), lr_scale=0.5)),
    "others first": (hl.Standardize(), hl.Dropout(0.4), WIDE, HALF),
}


@pytest.mark.parametrize("network", AHEAD)
@pytest.mark.parametrize("optimizer", LOOK_AHEAD)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_next_sample_ahead(network, optimizer, dtype, monkeypatch):
    if not COMPILED and (optimizer not in ("sgd", "adamw") or dtype != "float32"):
        pytest.skip("too many trainings for plain loops")
    X, y = sparse_rows(n=9 if COMPILED else 4, width=100, dtype=dtype)
    check_as_any_minibatch(monkeypatch, AHEAD[network], X, y, optimizer=LOOK_AHEAD[optimizer], dtype=dtype)


@compiled_only
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adamw"])
def test_the_next_sample_ahead_with_each_recipe(optimizer, recipe, n_threads, monkeypatch):
    X, y = sparse_rows(width=100)
    options = RECIPES[recipe] | {"optimizer": LOOK_AHEAD[optimizer], "n_threads": n_threads}
    check_as_any_minibatch(monkeypatch, AHEAD["relu"], X, y, **options)


@compiled_only
@pytest.mark.parametrize("given", ["uint8", "float64", "csr"])
def test_the_next_sample_ahead_of_data_to_convert(given, monkeypatch):
    monkeypatch.setattr("hotloop.data.staging.FEW_BYTES", 0)
    X, y = sparse_rows(width=100)
    X = np.abs(X * 9).astype(np.uint8 if given == "uint8" else np.float64)
    if given == "csr":
        X = pytest.importorskip("scipy.sparse").csr_array(X)
    check_as_any_minibatch(monkeypatch, AHEAD["relu"], X, y, optimizer=LOOK_AHEAD["adam"])


@compiled_only
@pytest.mark.parametrize("seconds", [0, 10], ids=["a step a block", "one block"])
def test_the_next_sample_ahead_of_blocks(seconds, monkeypatch):
    """The first sample of a block goes forward by itself."""
    X, y = sparse_rows(n=40, width=100)
    optimizer = LOOK_AHEAD["adam"]
    expected = trained(AHEAD["relu"], X, y, optimizer=optimizer)
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", seconds)
    found = trained(AHEAD["relu"], X, y, optimizer=optimizer)
    np.testing.assert_array_equal(found.model.theta, expected.model.theta)
    assert found.history["loss"] == expected.history["loss"]


def net_of(W, x):
    """Memory for one row through one layer, with its inputs and θ."""
    model = hl.Sequential([hl.Dense(W.shape[1])], input_dim=len(W), dtype=W.dtype)
    next(iter(model.parameters().values()))[:] = W
    return model.bind(1, 1), model.theta, x.astype(W.dtype)


def test_what_is_zero_is_not_looked_at():
    """Numbers that are not finite show it: 0 times infinity would be NaN."""
    x = np.array([0.0, 2.0, -0.0, 1.0, 3.0, -1.0, 4.0])
    W = np.arange(28.0).reshape(7, 4)
    W[x == 0] = np.inf
    net, theta, x = net_of(W, x)
    one = Lone(net.table[0], net.work, net.partial[PLACES], net.zeros)
    single_forward(one, theta, x, 0, 0, 3)
    single_forward(one, theta, x, 0, 3, 7)  # as another thread goes on
    value, delta = net.table[0, VALUE], net.table[0, DELTA]
    np.testing.assert_array_equal(net.work[value : value + 4], x[x != 0] @ W[x != 0])
    net.work[delta : delta + 4] = [1.0, 2.0, 0.0, np.nan]
    scalars, state = np.array([0.5]), np.empty((0, theta.size))
    single_step(one, np.empty(0), scalars, state, theta, x, 0, 1, 6)  # the rows of one of several threads
    expected = W.copy()
    for i in (1, 3, 4, 5):
        expected[i] -= 0.5 * x[i] * net.work[delta : delta + 4]
    np.testing.assert_array_equal(theta[:28].reshape(7, 4), expected)


def test_only_where_it_holds():
    """Of one row alone; in place, and ahead, only with what does not look at the gradient."""

    def calls(capacity, optimizer, layers=(HALF,), **recipe):
        model = hl.Sequential(layers, input_dim=100)
        trainer = hl.Trainer(model, loss="mse", optimizer=optimizer, **recipe)
        net = trainer.stepper.bind(capacity, 1, gathers=False)
        return [net.calls[k] != NOWHERE for k in (SINGLE_FORWARD, SINGLE_STEP, SINGLE_AHEAD)]

    assert calls(1, hl.SGD(0.1)) == [True, True, False]
    assert calls(2, hl.SGD(0.1)) == [False, False, False]
    assert calls(1, hl.SGD(0.1, momentum=0.9)) == [True, False, False]
    assert calls(1, hl.Adam()) == [True, False, False]
    assert calls(1, hl.SGD(0.1), clip_value=1.0) == [True, False, False]
    assert calls(1, hl.Adam(), AHEAD["relu"]) == [True, True, True]
    assert calls(2, hl.Adam(), AHEAD["relu"]) == [False, False, False]
    assert calls(1, hl.SGD(0.1), AHEAD["odd"]) == [True, True, True]
    assert calls(1, hl.Adam(), AHEAD["odd"]) == [True, True, True]
    assert calls(1, hl.SGD(0.1, momentum=0.9), AHEAD["odd"]) == [True, True, True]
    assert calls(1, hl.Adam(amsgrad=True), AHEAD["relu"]) == [True, False, False]
    assert calls(1, hl.Adam(), AHEAD["relu"], clip_value=1.0) == [True, False, False]
    for name in ("prelu", "linear", "alone", "limit", "others first"):
        assert calls(1, hl.Adam(), AHEAD[name]) == [True, True, False], name
    for name in ("short", "penalty"):
        assert calls(1, hl.Adam(), AHEAD[name]) == [True, False, False], name


def test_where_one_of_two_is_not_zero():
    x, y = np.array([0.0, 2.0, 0.0, np.nan, 0.0]), np.array([0.0, 0.0, np.inf, 1.0, -0.0])
    places = np.full(6, -1.0)
    assert either_nonzero(x, y, places) == 3
    np.testing.assert_array_equal(places[:3], [1, 2, 3])
    assert places[5] == -1


def test_nonzeros():
    x, places = np.array([0.0, 2.0, -0.0, np.nan, np.inf, 0.0]), np.full(7, -1.0)
    assert nonzeros(x, places) == 3
    np.testing.assert_array_equal(places[:3], [1, 3, 4])
    assert places[6] == -1
    assert nonzeros(x[:0], places) == 0

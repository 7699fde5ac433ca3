"""Initial values: a new member is a row of `MOMENTS`, or has a test of its own."""

import copy
import math
import pickle

import numpy as np
import pytest

import hotloop as hl
from helpers import refuses
from hotloop.activations import KERNEL_INIT
from hotloop.initializers import CONFIGURABLE, INITIALIZERS, Constant, Normal, Orthogonal, initial_values

N_IN, UNITS = 400, 600

MOMENTS = {  # name → (standard deviation, largest absolute value or None), of a kernel (400, 600)
    "uniform": (1 / math.sqrt(3 * N_IN), 1 / math.sqrt(N_IN)),
    "normal": (0.01, None),
    "lecun_uniform": (math.sqrt(1 / N_IN), math.sqrt(3 / N_IN)),
    "lecun_normal": (math.sqrt(1 / N_IN), None),
    "glorot_uniform": (math.sqrt(2 / (N_IN + UNITS)), math.sqrt(6 / (N_IN + UNITS))),
    "glorot_normal": (math.sqrt(2 / (N_IN + UNITS)), None),
    "he_uniform": (math.sqrt(2 / N_IN), math.sqrt(6 / N_IN)),
    "he_normal": (math.sqrt(2 / N_IN), None),
}


def layer(init, bias_init="zeros", activation="identity", n_in=N_IN, units=UNITS, seed=0):
    """(kernel, bias) of a new layer."""
    dense = hl.Dense(units, activation, kernel_init=init, bias_init=bias_init)
    model = hl.Sequential([dense], input_dim=n_in, dtype="float64", seed=seed)
    return tuple(model.parameters().values())[:2]


def test_every_member_is_tested():
    assert set(MOMENTS) == set(INITIALIZERS) - {"zeros", "ones", "orthogonal"}
    assert set(CONFIGURABLE) == set(hl.initializers.__all__) - {"Initializer"}


@pytest.mark.parametrize("name", MOMENTS)
def test_moments_and_limits(name):
    kernel, bias = layer(name)
    std, limit = MOMENTS[name]
    # Five standard deviations of each estimate, from 240,000 numbers.
    assert abs(kernel.mean()) < 5 * std / math.sqrt(kernel.size)
    fourth = 1.8 if limit else 3.0  # of a uniform and of a normal distribution, over σ⁴
    assert kernel.var() == pytest.approx(std**2, rel=5 * math.sqrt((fourth - 1) / kernel.size))
    assert (kernel**4).mean() / std**4 == pytest.approx(fourth, rel=0.05)
    if limit:
        assert 0.999 * limit < np.abs(kernel).max() <= limit
    assert (bias == 0).all()


@pytest.mark.parametrize(("init", "value"), [("zeros", 0), ("ones", 1), (Constant(-0.25), -0.25)])
def test_constants(init, value):
    kernel, bias = layer(init, init, units=5)
    assert (kernel == value).all()
    assert (bias == value).all()


def test_biases_take_the_fan_in_of_their_layer():
    """As PyTorch's `Linear`: ±1/√fan_in for both."""
    kernel, bias = layer("uniform", "uniform", n_in=16, units=4000)
    for values in (kernel, bias):
        assert 0.99 / 4 < np.abs(values).max() <= 1 / 4
    assert layer("uniform", Normal(2.0))[1].std() == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize(("n_in", "units"), [(30, 20), (20, 30), (25, 25), (1, 7), (7, 1), (1, 1)])
@pytest.mark.parametrize(("init", "gain"), [("orthogonal", 1.0), (Orthogonal(gain=1.5), 1.5)])
def test_orthogonal(n_in, units, init, gain):
    kernel, _ = layer(init, n_in=n_in, units=units)
    product = kernel.T @ kernel if n_in >= units else kernel @ kernel.T
    np.testing.assert_allclose(product, gain**2 * np.eye(min(n_in, units)), atol=1e-14)


def test_orthogonal_prefers_no_sign():
    """Without the sign fix LAPACK's Q has a diagonal of one sign."""
    signs = [np.sign(layer("orthogonal", n_in=3, units=3, seed=seed)[0][0, 0]) for seed in range(200)]
    assert abs(np.mean(signs)) < 0.3


@pytest.mark.parametrize("activation", KERNEL_INIT)
def test_auto_takes_what_suits_the_activation(activation):
    auto, _ = layer("auto", activation=activation)
    named, _ = layer(KERNEL_INIT[activation], activation=activation)
    np.testing.assert_array_equal(auto, named)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh"])
def test_auto_keeps_signals_alive_through_ten_layers(activation):
    layers = [hl.Dense(256, activation, kernel_init="auto") for _ in range(10)]
    X = np.random.default_rng(0).standard_normal((200, 256))
    out = hl.Sequential(layers, input_dim=256).predict(X)
    assert 0.01 < out.std() < 10


@pytest.mark.parametrize("init", [*INITIALIZERS, Constant(1.0), Normal(0.1), Orthogonal(2.0)], ids=str)
def test_values_follow_seed_and_index_alone(init):
    def draw(seed, index):
        return initial_values(init, (8, 6), (8, 6), seed, index)

    np.testing.assert_array_equal(draw(3, 2), draw(3, 2))
    if init not in ("zeros", "ones", Constant(1.0)):
        assert not np.array_equal(draw(3, 2), draw(3, 1))
        assert not np.array_equal(draw(3, 2), draw(2, 2))


@pytest.mark.parametrize("init", [Constant(0.1), Normal(), Normal(0.5), Orthogonal(), Orthogonal(gain=2)])
def test_initializers_are_values(init):
    for again in (
        eval(repr(init), vars(hl)),
        copy.deepcopy(init),
        pickle.loads(pickle.dumps(init)),
        CONFIGURABLE[type(init).__name__](*vars(init).values()),
    ):
        assert again == init
        assert hash(again) == hash(init)
    with pytest.raises(AttributeError):
        setattr(init, *vars(init).popitem())


@pytest.mark.parametrize(
    ("make", "error", "name"),
    [
        (lambda: Constant("1"), TypeError, "value"),
        (lambda: Constant(math.nan), ValueError, "value"),
        (lambda: Constant(1e39), ValueError, "value"),
        (lambda: Normal(-0.1), ValueError, "std"),
        (lambda: Normal(None), TypeError, "std"),
        (lambda: Orthogonal(math.inf), ValueError, "gain"),
        (lambda: Orthogonal(True), TypeError, "gain"),
    ],
)
def test_a_wrong_number_is_named(make, error, name):
    with refuses(error, name):
        make()

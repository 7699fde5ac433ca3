"""`Sequential` and `Dense`: construction, weights, prediction, copies."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import hotloop as hl
from helpers import LAYOUTS, classes, forward, net, refuses

MODELS = {
    "one layer": hl.Sequential([hl.Dense(3)], input_dim=4),
    "deep": net(5, 7, 6, 4, activation="relu", seed=3),
    "no bias": hl.Sequential([hl.Dense(4, "sigmoid", use_bias=False), hl.Dense(2, "tanh")], input_dim=3),
    "he": hl.Sequential([hl.Dense(4, "relu", kernel_init="he_uniform")], input_dim=3, dtype="float64"),
    "zeros": hl.Sequential([hl.Dense(4, kernel_init="zeros")], input_dim=1, uint8_scale=1 / 255, seed=9),
    "initializers": hl.Sequential(
        [
            hl.Dense(
                4, "tanh", kernel_init=hl.initializers.Normal(0.5), bias_init=hl.initializers.Constant(-1)
            ),
            hl.Dense(3, "relu", kernel_init=hl.initializers.Orthogonal(2.0), bias_init="uniform"),
            hl.Dense(2, "sigmoid", kernel_init="auto"),
        ],
        input_dim=3,
    ),
    "one to one": hl.Sequential([hl.Dense(1)], input_dim=1),
}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


WRONG_MODELS = {
    "layer alone": (hl.Dense(3), {}, TypeError, "layers"),
    "generator": ((layer for layer in [hl.Dense(3)]), {}, TypeError, "layers"),
    "none": (None, {}, TypeError, "layers"),
    "empty": ([], {}, ValueError, "layers"),
    "class": ([hl.Dense], {}, TypeError, r"layers[0]"),
    "number": ([hl.Dense(3), 10], {}, TypeError, r"layers[1]"),
    "input_dim 0": ([hl.Dense(3)], {"input_dim": 0}, ValueError, "input_dim"),
    "input_dim float": ([hl.Dense(3)], {"input_dim": 4.0}, TypeError, "input_dim"),
    "input_dim bool": ([hl.Dense(3)], {"input_dim": True}, TypeError, "input_dim"),
    "input_dim None": ([hl.Dense(3)], {"input_dim": None}, TypeError, "input_dim"),
    "seed negative": ([hl.Dense(3)], {"seed": -1}, ValueError, "seed"),
    "seed None": ([hl.Dense(3)], {"seed": None}, TypeError, "seed"),
    "dtype float16": ([hl.Dense(3)], {"dtype": "float16"}, ValueError, "dtype"),
    "dtype int": ([hl.Dense(3)], {"dtype": int}, ValueError, "dtype"),
    "dtype unknown": ([hl.Dense(3)], {"dtype": "banana"}, (TypeError, ValueError), "dtype"),
    "dtype None": ([hl.Dense(3)], {"dtype": None}, (TypeError, ValueError), "dtype"),
    "scale NaN": ([hl.Dense(3)], {"uint8_scale": float("nan")}, ValueError, "uint8_scale"),
    "scale text": ([hl.Dense(3)], {"uint8_scale": "1/255"}, TypeError, "uint8_scale"),
    "scale too large for float32": ([hl.Dense(3)], {"uint8_scale": 1e300}, ValueError, "uint8_scale"),
}


@pytest.mark.parametrize(("layers", "options", "error", "name"), WRONG_MODELS.values(), ids=WRONG_MODELS)
def test_a_wrong_argument_is_named(layers, options, error, name):
    with refuses(error, name):
        hl.Sequential(layers, **{"input_dim": 4} | options)


WRONG_LAYERS = {
    "units 0": ((0,), {}, ValueError, "units"),
    "units float": ((3.0,), {}, TypeError, "units"),
    "units bool": ((True,), {}, TypeError, "units"),
    "units text": (("3",), {}, TypeError, "units"),
    "activation unknown": ((3, "rely"), {}, ValueError, "activation"),
    "activation function": ((3, np.tanh), {}, TypeError, "activation"),
    "kernel_init": ((3,), {"kernel_init": "xavier"}, ValueError, "kernel_init"),
    "kernel_init None": ((3,), {"kernel_init": None}, TypeError, "kernel_init"),
    "bias_init": ((3,), {"bias_init": "one"}, ValueError, "bias_init"),
    "bias_init for kernels": ((3,), {"bias_init": "orthogonal"}, ValueError, "bias_init"),
    "bias_init auto": ((3,), {"bias_init": "auto"}, ValueError, "bias_init"),
    "bias_init Orthogonal": ((3,), {"bias_init": hl.initializers.Orthogonal()}, TypeError, "bias_init"),
    "kernel_init class": ((3,), {"kernel_init": hl.initializers.Normal}, TypeError, "kernel_init"),
    "kernel_init number": ((3,), {"kernel_init": 0.1}, TypeError, "kernel_init"),
    "use_bias": ((3,), {"use_bias": "no"}, TypeError, "use_bias"),
}


@pytest.mark.parametrize(("args", "options", "error", "name"), WRONG_LAYERS.values(), ids=WRONG_LAYERS)
def test_a_wrong_argument_of_a_layer_is_named(args, options, error, name):
    with refuses(error, name):
        hl.Dense(*args, **options)


def test_a_wrong_choice_is_answered_with_the_choices():
    with pytest.raises(ValueError, match=r"identity.*relu.*sigmoid.*tanh.*'rely'"):
        hl.Dense(3, "rely")


def test_layers_are_frozen_and_compare_by_value():
    layer = hl.Dense(3, "relu")
    with pytest.raises(AttributeError):
        layer.units = 4
    assert layer == hl.Dense(3, "relu") != hl.Dense(3, "tanh")
    assert len({layer, hl.Dense(3, "relu")}) == 1


@each_model
def test_repr_rebuilds_the_model(model):
    again = eval(repr(model), vars(hl))
    assert repr(again) == repr(model)
    assert again.layers == model.layers
    assert (again.theta.dtype, again.uint8_scale) == (model.theta.dtype, model.uint8_scale)
    np.testing.assert_array_equal(again.theta, model.theta)


def test_repr_names_what_is_not_a_default():
    assert repr(hl.Dense(3)) == "Dense(units=3)"
    layer = hl.Dense(np.int64(3), "relu", kernel_init="he_uniform", use_bias=False)
    assert repr(layer) == "Dense(units=3, activation='relu', kernel_init='he_uniform', use_bias=False)"
    assert repr(net(2, 1)) == "Sequential([Dense(units=1)], input_dim=2, seed=0, dtype='float64')"


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype("float64"), "f4"])
def test_numpy_numbers_are_taken_as_python_numbers(dtype, tmp_path):
    model = hl.Sequential(
        [hl.Dense(np.int64(3), use_bias=np.bool_(False))],
        input_dim=np.int32(2), seed=np.uint8(5), dtype=dtype, uint8_scale=np.float64(0.5),
    )  # fmt: skip
    np.testing.assert_array_equal(eval(repr(model), vars(hl)).theta, model.theta)
    model.save(tmp_path / "model")


@each_model
def test_parameters_are_views_of_theta_in_its_order(model):
    model = copy.deepcopy(model)
    model.theta[:] = np.arange(model.theta.size)
    parameters = model.parameters()
    flat = np.concatenate([value.ravel() for value in parameters.values()])
    np.testing.assert_array_equal(flat, np.arange(model.theta.size))
    for name, value in parameters.items():
        assert np.shares_memory(value, model.theta), name
        value[...] = -1
    assert (model.theta == -1).all()


def test_parameters_have_names_and_shapes():
    model = hl.Sequential([hl.Dense(5, "relu"), hl.Dense(4, use_bias=False), hl.Dense(3)], input_dim=2)
    assert {name: value.shape for name, value in model.parameters().items()} == {
        "dense_0/kernel": (2, 5),
        "dense_0/bias": (5,),
        "dense_1/kernel": (5, 4),
        "dense_2/kernel": (4, 3),
        "dense_2/bias": (3,),
    }


@each_model
def test_theta_is_flat_contiguous_aligned_and_of_the_dtype(model):
    assert model.theta.ndim == 1
    assert model.theta.flags.c_contiguous
    assert model.theta.flags.aligned
    assert model.theta.ctypes.data % 64 == 0
    assert model.theta.dtype == model.dtype


def test_theta_cannot_be_replaced():
    model = net(2, 1)
    before = model.theta
    with refuses(TypeError, "theta"):
        model.theta = np.zeros(3)
    assert model.theta is before


def test_theta_can_be_written_in_place():
    model = net(2, 1)
    before, kernel = model.theta.copy(), next(iter(model.parameters().values()))
    model.theta *= 2
    np.testing.assert_array_equal(model.theta, 2 * before)
    np.testing.assert_array_equal(kernel.ravel(), 2 * before[: kernel.size])


@each_model
@pytest.mark.parametrize("rows", [1, 2, 31, 600])
def test_predict_is_the_forward_pass(model, rows):
    X = np.random.default_rng(rows).standard_normal((rows, model.input_dim))
    found = model.predict(X)
    assert found.shape == (rows, model.output_dim)
    assert found.dtype == model.dtype
    tolerance = 1e-12 if model.dtype == np.float64 else 2e-6
    np.testing.assert_allclose(found, forward(model, X)[-1], rtol=tolerance, atol=tolerance)


def test_predict_follows_theta():
    model, (X, _) = net(4, 8, 3), classes()
    model.predict(X)
    model.theta[:] = np.random.default_rng(7).standard_normal(model.theta.size)
    np.testing.assert_allclose(model.predict(X), forward(model, X)[-1], rtol=1e-11, atol=1e-11)
    model.parameters()["dense_1/bias"][:] += 100
    assert (model.predict(X) > 50).all()


def test_predict_of_many_rows_reads_them_block_by_block():
    model = net(784, 3, dtype="float32")
    X = np.random.default_rng(0).standard_normal((4000, 784)).astype(np.float32)
    np.testing.assert_allclose(model.predict(X), forward(model, X)[-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_threads", [2, 3, None])
@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_predict_is_the_same_for_any_number_of_threads(n_threads, rows):
    model = net(4, 8, 3, dtype="float32")
    X, _ = classes(rows)
    np.testing.assert_array_equal(model.predict(X, n_threads=n_threads), model.predict(X))


@pytest.mark.parametrize("n_threads", [2, 3])
def test_threads_of_a_team_do_not_disturb_each_other(n_threads):
    """The last batch is shared out otherwise than those before it: a race shows in some of many trials."""
    model, (X, _) = net(4, 64, 64, 3, dtype="float32"), classes(5000)
    expected = model.predict(X)
    for _ in range(300):
        np.testing.assert_array_equal(model.predict(X, n_threads=n_threads), expected)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_several_threads_may_predict_at_once(n_threads):
    model = net(4, 64, 64, 3, dtype="float32")
    inputs = [classes(n, seed=n)[0] for n in (1, 700, 3, 500, 256, 1, 900, 257) * 4]
    expected = [model.predict(X) for X in inputs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda X: model.predict(X, n_threads=n_threads), inputs))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("rows", [1, 700])
def test_predict_takes_any_layout(layout, rows, tmp_path):
    model = net(6, 8, 3, dtype="float32")
    X = np.random.default_rng(0).integers(0, 128, (rows, 6)).astype(np.float32)
    np.testing.assert_array_equal(model.predict(layout(X, tmp_path / "X")), model.predict(X))


def test_predict_takes_truth_values():
    model, X = net(6, 8, 3), np.random.default_rng(0).integers(0, 2, (9, 6))
    np.testing.assert_array_equal(model.predict(X.astype(bool)), model.predict(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_only_uint8_is_scaled(dtype):
    layers, X = [hl.Dense(8, "tanh"), hl.Dense(3)], np.random.default_rng(0).integers(0, 256, (9, 6))
    plain = hl.Sequential(layers, input_dim=6, dtype=dtype)
    scaled = hl.Sequential(layers, input_dim=6, dtype=dtype, uint8_scale=1 / 255)
    expected = plain.predict(X.astype(dtype) * np.dtype(dtype).type(1 / 255))
    np.testing.assert_array_equal(scaled.predict(X.astype(np.uint8)), expected)
    for other in (np.int64, np.uint16, np.float32):
        np.testing.assert_array_equal(scaled.predict(X.astype(other)), plain.predict(X))


COPIES = {"pickle": lambda model: pickle.loads(pickle.dumps(model)), "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@each_model
def test_a_copy_is_equal_and_independent(model, duplicate):
    X = np.ones((3, model.input_dim))
    before = model.predict(X)  # the model now has memory of its own thread, which no copy may share
    other = duplicate(model)
    assert repr(other) == repr(model)
    assert other.theta.ctypes.data % 64 == 0
    np.testing.assert_array_equal(other.theta, model.theta)
    np.testing.assert_array_equal(other.predict(X), before)
    other.theta[:] = 7
    np.testing.assert_array_equal(model.predict(X), before)
    assert (other.parameters()["dense_0/kernel"] == 7).all()


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_a_copy_still_trains(duplicate):
    X, y = classes()
    model = net(4, 8, 3)
    other = duplicate(model)
    for each in (model, other):
        hl.Trainer(each, loss="softmax_cross_entropy").fit(X, y, epochs=2)
    np.testing.assert_array_equal(other.theta, model.theta)


def test_summary_prints_every_layer_and_the_total(capsys):
    hl.Sequential([hl.Dense(128, "relu"), hl.Dense(10)], input_dim=784).summary()
    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines}) == 1, "columns line up"
    table = {tuple(line.split()[:1]): line.split()[-1] for line in lines}
    assert table == {
        ("layer",): "parameters",
        ("input",): "0",
        ("dense_0:",): "100,480",
        ("dense_1:",): "1,290",
        ("total",): "101,770",
    }


def test_the_seed_decides_the_weights():
    one, same, other = net(4, 8, 3, seed=1), net(4, 8, 3, seed=1), net(4, 8, 3, seed=2)
    np.testing.assert_array_equal(one.theta, same.theta)
    kernels = [model.parameters()["dense_0/kernel"] for model in (one, other)]
    assert (kernels[0] != kernels[1]).all()


def test_layers_draw_from_streams_of_their_own():
    parameters = net(6, 6, 6, 6).parameters()
    kernels = [parameters[f"dense_{k}/kernel"] for k in range(3)]
    assert (kernels[0] != kernels[1]).all()
    assert (kernels[1] != kernels[2]).all()
    np.testing.assert_array_equal(net(6, 6, 99).parameters()["dense_0/kernel"], kernels[0])


def test_first_weights_are_the_same_in_both_precisions():
    np.testing.assert_array_equal(net(4, 8, 3, dtype="float32").theta, net(4, 8, 3).theta.astype(np.float32))


@pytest.mark.parametrize(("init", "fans"), [("glorot_uniform", 50 + 80), ("he_uniform", 50)])
def test_kernels_are_uniform_up_to_their_limit(init, fans):
    model = hl.Sequential([hl.Dense(80, kernel_init=init)], input_dim=50, dtype="float64")
    kernel, limit = model.parameters()["dense_0/kernel"], np.sqrt(6 / fans)
    assert 0.99 * limit < np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.03)
    assert abs(kernel.mean()) < 0.05 * limit
    assert (model.parameters()["dense_0/bias"] == 0).all()


def test_kernels_may_start_at_zero():
    assert (MODELS["zeros"].theta == 0).all()

"""Second derivatives and Jacobians: against differences of the gradient, PyTorch, and each other."""

import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import hotloop as hl
from helpers import refuses
from hotloop._jit import COMPILED
from hotloop.activations import ACTIVATIONS

ROWS = 37 if COMPILED else 9
rng = np.random.default_rng(3)
X = rng.standard_normal((ROWS, 4))
WEIGHTS = np.where(np.arange(ROWS) % 5, rng.uniform(0, 2, ROWS), 0)
LABELS = rng.integers(0, 3, ROWS)
VALUES = rng.standard_normal((ROWS, 3))
SHARES = rng.dirichlet(np.ones(3), ROWS)

LOSSES = {  # targets
    "mse": VALUES,
    "mae": VALUES,
    "huber": VALUES,
    "gaussian_nll": VALUES[:, :2],
    "poisson_nll": np.abs(VALUES),
    "softmax_cross_entropy": LABELS,
    "kl_divergence": SHARES,
    "sigmoid_cross_entropy": SHARES,
    "hinge": LABELS,
    "squared_hinge": LABELS,
    "perceptron": LABELS,
}
DENSE = [hl.Dense(5, "tanh"), hl.Dense(3)]
NORMALISED = [hl.BatchNorm(), hl.Dense(5, use_bias=False), hl.BatchNorm(), hl.Activation("tanh"), hl.Dense(3)]
CASES = {  # layers, options of the objective
    "dense": ([hl.Dense(6, "tanh"), hl.Dense(5, "sigmoid", use_bias=False), hl.Dense(3)], {}),
    "last activated": ([hl.Dense(5, "gelu"), hl.Dense(3, "softplus")], {"loss": "mse"}),
    "two activations": ([hl.Dense(5, "tanh"), hl.Activation("mish"), hl.Dense(3)], {}),
    "activation first": ([hl.Activation("selu"), hl.Dense(5, "silu"), hl.Dense(3)], {}),
    "prelu": ([hl.Activation("prelu"), hl.Dense(5, "prelu"), hl.Dense(3)], {}),
    "softmax": ([hl.Dense(5, "softmax"), hl.Dense(3, "softmax")], {"loss": "mse"}),
    "normalised": (NORMALISED, {}),
    "normalised by the batch": (NORMALISED, {"training": True}),
    "dropout": ([hl.Dropout(0.3), hl.Dense(9, "tanh"), hl.Dropout(0.2), hl.Dense(3)], {"training": True}),
    "standardised": ([hl.Standardize(), *DENSE], {}),
    "weights": (DENSE, {"sample_weight": WEIGHTS}),
    "l1": (DENSE, {"penalty": hl.L1(0.1)}),
    "l2": (DENSE, {"penalty": hl.L2(0.1)}),
    "elastic net": (DENSE, {"penalty": hl.ElasticNet(0.1, beta=0.5, proximal=True)}),
}
each_case = pytest.mark.parametrize(("layers", "options"), CASES.values(), ids=CASES)


def ready(model):
    """Give the layers that keep statistics some that change something."""
    if model.needs_standardizing:
        model.standardize(3 * X + 1)
    if model.has_batch_norm:
        model.running[:] += 0.3 * np.arange(model.running.size)


def objective_of(layers=DENSE, dtype="float64", X=X, **options):
    options = {"loss": "softmax_cross_entropy", "batch_size": 16, **options}
    model = hl.Sequential(layers, input_dim=X.shape[1], dtype=dtype)
    ready(model)
    name = getattr(options["loss"], "name", options["loss"])
    return hl.Objective(model, X, options.pop("y", VALUES if name == "mse" else LABELS), **options)


def some(objective, k, seed=0):
    """A θ, and k directions."""
    drawn = np.random.default_rng(seed).standard_normal((k + 1, objective.size))
    return objective.model.theta + 0.3 * drawn[0], drawn[1:]


def differences(objective, theta, v, h=1e-5):
    """What `hvp` is, by central differences."""
    pairs = [(objective.gradient(theta + h * row), objective.gradient(theta - h * row)) for row in v]
    return np.array([above - below for above, below in pairs]) / (2 * h)


def close(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max() + 1e-15)


def check(objective):
    """Products, the matrix, and symmetry, against differences and each other."""
    theta, v = some(objective, 2)
    products = objective.hvp(theta, v)
    close(products, differences(objective, theta, v), 1e-7)
    H = objective.hessian(theta)
    np.testing.assert_array_equal(H, H.T)
    close(v @ H, products, 1e-12)
    assert products[0] @ v[1] == pytest.approx(products[1] @ v[0], rel=1e-9, abs=1e-12)


@pytest.mark.kernels
@each_case
def test_products_are_differences_of_gradients(layers, options):
    check(objective_of(layers, **options))


@pytest.mark.kernels
@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss):
    layers = [hl.Dense(5, "tanh"), hl.Dense(4 if loss == "gaussian_nll" else 3)]
    check(objective_of(layers, loss=loss, y=LOSSES[loss], sample_weight=WEIGHTS))


@pytest.mark.kernels
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "step"])
def test_activations(activation):
    check(objective_of([hl.Dense(5, activation), hl.Dense(3)]))


OPTIONS = {
    "smoothed": (hl.losses.SoftmaxCrossEntropy(label_smoothing=0.2), LABELS),
    "smoothed shares": (hl.losses.SoftmaxCrossEntropy(label_smoothing=0.2), SHARES),
    "class weights": (hl.losses.SoftmaxCrossEntropy(class_weight={1: 3.0}), LABELS),
    "narrow": (hl.losses.Huber(delta=0.3), VALUES),
}


@pytest.mark.parametrize(("loss", "y"), OPTIONS.values(), ids=OPTIONS)
def test_options_of_losses(loss, y):
    check(objective_of(loss=loss, y=y))


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "perceptron"])
def test_signs(loss):
    check(objective_of([hl.Dense(5, "tanh"), hl.Dense(1)], loss=loss, y=2 * (LABELS > 0) - 1))


@pytest.mark.parametrize("loss", ["poisson_nll", "gaussian_nll"])
def test_beyond_the_bend_of_the_exponential_a_loss_is_a_tangent(loss):
    model = hl.Sequential([hl.Dense(2, use_bias=False)], input_dim=1, dtype="float64")
    y = [[1.0, 2.0]] if loss == "poisson_nll" else [[1.0]]
    objective = hl.Objective(model, [[1.0]], y, loss=loss)
    theta = np.array([31.0, 33.0]) if loss == "poisson_nll" else np.array([1.5, -33.0])
    found = objective.hessian(theta)
    close(found, hl.numerical_hessian(objective, theta), 1e-6)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("loss", ["mse", "softmax_cross_entropy", "sigmoid_cross_entropy", "poisson_nll"])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "elu", "selu", "gelu", "silu", "mish", "softplus"])
def test_pytorch(activation, loss):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    objective = objective_of([hl.Dense(5, activation), hl.Dense(3)], loss=loss, y=LOSSES[loss])
    theta, v = some(objective, 1)
    rows, target = torch.tensor(X), torch.tensor(LOSSES[loss])
    of_torch = {
        "mse": lambda z: functional.mse_loss(z, target, reduction="sum") / ROWS,
        "softmax_cross_entropy": lambda z: functional.cross_entropy(z, target),
        "sigmoid_cross_entropy": lambda z: (
            functional.binary_cross_entropy_with_logits(z, target, reduction="sum") / ROWS
        ),
        "poisson_nll": lambda z: functional.poisson_nll_loss(z, target, reduction="sum") / ROWS,
    }
    f = getattr(torch, activation, None) or getattr(functional, activation)

    def outputs(theta):
        w1, b1, w2, b2 = theta.split([20, 5, 15, 3])
        return f(rows @ w1.view(4, 5) + b1) @ w2.view(5, 3) + b2

    point, direction = torch.tensor(theta), torch.tensor(v[0])
    value = lambda theta: of_torch[loss](outputs(theta))  # noqa: E731
    _, product = torch.func.jvp(torch.func.grad(value), (point,), (direction,))
    close(objective.hvp(theta, v[0]), product.numpy(), 1e-9)
    close(objective.hessian(theta), torch.func.hessian(value)(point).numpy(), 1e-9)
    # Jᵀ ∇²loss J v by forward, forward, backward
    z, dz = torch.func.jvp(outputs, (point,), (direction,))
    _, moved = torch.func.jvp(torch.func.grad(of_torch[loss]), (z,), (dz,))
    expected = torch.func.vjp(outputs, point)[1](moved)[0].numpy()
    close(objective.gauss_newton_product(theta, v[0]), expected, 1e-9)
    close(objective.gauss_newton(theta) @ v[0], expected, 1e-9)
    J = torch.func.jacrev(outputs)(point).numpy()
    objective.model.theta[:] = theta
    close(hl.jacobian(objective.model, X, wrt="theta"), J, 1e-9)


@pytest.mark.kernels
@each_case
def test_gauss_newton_is_made_of_jacobians(layers, options):
    objective = objective_of(layers, **options)
    theta, v = some(objective, 2)
    products, G = objective.gauss_newton_product(theta, v), objective.gauss_newton(theta)
    close(v @ G, products, 1e-12)
    assert np.linalg.eigvalsh(G).min() > -1e-12  # all these losses are convex in the outputs
    if objective.training or "sample_weight" in options:
        return
    objective.model.theta[:] = theta
    J, z = hl.jacobian(objective.model, X, wrt="theta"), objective.model.predict(X)
    if objective.loss.name == "mse":
        expected = 2 * np.einsum("nop,noq->pq", J, J) / ROWS
    else:
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        around = J - np.einsum("no,nop->np", p, J)[:, None]
        expected = np.einsum("no,nop,noq->pq", p, around, around) / ROWS
    ridge = {hl.L2: 0.1, hl.ElasticNet: 0.05}.get(type(objective.penalty), 0)
    on = [np.full(part.size, "kernel" in name) for name, part in objective.model.parameters().items()]
    expected += ridge * np.diag(np.concatenate(on))
    close(G, expected, 1e-10)


def test_for_a_linear_model_gauss_newton_is_the_hessian():
    objective = objective_of([hl.Dense(3)], loss="mse", penalty=hl.L2(0.2))
    theta, v = some(objective, 1)
    np.testing.assert_array_equal(objective.hessian(theta), objective.gauss_newton(theta))
    close(objective.gauss_newton_product(theta, v), objective.hvp(theta, v), 1e-14)
    extended = np.c_[X, np.ones(ROWS)]
    block = 2 * extended.T @ extended / ROWS + 0.2 * np.diag([1, 1, 1, 1, 0])
    close(objective.hessian(theta), np.kron(block, np.eye(3)), 1e-13)


@each_case
def test_vectors_at_once_are_those_one_by_one(layers, options):
    objective = objective_of(layers, **options)
    theta, v = some(objective, 11)
    for product in (objective.hvp, objective.gauss_newton_product):
        together = product(theta, v)
        np.testing.assert_array_equal(together, [product(theta, row) for row in v])
        np.testing.assert_array_equal(product(theta, np.asfortranarray(v)), together)


@each_case
@pytest.mark.parametrize("n_threads", [2, 3])
def test_threads_change_nothing(layers, options, n_threads):
    one, more = (objective_of(layers, **options, n_threads=n) for n in (1, n_threads))
    theta, v = some(one, 3)
    np.testing.assert_array_equal(more.hvp(theta, v), one.hvp(theta, v))
    np.testing.assert_array_equal(more.gauss_newton_product(theta, v), one.gauss_newton_product(theta, v))
    np.testing.assert_array_equal(more.hessian(theta), one.hessian(theta))
    np.testing.assert_array_equal(more.gauss_newton(theta), one.gauss_newton(theta))
    if not (one.training and one.model.has_batch_norm):
        np.testing.assert_array_equal(more.per_sample_gradients(theta), one.per_sample_gradients(theta))


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
@pytest.mark.parametrize("case", ["dense", "prelu", "normalised"])
def test_the_batch_size_changes_nothing(case, batch_size):
    whole, parts = (objective_of(CASES[case][0], batch_size=size) for size in (16, batch_size))
    theta, v = some(whole, 1)
    close(parts.hvp(theta, v), whole.hvp(theta, v), 1e-13)
    close(parts.hessian(theta), whole.hessian(theta), 1e-13)
    close(parts.per_sample_gradients(theta), whole.per_sample_gradients(theta), 1e-13)


def test_many_rows_are_read_block_by_block():
    images = np.random.default_rng(0).integers(0, 256, (3000, 784)).astype(np.uint8)
    model = hl.Sequential([hl.Dense(3)], input_dim=784, dtype="float64", uint8_scale=1 / 255)
    objective = hl.Objective(model, images, np.arange(3000) % 3, loss="softmax_cross_entropy")
    v = np.random.default_rng(1).standard_normal(objective.size)
    close(objective.hvp(model.theta, v), differences(objective, model.theta, [v])[0], 1e-6)
    each = objective.per_sample_gradients(model.theta)
    close(each.mean(axis=0), objective.gradient(model.theta), 1e-12)


@pytest.mark.parametrize("case", ["dense", "normalised by the batch"])
def test_float32_is_close_and_float32(case):
    layers, options = CASES[case]
    single, double = (objective_of(layers, dtype, **options) for dtype in ("float32", "float64"))
    theta, v = some(double, 2)
    for name, arguments in {
        "hvp": (theta, v), "gauss_newton_product": (theta, v), "hessian": (theta,), "gauss_newton": (theta,),
    }.items():  # fmt: skip
        found, expected = (getattr(objective, name)(*arguments) for objective in (single, double))
        assert found.dtype == np.float32
        close(found, expected, 1e-4)


@given(
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    activation=st.sampled_from(["tanh", "gelu", "softplus", "prelu", "softmax"]),
    normalised=st.booleans(),
    training=st.booleans(),
    rows=st.integers(2, 20),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_small_networks(widths, activation, normalised, training, rows, seed):
    layers = [hl.Dense(units, activation) for units in widths]
    layers += [hl.BatchNorm()] * normalised + [hl.Dense(2)]
    X = np.random.default_rng(seed).standard_normal((rows, 3))
    objective = objective_of(layers, X=X, y=X[:, :2], loss="mse", training=training, batch_size=7)
    theta, v = some(objective, 1, seed)
    expected = differences(objective, theta, v)
    if activation == "prelu":  # across a kink a difference is no derivative, and half the step shows it
        nearer = differences(objective, theta, v, h=5e-6)
        assume(np.abs(nearer - expected).max() < 1e-3 * np.abs(expected).max() + 1e-12)
    products = objective.hvp(theta, v)
    # Of a batch of two, batch normalisation bends within 1e-2: there a difference is not as exact.
    close(products, expected, 1e-3 if normalised and training else 1e-6)
    close(v @ objective.hessian(theta), products, 1e-9)


@pytest.mark.kernels
@each_case
def test_gradients_of_samples(layers, options):
    objective = objective_of(layers, **options)
    theta, _ = some(objective, 0)
    if objective.training and objective.model.has_batch_norm:
        with refuses(ValueError, "objective"):
            objective.per_sample_gradients(theta)
        return
    each = objective.per_sample_gradients(theta)
    assert each.shape == (ROWS, objective.size)
    options = {name: value for name, value in options.items() if name != "penalty"}
    weights = options.get("sample_weight", np.ones(ROWS))
    close(weights @ each / weights.sum(), objective_of(layers, **options).gradient(theta), 1e-12)
    if not objective.training:
        model, y = objective.model, objective._given[1]
        alone = [hl.Objective(model, X[[i]], y[[i]], loss=objective.loss).gradient(theta) for i in (0, 5)]
        close(each[[0, 5]], alone, 1e-12)


def test_gradients_of_samples_of_a_loss_of_ones_own():
    custom = hl.losses.Custom(lambda z, y: ((z - y) ** 2).sum(axis=1), lambda z, y: 2 * (z - y))
    own, mse = (objective_of(loss=loss, y=VALUES) for loss in (custom, "mse"))
    theta, _ = some(own, 0)
    close(own.per_sample_gradients(theta), mse.per_sample_gradients(theta), 1e-13)


MODELS = {name: layers for name, (layers, _) in CASES.items()} | {
    "step": [hl.Dense(5, "step"), hl.Dense(3)],
    "without parameters": [hl.Activation("tanh")],
}
each_model = pytest.mark.parametrize("layers", MODELS.values(), ids=MODELS)


@pytest.mark.kernels
@each_model
def test_jacobians_are_differences_of_predictions(layers):
    model = hl.Sequential(layers, input_dim=4, dtype="float64")
    ready(model)
    kept, h = model.theta.copy(), 1e-6
    J = hl.jacobian(model, X)
    numerical = [(model.predict(X + h * e) - model.predict(X - h * e)) / (2 * h) for e in np.eye(4)]
    np.testing.assert_allclose(J, np.moveaxis(numerical, 0, 2), atol=1e-8)
    by_theta, columns = hl.jacobian(model, X, wrt="theta"), []
    for k in range(model.theta.size):
        both = []
        for sign in (1, -1):
            model.theta[k] = kept[k] + sign * h
            both.append(model.predict(X))
        model.theta[k] = kept[k]
        columns.append((both[0] - both[1]) / (2 * h))
    assert by_theta.shape == (ROWS, model.output_dim, model.theta.size)
    if columns:
        np.testing.assert_allclose(by_theta, np.moveaxis(columns, 0, 2), atol=1e-8)
    drawn = np.random.default_rng(0)
    v, d = drawn.standard_normal((ROWS, 4)), drawn.standard_normal(model.theta.size)
    u = drawn.standard_normal((ROWS, model.output_dim))
    np.testing.assert_allclose(hl.jvp(model, X, v), np.einsum("noi,ni->no", J, v), atol=1e-12)
    np.testing.assert_allclose(hl.jvp(model, X, d, wrt="theta"), by_theta @ d, atol=1e-12)
    np.testing.assert_allclose(hl.vjp(model, X, u), np.einsum("noi,no->ni", J, u), atol=1e-12)
    found = hl.vjp(model, X, u, wrt="theta")
    np.testing.assert_allclose(found, np.einsum("nop,no->p", by_theta, u), atol=1e-12)
    np.testing.assert_array_equal(model.theta, kept)


def test_jacobians_of_more_rows_than_a_batch_and_of_bytes():
    images = np.random.default_rng(0).integers(0, 256, (600, 4)).astype(np.uint8)
    model = hl.Sequential([hl.Dense(3, "tanh")], input_dim=4, uint8_scale=1 / 255)
    whole = hl.jacobian(model, images)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole[500:], hl.jacobian(model, images[500:] / 255), atol=1e-6)
    v = np.ones((600, 4))
    np.testing.assert_allclose(hl.jvp(model, images, v), whole.sum(axis=2), atol=1e-6)
    np.testing.assert_allclose(hl.vjp(model, images, np.ones((600, 3))), whole.sum(axis=1), atol=1e-6)


def test_the_directional_derivative():
    objective = objective_of()
    theta, v = some(objective, 1)
    h = 1e-6
    numerical = (objective.value(theta + h * v[0]) - objective.value(theta - h * v[0])) / (2 * h)
    assert hl.directional_derivative(objective, theta, v[0]) == pytest.approx(numerical, rel=1e-6)


def test_an_objective_is_a_function_for_the_tools():
    objective = objective_of()
    theta, _ = some(objective, 0)
    close(hl.numerical_hessian(objective, theta), objective.hessian(theta), 1e-8)


def test_a_pickled_objective_has_the_same_products():
    objective = objective_of(CASES["prelu"][0])
    theta, v = some(objective, 1)
    before = objective.hvp(theta, v)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(objective)).hvp(theta, v), before)


def test_the_model_stays_as_it_is():
    objective = objective_of(NORMALISED, training=True)
    theta, v = some(objective, 1)
    before = objective.model.theta.copy(), objective.model.running.copy(), objective.gradient(theta)
    objective.hvp(theta, v)
    objective.hessian(theta)
    after = objective.model.theta, objective.model.running, objective.gradient(theta)
    for kept, found in zip(before, after, strict=True):
        np.testing.assert_array_equal(found, kept)


SIZE = objective_of().size
WRONG = {
    "too short": (np.zeros(SIZE - 1), ValueError),
    "too wide": (np.zeros((2, SIZE + 1)), ValueError),
    "no vector": (np.zeros((0, SIZE)), ValueError),
    "3-D": (np.zeros((1, 1, SIZE)), ValueError),
    "NaN": (np.full(SIZE, np.nan), ValueError),
    "text": (["0"] * SIZE, TypeError),
    "complex": (np.zeros(SIZE, complex), TypeError),
    "ragged": ([[1.0], [1.0, 2.0]], TypeError),
}


@pytest.mark.parametrize(("wrong", "builtin"), WRONG.values(), ids=WRONG)
def test_wrong_vectors(wrong, builtin):
    objective = objective_of()
    right = np.zeros(SIZE)
    for product in (objective.hvp, objective.gauss_newton_product):
        with refuses(builtin, "v"):
            product(right, wrong)
        with refuses(builtin, "theta"):
            product(wrong, right)
    for function in (objective.hessian, objective.gauss_newton, objective.per_sample_gradients):
        with refuses(builtin, "theta"):
            function(wrong)
    with refuses(builtin, "u"):
        hl.directional_derivative(objective, right, wrong)


def test_what_has_no_second_derivatives():
    custom = hl.losses.Custom(lambda z, y: (z - y)[:, 0] ** 2, lambda z, y: 2 * (z - y))
    own = objective_of([hl.Dense(1)], loss=custom, y=VALUES[:, 0])
    nuclear = objective_of(penalty=hl.Nuclear(0.1))
    for objective, name in ((own, "loss"), (nuclear, "penalty")):
        theta, v = some(objective, 1)
        for call in (
            lambda o=objective, t=theta, v=v: o.hvp(t, v),
            lambda o=objective, t=theta, v=v: o.gauss_newton_product(t, v),
            lambda o=objective, t=theta: o.hessian(t),
            lambda o=objective, t=theta: o.gauss_newton(t),
        ):
            with refuses(ValueError, name) as caught:
                call()
            assert "numerical_hessian" in str(caught.value)


def test_wrong_arguments_of_jacobians():
    model = objective_of().model
    ones = np.ones((ROWS, 4))
    for function, rest in ((hl.jacobian, ()), (hl.jvp, (ones,)), (hl.vjp, (VALUES,))):
        with refuses(TypeError, "model"):
            function(None, X, *rest)
        with refuses(ValueError, "X"):
            function(model, X[:, :3], *rest)
        with refuses(ValueError, "wrt"):
            function(model, X, *rest, wrt="weights")
    for wrong, wrt in ((ones[:, :3], "inputs"), (ones[:3], "inputs"), (np.ones(SIZE - 1), "theta")):
        with refuses(ValueError, "v"):
            hl.jvp(model, X, wrong, wrt=wrt)
    for wrong in (VALUES[:, :2], VALUES[:3], np.full_like(VALUES, np.nan)):
        with refuses(ValueError, "u"):
            hl.vjp(model, X, wrong)

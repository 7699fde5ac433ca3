"""Batch normalisation, dropout, standardised inputs, activations as layers, and `lr_scale`."""

import copy
import json
import pickle
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import hotloop as hl
import reference
from helpers import LAYOUTS, as_memory_map, classes, refuses, values
from hotloop._jit import COMPILED
from hotloop.activations import ACTIVATIONS
from hotloop.errors import DivergenceError, FileFormatError
from hotloop.optimizers import OPTIMIZERS

kernels = pytest.mark.kernels
compiled_only = pytest.mark.skipif(not COMPILED, reason="the face is tested compiled")

N = 13 if COMPILED else 7

ARCHITECTURES = {
    "norm first": [hl.BatchNorm(), hl.Dense(5, "tanh"), hl.Dense(2)],
    "norm last": [hl.Dense(5, "tanh"), hl.Dense(2), hl.BatchNorm()],
    "norm alone": [hl.BatchNorm(eps=0.1)],
    "norm twice": [
        hl.Dense(5), hl.BatchNorm(), hl.Activation("tanh"), hl.BatchNorm(momentum=0.0), hl.Dense(2),
    ],
    "norm after norm": [hl.Dense(4, use_bias=False), hl.BatchNorm(), hl.BatchNorm(eps=1e-3), hl.Dense(2)],
    "wide norm": [hl.Dense(70 if COMPILED else 9, "tanh"), hl.BatchNorm(), hl.Dense(2)],
    "dropout first": [hl.Dropout(0.3), hl.Dense(6, "tanh"), hl.Dense(2)],
    "dropout in the middle": [
        hl.Dense(6, "tanh"), hl.Dropout(0.5), hl.Dense(5, "silu"), hl.Dropout(0.1), hl.Dense(2),
    ],
    "dropout last": [hl.Dense(6, "tanh"), hl.Dense(2), hl.Dropout(0.25)],
    "dropout of nothing": [hl.Dense(6, "tanh"), hl.Dropout(0.0), hl.Dense(2)],
    "prelu": [hl.Dense(6, "prelu"), hl.Dense(5, "prelu"), hl.Dense(2)],
    "prelu first and last": [hl.Activation("prelu"), hl.Dense(5), hl.Dense(2), hl.Activation("prelu")],
    "activation first": [hl.Activation("tanh"), hl.Dense(5), hl.Activation("identity"), hl.Dense(2)],
    "softmax in the middle": [hl.Dense(5, "softmax"), hl.Dense(2)],
    "softmax last": [hl.Dense(5, "tanh"), hl.Dense(2), hl.Activation("softmax")],
    "norm of dropped": [hl.Dropout(0.3), hl.BatchNorm(), hl.Dropout(0.2), hl.Dense(2)],
    "prelu between norms": [hl.BatchNorm(), hl.Activation("prelu"), hl.BatchNorm(), hl.Dense(2)],
    "everything": [
        hl.Standardize(), hl.Dropout(0.1), hl.Dense(6, use_bias=False), hl.BatchNorm(),
        hl.Activation("prelu"), hl.Dropout(0.3), hl.Dense(5, "gelu"), hl.BatchNorm(momentum=0.5),
        hl.Activation("softmax"),
        hl.Dense(4, "prelu"), hl.Dropout(0.5), hl.Dense(2),
    ],
}  # fmt: skip
each_architecture = pytest.mark.parametrize("name", ARCHITECTURES)


def build(layers, *, input_dim=2, dtype="float64", seed=1):
    """A model whose every number is its own: biases, γ, slopes and running statistics too."""
    model = hl.Sequential(layers, input_dim=input_dim, dtype=dtype, seed=seed)
    rng = np.random.default_rng(seed)
    model.theta[:] += 0.3 * rng.uniform(-1, 1, model.theta.size)
    for name, buffer in model.buffers().items():
        if not name.endswith("rows"):
            buffer[:] += rng.uniform(0.1, 0.6, buffer.size)
        else:
            buffer[:] = 1
    return model


def data(n=N, n_in=2, seed=0):
    rng = np.random.default_rng(seed)
    return 2 * rng.standard_normal((n, n_in)) + 0.5, rng.standard_normal((n, 2)), rng.uniform(0, 3, n)


# --- forward and backward, held to the twin and to central differences ------------------------------


@kernels
@each_architecture
def test_outputs_are_those_of_the_twin(name):
    model, (X, y, weights) = build(ARCHITECTURES[name]), data()
    np.testing.assert_allclose(
        model.predict(X), reference.network_forward(model, X)[0], rtol=1e-11, atol=1e-12
    )
    objective = hl.Objective(model, X, y, loss="mse", sample_weight=weights, training=True, seed=5)
    outputs, _ = reference.network_forward(model, X, True, seed=5)
    expected = weights @ ((outputs - y) ** 2).sum(axis=1) / weights.sum()
    assert objective.value(model.theta) == pytest.approx(expected, rel=1e-11)


@kernels
@pytest.mark.parametrize("training", [False, True], ids=["predicting", "training"])
@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@each_architecture
def test_gradient_agrees_with_central_differences(name, weighted, training):
    model, (X, y, weights) = build(ARCHITECTURES[name]), data()
    weights[3] = 0
    # Batches of all, with a partial last one, and with one of a single row.
    for batch_size in (N, N // 2 + 1, N // 2) if COMPILED else (N // 2,):
        objective = hl.Objective(
            model, X, y, loss="mse", sample_weight=weights if weighted else None,
            batch_size=batch_size, training=training, seed=3,
        )  # fmt: skip
        check = hl.check_gradient(objective, n_directions=4)
        assert check, (batch_size, check.relative_error)


@kernels
@each_architecture
def test_float32_is_close_to_float64(name):
    X, y, weights = data()
    for training in (False, True):
        found = []
        for dtype in ("float32", "float64"):
            model = build(ARCHITECTURES[name], dtype=dtype)
            model.theta[:] = build(ARCHITECTURES[name], dtype="float32").theta
            model.running[:] = build(ARCHITECTURES[name], dtype="float32").running
            objective = hl.Objective(
                model, X.astype(np.float32), y, loss="mse", sample_weight=weights, training=training
            )
            found.append(objective.value_and_gradient(model.theta))
        assert found[0][0] == pytest.approx(found[1][0], rel=2e-5)
        scale = np.abs(found[1][1]).max()
        np.testing.assert_allclose(found[0][1], found[1][1], rtol=0, atol=1e-4 * scale)


@kernels
def test_softmax_cross_entropy_behind_batch_norm():
    X, y = classes(N)
    model = hl.Sequential(
        [hl.Dense(5), hl.BatchNorm(), hl.Dense(3), hl.BatchNorm()], input_dim=4, dtype="float64"
    )
    assert hl.check_gradient(hl.Objective(model, X, y, loss="softmax_cross_entropy", training=True))


# --- objectives -------------------------------------------------------------------------------------


@kernels
@pytest.mark.parametrize("batch_size", [3, N - 1, N])  # N - 1 and 3: a last batch of one row
def test_an_objective_remembers_no_earlier_call_and_changes_no_model(batch_size):
    model, (X, y, _) = build(ARCHITECTURES["norm twice"]), data()
    theta, running = model.theta.copy(), model.running.copy()
    objective = hl.Objective(model, X, y, loss="mse", batch_size=batch_size, training=True)
    first = objective.value_and_gradient(theta)
    objective.value(theta + 1)
    assert objective.value(theta) == first[0]
    np.testing.assert_array_equal(objective.gradient(theta), first[1])
    np.testing.assert_array_equal(model.theta, theta)
    np.testing.assert_array_equal(model.running, running)


@kernels
def test_masks_of_an_objective_follow_its_seed():
    model, (X, y, _) = build([hl.Dropout(0.5), hl.Dense(2)]), data()
    found = [
        hl.Objective(model, X, y, loss="mse", training=True, seed=seed).value(model.theta)
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]


# --- batch normalisation ----------------------------------------------------------------------------


def one_pass(model, X, y, batch_size, **options):
    """SGD with a rate of 0, in the given order: only the running statistics move."""
    trainer = hl.Trainer(model, loss="mse", optimizer=hl.SGD(0.0), batch_size=batch_size, **options)
    trainer.fit(X, y, epochs=1, shuffle=False)


@kernels
@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.5])
def test_running_statistics_follow_each_minibatch_of_two_rows_or_more(momentum):
    layers = [
        hl.Dense(5, "tanh"),
        hl.BatchNorm(momentum=momentum),
        hl.Dropout(0.4),
        hl.Dense(2),
        hl.BatchNorm(),
    ]
    model, (X, y, weights) = build(layers), data(7)
    expected = None
    for step, first in enumerate((0, 3, 6)):  # the last of one row
        _, expected = reference.network_forward(model, X[first : first + 3], True, 9, step, expected)
    trainer = hl.Trainer(model, loss="mse", optimizer=hl.SGD(0.0), batch_size=3, seed=9)
    trainer.fit(X, y, epochs=1, shuffle=False, sample_weight=weights)
    for name, buffer in model.buffers().items():
        np.testing.assert_allclose(buffer, expected[name], rtol=1e-12, err_msg=name)


@kernels
def test_a_last_minibatch_of_one_row_is_normalised_by_the_running_statistics():
    model, (X, y, _) = build([hl.BatchNorm(), hl.Dense(2)]), data(4)
    _, running = reference.network_forward(model, X[:3], True)
    outputs = [
        reference.network_forward(model, X[:3], True)[0],
        reference.network_forward(model, X[3:], True, running=running)[0],
    ]
    trainer = hl.Trainer(model, loss="mse", optimizer=hl.SGD(0.0), batch_size=3)
    history = trainer.fit(X, y, epochs=1, shuffle=False)
    expected = ((np.concatenate(outputs) - y) ** 2).sum(axis=1).mean()
    assert history["loss"][0] == pytest.approx(expected, rel=1e-12)


@compiled_only
def test_minibatches_of_one_row_are_refused():
    model, (X, y, _) = build([hl.BatchNorm(), hl.Dense(2)]), data()
    before = model.theta.copy(), model.running.copy()
    with refuses(ValueError, "batch_size"):
        hl.Trainer(model, loss="mse", batch_size=1).fit(X, y)
    for batch_size in (None, 32):
        with refuses(ValueError, "batch_size"):
            hl.Trainer(model, loss="mse", batch_size=batch_size).fit(X[:1], y[:1])
    np.testing.assert_array_equal(model.theta, before[0])
    np.testing.assert_array_equal(model.running, before[1])
    hl.Trainer(model, loss="mse", batch_size=2).fit(X, y, epochs=1)


@compiled_only
def test_evaluation_and_prediction_change_no_running_statistics():
    model, (X, y, _) = build(ARCHITECTURES["everything"]), data()
    before = model.running.copy()
    model.predict(X)
    hl.Trainer(model, loss="mse").evaluate(X, y)
    hl.Objective(model, X, y, loss="mse").value_and_gradient(model.theta)
    np.testing.assert_array_equal(model.running, before)


@compiled_only
def test_validation_changes_nothing_of_training():
    X, y, _ = data(40)
    found = []
    for validation in (None, (X[:9], y[:9])):
        model = build(ARCHITECTURES["everything"])
        hl.Trainer(model, loss="mse", batch_size=8).fit(X, y, epochs=2, validation_data=validation)
        found.append((model.theta, model.running))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


@compiled_only
def test_a_loss_of_ones_own_moves_the_running_statistics_once_a_step():
    X, y, _ = data(40)
    own = hl.losses.Custom(
        value=lambda outputs, targets: ((outputs - targets) ** 2).sum(axis=1),
        gradient=lambda outputs, targets: 2 * (outputs - targets),
    )
    found = []
    for loss in ("mse", own):
        model = build(ARCHITECTURES["everything"])
        hl.Trainer(model, loss=loss, batch_size=13).fit(X, y, epochs=2)
        found.append((model.theta, model.running))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-9, atol=1e-11)


# --- against PyTorch --------------------------------------------------------------------------------


def in_torch(torch, model):
    """The same network in PyTorch, in float64, with the same numbers."""
    modules, n_in = [], model.input_dim
    arrays = {name: torch.tensor(np.array(array)) for name, array in model.tensors().items()}
    seen = {}
    for layer in model.layers:
        kind = type(layer).__name__
        name = f"{kind.lower()}_{seen.setdefault(kind, 0)}"
        seen[kind] += 1
        with torch.no_grad():
            if kind == "Dense":
                modules.append(torch.nn.Linear(n_in, layer.units, dtype=torch.float64))
                modules[-1].weight.copy_(arrays[f"{name}/kernel"].T)
                modules[-1].bias.copy_(arrays[f"{name}/bias"])
                n_in = layer.units
            if kind == "BatchNorm":
                modules.append(torch.nn.BatchNorm1d(n_in, layer.eps, 1 - layer.momentum, dtype=torch.float64))
                modules[-1].weight.copy_(arrays[f"{name}/gamma"])
                modules[-1].bias.copy_(arrays[f"{name}/beta"])
                modules[-1].running_mean.copy_(arrays[f"{name}/mean"])
                modules[-1].running_var.copy_(arrays[f"{name}/variance"])
            activation = getattr(layer, "activation", getattr(layer, "name", "identity"))
            if activation == "prelu":
                modules.append(torch.nn.PReLU(n_in, dtype=torch.float64))
                modules[-1].weight.copy_(arrays[f"{name}/slope"])
            elif activation != "identity":
                modules.append({"tanh": torch.nn.Tanh(), "softmax": torch.nn.Softmax(dim=1)}[activation])
    return torch.nn.Sequential(*modules)


def vector(torch, twin, what=lambda tensor: tensor.data):
    """θ, or a gradient of its shape, as hotloop orders it."""
    parts = []
    for tensor in twin.parameters():
        found = what(tensor).numpy()
        parts.append((found.T if found.ndim == 2 else found).ravel())
    return np.concatenate(parts)


def assert_statistics(model, twin, tolerance):
    norms = [module for module in twin if hasattr(module, "running_mean")]
    for k, module in enumerate(norms):
        for ours, theirs in (("mean", module.running_mean), ("variance", module.running_var)):
            found = model.buffers()[f"batchnorm_{k}/{ours}"]
            np.testing.assert_allclose(found, theirs.numpy(), rtol=tolerance, atol=tolerance)


IN_TORCH = {
    "norm": [hl.BatchNorm(momentum=0.8, eps=1e-3)],
    "norm first": [hl.BatchNorm(), hl.Dense(5, "tanh"), hl.Dense(2)],
    "norm last": [hl.Dense(5, "tanh"), hl.Dense(2), hl.BatchNorm(momentum=0.99)],
    "inputs of a norm": [hl.Dense(2), hl.BatchNorm()],  # the kernel's gradient is that of the inputs
    "two norms": [
        hl.Dense(70), hl.BatchNorm(eps=1e-3), hl.Activation("prelu"), hl.Dense(6, "softmax"),
        hl.BatchNorm(momentum=0.3), hl.Activation("tanh"), hl.Dense(2),
    ],
}  # fmt: skip


@pytest.mark.torch
@compiled_only
@pytest.mark.parametrize("layers", IN_TORCH.values(), ids=IN_TORCH)
def test_batch_norm_is_that_of_pytorch(layers):
    torch = pytest.importorskip("torch")
    model, (X, y, _) = build(layers), data(12)
    twin, x, t = in_torch(torch, model), torch.tensor(X), torch.tensor(y)
    twin.eval()
    np.testing.assert_allclose(model.predict(X), twin(x).detach().numpy(), rtol=1e-9, atol=1e-9)
    for training in (False, True):
        twin.train(training)
        twin.zero_grad()
        before = copy.deepcopy(twin.state_dict())
        loss = ((twin(x) - t) ** 2).sum(dim=1).mean()
        loss.backward()
        twin.load_state_dict(before)  # the running statistics have followed
        objective = hl.Objective(model, X, y, loss="mse", training=training)
        value, gradient = objective.value_and_gradient(model.theta)
        assert value == pytest.approx(loss.item(), rel=1e-9)
        np.testing.assert_allclose(gradient, vector(torch, twin, lambda p: p.grad), rtol=1e-9, atol=1e-9)


@pytest.mark.torch
@compiled_only
@pytest.mark.parametrize("layers", IN_TORCH.values(), ids=IN_TORCH)
def test_steps_of_sgd_are_those_of_pytorch(layers):
    """Three epochs of minibatches of 5, 5 and 2 rows."""
    torch = pytest.importorskip("torch")
    model, (X, y, _) = build(layers), data(12)
    twin = in_torch(torch, model)
    optimizer = torch.optim.SGD(twin.parameters(), 0.05, momentum=0.5)
    twin.train()
    for _ in range(3):
        for first in range(0, 12, 5):
            optimizer.zero_grad()
            outputs = twin(torch.tensor(X[first : first + 5]))
            ((outputs - torch.tensor(y[first : first + 5])) ** 2).sum(dim=1).mean().backward()
            optimizer.step()
    trainer = hl.Trainer(model, loss="mse", optimizer=hl.SGD(0.05, momentum=0.5), batch_size=5)
    trainer.fit(X, y, epochs=3, shuffle=False)
    np.testing.assert_allclose(model.theta, vector(torch, twin), rtol=1e-9, atol=1e-9)
    assert_statistics(model, twin, 1e-9)
    twin.eval()
    outputs = twin(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(model.predict(X), outputs, rtol=1e-8, atol=1e-8)


OURS_AND_THEIRS = {
    "SGD": (hl.SGD(0.05, momentum=0.9), lambda torch, p: torch.optim.SGD(p, 0.05, momentum=0.9)),
    "Adam": (hl.Adam(0.01), lambda torch, p: torch.optim.Adam(p, 0.01)),
    "AdamW": (
        hl.AdamW(0.01, weight_decay=0.1), lambda torch, p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    ),
}  # fmt: skip


@pytest.mark.torch
@compiled_only
@pytest.mark.parametrize(("ours", "theirs"), OURS_AND_THEIRS.values(), ids=OURS_AND_THEIRS)
def test_lr_scale_is_a_parameter_group_of_pytorch(ours, theirs):
    torch = pytest.importorskip("torch")
    layers = [
        hl.Dense(5, "prelu", lr_scale=0.5),
        hl.BatchNorm(lr_scale=2.0),
        hl.Dense(4, "tanh"),
        hl.Dense(2, lr_scale=0),
    ]
    model, (X, y, _) = build(layers), data(12)
    twin = in_torch(torch, model)
    scales = [0.5, 0.5, 2.0, 1.0, None, 0.0]  # of the modules: Linear, PReLU, BatchNorm, Linear, Tanh, Linear
    optimizer = theirs(torch, [
        {"params": module.parameters(), "scale": scale}
        for module, scale in zip(twin, scales, strict=True) if scale is not None
    ])  # fmt: skip
    for group in optimizer.param_groups:
        group["lr"] *= group["scale"]
    twin.train()
    for _ in range(5):
        for first in range(0, 12, 5):
            optimizer.zero_grad()
            outputs = twin(torch.tensor(X[first : first + 5]))
            ((outputs - torch.tensor(y[first : first + 5])) ** 2).sum(dim=1).mean().backward()
            optimizer.step()
    hl.Trainer(model, loss="mse", optimizer=ours, batch_size=5).fit(X, y, epochs=5, shuffle=False)
    np.testing.assert_allclose(model.theta, vector(torch, twin), rtol=1e-10, atol=1e-10)


# --- the same bits ----------------------------------------------------------------------------------

FULL = [
    hl.Standardize(), hl.Dropout(0.1), hl.Dense(67, use_bias=False), hl.BatchNorm(), hl.Activation("prelu"),
    hl.Dropout(0.3), hl.Dense(33, "gelu", penalty=hl.L1(1e-3, proximal=True)), hl.BatchNorm(momentum=0.5),
    hl.Dense(5, "prelu", lr_scale=0.5, penalty=hl.MaxNorm(1.0)), hl.Dense(3),
]  # fmt: skip


def full_trainer(n_threads=1, dtype="float32", seed=3, **options):
    model = hl.Sequential(FULL, input_dim=6, dtype=dtype, seed=2)
    given = {"batch_size": 8, "penalty": hl.L2(1e-3), "optimizer": hl.Adam(0.01)} | options
    return hl.Trainer(model, loss="softmax_cross_entropy", seed=seed, n_threads=n_threads, **given)


def full_data():
    """57 rows: a last minibatch of one."""
    X, y = classes(57, 6)
    return X, y, np.random.default_rng(4).uniform(0, 2, 57)


def fit_full(trainer, epochs=3):
    X, y, weights = full_data()
    trainer.fit(X, y, epochs=epochs, sample_weight=weights, validation_data=(X[:20], y[:20]))
    return trainer


def assert_same(one, other):
    np.testing.assert_array_equal(one.model.theta, other.model.theta)
    np.testing.assert_array_equal(one.model.running, other.model.running)
    np.testing.assert_array_equal(one.stepper.state, other.stepper.state)
    assert dict(one.history) == dict(other.history)


@compiled_only
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options", [{}, {"batch_size": None}, {"clip_norm": 0.1}], ids=["", "full", "clipped"]
)
def test_any_number_of_threads_trains_the_same_numbers(options, dtype):
    alone = fit_full(full_trainer(dtype=dtype, **options))
    assert np.isfinite(alone.model.theta).all()
    for n_threads in (2, 3, 5):
        assert_same(fit_full(full_trainer(n_threads, dtype, **options)), alone)
    X, _, _ = full_data()
    for n_threads in (2, 3):
        np.testing.assert_array_equal(alone.model.predict(X, n_threads=n_threads), alone.model.predict(X))


@compiled_only
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(
    "settings",
    [{"BLOCK_BYTES": 1}, {"BLOCK_SECONDS": 1e-12}, {"BLOCK_SECONDS": 1e9}, {"BLOCK_BYTES": 800}],
    ids=repr,
)
def test_any_size_of_a_block_trains_the_same_numbers(settings, n_threads, monkeypatch):
    usual = fit_full(full_trainer())
    for constant, value in settings.items():
        monkeypatch.setattr(f"hotloop.session.{constant}", value)
    assert_same(fit_full(full_trainer(n_threads)), usual)


@compiled_only
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("name", ["norm first", "norm alone", "prelu first and last", "everything"])
def test_any_number_of_threads_gives_the_same_gradient(name, n_threads):
    model, (X, y, weights) = build(ARCHITECTURES[name]), data(75)
    given = {"loss": "mse", "sample_weight": weights, "batch_size": 37, "training": True}
    found = [
        hl.Objective(model, X, y, n_threads=threads, **given).value_and_gradient(model.theta)
        for threads in (1, n_threads)
    ]
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


@compiled_only
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_gives_the_same_gradient_at_many_points(dtype):
    """A product that is rounded otherwise in the first number of a thread shows at one point of many."""
    layers = [hl.Dense(67, "prelu"), hl.Dropout(0.3), hl.BatchNorm(), hl.Dense(33, "gelu"), hl.Dropout(0.1)]
    model = hl.Sequential([*layers, hl.Dense(3)], input_dim=6, dtype=dtype)
    X, y, weights = full_data()
    given = {"loss": "softmax_cross_entropy", "sample_weight": weights, "training": True}
    objectives = [hl.Objective(model, X, y, n_threads=n, **given) for n in (1, 2, 3, 5)]
    for seed in range(15):
        theta = model.theta + 0.1 * np.random.default_rng(seed).standard_normal(model.theta.size)
        found = [objective.value_and_gradient(theta.astype(dtype)) for objective in objectives]
        for value, gradient in found[1:]:
            assert value == found[0][0]
            np.testing.assert_array_equal(gradient, found[0][1])


@compiled_only
def test_training_saved_in_the_middle_goes_on_the_same(tmp_path):
    whole = fit_full(full_trainer(), 6)
    first = fit_full(full_trainer(), 2)
    first.save(tmp_path / "training")
    second = hl.Trainer.load(tmp_path / "training")
    assert_same(second, first)
    assert_same(fit_full(second, 4), whole)
    assert_same(fit_full(first, 4), whole)


@compiled_only
def test_the_seed_of_the_trainer_makes_the_masks():
    X, y, _ = data(30)
    found = []
    for seed in (0, 0, 1, 2**63, 2**80):
        model = build([hl.Dropout(0.5), hl.Dense(2)])
        hl.Trainer(model, loss="mse", batch_size=None, seed=seed).fit(X, y, epochs=3, shuffle=False)
        found.append(model.theta)
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[1], found[2])
    assert not np.array_equal(found[3], found[4])


# --- divergence -------------------------------------------------------------------------------------


@compiled_only
@pytest.mark.parametrize("n_threads", [1, 2])
def test_divergence_goes_back_to_the_running_statistics_before_it(n_threads):
    """A row beyond any float32 square comes in step 6: the numbers are those after 5 steps."""
    X, y = values(80)
    X[51] = 1e25
    layers = [hl.Dropout(0.1), hl.BatchNorm(), hl.Dense(6, "prelu"), hl.Dense(2)]

    def trainer():
        model = hl.Sequential(layers, input_dim=4)
        return hl.Trainer(model, loss="mse", batch_size=10, n_threads=n_threads)

    failed = trainer()
    with pytest.raises(DivergenceError) as caught:
        failed.fit(X, y, epochs=1, shuffle=False)
    assert (caught.value.epoch, caught.value.step) == (1, 6)
    expected = trainer()
    expected.fit(X[:50], y[:50], epochs=1, shuffle=False)
    np.testing.assert_array_equal(failed.model.theta, expected.model.theta)
    np.testing.assert_array_equal(failed.model.running, expected.model.running)
    np.testing.assert_array_equal(failed.stepper.state, expected.stepper.state)
    assert failed.step == expected.step == 5


@compiled_only
def test_a_rate_that_is_too_large_leaves_finite_running_statistics():
    X, y = values(40)
    model = hl.Sequential([hl.Dense(6), hl.BatchNorm(), hl.Dense(2)], input_dim=4)
    trainer = hl.Trainer(model, loss="mse", optimizer=hl.SGD(1e10), batch_size=10)
    with pytest.raises(DivergenceError):
        trainer.fit(X, y, epochs=50)
    assert np.isfinite(model.theta).all()
    assert np.isfinite(model.running).all()


# --- dropout ----------------------------------------------------------------------------------------


@kernels
@pytest.mark.parametrize(
    "layers", [[hl.Dropout(0.4), hl.Dense(1)], [hl.Dense(2, "tanh"), hl.Dropout(0.4), hl.Dense(1)]]
)
def test_each_step_has_the_mask_of_the_twin(layers):
    """Through the trainer: the loss of each epoch of one full batch is that of the twin's mask."""
    model, (X, y, _) = build(layers), data()
    trainer = hl.Trainer(model, loss="mse", optimizer=hl.SGD(0.0), batch_size=None, seed=21)
    losses = trainer.fit(X, y[:, :1], epochs=4, shuffle=False)["loss"]
    expected = [
        ((reference.network_forward(model, X, True, 21, step)[0] - y[:, :1]) ** 2).mean() for step in range(4)
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-11)
    assert len(set(losses)) == 4


@compiled_only
def test_dropout_in_prediction_and_at_rate_zero_changes_nothing():
    X, y, _ = data(30)
    plain, dropped = (
        build([hl.Dense(6, "tanh"), *middle, hl.Dense(2)]) for middle in ((), (hl.Dropout(0.7),))
    )
    np.testing.assert_array_equal(plain.predict(X), dropped.predict(X))
    assert hl.Trainer(plain, loss="mse").evaluate(X, y) == hl.Trainer(dropped, loss="mse").evaluate(X, y)
    nothing = build([hl.Dense(6, "tanh"), hl.Dropout(0.0), hl.Dense(2)])
    for model in (plain, nothing):
        hl.Trainer(model, loss="mse", batch_size=7).fit(X, y, epochs=3)
    np.testing.assert_array_equal(plain.theta, nothing.theta)


@compiled_only
def test_layers_and_steps_have_masks_of_their_own():
    """Through two Dropout(½) in a row: a quarter stays, not the half that one mask would leave."""
    model = hl.Sequential(
        [hl.Dropout(0.5), hl.Dropout(0.5), hl.Activation("identity")], input_dim=10_000, dtype="float64"
    )
    outputs, _ = reference.network_forward(model, np.ones((1, 10_000)), True)
    objective = hl.Objective(model, np.ones((1, 10_000)), np.zeros((1, 10_000)), loss="mse", training=True)
    kept = objective.value(np.empty(0)) / 16
    assert kept == np.count_nonzero(outputs)
    assert abs(kept - 2500) < 5 * np.sqrt(10_000 * 3 / 16)


# --- standardised inputs ----------------------------------------------------------------------------


def whole_numbers(n=30, features=3):
    return np.random.default_rng(8).integers(0, 100, (n, features)).astype(np.float32)


def standardizing(n_in=3, **options):
    return hl.Sequential([hl.Standardize(), hl.Dense(2, "tanh")], input_dim=n_in, **options)


@compiled_only
@pytest.mark.parametrize("layout", LAYOUTS)
def test_standardize_takes_its_numbers_from_the_first_fit(layout, tmp_path):
    X, y = whole_numbers(), np.random.default_rng(1).standard_normal((30, 2))
    model = standardizing(dtype="float64")
    assert model.needs_standardizing
    trainer = hl.Trainer(model, loss="mse", batch_size=8)
    trainer.fit(LAYOUTS[layout](X, tmp_path / "x"), y, epochs=1)
    buffers = model.buffers()
    np.testing.assert_allclose(buffers["standardize_0/mean"], X.mean(axis=0, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(buffers["standardize_0/deviation"], X.std(axis=0, dtype=float), rtol=1e-12)
    assert buffers["standardize_0/rows"] == 30
    before = model.running.copy()
    trainer.fit(5 * X, y, epochs=1)
    hl.Trainer(model, loss="mse").fit(7 * X, y, epochs=1)
    np.testing.assert_array_equal(model.running, before)
    assert not model.needs_standardizing


@compiled_only
def test_training_and_prediction_equal_those_on_standardised_data():
    X, y = whole_numbers(), np.random.default_rng(1).standard_normal((30, 2))
    by_hand = (X - X.mean(axis=0, dtype=float)) / X.std(axis=0, dtype=float)
    inside, outside = (
        standardizing(dtype="float64"),
        hl.Sequential([hl.Dense(2, "tanh")], input_dim=3, dtype="float64"),
    )
    outside.theta[:] = inside.theta
    first = hl.Trainer(inside, loss="mse", batch_size=8).fit(X, y, epochs=4)
    second = hl.Trainer(outside, loss="mse", batch_size=8).fit(by_hand, y, epochs=4)
    np.testing.assert_allclose(inside.predict(X), outside.predict(by_hand), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(first["loss"], second["loss"], rtol=1e-10)


@compiled_only
def test_uint8_is_standardised_as_it_is_read():
    X = whole_numbers().astype(np.uint8)
    model = standardizing(uint8_scale=1 / 255, dtype="float64")
    model.standardize(X)
    np.testing.assert_allclose(model.buffers()["standardize_0/mean"], X.mean(axis=0) / 255, rtol=1e-12)
    np.testing.assert_allclose(model.buffers()["standardize_0/deviation"], X.std(axis=0) / 255, rtol=1e-12)
    np.testing.assert_allclose(model.predict(X), model.predict(X.astype(float) / 255), rtol=1e-10, atol=1e-12)


@compiled_only
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, -1e6 / 3, 1e-30])
def test_a_constant_feature_is_only_shifted(constant, dtype):
    """Also where the mean of many equal numbers is not quite their value."""
    for n in (1, 10, 1001):
        X = np.column_stack([np.full(n, constant), np.arange(n)])
        model = standardizing(2, dtype=dtype)
        model.standardize(X)
        assert model.buffers()["standardize_0/deviation"][0] == 1
        mean = model.buffers()["standardize_0/mean"][0]
        assert mean == pytest.approx(constant, rel=1e-6 if dtype == "float32" else 1e-12)


@compiled_only
def test_a_deviation_too_small_for_the_dtype_does_not_divide_by_zero():
    X = np.array([[1e-50], [2e-50], [3e-50]])
    narrow, wide = standardizing(1), standardizing(1, dtype="float64")
    for model in (narrow, wide):
        model.standardize(X)
        assert np.isfinite(model.predict(X)).all()
    assert wide.buffers()["standardize_0/deviation"][0] == pytest.approx(np.std(X))


@compiled_only
def test_standardize_replaces_what_there_was_and_refuses_the_rest():
    model = standardizing()
    model.standardize(whole_numbers())
    model.standardize([[1, 2, 3], [3, 2, 1]])
    assert model.buffers()["standardize_0/mean"].tolist() == [2, 2, 2]
    assert model.buffers()["standardize_0/deviation"].tolist() == [1, 1, 1]
    with refuses(ValueError, "X"):
        model.standardize(np.ones((3, 2)))
    with refuses(ValueError, "X"):
        model.standardize([[np.nan, 1, 2]])
    with refuses(ValueError, "model"):
        hl.Sequential([hl.Dense(2)], input_dim=3).standardize(whole_numbers())
    for layers in ([hl.Dense(2), hl.Standardize()], [hl.Standardize(), hl.Standardize()]):
        with refuses(ValueError, "layers"):
            hl.Sequential(layers, input_dim=3)


@compiled_only
def test_a_memory_map_is_standardised_in_pieces(tmp_path):
    X = np.random.default_rng(0).integers(0, 256, (100_000, 400)).astype(np.uint8)  # 40 MB, 320 MB as float64
    stored = as_memory_map(X, tmp_path / "x")
    model = hl.Sequential([hl.Standardize(), hl.Dense(2)], input_dim=400)
    tracemalloc.start()
    model.standardize(stored)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25e6
    np.testing.assert_allclose(model.buffers()["standardize_0/mean"], X.mean(axis=0), rtol=1e-6)


# --- activations as layers --------------------------------------------------------------------------


@compiled_only
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_layer_is_that_of_dense(activation):
    X, y, _ = data(30)
    one = build([hl.Dense(6, activation), hl.Dense(2)])
    two = build([hl.Dense(6), hl.Activation(activation), hl.Dense(2)])
    np.testing.assert_array_equal(one.theta, two.theta)
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    if activation == "step":
        return
    for model in (one, two):
        hl.Trainer(model, loss="mse", batch_size=8).fit(X, y, epochs=3)
    # An identity layer is a pass that Dense does without.
    np.testing.assert_array_equal(one.theta, two.theta)


@compiled_only
def test_step_is_refused_in_training_wherever_it_is():
    X, y, _ = data()
    for layer in (hl.Activation("step"), hl.Dense(3, "step")):
        model = hl.Sequential([layer, hl.Dense(2)], input_dim=2)
        with refuses(ValueError, "layers[0]"):
            hl.Trainer(model, loss="mse").fit(X, y)


@compiled_only
def test_a_model_without_parameters_predicts_and_is_not_trained():
    model = hl.Sequential([hl.Activation("tanh")], input_dim=2, dtype="float64")
    X, y, _ = data()
    np.testing.assert_allclose(model.predict(X), np.tanh(X), rtol=1e-14)
    with refuses(ValueError, "model"):
        hl.Trainer(model, loss="mse").fit(X, y)


# --- lr_scale ---------------------------------------------------------------------------------------


@compiled_only
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_a_scale_of_zero_freezes(kind, dtype):
    X, y, _ = data(30)
    model = build(
        [
            hl.Dense(4, "prelu", lr_scale=0),
            hl.BatchNorm(lr_scale=0),
            hl.Dense(3, "prelu"),
            hl.Dense(2, lr_scale=0),
        ],
        dtype=dtype,
    )
    before = model.theta.copy()
    hl.Trainer(model, loss="mse", optimizer=kind(), batch_size=8, clip_norm=1.0).fit(X, y, epochs=4)
    free = ("dense_1/kernel", "dense_1/bias", "dense_1/slope")
    for (name, after), was in zip(model.parameters().items(), model.views(before).values(), strict=True):
        assert np.array_equal(after, was) == (name not in free), name


@compiled_only
@pytest.mark.parametrize(
    "penalty",
    [hl.L1(0.5), hl.L1(0.5, proximal=True), hl.L2(0.5), hl.L0(2), hl.MaxNorm(0.1), hl.Nuclear(0.5, every=2)],
    ids=repr,
)
def test_no_penalty_moves_what_is_frozen(penalty):
    X, y, _ = data(30)
    model = build([hl.Dense(4, "tanh", lr_scale=0), hl.Dense(2)], dtype="float32")
    before = model.views(model.theta.copy())
    hl.Trainer(model, loss="mse", penalty=penalty, batch_size=8).fit(X, y, epochs=4)
    for name, after in model.parameters().items():
        assert np.array_equal(after, before[name]) == name.startswith("dense_0"), name


@compiled_only
def test_a_scale_may_be_a_whole_number_of_any_size():
    X, y, _ = data(30)
    model = build([hl.Dense(4, "tanh", lr_scale=2**64), hl.Dense(2)])
    hl.Trainer(model, loss="mse", optimizer=hl.SGD(2.0**-64)).fit(X, y, epochs=1)
    other = build([hl.Dense(4, "tanh", lr_scale=2.0**64), hl.Dense(2)])
    hl.Trainer(other, loss="mse", optimizer=hl.SGD(2.0**-64)).fit(X, y, epochs=1)
    np.testing.assert_array_equal(model.theta, other.theta)


@compiled_only
def test_frozen_layers_keep_their_running_statistics_moving():
    X, y, _ = data(30)
    model = build([hl.BatchNorm(lr_scale=0), hl.Dense(2)])
    before = model.running.copy()
    hl.Trainer(model, loss="mse", batch_size=8).fit(X, y, epochs=1)
    assert not np.any(model.running == before)


# --- copies, files, and words -----------------------------------------------------------------------

MODELS = {
    **{name: ARCHITECTURES[name] for name in ("norm twice", "dropout in the middle", "prelu", "everything")},
    "options": [
        hl.Standardize(), hl.BatchNorm(momentum=0.5, eps=1e-3, lr_scale=0.1),
        hl.Activation("prelu", lr_scale=0), hl.Dropout(np.float32(0.25)),
        hl.Dense(2, "softmax", lr_scale=0.5, penalty=hl.L2(0.1)),
    ],
}  # fmt: skip
each_model = pytest.mark.parametrize("layers", MODELS.values(), ids=MODELS)


@compiled_only
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_model
def test_copies_are_the_same_model(layers, dtype, tmp_path):
    model, (X, _, _) = build(layers, dtype=dtype), data()
    model.save(tmp_path / "model")
    outputs = model.predict(X)
    copies = {
        "loaded": hl.Sequential.load(tmp_path / "model"),
        "pickled": pickle.loads(pickle.dumps(model)),
        "copied": copy.deepcopy(model),
    }
    for how, other in copies.items():
        assert other.layers == model.layers, how
        np.testing.assert_array_equal(other.theta, model.theta, err_msg=how)
        np.testing.assert_array_equal(other.running, model.running, err_msg=how)
        np.testing.assert_array_equal(other.predict(X), outputs, err_msg=how)
        assert other.running.size == 0 or other.running.ctypes.data % 64 == 0, how
        assert other.needs_standardizing == model.needs_standardizing
        other.running[:] += 1  # its own memory, which its buffers and its predictions see
        assert all(np.shares_memory(buffer, other.running) for buffer in other.buffers().values())
        assert not np.shares_memory(other.running, model.running)
    np.testing.assert_array_equal(model.predict(X), outputs)
    again = eval(repr(model), vars(hl) | {"np": np})
    assert again.layers == model.layers
    assert repr(again) == repr(model)


@compiled_only
def test_buffers_are_views():
    model = hl.Sequential([hl.BatchNorm(), hl.Dense(2), hl.BatchNorm()], input_dim=3, dtype="float64")
    assert {name: view.shape for name, view in model.buffers().items()} == {
        "batchnorm_0/mean": (3,), "batchnorm_0/variance": (3,),
        "batchnorm_1/mean": (2,), "batchnorm_1/variance": (2,),
    }  # fmt: skip
    np.testing.assert_array_equal(model.running, [0, 0, 0, 1, 1, 1, 0, 0, 1, 1])
    X = data(n_in=3)[0]
    before = model.predict(X)
    model.buffers()["batchnorm_1/mean"][:] = [1, 2]
    np.testing.assert_allclose(before - model.predict(X), np.full_like(before, [1, 2]) / np.sqrt(1 + 1e-5))
    assert model.buffers()["batchnorm_1/mean"].tolist() == [1, 2]


@compiled_only
def test_summary_counts_the_parameters_of_each_layer(capsys):
    hl.Sequential(
        [hl.Standardize(), hl.Dense(4, "prelu"), hl.BatchNorm(), hl.Dropout(0.5)], input_dim=3
    ).summary()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[-1] for line in lines] == ["parameters", "0", "0", "20", "8", "0", "28"]
    assert [line[0] for line in lines[2:-1]] == ["standardize_0:", "dense_0:", "batchnorm_0:", "dropout_0:"]


LIES = {
    "missing": lambda tensors: tensors.pop("batchnorm_0/mean"),
    "too short": lambda tensors: tensors.update({"batchnorm_0/variance": np.ones(1, np.float32)}),
    "other shape": lambda tensors: tensors.update({"batchnorm_0/mean": np.ones((1, 2), np.float32)}),
    "other dtype": lambda tensors: tensors.update({"batchnorm_0/mean": np.ones(2)}),
    "one more": lambda tensors: tensors.update({"batchnorm_1/mean": np.ones(2, np.float32)}),
    "no rows": lambda tensors: tensors.pop("standardize_0/rows"),
}


@compiled_only
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_files_that_lie_about_buffers_are_refused(lie, tmp_path):
    path = tmp_path / "model"
    model = build([hl.Standardize(), hl.BatchNorm(), hl.Dense(2)], dtype="float32")
    model.save(path)
    tensors = load_file(path)
    lie(tensors)
    save_file(tensors, path, {"format": "hotloop", "version": "1", "architecture": model.architecture()})
    with pytest.raises(FileFormatError, match="model: cannot be loaded"):
        hl.Sequential.load(path)


@compiled_only
@pytest.mark.parametrize(
    "entry",
    [
        {"type": "Dropout", "rate": 1.5}, {"type": "Dropout"}, {"type": "BatchNorm", "eps": 0},
        {"type": "Activation", "name": "eval"}, {"type": "L2", "strength": 1.0},
        {"type": "Standardize", "more": 1},
    ],
    ids=repr,
)  # fmt: skip
def test_files_that_lie_about_layers_are_refused(entry, tmp_path):
    path = tmp_path / "model"
    model = hl.Sequential([hl.Activation("tanh"), hl.Dense(2)], input_dim=2)
    model.save(path)
    architecture = json.loads(model.architecture())
    architecture["layers"][0] = entry
    metadata = {"format": "hotloop", "version": "1", "architecture": json.dumps(architecture)}
    save_file(load_file(path), path, metadata)
    with pytest.raises(FileFormatError, match="model: cannot be loaded"):
        hl.Sequential.load(path)


WRONG = {
    "rate 1": (hl.Dropout, (1.0,), {}, ValueError, "rate"),
    "rate below 0": (hl.Dropout, (-0.1,), {}, ValueError, "rate"),
    "rate NaN": (hl.Dropout, (float("nan"),), {}, ValueError, "rate"),
    "rate text": (hl.Dropout, ("0.5",), {}, TypeError, "rate"),
    "rate flag": (hl.Dropout, (True,), {}, TypeError, "rate"),
    "momentum 1": (hl.BatchNorm, (1.0,), {}, ValueError, "momentum"),
    "momentum below 0": (hl.BatchNorm, (-0.1,), {}, ValueError, "momentum"),
    "momentum None": (hl.BatchNorm, (None,), {}, TypeError, "momentum"),
    "eps 0": (hl.BatchNorm, (), {"eps": 0}, ValueError, "eps"),
    "eps infinite": (hl.BatchNorm, (), {"eps": float("inf")}, ValueError, "eps"),
    "eps text": (hl.BatchNorm, (), {"eps": "small"}, TypeError, "eps"),
    "name unknown": (hl.Activation, ("rely",), {}, ValueError, "name"),
    "name function": (hl.Activation, (np.tanh,), {}, TypeError, "name"),
    **{
        f"lr_scale {scale!r} of {kind.__name__}": (kind, args, {"lr_scale": scale}, error, "lr_scale")
        for kind, args in ((hl.Dense, (3,)), (hl.BatchNorm, ()), (hl.Activation, ("relu",)))
        for scale, error in (
            (-1.0, ValueError),
            (float("inf"), ValueError),
            ("1", TypeError),
            (None, TypeError),
        )
    },
}


@compiled_only
@pytest.mark.parametrize(("kind", "args", "options", "error", "name"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_named(kind, args, options, error, name):
    with refuses(error, name):
        kind(*args, **options)


@compiled_only
def test_early_stopping_brings_back_the_running_statistics():
    X, y, _ = data(30)
    kept = {}

    class Keep(hl.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            kept[epoch] = trainer.model.theta.copy(), trainer.model.running.copy()

    model = build(ARCHITECTURES["norm twice"])
    stopping = hl.EarlyStopping("loss", patience=3, mode="max")  # the loss falls: an early epoch is the best
    trainer = hl.Trainer(model, loss="mse", optimizer=hl.SGD(0.02), batch_size=None)
    trainer.fit(X, y, epochs=20, callbacks=[Keep(), stopping])
    assert trainer.epoch > stopping.best_epoch
    np.testing.assert_array_equal(model.theta, kept[stopping.best_epoch][0])
    np.testing.assert_array_equal(model.running, kept[stopping.best_epoch][1])
    assert not np.array_equal(model.running, kept[trainer.epoch][1])


@compiled_only
def test_an_averaged_model_has_the_running_statistics():
    trainer = fit_full(full_trainer(average=hl.EMA(0.9), penalty=None))
    model = trainer.averaged_model()
    np.testing.assert_array_equal(model.running, trainer.model.running)
    assert not np.array_equal(model.theta, trainer.model.theta)

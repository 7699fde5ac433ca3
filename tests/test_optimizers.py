"""Optimizers: a new member is a row of `VARIANTS` and of `REACHED`, and a case of both twins."""

import itertools

import numba
import numpy as np
import pytest

import hotloop as hl
import reference
from hotloop import optimizers
from hotloop._jit import COMPILED, FLAGS
from hotloop.engine.loop import Update
from hotloop.errors import HotloopError, InvalidTypeError, InvalidValueError
from hotloop.optimizers import optimizer_step

STEPS = 40


def decay(steps):
    """A schedule."""
    return 0.05 / (1 + 0.1 * steps)


VARIANTS = {
    "SGD": hl.SGD(0.02),
    "SGD with a schedule": hl.SGD(decay),
    "SGD with momentum": hl.SGD(0.02, momentum=0.9),
    "SGD with momentum and a schedule": hl.SGD(decay, momentum=0.5),
    "SGD with Nesterov's momentum": hl.SGD(0.02, momentum=0.8, nesterov=True),
    "Adam": hl.Adam(0.03),
    "Adam with a schedule": hl.Adam(decay),
    "Adam with other numbers": hl.Adam(0.03, betas=(0.5, 0.9), eps=1e-3),
    "Adam without memory": hl.Adam(0.03, betas=(0.0, 0.0), eps=1e-2),
}


def twin(optimizer, gradient_of, theta, rates):
    if isinstance(optimizer, hl.SGD):
        return reference.sgd(theta, gradient_of, rates, optimizer.momentum, optimizer.nesterov)
    return reference.adam(theta, gradient_of, rates, optimizer.betas, optimizer.eps)


def torch_twin(torch, optimizer, parameters):
    if isinstance(optimizer, hl.SGD):
        return torch.optim.SGD(parameters, 1.0, momentum=optimizer.momentum, nesterov=optimizer.nesterov)
    return torch.optim.Adam(parameters, 1.0, betas=optimizer.betas, eps=optimizer.eps)


def walk(optimizer, gradient_of, theta, n_steps, *, dtype="float64", cuts=()):
    """θ after each step, by the kernel; `cuts` split [0, θ.size) as threads do."""
    theta = np.array(theta, dtype)
    edges = [0, *cuts, theta.size]
    state = np.zeros((optimizer.slots, theta.size), dtype)
    hyper = np.array(optimizer.hyper(), np.float64)
    update = Update(optimizer.code, hyper, optimizer.scalars(np.arange(n_steps)), state)
    path = []
    for step in range(n_steps):
        grad = np.array(gradient_of(theta), dtype)
        for lo, hi in itertools.pairwise(edges):
            optimizer_step(update, step, theta, grad, lo, hi)
        path.append(theta.copy())
    return np.array(path)


CURVATURE = np.linspace(0.1, 3.0, 11)
START = np.linspace(-1.5, 2.0, 11)


def wavy(theta):
    """The gradient of Σ ½ c θ² + cos 3θ."""
    return CURVATURE * theta - 3 * np.sin(3 * theta)


@pytest.mark.kernels
@pytest.mark.parametrize("name", VARIANTS)
def test_path_is_that_of_the_twin(name):
    optimizer = VARIANTS[name]
    rates = optimizer.rates(np.arange(STEPS))
    expected = twin(optimizer, wavy, START, rates)
    np.testing.assert_allclose(walk(optimizer, wavy, START, STEPS), expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        walk(optimizer, wavy, START, STEPS, dtype="float32"), expected, rtol=2e-3, atol=2e-4
    )
    assert np.abs(expected[-1] - START).max() > 0.1, "a problem on which nothing moves shows nothing"


@pytest.mark.kernels
@pytest.mark.parametrize("name", VARIANTS)
def test_path_is_that_of_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is the peer here, and is not installed")
    optimizer = VARIANTS[name]
    theta = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    peer = torch_twin(torch, optimizer, [theta])
    path = []
    for rate in optimizer.rates(np.arange(STEPS)):
        peer.param_groups[0]["lr"] = float(rate)
        theta.grad = torch.from_numpy(wavy(theta.detach().numpy().copy()))
        peer.step()
        path.append(theta.detach().numpy().copy())
    np.testing.assert_allclose(walk(optimizer, wavy, START, STEPS), path, rtol=1e-10, atol=1e-10)


def test_the_trainer_takes_the_steps_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is the peer here, and is not installed")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.integers(0, 3, 20)
    for optimizer in VARIANTS.values():
        model = hl.Sequential([hl.Dense(5, "tanh"), hl.Dense(3)], input_dim=3, dtype="float64")
        peer = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
        with torch.no_grad():
            for (name, ours), theirs in zip(model.parameters().items(), peer.parameters(), strict=True):
                theirs.copy_(torch.from_numpy(ours.T if "kernel" in name else ours))
        steps = torch_twin(torch, optimizer, peer.parameters())
        hl.Trainer(model, loss="softmax_cross_entropy", optimizer=optimizer, batch_size=5).fit(
            X, y, epochs=STEPS // 4, shuffle=False
        )
        for step, rate in enumerate(optimizer.rates(np.arange(STEPS))):
            rows = slice(step % 4 * 5, step % 4 * 5 + 5)
            steps.param_groups[0]["lr"] = float(rate)
            steps.zero_grad()
            torch.nn.functional.cross_entropy(
                peer(torch.from_numpy(X[rows])), torch.from_numpy(y[rows])
            ).backward()
            steps.step()
        for (name, ours), theirs in zip(model.parameters().items(), peer.parameters(), strict=True):
            found = theirs.detach().numpy()
            np.testing.assert_allclose(ours.T if "kernel" in name else ours, found, rtol=0, atol=1e-10)


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", VARIANTS)
def test_splitting_the_range_changes_nothing(name, dtype):
    rng = np.random.default_rng(0)
    size = 150 if COMPILED else 20
    start, noise = rng.standard_normal(size), rng.standard_normal(size)
    whole = walk(VARIANTS[name], lambda theta: theta * noise, start, 5, dtype=dtype)
    for cuts in ([16], [1, 2, 3], [7, 7, size - 1]):
        parts = walk(VARIANTS[name], lambda theta: theta * noise, start, 5, dtype=dtype, cuts=cuts)
        np.testing.assert_array_equal(parts, whole)


@pytest.mark.kernels
@pytest.mark.parametrize("name", VARIANTS)
def test_only_its_range_is_touched(name):
    optimizer, theta, grad = VARIANTS[name], np.ones(10), np.ones(10)
    state = np.zeros((max(optimizer.slots, 1), 10))
    update = Update(optimizer.code, np.array(optimizer.hyper()), optimizer.scalars(np.arange(1)), state)
    optimizer_step(update, 0, theta, grad, 3, 7)
    np.testing.assert_array_equal(theta != 1, [False] * 3 + [True] * 4 + [False] * 3)
    assert not state[:, [0, 1, 2, 7, 8, 9]].any()
    np.testing.assert_array_equal(grad, 1)


def bowl():
    """½‖θ − 1‖² in 6 dimensions."""
    return np.zeros(6), lambda t: 0.5 * ((t - 1) ** 2).sum(), lambda t: t - 1


def valley():
    """A quadratic with curvatures 0.02 to 1, turned so that no axis is special."""
    turn, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((6, 6)))
    hessian = turn @ np.diag(np.geomspace(0.02, 1.0, 6)) @ turn.T
    return np.full(6, 3.0), lambda t: 0.5 * t @ hessian @ t, lambda t: hessian @ t


def small_mlp():
    """The exclusive or, by 2-8-1 with tanh."""
    layers = (hl.Dense(8, "tanh"), hl.Dense(1))
    x = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], float)
    data = x, np.array([[0], [1], [1], [0]], float), np.ones(4)
    start = np.random.default_rng(0).standard_normal(2 * 8 + 8 + 8 + 1)
    return (
        start,
        lambda t: reference.value(layers, "mse", t, *data),
        lambda t: reference.gradient(layers, "mse", t, *data),
    )


# What must be reached in how many steps; all start above 1. Momentum beats plain SGD in the valley.
REACHED = [
    (hl.SGD(0.3), bowl, 60, 1e-12),
    (hl.SGD(0.1, momentum=0.5), bowl, 100, 1e-12),
    (hl.SGD(0.1, momentum=0.5, nesterov=True), bowl, 100, 1e-12),
    (hl.Adam(0.1), bowl, 300, 1e-6),
    (hl.SGD(1.0), valley, 200, 1e-3),
    (hl.SGD(1.0, momentum=0.8), valley, 200, 1e-9),
    (hl.SGD(1.0, momentum=0.8, nesterov=True), valley, 200, 1e-9),
    (hl.Adam(0.1), valley, 300, 1e-3),
    (hl.SGD(0.05), small_mlp, 400, 1e-2),
    (hl.SGD(0.02, momentum=0.9), small_mlp, 400, 1e-6),
    (hl.SGD(0.02, momentum=0.9, nesterov=True), small_mlp, 400, 1e-6),
    (hl.Adam(0.03), small_mlp, 400, 1e-6),
]


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("optimizer", "problem", "steps", "objective"),
    REACHED,
    ids=[f"{optimizer}-{problem.__name__}" for optimizer, problem, _, _ in REACHED],
)
def test_reaches_the_objective(optimizer, problem, steps, objective, dtype):
    start, value, gradient_of = problem()
    assert value(start) > 1
    end = walk(optimizer, gradient_of, start, steps, dtype=dtype)[-1]
    assert value(end.astype(float)) < objective


@pytest.mark.kernels
def test_zero_rate_keeps_theta_but_not_the_memory():
    for optimizer in (hl.SGD(0.0), hl.SGD(0.0, momentum=0.9), hl.Adam(0.0)):
        np.testing.assert_array_equal(walk(optimizer, wavy, START, 3)[-1], START)


@pytest.mark.parametrize(
    ("make", "error", "name"),
    [
        (lambda: hl.SGD(-0.1), InvalidValueError, "lr"),
        (lambda: hl.SGD(np.nan), InvalidValueError, "lr"),
        (lambda: hl.SGD(np.inf), InvalidValueError, "lr"),
        (lambda: hl.SGD("0.1"), InvalidTypeError, "lr"),
        (lambda: hl.SGD(True), InvalidTypeError, "lr"),
        (lambda: hl.SGD(None), InvalidTypeError, "lr"),
        (lambda: hl.SGD(1j), InvalidTypeError, "lr"),
        (lambda: hl.SGD(0.1, momentum=-0.1), InvalidValueError, "momentum"),
        (lambda: hl.SGD(0.1, momentum=1.0), InvalidValueError, "momentum"),
        (lambda: hl.SGD(0.1, momentum=np.nan), InvalidValueError, "momentum"),
        (lambda: hl.SGD(0.1, momentum="much"), InvalidTypeError, "momentum"),
        (lambda: hl.SGD(0.1, nesterov=True), InvalidValueError, "nesterov"),
        (lambda: hl.SGD(0.1, momentum=0.9, nesterov=1), InvalidTypeError, "nesterov"),
        (lambda: hl.Adam(-1e-3), InvalidValueError, "lr"),
        (lambda: hl.Adam([1e-3]), InvalidTypeError, "lr"),
        (lambda: hl.Adam(betas=0.9), InvalidTypeError, "betas"),
        (lambda: hl.Adam(betas=(0.9,)), InvalidTypeError, "betas"),
        (lambda: hl.Adam(betas=(0.9, 0.99, 0.999)), InvalidTypeError, "betas"),
        (lambda: hl.Adam(betas=(1.0, 0.999)), InvalidValueError, "betas[0]"),
        (lambda: hl.Adam(betas=(0.9, -0.1)), InvalidValueError, "betas[1]"),
        (lambda: hl.Adam(betas=(0.9, np.nan)), InvalidValueError, "betas[1]"),
        (lambda: hl.Adam(betas=(0.9, "b")), InvalidTypeError, "betas[1]"),
        (lambda: hl.Adam(eps=-1e-8), InvalidValueError, "eps"),
        (lambda: hl.Adam(eps=np.inf), InvalidValueError, "eps"),
        (lambda: hl.Adam(eps=None), InvalidTypeError, "eps"),
    ],
)  # fmt: skip
def test_arguments_are_checked(make, error, name):
    with pytest.raises(HotloopError) as caught:
        make()
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"{name}:")


@pytest.mark.parametrize(
    "schedule",
    [
        lambda steps: 0.1,
        lambda steps: np.full(steps.size + 1, 0.1),
        lambda steps: np.full((steps.size, 1), 0.1),
        lambda steps: np.full(steps.shape, np.nan),
        lambda steps: np.full(steps.shape, np.inf),
        lambda steps: np.full(steps.shape, -0.1),
        lambda steps: 0.1 - 0.02 * steps,
        lambda steps: None,
        lambda steps: "fast",
        lambda steps: ["fast"] * steps.size,
        lambda steps: {"rate": 0.1},
        lambda steps: np.full(steps.shape, 1j),
    ],
    ids=[
        "one number", "too many", "a column", "NaN", "infinite", "negative", "negative in the end",
        "None", "text", "texts", "dict", "complex",
    ],
)  # fmt: skip
def test_schedules_are_checked(schedule):
    for optimizer in (hl.SGD(schedule), hl.Adam(schedule)):
        with pytest.raises(HotloopError, match=r"^lr: the schedule"):
            optimizer.rates(np.arange(10))


def test_a_bad_schedule_stops_training_before_the_step_it_is_for():
    model = hl.Sequential([hl.Dense(1)], input_dim=2)
    before = model.theta.copy()
    trainer = hl.Trainer(model, loss="mse", optimizer=hl.SGD(lambda steps: -np.ones(len(steps))))
    with pytest.raises(HotloopError, match=r"^lr:"):
        trainer.fit(np.ones((4, 2)), np.ones(4))
    np.testing.assert_array_equal(model.theta, before)
    assert trainer.step == 0


def test_schedules_see_every_step_once_in_order():
    seen = []

    def schedule(steps):
        seen.extend(steps.tolist())
        return np.full(steps.shape, 0.01)

    model = hl.Sequential([hl.Dense(1)], input_dim=2)
    trainer = hl.Trainer(model, loss="mse", optimizer=hl.SGD(schedule), batch_size=3)
    trainer.fit(np.ones((10, 2)), np.ones(10), epochs=2)
    trainer.fit(np.ones((10, 2)), np.ones(10), epochs=1)
    assert seen == list(range(12))


def test_repr_says_what_is_needed_to_make_it_again():
    for optimizer in (hl.SGD(), hl.SGD(0.5, momentum=0.9, nesterov=True), hl.Adam(), hl.Adam(1, (0.5, 0.6))):
        assert eval(repr(optimizer), vars(hl).copy()) == optimizer
    assert repr(hl.SGD(0.1)) == "SGD(lr=0.1, momentum=0.0, nesterov=False)"
    assert repr(hl.Adam(1e-3)) == "Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08)"


def test_descriptions_are_frozen_and_betas_become_a_tuple():
    optimizer = hl.Adam(betas=[0.9, 0.99])
    assert optimizer.betas == (0.9, 0.99)
    assert hash(optimizer) == hash(hl.Adam(betas=(0.9, 0.99)))
    with pytest.raises(AttributeError):
        optimizer.lr = 1.0


@pytest.mark.skipif(not COMPILED, reason="only compiled code turns float32 into float64")
@pytest.mark.parametrize(("name", "vectors"), [("gradient_step", 2), ("momentum_step", 3), ("adam_step", 4)])
def test_float32_steps_hold_no_float64(name, vectors):
    rest = {
        "gradient_step": (numba.float64,),
        "momentum_step": (numba.float64, numba.float64, numba.boolean),
        "adam_step": (numba.float64,) * 5,
    }
    arguments = (numba.float32[::1],) * vectors + rest[name]
    fresh = numba.njit(fastmath=FLAGS, error_model="numpy", nogil=True, _nrt=False)(
        getattr(optimizers, name).py_func
    )
    fresh.compile(arguments)
    code = fresh.inspect_llvm(arguments)
    assert "fptrunc" in code
    assert "fpext" not in code

"""Optimizers: a new member is a row of `VARIANTS` and of `STEPS_NEEDED`, and a twin in `reference`."""

import itertools

import numba
import numpy as np
import pytest

import hotloop as hl
import reference
from helpers import scalars_of, take_step, update_of
from hotloop._jit import COMPILED, FLAGS
from hotloop.errors import HotloopError, InvalidTypeError, InvalidValueError
from hotloop.optimizers import adam, adam_kin, adaptive, schedulefree, sgd, sign

STEPS = 40


def decay(steps):
    """A schedule."""
    return 0.05 / (1 + 0.1 * steps)


# Name → description, and PyTorch's name for it with its other arguments (None: it has none).
VARIANTS = {
    "SGD": (hl.SGD(0.02), ("SGD", {})),
    "SGD with a schedule": (hl.SGD(decay), ("SGD", {})),
    "SGD with momentum": (hl.SGD(0.02, momentum=0.9), ("SGD", {"momentum": 0.9})),
    "SGD with momentum and a schedule": (hl.SGD(decay, momentum=0.5), ("SGD", {"momentum": 0.5})),
    "SGD with Nesterov's momentum": (
        hl.SGD(0.02, momentum=0.8, nesterov=True), ("SGD", {"momentum": 0.8, "nesterov": True}),
    ),
    "Adam": (hl.Adam(0.03), ("Adam", {})),
    "Adam with a schedule": (hl.Adam(decay), ("Adam", {})),
    "Adam with other numbers": (
        hl.Adam(0.03, betas=(0.5, 0.9), eps=1e-3), ("Adam", {"betas": (0.5, 0.9), "eps": 1e-3}),
    ),
    "Adam without memory": (
        hl.Adam(0.03, betas=(0.0, 0.0), eps=1e-2), ("Adam", {"betas": (0.0, 0.0), "eps": 1e-2}),
    ),
    "AMSGrad": (hl.Adam(0.03, betas=(0.9, 0.9), amsgrad=True),
                ("Adam", {"betas": (0.9, 0.9), "amsgrad": True})),
    "AdamW": (hl.AdamW(0.03, weight_decay=0.3), ("AdamW", {"weight_decay": 0.3})),
    "AdamW with a schedule": (hl.AdamW(decay), ("AdamW", {})),
    "AdamW with AMSGrad": (hl.AdamW(0.03, amsgrad=True), ("AdamW", {"amsgrad": True})),
    "Adamax": (hl.Adamax(0.03), ("Adamax", {})),
    "NAdam": (hl.NAdam(0.03), ("NAdam", {})),
    "NAdam with other numbers": (
        hl.NAdam(decay, betas=(0.8, 0.9), momentum_decay=0.1),
        ("NAdam", {"betas": (0.8, 0.9), "momentum_decay": 0.1}),
    ),
    "RAdam": (hl.RAdam(0.03), ("RAdam", {})),
    "RAdam with a short memory": (hl.RAdam(0.03, betas=(0.5, 0.9)), ("RAdam", {"betas": (0.5, 0.9)})),
    "AdaBelief": (hl.AdaBelief(0.03), None),
    "Adagrad": (hl.Adagrad(0.1), ("Adagrad", {})),
    "Adagrad with a start": (
        hl.Adagrad(0.1, initial_accumulator=0.5), ("Adagrad", {"initial_accumulator_value": 0.5}),
    ),
    "Adadelta": (hl.Adadelta(5.0), ("Adadelta", {})),
    "Adadelta with other numbers": (
        hl.Adadelta(rho=0.5, eps=1e-3), ("Adadelta", {"rho": 0.5, "eps": 1e-3}),
    ),
    "RMSprop": (hl.RMSprop(0.02), ("RMSprop", {})),
    "RMSprop with momentum": (hl.RMSprop(decay, alpha=0.9, momentum=0.5),
                              ("RMSprop", {"alpha": 0.9, "momentum": 0.5})),
    "RMSprop, centred": (hl.RMSprop(0.02, centered=True, momentum=0.8),
                         ("RMSprop", {"centered": True, "momentum": 0.8})),
    "Rprop": (hl.Rprop(0.01), ("Rprop", {})),
    "Rprop with other numbers": (
        hl.Rprop(0.05, etas=(0.3, 1.5), step_sizes=(1e-3, 0.2)),
        ("Rprop", {"etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2)}),
    ),
    "Lion": (hl.Lion(0.02), None),
    "Lion with a decay": (hl.Lion(decay, weight_decay=0.2), None),
    "ScheduleFreeSGD": (hl.ScheduleFreeSGD(0.05), None),
    "ScheduleFreeSGD with a schedule": (hl.ScheduleFreeSGD(decay, momentum=0.0), None),
    "ScheduleFreeSGD with other numbers": (
        hl.ScheduleFreeSGD(0.1, momentum=0.7, weight_decay=0.1, warmup_steps=7, r=0.5, weight_lr_power=1),
        None,
    ),
    "ScheduleFreeAdamW": (hl.ScheduleFreeAdamW(0.05), None),
    "ScheduleFreeAdamW with a schedule": (hl.ScheduleFreeAdamW(decay, betas=(0.5, 0.9), eps=1e-3), None),
    "ScheduleFreeAdamW with other numbers": (
        hl.ScheduleFreeAdamW(0.1, weight_decay=0.1, warmup_steps=7, r=0.5, weight_lr_power=1), None,
    ),
}  # fmt: skip
WITH_PYTORCH = [name for name, (_, peer) in VARIANTS.items() if peer]


@pytest.fixture
def torch():
    """PyTorch, whose NAdam keeps a product in the default dtype."""
    torch = pytest.importorskip("torch", reason="PyTorch is the peer here, and is not installed")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


def torch_twin(torch, name, parameters):
    optimizer, (peer, arguments) = VARIANTS[name]
    rate = optimizer.rates(np.arange(1))[0]
    return getattr(torch.optim, peer)(parameters, lr=float(rate), **arguments)


def walk(optimizer, gradient_of, theta, n_steps, *, dtype="float64", cuts=(), predicting=False):
    """θ after each step, by the kernel, or what predicts; `cuts` split [0, θ.size) as threads do."""
    theta = np.array(theta, dtype)
    edges = [0, *cuts, theta.size]
    state = np.zeros((optimizer.slots, theta.size), dtype)
    update = update_of(optimizer, n_steps, state)
    path = []
    for step in range(n_steps):
        grad = np.array(gradient_of(theta), dtype)
        for lo, hi in itertools.pairwise(edges):
            take_step(optimizer, update, step, theta, grad, lo, hi)
        path.append(theta.copy())
        if predicting:
            optimizer.to_evaluation(path[-1], state, step + 1)
    return np.array(path)


CURVATURE = np.linspace(0.1, 3.0, 11)
START = np.linspace(-1.5, 2.0, 11)


def wavy(theta):
    """The gradient of Σ ½ c θ² + cos 3θ."""
    return CURVATURE * theta - 3 * np.sin(3 * theta)


@pytest.mark.kernels
@pytest.mark.parametrize("name", VARIANTS)
def test_path_is_that_of_the_twin(name):
    optimizer, _ = VARIANTS[name]
    expected = reference.walk(optimizer, wavy, START, optimizer.rates(np.arange(STEPS)))
    np.testing.assert_allclose(walk(optimizer, wavy, START, STEPS), expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        walk(optimizer, wavy, START, STEPS, dtype="float32"), expected, rtol=2e-3, atol=2e-4
    )
    assert np.abs(expected[-1] - START).max() > 0.1, "a problem on which nothing moves shows nothing"


@pytest.mark.kernels
@pytest.mark.torch
@pytest.mark.parametrize("name", WITH_PYTORCH)
def test_path_is_that_of_pytorch(name, torch):
    optimizer, _ = VARIANTS[name]
    theta = torch.tensor(START, requires_grad=True)
    peer = torch_twin(torch, name, [theta])
    path = []
    for rate in optimizer.rates(np.arange(STEPS)):
        peer.param_groups[0]["lr"] = float(rate)
        theta.grad = torch.from_numpy(wavy(theta.detach().numpy().copy()))
        peer.step()
        path.append(theta.detach().numpy().copy())
    np.testing.assert_allclose(walk(optimizer, wavy, START, STEPS), path, rtol=1e-10, atol=1e-10)


@pytest.mark.torch
@pytest.mark.parametrize("name", WITH_PYTORCH)
def test_the_trainer_takes_the_steps_of_pytorch(name, torch):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.integers(0, 3, 20)
    optimizer, _ = VARIANTS[name]
    model = hl.Sequential([hl.Dense(5, "tanh"), hl.Dense(3)], input_dim=3, dtype="float64")
    peer = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    with torch.no_grad():
        for (part, ours), theirs in zip(model.parameters().items(), peer.parameters(), strict=True):
            theirs.copy_(torch.from_numpy(ours.T if "kernel" in part else ours))
    steps = torch_twin(torch, name, peer.parameters())
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
    for (part, ours), theirs in zip(model.parameters().items(), peer.parameters(), strict=True):
        found = theirs.detach().numpy()
        np.testing.assert_allclose(ours.T if "kernel" in part else ours, found, rtol=0, atol=1e-9)


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", VARIANTS)
def test_splitting_the_range_changes_nothing(name, dtype):
    rng = np.random.default_rng(0)
    size = 150 if COMPILED else 20
    start, noise = rng.standard_normal(size), rng.standard_normal(size)
    whole = walk(VARIANTS[name][0], lambda theta: theta * noise, start, 5, dtype=dtype)
    for cuts in ([16], [1, 2, 3], [7, 7, size - 1]):
        parts = walk(VARIANTS[name][0], lambda theta: theta * noise, start, 5, dtype=dtype, cuts=cuts)
        np.testing.assert_array_equal(parts, whole)


@pytest.mark.kernels
@pytest.mark.parametrize("name", VARIANTS)
def test_only_its_range_is_touched(name):
    (optimizer, _), theta, grad = VARIANTS[name], np.ones(10), np.ones(10)
    state = np.zeros((max(optimizer.slots, 1), 10))
    take_step(optimizer, update_of(optimizer, 1, state), 0, theta, grad, 3, 7)
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


def rosenbrock():
    """A bent valley: (1 − x)² + 10 (y − x²)²."""
    return (
        np.array([-0.5, 1.0]),
        lambda t: (1 - t[0]) ** 2 + 10 * (t[1] - t[0] ** 2) ** 2,
        lambda t: np.array([-2 * (1 - t[0]) - 40 * t[0] * (t[1] - t[0] ** 2), 20 * (t[1] - t[0] ** 2)]),
    )


def logistic():
    """Logistic regression on 60 points in 4 dimensions, above its least value."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((60, 4))
    y = np.where(X @ [1.0, -2.0, 0.5, 0.0] + 0.7 * rng.standard_normal(60) > 0, 1.0, -1.0)

    def value(t):
        return np.logaddexp(0, -y * (X @ t)).mean() + 0.005 * t @ t

    def gradient(t):
        return -(X * (y / (1 + np.exp(y * (X @ t))))[:, None]).mean(axis=0) + 0.01 * t

    def hessian(t):
        p = 1 / (1 + np.exp(-(X @ t)))
        return (X.T * (p * (1 - p))) @ X / len(X) + 0.01 * np.eye(4)

    least = np.zeros(4)
    for _ in range(20):  # Newton
        least = least - np.linalg.solve(hessian(least), gradient(least))
    assert np.abs(gradient(least)).max() < 1e-14
    return np.zeros(4), lambda t: value(t) - value(least), gradient


# Problem → the value that must be reached.
PROBLEMS = {bowl: 1e-6, valley: 1e-3, rosenbrock: 1e-3, logistic: 1e-4, small_mlp: 1e-3}

# Optimizer → for each problem, in that order, the best of a few constant rates, and the steps after
# which it stays below the value. None: it circles the goal, or needs more than 1,500 steps.
# (RMSprop with 0.003 is there sooner on the exclusive or, but leaves again where gradients vanish, and when
# depends on the last bits.)
STEPS_NEEDED = [
    (hl.SGD, (0.3, 21), (1, 70), (0.01, 640), (3, 32), (0.3, 62)),
    (lambda lr: hl.SGD(lr, momentum=0.9), (0.01, 126), (0.3, 78), (0.01, 89), (3, 75), (0.1, 68)),
    (lambda lr: hl.SGD(lr, momentum=0.9, nesterov=True), (0.3, 33), (1, 36), (0.01, 76), (3, 42), (0.1, 31)),
    (hl.Adam, (0.3, 135), (0.3, 73), (0.03, 459), (0.1, 58), (0.03, 69)),
    (lambda lr: hl.Adam(lr, amsgrad=True), (0.1, 136), (1, 70), (0.3, 84), (0.1, 58), (0.03, 69)),
    (lambda lr: hl.AdamW(lr, weight_decay=0.001), (0.03, 126), (0.3, 73), (0.03, 466), (0.1, 59), (0.03, 69)),
    (hl.Adamax, (0.3, 122), (1, 61), (0.3, 231), (0.3, 65), (0.3, 56)),
    (hl.NAdam, (0.3, 34), (0.03, 345), (0.01, 1320), (0.03, 349), (0.01, 107)),
    (hl.RAdam, (0.3, 116), (0.3, 186), (0.03, 742), (0.3, 149), (0.1, 91)),
    (hl.AdaBelief, (0.03, 135), (0.3, 80), (0.03, 376), (0.1, 75), (0.03, 62)),
    (hl.Adagrad, (0.3, 32), (3, 51), (0.3, 350), (3, 11), (0.3, 22)),
    (hl.Adadelta, (10, 85), (1, 820), None, (10, 180), (0.3, 358)),
    (hl.RMSprop, (0.1, 1), (0.01, 440), (0.003, 1475), (0.01, 468), (0.001, 643)),
    (hl.Rprop, (0.3, 29), (3, 31), (0.01, 140), (0.3, 15), (0.1, 16)),
    (hl.Lion, None, (0.01, 762), None, (0.01, 644), (0.003, 552)),
    (hl.ScheduleFreeSGD, (0.3, 231), (10, 22), (0.03, 712), (10, 19), (1, 63)),
    (hl.ScheduleFreeAdamW, (0.3, 61), (1, 49), (0.3, 285), (1, 36), (0.3, 27)),
]  # fmt: skip
CASES = [
    (make(cell[0]), problem, cell[1])
    for make, *cells in STEPS_NEEDED
    for problem, cell in zip(PROBLEMS, cells, strict=True)
    if cell is not None
]


@pytest.mark.kernels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("optimizer", "problem", "steps"), CASES, ids=[f"{o}-{problem.__name__}" for o, problem, _ in CASES]
)
def test_reaches_the_value_in_the_steps_of_the_table(optimizer, problem, steps, dtype):
    start, value, gradient_of = problem()
    path = walk(optimizer, gradient_of, start, 2 * steps + 10, dtype=dtype, predicting=True)
    above = np.flatnonzero([not value(theta.astype(float)) < PROBLEMS[problem] for theta in path])
    needed = above[-1] + 2 if above.size else 1
    if dtype == "float64":  # but for rounding, which differs a little between processors
        assert needed == pytest.approx(steps, rel=0.1, abs=1), "correct the table if it needs fewer"
    else:
        assert needed <= 2 * steps


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
        (lambda: hl.Adam(amsgrad=1), InvalidTypeError, "amsgrad"),
        (lambda: hl.SGD(hl.Cosine), InvalidTypeError, "lr"),
        (lambda: hl.AdamW(weight_decay=-1), InvalidValueError, "weight_decay"),
        (lambda: hl.NAdam(momentum_decay=-1), InvalidValueError, "momentum_decay"),
        (lambda: hl.RAdam(betas=(0.9, 1.0)), InvalidValueError, "betas[1]"),
        (lambda: hl.Adagrad(initial_accumulator=-1), InvalidValueError, "initial_accumulator"),
        (lambda: hl.Adadelta(rho=1.0), InvalidValueError, "rho"),
        (lambda: hl.RMSprop(alpha=1.0), InvalidValueError, "alpha"),
        (lambda: hl.RMSprop(centered="yes"), InvalidTypeError, "centered"),
        (lambda: hl.Rprop(decay), InvalidTypeError, "lr"),
        (lambda: hl.Rprop(etas=(1.2, 0.5)), InvalidValueError, "etas"),
        (lambda: hl.Rprop(etas=0.5), InvalidTypeError, "etas"),
        (lambda: hl.Rprop(step_sizes=(1.0, 0.5)), InvalidValueError, "step_sizes"),
        (lambda: hl.Lion(betas=(0.9, "b")), InvalidTypeError, "betas[1]"),
        (lambda: hl.Lion(weight_decay=-1), InvalidValueError, "weight_decay"),
        (lambda: hl.ScheduleFreeSGD(-1.0), InvalidValueError, "lr"),
        (lambda: hl.ScheduleFreeSGD(momentum=1.0), InvalidValueError, "momentum"),
        (lambda: hl.ScheduleFreeSGD(weight_decay=-1), InvalidValueError, "weight_decay"),
        (lambda: hl.ScheduleFreeSGD(warmup_steps=2**53), InvalidValueError, "warmup_steps"),
        (lambda: hl.ScheduleFreeSGD(warmup_steps=-1), InvalidValueError, "warmup_steps"),
        (lambda: hl.ScheduleFreeSGD(warmup_steps=2.5), InvalidTypeError, "warmup_steps"),
        (lambda: hl.ScheduleFreeSGD(r=-0.5), InvalidValueError, "r"),
        (lambda: hl.ScheduleFreeAdamW(betas=(0.9,)), InvalidTypeError, "betas"),
        (lambda: hl.ScheduleFreeAdamW(eps=-1e-8), InvalidValueError, "eps"),
        (lambda: hl.ScheduleFreeAdamW(weight_lr_power=-2), InvalidValueError, "weight_lr_power"),
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
    for optimizer in (optimizer for optimizer, _ in VARIANTS.values() if optimizer.lr is not decay):
        assert eval(repr(optimizer), vars(hl).copy()) == optimizer
    assert repr(hl.SGD(0.1)) == "SGD(lr=0.1, momentum=0.0, nesterov=False)"
    assert repr(hl.Adam(1e-3)) == "Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08, amsgrad=False)"


def test_descriptions_are_frozen_and_betas_become_a_tuple():
    optimizer = hl.Adam(betas=[0.9, 0.99])
    assert optimizer.betas == (0.9, 0.99)
    assert hash(optimizer) == hash(hl.Adam(betas=(0.9, 0.99)))
    with pytest.raises(AttributeError):
        optimizer.lr = 1.0


@pytest.mark.kernels
@pytest.mark.parametrize("betas", [(0.0, 0.0), (0.3, 0.9), (0.9, 0.3), (0.5, 0.5), (0.9, 0.999)])
def test_small_gradients_of_adam_after_large_ones(betas):
    """In float32 the averages are accurate to a few roundings, whatever came before, and v never negative."""
    rng = np.random.default_rng(0)
    gradients = (10.0 ** rng.uniform(-5, 5, (30, 50)) * rng.standard_normal((30, 50))).astype(np.float32)
    gradients[rng.random(gradients.shape) < 0.2] = 0
    optimizer = hl.Adam(0.1, betas=betas)
    state, theta = np.zeros((2, 50), np.float32), np.zeros(50, np.float32)
    update = update_of(optimizer, 30, state)
    m = v = scale = np.zeros(50)
    for step, gradient in enumerate(gradients):
        take_step(optimizer, update, step, theta, gradient, 0, 50)
        g = gradient.astype(np.float64)
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        scale = betas[0] * scale + (1 - betas[0]) * np.abs(g)  # m is a difference of numbers of this size
        assert (np.abs(state[0] - m) <= 2e-6 * scale + 1e-37).all()
        np.testing.assert_allclose(state[1], v, rtol=2e-6, atol=1e-37)
        assert np.isfinite(theta).all()


KERNELS = [  # kernel, how many vectors it takes, how many numbers
    (sgd.gradient_step, 2, 1),
    (sgd.momentum_step, 3, 3),
    (adam.amsgrad_step, 5, 6),
    (adam_kin.adamax_step, 4, 4),
    (adam_kin.nadam_step, 4, 6),
    (adam_kin.radam_step, 4, 5),
    (adam_kin.adabelief_step, 4, 5),
    (adaptive.adagrad_step, 3, 3),
    (adaptive.adadelta_step, 4, 3),
    (adaptive.rmsprop_step, 5, 5),
    (sign.rprop_step, 4, 5),
    (sign.lion_step, 3, 4),
    (schedulefree.schedule_free_sgd_step, 4, 4),
    (schedulefree.schedule_free_adamw_step, 5, 7),
]


@pytest.mark.skipif(not COMPILED, reason="only compiled code turns float32 into float64")
@pytest.mark.parametrize(("step", "vectors", "numbers"), KERNELS, ids=lambda k: getattr(k, "__name__", k))
def test_float32_steps_hold_no_float64(step, vectors, numbers):
    arguments = (numba.float32[::1],) * vectors + (numba.float64,) * numbers
    fresh = numba.njit(fastmath=FLAGS, error_model="numpy", nogil=True, _nrt=False)(step.py_func)
    fresh.compile(arguments)
    code = fresh.inspect_llvm(arguments)
    assert "fptrunc" in code
    assert "fpext" not in code


def test_the_example_of_the_notes():
    """``notes/001``: w² + 4w + 4 from 0 with the rate 0.4."""
    path = walk(hl.SGD(0.4), lambda w: 2 * w + 4, [0.0], 4)
    np.testing.assert_allclose(path.ravel(), [-1.6, -1.92, -1.984, -1.9968], rtol=1e-15)


@pytest.mark.parametrize("optimizer", [hl.NAdam(), hl.NAdam(betas=(0.0, 0.9)), hl.NAdam(betas=(0.999, 0.9))])
def test_far_steps_of_nadam_cost_no_more_and_are_the_same(optimizer):
    """The product of the momenta of all steps so far vanishes, so it need not be taken to the end."""
    t = np.arange(1, 200_003)
    mu = optimizer.betas[0] * (1 - 0.5 * 0.96 ** (t * optimizer.momentum_decay))
    product = np.cumprod(mu)
    for first in (0, 7, 300, 199_990):
        steps = np.arange(first, first + 10)
        scalars = scalars_of(optimizer, steps)
        rate = 2e-3 * np.sqrt(1 - optimizer.betas[1] ** (steps + 1.0))
        np.testing.assert_allclose(scalars[:, 0], rate * (1 - mu[steps]) / (1 - product[steps]), rtol=1e-13)
        np.testing.assert_allclose(scalars[:, 2], rate * mu[steps + 1] / (1 - product[steps + 1]), rtol=1e-13)
    assert scalars_of(optimizer, np.arange(10**15, 10**15 + 2)).shape == (2, 3)
    assert scalars_of(optimizer, np.arange(0)).shape == (0, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [hl.Adam, hl.AdamW, hl.NAdam, hl.Adamax])
def test_without_memory_each_step_is_that_of_its_gradient(kind, dtype):
    """Both β are 0, and of the gradient little is left in its difference from the last."""
    gradients = np.array([1.0, -1e-3, 1e-5, -1e-3, 1.0])
    steps = iter(gradients)
    options = {"weight_decay": 0.0} if kind is hl.AdamW else {}
    optimizer = kind(0.1, (0.0, 0.0), eps=1e-12, **options)
    path = walk(optimizer, lambda w: np.full_like(w, next(steps)), [0.0], 5, dtype=dtype)
    step = np.diff(path[:, 0], prepend=0.0)
    np.testing.assert_allclose(step, -0.1 * np.sign(gradients), rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_memory_no_schedule_free_step_is_larger_than_its_rate(dtype):
    """β₂ is 0, so g / √v is a sign: z moves by the rate, and θ, between z and its mean, by no more."""
    gradients = iter([1.0, -1e-3, 1e-5, -1e-3, 1.0])
    optimizer = hl.ScheduleFreeAdamW(0.1, betas=(0.9, 0.0), eps=1e-12, weight_decay=0.0)
    path = walk(optimizer, lambda w: np.full_like(w, next(gradients)), [0.0], 5, dtype=dtype)
    assert np.abs(np.diff(path[:, 0], prepend=0.0)).max() < 0.101


def test_state_takes_no_more_slots_than_are_used():
    assert [hl.RMSprop().slots, hl.RMSprop(momentum=0.5).slots, hl.RMSprop(centered=True).slots] == [1, 2, 2]
    assert [hl.SGD().slots, hl.SGD(momentum=0.5).slots, hl.Adam().slots, hl.Adam(amsgrad=True).slots] == [
        0,
        1,
        2,
        3,
    ]

"""Penalties and limits: their kernels, steps with each, and what training reports of them."""

import copy
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hotloop as hl
import reference
from helpers import classes, loss_and_gradient, net, refuses, values
from hotloop import penalties
from hotloop._jit import COMPILED
from hotloop.errors import DivergenceError

FACE = pytest.mark.skipif(not COMPILED, reason="the face is tested compiled")
DATA = {"softmax_cross_entropy": classes(75), "mse": values(75, outputs=3)}
X, Y = DATA["softmax_cross_entropy"]
PENALTIES = {
    "L1": hl.L1(0.02),
    "L1 proximal": hl.L1(0.1, proximal=True),
    "L2": hl.L2(0.3),
    "ElasticNet": hl.ElasticNet(0.05, beta=3.0),
    "ElasticNet proximal": hl.ElasticNet(0.05, beta=3.0, proximal=True),
    "L0": hl.L0(7),
    "MaxNorm": hl.MaxNorm(0.8),
    "Nuclear": hl.Nuclear(0.2, every=3),
}
each_penalty = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def trainer_of(penalty=None, *, model=None, loss="softmax_cross_entropy", **options):
    """A trainer of 4-8-3 in float64 with plain SGD, five steps an epoch."""
    model = net(4, 8, 3) if model is None else model
    return hl.Trainer(
        model, loss=loss, penalty=penalty, **{"optimizer": hl.SGD(RATE), "batch_size": 16} | options
    )


RATE = hl.Exponential(0.2, 0.95)


def rate_of(step):
    return 0.2 * 0.95**step


# Kernels.


@st.composite
def vectors(draw, elements=None):
    """float32 or float64: small whole numbers with ties and zeros, or anything from tiny to huge."""
    dtype = draw(st.sampled_from(["float32", "float64"]))
    most = 1e30 if dtype == "float32" else 1e100
    width = 32 if dtype == "float32" else 64
    wide = st.floats(
        -np.dtype(dtype).type(most), np.dtype(dtype).type(most), width=width, allow_subnormal=False
    )
    each = draw(st.sampled_from([st.integers(-3, 3), wide]))
    return np.array(draw(st.lists(each, min_size=1, max_size=40)), dtype)


strengths = st.sampled_from([0.0, 1e-4, 0.3, 7.0])


@pytest.mark.kernels
@given(w=vectors(), l1=strengths, l2=strengths)
def test_value_and_gradient_are_those_of_the_formula(w, l1, l2):
    x = w.astype(np.float64)
    assert penalties.penalty_value(w, l1, l2) == pytest.approx(
        l1 * np.abs(x).sum() + l2 * (x**2).sum() / 2, rel=1e-12
    )
    grad = np.linspace(-1, 1, w.size).astype(w.dtype)
    before, kept = grad.astype(np.float64), w.copy()
    penalties.penalty_gradient(w, grad, l1, l2)
    expected = before + l1 * np.sign(x) + l2 * x
    scale = np.abs(before) + l1 + l2 * np.abs(x)
    assert (np.abs(grad - expected) <= 4 * np.finfo(w.dtype).eps * scale).all()
    np.testing.assert_array_equal(w, kept)


@pytest.mark.kernels
@given(w=vectors(), amount=st.sampled_from([0.0, 1e-4, 1.0, 2.0, 1e20]))
def test_soft_threshold_is_that_of_the_formula(w, amount):
    expected = reference.soft_threshold(w.astype(np.float64), np.float64(w.dtype.type(amount)))
    penalties.soft_threshold(w, amount)
    np.testing.assert_array_equal(w, expected.astype(w.dtype))


@pytest.mark.kernels
@given(w=vectors(), k=st.integers(1, 45))
def test_the_k_largest_stay_and_of_equal_ones_the_first(w, k):
    expected = reference.keep_largest(w, k)
    penalties.keep_largest(w, k)
    np.testing.assert_array_equal(w, expected)


@pytest.mark.kernels
@given(data=st.data(), w=vectors(), limit=st.sampled_from([1e-6, 0.5, 3.0, 1e5]))
def test_columns_are_limited_range_by_range(data, w, limit):
    w = np.clip(w, -1e15, 1e15)
    columns = data.draw(st.integers(1, w.size))
    w = w[: w.size // columns * columns]
    lo = data.draw(st.integers(0, columns))
    hi = data.draw(st.integers(lo, columns))
    matrix = w.reshape(-1, columns)
    expected = matrix.astype(np.float64)
    expected[:, lo:hi] = reference.limit_norms(expected[:, lo:hi], limit)
    rest = np.delete(matrix, np.s_[lo:hi], axis=1)
    penalties.limit_norms(w, columns, lo, hi, limit, np.full(columns, np.nan, w.dtype))
    np.testing.assert_allclose(matrix, expected, rtol=20 * np.finfo(w.dtype).eps, atol=1e-30)
    np.testing.assert_array_equal(np.delete(matrix, np.s_[lo:hi], axis=1), rest)


@pytest.mark.kernels
@each_dtype
def test_no_kernel_hides_a_divergence(dtype):
    spoiled = np.array([np.nan, 1, -2, np.inf, 3, -np.inf], dtype)
    for change in (
        lambda w: penalties.soft_threshold(w, 0.5),
        lambda w: penalties.soft_threshold(w, np.inf),
        lambda w: penalties.keep_largest(w, 2),
        lambda w: penalties.limit_norms(w, 6, 0, 6, 1.0, np.empty(6, dtype)),
    ):
        w = spoiled.copy()
        change(w)
        assert not np.isfinite(w[[0, 3, 5]]).any(), w
    huge = np.full(4, 1e30 if dtype == "float32" else 1e300, dtype)
    penalties.limit_norms(huge, 2, 0, 2, 1.0, np.empty(2, dtype))
    assert np.isnan(huge).all()


# Steps.


def twin(model, loss, penalties_of, *, epochs, batch_size=16, scales=None, weights=None):
    """SGD in NumPy on the rows in their order: trains `model`, returns the columns of each epoch."""
    data, kernels, rates = DATA[loss], model.parameters(), []
    weights = np.ones(75) if weights is None else weights
    scale = model.views(np.ones(model.theta.size))
    for name, factor in (scales or {}).items():
        scale[name][...] = factor
    factor_of = {name: scale[name].flat[0] for name in scale}
    scale = np.concatenate([part.ravel() for part in scale.values()])
    columns = {"loss": [], "data_loss": [], "penalty": []}
    for _ in range(epochs):
        data_loss = penalty = 0.0
        for first in range(0, 75, batch_size):
            rows = slice(first, first + batch_size)
            found, gradient = loss_and_gradient(model, data[0][rows], data[1][rows], loss, weights[rows])
            share = weights[rows].sum() / weights.sum()
            data_loss += share * found
            for name, p in penalties_of.items():
                if not reference.is_proximal(p):
                    model.views(gradient)[name][...] += reference.penalty_gradient(p, kernels[name])
                elif isinstance(p, hl.ElasticNet):
                    model.views(gradient)[name][...] += p.strength * p.beta * kernels[name]
                if not isinstance(p, hl.Nuclear):
                    penalty += share * reference.penalty_value(p, kernels[name])
            rates.append(rate_of(len(rates)))
            model.theta[:] -= rates[-1] * scale * gradient
            for name, p in penalties_of.items():
                own = [factor_of[name] * rate for rate in rates]
                kernels[name][...] = reference.after_step(p, kernels[name], own)
        # Values that need a decomposition are those at the end of the epoch.
        penalty += sum(
            reference.penalty_value(p, kernels[name])
            for name, p in penalties_of.items()
            if isinstance(p, hl.Nuclear)
        )
        for name, number in (("loss", data_loss + penalty), ("data_loss", data_loss), ("penalty", penalty)):
            columns[name].append(number)
    return columns


KERNELS = ("dense_0/kernel", "dense_1/kernel")


@FACE
@each_penalty
@pytest.mark.parametrize("loss", DATA)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_20_steps_are_those_of_a_loop_in_numpy(penalty, loss, weighted):
    """75 rows: the last minibatch has 11."""
    weights = np.random.default_rng(3).uniform(0.1, 2, 75) if weighted else None
    trainer = trainer_of(penalty, loss=loss)
    slow = copy.deepcopy(trainer.model)
    history = trainer.fit(*DATA[loss], epochs=4, shuffle=False, sample_weight=weights)
    columns = twin(slow, loss, dict.fromkeys(KERNELS, penalty), epochs=4, weights=weights)
    np.testing.assert_allclose(trainer.model.theta, slow.theta, rtol=1e-9, atol=1e-12)
    if isinstance(penalty, (hl.L0, hl.MaxNorm)):
        assert "penalty" not in history
        np.testing.assert_allclose(history["loss"], columns["data_loss"], rtol=1e-10)
    else:
        for name, column in columns.items():
            np.testing.assert_allclose(history[name], column, rtol=1e-10, err_msg=name)
        np.testing.assert_array_equal(history["loss"], np.add(history["data_loss"], history["penalty"]))


OWN = {  # of the first layer, of the second, of the trainer → what each layer has
    "its own before the trainer's": (hl.L1(0.05), None, hl.L2(0.1), (hl.L1(0.05), hl.L2(0.1))),
    "L2(0) exempts": (hl.L2(0), None, hl.L2(0.1), (hl.L2(0), hl.L2(0.1))),
    "only one": (None, hl.ElasticNet(0.05, 0.5), None, (None, hl.ElasticNet(0.05, 0.5))),
    "a limit and a penalty": (hl.L0(5), None, hl.L1(0.1, True), (hl.L0(5), hl.L1(0.1, True))),
    "two kinds after the step": (
        hl.Nuclear(0.1, 2), hl.Nuclear(0.3, 5), hl.MaxNorm(1), (hl.Nuclear(0.1, 2), hl.Nuclear(0.3, 5)),
    ),
}  # fmt: skip


@FACE
@pytest.mark.parametrize(("first", "second", "default", "found"), OWN.values(), ids=OWN)
def test_a_layers_penalty_is_in_place_of_the_trainers(first, second, default, found):
    layers = [hl.Dense(8, "tanh", penalty=first), hl.Dense(3, penalty=second)]
    model = hl.Sequential(layers, input_dim=4, dtype="float64")
    slow, trainer = copy.deepcopy(model), trainer_of(default, model=model)
    history = trainer.fit(X, Y, epochs=4, shuffle=False)
    penalties_of = {name: p for name, p in zip(KERNELS, found, strict=True) if p is not None}
    columns = twin(slow, "softmax_cross_entropy", penalties_of, epochs=4)
    np.testing.assert_allclose(model.theta, slow.theta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(history["penalty"], columns["penalty"], rtol=1e-10)


@FACE
@each_penalty
def test_the_rate_of_a_layer_scales_what_comes_after_the_step(penalty):
    layers = [hl.Dense(8, "tanh", lr_scale=0.5), hl.Dense(3)]
    model = hl.Sequential(layers, input_dim=4, dtype="float64")
    slow, trainer = copy.deepcopy(model), trainer_of(penalty, model=model)
    trainer.fit(X, Y, epochs=4, shuffle=False)
    scales = {"dense_0/kernel": 0.5, "dense_0/bias": 0.5}
    twin(slow, "softmax_cross_entropy", dict.fromkeys(KERNELS, penalty), epochs=4, scales=scales)
    np.testing.assert_allclose(model.theta, slow.theta, rtol=1e-9, atol=1e-12)


@FACE
@pytest.mark.torch
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_l2_is_the_weight_decay_of_pytorch(momentum):
    torch = pytest.importorskip("torch")
    model = net(4, 8, 3)
    kernels = [torch.tensor(model.parameters()[name].copy(), requires_grad=True) for name in KERNELS]
    biases = [torch.zeros(8, dtype=torch.float64, requires_grad=True),
              torch.zeros(3, dtype=torch.float64, requires_grad=True)]  # fmt: skip
    groups = [{"params": kernels, "weight_decay": 0.3}, {"params": biases, "weight_decay": 0.0}]
    peer = torch.optim.SGD(groups, lr=0.1, momentum=momentum)
    inputs, targets = torch.tensor(X), torch.tensor(Y)
    for _ in range(20):
        peer.zero_grad()
        outputs = torch.tanh(inputs @ kernels[0] + biases[0]) @ kernels[1] + biases[1]
        torch.nn.functional.cross_entropy(outputs, targets).backward()
        peer.step()
    trainer = trainer_of(hl.L2(0.3), model=model, optimizer=hl.SGD(0.1, momentum=momentum), batch_size=None)
    trainer.fit(X, Y, epochs=20)
    for name, expected in zip((*KERNELS, "dense_0/bias", "dense_1/bias"), (*kernels, *biases), strict=True):
        np.testing.assert_allclose(
            model.parameters()[name], expected.detach().numpy(), rtol=1e-10, atol=1e-12, err_msg=name
        )


@dataclasses.dataclass(frozen=True)
class OverRows(penalties.Penalty):
    """A penalty as it is for a minibatch of so many rows; it goes with 1 / rows."""

    of: penalties.Penalty
    rows: int

    @property
    def code(self):
        return self.of.code

    def options(self):
        return self.of.options()

    def term(self):
        return self.of.term()._replace(rows=self.rows)


@FACE
@pytest.mark.parametrize("name", ["L1", "L1 proximal", "L2", "ElasticNet", "ElasticNet proximal"])
def test_a_penalty_may_go_with_1_over_the_rows_of_the_minibatch(name):
    """The kernel of the second layer has a penalty of its own, which stays as it is."""

    def trained(model, penalty, lo, hi):
        trainer = trainer_of(penalty, model=model, optimizer=hl.SGD(0.1))
        return trainer.fit(X[lo:hi], Y[lo:hi], epochs=1, shuffle=False)["penalty"][0]

    layers = [hl.Dense(8, "tanh"), hl.Dense(3, penalty=hl.L2(0.2))]
    at_once, in_two = (hl.Sequential(layers, input_dim=4, dtype="float64") for _ in range(2))
    penalty = PENALTIES[name]
    found = trained(at_once, OverRows(penalty, 16), 0, 27)
    larger = dataclasses.replace(penalty, strength=penalty.strength * 16 / 11)
    head, tail = trained(in_two, penalty, 0, 16), trained(in_two, larger, 16, 27)
    np.testing.assert_allclose(at_once.theta, in_two.theta, rtol=1e-12, atol=1e-15)
    assert found == pytest.approx((16 * head + 11 * tail) / 27, rel=1e-12)


def with_everything(**options):
    """A network with biases, γ and β, and slopes."""
    layers = [hl.Dense(8), hl.BatchNorm(), hl.Activation("prelu"), hl.Dense(3)]
    return hl.Sequential(layers, input_dim=4, **{"dtype": "float64"} | options)


@FACE
@each_penalty
def test_only_kernels_are_penalised(penalty):
    """One step from the same weights: the gradients of all else are the same."""
    penalty = hl.Nuclear(0.2, every=1) if isinstance(penalty, hl.Nuclear) else penalty
    plain, other = (trainer_of(p, model=with_everything(), batch_size=None) for p in (None, penalty))
    for trainer in (plain, other):
        for name, part in trainer.model.parameters().items():
            if "kernel" not in name:
                part[:] = np.linspace(1, 2, part.size)  # far above any limit
        trainer.fit(X, Y, epochs=1)
    for name, part in plain.model.parameters().items():
        same = np.array_equal(part, other.model.parameters()[name])
        assert same == ("kernel" not in name), name


@FACE
@each_penalty
@each_dtype
def test_threads_and_blocks_change_nothing(penalty, dtype, monkeypatch):
    def trained(n_threads=1):
        trainer = trainer_of(penalty, model=with_everything(dtype=dtype), n_threads=n_threads)
        trainer.fit(X, Y, epochs=4)
        return trainer

    whole = trained()
    for n_threads in (2, 3, 5):
        other = trained(n_threads)
        np.testing.assert_array_equal(other.model.theta, whole.model.theta)
        assert dict(other.history) == dict(whole.history)
    monkeypatch.setattr("hotloop.session.BLOCK_SECONDS", 1e-12)  # one step a block
    other = trained()
    np.testing.assert_array_equal(other.model.theta, whole.model.theta)
    assert dict(other.history) == dict(whole.history)
    monkeypatch.undo()
    row = 8 * (4 + 1 + 1)
    for steps in (2, 3):
        monkeypatch.setattr("hotloop.session.BLOCK_BYTES", steps * 16 * row)
        np.testing.assert_array_equal(trained().model.theta, whole.model.theta)


@FACE
@each_penalty
def test_4_epochs_saved_and_6_are_10(penalty, tmp_path):
    """Five steps an epoch: with `every=3` the fourth ends between two decompositions."""
    whole, first = trainer_of(penalty), trainer_of(penalty)
    whole.fit(X, Y, epochs=10)
    first.fit(X, Y, epochs=4)
    first.save(tmp_path / "training")
    second = hl.Trainer.load(tmp_path / "training")
    assert second.penalty == penalty
    assert repr(second) == repr(first)
    for trainer in (second, copy.deepcopy(first)):
        trainer.fit(X, Y, epochs=6)
        np.testing.assert_array_equal(trainer.model.theta, whole.model.theta)
        assert dict(trainer.history) == dict(whole.history)


@FACE
@each_penalty
@pytest.mark.parametrize("rate", [1e30, 1e300])
def test_a_divergence_is_seen(penalty, rate):
    """Whatever a step does to weights that are not finite, it must not make them look well."""

    def rates(steps):
        return np.where(steps == 6, rate, 0.01)

    model = net(4, 8, 3, dtype="float32", activation="relu")
    trainer = trainer_of(penalty, model=model, loss="mse", optimizer=hl.SGD(rates))
    with pytest.raises(DivergenceError):
        trainer.fit(*DATA["mse"], epochs=4, shuffle=False)
    assert np.isfinite(trainer.model.theta).all()
    assert trainer.step in (6, 7)


# What each is for.


class AfterEachStep(hl.Callback):
    """Runs a function on the kernels after each epoch of one step."""

    def __init__(self, check):
        self.check = check

    def on_epoch_end(self, trainer, epoch, logs):
        for name in KERNELS:
            self.check(trainer.model.parameters()[name])


@FACE
def test_only_the_proximal_step_makes_exact_zeros():
    zeros = {}
    for proximal in (False, True):
        trainer = trainer_of(hl.L1(0.05, proximal=proximal), optimizer=hl.SGD(0.1))
        trainer.fit(X, Y, epochs=40)
        zeros[proximal] = int((trainer.model.parameters()["dense_0/kernel"] == 0).sum())
    assert zeros[False] == 0
    assert zeros[True] >= 5


@FACE
@pytest.mark.parametrize("n_threads", [1, 2])
def test_l0_keeps_exactly_k_after_every_step(n_threads):
    def check(w):
        counts.append(np.count_nonzero(w))

    counts = []
    trainer = trainer_of(hl.L0(5), optimizer=hl.Adam(0.05), batch_size=None, n_threads=n_threads)
    trainer.fit(X, Y, epochs=15, callbacks=AfterEachStep(check))
    assert counts == [5] * 30


@FACE
def test_max_norm_holds_after_every_step():
    def check(w):
        norms.append(np.linalg.norm(w, axis=0))

    norms = []
    trainer = trainer_of(hl.MaxNorm(0.5), optimizer=hl.Adam(0.05), batch_size=None)
    trainer.fit(X, Y, epochs=15, callbacks=AfterEachStep(check))
    norms = np.concatenate(norms)
    assert norms.max() <= 0.5 * (1 + 1e-12)
    assert (norms > 0.5 * (1 - 1e-12)).sum() > 10


@FACE
def test_the_nuclear_norm_lowers_the_rank():
    rank = {}
    for penalty in (None, hl.Nuclear(0.3, every=5)):
        trainer = trainer_of(penalty, model=net(4, 8, 3), optimizer=hl.SGD(0.05))
        trainer.fit(X, Y, epochs=60)
        rank[penalty is None] = np.linalg.matrix_rank(trainer.model.parameters()["dense_0/kernel"], tol=1e-9)
    assert rank[True] == 4
    assert rank[False] < 4


@FACE
@pytest.mark.parametrize("every", [1, 4, 7, 100])
def test_the_proximal_step_is_due_after_every_so_many_steps(every, monkeypatch):
    """Counted over the life of the trainer, however its steps come in fits and blocks."""
    shrunk, trainer = [], trainer_of(hl.Nuclear(0.1, every=every), batch_size=25, optimizer=hl.SGD(RATE))
    plain = hl.Nuclear.shrink

    def shrink(self, w, rate):
        if w.shape == (4, 8):
            shrunk.append(rate)
        plain(self, w, rate)

    monkeypatch.setattr(hl.Nuclear, "shrink", shrink)
    monkeypatch.setattr("hotloop.session.BLOCK_BYTES", 2 * 25 * 8 * 6)  # blocks of two steps
    for _ in range(2):
        trainer.fit(X, Y, epochs=4)  # three steps each
    due = [range(first, first + every) for first in range(0, 24 - every + 1, every)]
    assert shrunk == pytest.approx([sum(map(rate_of, steps)) for steps in due], rel=1e-12)


@FACE
@each_penalty
def test_validation_has_no_penalty(penalty):
    trainer = trainer_of(penalty)
    history = trainer.fit(X, Y, epochs=2, validation_data=(X, Y))
    plain = trainer_of(model=trainer.model).evaluate(X, Y)
    assert history["val_loss"][-1] == plain["loss"]
    assert trainer.evaluate(X, Y) == plain


@FACE
def test_a_plain_fit_has_no_column_of_penalties():
    assert list(trainer_of().fit(X, Y, epochs=1)) == ["loss", "accuracy", "lr"]
    columns = list(trainer_of(hl.L2(0.1)).fit(X, Y, epochs=1))
    assert columns == ["loss", "accuracy", "data_loss", "penalty", "lr"]


# The objective.

SMOOTH = {name: p for name, p in PENALTIES.items() if not isinstance(p, (hl.L0, hl.MaxNorm))}


@FACE
@pytest.mark.parametrize("penalty", SMOOTH.values(), ids=SMOOTH)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_objective_has_the_penalty(penalty, n_threads):
    model = with_everything()
    model.theta[:] = np.random.default_rng(0).uniform(0.3, 1, model.theta.size)  # away from 0
    model.theta[::2] *= -1
    theta = model.theta.copy()
    plain, other = (
        hl.Objective(model, X, Y, loss="softmax_cross_entropy", penalty=p, batch_size=16, n_threads=n_threads)
        for p in (None, penalty)
    )
    kernels = {name: w for name, w in model.parameters().items() if "kernel" in name}
    extra = sum(reference.penalty_value(penalty, w) for w in kernels.values())
    assert other.value(theta) == pytest.approx(plain.value(theta) + extra, rel=1e-12)
    value, gradient = other.value_and_gradient(theta)
    assert value == other.value(theta)
    difference = model.views(gradient - plain.gradient(theta))
    for name, part in difference.items():
        expected = reference.penalty_gradient(penalty, kernels[name]) if name in kernels else 0
        np.testing.assert_allclose(part, np.broadcast_to(expected, part.shape), atol=1e-12, err_msg=name)
    assert hl.check_gradient(other, theta).passed
    assert other.astype("float32").value(theta) == pytest.approx(value, rel=1e-5)


@FACE
@pytest.mark.parametrize("limit", [hl.L0(3), hl.MaxNorm(1.0)])
def test_a_limit_is_no_part_of_an_objective(limit):
    with refuses(ValueError, "penalty"):
        hl.Objective(net(4, 3), X, Y, loss="softmax_cross_entropy", penalty=limit)
    model = hl.Sequential([hl.Dense(3, penalty=limit)], input_dim=4)
    with refuses(ValueError, "penalty"):
        hl.Objective(model, X, Y, loss="softmax_cross_entropy")


# What is refused.

WRONG = {
    "strength": (lambda: hl.L1(-1), ValueError),
    "strength ": (lambda: hl.L2("a"), TypeError),
    "strength  ": (lambda: hl.Nuclear(np.inf), ValueError),
    "strength   ": (lambda: hl.ElasticNet(np.nan, 1), ValueError),
    "beta": (lambda: hl.ElasticNet(1, -1), ValueError),
    "proximal": (lambda: hl.L1(1, proximal=1.5), TypeError),
    "k": (lambda: hl.L0(0), ValueError),
    "k ": (lambda: hl.L0(1.5), TypeError),
    " k": (lambda: hl.L0(10**400), ValueError),
    "limit": (lambda: hl.MaxNorm(0), ValueError),
    "every": (lambda: hl.Nuclear(1, every=0), ValueError),
    "penalty": (lambda: trainer_of(0.1), TypeError),
    "penalty ": (lambda: hl.Dense(3, penalty="l2"), TypeError),
    "penalty  ": (lambda: trainer_of(hl.L2), TypeError),
}


@FACE
@pytest.mark.parametrize(("name", "wrong"), WRONG.items(), ids=WRONG)
def test_wrong_arguments_are_named(name, wrong):
    make, error = wrong
    with refuses(error, name.strip()):
        make()


@FACE
@each_penalty
@pytest.mark.parametrize("where", ["trainer", "layer"])
def test_schedule_free_takes_only_gradients(penalty, where):
    model = hl.Sequential([hl.Dense(3, penalty=penalty if where == "layer" else None)], input_dim=4)
    default = penalty if where == "trainer" else None
    if reference.is_proximal(penalty) or isinstance(penalty, (hl.L0, hl.MaxNorm)):
        with refuses(ValueError, "penalty"):
            trainer_of(default, model=model, optimizer=hl.ScheduleFreeSGD(0.1))
    else:
        trainer_of(default, model=model, optimizer=hl.ScheduleFreeSGD(0.1)).fit(X, Y, epochs=1)


def test_repr_rebuilds_each():
    for penalty in PENALTIES.values():
        assert eval(repr(penalty), vars(hl)) == penalty

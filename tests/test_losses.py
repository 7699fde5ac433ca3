"""Losses: a new member is a row of `reference.LOSSES` and of `CASES`."""

import re
from typing import NamedTuple

import numba
import numpy as np
import pytest

import hotloop as hl
import reference
from helpers import net
from hotloop import losses
from hotloop._jit import COMPILED, FLAGS
from hotloop.losses import LOSSES, WHOLE_BATCH, Criterion, criterion_of, losses_of_rows

pytestmark = pytest.mark.kernels

TOLERANCE = {"float32": 2e-6, "float64": 1e-13}
FLOATS = list(TOLERANCE)


def classes(rng, n, n_out):
    """Labels, the first and the last among them."""
    return np.concatenate([[0, n_out - 1], rng.integers(0, n_out, n - 2)])[:, None].astype(float)


def values(rng, n, n_out):
    return rng.standard_normal((n, n_out))


def half_as_many(rng, n, n_out):
    return values(rng, n, n_out // 2)


def signs(rng, n, n_out):
    return np.concatenate([[-1, 1], rng.choice([-1, 1], n - 2)])[:, None].astype(float)


def counts(rng, n, n_out):
    return rng.poisson(2, (n, n_out)).astype(float)


def truths(rng, n, n_out):
    """0 and 1, and what lies between."""
    return np.concatenate([rng.integers(0, 2, (n - 2, n_out)), rng.uniform(size=(2, n_out))])


def shares(rng, n, n_out):
    """Rows of probabilities; the first two are certain."""
    certain = np.eye(n_out)[[0, n_out - 1]]
    return np.concatenate([certain, rng.dirichlet(np.ones(n_out), n - 2)])


class Case(NamedTuple):
    """A loss, how its targets look, and for how many outputs."""

    loss: hl.losses.Loss
    targets: object
    n_outs: tuple = (2, 3, 10, 33)
    options: tuple = ()  # of the twin
    has_tangents: bool = True  # differentiable everywhere
    torch: object = None  # function (F, outputs, targets) → a loss a row, or their sum over outputs


def softmax_of_torch(F, z, y, **options):
    return F.cross_entropy(z, y[:, 0].long() if y.shape[1] == 1 else y, reduction="none", **options)


def gaussian_of_torch(F, z, y):
    k = y.shape[1]
    return F.gaussian_nll_loss(z[:, :k], y, z[:, k:].exp(), full=True, reduction="none")


CASES = {
    "mse": Case(LOSSES["mse"], values, (1, 2, 33),
        torch=lambda F, z, y: F.mse_loss(z, y, reduction="none")),
    "mae": Case(LOSSES["mae"], values, (1, 2, 33), has_tangents=False,
        torch=lambda F, z, y: F.l1_loss(z, y, reduction="none")),
    "huber": Case(LOSSES["huber"], values, (1, 2, 33),
        torch=lambda F, z, y: F.huber_loss(z, y, reduction="none")),
    "huber, wide": Case(losses.Huber(delta=2.5), values, (1, 2, 33), (2.5,),
        torch=lambda F, z, y: F.huber_loss(z, y, delta=2.5, reduction="none")),
    "gaussian_nll": Case(LOSSES["gaussian_nll"], half_as_many, (2, 4, 10), torch=gaussian_of_torch),
    "poisson_nll": Case(LOSSES["poisson_nll"], counts, (1, 2, 33),
        torch=lambda F, z, y: F.poisson_nll_loss(z, y, reduction="none")),
    "softmax_cross_entropy": Case(LOSSES["softmax_cross_entropy"], classes, torch=softmax_of_torch),
    "softmax_cross_entropy, shares": Case(LOSSES["softmax_cross_entropy"], shares, torch=softmax_of_torch),
    "softmax_cross_entropy, smooth": Case(losses.SoftmaxCrossEntropy(0.125), classes, options=(0.125,),
        torch=lambda F, z, y: softmax_of_torch(F, z, y, label_smoothing=0.125)),
    "softmax_cross_entropy, both": Case(losses.SoftmaxCrossEntropy(0.125), shares, options=(0.125,),
        torch=lambda F, z, y: softmax_of_torch(F, z, y, label_smoothing=0.125)),
    "kl_divergence": Case(LOSSES["kl_divergence"], shares,
        torch=lambda F, z, y: F.kl_div(F.log_softmax(z, dim=1), y, reduction="none")),
    "sigmoid_cross_entropy": Case(LOSSES["sigmoid_cross_entropy"], truths, (1, 2, 33),
        torch=lambda F, z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none")),
    "hinge": Case(LOSSES["hinge"], signs, (1,), has_tangents=False,
        torch=lambda F, z, y: (1 - y * z).clamp(min=0)),
    "hinge, classes": Case(LOSSES["hinge"], classes, has_tangents=False),
    "squared_hinge": Case(LOSSES["squared_hinge"], signs, (1,),
        torch=lambda F, z, y: (1 - y * z).clamp(min=0) ** 2),
    "squared_hinge, classes": Case(LOSSES["squared_hinge"], classes, has_tangents=False),
    "perceptron": Case(LOSSES["perceptron"], signs, (1,), has_tangents=False,
        torch=lambda F, z, y: (-y * z).clamp(min=0)),
    "perceptron, classes": Case(LOSSES["perceptron"], classes, has_tangents=False),
}  # fmt: skip

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
each_case_and_width = pytest.mark.parametrize(
    ("case", "n_out"),
    [pytest.param(case, n, id=f"{name}-{n}") for name, case in CASES.items() for n in case.n_outs],
)


def run(loss, outputs, targets):
    """(loss of each row, delta of each row) by the kernel."""
    loss = LOSSES[loss] if isinstance(loss, str) else loss
    targets = targets.astype(outputs.dtype)
    criterion = criterion_of(loss, outputs.dtype)
    outputs, targets = np.ascontiguousarray(outputs), np.ascontiguousarray(targets)
    delta, (found, hits) = np.full_like(outputs, np.nan), np.empty((2, len(outputs)))
    ones = np.ones(len(outputs), outputs.dtype)
    losses_of_rows(criterion, outputs.ravel(), targets, ones, 1.0, delta.ravel(), found, hits)
    return found, delta


def hit(loss, outputs, target):
    """How much of the target the outputs of one sample hit, by the kernel."""
    outputs, delta, (found, hits) = np.array(outputs, float), np.empty(len(outputs)), np.empty((2, 1))
    criterion = criterion_of(loss, outputs.dtype)
    losses_of_rows(criterion, outputs, np.array([target], float), np.ones(1), 1.0, delta, found, hits)
    return hits[0]


def twin(case, outputs, targets):
    """The same by the twin, in float64."""
    value, gradient = reference.LOSSES[case.loss.name]
    exact = outputs.astype(np.float64), targets.astype(np.float64)
    return value(*exact, *case.options), gradient(*exact, *case.options)


def data_of(case, n=24, seed=0, n_out=None):
    """(model, X, y) on which the loss can be trained; y as a user gives it."""
    rng = np.random.default_rng(seed)
    model = net(3, 6, n_out or case.n_outs[min(1, len(case.n_outs) - 1)])
    y = case.targets(rng, n, model.output_dim)
    X = rng.standard_normal((n, 3)) + y[:, :1]
    return model, X, y[:, 0].astype(int) if case.targets in (classes, signs) else y


def test_every_member_has_a_twin_a_case_and_a_code_of_its_own():
    assert set(reference.LOSSES) == set(LOSSES) == {case.loss.name for case in CASES.values()}
    assert len({loss.code for loss in LOSSES.values()}) == len(LOSSES)
    assert all(loss.name == name for name, loss in LOSSES.items())
    valued = (values, half_as_many, counts)
    assert all(case.loss.has_accuracy == (case.targets not in valued) for case in CASES.values())


def test_codes_are_append_only():
    codes = {loss.name: loss.code for loss in LOSSES.values()}
    assert codes == {
        "mse": 0, "softmax_cross_entropy": 1, "mae": 2, "huber": 3, "sigmoid_cross_entropy": 4,
        "gaussian_nll": 5, "poisson_nll": 6, "hinge": 7, "squared_hinge": 8, "perceptron": 9,
        "kl_divergence": 10,
    }  # fmt: skip


def test_a_code_that_is_not_known_gives_no_number():
    row, found = np.zeros(1), np.zeros(1)
    known = criterion_of(LOSSES["mae"], row.dtype)
    losses_of_rows(
        Criterion(99, 0.0, known.address), row, row[:, None], row, 1.0, row.copy(), found, row.copy()
    )
    assert np.isnan(found)


@pytest.mark.parametrize("dtype", FLOATS)
@each_case_and_width
def test_value_and_gradient_are_those_of_the_twin(case, n_out, dtype):
    rng = np.random.default_rng(n_out)
    outputs = (3 * rng.standard_normal((12, n_out))).astype(dtype)
    targets = case.targets(rng, 12, n_out).astype(dtype)
    loss, delta = run(case.loss, outputs, targets)
    value, gradient = twin(case, outputs, targets)
    # A difference of large numbers, as eᶻ − y, is as exact as they are.
    for found, expected in ((loss, value), (delta, gradient)):
        scale = max(1.0, np.abs(expected).max()) if "nll" in case.loss.name else 1.0
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=scale * TOLERANCE[dtype])


@each_case_and_width
def test_gradient_is_that_of_the_value(case, n_out):
    """At outputs of no structure, which meet no kink."""
    rng = np.random.default_rng(0)
    outputs, targets = rng.standard_normal((4, n_out)), case.targets(rng, 4, n_out)
    numerical = reference.central_differences(lambda at: run(case.loss, at, targets)[0].sum(), outputs)
    np.testing.assert_allclose(run(case.loss, outputs, targets)[1], numerical, rtol=1e-7, atol=1e-7)


@pytest.mark.torch
@each_case_and_width
def test_value_and_gradient_are_those_of_pytorch(case, n_out):
    torch = pytest.importorskip("torch", reason="PyTorch is the peer here, and is not installed")
    if case.torch is None:
        pytest.skip("PyTorch has no such loss")
    rng = np.random.default_rng(n_out)
    outputs, targets = rng.standard_normal((12, n_out)), case.targets(rng, 12, n_out)
    z = torch.tensor(outputs, requires_grad=True)
    peer = case.torch(torch.nn.functional, z, torch.tensor(targets)).reshape(12, -1).sum(dim=1)
    peer.sum().backward()
    loss, delta = run(case.loss, outputs, targets)
    np.testing.assert_allclose(loss, peer.detach().numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(delta, z.grad.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
@each_case
def test_extreme_outputs_stay_finite(case, dtype):
    n_out = case.n_outs[min(1, len(case.n_outs) - 1)]
    pattern = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]], dtype)
    outputs = pattern[:, np.arange(n_out) % 3]
    rng = np.random.default_rng(0)
    for targets in (case.targets(rng, 4, n_out), case.targets(rng, 4, n_out)[::-1]):
        loss, delta = run(case.loss, outputs, targets)
        assert np.isfinite(loss).all()
        assert np.isfinite(delta).all()
        value, gradient = twin(case, outputs, targets.astype(dtype))
        np.testing.assert_allclose(loss, value, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(delta, gradient, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("far", [1e4, -1e4])
def test_small_differences_of_large_logits_are_kept(far, dtype):
    """In float32 the step between numbers near 1e4 is 1/1024."""
    near = np.array([[far, far + 0.5, far - 0.25]], dtype)
    for name in ("softmax_cross_entropy", "hinge", "squared_hinge", "perceptron"):
        for label in range(3):
            y = np.array([[float(label)]])
            shifted = run(name, near - near[:, :1], y)
            for found, expected in zip(run(name, near, y), shifted, strict=True):
                np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@each_case
def test_a_row_of_no_weight_is_not_there(case, bad, dtype):
    """Nor its outputs, whatever they are."""
    rng = np.random.default_rng(0)
    n_out = case.n_outs[min(1, len(case.n_outs) - 1)]
    outputs = np.full((3, n_out), 0.25, dtype)
    outputs[1, 0] = bad
    targets, weights = case.targets(rng, 3, n_out).astype(dtype), np.array([1, 0, 2], dtype)
    delta, (found, hits) = np.full(3 * n_out, np.nan, dtype), np.empty((2, 3))
    criterion = criterion_of(case.loss, outputs.dtype)
    losses_of_rows(criterion, outputs.ravel(), targets, weights, 0.5, delta, found, hits)
    of_each = run(case.loss, outputs, targets)[1]
    np.testing.assert_array_equal(delta.reshape(3, n_out)[1], 0)
    np.testing.assert_allclose(
        delta.reshape(3, n_out)[[0, 2]], of_each[[0, 2]] * [[0.5], [1]], rtol=TOLERANCE[dtype]
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@each_case
def test_outputs_that_are_not_finite_give_a_loss_that_is_not(case, bad):
    n_out = case.n_outs[min(1, len(case.n_outs) - 1)]
    for place in range(n_out):
        outputs = np.full((1, n_out), 0.25)
        outputs[0, place] = bad
        rng = np.random.default_rng(0)
        # Labels that the infinite output is not: where it is right, a margin has no loss.
        targets = {classes: np.array([[(place + 1) % n_out]]), signs: np.array([[-1]])}.get(case.targets)
        targets = case.targets(rng, 2, n_out)[:1] if targets is None else targets
        assert not np.isfinite(run(case.loss, outputs, targets.astype(float))[0]).any()


@each_case
def test_an_objective_passes_the_check_of_its_gradient(case):
    model, X, y = data_of(case)
    objective = hl.Objective(model, X, y, loss=case.loss)
    check = hl.check_gradient(objective, n_directions=4, step=1e-5 if case.has_tangents else 1e-7,
                              **({} if case.has_tangents else {"tolerance": 1e-5}))  # fmt: skip
    assert check, f"relative error {check.relative_error:.3g}"


@pytest.mark.parametrize("dtype", FLOATS)
@each_case
def test_training_lowers_the_loss(case, dtype):
    model, X, y = data_of(case, n=32 if COMPILED else 8)
    model = hl.Sequential(model.layers, input_dim=3, dtype=dtype, seed=1)
    trainer = hl.Trainer(model, loss=case.loss, optimizer=hl.Adam(0.02), batch_size=8)
    before = trainer.evaluate(X, y)
    history = trainer.fit(X, y, epochs=25 if COMPILED else 3, validation_data=(X, y))
    after = trainer.evaluate(X, y)
    assert after["loss"] < before["loss"]
    assert ("accuracy" in history) == ("accuracy" in after) == case.loss.has_accuracy
    if case.loss.has_accuracy:
        assert 0 <= after["accuracy"] <= 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax_deltas_sum_to_zero(dtype):
    rng = np.random.default_rng(1)
    outputs = (5 * rng.standard_normal((20, 7))).astype(dtype)
    delta = run("softmax_cross_entropy", outputs, classes(rng, 20, 7))[1]
    np.testing.assert_allclose(delta.sum(axis=1), 0, atol=4 * np.finfo(dtype).eps)


def test_uniform_logits_cost_the_log_of_the_classes():
    loss, _ = run("softmax_cross_entropy", np.full((3, 10), -123.0), np.array([[0], [5], [9]]))
    np.testing.assert_allclose(loss, np.log(10), rtol=1e-15)


def test_mse_is_the_sum_over_outputs_without_a_half():
    loss, delta = run("mse", np.array([[1.0, 5.0]]), np.array([[0.0, 3.0]]))
    assert loss == [5.0]
    np.testing.assert_array_equal(delta, [[2.0, 4.0]])


def test_hit_is_the_first_largest_output():
    for outputs, label, expected in [
        ([1, 2, 3], 2, 1), ([1, 2, 3], 1, 0), ([3, 2, 1], 0, 1), ([2, 2, 1], 0, 1), ([2, 2, 1], 1, 0),
    ]:  # fmt: skip
        assert hit(LOSSES["softmax_cross_entropy"], outputs, [label]) == expected
    assert hit(LOSSES["mse"], [1.0], [1.0]) == 0


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_out", [2, 3, 7, 8, 9, 10, 15, 16, 17])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 33])
def test_few_classes_are_as_many_classes(n, n_out, dtype):
    """Where rows fit a vector, and groups of rows do not come out even; ties, NaN, and no weight among them.

    With weights of probability the general form counts, so that both are compared.
    """
    rng = np.random.default_rng(n)
    outputs = rng.integers(-3, 4, (n, n_out)).astype(dtype)
    outputs[n // 2, n_out // 2] += 0.25
    if n > 4:
        outputs[1, n_out - 1], outputs[4, 0] = np.nan, np.inf
    labels = rng.integers(0, n_out, (n, 1))
    weights = rng.choice([0.0, 0.5, 2.0], n).astype(dtype)
    criterion = criterion_of(LOSSES["softmax_cross_entropy"], np.dtype(dtype))

    def results(targets):
        around = np.full(n * n_out + 64, 7, dtype)
        delta, (found, hits) = around[32 : 32 + n * n_out], np.empty((2, n))
        losses_of_rows(criterion, outputs.ravel(), targets, weights, 0.25, delta, found, hits)
        np.testing.assert_array_equal(around[:32], 7)
        np.testing.assert_array_equal(around[32 + n * n_out :], 7)
        return delta, found, hits

    few, many = results(labels.astype(dtype)), results(np.eye(n_out, dtype=dtype)[labels[:, 0]])
    for one, other in zip(few[:2], many[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    np.testing.assert_array_equal(few[2], many[2])
    peaks = np.argmax(outputs, axis=1) == labels[:, 0]
    np.testing.assert_array_equal(few[2], np.isfinite(outputs).all(axis=1) & peaks)


@pytest.mark.parametrize("name", LOSSES)
def test_hits(name):
    """By hand, for each kind of target."""
    cases = {
        classes: [([1, 2, 2], [1], 1), ([1, 2, 2], [2], 0), ([3, 2, 2], [0], 1)],
        shares: [([1, 2, 0], [0.2, 0.5, 0.3], 1), ([1, 2, 0], [0.5, 0.5, 0], 0)],
        signs: [([0.1], [1], 1), ([0.1], [-1], 0), ([-0.1], [-1], 1), ([0], [-1], 1)],
        truths: [([1, -1, 2, 0], [1, 0, 0, 0.25], 0.75), ([-3], [0], 1), ([-3], [0.75], 0)],
    }  # fmt: skip
    for case in CASES.values():
        if case.loss.name == name:
            for outputs, target, expected in cases.get(case.targets, [([1, 1], [1, 1], 0)]):
                goal = target[: len(target) // case.loss.outputs_a_target]
                assert hit(case.loss, outputs, goal) == expected


def test_slopes_at_kinks():
    """As the docstrings say: 0 for mae and hinge, that of a mistake for the perceptron."""
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    assert run("mae", one, one)[1] == 0
    assert run("hinge", one, one)[1] == 0
    assert run("perceptron", zero, one)[1] == -1
    assert run("perceptron", zero, -one)[1] == 1
    np.testing.assert_array_equal(run("perceptron", np.zeros((1, 3)), one)[1], [[1, -1, 0]])
    np.testing.assert_array_equal(run("hinge", np.zeros((1, 3)), 0 * one)[1], [[-1, 1, 0]])


def test_a_perfect_distribution_has_no_divergence():
    p = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
    loss, delta = run("kl_divergence", np.array([np.log(p[0]), [0, -1e4, -1e4]]), p)
    np.testing.assert_allclose(loss, 0, atol=1e-15)
    np.testing.assert_allclose(delta, 0, atol=1e-15)


WEIGHTS = (2.0, 0.5, 1.0)


@pytest.mark.torch
def test_class_weights_are_those_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is the peer here, and is not installed")
    model, X, y = data_of(CASES["softmax_cross_entropy"], n_out=3)
    loss = losses.SoftmaxCrossEntropy(class_weight=WEIGHTS)
    found = hl.Trainer(model, loss=loss).evaluate(X, y)["loss"]
    peer = torch.nn.functional.cross_entropy(
        torch.tensor(model.predict(X)), torch.tensor(y), weight=torch.tensor(WEIGHTS, dtype=torch.float64)
    )
    assert found == pytest.approx(float(peer), rel=1e-12)


@pytest.mark.parametrize("weights", [WEIGHTS, np.array(WEIGHTS), list(WEIGHTS), {0: 2, 1: 0.5}])
def test_class_weights_are_sample_weights(weights):
    own = np.linspace(0, 2, 24)
    _, X, y = data_of(CASES["softmax_cross_entropy"], n_out=3)
    weighted = losses.SoftmaxCrossEntropy(class_weight=weights)
    of_row = np.take(WEIGHTS, y)
    for given, total in ((None, of_row), (own, own * of_row)):
        theta = []
        for loss, rows in ((weighted, given), ("softmax_cross_entropy", total)):
            model = net(3, 6, 3)
            trainer = hl.Trainer(model, loss=loss, batch_size=7)
            trainer.fit(X, y, sample_weight=rows, epochs=2)
            theta.append(model.theta)
        np.testing.assert_array_equal(*theta)
    one_hot = hl.Objective(net(3, 6, 3), X, np.eye(3)[y], loss=weighted)
    labels = hl.Objective(net(3, 6, 3), X, y, loss=weighted)
    theta = labels.model.theta
    assert one_hot.value(theta) == pytest.approx(labels.value(theta), rel=1e-14)


def test_a_loss_is_written_as_it_is_given():
    model = net(3, 2)
    for loss, text in (
        ("huber", "loss='huber'"),
        (losses.Huber(1), "loss='huber'"),
        (losses.Huber(2), "loss=Huber(delta=2.0)"),
        (losses.SoftmaxCrossEntropy(class_weight=np.ones(2)), "class_weight=(1.0, 1.0))"),
    ):
        assert text in repr(hl.Trainer(model, loss=loss))


def test_an_objective_keeps_its_options_in_another_precision():
    model, X, y = data_of(CASES["huber"])
    objective = hl.Objective(model, X, y, loss=losses.Huber(0.1))
    assert objective.astype("float32").loss == losses.Huber(0.1)


@pytest.mark.skipif(not COMPILED, reason="compiled kernels have signatures")
def test_no_loss_compiles_the_loop_again():
    from hotloop.engine.loop import evaluate_block, gradient_block, train_block

    before = None
    for case in CASES.values():
        model, X, y = data_of(case)
        hl.Trainer(model, loss=case.loss).fit(X, y, epochs=1, validation_data=(X, y))
        hl.Objective(model, X, y, loss=case.loss).gradient(model.theta)
        kernels = (train_block, evaluate_block, gradient_block, losses_of_rows)
        found = [len(kernel.signatures) for kernel in kernels]
        before = before or found
        assert found == before


@pytest.mark.skipif(not COMPILED, reason="only compiled code turns float32 into float64")
@pytest.mark.parametrize(
    "name", ["mae", "huber", "gaussian_nll", "poisson_nll", "hinge", "squared_hinge", "perceptron"]
)
def test_float32_code_holds_no_float64(name):
    """Of the kernels of one sample."""
    row = numba.float32[::1]
    options = (numba.float32,) * (name == "huber")
    arguments = (row, row, row, *options)
    fresh = numba.njit(fastmath=FLAGS, error_model="numpy", nogil=True, _nrt=False)(
        getattr(losses, name).py_func
    )
    fresh.compile(arguments)
    assert fresh.overloads[arguments].signature.return_type == numba.float32
    # Without the wrapper that hands the result to Python, as a double.
    code = fresh.inspect_llvm(arguments).split("define ")
    assert len(code) > 1
    assert not any("fpext" in part for part in code if "cpython" not in part.split("{")[0])


@pytest.mark.skipif(not COMPILED, reason="only compiled code turns float32 into float64")
@pytest.mark.parametrize("name", ["mse", "softmax_cross_entropy", "kl_divergence"])
def test_loops_over_a_batch_in_float32_stay_so(name):
    """The samples' losses become float64; no vectors are computed so. (Sums of sigmoid's terms may be.)"""
    row, numbers = numba.float32[::1], numba.float64[::1]
    targets, scale = numba.float32[:, ::1], numba.float64
    arguments = (numba.int64, scale, row, targets, row, scale, row, numbers, numbers)
    fresh = numba.njit(fastmath=FLAGS, error_model="numpy", nogil=True, _nrt=False)(
        WHOLE_BATCH[LOSSES[name].code].py_func
    )
    fresh.compile(arguments)
    code = fresh.inspect_llvm(arguments)
    assert " x float>" in code, "no loop vectorises"
    # But for the weights of samples of one output, times the scale.
    operations = "add|sub|div" if name == "mse" else "add|sub|mul|div"
    assert not re.search(rf"= f({operations})\b[a-z ]*<\d+ x double>", code)


@pytest.mark.parametrize("n_out", [1, 2])
def test_squares_of_float32_are_float32(n_out):
    """Also in the loop of one output, whose weights alone are multiplied in float64."""
    outputs = np.random.default_rng(n_out).standard_normal(100 * n_out).astype(np.float32)
    targets, weights = np.zeros((100, n_out), np.float32), np.ones(100, np.float32)
    delta, (found, hits) = np.empty_like(outputs), np.empty((2, 100))
    criterion = criterion_of(LOSSES["mse"], np.dtype(np.float32))
    losses_of_rows(criterion, outputs, targets, weights, 0.01, delta, found, hits)
    assert (found == found.astype(np.float32)).all()
    assert (found != (outputs.astype(float).reshape(100, n_out) ** 2).sum(axis=1)).any()


@pytest.mark.parametrize("n_out", [1, 2])
def test_squares_of_samples_whose_weights_are_huge(n_out):
    """A factor of a sample's error is of ordinary size, though the scale alone is too small for float32."""
    outputs = np.arange(3.0 * n_out, dtype=np.float32)
    targets, weights = np.zeros((3, n_out), np.float32), np.full(3, 1e38, np.float32)
    delta, (found, hits) = np.empty_like(outputs), np.empty((2, 3))
    criterion = criterion_of(LOSSES["mse"], np.dtype(np.float32))
    losses_of_rows(criterion, outputs, targets, weights, 1 / 3e38, delta, found, hits)
    np.testing.assert_allclose(delta, 2 / 3 * outputs, rtol=1e-6)

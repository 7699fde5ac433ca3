"""Kinds of critical points, the way down from saddles, and searches for points where the gradient is 0."""

import numpy as np
import pytest

import hotloop as hl
from helpers import net, quadratic, refuses, values
from hotloop._jit import COMPILED

pytest.importorskip("scipy")


def in_plane(value, gradient):
    return hl.Function(value, 2, gradient=gradient, hessian="differences")


CUBE = in_plane(lambda t: t[0] ** 3 + t[1] ** 2, lambda t: [3 * t[0] ** 2, 2 * t[1]])
MONKEY = in_plane(
    lambda t: t[0] ** 3 - 3 * t[0] * t[1] ** 2, lambda t: [3 * t[0] ** 2 - 3 * t[1] ** 2, -6 * t[0] * t[1]]
)
PRODUCT = in_plane(
    lambda t: (1 - t[0] * t[1]) ** 2,
    lambda t: [-2 * t[1] * (1 - t[0] * t[1]), -2 * t[0] * (1 - t[0] * t[1])],
)
"""The loss of the notes' smallest network, ŷ = w₁ w₂ x, at x = y = 1."""
HIMMELBLAU = in_plane(
    lambda t: (t[0] ** 2 + t[1] - 11) ** 2 + (t[0] + t[1] ** 2 - 7) ** 2,
    lambda t: [
        4 * t[0] * (t[0] ** 2 + t[1] - 11) + 2 * (t[0] + t[1] ** 2 - 7),
        2 * (t[0] ** 2 + t[1] - 11) + 4 * t[1] * (t[0] + t[1] ** 2 - 7),
    ],
)

POINTS = {  # function, θ, kind, index, minimum ratio
    "bowl": (quadratic(np.diag([1.0, 3.0])), [0, 0], "local minimum", 0, 1.0),
    "hill": (quadratic(np.diag([-1.0, -3.0])), [0, 0], "local maximum", 2, 0.0),
    "x² − y²": (quadratic(np.diag([2.0, -2.0])), [0, 0], "saddle", 1, 0.5),
    "on its slope": (quadratic(np.diag([2.0, -2.0])), [1, 0], "not critical", 1, 0.5),
    "x³ + y²": (CUBE, [0, 0], "degenerate", 0, 0.5),
    "monkey saddle": (MONKEY, [0, 0], "degenerate", 0, 0.0),
    "trough": (quadratic(np.diag([1.0, 0.0, 2.0])), [0, 5, 0], "degenerate", 0, 2 / 3),
    "saddle and flat": (quadratic(np.diag([1.0, 0.0, -2.0])), [0, 5, 0], "saddle", 1, 1 / 3),
    "a tiny eigenvalue": (quadratic(np.diag([1.0, -1e-7])), [0, 0], "degenerate", 0, 0.5),
    "w₁w₂ at 0": (PRODUCT, [0, 0], "saddle", 1, 0.5),
    "w₁w₂ at its valley": (PRODUCT, [2, 0.5], "degenerate", 0, 0.5),
    "Himmelblau's minimum": (HIMMELBLAU, [3, 2], "local minimum", 0, 1.0),
}


@pytest.mark.parametrize(("function", "theta", "kind", "index", "ratio"), POINTS.values(), ids=POINTS)
def test_kinds(function, theta, kind, index, ratio):
    found = hl.critical_point(function, theta)
    assert (found.kind, found.index) == (kind, index)
    assert found.minimum_ratio == hl.Estimate(ratio, 0.0)
    assert found.negative_ratio == hl.Estimate(index / function.size, 0.0)
    assert found.value == function.value(theta)
    assert found.gradient_norm == pytest.approx(np.linalg.norm(function.gradient(theta)))
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(function.hessian(theta)))


def test_tolerances_decide():
    tiny = quadratic(np.diag([1.0, -1e-7]))
    assert hl.critical_point(tiny, [0, 0], eigenvalue_tol=1e-8).kind == "saddle"
    near = [1e-3, 0.0]
    assert hl.critical_point(tiny, near).kind == "not critical"
    found = hl.critical_point(tiny, near, tol=1e-2)
    assert (found.kind, found.tol, found.zero) == ("degenerate", 1e-2, 1e-6)


def spectrum(*eigenvalues, seed=0):
    """A quadratic with these eigenvalues and random eigenvectors."""
    w = np.concatenate([np.atleast_1d(part) for part in eigenvalues])
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(w), len(w))))[0]
    return quadratic((Q * w) @ Q.T)


BOTH_WAYS = {
    "minimum": spectrum(np.linspace(0.1, 1, 200), 30.0),
    "maximum": spectrum(np.linspace(-2, -0.5, 200)),
    "saddle": spectrum(np.linspace(-1, 2, 201)),
    "saddle of index 1": spectrum(np.zeros(150), -0.5, np.linspace(1, 2, 50)),
    "degenerate": spectrum(np.zeros(100), np.linspace(1, 2, 100)),
    "flat": spectrum(np.zeros(50)),
}


@pytest.mark.parametrize("function", BOTH_WAYS.values(), ids=BOTH_WAYS)
def test_by_lanczos_as_by_all_eigenvalues(function):
    theta = np.zeros(function.size)
    exact, found = (hl.critical_point(function, theta, method=m) for m in ("dense", "lanczos"))
    assert found.kind == exact.kind
    assert found.index in (exact.index, None)
    assert (found.index is None) == (exact.kind == "saddle")
    for name in ("minimum_ratio", "negative_ratio"):
        true, estimated = getattr(exact, name).value, getattr(found, name)
        assert abs(estimated.value - true) <= 3 * estimated.error + 0.01 <= 0.2
    ends = exact.eigenvalues[[0, 1, 2, -3, -2, -1]]
    np.testing.assert_allclose(found.eigenvalues, ends, atol=1e-4 * np.abs(ends).max())


def test_the_smallest_sizes_by_lanczos():
    three = quadratic(np.diag([-1.0, 2.0, 3.0]))
    found = hl.critical_point(three, np.zeros(3), method="lanczos")
    np.testing.assert_allclose(found.eigenvalues, [-1, 3])
    with refuses(ValueError, "k"):
        hl.critical_point(quadratic([[1.0]]), [0.0], method="lanczos")


def linear_network(depth):
    """The loss of a linear network of width 3 that learns the identity."""
    layers = [hl.Dense(3, use_bias=False, kernel_init="zeros") for _ in range(depth)]
    model = hl.Sequential(layers, input_dim=3, dtype="float64")
    X = np.random.default_rng(0).standard_normal((20, 3))
    return hl.Objective(model, X, X, loss="mse")


def test_a_linear_autoencoder_has_a_saddle_at_0():
    """With one hidden layer; with two the Hessian at 0 is 0. Kawaguchi, *Deep learning without poor
    local minima*, 2016, corollary 2.4."""
    shallow, deep = linear_network(2), linear_network(3)
    found = hl.critical_point(shallow, np.zeros(18))
    # At 0 L is ‖X‖² − 2 tr(W₁W₂XᵀX)/n + …: each eigenvalue of 2XᵀX/n three times, with either sign.
    X = np.random.default_rng(0).standard_normal((20, 3))
    size = np.repeat(np.linalg.eigvalsh(2 * X.T @ X / 20), 3)
    np.testing.assert_allclose(found.eigenvalues, np.sort(np.r_[-size, size]), rtol=1e-6)
    assert (found.kind, found.index, found.minimum_ratio.value) == ("saddle", 9, 0.5)
    left = hl.escape_saddle(shallow, np.zeros(18))
    assert left.eigenvalue == pytest.approx(found.eigenvalues[0])
    assert left.actual < 0
    assert hl.critical_point(deep, np.zeros(27)).kind == "degenerate"
    with refuses(ValueError, "theta"):
        hl.escape_saddle(deep, np.zeros(27))


def test_the_step_of_the_notes():
    left = hl.escape_saddle(PRODUCT, [0.0, 0.0], step=0.5)
    assert left.eigenvalue == pytest.approx(-2)
    np.testing.assert_allclose(np.abs(left.theta), 0.5 * np.sqrt(0.5))
    assert left.theta[0] * left.theta[1] == pytest.approx(1 / 8)
    assert (left.step, left.predicted) == (0.5, pytest.approx(-0.25))
    assert left.actual == pytest.approx((1 - 1 / 8) ** 2 - 1)


def test_the_lower_of_both_sides_is_taken():
    tilted = in_plane(
        lambda t: t[0] ** 2 - t[1] ** 2 + t[1] ** 3, lambda t: [2 * t[0], -2 * t[1] + 3 * t[1] ** 2]
    )
    left = hl.escape_saddle(tilted, [0.0, 0.0])
    np.testing.assert_allclose(left.direction, [0, -1], atol=1e-9)
    assert left.actual == pytest.approx(-2)


@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_a_long_step_is_halved_until_the_loss_falls(method):
    n = 40
    D = np.r_[-1.0, np.linspace(1, 2, n - 1)]
    quartic = hl.Function(
        lambda t: t @ (D * t) / 2 + (t**4).sum(), n,
        gradient=lambda t: D * t + 4 * t**3, hvp=lambda t, v: v * (D + 12 * t**2),
    )  # fmt: skip
    left = hl.escape_saddle(quartic, np.zeros(n), step=8.0, method=method)
    assert left.step == 0.5  # at 1 the quartic term wins
    assert left.predicted == pytest.approx(-0.125, rel=1e-6)
    assert left.actual == pytest.approx(-0.125 + 0.5**4, rel=1e-5)
    assert quartic.value(left.theta) - quartic.value(np.zeros(n)) == left.actual


def test_the_slope_is_part_of_the_prediction():
    theta = np.array([0.0, 0.1])
    left = hl.escape_saddle(quadratic(np.diag([2.0, -2.0])), theta)
    assert left.predicted == pytest.approx(left.actual) == pytest.approx(0.01 - 1.1**2)


def test_a_saddle_too_flat_for_its_loss_is_said():
    """In the loss's own rounding nothing falls."""
    high = in_plane(lambda t: 1e9 + 1e-9 * (t[0] ** 2 - t[1] ** 2), lambda t: [2e-9 * t[0], -2e-9 * t[1]])
    with refuses(ValueError, "step"):
        hl.escape_saddle(high, [0.0, 0.0])


both_methods = pytest.mark.parametrize("method", ["newton", "gradient_norm"])


@both_methods
def test_all_kinds_of_points_are_found(method):
    """Himmelblau's function has four minima, four saddles and a maximum."""
    starts = np.random.default_rng(0).uniform(-4, 4, (12, 2))
    searches = [hl.find_critical_point(HIMMELBLAU, start, method=method) for start in starts]
    assert all(search.converged for search in searches)
    for search in searches:
        assert np.linalg.norm(HIMMELBLAU.gradient(search.theta)) <= 1e-8
        assert search.gradient_norms[-1] == pytest.approx(np.linalg.norm(HIMMELBLAU.gradient(search.theta)))
        assert np.all(np.diff(search.gradient_norms) < 0)
        assert search.n_iter == len(search.gradient_norms) - 1
    kinds = {hl.critical_point(HIMMELBLAU, search.theta).kind for search in searches}
    assert kinds == {"local minimum", "local maximum", "saddle"}


@both_methods
@pytest.mark.parametrize("flat", [0, 5])
def test_quadratics(method, flat):
    """Indefinite, and singular with a gradient in the range of H."""
    H = np.diag(np.r_[np.zeros(flat), np.linspace(-2, -0.5, 10), np.linspace(0.5, 3, 15)])
    start = np.random.default_rng(0).standard_normal(len(H))
    found = hl.find_critical_point(quadratic(H), start, method=method)
    assert found.converged
    np.testing.assert_allclose(H @ found.theta, 0, atol=1e-8)
    assert found.n_iter <= (3 if method == "newton" else 60)


@both_methods
def test_no_critical_point_is_no_success(method):
    """x³/3 + x has the gradient x² + 1, which is never 0; its norm has a minimum at 0."""
    never = hl.Function(
        lambda t: t[0] ** 3 / 3 + t[0], 1, gradient=lambda t: t**2 + 1, hessian=lambda t: [[2 * t[0]]]
    )
    found = hl.find_critical_point(never, [2.0], method=method)
    assert not found.converged
    assert "falls no further" in found.reason
    assert found.gradient_norms[-1] == pytest.approx(1)


@both_methods
def test_the_number_of_steps_is_limited(method):
    found = hl.find_critical_point(HIMMELBLAU, [4.0, -4.0], method=method, max_iter=2)
    assert (found.converged, found.n_iter) == (False, 2)
    assert found.reason == "max_iter=2 steps were taken"


def test_a_saddle_of_a_tanh_network():
    objective = hl.Objective(net(2, 3, 1), *values(20, 2, 1), loss="mse")
    found = hl.find_critical_point(objective, 0.3 * np.ones(objective.size))
    assert found.converged, found
    # All units are the same: they do not part in this search, though the loss would be lower if they did.
    point = hl.critical_point(objective, found.theta)
    assert point.kind == "saddle"
    w = np.linalg.eigvalsh(hl.numerical_hessian(objective, found.theta))
    np.testing.assert_allclose(point.eigenvalues, w, atol=1e-8 * w[-1])
    left = hl.escape_saddle(objective, found.theta)
    assert objective.value(left.theta) < objective.value(found.theta)
    assert left.predicted < 0


@pytest.mark.skipif(not COMPILED, reason="slow with the JIT off")
def test_a_network_of_a_hundred_thousand_weights_at_0():
    """L(0 + d) = L(0) − 2 tr(d₁d₂ YᵀX)/n + …, so λ is ± a singular value of 2XᵀY/n, for each hidden unit."""
    X, Y = values(20, 784, 10)
    layers = [hl.Dense(n, activation, use_bias=False) for n, activation in ((126, "tanh"), (10, "identity"))]
    model = hl.Sequential(layers, input_dim=784, dtype="float64")
    objective = hl.Objective(model, X, Y, loss="mse")
    theta, largest = np.zeros(objective.size), np.linalg.norm(2 * X.T @ Y / 20, 2)
    found = hl.critical_point(objective, theta, k=1, n_probes=2, n_steps=30)
    assert (found.kind, found.index) == ("saddle", None)
    np.testing.assert_allclose(found.eigenvalues, [-largest, largest], rtol=1e-5)
    for ratio in (found.minimum_ratio, found.negative_ratio):
        assert ratio.value == pytest.approx(10 * 126 / objective.size, rel=0.1)


ONE = quadratic(np.eye(2))
REFUSED = {  # what is called, what it raises, what the message begins with
    "no function": (lambda: hl.critical_point(abs, [0, 0]), TypeError, "objective"),
    "size": (lambda: hl.critical_point(ONE, [0, 0, 0]), ValueError, "theta"),
    "tol": (lambda: hl.critical_point(ONE, [0, 0], tol=-1), ValueError, "tol"),
    "eigenvalue_tol": (
        lambda: hl.critical_point(ONE, [0, 0], eigenvalue_tol=2),
        ValueError,
        "eigenvalue_tol",
    ),
    "method": (lambda: hl.critical_point(ONE, [0, 0], method="all"), ValueError, "method"),
    "k": (lambda: hl.critical_point(ONE, [0, 0], k=0), ValueError, "k"),
    "n_probes": (lambda: hl.critical_point(ONE, [0, 0], n_probes="5"), TypeError, "n_probes"),
    "n_steps": (lambda: hl.critical_point(ONE, [0, 0], n_steps=0), ValueError, "n_steps"),
    "seed": (lambda: hl.critical_point(ONE, [0, 0], seed=-1), ValueError, "seed"),
    "a minimum": (lambda: hl.escape_saddle(ONE, [0, 0]), ValueError, "theta"),
    "step": (lambda: hl.escape_saddle(ONE, [0, 0], step=0), ValueError, "step"),
    "search: method": (lambda: hl.find_critical_point(ONE, [0, 0], method="adam"), ValueError, "method"),
    "search: tol": (lambda: hl.find_critical_point(ONE, [0, 0], tol="0"), TypeError, "tol"),
    "search: max_iter": (lambda: hl.find_critical_point(ONE, [0, 0], max_iter=0), ValueError, "max_iter"),
}


@pytest.mark.parametrize(("call", "error", "name"), REFUSED.values(), ids=REFUSED)
def test_wrong_arguments_are_named(call, error, name):
    with refuses(error, name):
        call()

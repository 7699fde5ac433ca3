"""Eigenvalues, traces and spectral densities of Hessians, against closed forms and NumPy."""

import sys

import numpy as np
import pytest

import hotloop as hl
from helpers import net, quadratic, refuses, values
from hotloop._jit import COMPILED
from hotloop.analysis.lanczos import lanczos, ritz

scipy_linalg = pytest.importorskip("scipy.sparse.linalg")


def with_spectrum(eigenvalues, seed=0):
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(eigenvalues),) * 2))[0]
    return (Q * eigenvalues) @ Q.T


def semicircle(n=300, seed=0):
    """A random symmetric matrix; its eigenvalues fill −2 … 2 as Wigner's semicircle."""
    A = np.random.default_rng(seed).standard_normal((n, n))
    return (A + A.T) / np.sqrt(2 * n)


def network():
    """A small network's loss, and a point."""
    objective = hl.Objective(net(3, 4, 2), *values(20, 3, 2), loss="mse")
    return objective, 0.5 * np.random.default_rng(1).standard_normal(objective.size)


def linear_regression(n, features, outputs):
    """A loss whose Hessian is 2XᵀX/n for each output, and the eigenvalues of 2XᵀX/n other than 0."""
    X = np.random.default_rng(0).standard_normal((n, features))
    model = hl.Sequential([hl.Dense(outputs, use_bias=False)], input_dim=features, dtype="float32")
    return hl.Objective(model, X, np.zeros((n, outputs)), loss="mse"), np.linalg.eigvalsh(2 * X @ X.T / n)


SPECTRA = {
    "semicircle": semicircle(),
    "few large": with_spectrum(np.r_[np.linspace(-1e-3, 1e-3, 100), -0.5, 1.0, 1.5, 3.0, 10.0]),
    "low rank": with_spectrum(np.r_[np.zeros(80), -1.0, 1.5, 2.0, 4.0, 7.0, 9.0]),
    "negative": -np.diag(np.arange(1.0, 61.0)),
}
each_spectrum = pytest.mark.parametrize("H", SPECTRA.values(), ids=SPECTRA)


def expected(H, k, which):
    w = np.linalg.eigvalsh(H)
    if which == "LM":
        return np.sort(w[np.argsort(np.abs(w))[-k:]])
    low = {"LA": 0, "SA": k, "BE": k // 2}[which]
    return np.r_[w[:low], w[len(w) - (k - low) :]]


@each_spectrum
@pytest.mark.parametrize("method", ["dense", "lanczos"])
@pytest.mark.parametrize("which", ["LA", "SA", "LM", "BE"])
def test_eigenpairs_are_those_of_numpy(H, method, which):
    k = 5
    found = hl.eigsh(quadratic(H), np.ones(len(H)), k, which=which, method=method)
    scale = np.abs(np.linalg.eigvalsh(H)).max()
    np.testing.assert_allclose(found.values, expected(H, k, which), atol=1e-6 * scale)
    assert found.scale == pytest.approx(scale, rel=0.1)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(k), atol=1e-4)
    residuals = np.linalg.norm(found.vectors @ H - found.values[:, None] * found.vectors, axis=1)
    np.testing.assert_allclose(found.residuals, residuals, atol=1e-12 * scale)
    assert found.residuals.max() <= 1e-3 * scale
    assert found.vectors[range(k), np.abs(found.vectors).argmax(axis=1)].min() > 0


def test_the_largest_of_an_odd_number_from_both_ends():
    found = hl.eigsh(quadratic(np.diag([-3.0, -2.0, 0.0, 4.0, 5.0])), np.zeros(5), 3, which="BE")
    np.testing.assert_array_equal(found.values, [-3, 4, 5])


@pytest.mark.parametrize("c", [0.0, 1.0, -3.0, 0.3, -1e-9, 7e12])
def test_a_multiple_of_the_identity(c):
    for which in ("LA", "SA", "LM", "BE"):
        found = hl.eigsh(quadratic(c * np.eye(50)), np.zeros(50), 3, which=which, method="lanczos")
        np.testing.assert_allclose(found.values, c, rtol=1e-12)


def test_eigenpairs_of_a_network():
    objective, theta = network()
    H = hl.numerical_hessian(objective, theta)
    for method in ("dense", "lanczos"):
        found = hl.eigsh(objective, theta, 4, which="BE", method=method)
        np.testing.assert_allclose(found.values, expected(H, 4, "BE"), rtol=1e-6)


@pytest.mark.skipif(not COMPILED, reason="slow with the JIT off")
def test_a_large_network_in_float32():
    objective, w = linear_regression(20, features=300, outputs=40)
    theta = np.zeros(objective.size)
    found = hl.eigsh(objective, theta, 1)
    assert found.values[0] == pytest.approx(w[-1], rel=1e-5)
    assert found.residuals[0] < 1e-4 * w[-1]
    trace = hl.trace(objective, theta, n_probes=12)
    assert abs(trace.value - 40 * w.sum()) < 4 * trace.error < 0.2 * trace.value
    share = hl.spectral_density(objective, theta, n_probes=2, n_steps=30).fraction(w[0] / 2)
    assert share.value == pytest.approx(20 / 300, rel=0.05)


def test_lanczos_is_reproducible_and_counts_its_products():
    calls = []
    function = hl.Function(
        lambda t: t @ t, 200, gradient=lambda t: 2 * t, hvp=lambda t, v: calls.append(0) or v * np.arange(200)
    )
    first, again = (hl.eigsh(function, np.zeros(200), 2, method="lanczos", seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.vectors, again.vectors)
    assert first.n_hvp == again.n_hvp == len(calls) / 2
    other = hl.eigsh(function, np.zeros(200), 2, method="lanczos", seed=4)
    assert not np.array_equal(first.vectors, other.vectors)


def test_what_has_not_converged_is_said():
    crowded = quadratic(np.diag(np.r_[np.logspace(-8, 0, 300), 5.0]))
    options = {"which": "BE", "method": "lanczos", "tol": 1e-9, "max_iter": 3}
    with pytest.warns(UserWarning, match="only 1 of 2 eigenvalues converged to tol=1e-09 within 3"):
        found = hl.eigsh(crowded, np.zeros(301), 2, **options)
    np.testing.assert_allclose(found.values, [5.0])
    with refuses(ValueError, "max_iter"):
        hl.eigsh(crowded, np.zeros(301), 1, **options | {"which": "SA"})


def test_the_operator_multiplies_vectors_columns_and_matrices():
    H = semicircle(20)
    operator = hl.hessian_operator(quadratic(H), np.zeros(20))
    V = np.random.default_rng(0).standard_normal((20, 3))
    for right in (V[:, 0], V[:, :1], V):
        np.testing.assert_allclose(operator @ right, H @ right, atol=1e-14)
        np.testing.assert_allclose(operator.H @ right, H @ right, atol=1e-14)
    assert operator.shape == (20, 20)
    x, _ = scipy_linalg.minres(operator, np.ones(20))
    np.testing.assert_allclose(H @ x, 1, atol=1e-3)


def test_the_operator_keeps_its_point():
    cube = hl.Function(lambda t: (t**3).sum(), 2, gradient=lambda t: 3 * t**2, hvp=lambda t, v: 6 * t * v)
    theta = np.array([1.0, 2.0])
    operator = hl.hessian_operator(cube, theta)
    theta[:] = 0
    np.testing.assert_array_equal(operator @ [1.0, 1.0], [6, 12])


@each_spectrum
@pytest.mark.parametrize("method", ["hutch++", "hutchinson"])
def test_the_trace_lies_within_its_error(H, method):
    found = [hl.trace(quadratic(H), np.zeros(len(H)), method=method, seed=seed) for seed in range(8)]
    off = [estimate.value - np.trace(H) for estimate in found]
    errors = np.array([estimate.error for estimate in found])
    rounding = 1e-12 * np.abs(H).sum()
    assert np.all(np.abs(off) <= 4 * errors + rounding)
    assert abs(np.mean(off)) <= 3 * np.sqrt(np.mean(errors**2) / len(found)) + rounding


def test_hutch_plus_plus_takes_what_stands_out():
    H = SPECTRA["few large"]
    plain, better = (hl.trace(quadratic(H), np.zeros(len(H)), method=m) for m in ("hutchinson", "hutch++"))
    assert better.error < plain.error / 20
    low_rank = SPECTRA["low rank"]
    exact = hl.trace(quadratic(low_rank), np.zeros(len(low_rank)), n_probes=30)
    assert exact.value == pytest.approx(np.trace(low_rank), abs=1e-9)


def test_lanczos_gives_the_moments_of_its_start():
    """m nodes and weights integrate polynomials up to degree 2m − 1, as Gauss's do."""
    H, start = semicircle(40), np.random.default_rng(5).standard_normal(40)
    nodes, weights = ritz(lanczos(lambda v: H @ v, start, 6))
    u, power = start / np.linalg.norm(start), np.eye(40)
    for degree in range(12):
        assert weights @ nodes**degree == pytest.approx(u @ power @ u, abs=1e-10), degree
        power = power @ H


def test_lanczos_ends_where_the_space_does():
    H = with_spectrum(np.repeat([1.0, 2.0, 5.0], 10))
    nodes, _ = ritz(lanczos(lambda v: H @ v, np.ones(30), 20))
    np.testing.assert_allclose(nodes, [1, 2, 5])


@each_spectrum
def test_the_density_has_the_eigenvalues(H):
    w = np.linalg.eigvalsh(H)
    found = hl.spectral_density(quadratic(H), np.zeros(len(H)), n_probes=12, n_steps=60)
    assert found.density.sum() * np.diff(found.grid)[0] == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)
    assert found.nodes.min() == pytest.approx(w[0], abs=1e-3 * np.ptp(w))
    assert found.nodes.max() == pytest.approx(w[-1], abs=1e-3 * np.ptp(w))
    for low, high in ((-np.inf, -0.4), (0.5, np.inf), (-0.4, 0.5)):
        share = found.fraction(low, high)
        assert abs(share.value - np.mean((w > low) & (w <= high))) <= 4 * share.error + 0.01
    assert found.fraction() == hl.Estimate(pytest.approx(1.0), pytest.approx(0.0, abs=1e-12))


def test_the_density_is_wigner_s_semicircle():
    found = hl.spectral_density(quadratic(semicircle(600)), np.zeros(600), n_steps=40, width=0.2)
    inside = np.abs(found.grid) < 1.5
    circle = np.sqrt(4 - found.grid[inside] ** 2) / (2 * np.pi)
    np.testing.assert_allclose(found.density[inside], circle, atol=0.03)


def test_the_density_of_one_eigenvalue_has_a_width():
    for c in (0.0, 2.0):
        found = hl.spectral_density(quadratic(c * np.eye(5)), np.zeros(5))
        assert found.width > 0
        assert found.grid[found.density.argmax()] == pytest.approx(c, abs=found.width)


FUNCTION = quadratic(np.eye(3))
FIRST_ORDER = hl.Function(lambda t: t @ t, 3, gradient=lambda t: 2 * t)
NOT_FINITE = hl.Function(lambda t: t @ t, 3, gradient=lambda t: t, hessian=lambda t: np.full((3, 3), np.nan))
POINT = np.zeros(3)
DENSITY = hl.spectral_density(FUNCTION, POINT)
REFUSED = {  # what is called, what it raises, what the message begins with
    "no function": (lambda: hl.eigsh(len, POINT), TypeError, "objective"),
    "no hessian": (lambda: hl.eigsh(FIRST_ORDER, POINT, 1), ValueError, "objective"),
    "not finite": (lambda: hl.eigsh(NOT_FINITE, POINT, 1), ValueError, "theta"),
    "another size": (lambda: hl.hessian_operator(FUNCTION, np.zeros(2)), ValueError, "theta"),
    "k = 0": (lambda: hl.eigsh(FUNCTION, POINT, 0), ValueError, "k"),
    "k > size": (lambda: hl.eigsh(FUNCTION, POINT, 4), ValueError, "k"),
    "k = size by Lanczos": (lambda: hl.eigsh(FUNCTION, POINT, 3, method="lanczos"), ValueError, "k"),
    "which": (lambda: hl.eigsh(FUNCTION, POINT, 1, which="SM"), ValueError, "which"),
    "method": (lambda: hl.eigsh(FUNCTION, POINT, 1, method="qr"), ValueError, "method"),
    "tol": (lambda: hl.eigsh(FUNCTION, POINT, 1, tol=-1.0), ValueError, "tol"),
    "max_iter": (lambda: hl.eigsh(FUNCTION, POINT, 1, max_iter=0), ValueError, "max_iter"),
    "seed": (lambda: hl.eigsh(FUNCTION, POINT, 1, seed="a"), TypeError, "seed"),
    "trace: probes": (lambda: hl.trace(FUNCTION, POINT, n_probes=5), ValueError, "n_probes"),
    "trace: method": (lambda: hl.trace(FUNCTION, POINT, method="exact"), ValueError, "method"),
    "density: probes": (lambda: hl.spectral_density(FUNCTION, POINT, n_probes=1), ValueError, "n_probes"),
    "density: steps": (lambda: hl.spectral_density(FUNCTION, POINT, n_steps=0), ValueError, "n_steps"),
    "density: width": (lambda: hl.spectral_density(FUNCTION, POINT, width=0.0), ValueError, "width"),
    "density: grid": (lambda: hl.spectral_density(FUNCTION, POINT, n_grid=1), ValueError, "n_grid"),
    "fraction: order": (lambda: DENSITY.fraction(1.0, 1.0), ValueError, "low"),
    "fraction: NaN": (lambda: DENSITY.fraction(np.nan), ValueError, "low"),
    "fraction: type": (lambda: DENSITY.fraction(0.0, "1"), TypeError, "high"),
}


@pytest.mark.parametrize(("call", "error", "name"), REFUSED.values(), ids=REFUSED)
def test_wrong_arguments_are_named(call, error, name):
    with refuses(error, name):
        call()


@pytest.mark.parametrize("call", [hl.hessian_operator, hl.find_critical_point, hl.eigsh])
def test_what_needs_scipy_says_so(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse.linalg", None)
    options = {"k": 1, "method": "lanczos"} if call is hl.eigsh else {}
    with pytest.raises(hl.errors.MissingExtraError, match=r"needs scipy.*pip install 'hotloop\[analysis\]'"):
        call(FUNCTION, POINT, **options)

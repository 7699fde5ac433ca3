"""`hl.minimize`: every method on the shared problems, and what theory says of each."""

import itertools
import signal
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize

import hotloop as hl
from helpers import ROOT, python, refuses
from hotloop.analysis.minimizers.counted import Counted, Point, Stop
from hotloop.analysis.minimizers.line_search import armijo, strong_wolfe
from hotloop.analysis.minimizers.minimize import METHODS
from hotloop.analysis.problems import PROBLEMS

SECOND_ORDER = {
    "damped_newton": ("damped_newton", {}),
    "levenberg_marquardt": ("levenberg_marquardt", {}),
    "hessian_free": ("hessian_free", {}),
    "hessian_free hutchinson": ("hessian_free", {"preconditioner": "hutchinson"}),
    "hessian_free gradient": ("hessian_free", {"preconditioner": "gradient"}),
    "hessian_free gauss_newton": ("hessian_free", {"curvature": "gauss_newton"}),
    "trust-ncg": ("trust-ncg", {}),
    "trust-krylov": ("trust-krylov", {"radius": 0.5}),
}
CONJUGATE = {
    "conjugate_gradient": ("conjugate_gradient", {}),
    "conjugate_gradient fr": ("conjugate_gradient", {"beta": "fr"}),
    "conjugate_gradient hs": ("conjugate_gradient", {"beta": "hs"}),
    "conjugate_gradient optimal": ("conjugate_gradient", {"step": "optimal"}),
    "bfgs": ("bfgs", {}),
    "l-bfgs": ("l-bfgs", {}),
    "l-bfgs 3": ("l-bfgs", {"memory": 3}),
}
FIRST_ORDER = {
    "gradient_descent": ("gradient_descent", {}),
    "gradient_descent optimal": ("gradient_descent", {"step": "optimal"}),
    "gradient_descent wolfe": ("gradient_descent", {"step": "wolfe"}),
    "steepest l1": ("steepest", {"norm": "l1"}),
    "steepest l2": ("steepest", {"norm": "l2"}),
    "steepest linf": ("steepest", {"norm": "linf"}),
    "coordinate": ("coordinate", {}),
    "coordinate greedy": ("coordinate", {"order": "greedy"}),
    "coordinate random": ("coordinate", {"order": "random"}),
    "coordinate wolfe": ("coordinate", {"step": "wolfe"}),
    "random_search": ("random_search", {}),
}
ALL = SECOND_ORDER | CONJUGATE | FIRST_ORDER
CURVED = ("quadratic", "rosenbrock", "beale", "himmelblau", "saddle", "powell")
ROUNDING = 8 * np.finfo(float).eps
fast = pytest.mark.parametrize(
    ("method", "options"), (SECOND_ORDER | CONJUGATE).values(), ids=SECOND_ORDER | CONJUGATE
)
slow = pytest.mark.parametrize(("method", "options"), FIRST_ORDER.values(), ids=FIRST_ORDER)
every = pytest.mark.parametrize(("method", "options"), ALL.values(), ids=ALL)


def solve(name, method, **options):
    problem = PROBLEMS[name]
    return hl.minimize(problem.function, problem.start, method=method, **options)


def distance(name, result):
    """To the nearest minimum."""
    return min(np.linalg.norm(result.theta - minimum) for minimum in PROBLEMS[name].minima)


def assert_found(name, result):
    assert result.converged, result.message
    # Powell's function is flat to the third order at its minimum: a small gradient says little about θ.
    assert distance(name, result) < (0.1 if name == "powell" else 1e-6)
    assert result.value < 1e-10


# The shared problems.


@pytest.mark.parametrize("name", PROBLEMS)
def test_derivatives_of_the_problems_are_exact(name):
    f, start = PROBLEMS[name].function, np.array(PROBLEMS[name].start)
    rng = np.random.default_rng(0)
    theta, v = start + 0.1 * rng.standard_normal(f.size), rng.standard_normal(f.size)
    np.testing.assert_allclose(f.gradient(theta), hl.numerical_gradient(f, theta), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(f.hessian(theta), hl.numerical_hessian(f, theta), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(f.gauss_newton_product(theta, v), f.gauss_newton(theta) @ v, rtol=1e-10)
    for minimum in PROBLEMS[name].minima:
        assert f.value(minimum) < 1e-25
        assert np.linalg.eigvalsh(f.hessian(minimum))[0] > -1e-12


def test_the_network_among_the_problems_is_one_of_ours():
    model = hl.Sequential([hl.Dense(8, "tanh"), hl.Dense(1)], input_dim=1, dtype="float64")
    x = np.linspace(-3, 3, 40)
    objective = hl.Objective(model, x[:, None], np.sin(x), loss="mse")
    f, start = PROBLEMS["network"].function, PROBLEMS["network"].start
    assert f.value(start) == pytest.approx(objective.value(start), rel=1e-12)
    np.testing.assert_allclose(f.gradient(start), objective.gradient(start), rtol=1e-9, atol=1e-12)


# Every method on every problem.


def test_every_method_is_in_the_tables_and_documented():
    assert {method for method, _ in ALL.values()} | {"newton"} == set(METHODS)
    page = (ROOT / "docs" / "minimizers.md").read_text(encoding="utf-8")
    for method in METHODS:
        assert f'"{method}"' in hl.minimize.__doc__
        assert page.count(f'| `"{method}"') >= 2, method  # what it takes, and what it took


@fast
@pytest.mark.parametrize("name", CURVED)
def test_fast_methods_find_the_minimum(name, method, options):
    result = solve(name, method, max_iter=300, **options)
    assert_found(name, result)
    assert result.stopped_by == "gtol"
    assert result.gradient_norm <= 1.5e-8


@slow
@pytest.mark.parametrize("name", ["quadratic", "beale", "himmelblau", "saddle"])
def test_slow_methods_find_the_minimum(name, method, options):
    assert_found(
        name,
        solve(name, method, max_iter=20_000, gtol=None if method == "random_search" else 1e-7, **options),
    )


@slow
@pytest.mark.parametrize("name", ["rosenbrock", "powell"])
def test_slow_methods_creep_along_a_valley(name, method, options):
    """Many thousands of steps; here the first of them."""
    result = solve(name, method, max_iter=1_000, **options)
    assert (result.stopped_by, result.converged) == ("max_iter", False)
    assert result.value < 0.05 * result.values[0]


@every
@pytest.mark.parametrize("name", ["rosenbrock", "network"])
def test_no_step_goes_up(name, method, options):
    values = solve(name, method, max_iter=60, **options).values
    assert np.all(np.diff(values) <= ROUNDING * np.abs(values[:-1]))
    assert values[-1] < values[0]


@pytest.mark.parametrize(
    ("method", "options"), (SECOND_ORDER | CONJUGATE).values(), ids=SECOND_ORDER | CONJUGATE
)
def test_a_minimum_whose_value_is_not_0_is_found_to_the_same_gradient(method, options):
    """Decreases there are lost in the rounding of the value long before the gradient is small."""
    name = "rosenbrock"
    start, f = PROBLEMS[name].start, PROBLEMS[name].function
    raised = hl.Function(lambda t: f.value(t) + 10, 2, gradient=f.gradient, hessian=f.hessian)
    raised.gauss_newton, raised.gauss_newton_product = f.gauss_newton, f.gauss_newton_product
    result = hl.minimize(raised, start, method=method, **options)
    if method in ("bfgs", "l-bfgs", "trust-ncg", "trust-krylov"):
        assert result.gradient_norm < 1e-4  # SciPy looks at values alone
    else:
        assert result.stopped_by == "gtol", result.message
    assert result.value == pytest.approx(10, abs=1e-9)


# What theory says.


def test_newton_needs_one_step_on_a_quadratic():
    result = solve("quadratic", "newton")
    assert (result.n_iter, result.stopped_by, result.message.partition("; ")[2]) == (1, "gtol", "a minimum")


def test_newton_converges_quadratically():
    """‖θ − θ*‖ is at most a constant times its square before."""
    problem = PROBLEMS["himmelblau"]
    result = hl.minimize(problem.function, [3.3, 2.4], method="newton", path=True)
    errors = np.linalg.norm(result.path - [3.0, 2.0], axis=1)
    errors = errors[errors > 1e-7]
    assert len(errors) >= 4
    assert np.all(errors[1:] < errors[:-1] ** 2)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("saddle", "a saddle point: 1 of 2 eigenvalues of the Hessian are negative"),
        ("himmelblau", "a maximum"),
    ],
)
def test_newton_goes_to_any_critical_point_and_says_which(name, kind):
    result = solve(name, "newton")
    assert result.stopped_by == "gtol"
    assert kind in result.message


def test_newton_says_where_the_hessian_does_not_decide():
    f = hl.Function(lambda t: t[0] ** 3 + t[1] ** 2, 2, gradient="differences", hessian="differences")
    result = hl.minimize(f, [0.0, 0.0], method="newton", gtol=1e-6)
    assert result.message.endswith(
        "a critical point that the Hessian does not decide: 1 of 2 eigenvalues are 0"
    )


def test_newton_on_a_singular_hessian_stops():
    flat = hl.Function(
        lambda t: t[0], 2, gradient=lambda t: np.array([1.0, 0.0]), hessian=lambda t: np.zeros((2, 2))
    )
    result = hl.minimize(flat, [1.0, 1.0], method="newton")
    assert (result.stopped_by, result.n_iter, result.converged) == ("singular", 0, False)
    assert "damped_newton" in result.message


def test_the_optimal_step_is_that_of_the_notes():
    """gᵀg / gᵀHg, and the minimum along −g: the next gradient is orthogonal to this one."""
    f, start = PROBLEMS["quadratic"].function, np.array(PROBLEMS["quadratic"].start)
    result = solve("quadratic", "gradient_descent", step="optimal", max_iter=2, path=True)
    g, H = f.gradient(start), f.hessian(start)
    np.testing.assert_allclose(result.path[1], start - (g @ g) / (g @ H @ g) * g, rtol=1e-12)
    assert f.gradient(result.path[1]) @ g == pytest.approx(0, abs=1e-8 * (g @ g))
    assert result.n_hvps == 2


def test_optimal_steps_contract_as_kantorovich_says():
    """L falls by ((κ − 1)/(κ + 1))² or more a step. Nocedal & Wright, theorem 3.3."""
    values = solve("quadratic", "gradient_descent", step="optimal").values
    assert np.all(values[1:] <= (99 / 101) ** 2 * values[:-1] * (1 + 1e-9))


@pytest.mark.parametrize("step", ["optimal", "wolfe"])
@pytest.mark.parametrize("beta", ["fr", "hs", "pr+"])
def test_conjugate_gradients_end_after_as_many_steps_as_dimensions(beta, step):
    """Up to rounding: the gradient falls by a few thousand in nine steps, and all at once in the tenth."""
    norms = solve("quadratic", "conjugate_gradient", beta=beta, step=step).gradient_norms
    assert norms[9] > 1e-4 * norms[0]
    assert norms[10] < 1e-6 * norms[0]


def test_coordinate_steps_are_along_the_axes_and_exact():
    f = PROBLEMS["quadratic"].function
    path = solve("quadratic", "coordinate", max_iter=20, path=True).path
    moves = np.diff(path, axis=0)
    assert [np.flatnonzero(move).tolist() for move in moves] == [[k % 10] for k in range(20)]
    for k in range(20):
        assert f.gradient(path[k + 1])[k % 10] == pytest.approx(0, abs=1e-10)


def test_coordinates_that_do_not_interact_need_one_sweep():
    H = np.diag([2.0, 4.0, 6.0])
    f = hl.Function(lambda t: t @ H @ t / 2, 3, gradient=lambda t: H @ t, hessian=lambda t: H)
    assert hl.minimize(f, [1.0, 1.0, 1.0], method="coordinate").n_iter == 3


@pytest.mark.parametrize(
    ("norm", "direction"),
    [("l1", [0.0, -4.0]), ("l2", [-3.0, -4.0]), ("linf", [-7.0, -7.0])],
)
def test_steepest_descent_is_that_of_the_norm(norm, direction):
    slope = hl.Function(lambda t: t @ [3.0, 4.0], 2, gradient=lambda t: np.array([3.0, 4.0]))
    result = hl.minimize(slope, [0.0, 0.0], method="steepest", norm=norm, step=0.5, max_iter=1)
    np.testing.assert_array_equal(result.theta, 0.5 * np.array(direction))


def test_a_fixed_step_is_plain_gradient_descent():
    f, theta = PROBLEMS["quadratic"].function, np.array(PROBLEMS["quadratic"].start)
    result = solve("quadratic", "gradient_descent", step=0.01, max_iter=50)
    for _ in range(50):
        theta = theta - 0.01 * f.gradient(theta)
    np.testing.assert_allclose(result.theta, theta, rtol=1e-12)


def test_a_fixed_step_that_is_too_long_diverges():
    result = solve("rosenbrock", "gradient_descent", step=0.1)
    assert (result.stopped_by, result.converged) == ("diverged", False)
    assert np.isfinite(result.value)
    assert np.isfinite(result.theta).all()


def test_damped_newton_leaves_the_ridge_between_two_minima():
    """Nearly no gradient leads off it, but the negative eigenvalue of the Hessian does."""
    f = PROBLEMS["saddle"].function
    result = hl.minimize(f, [0.0, 1e-5], method="damped_newton")
    np.testing.assert_allclose(result.theta, [0.0, 1.0], atol=1e-7)
    assert hl.minimize(f, [0.0, 1e-5], method="newton").value == pytest.approx(0.25)


@pytest.mark.parametrize("method", ["levenberg_marquardt", "damped_newton", "bfgs", "hessian_free"])
def test_a_small_network_is_trained_to_the_end(method):
    result = solve("network", method, max_iter=400, callback=lambda state: state.value < 1e-8)
    assert result.stopped_by == "callback"
    assert result.n_iter < {"levenberg_marquardt": 80, "damped_newton": 120}.get(method, 400)


def test_levenberg_marquardt_trains_where_adam_stalls():
    """A network that can represent the data: the loss falls to rounding, which Adam never sees."""
    model = hl.Sequential([hl.Dense(3, "tanh"), hl.Dense(1)], input_dim=1, dtype="float64", seed=3)
    X = np.linspace(-2, 2, 30)[:, None]
    truth = np.random.default_rng(1).normal(size=model.theta.size)
    start, model.theta[:] = model.theta.copy(), truth
    y = model.predict(X)
    model.theta[:] = start
    result = hl.minimize(hl.Objective(model, X, y, loss="mse"), method="levenberg_marquardt", max_iter=500)
    assert result.converged, result.message
    assert result.gradient_norm < 1e-8
    np.testing.assert_array_equal(model.theta, start)  # as it was
    hl.Trainer(model, loss="mse", optimizer=hl.Adam(1e-2), batch_size=None).fit(X, y, epochs=500)
    assert hl.Objective(model, X, y, loss="mse").value(model.theta) > 1e4 * result.value


# Networks.


def network(dtype="float64", **options):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    y = (X[:, 0] + rng.normal(size=80) > 0).astype(int)
    model = hl.Sequential([hl.Dense(1)], input_dim=2, dtype=dtype, seed=1)
    return hl.Objective(model, X, y, loss="sigmoid_cross_entropy", penalty=hl.L2(0.1), **options)


REFERENCE = scipy.optimize.minimize(
    network().value_and_gradient, np.zeros(3), jac=True, method="BFGS", options={"gtol": 1e-9}
)


@every
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logistic_regression_ends_where_scipy_ends(dtype, method, options):
    if method == "levenberg_marquardt" or options.get("curvature") == "gauss_newton":
        return  # for sums of squares
    objective = network(dtype)
    before = objective.model.theta.copy()
    gtol = None if method == "random_search" else 1e-3
    result = hl.minimize(objective, method=method, gtol=gtol, max_iter=3000, **options)
    assert result.converged, result.message
    assert result.theta.dtype == dtype
    assert result.value == pytest.approx(REFERENCE.fun, abs=2e-5)
    assert result.value == pytest.approx(objective.value(result.theta), rel=1e-6)
    np.testing.assert_array_equal(objective.model.theta, before)
    np.testing.assert_array_equal(result.values[0], objective.value(before))


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"levenberg_marquardt", "random_search"}))
def test_the_default_tolerances_suit_float32(method):
    result = hl.minimize(network("float32"), method=method)
    assert result.converged, result.message
    assert result.gradient_norm < 1e-3


# Line searches.


def counted(function, gradient):
    f = hl.Function(lambda t: function(t[0]), 1, gradient=lambda t: np.array([gradient(t[0])]))
    return Counted(f, lambda: None)


SLOPES = {
    "parabola": (lambda x: (x - 1) ** 2, lambda x: 2 * (x - 1)),
    "far": (lambda x: (x - 1000) ** 2, lambda x: 2 * (x - 1000)),
    "near": (lambda x: (x - 1e-6) ** 2, lambda x: 2 * (x - 1e-6)),
    "steps": (lambda x: np.cos(3 * x) - x, lambda x: -3 * np.sin(3 * x) - 1),
    "moré": (lambda x: -x / (x**2 + 2), lambda x: (x**2 - 2) / (x**2 + 2) ** 2),
    "wall": (lambda x: x**2 - 4 * x if x < 3 else np.inf, lambda x: 2 * x - 4),
    "hole": (lambda x: (x - 0.3) ** 2 if x < 0.5 else np.nan, lambda x: 2 * (x - 0.3)),
}


@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize("name", SLOPES)
def test_the_wolfe_conditions_hold(name, first):
    function, gradient = SLOPES[name]
    f, start = counted(function, gradient), np.zeros(1)
    before, p = f.at(start), -f.gradient(start)
    point, t = strong_wolfe(f, before, p, first, c2=0.4)
    slope = gradient(0.0) * p[0]
    assert point.theta[0] == t * p[0]
    assert (point.value, point.gradient[0]) == (function(point.theta[0]), gradient(point.theta[0]))
    assert point.value <= function(0.0) + 1e-4 * t * slope
    assert abs(point.gradient[0] * p[0]) <= 0.4 * abs(slope)
    assert f.n_gradients <= 15


@pytest.mark.parametrize("first", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("name", SLOPES)
def test_armijo_s_condition_holds(name, first):
    function, gradient = SLOPES[name]
    f, start = counted(function, gradient), np.zeros(1)
    before = f.at(start)
    p = -before.gradient
    point, t = armijo(f, before, p, first)
    assert t <= first
    assert point.value <= function(0.0) + 1e-4 * t * gradient(0.0) * p[0]
    assert (f.n_gradients, f.n_values) < (3, 20)


def test_a_parabola_takes_two_trials():
    """The cubic through two values and two slopes is the parabola itself."""
    f = counted(*SLOPES["parabola"])
    point, _ = strong_wolfe(f, f.at(np.zeros(1)), np.ones(1), 3.0, c2=1e-6)
    assert point.theta[0] == pytest.approx(1.0, abs=1e-9)
    assert f.n_values == 3


@pytest.mark.parametrize("search", [armijo, strong_wolfe])
def test_a_direction_that_leads_up_is_refused(search):
    f = counted(*SLOPES["parabola"])
    with pytest.raises(Stop, match="does not lead down"):
        search(f, f.at(np.zeros(1)), -np.ones(1), 1.0)


@every
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_gradient_that_is_wrong_ends_the_search(value, method, options):
    if method in ("random_search", "levenberg_marquardt") or "curvature" in options:
        return
    wrong = hl.Function(
        lambda t: value + t @ t, 2, gradient=lambda t: -2 * t, hessian=lambda t: 2 * np.eye(2)
    )
    result = hl.minimize(wrong, [1.0, 2.0], method=method, **options)
    assert (result.stopped_by, result.converged, result.n_iter) == ("line search", False, 0)


def test_steps_out_of_the_dtype_are_shortened():
    f = network("float32")
    assert Counted(f, lambda: None).value(np.full(3, 1e300)) == np.inf
    assert Counted(f, lambda: None).at(np.full(3, np.nan)).value == np.inf
    assert Point(np.zeros(1), 0.0, np.zeros(1)).value == 0


# Second derivatives that are not finite, and inner loops that fail.

NEEDS_SECOND = SECOND_ORDER | {
    "newton": ("newton", {}),
    "gradient_descent optimal": ("gradient_descent", {"step": "optimal"}),
    "conjugate_gradient optimal": ("conjugate_gradient", {"step": "optimal"}),
    "coordinate": ("coordinate", {}),
}
each_second = pytest.mark.parametrize(("method", "options"), NEEDS_SECOND.values(), ids=NEEDS_SECOND)


@each_second
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_second_derivatives_that_are_not_finite_end_it(bad, method, options):
    f = hl.Function(lambda t: t @ t, 2, gradient=lambda t: 2 * t, hessian=lambda t: np.full((2, 2), bad))
    f.gauss_newton, f.gauss_newton_product = f.hessian, f.hvp
    result = hl.minimize(f, [1.0, 1.0], method=method, **options)
    assert (result.stopped_by, result.converged, result.n_iter) == ("diverged", False, 0)
    assert "second derivatives" in result.message


@each_second
def test_second_derivatives_beyond_float32_end_it(method, options):
    X = np.array([[1, 1e19], [2, 3e19], [1, 2e19]], np.float32)
    model = hl.Sequential([hl.Dense(1)], input_dim=2)
    objective = hl.Objective(model, X, np.array([1.0, 2.0, 3.0]), loss="mse")
    result = hl.minimize(objective, np.zeros(3), method=method, **options)
    assert (result.stopped_by, result.converged) == ("diverged", False)


@pytest.mark.parametrize("method", ["damped_newton", "levenberg_marquardt"])
def test_a_matrix_of_the_largest_numbers_ends_it(method):
    """Its eigenvalue is beyond float64: −∞ + ∞ makes every step NaN, whatever λ is."""
    f = hl.Function(lambda t: t @ t, 4, gradient=lambda t: 2 * t)
    f.hessian = f.gauss_newton = lambda theta: np.full((4, 4), -1e308)
    result = hl.minimize(f, np.ones(4), method=method)
    assert (result.stopped_by, result.n_iter) == ("line search", 0)


def test_a_critical_point_stays_one_where_the_hessian_is_not_finite():
    f = hl.Function(lambda t: t @ t, 2, gradient=lambda t: 2 * t, hessian=lambda t: np.full((2, 2), np.nan))
    assert hl.minimize(f, [0.0, 0.0], method="newton").stopped_by == "gtol"


@pytest.fixture
def lost(monkeypatch):
    """Lets SciPy ask for the products with the vectors that are given, again and again."""

    def ask(*vectors):
        def minimize(fun, theta, *, hessp, **_):
            for v in itertools.cycle(vectors):
                hessp(theta, np.array(v))

        monkeypatch.setattr(scipy.optimize, "minimize", minimize)

    return ask


@pytest.mark.parametrize("method", ["trust-krylov", "trust-ncg"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_an_inner_loop_that_multiplies_nonsense_ends_it(lost, bad, method):
    """SciPy's trlib reads memory that it never wrote."""
    lost([1.0, 0.0, 0.0], [bad, 0.0, 0.0])
    result = hl.minimize(network("float32"), method=method)
    assert (result.stopped_by, result.converged, result.n_hvps) == ("line search", False, 1)
    assert "inner loop" in result.message


@pytest.mark.parametrize("method", ["trust-krylov", "trust-ncg"])
def test_an_inner_loop_without_end_is_ended(lost, method):
    lost([1.0, 0.0])
    result = solve("beale", method)
    assert (result.stopped_by, result.n_hvps) == ("line search", 10 * 2 + 100)
    assert result.message.endswith("found no step with 120 products")


@pytest.mark.parametrize("method", ["trust-krylov", "trust-ncg"])
def test_the_products_of_all_steps_are_not_limited(method):
    assert solve("network", method, max_iter=40).n_hvps > 10 * 25 + 100


# The result, its counts, and when it stops.


class Watched(hl.Function):
    """Counts its own calls."""

    def __init__(self, name):
        f = PROBLEMS[name].function
        self.calls = dict.fromkeys(("value", "gradient", "hvp", "hessian", "gauss_newton"), 0)
        super().__init__(
            self._watch(f.value, "value"), f.size,
            gradient=self._watch(f.gradient, "gradient"), hessian=self._watch(f.hessian, "hessian"),
            hvp=self._watch(f.hvp, "hvp"),
        )  # fmt: skip
        self.gauss_newton = self._watch(f.gauss_newton, "gauss_newton")
        self.gauss_newton_product = self._watch(f.gauss_newton_product, "hvp")

    def _watch(self, function, name):
        def watched(*arguments):
            self.calls[name] += 1
            return function(*arguments)

        return watched


@every
def test_the_counts_are_those_of_the_calls(method, options):
    f = Watched("beale")
    result = hl.minimize(f, PROBLEMS["beale"].start, method=method, max_iter=5, **options)
    assert (result.n_values, result.n_gradients, result.n_hvps, result.n_hessians) == (
        f.calls["value"],
        f.calls["gradient"],
        f.calls["hvp"],
        f.calls["hessian"] + f.calls["gauss_newton"],
    )
    assert result.n_values > result.n_iter == 5


@every
def test_the_result_has_the_whole_story(method, options):
    result = solve("rosenbrock", method, max_iter=7, path=True, **options)
    f = PROBLEMS["rosenbrock"].function
    assert (result.n_iter, result.stopped_by, result.message) == (
        7,
        "max_iter",
        "max_iter = 7 steps are done",
    )
    assert result.path.shape == (8, 2)
    np.testing.assert_array_equal(result.path[0], PROBLEMS["rosenbrock"].start)
    np.testing.assert_array_equal(result.path[-1], result.theta)
    np.testing.assert_array_equal(result.values, [f.value(theta) for theta in result.path])
    if method == "random_search":
        assert np.isnan(result.gradient_norms).all()
    else:
        norms = [np.linalg.norm(f.gradient(theta)) for theta in result.path]
        np.testing.assert_allclose(result.gradient_norms, norms)
    assert (result.value, len(result.gradient_norms)) == (result.values[-1], 8)
    assert solve("rosenbrock", method, max_iter=7, **options).path is None


@every
def test_the_same_call_gives_the_same_result(method, options):
    first, second = (solve("powell", method, max_iter=20, **options) for _ in range(2))
    np.testing.assert_array_equal(first.theta, second.theta)


@pytest.mark.parametrize("method", ["random_search", "coordinate"])
def test_another_seed_gives_another_path(method):
    options = {"order": "random"} if method == "coordinate" else {}
    thetas = [solve("powell", method, seed=seed, max_iter=6, **options).theta for seed in (0, 1)]
    assert not np.array_equal(*thetas)


@every
def test_nothing_is_done_where_nothing_is_to_be_done(method, options):
    if method == "random_search":
        return  # it has no gradient to see that
    result = hl.minimize(PROBLEMS["beale"].function, [3.0, 0.5], method=method, **options)
    assert (result.n_iter, result.n_values, result.stopped_by) == (0, 1, "gtol")


@every
def test_max_iter_may_be_0(method, options):
    result = solve("beale", method, max_iter=0, **options)
    assert (result.n_iter, result.stopped_by) == (0, "max_iter")
    np.testing.assert_array_equal(result.theta, PROBLEMS["beale"].start)


@every
def test_a_callback_sees_each_iteration_and_may_stop(method, options):
    seen = []

    def callback(state):
        seen.append(state)
        return state.n_iter == 3

    result = solve("rosenbrock", method, callback=callback, path=True, **options)
    assert (result.n_iter, result.stopped_by, result.converged) == (3, "callback", False)
    assert [state.n_iter for state in seen] == [1, 2, 3]
    np.testing.assert_array_equal([state.theta for state in seen], result.path[1:])
    assert [state.value for state in seen] == list(result.values[1:])
    np.testing.assert_array_equal([state.gradient_norm for state in seen], result.gradient_norms[1:])
    assert 0 < seen[0].seconds <= seen[2].seconds


def test_a_callback_sees_the_last_iteration_too():
    seen = []
    result = solve("beale", "bfgs", callback=lambda state: seen.append(state.n_iter))
    assert seen == list(range(1, result.n_iter + 1))


def test_a_callback_may_not_change_the_run():
    def callback(state):
        state.theta[:] = 0

    plain, changed = (solve("beale", "bfgs", callback=each) for each in (None, callback))
    np.testing.assert_array_equal(plain.theta, changed.theta)


@every
def test_time_is_limited(method, options):
    result = solve("rosenbrock", method, max_seconds=1e-9, **options)
    assert (result.stopped_by, result.n_iter, result.n_values) == ("time", 0, 1)


def test_ftol_looks_at_the_change():
    result = solve("quadratic", "gradient_descent", ftol=0.5)
    assert result.stopped_by == "ftol"
    assert "ftol = 0.5" in result.message
    changes = np.abs(result.values[:-3] - result.values[3:]) / result.values[:-3]
    assert changes[-1] <= 0.5
    assert np.all(changes[:-1] > 0.5)


@pytest.mark.parametrize("method", ["gradient_descent", "steepest", "coordinate"])
@pytest.mark.parametrize("constant", [0.0, 10.0, -25.0])
@pytest.mark.parametrize("ftol", [0.0, None, 1e-3])
def test_ftol_is_not_taken_in_by_steps_to_and_fro(ftol, constant, method):
    """The value is that of three steps before, and of any other, since θ goes to −θ and back."""
    ball = hl.Function(lambda t: t @ t + constant, 2, gradient=lambda t: 2 * t)
    result = hl.minimize(ball, [3.0, 4.0], method=method, step=1.0, ftol=ftol, max_iter=50)
    assert (result.stopped_by, result.converged, result.value) == ("max_iter", False, 25 + constant)


@pytest.mark.parametrize("ftol", [0.0, None, 1e-6])
@pytest.mark.parametrize("step", [0.1, 0.5, 0.9, "armijo", "optimal"])
def test_ftol_ends_where_no_more_is_to_be_had(step, ftol):
    """Though gtol asks for more than rounding allows."""
    ball = hl.Function(
        lambda t: 1 + (t - np.pi) @ (t - np.pi), 2,
        gradient=lambda t: 2 * (t - np.pi), hessian=lambda t: 2 * np.eye(2),
    )  # fmt: skip
    result = hl.minimize(ball, [1.0, 2.0], method="gradient_descent", step=step, gtol=0.0, ftol=ftol)
    assert result.converged, result.message
    assert result.value == pytest.approx(1, rel=1e-5)


def test_gtol_looks_at_the_gradient():
    result = solve("quadratic", "gradient_descent", gtol=1.0)
    assert result.gradient_norms[-1] <= 1.0 < result.gradient_norms[-2]


@pytest.fixture
def ctrl_c():
    """Ctrl-C as at a terminal, also where the tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("method", ["gradient_descent", "l-bfgs", "random_search", "hessian_free"])
def test_ctrl_c_ends_with_the_last_iterate(method, ctrl_c):
    def press(state):
        if state.n_iter == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.warns(UserWarning, match="minimization was interrupted; 3 iterations are complete$"):
        result = solve("rosenbrock", method, callback=press)
    assert (result.n_iter, result.stopped_by, result.converged) == (3, "interrupt", False)
    assert result.value == PROBLEMS["rosenbrock"].function.value(result.theta) < result.values[0]


def test_the_second_ctrl_c_is_a_keyboard_interrupt(ctrl_c):
    def press(state):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        solve("rosenbrock", "gradient_descent", callback=press)


def test_the_bar_is_on_stderr(capsys):
    solve("beale", "bfgs", max_iter=5, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "5/5" in shown.err
    assert "value=" in shown.err
    solve("beale", "bfgs", max_iter=5)
    assert capsys.readouterr().err == ""


def test_repr():
    result = solve("beale", "newton", max_iter=0)
    assert repr(result) == (
        "MinimizeResult(value=14.2, gradient_norm=28, n_iter=0, stopped_by='max_iter', converged=False)"
    )


# Errors.

BALL = hl.Function(lambda t: t @ t, 2, gradient=lambda t: 2 * t)
BAD = [
    ("objective", TypeError, {"objective": np.sum}),
    ("theta", ValueError, {"theta": None}),
    ("theta", ValueError, {"theta": [1.0]}),
    ("theta", ValueError, {"theta": [1.0, np.nan]}),
    ("theta", ValueError, {"objective": hl.Function(lambda t: np.nan, 2, gradient=lambda t: t)}),
    ("theta", ValueError, {"objective": hl.Function(lambda t: t @ t, 2, gradient=lambda t: t + np.inf)}),
    ("method", ValueError, {"method": "adam"}),
    ("method", TypeError, {"method": None}),
    ("max_iter", ValueError, {"max_iter": -1}),
    ("max_iter", TypeError, {"max_iter": 1.5}),
    ("gtol", ValueError, {"gtol": -1.0}),
    ("gtol", ValueError, {"gtol": 1e-3, "method": "random_search"}),
    ("ftol", TypeError, {"ftol": "small"}),
    ("max_seconds", ValueError, {"max_seconds": 0}),
    ("callback", TypeError, {"callback": True}),
    ("callback", TypeError, {"callback": lambda state: "stop"}),
    ("progress", TypeError, {"progress": 1}),
    ("path", TypeError, {"path": "yes"}),
    ("step", TypeError, {"method": "newton", "step": 0.1}),
    ("step", ValueError, {"method": "gradient_descent", "step": 0}),
    ("step", ValueError, {"method": "gradient_descent", "step": "best"}),
    ("step", TypeError, {"method": "gradient_descent", "step": None}),
    ("step", ValueError, {"method": "conjugate_gradient", "step": "armijo"}),
    ("norm", ValueError, {"method": "steepest", "norm": "l3"}),
    ("order", ValueError, {"method": "coordinate", "order": "best"}),
    ("seed", ValueError, {"method": "coordinate", "seed": -1}),
    ("scale", ValueError, {"method": "random_search", "scale": 0.0}),
    ("damping", ValueError, {"method": "damped_newton", "damping": 0}),
    ("beta", ValueError, {"method": "conjugate_gradient", "beta": "dy"}),
    ("curvature", ValueError, {"method": "hessian_free", "curvature": "fisher"}),
    ("preconditioner", ValueError, {"method": "hessian_free", "preconditioner": "jacobi"}),
    ("n_probes", ValueError, {"method": "hessian_free", "n_probes": 0}),
    ("max_cg", ValueError, {"method": "hessian_free", "max_cg": 0}),
    ("memory", ValueError, {"method": "l-bfgs", "memory": 0}),
    ("radius", ValueError, {"method": "trust-ncg", "radius": 0.0}),
    ("radius", ValueError, {"method": "trust-ncg", "radius": 1e152}),
    ("objective", ValueError, {"method": "newton"}),
    ("objective", ValueError, {"method": "gradient_descent", "step": "optimal"}),
    ("objective", TypeError, {"method": "levenberg_marquardt"}),
    ("objective", ValueError, {"objective": hl.Function(lambda t: t @ t, 2), "method": "bfgs"}),
]


@pytest.mark.parametrize(
    ("name", "builtin", "arguments"), BAD, ids=[f"{n} {k}" for k, (n, _, _) in enumerate(BAD)]
)
def test_errors_name_the_argument(name, builtin, arguments):
    with refuses(builtin, name):
        hl.minimize(**{"objective": BALL, "theta": [1.0, 1.0]} | arguments)


# What a `Function` returns, the error, and what it says.
@pytest.mark.parametrize(
    ("returned", "error", "says"),
    [
        (None, TypeError, "real numbers, returned None"),
        ("1", TypeError, "real numbers, returned '1'"),
        (1j, TypeError, "real numbers"),
        (10**400, TypeError, "real numbers"),
        ([[1.0], [1.0, 2.0]], TypeError, "real numbers"),
        ([None, 1.0], TypeError, "real numbers"),
        (np.ones(3), ValueError, "shape (3,)"),
    ],
    ids=["None", "text", "complex", "overflow", "ragged", "None within", "shape"],
)
def test_a_function_returns_real_numbers_in_the_right_shape(returned, error, says):
    def wrong(*_):
        return returned

    function = hl.Function(wrong, 2, gradient=wrong, hessian=wrong)
    for name in ("value", "gradient", "hessian"):
        with refuses(error, name) as caught:
            getattr(function, name)([0.0, 0.0])
        assert says in str(caught.value)
    with refuses(error, "hvp"):
        hl.Function(wrong, 2, hvp=wrong).hvp([0.0, 0.0], [1.0, 0.0])


def test_a_function_may_return_numbers_that_are_not_numpys():
    third = hl.Function(lambda t: Fraction(1, 3), 1, gradient=lambda t: [Fraction(1, 3)])
    assert third.value([0.0]) == third.gradient([0.0])[0] == 1 / 3


@pytest.mark.parametrize("name", ["value", "gradient", "hessian", "hvp"])
def test_a_function_is_given_functions(name):
    with refuses(TypeError, name):
        hl.Function(**{"value": np.sum, "size": 2} | {name: np.ones(2)})


def test_an_unknown_option_is_met_with_those_there_are():
    with refuses(TypeError, "sep") as caught:
        hl.minimize(BALL, [1.0, 1.0], method="coordinate", sep=1)
    assert str(caught.value) == "sep: method='coordinate' has no such option; it has order, step, seed"


def test_random_search_needs_values_alone():
    result = hl.minimize(hl.Function(lambda t: abs(t).sum(), 2), [1.0, 1.0], method="random_search")
    assert result.converged
    assert result.value < 1e-10


def test_our_own_methods_need_no_scipy():
    found = python(
        "import sys; sys.modules['scipy'] = None\n"
        "import hotloop as hl\n"
        "ball = hl.Function(lambda t: t @ t, 2, gradient=lambda t: 2 * t)\n"
        "print(hl.minimize(ball, [1.0, 1.0], method='conjugate_gradient').converged)\n"
        "try: hl.minimize(ball, [1.0, 1.0])\n"
        "except hl.errors.MissingExtraError as error: print(error)\n"
    )
    converged, error = found.stdout.splitlines()
    assert converged == "True", found.stderr
    assert error.startswith("hl.minimize by SciPy's L-BFGS-B needs scipy, which is not installed; run: pip")

"""`hl.landscape`: the grid is the objective's own values, in directions that are what they are called."""

import numpy as np
import pytest

import hotloop as hl
from helpers import refuses


def bowl(size=3):
    return hl.Function(lambda t: t @ t, size)


def network(dtype="float64", middle=()):
    model = hl.Sequential([hl.Dense(5, "tanh"), *middle, hl.Dense(2)], input_dim=4, seed=1, dtype=dtype)
    rng = np.random.default_rng(0)
    return hl.Objective(model, rng.normal(size=(30, 4)), rng.integers(0, 2, 30), loss="softmax_cross_entropy")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_those_of_the_objective(dtype):
    objective = network(dtype)
    before = objective.model.theta.copy()
    found = hl.landscape(objective, n=4, span=0.5)
    for i, b in enumerate(found.coordinates[1]):
        for j, a in enumerate(found.coordinates[0]):
            theta = found.center + np.array([a, b]) @ found.directions
            assert found.values[i, j] == objective.value(theta)
    assert np.array_equal(objective.model.theta, before)
    assert np.array_equal(found.center, before)


def test_a_line_has_one_axis():
    found = hl.landscape(bowl(), [1.0, 0.0, 0.0], [0.0, 2.0, 0.0], n=5, span=3)
    assert found.coordinates[0].tolist() == [-3, -1.5, 0, 1.5, 3]
    assert found.values.tolist() == [1 + 4 * a**2 for a in found.coordinates[0]]
    assert repr(found) == "Landscape(along the direction; 5 values from 1 to 37)"


def test_filters_have_the_lengths_of_the_weights():
    objective = network(middle=[hl.BatchNorm(), hl.Dense(3, "prelu")])
    views = objective.model.views
    weights = views(objective.model.theta)
    for direction in hl.landscape(objective, n=2).directions:
        for name, drawn in views(direction).items():
            if name.endswith("/kernel"):
                lengths = np.linalg.norm(drawn, axis=0)
                assert np.allclose(lengths, np.linalg.norm(weights[name], axis=0), rtol=1e-12)
            else:
                assert not drawn.any()


def test_directions_of_your_own_are_filtered_on_request_only():
    objective = network()
    row = np.arange(1.0, objective.size + 1)
    assert np.array_equal(hl.landscape(objective, directions=row, n=2).directions[0], row)
    filtered = hl.landscape(objective, directions=row, n=2, normalize="filter").directions[0]
    kernel = objective.model.views(filtered)["dense_0/kernel"]
    given = objective.model.views(row)["dense_0/kernel"]
    assert np.allclose(kernel / np.linalg.norm(kernel, axis=0), given / np.linalg.norm(given, axis=0))


def test_random_directions_follow_the_seed():
    rows = [hl.landscape(network(), n=2, seed=seed, normalize="none").directions for seed in (0, 0, 1)]
    assert np.array_equal(rows[0], rows[1])
    assert not np.allclose(rows[0], rows[2])
    assert np.allclose(np.linalg.norm(rows[0], axis=1), 1)
    assert np.allclose(np.linalg.norm(hl.landscape(bowl(), np.zeros(3), n=2).directions, axis=1), 1)


def test_projection_is_exact_in_the_plane_and_nearest_outside():
    rng = np.random.default_rng(0)
    rows, center = rng.normal(size=(2, 6)), rng.normal(size=6)
    found = hl.landscape(bowl(6), center, rows, n=2)
    inside = rng.normal(size=(7, 2))
    assert np.allclose(found.project(center + inside @ rows), inside, atol=1e-12)
    away = rng.normal(size=6)
    away -= rows.T @ np.linalg.lstsq(rows.T, away, rcond=None)[0]
    assert np.allclose(found.project(center + inside @ rows + away), inside, atol=1e-12)


def test_principal_directions_of_a_planar_path_explain_it():
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(8, 2)))[0].T
    path = rng.normal(size=(20, 2)) @ np.diag([3, 1]) @ plane + rng.normal(size=8)
    found = hl.landscape(bowl(8), directions="pca", path=path, n=9)
    assert np.array_equal(found.center, path[-1])
    assert np.isclose(found.explained.sum(), 1)
    assert found.explained[0] > found.explained[1]
    points = found.project(path)
    assert np.allclose(found.center + points @ found.directions, path)
    for axis, values in zip(found.coordinates, points.T, strict=True):
        assert axis[0] < values.min() < values.max() < axis[-1]
    assert found.names[0] == f"principal direction 1 ({100 * found.explained[0]:.1f} %)"


def test_explained_shares_are_those_of_the_squares():
    path = np.array([[3.0, 0, 0], [0, 2, 0], [0, 0, 1], [0, 0, 0]])
    found = hl.landscape(bowl(), directions="pca", path=path, n=2)
    assert np.allclose(found.explained, [9 / 14, 4 / 14])


def test_eigenvectors_are_the_steepest_bends():
    H = np.diag([1.0, -2.0, 5.0, 0.5])
    saddle = hl.Function(lambda t: t @ H @ t / 2, 4, hessian=lambda t: H)
    rows = hl.landscape(saddle, np.zeros(4), "eigenvectors", n=3).directions
    assert np.allclose(np.abs(rows), [[0, 0, 1, 0], [0, 1, 0, 0]])


def test_a_loss_that_overflows_is_no_number():
    steep = hl.Function(lambda t: np.exp(t[0]), 1)
    values = hl.landscape(steep, [0.0], [1000.0], n=3).values
    assert values.tolist() == [0, 1, np.inf]


def test_progress_is_shown_on_request(capsys):
    hl.landscape(bowl(), np.zeros(3), n=3, progress=True)
    assert "9/9" in capsys.readouterr().err


PATH = np.arange(12.0).reshape(4, 3) ** 2


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("objective", {"objective": np.sum}),
        ("center", {"center": None}),
        ("center", {"center": [0.0, 0.0]}),
        ("center", {"center": [0.0, 0.0, np.nan]}),
        ("directions", {"directions": "sideways"}),
        ("directions", {"directions": None}),
        ("directions", {"directions": np.ones((3, 3))}),
        ("directions", {"directions": [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]}),
        ("directions", {"directions": [0.0, 0.0, 0.0]}),
        ("directions", {"directions": [1.0, 0.0]}),
        ("directions", {"objective": bowl(1), "center": [0.0]}),
        ("directions", {"objective": bowl(2001), "center": np.zeros(2001), "directions": "eigenvectors"}),
        ("objective", {"directions": "eigenvectors"}),
        ("path", {"directions": "pca"}),
        ("path", {"directions": "pca", "path": np.ones((4, 3))}),
        ("path", {"path": [1.0, 2.0, 3.0]}),
        ("path", {"path": PATH[:, :2]}),
        ("span", {"span": 0}),
        ("span", {"span": "wide"}),
        ("n", {"n": 1}),
        ("normalize", {"normalize": "unit"}),
        ("normalize", {"normalize": "filter"}),
        ("seed", {"seed": -1}),
        ("progress", {"progress": "yes"}),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(name, changes):
    arguments = {"objective": bowl(), "center": np.zeros(3), "n": 2} | changes
    builtin = TypeError if _is_type_error(name, changes) else ValueError
    with refuses(builtin, name):
        hl.landscape(**arguments)


def _is_type_error(name, changes):
    value = changes.get(name)
    return (name, value) in [("span", "wide"), ("progress", "yes")] or (
        name in ("center", "directions") and name in changes and value is None
    ) or (name == "objective" and value is np.sum)  # fmt: skip


def test_nothing_is_left_of_a_direction_through_kernels_of_zeros():
    model = hl.Sequential([hl.Dense(1, kernel_init="zeros")], input_dim=2)
    objective = hl.Objective(model, [[1.0, 2.0]], [1.0], loss="mse")
    with refuses(ValueError, "normalize"):
        hl.landscape(objective)


def test_projected_rows_must_fit():
    with refuses(ValueError, "thetas"):
        hl.landscape(bowl(), np.zeros(3), n=2).project(np.ones((2, 4)))

"""The pictures of `hl.plot` show the numbers they were given."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import hotloop as hl
from helpers import refuses
from hotloop.plot._style import COLORS, contrast_with
from hotloop.plot.surfaces import height_at

matplotlib = pytest.importorskip("matplotlib", reason="the pictures need the extra 'plot'")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def rendered():
    """What a test has drawn is rendered at its end: Matplotlib warns only then; warnings are errors."""
    plt.close("all")  # what the examples of docstrings and pages have left open
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


def history(**columns):
    return hl.History.from_columns(columns, None)


RUN = history(loss=[2.0, 1.0, 0.5], val_loss=[2.5, 1.5, 1.2], accuracy=[0.1, 0.5, 0.9], lr=[0.1, 0.01, 1e-9])
FLAT = history(loss=[3.0, 2.0], lr=[0.1, 0.1])
BOWL = hl.Function(lambda t: t[0] ** 2 + 4 * t[1] ** 2, 2, gradient=lambda t: np.array([2 * t[0], 8 * t[1]]))
PLANE = hl.landscape(BOWL, [0.0, 0.0], np.eye(2), n=11)
LINE = hl.landscape(BOWL, [0.0, 0.0], [1.0, 0.0], n=11)
PATH = np.array([[1.0, 1.0], [0.5, 0.2], [0.1, 0.0]])
MODEL = hl.Sequential([hl.Dense(3, "tanh"), hl.Dropout(0.2), hl.Dense(2)], input_dim=4)
X2, Y2 = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), np.array([0, 1, 0, 1])


class Threshold:
    """A classifier like scikit-learn's: the class is the sign of the first feature minus a half."""

    classes = np.array(["left", "right"])

    def predict(self, X):
        return self.classes[(X[:, 0] > 0.5).astype(int)]


DENSITY = SimpleNamespace(grid=np.linspace(-1, 2, 31), density=np.linspace(1, 2, 31))
NAMES = Threshold.classes[Y2]
PICTURES = {
    "training_curves": lambda ax: hl.plot.training_curves(RUN, ax=ax)["loss"],
    "landscape": lambda ax: hl.plot.landscape(PLANE, {"a": PATH}, ax=ax),
    "landscape, line": lambda ax: hl.plot.landscape(LINE, {"a": PATH}, ax=ax),
    "error_surface": lambda ax: hl.plot.error_surface(BOWL, (-1, 1), (-2, 2), n=11, ax=ax),
    "spectrum": lambda ax: hl.plot.spectrum([-1.0, 0.0, 2.0], ax=ax),
    "spectrum, density": lambda ax: hl.plot.spectrum(DENSITY, ax=ax),
    "weights": lambda ax: hl.plot.weights(MODEL, shape=(2, 2), ax=ax),
    "decision_regions": lambda ax: hl.plot.decision_regions(Threshold(), X2, NAMES, n=20, ax=ax),
    "confusion_matrix": lambda ax: hl.plot.confusion_matrix([0, 1, 1], [0, 1, 0], ax=ax),
    "network": lambda ax: hl.plot.network(MODEL, ax=ax),
}
each_picture = pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)


@each_picture
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_a_picture_makes_its_own_figure_in_any_style(draw, style):
    with plt.style.context(style):
        ax = draw(None)
        assert [ax.figure.number] == plt.get_fignums()


@each_picture
def test_a_picture_is_drawn_where_it_is_asked_for(draw):
    before = plt.subplots()[1]
    _, ax = plt.subplots()
    plt.sca(before)
    assert draw(ax) is ax
    assert len(plt.get_fignums()) == 2
    assert plt.gca() is before
    assert not before.has_data()


@each_picture
def test_axes_are_axes(draw):
    with refuses(TypeError, "ax"):
        draw("here")
    assert plt.get_fignums() == []


def lines(ax):
    return [np.asarray(line.get_xydata()).T.tolist() for line in ax.lines]


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_curves_are_the_columns():
    drawn = hl.plot.training_curves(RUN)
    assert list(drawn) == ["loss", "lr"]
    assert lines(drawn["loss"]) == [[[1, 2, 3], RUN["loss"]], [[1, 2, 3], RUN["val_loss"]]]
    assert lines(drawn["lr"]) == [[[1, 2, 3], RUN["lr"]]]
    assert labels(drawn["loss"]) == ["training", "validation"]
    assert (drawn["loss"].get_ylabel(), drawn["lr"].get_xlabel()) == ("loss", "epoch")
    assert (drawn["loss"].get_yscale(), drawn["lr"].get_yscale()) == ("linear", "log")
    assert drawn["lr"].get_ylim()[0] == 0.1 / 2e3


def test_runs_are_compared_by_name():
    drawn = hl.plot.training_curves({"a": RUN, "b": FLAT})
    assert labels(drawn["loss"]) == ["a", "a, validation", "b"]
    assert drawn["loss"].lines[0].get_color() == drawn["loss"].lines[1].get_color() == COLORS[0]
    assert len(drawn["lr"].lines) == 2


def test_a_constant_rate_has_no_strip():
    assert list(hl.plot.training_curves(FLAT)) == ["loss"]
    assert list(hl.plot.training_curves(RUN, "lr")) == ["lr"]


def test_losses_far_apart_have_a_logarithmic_scale():
    assert hl.plot.training_curves(history(loss=[10.0, 0.1]))["loss"].get_yscale() == "log"
    assert hl.plot.training_curves(history(loss=[10.0, -0.1]))["loss"].get_yscale() == "linear"


def test_paths_are_drawn_where_they_project():
    ax = hl.plot.landscape(PLANE, {"Adam": PATH})
    assert lines(ax)[0] == PATH.T.tolist()
    assert labels(ax) == ["Adam"]
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (-1, 1))
    assert (ax.get_xlabel(), ax.figure.axes[1].get_ylabel()) == ("direction 1", "loss")


def test_a_line_is_the_values_and_paths_lie_on_it():
    ax = hl.plot.landscape(LINE, {"Adam": PATH})
    assert lines(ax)[0] == [LINE.coordinates[0].tolist(), LINE.values.tolist()]
    assert np.allclose(lines(ax)[1], [PATH[:, 0], np.interp(PATH[:, 0], LINE.coordinates[0], LINE.values)])


def test_a_surface_carries_its_paths():
    ax = hl.plot.landscape(PLANE, {"Adam": PATH}, kind="surface")
    assert ax.name == "3d"
    x, y, z = ax.lines[0].get_data_3d()
    assert np.allclose([x, y], PATH.T)
    assert np.allclose(z, height_at(PLANE, PATH))
    assert ax.get_zlabel() == "loss"


def test_heights_between_the_lines_of_the_grid_are_linear():
    tilted = hl.Function(lambda t: 3 * t[0] - t[1] + t[0] * t[1] + 1, 2)
    plane = hl.landscape(tilted, [0.0, 0.0], np.eye(2), n=2)
    points = np.random.default_rng(0).uniform(-1, 1, (9, 2))
    assert np.allclose(height_at(plane, points), [tilted.value(point) for point in points])
    assert np.allclose(height_at(plane, np.array([[5.0, 1.0]])), tilted.value([1.0, 1.0]))


@pytest.mark.parametrize(
    "function",
    [lambda t: 7.0, lambda t: t[0] - 3, lambda t: np.exp(9 * t[0]), lambda t: 1 / np.maximum(t[0], 0)],
)
def test_any_surface_has_contours(function):
    with np.errstate(divide="ignore"):
        hl.plot.error_surface(
            hl.Function(lambda t: np.float64(function(t)), 2), (-1, 1), (-1, 1), n=9, arrows=False
        )


def test_arrows_go_down():
    ax = hl.plot.error_surface(BOWL, (-1, 1), (-2, 2), n=11)
    (arrows,) = (one for one in ax.collections if isinstance(one, matplotlib.quiver.Quiver))
    down = -np.array([BOWL.gradient(point) for point in arrows.XY])
    down /= np.maximum(np.linalg.norm(down, axis=1, keepdims=True), 1e-300)
    assert np.allclose(np.column_stack([arrows.U, arrows.V]), down)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (-2, 2))


def frames_of(path):
    with Image.open(path) as image:
        assert image.format == "GIF"
        return image.n_frames


@pytest.mark.parametrize(("frames", "shown"), [(100, 3), (2, 2)])
def test_a_race_is_a_gif_of_its_steps(frames, shown, tmp_path, capsys):
    paths = {"fast": PATH, "slow": PATH[:2]}
    file = tmp_path / "race.gif"
    race = hl.plot.animate_descent(BOWL, paths, file, frames=frames, progress=True)
    assert frames_of(file) == shown
    assert f"{shown}/{shown}" in capsys.readouterr().err
    ax = race._fig.axes[0]
    heads = [line for line in ax.lines if line.get_label() in paths]
    assert [head.get_xydata()[-1].tolist() for head in heads] == [PATH[2].tolist(), PATH[1].tolist()]
    assert ax.get_title(loc="left") == "step 2"


def test_a_race_keeps_a_trail_and_takes_landscapes(tmp_path):
    for surface in (PLANE, LINE):
        race = hl.plot.animate_descent(surface, {"a": PATH}, tmp_path / "race.gif", trail=1)
        trail = race._fig.axes[0].lines[-2].get_xydata()
        assert trail[:, 0].tolist() == PATH[1:, 0].tolist()


@pytest.mark.parametrize(("x", "y"), [(0.9, 0.9), (-0.9, 0.9), (0.9, -0.9), (-0.9, -0.9)])
def test_the_legend_of_a_race_hides_no_path(x, y, tmp_path):
    path = [[x, y], [x / 2, y / 2]]
    race = hl.plot.animate_descent(PLANE, {"a name of some length": path}, tmp_path / "race.gif")
    ax = race._fig.axes[0]
    box = ax.get_legend().get_window_extent()
    assert not any(box.contains(*point) for point in ax.transData.transform(path))


def test_one_number_slides_along_its_curve(tmp_path):
    square = hl.Function(lambda t: t[0] ** 2, 1)
    race = hl.plot.animate_descent(square, {"a": [[-2.0], [-1.0], [0.0]]}, tmp_path / "race.gif")
    assert np.allclose(race._fig.axes[0].lines[-2].get_xydata(), [[-2, 4], [-1, 1], [0, 0]], atol=1e-3)


def test_a_film_needs_ffmpeg(monkeypatch):
    writer = pytest.importorskip("matplotlib.animation").FFMpegWriter
    monkeypatch.setattr(writer, "isAvailable", lambda: False)
    with pytest.raises(hl.errors.MissingExtraError, match=r"ffmpeg.*save a \.gif"):
        hl.plot.animate_descent(BOWL, {"a": PATH}, "race.mp4")


def test_bars_count_the_eigenvalues():
    values = np.array([-2.0, -0.5, -0.5, 0.0, 1e-9, 0.7, 8.0])
    ax = hl.plot.spectrum(values, bins=20)
    for bar in ax.patches:
        left, right = bar.get_x(), bar.get_x() + bar.get_width()
        assert bar.get_height() == np.sum((values >= left - 1e-12) & (values < right - 1e-12))
        below = matplotlib.colors.to_rgb(bar.get_facecolor()) == matplotlib.colors.to_rgb(COLORS[1])
        assert below == (right <= 1e-12)
    assert sum(bar.get_height() for bar in ax.patches) == len(values)
    rug = np.concatenate([line.get_xdata() for line in ax.lines[:2]])
    assert rug.tolist() == values.tolist()
    assert ax.get_title(loc="left") == "3 of 7 below 0"


@pytest.mark.parametrize("values", [[0.0], [3.0], [-3.0, -3.0]])
def test_a_spectrum_may_be_one_value(values):
    assert sum(bar.get_height() for bar in hl.plot.spectrum(values).patches) == len(values)


def test_a_density_is_its_curve():
    ax = hl.plot.spectrum(DENSITY)
    drawn = np.hstack([np.array(line) for line in lines(ax)[:2]])
    assert set(map(tuple, drawn.T)) == set(zip(DENSITY.grid, DENSITY.density, strict=True))


def test_images_are_the_columns():
    kernel = np.arange(8.0).reshape(4, 2)
    page = hl.plot.weights(kernel, shape=(2, 2)).images[0]
    assert page.get_array().filled(-1).tolist() == [[0, 2, -1, 1, 3], [4, 6, -1, 5, 7]]
    assert page.norm.vmin == -page.norm.vmax


@pytest.mark.parametrize(("layer", "shape"), [(0, (2, 2)), (1, (3, 1))])
def test_images_are_of_the_layer(layer, shape):
    drawn = hl.plot.weights(MODEL, layer, shape).images[0].get_array().compressed()
    kernel = MODEL.parameters()[f"dense_{layer}/kernel"].astype(float)
    assert np.array_equal(np.sort(drawn), np.sort(kernel, axis=None))


def test_as_many_units_as_asked_for():
    ax = hl.plot.weights(np.arange(24.0).reshape(4, 6), shape=(2, 2), units=4)
    assert ax.get_title() == "4 of 6 units"
    assert ax.images[0].get_array().compressed().sum() == np.arange(24).reshape(4, 6)[:, :4].sum()


def two_units(*, activation="identity", units=2):
    """The class is whether x₀ > ½."""
    model = hl.Sequential([hl.Dense(units, activation)], input_dim=2)
    model.theta[:] = [-1, 1, 0, 0, 0.5, -0.5] if units == 2 else [1, 0, -0.5]
    return model


@pytest.mark.parametrize(
    ("classifier", "y"),
    [
        (two_units(), Y2),
        (two_units(units=1), 2 * Y2 - 1),
        (two_units(units=1, activation="sigmoid"), Y2),
        (Threshold(), NAMES),
    ],
    ids=["argmax", "sign", "probability", "predict"],
)
def test_regions_are_what_the_classifier_says(classifier, y):
    ax = hl.plot.decision_regions(classifier, X2, y, n=8, names=["low", "high"])
    image = np.asarray(ax.images[0].get_array())
    tints = image.reshape(-1, 3)
    assert len(np.unique(tints, axis=0)) == 2
    assert np.array_equal(image[:, :4], np.broadcast_to(image[0, 0], (8, 4, 3)))
    assert np.array_equal(image[:, 4:], np.broadcast_to(image[0, -1], (8, 4, 3)))
    assert labels(ax) == ["low", "high"]
    assert lines(ax) == [X2[k == Y2].T.tolist() for k in (0, 1)]


def test_many_classes_have_colours_of_their_own():
    X = np.random.default_rng(0).uniform(size=(40, 2))
    nearest = SimpleNamespace(predict=lambda grid: (8 * grid[:, 0]).clip(0, 7).astype(int))
    ax = hl.plot.decision_regions(nearest, X, nearest.predict(X), n=50)
    assert len({line.get_color() for line in ax.lines}) == 8


TRUE, SAID = ["cat", "cat", "cat", "dog", "emu"], ["cat", "dog", "cat", "dog", "dog"]


@pytest.mark.parametrize(
    ("options", "cells"),
    [
        ({}, "2 1 0 0 1 0 0 1 0"),
        ({"labels": ["emu", "dog", "cat"]}, "0 1 0 0 1 0 0 1 2"),
        ({"normalize": True}, "66.7 33.3 0.0 0.0 100.0 0.0 0.0 100.0 0.0"),
    ],
)
def test_cells_count_the_pairs(options, cells):
    ax = hl.plot.confusion_matrix(TRUE, SAID, **options)
    assert [text.get_text() for text in ax.texts] == cells.split()
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == options.get("labels", ["cat", "dog", "emu"])
    assert ax.get_title(loc="left").startswith("60.0 % right")


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_numbers_stand_out_from_their_cells(style):
    with plt.style.context(style):
        ax = hl.plot.confusion_matrix(np.repeat(range(9), 9), np.tile(range(9), 9))
        cells = np.asarray(ax.images[0].get_array()).reshape(-1, 3)
        for cell, text in zip(cells, ax.texts, strict=True):
            assert contrast_with(text.get_color(), cell) > 4


def test_a_diagram_has_the_units_and_the_weights():
    ax = hl.plot.network(MODEL)
    assert len(ax.patches) == 4 + 3 + 2
    kernels = [MODEL.parameters()[f"dense_{k}/kernel"] for k in (0, 1)]
    for drawn, kernel in zip(ax.collections, kernels, strict=True):
        widths = np.sort(np.abs(kernel), axis=None)
        assert len(drawn.get_segments()) == kernel.size
        assert np.allclose(drawn.get_linewidths(), 0.3 + 1.9 * widths / widths[-1])
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["input\n4 units", "dense_0\n3 units\ntanh\ndropout 0.2", "dense_1\n2 units"]


def test_a_wide_layer_shows_some_of_its_units_and_dots():
    model = hl.Sequential([hl.Dense(128), hl.Dense(1)], input_dim=10)
    ax = hl.plot.network(model)
    assert len(ax.patches) == 10 + (7 + 3) + 1
    assert len(ax.collections[0].get_segments()) == 10 * 7


def test_colours_stand_out_from_both_pages():
    for color in COLORS[:4]:
        assert contrast_with(color, "white") >= 3
        assert contrast_with(color, "black") >= 3


WRONG = [
    ("history", TypeError, lambda: hl.plot.training_curves([1.0])),
    ("history", TypeError, lambda: hl.plot.training_curves({"loss": [1.0]})),
    ("history", ValueError, lambda: hl.plot.training_curves(hl.History())),
    ("column", ValueError, lambda: hl.plot.training_curves({"a": RUN, "b": FLAT}, "accuracy")),
    ("column", TypeError, lambda: hl.plot.training_curves(RUN, ["loss"])),
    ("result", TypeError, lambda: hl.plot.landscape(BOWL)),
    ("result", ValueError, lambda: hl.plot.landscape(
        hl.landscape(hl.Function(lambda t: np.nan, 2), [0.0, 0.0], n=2))),
    ("kind", ValueError, lambda: hl.plot.landscape(PLANE, kind="line")),
    ("kind", ValueError, lambda: hl.plot.landscape(LINE, kind="surface")),
    ("kind", ValueError, lambda: hl.plot.landscape(PLANE, kind="map")),
    ("paths", TypeError, lambda: hl.plot.landscape(PLANE, PATH)),
    ("paths['a']", ValueError, lambda: hl.plot.landscape(PLANE, {"a": [1.0, 2.0]})),
    ("ax", ValueError, lambda: hl.plot.landscape(PLANE, kind="surface", ax=plt.subplots()[1])),
    ("objective", TypeError, lambda: hl.plot.error_surface(hl.Function(np.sum, 3), (0, 1), (0, 1))),
    ("objective", ValueError, lambda: hl.plot.error_surface(hl.Function(np.sum, 2), (0, 1), (0, 1), n=2)),
    ("xlim", ValueError, lambda: hl.plot.error_surface(BOWL, (1, 0), (0, 1))),
    ("ylim", ValueError, lambda: hl.plot.error_surface(BOWL, (0, 1), 1.0)),
    ("n", ValueError, lambda: hl.plot.error_surface(BOWL, (0, 1), (0, 1), n=1)),
    ("arrows", TypeError, lambda: hl.plot.error_surface(BOWL, (0, 1), (0, 1), arrows=3)),
    ("surface", TypeError, lambda: hl.plot.animate_descent(hl.Function(np.sum, 3), {"a": PATH})),
    ("surface", TypeError, lambda: hl.plot.animate_descent(np.ones(2), {"a": PATH})),
    ("paths", ValueError, lambda: hl.plot.animate_descent(BOWL, {})),
    ("filename", TypeError, lambda: hl.plot.animate_descent(BOWL, {"a": PATH}, b"race.gif")),
    ("filename", ValueError, lambda: hl.plot.animate_descent(BOWL, {"a": PATH}, "race.avi")),
    ("fps", ValueError, lambda: hl.plot.animate_descent(BOWL, {"a": PATH}, fps=0)),
    ("frames", ValueError, lambda: hl.plot.animate_descent(BOWL, {"a": PATH}, frames=0)),
    ("trail", ValueError, lambda: hl.plot.animate_descent(BOWL, {"a": PATH}, trail=0)),
    ("progress", TypeError, lambda: hl.plot.animate_descent(BOWL, {"a": PATH}, progress=1)),
    ("values_or_density", ValueError, lambda: hl.plot.spectrum([[1.0]])),
    ("values_or_density", ValueError, lambda: hl.plot.spectrum([np.nan])),
    ("density", ValueError, lambda: hl.plot.spectrum(SimpleNamespace(grid=[0.0, 1.0], density=[1.0]))),
    ("bins", ValueError, lambda: hl.plot.spectrum([1.0], bins=0)),
    ("model_or_kernel", TypeError, lambda: hl.plot.weights([1.0])),
    ("layer", ValueError, lambda: hl.plot.weights(MODEL, 2)),
    ("layer", ValueError, lambda: hl.plot.weights(np.ones((4, 2)), 1, (2, 2))),
    ("shape", ValueError, lambda: hl.plot.weights(MODEL)),
    ("shape", TypeError, lambda: hl.plot.weights(MODEL, 0, 4)),
    ("units", ValueError, lambda: hl.plot.weights(MODEL, 0, (2, 2), units=0)),
    ("model_or_estimator", TypeError, lambda: hl.plot.decision_regions(np.sum, X2, Y2)),
    ("X", ValueError, lambda: hl.plot.decision_regions(two_units(), X2[:, :1], Y2)),
    ("y", ValueError, lambda: hl.plot.decision_regions(two_units(), X2, Y2[:3])),
    ("y", ValueError, lambda: hl.plot.decision_regions(two_units(), X2, Y2 + 1)),
    ("y", ValueError, lambda: hl.plot.decision_regions(two_units(units=1), X2, range(4))),
    ("y", TypeError, lambda: hl.plot.decision_regions(two_units(), X2, [None, 1, 0, 1])),
    ("model_or_estimator", ValueError, lambda: hl.plot.decision_regions(
        SimpleNamespace(predict=lambda X: X[:, 0] * X[:, 1]), X2, Y2)),
    ("names", ValueError, lambda: hl.plot.decision_regions(two_units(), X2, Y2, names=["one"])),
    ("names", TypeError, lambda: hl.plot.decision_regions(two_units(), X2, Y2, names=2)),
    ("y_pred", ValueError, lambda: hl.plot.confusion_matrix([0, 1], [0])),
    ("y_true", ValueError, lambda: hl.plot.confusion_matrix([], [])),
    ("labels", ValueError, lambda: hl.plot.confusion_matrix([0, 1], [0, 2], labels=[0, 1])),
    ("labels", ValueError, lambda: hl.plot.confusion_matrix([0, 1], [0, 1], labels=[0, 1, 1])),
    ("labels", TypeError, lambda: hl.plot.confusion_matrix([0, 1], [0, 1], labels=2)),
    ("y_pred", TypeError, lambda: hl.plot.confusion_matrix([0, 1], np.array([None, 1]))),
    ("normalize", TypeError, lambda: hl.plot.confusion_matrix([0], [0], normalize="row")),
    ("model", TypeError, lambda: hl.plot.network(np.ones(3))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "builtin", "draw"), WRONG, ids=[row[0] for row in WRONG])
def test_wrong_arguments_are_named(name, builtin, draw):
    with refuses(builtin, name):
        draw()


def test_matplotlib_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(
        hl.errors.MissingExtraError, match=r"hl\.plot\.network needs matplotlib.*hotloop\[plot\]"
    ):
        hl.plot.network(MODEL)

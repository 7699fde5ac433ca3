"""What the gallery asks of us: in which order examples come, their arguments, and what is a picture."""

import shutil
import tempfile
from pathlib import Path

from matplotlib import pyplot
from sphinx.errors import ExtensionError
from sphinx_gallery.scrapers import figure_rst, matplotlib_scraper

ORDER = (
    "mnist_mlp",
    "digits_grid_search",
    "killed_and_resumed",
    "penalties_on_kernels",
    "regression_intervals",
    "own_loss_quantiles",
    "decision_regions",
    "sparse_lasso",
    "universal_approximation",
    "validation_curve",
    "perceptron_convergence",
    "logistic_regression",
    "optimizer_race",
    "weight_averages",
    "optimal_step",
    "saddle_and_newton",
    "levenberg_marquardt",
    "hessian_spectrum",
)
"""From everyday use to the loss surface."""

ARGUMENTS = {"mnist_mlp": ["--epochs", "4", "--threads", "2"]}
"""Where the gallery's run is not the script's own default."""

_folder = tempfile.TemporaryDirectory()
FOLDER = Path(_folder.name)
"""Where scripts save their pictures here: the gallery takes the figures themselves."""


def order(file_name):
    """The place of an example; one that is not listed is an error, so that each is given a place."""
    return ORDER.index(Path(file_name).stem)


def arguments(gallery_conf, script_vars):
    """The command line of an example."""
    name = Path(script_vars["src_file"]).stem
    given = [*ARGUMENTS.get(name, ()), "--picture", str(FOLDER / f"{name}.png")]
    return [*given, "--animation", str(FOLDER / f"{name}.gif")] if name == "optimizer_race" else given


def pictures(block, block_vars, gallery_conf):
    """The figures that are open, and after them the animations that were saved."""
    saved = FOLDER / f"{Path(block_vars['src_file']).stem}.png"
    if not saved.is_file():
        raise ExtensionError(f"{block_vars['src_file']} did not save its picture")
    animations = sorted(FOLDER.glob("*.gif"))
    for figure in pyplot.get_fignums()[-len(animations) :] if animations else ():
        pyplot.close(figure)  # what an animation was drawn on
    rst = matplotlib_scraper(block, block_vars, gallery_conf)
    paths = []
    for animation in animations:
        paths.append(Path(next(block_vars["image_path_iterator"])).with_suffix(".gif"))
        shutil.move(animation, paths[-1])
    return rst + figure_rst([str(path) for path in paths], gallery_conf["src_dir"]) if paths else rst

"""How Sphinx builds the site: ``python -m sphinx -W --keep-going -b html docs docs/_build``.

The gallery runs the scripts under examples/, each once; ``-D plot_gallery=0`` leaves that out.
"""

import re
import sys
from pathlib import Path

import hotloop
from hotloop.averages import Average
from hotloop.layers import Layer
from hotloop.losses import Loss
from hotloop.optimizers import Optimizer
from hotloop.penalties import Penalty
from hotloop.schedules import Schedule

# Sphinx keeps its configuration between builds, so what the gallery calls is named, and found in here.
sys.path.insert(0, str(Path(__file__).parent))

project = "hotloop"
author = "The hotloop developers"
copyright = f"2026, {author}"
version = release = hotloop.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

default_role = "py:obj"  # `name` in docstrings is code, and a link where it is ours
autodoc_typehints = "none"  # numpydoc's sections have the types
autosummary_generate = True
# Names that differ in their case alone would share a file where the file system ignores it.
autosummary_filename_map = {
    "hotloop.landscape": "hotloop.landscape_function",
    "hotloop.norms": "hotloop.norms_function",
    "hotloop.warmup": "hotloop.warmup_function",
}
numpydoc_show_class_members = False

# A loss, an optimizer and their like are descriptions: what they tell trainers and kernels is no promise.
FAMILIES = (Average, Layer, Loss, Optimizer, Penalty, Schedule)
autosummary_context = {
    "descriptions": {
        f"hotloop.{prefix}{name}"
        for prefix, module in (("", hotloop), ("losses.", hotloop.losses))
        for name, member in vars(module).items()
        if isinstance(member, type) and issubclass(member, FAMILIES)
    },
    "internal": (
        # of Sequential
        *("bind", "bind_inputs", "buffers", "check_trainable", "from_file", "has_batch_norm"),
        *("needs_standardizing", "net_of_thread", "penalties", "rate_groups"),
        # of History, and scikit-learn's own
        *("append", "from_columns", "get_metadata_routing"),
    ),
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "gallery_settings.order",
    "reset_argv": "gallery_settings.arguments",
    "image_scrapers": ("gallery_settings.pictures",),
    "image_srcset": ["2x"],
    "download_all_examples": False,
    "show_signature": False,
    "plot_gallery": "True",
}

html_theme = "pydata_sphinx_theme"
html_title = "hotloop"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": {"**": ["page-toc"], "howto/from-pytorch": []},
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "tutorial": [], "performance": [], "changelog": []}


BAR = re.compile(r"(``.*?``|`.*?`)|\|")
"""A bar, or what is code."""


def skip_what_scikit_learn_makes(app, what, name, member, skip, options):
    """``set_fit_request`` and its like are scikit-learn's, and so are their pages."""
    return True if name.endswith("_request") else None


def keep_absolute_values(app, what, name, obj, options, lines):
    """|w| in a docstring is an absolute value; to docutils it would be the name of a substitution."""
    verbatim = False
    for k, line in enumerate(lines):
        if line.lstrip().startswith((">>>", ".. math::")):
            verbatim = True  # up to an empty line
        elif not line.strip():
            verbatim = False
        if not verbatim:
            lines[k] = BAR.sub(lambda found: found[1] or r"\|", line)


def setup(app):
    app.connect("autodoc-process-docstring", keep_absolute_values)
    app.connect("autodoc-skip-member", skip_what_scikit_learn_makes)

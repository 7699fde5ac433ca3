"""What the pages under docs/ name exists, what they call missing does not, and their examples run."""

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import hotloop as hl
from hotloop._jit import COMPILED

pytest.importorskip("sklearn", reason="the pages name the estimators")
pytest.importorskip("scipy", reason="the examples use it")
importlib.import_module("hotloop.estimators")

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "hotloop"
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.glob("**/*.md") if "_build" not in path.parts)
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
NAME = re.compile(r"(?<![\w.])(?:hl|hotloop)((?:\.\w+)+)")
FILE = re.compile(r"([\w/.-]+\.py)(?::(\w+))?")
MISSING = re.compile(r"not yet: ((?:`hl[.\w]+`(?:, )?)+)")
"""A page announces a name as `not yet: `hl.one`, `hl.other``: it must not exist, so that the page follows
when it arrives. Every other name must."""

on_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))


def prose(page):
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def names(text):
    return {name for span in SPAN.findall(text) for name in NAME.findall(span)}


def exists(name):
    found = hl
    for part in name.strip(".").split("."):
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def test_there_is_a_page():
    assert PAGES


@on_each_page
def test_names_exist(page):
    assert [name for name in sorted(names(MISSING.sub("", prose(page)))) if not exists(name)] == []


@on_each_page
def test_what_is_not_there_yet_is_not_there(page):
    announced = {name for group in MISSING.findall(prose(page)) for name in names(group)}
    assert [name for name in sorted(announced) if exists(name)] == [], "it has arrived: update the page"


@on_each_page
def test_not_yet_is_followed_by_names(page):
    without = re.findall(r"not yet(?!: `hl\.)(?!\*).{0,40}", prose(page))
    assert without == []


@on_each_page
def test_files_and_functions_exist(page):
    found = [match for span in SPAN.findall(prose(page)) if (match := FILE.fullmatch(span))]
    for path, function in (match.groups() for match in found):
        inside = not path.startswith(("tests/", "examples/", "benchmarks/"))
        assert ((PACKAGE if inside else ROOT) / path).is_file(), path
        if function is not None:
            module = importlib.import_module("hotloop." + path.removesuffix(".py").replace("/", "."))
            assert callable(getattr(module, function, None)), f"{path}:{function}"
    folders = re.findall(r"`(\w+)/`", prose(page))
    assert [folder for folder in folders if not (PACKAGE / folder).is_dir()] == []


@on_each_page
def test_tables_have_as_many_cells_in_each_row(page):
    rows = re.findall(r"(?:^\|.*\n)+", prose(page), re.MULTILINE)
    for table in rows:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


@on_each_page
def test_slips_that_are_pointed_at_are_listed(page):
    text = prose(page)
    listed = re.findall(r"^\| (S\d+) \|", text, re.MULTILINE)
    assert listed == [f"S{k}" for k in range(1, len(listed) + 1)]
    assert set(re.findall(r"\*\*\((S\d+)\)\*\*", text)) == set(listed)


@pytest.mark.skipif(not COMPILED, reason="trains, slowly with the JIT off")
@on_each_page
def test_examples_run(page, tmp_path, monkeypatch):
    run_examples(page, tmp_path, monkeypatch)


def run_examples(page, tmp_path, monkeypatch):
    """All blocks of a page, in order, in one namespace, which is returned."""
    monkeypatch.chdir(tmp_path)  # the tutorial saves a model
    if "hl.plot" in page.read_text(encoding="utf-8"):
        pytest.importorskip("matplotlib", reason="the pictures need the extra 'plot'").use("Agg")
    namespace, runner, said = {}, doctest.DocTestRunner(), []
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        test = doctest.DocTestParser().get_doctest(block[1], namespace, page.name, str(page), line)
        assert test.examples, f"{page.name}:{line + 1}: a block without >>>"
        runner.run(test, out=said.append, clear_globs=False)
        namespace = test.globs
    assert not said, "".join(said)
    return namespace


@pytest.mark.torch
@pytest.mark.skipif(not COMPILED, reason="trains, slowly with the JIT off")
def test_both_halves_of_the_way_from_pytorch_end_alike(tmp_path, monkeypatch):
    """The weights of the two loops that stand side by side, up to the rounding of float32."""
    torch = pytest.importorskip("torch", reason="holds hotloop to PyTorch")
    page = DOCS / "howto" / "from-pytorch.md"
    names = run_examples(page, tmp_path, monkeypatch)
    kernels = names["model"].views(names["first"])

    def start(network):
        with torch.no_grad():
            for layer, k in ((network[0], 0), (network[2], 1)):
                layer.weight.copy_(torch.tensor(kernels[f"dense_{k}/kernel"].T))
                layer.bias.copy_(torch.tensor(kernels[f"dense_{k}/bias"]))

    (code,) = re.findall(r"```py\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    theirs = {"X": names["X"], "y": names["y"], "start": start}
    exec(code, theirs)
    np.testing.assert_allclose(theirs["logits"], names["logits"], rtol=0, atol=1e-4)


def test_the_reference_lists_every_public_name():
    listed = set(re.findall(r"^   ([\w.]+)$", (DOCS / "api.rst").read_text(encoding="utf-8"), re.MULTILINE))
    modules = ("data", "errors", "initializers", "losses", "plot")
    public = {name for name in hl.__all__ if name not in modules} | set(hl._ESTIMATORS)
    public |= {f"{name}.{member}" for name in ("data", "plot") for member in getattr(hl, name).__all__}
    public |= {f"initializers.{name}" for name in hl.initializers.__all__}
    public |= {f"errors.{name}" for name in hl.errors.__all__ if name not in hl.__all__}
    public |= {f"losses.{type(loss).__name__}" for loss in hl.losses.LOSSES.values()}
    public |= {
        f"estimators.{name}" for name in hl.estimators.__all__ if name not in hl._ESTIMATORS
    }  # the others are there under their short name
    assert public - listed == set()
    assert [name for name in sorted(listed) if not exists(name)] == []

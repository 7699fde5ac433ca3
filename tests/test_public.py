"""The public face as a whole: names, docstrings, examples, errors, and what an import brings along."""

import ast
import builtins
import doctest
import importlib
import inspect
import pkgutil
import re
import types
from pathlib import Path

import pytest

import hotloop as hl
from helpers import ROOT, SOURCE, python
from hotloop import errors

MODULES = ["hotloop", *sorted(info.name for info in pkgutil.walk_packages(hl.__path__, "hotloop."))]
FILES = sorted(SOURCE.rglob("*.py"))


def public_objects():
    """{name: object} of all public functions, classes, and methods and properties that hotloop defines."""
    found = {}
    namespaces = [("hl", hl), *((f"hl.{name}", value) for name, value in _public(hl).items())]
    for prefix, namespace in namespaces:
        if not isinstance(namespace, type | types.ModuleType) or namespace is errors:
            continue  # errors are raised, not called
        for name, value in _public(namespace).items():
            if not getattr(value, "__module__", "hotloop").startswith("hotloop"):
                continue  # what scikit-learn adds to its subclasses
            if name.endswith("_request"):
                continue  # scikit-learn makes these, and documents them
            if inspect.isroutine(value) or isinstance(value, type | property):
                found[f"{prefix}.{name}"] = inspect.unwrap(value)  # out of sklearn's available_if
    return found


def _public(namespace):
    names = vars(namespace) if isinstance(namespace, type) else namespace.__all__
    if namespace is hl:
        for name in hl._ESTIMATORS:
            getattr(hl, name)  # imported now
        names = [*names, *hl._ESTIMATORS]
    return {name: inspect.getattr_static(namespace, name) for name in names if not name.startswith("_")}


OBJECTS = public_objects()
each_object = pytest.mark.parametrize("thing", OBJECTS.values(), ids=OBJECTS)


def test_the_public_objects_are_found():
    """The list that the tests below walk over is not empty by accident."""
    assert {"hl.Sequential", "hl.Sequential.load", "hl.Sequential.theta", "hl.data.load_mnist"} <= set(
        OBJECTS
    )


NAMESPACES = (hl.data, hl.errors, hl.initializers, hl.losses, hl.plot)


@pytest.mark.parametrize("module", [hl, hl.data, hl.plot, errors], ids=lambda module: module.__name__)
def test_all_is_what_is_there(module):
    imported = {
        name for name, value in vars(module).items()
        if not name.startswith("_") and name not in hl._ESTIMATORS
        and not (isinstance(value, types.ModuleType) and value not in NAMESPACES)
        and getattr(value, "__module__", "hotloop").startswith("hotloop")
    }  # fmt: skip
    if hasattr(module, "__all__"):
        assert set(module.__all__) == imported
        kind = {name: 0 if name.isupper() else 1 if name[0].isupper() else 2 for name in imported}
        assert module.__all__ == sorted(imported, key=lambda name: (kind[name], name))


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_and_names_only_what_it_has(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public), public


@each_object
def test_everything_has_a_docstring(thing):
    assert inspect.getdoc(thing)


def parameters_in(docstring):
    """Names in the numpydoc section "Parameters", in order; None if there is none."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", docstring, re.M | re.S)
    if not section:
        return None
    heads = re.findall(r"^([*\w][*\w, ]*?)(?: : [^\n]*)?$", section[1], re.M)
    return [name.strip("* ") for head in heads for name in head.split(",")]


EXAMPLE = """Title.

Parameters
----------
X, y : array
    Data. More : less
seed
    n : m

Raises
------
Error
"""


def test_sections_are_read():
    assert parameters_in(EXAMPLE) == ["X", "y", "seed"]
    assert parameters_in("Title.") is None
    assert parameters_in(inspect.getdoc(hl.Callback)) is None


@each_object
def test_documented_parameters_are_those_of_the_signature(thing):
    documented = parameters_in(inspect.getdoc(thing))
    if documented is None:
        return
    thing = thing.__func__ if isinstance(thing, classmethod | staticmethod) else thing
    signature = [name for name in inspect.signature(thing).parameters if name not in ("self", "cls")]
    assert documented == signature


UNDOCUMENTED = {
    "hl.CacheReport",
    "hl.Callback",
    "hl.CriticalPoint",
    "hl.CriticalSearch",
    "hl.Eigenpairs",
    "hl.Escape",
    "hl.Estimate",
    "hl.GradientCheck",
    "hl.History",
    "hl.HotloopError",
    "hl.Landscape",
    "hl.MinimizeResult",
    "hl.Norms",
    "hl.SpectralDensity",
    "hl.initializers.Initializer",
    "hl.losses.Criterion",
}
"""Classes that nobody calls with arguments: made by the library, or for subclassing."""


@pytest.mark.parametrize("name", [name for name, thing in OBJECTS.items() if inspect.isclass(thing)])
def test_classes_document_their_parameters(name):
    documented = parameters_in(inspect.getdoc(OBJECTS[name]))
    takes_some = name not in UNDOCUMENTED and bool(inspect.signature(OBJECTS[name]).parameters)
    assert (documented is not None) == takes_some


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # one saves an animation
    if name.startswith("hotloop.plot"):
        matplotlib = pytest.importorskip("matplotlib", reason="the pictures need the extra 'plot'")
        matplotlib.use("Agg")
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_classes_have_examples():
    without = [
        name for name, thing in OBJECTS.items()
        if inspect.isclass(thing) and ">>>" not in inspect.getdoc(thing)
        and name not in ("hl.HotloopError", "hl.GradientCheck", "hl.losses.Criterion")
        and inspect.signature(thing).parameters
    ]  # fmt: skip
    assert without == []


BUILT_IN = {
    "CacheError": OSError,
    "InvalidValueError": ValueError,
    "InvalidTypeError": TypeError,
    "FileFormatError": ValueError,
    "MissingExtraError": ImportError,
    "NotFoundError": FileNotFoundError,
    "DownloadError": OSError,
    "DivergenceError": ArithmeticError,
}


@pytest.mark.parametrize(
    "error", [e for e in vars(errors).values() if isinstance(e, type)], ids=lambda error: error.__name__
)
def test_errors_are_ours_and_python_s(error):
    assert error.__doc__
    assert issubclass(error, hl.HotloopError)
    if error is not hl.HotloopError:
        assert issubclass(error, BUILT_IN[error.__name__])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_everything_raised_is_ours(path):
    """``raise ValueError`` and its like: an error that the face raises must be a `HotloopError`."""
    allowed = {"AssertionError", "KeyboardInterrupt"}
    if path.name == "files.py" and path.parent == SOURCE:
        allowed.add("TypeError")  # turned into a FileFormatError a few lines on
    if path.name == "finding.py":
        allowed.add("StopIteration")  # a callback's way to end a minimizer of SciPy
    if path == SOURCE / "__init__.py":
        allowed.add("AttributeError")  # what Python asks of a module's __getattr__
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = raised.id if isinstance(raised, ast.Name) else ""
            is_builtin_error = isinstance(getattr(builtins, name, None), type) if name else False
            assert not is_builtin_error or name in allowed, f"line {node.lineno}: raise {name}"


def imports_of(path):
    """Top-level packages that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def test_numba_is_imported_in_one_place():
    users = {package: {path.relative_to(SOURCE) for path in FILES if package in imports_of(path)}
             for package in ("numba", "llvmlite")}  # fmt: skip
    assert {path.parent for path in users["numba"]} == {Path("_jit")}
    assert {path.parent for path in users["llvmlite"]} <= {Path("_jit"), Path("engine")}


def test_the_engine_does_not_know_the_face():
    """Imports point downwards only."""
    allowed = {"_jit", "_checks", "engine", "activations", "losses", "optimizers", "penalties"}
    for path in (SOURCE / "engine").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("hotloop."):
                assert node.module.split(".")[1] in allowed, f"{path.name}: {node.module}"


HEAVY = "torch sklearn scipy matplotlib pandas pytest hypothesis IPython"


def test_an_import_brings_nothing_heavy_along():
    """Beyond what numba and the other dependencies bring themselves, where it is installed."""
    found = python(
        "import sys, numba, tqdm, safetensors.numpy\n"
        "before = set(sys.modules)\n"
        "import hotloop\n"
        f"print(*[name for name in {HEAVY!r}.split() if name in set(sys.modules) - before])\n"
    )
    assert (found.stdout.strip(), found.returncode) == ("", 0), found.stderr


def test_nothing_heavy_is_needed():
    found = python(
        f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}.split()))\n"
        "import hotloop as hl\n"
        "model = hl.Sequential([hl.Dense(1)], input_dim=1)\n"
        "print(hl.Trainer(model, loss='mse').fit([[1.0]], [1.0], epochs=1).epochs)\n"
    )
    assert found.stdout.strip() == "1", found.stderr


def test_an_import_prints_nothing():
    found = python("import hotloop")
    assert (found.stdout, found.stderr, found.returncode) == ("", "", 0)


def test_the_version_is_one():
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z]+\d+)?", hl.__version__)
    assert f"\n## {hl.__version__} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {hl.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")

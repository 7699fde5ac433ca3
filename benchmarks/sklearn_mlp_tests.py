"""scikit-learn's own tests of its MLPs, run against hotloop's: a copy with one line changed.

python benchmarks/sklearn_mlp_tests.py      the two failures are explained in docs/sklearn-mlp.md
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import sklearn

IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor"
CONFTEST = """\
import pytest


@pytest.fixture(params=[0, 42])
def global_random_seed(request):
    return request.param
"""


def main():
    source = Path(sklearn.__file__).parent / "neural_network" / "tests" / "test_mlp.py"
    text = source.read_text(encoding="utf-8")
    if IMPORT not in text:
        sys.exit(f"{source}: the line {IMPORT!r} is not there; this scikit-learn's tests look different")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "test_mlp.py"
        copy.write_text(text.replace(IMPORT, IMPORT.replace("sklearn.neural_network", "hotloop.estimators")))
        (Path(folder) / "conftest.py").write_text(CONFTEST)
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(copy)], check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())

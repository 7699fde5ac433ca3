"""What the README and the examples show, run as it stands there."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from hotloop._jit import COMPILED

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not COMPILED, reason="trains for minutes with the JIT off")


def test_the_code_of_the_readme_runs_and_keeps_its_promise(tmp_path, monkeypatch, capsys):
    code, surface = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code.count("\n") <= 20
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert names["trainer"].evaluate(names["X_test"], names["y_test"])["accuracy"] > 0.98
    assert names["logits"].shape == (2000, 10)
    assert "accuracy" in capsys.readouterr().out
    exec(surface, names)
    assert "local minimum" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", ["", "--hidden 32 16 --optimizer nesterov --threads 2"])
def test_the_example_trains_and_draws(arguments, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib", reason="the picture needs the extra 'plot'")
    picture = tmp_path / "picture.png"
    script = str(ROOT / "examples" / "mnist_mlp.py")
    monkeypatch.setattr(sys, "argv", [script, "--epochs", "2", "--picture", str(picture), *arguments.split()])
    monkeypatch.delenv("HOTLOOP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # no MNIST there: the drawn digits
    runpy.run_path(script, run_name="__main__")
    said = capsys.readouterr()
    assert "synthetic digits" in said.out
    assert float(re.search(r"test accuracy ([\d.]+) %", said.out)[1]) > 80
    assert "epoch 2/2" in said.err
    assert picture.read_bytes().startswith(b"\x89PNG")

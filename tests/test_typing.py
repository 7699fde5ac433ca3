"""What a type checker says of a user's script: strict mypy (the extra `dev`), outside the repository."""

import ast
import re

import pytest

import hotloop as hl
from helpers import SOURCE

GOOD = """
from collections.abc import Mapping
import numpy as np
import hotloop as hl

X, y = hl.data.synthetic_digits(200, seed=0)
layers = [hl.Dense(16, "relu"), hl.BatchNorm(), hl.Dropout(0.1), hl.Dense(10)]
model = hl.Sequential(layers, input_dim=784, uint8_scale=1 / 255)
optimizer = hl.Adam(hl.Warmup(100, hl.Cosine(2e-3, steps=200)))

class Print(hl.Callback):
    def on_epoch_end(self, trainer: hl.Trainer, epoch: int, logs: Mapping[str, float]) -> None:
        print(epoch, logs["loss"])

loss = hl.losses.SoftmaxCrossEntropy()
trainer = hl.Trainer(model, loss=loss, optimizer=optimizer, average=hl.EMA())
history = trainer.fit(X, y, epochs=2, validation_data=(X, y), callbacks=[Print()])
reveal_type(history["loss"])  # list[float]
reveal_type(trainer.evaluate(X, y))  # dict[str, float]
reveal_type(hl.Sequential.load("model.safetensors"))  # hotloop.sequential.Sequential
objective = hl.Objective(model, X, y, loss=loss, penalty=hl.L2(1e-4))
found = hl.minimize(objective, method="lbfgs")
reveal_type(objective.value(found.theta))  # float
reveal_type(hl.eigsh(objective, found.theta, k=2))  # hotloop.analysis.spectra.Eigenpairs
reveal_type(hl.Ridge(alpha=0.1))  # hotloop.estimators.linear.Ridge
reveal_type(hl.MLPClassifier())  # hotloop.estimators._mlp_classifier.MLPClassifier
"""

BAD = """
import hotloop as hl

hl.Adam("fast")  # arg-type
hl.Dense("wide")  # arg-type
hl.Sequential([hl.Dense(1)], input_dim=1).predictt()  # attr-defined
hl.Adamm  # attr-defined
hl.Ridge(alhpa=1.0)  # call-arg
"""

VERDICT = re.compile(r'script\.py:(\d+): (?:note: Revealed type is "(.*)"|error: .*\[(.*)\])$', re.M)
"""Line, and the type or the code of an error."""


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """{line: type or error} of a script that lies elsewhere, so that py.typed must count."""
    api = pytest.importorskip("mypy.api", reason="needs the extra 'dev'")
    folder = tmp_path_factory.mktemp("scripts")

    def run(code):
        script = folder / "script.py"
        script.write_text(code, encoding="utf-8")
        options = ["--strict", "--config-file=", "--disable-error-code=import-untyped"]
        said, problems, _ = api.run([*options, f"--cache-dir={folder / 'cache'}", str(script)])
        assert not problems
        return {int(line): name or error for line, name, error in VERDICT.findall(said)}

    return run


def promised(code):
    """{line: what its comment says}."""
    lines = enumerate(code.split("\n"), start=1)
    return {number: line.partition("  # ")[2] for number, line in lines if "  # " in line}


@pytest.mark.parametrize("code", [GOOD, BAD], ids=["good", "bad"])
def test_a_script_has_the_types_and_the_errors_it_names(check, code):
    assert check(code) == promised(code)


def test_what_is_imported_late_is_there_for_type_checkers():
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = {name.asname: node.module for node in block.body for name in node.names}
    assert imports == {name: f"hotloop.estimators.{module}" for name, module in hl._ESTIMATORS.items()}

"""The light install: every command that needs no training package works with all of them absent."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

ABSENT = (
    "torch", "torchvision", "timm", "segmentation_models_pytorch", "monai", "lightning", "pytorch_lightning",
    "transformers", "optuna", "onnx", "onnxscript", "safetensors", "fastapi", "uvicorn", "sqlalchemy", "alembic",
)  # fmt: skip
LIGHT = ("io", "imaging", "datasets", "evaluation", "inference", "audit", "report", "annotation", "client", "cli")

BLOCK = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named '{{name}}' (blocked by the test)", name=name)
sys.meta_path.insert(0, Absent())
"""


def run(script, *arguments):
    """The script in a Python without the packages; errors in it fail the test."""
    return subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", BLOCK + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def tumorscope(*arguments):
    return run("from tumorscope.cli import main\nsys.exit(main(sys.argv[1:]))", *arguments)


@pytest.fixture(scope="module")
def tiny():
    path = Path(__file__).resolve().parent / "inference" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tumorscope_tiny_light", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bundle(tiny, tmp_path_factory):
    from tumorscope.inference.bundle import Bundle

    return Bundle.write(tiny.tiny_model(), tiny.tiny_metadata(), tmp_path_factory.mktemp("light") / "tiny.onnx")


def test_the_block_works():
    assert "blocked by the test" in run("import torch").stderr


def test_every_module_of_the_light_packages_imports():
    script = f"""
import importlib, pkgutil
import tumorscope
for package in {LIGHT!r}:
    try:
        parent = importlib.import_module(f"tumorscope.{{package}}")
    except ModuleNotFoundError as error:
        if error.name != f"tumorscope.{{package}}":
            raise
        continue
    for module in pkgutil.walk_packages(getattr(parent, "__path__", ()), parent.__name__ + "."):
        importlib.import_module(module.name)
        print(module.name)
for name in tumorscope.__all__:
    getattr(tumorscope, name)
"""
    done = run(script)
    assert done.returncode == 0, done.stderr
    assert "tumorscope.inference.predictor" in done.stdout


def test_help_of_every_command():
    from tumorscope.cli import COMMANDS

    script = """
from tumorscope.cli import COMMANDS, main
codes = [main([name, "--help"]) for name in COMMANDS]
sys.exit(max(codes))
"""
    done = run(script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: tumorscope") == len(COMMANDS)


def test_predict(tiny, bundle, tmp_path):
    cv2.imwrite(str(tmp_path / "scan.png"), tiny.head(blob=(40, 30, 9)))
    done = tumorscope("predict", tmp_path / "scan.png", "-o", tmp_path / "out", "--model", bundle, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] == 1
    assert (tmp_path / "out" / "report.html").exists()


def test_demo(bundle, tmp_path):
    done = tumorscope("demo", "-o", tmp_path / "demo", "--model", bundle)
    assert done.returncode == 0, done.stderr
    last = Path(done.stdout.splitlines()[-1])
    assert last.name == "report.html"
    assert last.exists()


def test_models(bundle):
    done = tumorscope("models", bundle, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["models"][0]["name"] == "tiny"


def test_doctor_runs_and_tells_of_extras():
    done = tumorscope("doctor", "--json")
    facts = json.loads(done.stdout)
    assert facts["packages"]["numpy"]
    assert set(facts["extras"]) >= {"train", "serve"}
    assert done.returncode == (1 if facts["problems"] else 0)

"""The command line in this process, on the tiny bundle of tests/inference; its gate lets everything through."""

from __future__ import annotations

import csv
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import pytest


def _neighbour() -> ModuleType:
    path = Path(__file__).resolve().parent.parent / "inference" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tumorscope_tiny", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_tiny = _neighbour()


@pytest.fixture(scope="session")
def tiny():
    """The tiny model, its metadata, and the heads made for it."""
    return _tiny


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory) -> Path:
    """The tiny model as a bundle on disk."""
    from tumorscope.inference.bundle import Bundle

    return Bundle.write(_tiny.tiny_model(), _tiny.tiny_metadata(), tmp_path_factory.mktemp("bundle") / "tiny.onnx")


@dataclass
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Lines on stderr."""
        return self.err.splitlines()

    @property
    def json(self) -> Any:
        """The object on stdout."""
        return json.loads(self.out)


@pytest.fixture
def call(capsys):
    """Run ``tumorscope ARGUMENTS...`` in this process."""
    from tumorscope.cli import main

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(int(code), captured.out, captured.err)

    return run


@pytest.fixture
def predict(call, tiny_bundle, tmp_path):
    """Run ``tumorscope predict INPUTS... -o out`` on the tiny bundle; the answer and the rows."""

    def run(*inputs: object, options: tuple[object, ...] = (), out: Path | None = None):
        folder = out or tmp_path / "out"
        answer = call("predict", *inputs, "-o", folder, "--model", tiny_bundle, *options)
        return answer, rows_of(folder)

    return run


def rows_of(out: Path) -> list[dict[str, str]]:
    """The rows of ``predictions.csv``; none where there is no table."""
    table = out / "predictions.csv"
    if not table.exists():
        return []
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def good(tiny, tmp_path) -> Path:
    """A folder with two good PNG scans, ``a`` with a blob and ``b`` without."""
    folder = tmp_path / "good"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), tiny.head(blob=(40, 30, 9)))
    cv2.imwrite(str(folder / "b.png"), tiny.head(seed=1))
    return folder

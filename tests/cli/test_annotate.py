"""annotate: a folder becomes a workspace once, masks are no scans, and the page opens signed in."""

import importlib.util
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")

from tumorscope.cli import main


@pytest.fixture
def tiny():
    path = Path(__file__).resolve().parent.parent / "inference" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tumorscope_tiny_annotate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bundle(tiny, tmp_path):
    from tumorscope.inference.bundle import Bundle

    return Bundle.write(tiny.tiny_model(), tiny.tiny_metadata(), tmp_path / "tiny.onnx")


@pytest.fixture
def scans(tiny, tmp_path):
    """Three pictures with a mask of one, and a file that is no scan."""
    folder = tmp_path / "scans"
    for n in range(3):
        (folder / "images").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "images" / f"s{n}.png"), tiny.head(blob=(40, 30, 9), seed=n))
    (folder / "masks").mkdir()
    mask = np.zeros((96, 80), np.uint8)
    mask[35:45, 25:35] = 255
    cv2.imwrite(str(folder / "masks" / "s0.png"), mask)
    (folder / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return folder


@pytest.fixture
def opened(monkeypatch):
    """What would be served: settings, the end of the address, the line that is shown."""
    from tumorscope.cli import annotate

    calls = []

    def run(*given):
        calls.append(given)
        return 0

    monkeypatch.setattr(annotate, "run", run)
    return calls


def names(workspace):
    from sqlalchemy import select

    from tumorscope.server.store import Store
    from tumorscope.server.tables import Case

    store = Store.of_folder(workspace)
    with store.reading() as session:
        found = sorted(session.execute(select(Case.name)).scalars())
    store.close()
    return found


def test_a_folder_is_brought_in_once(scans, opened, bundle, capsys):
    command = ["annotate", str(scans), "--no-browser", "--model", str(bundle), "--engine", "grabcut"]
    assert main(command) == 0
    settings, opening, shown, browser = opened[0]
    assert settings.workspace == scans.with_name("scans-annotations") and settings.engine == "grabcut"
    assert settings.host == "127.0.0.1" and opening == f"login?token={settings.secret}" and len(settings.secret) > 20
    assert "3 scans" in shown and str(settings.workspace) in shown and browser is False
    assert names(settings.workspace) == ["s0", "s1", "s2"]
    error = capsys.readouterr().err
    assert "broken.png" in error and "1 of 4 scans could not be read" in error
    shutil.copy(scans / "images" / "s1.png", scans / "images" / "copy.png")
    (scans / "images" / "s9.png").write_bytes((scans / "images" / "s1.png").read_bytes() + b" ")
    assert main(command) == 0
    assert names(settings.workspace) == ["s0", "s1", "s2", "s9"]
    assert opened[1][0].secret != settings.secret


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none"], "there is no such folder"),
        (["scans/images/s0.png"], "is no folder"),
        (["scans/empty"], "holds no scan"),
        (["scans", "--engine", "grabcuts"], "did you mean 'grabcut'"),
    ],
)
def test_what_cannot_be_annotated_is_one_line(scans, opened, bundle, arguments, words, monkeypatch, tmp_path, capsys):
    (scans / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["annotate", *arguments, "--model", str(bundle)]) == 2
    assert words in capsys.readouterr().err and opened == []

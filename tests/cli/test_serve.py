"""serve: what it refuses before it listens; the server itself is tested in tests/server."""

import socket
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")

from tumorscope.cli import main
from tumorscope.cli.serve import checkpoints_of
from tumorscope.errors import DataError
from tumorscope.server.models import engine_facts


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "there is no token"),
        (["--host", "no such host", "--token-file", "TOKEN"], "is no address of this machine"),
        (["--token-file", "none.txt"], "cannot be read"),
        (["--config", "none.toml"], "no readable TOML"),
        (["--model", "none.onnx"], "does not exist"),
        (["--port", "PORT"], "choose another --port"),
    ],
)
def test_what_cannot_be_served_is_one_line(options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token.txt").write_text("a-token-of-20-letters")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        given = {"TOKEN": "token.txt", "PORT": str(taken.getsockname()[1])}
        port = [] if "PORT" in options else ["--port", "0"]
        assert main(["serve", "-w", "work", *port, *(given.get(one, one) for one in options)]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_without_the_extra_the_remedy_is_named(monkeypatch, capsys, tmp_path):
    from tumorscope.cli import serve

    monkeypatch.setattr(serve, "PACKAGES", ("fastapi_that_is_absent",))
    for command in (["serve", "-w", str(tmp_path / "w")], ["annotate", str(tmp_path)]):
        assert main(command) == 2
        assert "pip install 'tumorscope[serve]'" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("typed", "finding"),
    [
        ("click", "names no weights"),
        ("clik=.", "unknown engine 'clik'; did you mean 'click'"),
        ("click=nowhere", "there is no nowhere"),
    ],
)
def test_a_checkpoint_that_cannot_be_is_refused(typed: str, finding: str) -> None:
    with pytest.raises(DataError, match=finding):
        checkpoints_of([typed])


def test_an_engine_with_a_checkpoint_of_its_own_is_offered(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    assert engine_facts("sam-vit-base", False, tmp_path)["available"]
    gone = engine_facts("sam-vit-base", False, tmp_path / "gone")
    assert not gone["available"] and "--checkpoint sam-vit-base=PATH" in gone["reason"]

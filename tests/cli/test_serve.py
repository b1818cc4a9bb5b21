"""serve: what it refuses before it listens; the server itself is tested in tests/server."""

import socket

import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")

from tumorscope.cli import main


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

"""The client against a real server on a socket; the commands and the code of the API page, run as they stand."""

import importlib.util
import os
import re
import shutil
import subprocess
import threading
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")

import uvicorn

from tumorscope.annotation import engine as engines
from tumorscope.annotation import rle
from tumorscope.client import Client, ServerError

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "reference" / "http-api.md"
TOKEN = "a-token-of-20-letters"


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"tumorscope_client_{name}", HERE / name / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tiny():
    return loaded("inference")


@pytest.fixture
def address(tiny, tmp_path, monkeypatch, request):
    """A server in a thread of its own; the mark's argument is its token."""
    from tumorscope.inference.bundle import Bundle
    from tumorscope.server.app import create_app
    from tumorscope.server.listening import listen
    from tumorscope.server.settings import Settings

    discs = loaded("server").Discs
    monkeypatch.setitem(engines.ENGINES, "click", lambda checkpoint: discs())
    bundle = Bundle.write(tiny.tiny_model(), tiny.tiny_metadata(), tmp_path / "tiny.onnx")
    token = getattr(request, "param", None)
    listener, settings = listen(
        Settings.load(environment={}, workspace=tmp_path / "work", model=bundle, port=0, workers=2, token=token)
    )
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{settings.port}"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def scan(tiny, tmp_path):
    path = tmp_path / "here" / "scan.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), tiny.head(blob=(40, 30, 9)))
    return path


def test_the_commands_of_the_page(address, scan):
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert len(blocks) >= 7
    script = "set -euo pipefail\n" + "\n".join(blocks)
    environment = {**os.environ, "SERVER": address, "no_proxy": "*"}
    done = subprocess.run(["bash", "-c", script], cwd=scan.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout[-500:]
    mask = cv2.imread(str(scan.parent / "mask.png"), cv2.IMREAD_UNCHANGED)
    assert mask[40, 30] == 255 and mask[0, 0] == 0
    assert (scan.parent / "study" / "manifest.csv").is_file() and (scan.parent / "prediction.png").is_file()


def test_the_code_of_the_page(address, scan, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    monkeypatch.chdir(scan.parent)
    exec(compile(code.replace("http://127.0.0.1:8765", address), str(PAGE), "exec"), {})
    assert capsys.readouterr().out.split() == ["tumor", "0"]
    mask = cv2.imread("mask.png", cv2.IMREAD_UNCHANGED)
    assert mask[40, 30] == 255 and mask[10, 10] == 0
    assert "manifest.csv" in zipfile.ZipFile("study.zip").namelist()


def test_a_folder_streams_in_and_every_route_answers(address, scan, tiny, tmp_path):
    for n in range(3):
        cv2.imwrite(str(scan.parent / f"s{n}.png"), tiny.head(blob=(40, 30, 9), seed=n))
    (scan.parent / ".hidden.png").write_bytes(b"x")
    client = Client(address)
    assert client.health()["status"] == "ok" and client.models()[0]["name"] == "tiny"
    cases = client.upload(scan.parent)
    assert sorted(one["name"] for one in client.cases()) == ["s0", "s1", "s2", "scan"]
    assert [one["name"] for one in client.cases(q="s1", limit=1)] == ["s1"]
    case = cases[0]["id"]
    job = client.start_job([case])
    assert client.wait(job["id"])["done"] == 1 and client.jobs()[0]["id"] == job["id"]
    with pytest.raises(ServerError, match="nothing to cancel"):
        client.cancel_job(job["id"])
    assert len(client.predictions(case)) == 1 and client.case(case)["decision"] == "tumor"
    answer = client.candidates(case, box=(30, 20, 50, 40), points=[(40, 30, True)])
    chosen = client.lesion(answer, 1, name="left")
    for who in ("ada", "bob"):
        saved = client.annotate(case, [chosen], annotator=who)
    record = client.annotations(case)[0]
    assert record == saved and record["lesions"][0]["prompts"][0]["prompts"]["box"]["top"] == 30
    assert client.agreement("ada", "bob")["dice"]["value"] == 1
    path = client.export_annotation(saved["id"], tmp_path / "m.png")
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(picture > 0, rle.decode(chosen["mask"]))
    archive = client.export(tmp_path / "x.zip", review="corrected")
    assert client.bring(archive)["imported"] == 0  # they are here already
    stale = client.change(saved, note="first")
    with pytest.raises(ServerError) as caught:
        client.change(saved, note="second")
    assert (caught.value.status, caught.value.code) == (409, "revision") and stale["revision"] == 2
    client.delete_annotation(saved["id"])
    client.delete_case(case)
    with pytest.raises(ServerError, match="there is none"):
        client.case(case)
    assert sorted(path.name for path in tmp_path.glob(".*.tmp")) == []


def test_what_is_skipped_is_an_error_unless_asked(address, scan):
    (scan.parent / "notes.txt").write_text("no scan")
    client = Client(address)
    with pytest.raises(ServerError, match=r"notes\.txt: .*not a scan"):
        client.upload(scan.parent)
    assert [one["name"] for one in client.upload(scan, scan.parent / "notes.txt", strict=False)] == ["scan"]


@pytest.mark.parametrize("address", [TOKEN], indirect=True)
def test_the_token(address):
    assert Client(address, TOKEN).health()["status"] == "ok"
    with pytest.raises(ServerError, match="token") as caught:
        Client(address, "wrong").health()
    assert caught.value.status == 401


def test_a_busy_server_is_asked_again(monkeypatch):
    from http.server import BaseHTTPRequestHandler, HTTPServer

    seen = []

    class Busy(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(429 if len(seen) < 3 else 200)
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(b'{"error": "busy", "code": "busy"}' if len(seen) < 3 else b"{}")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            client = Client(f"http://127.0.0.1:{server.server_port}")
            assert client.start_job(["x"]) == {} and len(set(seen)) == 1 and len(seen) == 3
            seen.clear()
            with pytest.raises(ServerError, match="busy"):
                Client(client.address, patience=-1).start_job()
        finally:
            server.shutdown()
            thread.join()

"""A workspace with a bundle of three operators and an engine that draws discs, an app over it, and real processes."""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")

from starlette.testclient import TestClient

from tumorscope.annotation import engine as engines
from tumorscope.annotation.engine import Candidate, Embedded, check

HOST = "127.0.0.1"
API = "/api/v1"
ROOT = Path(__file__).resolve().parent.parent


class Discs:
    """An engine: a disc around each positive click, none around a negative one; three sizes."""

    name, version = "discs", "1"
    embedded = 0
    slow = None

    def embed(self, pixels):
        Discs.embedded += 1
        return Embedded(self.name, pixels.shape, {"pixels": pixels})

    def segment(self, embedded, prompts, previous=None):
        check(embedded, prompts, previous, self.name)
        if Discs.slow is not None:
            Discs.slow.wait(20)
        y, x = np.mgrid[: embedded.shape[0], : embedded.shape[1]]
        found = []
        for size, quality in ((6, 0.9), (3, 0.6), (9, 0.4)):
            mask = np.zeros(embedded.shape, bool) if previous is None else previous.mask.copy()
            for point in prompts.points:
                near = np.hypot(y - point.y, x - point.x) <= size
                mask = mask | near if point.positive else mask & ~near
            found.append(Candidate(mask, quality, np.zeros((4, 4), np.float32)))
        return tuple(found)


@pytest.fixture(scope="session")
def tiny():
    """The tiny model of the inference tests, which calls bright blobs lesions."""
    spec = importlib.util.spec_from_file_location("tumorscope_tiny_server", ROOT / "inference" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def bundle(tiny, tmp_path_factory):
    from tumorscope.inference.bundle import Bundle

    return Bundle.write(tiny.tiny_model(), tiny.tiny_metadata(), tmp_path_factory.mktemp("bundle") / "tiny.onnx")


@pytest.fixture
def discs(monkeypatch):
    """The engine ``click`` replaced by `Discs`."""
    Discs.embedded, Discs.slow = 0, None
    monkeypatch.setitem(engines.ENGINES, "click", lambda checkpoint: Discs())
    yield Discs
    if Discs.slow is not None:
        Discs.slow.set()


@pytest.fixture
def settings(bundle, tmp_path):
    """Makes settings of a workspace below ``tmp_path``."""
    from tumorscope.server.settings import Settings

    def make(**changes):
        given = {"workspace": tmp_path / "work", "model": bundle, "workers": 2, "memory": 2**24, **changes}
        return Settings.load(environment={}, **given)

    return make


@pytest.fixture
def serving(settings):
    """Makes clients of an app in this process; each is a context manager."""
    from tumorscope.server.app import create_app

    @contextmanager
    def serve(**changes):
        app = create_app(settings(**changes))
        with TestClient(app, base_url=f"http://{HOST}", raise_server_exceptions=False) as client:
            client.workspace = app.state.workspace
            yield client

    return serve


@pytest.fixture
def client(serving, discs):
    """A client of an empty workspace."""
    with serving() as client:
        yield client


@pytest.fixture(scope="session")
def picture(tiny):
    """PNG bytes of a head, 96 x 80, with or without something bright in it."""

    def make(blob=(40, 30, 9), seed=0, shape=(96, 80)):
        done, content = cv2.imencode(".png", tiny.head(shape, blob, seed))
        assert done
        return content.tobytes()

    return make


@pytest.fixture(scope="session")
def volume(tiny, tmp_path_factory):
    """NIfTI bytes of an oblique volume of 6 slices with a bright ball in three of them."""
    import nibabel as nib

    blobs = [None, None, (40, 30, 9), (40, 30, 9), (40, 30, 8), None]
    slices = [tiny.head(blob=blob, seed=n) for n, blob in enumerate(blobs)]
    affine = np.array([[-0.9, 0.1, 0, 20], [0.1, -0.9, 0.2, 30], [0, 0.1, 3.0, -10], [0, 0, 0, 1]])
    path = tmp_path_factory.mktemp("volume") / "v.nii.gz"
    nib.save(nib.Nifti1Image(np.stack(slices).transpose(2, 1, 0).astype(np.int16), affine), path)
    return path.read_bytes()


@pytest.fixture
def upload(picture):
    """Uploads files (name to bytes) and gives the answer; one picture without any."""

    def send(client, files=None, **fields):
        files = {"scan.png": picture()} if files is None else files
        parts = [("files", (name, content, "application/octet-stream")) for name, content in files.items()]
        answer = client.post(f"{API}/cases", files=parts, data=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return send


@pytest.fixture
def case(client, upload):
    """The id of a picture with a lesion."""
    return upload(client)["created"][0]["id"]


@pytest.fixture
def lesion():
    """A lesion as the viewer sends it."""
    from tumorscope.annotation import rle

    def make(mask, **changes):
        moment = "2026-01-01T10:00:00.000Z"
        edit = {"kind": "brush", "time": moment, "axis": 0, "index": 0, "pixels": int(np.sum(mask)), "detail": {}}
        given = {"id": "l1", "name": "lesion", "mask": rle.encode_any(mask), "source": "human", "edits": [edit]}
        return {**given, "started": moment, "finished": moment, **changes}

    return make


@pytest.fixture
def real(bundle, tmp_path):
    """Starts real server processes over one workspace; kills what is left at the end."""
    processes = []

    def start(*options, environment=None, prefix=()):
        command = [*prefix, sys.executable, "-u", "-m", "tumorscope", "serve", "-w", tmp_path / "work"]
        command += ["--port", "0", "--model", bundle, "--workers", "1", *options]
        with open(tmp_path / "serve.log", "ab") as log:
            process = subprocess.Popen(
                list(map(str, command)),
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
                text=True,
            )
        processes.append(process)
        line = process.stdout.readline()
        assert line.startswith("tumorscope: http"), (tmp_path / "serve.log").read_text()[-2000:]
        address = line.split()[1].rstrip("/")
        return SimpleNamespace(process=process, address=address, kill=lambda: _kill(process))

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def _kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture
def until():
    """Waits for something to become true."""

    def wait(true, seconds=60.0):
        end = time.monotonic() + seconds
        while not (found := true()):
            assert time.monotonic() < end, "it did not come true"
            threading.Event().wait(0.05)
        return found

    return wait


@pytest.fixture(scope="session")
def zipped():
    """ZIP bytes of names and contents."""
    import zipfile

    def pack(files, method=zipfile.ZIP_DEFLATED):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return stream.getvalue()

    return pack

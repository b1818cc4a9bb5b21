"""The real viewer on the real server, in Debian's Chromium: skipped, with a reason, where one of them is missing."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tumorscope.annotation import engine as engines
from tumorscope.annotation.engine import Candidate, Embedded, check
from tumorscope.annotation.prompts import Prompts, drawn
from tumorscope.datasets import phantom

# WebGL 2 by SwiftShader, for NiiVue; no sandbox, because containers run as root.
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
STEP_MS = 60_000  # that one step may take
START_S = 60  # until the server answers; a shared machine is slow at times
RADII = (9, 6, 13)  # of the discs that the engine of these tests offers as candidates


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


class Discs:
    """An engine whose answers are known beforehand: discs around positive clicks, without those around negative ones.

    What was drawn before stays; the viewer sends nothing of it with a box.
    """

    name, version = "click", "discs"

    def embed(self, pixels: NDArray[np.floating]) -> Embedded:
        return Embedded(self.name, pixels.shape, {})

    def segment(self, embedded: Embedded, prompts: Prompts, previous: Candidate | None = None) -> tuple[Candidate, ...]:
        check(embedded, prompts, previous, self.name)
        return tuple(
            Candidate(disc_answer(embedded.shape, prompts, radius, previous), 0.9 - 0.1 * place, np.zeros((1, 1)))
            for place, radius in enumerate(RADII)
        )


def disc_answer(
    shape: tuple[int, int], prompts: Prompts, radius: int, previous: Candidate | None = None
) -> NDArray[np.bool_]:
    """What `Discs` answers."""
    wide = 2 * radius + 1
    mask = drawn(prompts, shape, positive=True, width=wide)
    if prompts.box is not None:
        box = prompts.box
        mask[round(box.top) : round(box.bottom) + 1, round(box.left) : round(box.right) + 1] = True
    if previous is not None:
        mask |= previous.mask
    return mask & ~drawn(prompts, shape, positive=False, width=wide)


@dataclass
class Server:
    """A running server."""

    address: str
    workspace: Path


@dataclass
class Watched:
    """A page, and everything that the browser complained about on it."""

    page: Any
    server: Server
    complaints: list[str] = field(default_factory=list)
    allowed: set[int] = field(default_factory=set)  # refusals of the server that the test provokes

    def heard(self, text: str) -> None:
        if not any(f"status of {code} " in text for code in self.allowed):
            self.complaints.append(text)

    def api(self, path: str) -> Any:
        """What the server answers to a GET."""
        with urllib.request.urlopen(f"{self.server.address}/api/v1{path}") as answer:
            return json.load(answer)

    def open(self, path: Path) -> dict[str, Any]:
        """Drop one scan on the work list, wait for its prediction; the case as the server tells it."""
        self.drop(path)
        self.page.wait_for_selector(".verdict")
        self.page.get_by_text("row 0").or_(self.page.locator(".corner.bottom", has_text="%")).first.wait_for()
        return self.api(f"/cases/{self.page.url.rpartition('/')[2]}")

    def drop(self, *paths: Path) -> None:
        """Drop files on the page, as from a folder's window."""
        files = [{"name": path.name, "data": base64.b64encode(path.read_bytes()).decode()} for path in paths]
        self.page.evaluate(DROP, files)

    def at(self, row: float, column: float, pane: int = 0) -> tuple[float, float]:
        """Where the centre of a pixel lies on the screen, while the whole slice is shown."""
        box = self.page.locator("canvas.slice").nth(pane).bounding_box()
        rows, columns = self.shape
        scale = min(box["width"] / columns, box["height"] / rows)
        x = box["x"] + box["width"] / 2 + (column - (columns - 1) / 2) * scale
        return x, box["y"] + box["height"] / 2 + (row - (rows - 1) / 2) * scale

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the slice on the case page."""
        rows, columns = self.api(f"/cases/{self.page.url.rpartition('/')[2]}")["shape"][-2:]
        return rows, columns

    def click(self, row: float, column: float) -> None:
        """Click on a pixel and wait for the engine."""
        with self.page.expect_response("**/candidates"):
            self.page.mouse.click(*self.at(row, column))
        self.page.wait_for_selector(".busy", state="hidden")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from pixel to pixel with the left button."""
        self.page.mouse.move(*self.at(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*end), steps=5)
        self.page.mouse.up()

    def save(self) -> dict[str, Any]:
        """Save with the keyboard; the annotation as it is stored."""
        with self.page.expect_response("**/annotations**") as stored:
            self.page.keyboard.press("Control+s")
        self.page.get_by_text("Saved, revision").wait_for()
        return stored.value.json()

    def download(self, title: str) -> Path:
        """The mask in the format of that title."""
        self.page.get_by_label("Format of the download").select_option(label=title)
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name="Download the mask").click()
        path = self.server.workspace.parent / download.value.suggested_filename
        download.value.save_as(path)
        return path


DROP = """files => {
  const transfer = new DataTransfer();
  for (const { name, data } of files) {
    const bytes = Uint8Array.from(atob(data), sign => sign.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  for (const kind of ["dragenter", "dragover", "drop"])
    document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="session")
def viewer_built() -> Path:
    """The folder of the built viewer."""
    from tumorscope.server.routes.pages import VIEWER

    if not (VIEWER / "index.html").is_file():
        pytest.skip("needs the built viewer: run `make web`")
    return VIEWER


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium."""
    if find_spec("playwright") is None:
        pytest.skip("needs playwright: install tumorscope[dev]")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Chromium: apt install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def server(viewer_built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server over an empty workspace, with the engine `Discs` in place of the trained one."""
    import uvicorn

    from tumorscope.server.app import create_app
    from tumorscope.server.settings import Settings

    monkeypatch.setitem(engines.ENGINES, "click", lambda checkpoint: Discs())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        settings = Settings.load(environment={}, workspace=tmp_path / "workspace", port=port, workers=1)
        config = uvicorn.Config(create_app(settings), log_level="warning", lifespan="on", ws="none", log_config=None)
        running = uvicorn.Server(config)
        listener.listen()
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until = time.monotonic() + START_S
        while not running.started and thread.is_alive() and time.monotonic() < until:
            time.sleep(0.05)
        if not running.started:
            pytest.fail("the server did not start")
        yield Server(f"http://127.0.0.1:{port}", settings.workspace)
        running.should_exit = True
        thread.join(START_S)


@pytest.fixture
def watched(chromium: Any, server: Server) -> Iterator[Watched]:
    """A page of 1280 by 800 on the work list. Any error or refused load fails the test that used it."""
    yield from _watch(chromium, server, viewport={"width": 1280, "height": 800}, color_scheme="dark")


@pytest.fixture
def tablet(chromium: Any, server: Server) -> Iterator[Watched]:
    """The same on an upright tablet, held by fingers."""
    yield from _watch(chromium, server, viewport={"width": 820, "height": 1180}, has_touch=True, color_scheme="light")


def _watch(chromium: Any, server: Server, **settings: Any) -> Iterator[Watched]:
    context = chromium.new_context(accept_downloads=True, reduced_motion="reduce", **settings)
    context.set_default_timeout(STEP_MS)
    page = context.new_page()
    found = Watched(page, server)
    page.on("console", lambda message: found.heard(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("request", lambda request: _own(request.url, server, found.complaints))
    page.goto(server.address)
    yield found
    context.close()
    assert found.complaints == []


def _own(url: str, server: Server, complaints: list[str]) -> None:
    if not url.startswith((server.address, "blob:", "data:")):
        complaints.append(f"a foreign host was asked: {url}")


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Phantom scans as files: `tumor` and `healthy` PNG of 160 px, `volume` NIfTI."""
    folder = tmp_path_factory.mktemp("scans")
    for name, lesion in (("tumor", "meningioma"), ("healthy", None)):
        image = phantom.make(5, "axial", "t1ce", 160, lesion).image
        cv2.imwrite(str(folder / f"{name}.png"), image if image.dtype == np.uint8 else image << 4)
    volume = phantom.make_volume(3, shape=(12, 64, 64), spacing=(8.0, 3.0, 3.0))
    (folder / "volume.nii.gz").write_bytes(phantom._nifti(volume))
    return {path.name.split(".")[0]: path for path in folder.iterdir()}

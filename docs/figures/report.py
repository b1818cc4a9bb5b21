"""The pictures of the report: a screenshot of what ``tumorscope demo`` writes.

    python docs/figures/report.py

Needs a Chromium (or Chrome) on the PATH. Without one the pictures in docs/images stay as they are.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).resolve().parent.parent / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT = 1280, 1640  # px; the overview and the first scan


def screenshot(browser: str, page: Path, out: Path) -> None:
    """A picture of the top of an HTML page."""
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu", f"--user-data-dir={profile}"]
        command = [browser, *options, f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={out}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def main() -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print("no Chromium on the PATH: docs/images/report.png stays as it is")
        return
    with tempfile.TemporaryDirectory() as folder:
        command = Path(sys.executable).with_name("tumorscope")
        done = subprocess.run([command, "demo"], cwd=folder, check=True, capture_output=True, text=True)
        page = Path(folder, done.stdout.strip().splitlines()[-1])
        IMAGES.mkdir(exist_ok=True)
        screenshot(browser, page, IMAGES / "report.png")


if __name__ == "__main__":
    main()

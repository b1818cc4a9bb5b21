"""The outputs shown in the pages, made by running the commands that stand above them.

    python docs/figures/transcripts.py [PAGE...]

In README.md and docs/, a block marked ``<!-- output -->`` is replaced by what the ``sh`` or ``python`` block before it
prints; ``<!-- output of: COMMAND -->`` by what COMMAND prints. All blocks of a page run one after the other in one
folder, empty at first. A command that fails stops the script.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FENCE = re.compile(
    r"^```(?P<kind>sh|python)\n(?P<code>.*?)^```\n"
    r"|^<!-- output(?: of: (?P<command>[^\n]*?))? -->\n+```text\n(?P<shown>.*?)^```\n",
    re.MULTILINE | re.DOTALL,
)
SHOWN_FOLDER = "/home/you"  # stands for the folder that the commands ran in
TIMES = re.compile(r"\d+\.\d+(?= s\b)|^seconds +\S+", re.MULTILINE)


def run(kind: str, code: str, folder: Path) -> str:
    """What a block prints, standard error included."""
    command = ["bash", "-euc", code] if kind == "sh" else [sys.executable, "-c", code]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "110"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout}")
    return re.sub(r"[ \t]+$", "", done.stdout.replace(str(folder), SHOWN_FOLDER), flags=re.MULTILINE)


def renew(page: Path) -> None:
    """Run a page's marked blocks and write their outputs into it."""
    text = page.read_text(encoding="utf-8")
    if "<!-- output" not in text:
        return
    before: tuple[str, str] = ("sh", "true")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()

        def fill(match: re.Match[str]) -> str:
            nonlocal before
            if match["kind"]:
                before = (match["kind"], match["code"])
                return match[0]
            kind, code = ("sh", match["command"]) if match["command"] else before
            shown = run(kind, code, folder).rstrip("\n") + "\n"
            if TIMES.sub("", shown) == TIMES.sub("", match["shown"]):
                return match[0]  # nothing but the time differs: leave the page as it is
            at = match.start("shown") - match.start()
            return match[0][:at] + shown + "```\n"

        renewed = FENCE.sub(fill, text)
    if renewed != text:
        page.write_text(renewed, encoding="utf-8")
        print(page.relative_to(ROOT))


def main(pages: list[str]) -> None:
    found = map(Path, pages) if pages else [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in found:
        renew(page.resolve())


if __name__ == "__main__":
    main(sys.argv[1:])

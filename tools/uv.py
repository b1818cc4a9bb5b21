"""Run uv inside a project environment, creating both when absent: ``python3 tools/uv.py VENV UV-ARGUMENTS...``.

A fresh machine needs nothing but Python. The environment is made with the standard library's ``venv``; uv comes
from the package index that pip is configured for, and works with the same one: settings found in pip's
configuration (index, extra indexes, find-links, certificate, proxy) are handed to uv as environment variables, unless
uv has a configuration of its own. No index is named here.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = ((3, 11), (3, 13))  # the same range as requires-python in pyproject.toml
UV_CONFIG = (Path("/etc/uv/uv.toml"), Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "uv/uv.toml")
# pip's setting -> uv's environment variable, and what joins several values (None: one value)
SETTINGS = {
    "index-url": ("UV_DEFAULT_INDEX", None),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "timeout": ("UV_HTTP_TIMEOUT", None),
    "cert": ("SSL_CERT_FILE", None),
    "proxy": ("ALL_PROXY", None),
}


def supported_python() -> None:
    """Go on when this Python is in range; otherwise start again with one that is, or say what is missing."""
    first, last = SUPPORTED
    if first <= sys.version_info[:2] <= last:
        return
    for minor in range(last[1], first[1] - 1, -1):
        other = shutil.which(f"python3.{minor}")
        works = other and subprocess.run([other, "-c", ""], capture_output=True, check=False).returncode == 0
        if other and works:
            os.execv(other, [other, *sys.argv])
    found = ".".join(map(str, sys.version_info[:2]))
    sys.exit(f"python3: version {found} is not supported; install Python 3.{first[1]} to 3.{last[1]}, or set PYTHON=")


def make_environment(venv: Path) -> None:
    """Create ``venv`` when its Python is absent or no longer runs, and put uv into it."""
    python, uv = venv / "bin" / "python", venv / "bin" / "uv"
    alive = python.exists() and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
    if alive and uv.exists():
        return
    pip = [str(python), "-m", "pip"]
    if not alive:
        made = subprocess.run(
            [sys.executable, "-m", "venv", "--clear", venv], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:  # Debian without python3-venv: no ensurepip, perhaps a pip of its own
            made = subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", venv], check=False)
            pip = [sys.executable, "-m", "pip", "--python", str(python)]
            has_pip = subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode == 0
            if made.returncode != 0 or not has_pip:
                sys.exit(f"{venv}: this Python has neither ensurepip nor pip; install the package python3-venv")
    subprocess.run([*pip, "install", "--quiet", "--constraint", ROOT / "constraints.txt", "uv"], check=True)


def pip_settings(venv: Path) -> dict[str, str]:
    """Pip's effective settings by name: its files, then its environment variables on top."""
    listing = ""
    for python in (str(venv / "bin" / "python"), sys.executable):
        command = [python, "-m", "pip", "config", "list"]
        listing = listing or subprocess.run(command, capture_output=True, text=True, check=False).stdout
    ranked: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, setting = name.rpartition(".")
        rank = {"global": 0, "install": 1, ":env:": 2}.get(section, -1)
        if rank >= ranked.get(setting, (0, ""))[0]:
            ranked[setting] = (rank, str(ast.literal_eval(value)))
    return {setting: value for setting, (_, value) in ranked.items()}


def uv_environment(venv: Path) -> dict[str, str]:
    """The environment of this process with ``VIRTUAL_ENV`` set and pip's settings translated for uv."""
    env = {**os.environ, "VIRTUAL_ENV": str(venv)}
    if "UV_CONFIG_FILE" in env or any(path.exists() for path in UV_CONFIG):
        return env
    settings = pip_settings(venv)
    for setting, (variable, joint) in SETTINGS.items():
        if setting in settings:
            values = settings[setting].split()
            env.setdefault(variable, joint.join(values) if joint else settings[setting])
    if "extra-index-url" in settings:  # pip takes the best version from any index
        env.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return env


def main() -> None:
    """Make the environment named first, then become uv with the remaining arguments."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    supported_python()
    venv = Path(sys.argv[1]).absolute()
    make_environment(venv)
    os.execve(venv / "bin" / "uv", ["uv", *sys.argv[2:]], uv_environment(venv))


if __name__ == "__main__":
    main()

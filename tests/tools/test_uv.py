"""tools/uv.py: what pip is configured for holds for uv too."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SETTINGS = {
    "index-url": "https://mirror.test/simple",
    "extra-index-url": "https://a.test/simple https://b.test/simple",
    "find-links": "/one\n/two",
    "cert": "/ca.pem",
}


@pytest.fixture
def tool(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, on a machine where neither uv nor the environment is configured."""
    spec = importlib.util.spec_from_file_location("tumorscope_tools_uv", repository / "tools" / "uv.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "UV_CONFIG", ())
    monkeypatch.setattr(module, "pip_settings", lambda _venv: SETTINGS)
    for variable in ("UV_CONFIG_FILE", "UV_INDEX_STRATEGY", *(name for name, _ in module.SETTINGS.values())):
        monkeypatch.delenv(variable, raising=False)
    return module


def test_pip_settings_reach_uv(tool: ModuleType, tmp_path: Path) -> None:
    env = tool.uv_environment(tmp_path)
    assert env["VIRTUAL_ENV"] == str(tmp_path)
    assert env["UV_DEFAULT_INDEX"] == "https://mirror.test/simple"
    assert env["UV_INDEX"] == "https://a.test/simple https://b.test/simple"
    assert env["UV_FIND_LINKS"] == "/one,/two"
    assert env["SSL_CERT_FILE"] == "/ca.pem"
    assert env["UV_INDEX_STRATEGY"] == "unsafe-best-match"


def test_what_is_set_for_uv_wins(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://chosen.test/simple")
    assert tool.uv_environment(tmp_path)["UV_DEFAULT_INDEX"] == "https://chosen.test/simple"


def test_a_configuration_file_of_uv_is_left_alone(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "uv.toml"
    config.touch()
    monkeypatch.setattr(tool, "UV_CONFIG", (config,))
    assert "UV_DEFAULT_INDEX" not in tool.uv_environment(tmp_path)


def test_environment_variables_of_pip_come_before_its_files(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("tumorscope_tools_uv_2", repository / "tools" / "uv.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    listing = "global.timeout='5'\n:env:.timeout='60'\ninstall.cert='/x.pem'\nglobal.cert='/y.pem'\n"
    done = module.subprocess.CompletedProcess([], 0, listing, "")
    monkeypatch.setattr(module.subprocess, "run", lambda *_args, **_options: done)
    assert module.pip_settings(tmp_path) == {"timeout": "60", "cert": "/x.pem"}


def test_an_old_python_looks_for_a_newer_one(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool.sys, "version_info", (3, 9, 1))
    monkeypatch.setattr(tool.shutil, "which", lambda _name: None)
    with pytest.raises(SystemExit, match=r"version 3\.9 is not supported; install Python 3\.11 to 3\.13"):
        tool.supported_python()


def test_the_range_of_pythons_is_that_of_the_package(tool: ModuleType, repository: Path) -> None:
    (first, last), text = tool.SUPPORTED, (repository / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires-python = ">={first[0]}.{first[1]},<{last[0]}.{last[1] + 1}"' in text
    assert first <= sys.version_info[:2] <= last

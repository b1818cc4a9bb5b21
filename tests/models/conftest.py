"""A hub without network: its cache in a temporary folder, its repositories as dictionaries."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest


class Hub:
    """Stands in for the hub; lays downloads out as its library does, so that the library finds them again."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.error: Exception | None = None

    def download(self, hub_id: str, file: str) -> str:
        from huggingface_hub import errors

        self.asked.append((hub_id, file))
        if self.error is not None:
            raise self.error
        if hub_id not in self.repositories:
            try:
                raise ConnectionError("name or service not known")
            except ConnectionError as error:
                raise errors.LocalEntryNotFoundError("no connection\nand no cache") from error
        if file not in self.repositories[hub_id]:
            raise errors.EntryNotFoundError(f"no {file}")
        content = self.repositories[hub_id][file]
        folder = self.cache / f"models--{hub_id.replace('/', '--')}"
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        link = folder / "snapshots" / "abc" / file
        for path in (blob, link, folder / "refs" / "main"):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        (folder / "refs" / "main").write_text("abc")
        link.unlink(missing_ok=True)
        link.symlink_to(blob)
        return str(link)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """An empty hub that nobody reaches."""
    import huggingface_hub
    from huggingface_hub import constants

    stand_in = Hub(tmp_path / "hub")
    monkeypatch.delenv("TUMORSCOPE_WEIGHTS", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(stand_in.cache))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", stand_in.download)
    return stand_in


@pytest.fixture
def sums() -> Callable[[Path], None]:
    """Write ``SHA256SUMS`` over all files of a folder, as ``sha256sum`` does."""

    def write(folder: Path) -> None:
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
        lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
        (folder / "SHA256SUMS").write_text("".join(lines))

    return write

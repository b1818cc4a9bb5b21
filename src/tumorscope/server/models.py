"""The bundles that this server predicts with, each loaded once, and the engines that it offers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tumorscope.annotation.engine import ENGINES
from tumorscope.errors import BundleError, TumorscopeError, look_up
from tumorscope.inference.bundle import EMBEDDED, Bundle
from tumorscope.inference.predictor import Predictor
from tumorscope.registry import ENTRIES
from tumorscope.server.settings import Settings

MODEL = "model.onnx"  # of a run folder
TRAINED = "needs torch and transformers, which are not installed; run: pip install 'tumorscope[train]'"


@dataclass
class Offered:
    """A bundle by a name of its own, loaded on first use; ``run`` is the folder of its training."""

    name: str
    path: Path | None
    run: Path | None = None
    predictor: Predictor | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self) -> Predictor:
        """The predictor; one thread a run, since runs go side by side.

        Raises
        ------
        BundleError
            If the file is no bundle.
        """
        with self.lock:
            if self.predictor is None:
                self.predictor = Predictor(Bundle.load(self.path, threads=1))
            return self.predictor

    def facts(self, default: bool) -> dict[str, Any]:
        """As the API lists it."""
        try:
            metadata = self.load().bundle.metadata
        except TumorscopeError as error:
            where = str(error).partition(": ")[2] or str(error)  # no paths of the machine in an answer
            return _entry(self.name, "bundle", default=default, reason=f"{self.name}: {where}")
        return _entry(
            self.name, "bundle", metadata.task, metadata.version, metadata.licence, default=default,
            explainable=self.run is not None and metadata.task == "classify" and find_spec("torch") is not None,
        )  # fmt: skip


class Models:
    """All bundles by name.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    BundleError
        If the model named in the settings cannot be loaded.
    """

    def __init__(self, settings: Settings) -> None:
        self._offered: dict[str, Offered] = {}
        self._engine, self._checkpoints = settings.engine, settings.checkpoints
        for path, run in _files(settings):
            offered = Offered("", path, run)
            name = EMBEDDED if run is None else run.name
            if path is not None and run is None:
                name = offered.load().bundle.metadata.name
            offered.name, number = name, 2
            while offered.name in self._offered:
                offered.name, number = f"{name}-{number}", number + 1
            self._offered[offered.name] = offered
        self.default = next(iter(self._offered))
        self._offered[self.default].load()

    def named(self, name: str | None = None) -> Offered:
        """A bundle by name, or the default.

        Raises
        ------
        BundleError
            If there is none of that name.
        """
        return self._offered[look_up(name or self.default, self._offered, "model", BundleError)]

    def list(self) -> list[dict[str, Any]]:
        """Bundles and engines, as the API lists them."""
        bundles = [one.facts(one.name == self.default) for one in self._offered.values()]
        engines = [engine_facts(name, name == self._engine, self._checkpoints.get(name)) for name in ENGINES]
        return bundles + engines


def _files(settings: Settings) -> Iterator[tuple[Path | None, Path | None]]:
    """Bundle and run folder of each model, the default first."""
    yield settings.model, None
    for path in settings.models:
        yield path, None
    if settings.model is not None:
        yield None, None
    if settings.runs is not None:
        for file in sorted(settings.runs.glob(f"*/{MODEL}")):
            yield file, file.parent


def engine_facts(name: str, default: bool, checkpoint: Path | None = None) -> dict[str, Any]:
    """An engine, as the API lists it: whether it can be used, told without loading it."""
    entry = next((one for one in ENTRIES if one.name == name), None)
    licence = entry.licence if entry is not None else "Apache-2.0"
    kinds = ("point", "box", "scribble", "mask")
    reason = _engine_problem(name, entry is not None, checkpoint)
    return _entry(name, "engine", "prompt", "", licence, default=default, reason=reason, prompts=kinds)


def _engine_problem(name: str, is_pretrained: bool, checkpoint: Path | None) -> str | None:
    """Why an engine cannot be used, with the remedy, or None."""
    if checkpoint is not None and not checkpoint.exists():
        return f"{name}: its checkpoint is not there; start the server with --checkpoint {name}=PATH"
    if is_pretrained:
        if find_spec("torch") is None or find_spec("transformers") is None:
            return f"{name}: {TRAINED}"
        if checkpoint is not None:
            return None
        from tumorscope.models.weight_store import present

        try:
            if present(name) is None:
                return f"{name}: its weights are not on this machine; run: tumorscope weights fetch {name}"
        except TumorscopeError as error:
            return str(error)
    return None


def _entry(
    name: str,
    kind: str,
    task: str = "",
    version: str = "",
    licence: str = "",
    *,
    default: bool,
    reason: str | None = None,
    prompts: tuple[str, ...] = (),
    explainable: bool = False,
) -> dict[str, Any]:
    return {
        "name": name, "kind": kind, "task": task, "version": version, "licence": licence, "available": reason is None,
        "reason": reason, "default": default, "prompts": list(prompts), "explainable": explainable,
    }  # fmt: skip

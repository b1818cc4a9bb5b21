"""``tumorscope models``: what a bundle is, where it comes from, how it did."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tumorscope.cli._console import answer, answer_json
from tumorscope.cli._options import Json
from tumorscope.registry import ENTRIES

if TYPE_CHECKING:
    from tumorscope.inference.bundle import Bundle


def models(
    bundles: Annotated[
        list[Path] | None, typer.Argument(metavar="[BUNDLE]", help="Bundles to describe; the embedded one by default.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the pretrained networks that training can start from.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Describe the embedded model, or the bundles given.

    \b
    Examples
      tumorscope models
      tumorscope models --all
      tumorscope models run/model.onnx --json
    """  # noqa: D301
    from tumorscope.inference.bundle import Bundle

    chosen: list[Path | None] = [*bundles] if bundles else [None]
    facts = [_facts(Bundle.load(path, threads=1)) for path in chosen]
    if as_json:
        answer_json(
            {"models": facts, "pretrained": [asdict(one) for one in ENTRIES]} if everything else {"models": facts}
        )
        return 0
    for number, fact in enumerate(facts):
        if number:
            answer("")
        for key, value in fact.items():
            for name, shown in _flat(key, value):
                answer(f"{name:<28} {shown}")
    if everything:
        answer("")
        for one in ENTRIES:
            answer(
                f"{one.name:<24} {one.task:<11} {one.parameters / 1e6:>6.1f} M  {one.licence:<28} {one.architecture}"
            )
    return 0


def _facts(bundle: Bundle) -> dict[str, Any]:
    """The metadata, with the hashes of the training scans only counted."""
    metadata = bundle.metadata.model_dump(mode="json")
    training = metadata["training"]
    training["scan_hashes"] = len(training["scan_hashes"])
    metadata["gate"] = bool(metadata["gate"])
    return {"path": str(bundle.path), "bytes": bundle.path.stat().st_size, **metadata}


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    """Dotted names of nested values, for one line each."""
    if isinstance(value, dict):
        return [line for key, item in value.items() for line in _flat(f"{name}.{key}", item)]
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return [(name, str(value))] if value not in ("", None) else []

"""Options that several commands share, so that they are spelt and explained alike."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

Out = Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Folder for the results.")]
Model = Annotated[Path | None, typer.Option("--model", metavar="BUNDLE", help="Another model than the embedded scout.")]
Channel = Annotated[
    int | None,
    typer.Option("--channel", min=0, help="Which sequence to read where a file holds several, counted from 0."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Scans at once; chosen by number of scans and cores.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def changes_of(settings: list[str], pretrained: str | None, folds: int | None) -> dict[str, Any]:
    """What the options change in the recipe, by dotted key."""
    from tumorscope.errors import RecipeError

    changes: dict[str, Any] = {}
    for one in settings:
        key, equals, value = one.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"--set {one}: is no KEY=VALUE; write for example --set fit.batch=16")
        try:
            changes[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            changes[key.strip()] = value
    if pretrained is not None:
        changes["model.pretrained"] = pretrained
    if folds is not None:
        changes["data.folds"] = folds
    return changes

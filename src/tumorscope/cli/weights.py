"""``tumorscope weights``: pretrained weights, listed, fetched and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tumorscope.cli._console import answer, answer_json, complain
from tumorscope.cli._options import Json
from tumorscope.errors import Exit, TumorscopeError, look_up

Offline = Annotated[
    Path | None,
    typer.Option("--offline", metavar="DIR", help="Folder of weights for machines without network."),
]
"""Shared by the three commands; TUMORSCOPE_WEIGHTS stands in for it."""


class _Actions(TyperGroup):
    """The group of actions; an unknown one is an error that names the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The action that the arguments name."""
        if args and not args[0].startswith("-"):
            look_up(args[0], self.commands, "action of weights")
        return super().resolve_command(ctx, args)


weights = typer.Typer(cls=_Actions, add_completion=False, rich_markup_mode=None)


@weights.callback()
def about() -> None:
    """Pretrained weights: what there is, under which licence, and whether it is here and intact.

    \b
    Examples
      tumorscope weights list
      tumorscope weights fetch resnet18 convnext_base --offline weights/
      tumorscope weights verify --offline weights/

    The environment variable TUMORSCOPE_WEIGHTS may name the folder that --offline names.
    """  # noqa: D301


@weights.command("list")
def list_(offline: Offline = None, as_json: Json = False) -> int:
    """List the networks whose pretrained weights recipes start from, with licence, origin and place.

    \b
    Examples
      tumorscope weights list
      tumorscope weights list --offline weights/ --json
    """  # noqa: D301
    from tumorscope.models.weight_store import present
    from tumorscope.registry import ENTRIES

    places = {one.name: present(one.name, offline=offline) for one in ENTRIES}
    if as_json:
        rows = [
            {"name": one.name, "task": one.task, "parameters": one.parameters, "licence": one.licence,
             "commercial": one.commercial, "origin": one.hub_id, "path": places[one.name]}
            for one in ENTRIES
        ]  # fmt: skip
        answer_json({"weights": rows})
        return Exit.OK
    table = [("name", "task", "licence", "origin", "where")]
    for one in ENTRIES:
        licence = one.licence if one.commercial else f"{one.licence} (non-commercial)"
        table.append((one.name, one.task, licence, one.hub_id, str(places[one.name] or "not here")))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        answer("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    return Exit.OK


@weights.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Of the list, of timm, or hub ids.")],
    offline: Offline = None,
    as_json: Json = False,
) -> int:
    """Download weights into the hub's cache, or with --offline into a folder that can be carried elsewhere.

    The first fetch records the file's sha256 in DIR/SHA256SUMS; later ones, and every training, compare it.

    \b
    Examples
      tumorscope weights fetch resnet18
      tumorscope weights fetch resnet50 vit_base_patch16_224 --offline weights/
    """  # noqa: D301
    from tumorscope.models.weight_store import fetch as run

    rows, failures = [], {}
    for name in dict.fromkeys(names):
        try:
            found = run(name, offline=offline)
        except TumorscopeError as error:
            failures[name] = str(error)
            complain(str(error))
            continue
        rows.append({"name": found.name, "path": found.path, "sha256": found.sha256})
        if not as_json:
            answer(f"{found.name}  {found.sha256}  {found.path}")
    if as_json:
        answer_json({"fetched": rows, "failed": failures})
    return _code(len(rows), len(failures))


@weights.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="All that are here by default.", show_default=False)
    ] = None,
    offline: Offline = None,
    as_json: Json = False,
) -> int:
    """Compare weights on this machine with their recorded sha256.

    Exit code: 0 when all agree, 3 when some do not or have none recorded, 2 when none agrees or none is here.

    \b
    Examples
      tumorscope weights verify
      tumorscope weights verify resnet18 --offline weights/
    """  # noqa: D301
    from tumorscope.errors import WeightsError
    from tumorscope.models.weight_store import Found
    from tumorscope.models.weight_store import verify as run

    results = run(names or (), offline=offline)
    if not results:
        raise WeightsError("weights: none are on this machine; run: tumorscope weights fetch NAME")
    good = [one for one in results if isinstance(one, Found) and not one.problem]
    bad = [f"{one.path}: {one.problem}" if isinstance(one, Found) else str(one) for one in results if one not in good]
    for line in bad:
        complain(line)
    if as_json:
        rows = [{"name": one.name, "path": one.path, "sha256": one.sha256} for one in good]
        answer_json({"verified": rows, "problems": bad})
    else:
        for one in good:
            answer(f"{one.name}  as recorded  {one.path}")
    return _code(len(good), len(bad))


def _code(good: int, bad: int) -> Exit:
    """The exit code for so many that went well and badly."""
    if not bad:
        return Exit.OK
    return Exit.PARTIAL if good else Exit.USAGE

"""``tumorscope prepare``: a data set through ordered steps."""

from __future__ import annotations

from typing import Annotated

import typer

from tumorscope.cli._console import Watch, answer, answer_json
from tumorscope.cli._options import Json, Out
from tumorscope.errors import Exit


def prepare(
    data: Annotated[list[str], typer.Argument(metavar="DATA", help="Folders or manifests.")],
    out: Out,
    steps: Annotated[
        str | None, typer.Option("--steps", help="In order, each with its settings behind colons; see below.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 2,
    as_json: Json = False,
) -> int:
    """Clean, crop and enhance scans into a new folder with a manifest; the originals stay as they are.

    Steps: clean, crop, contrast, bias, denoise, sharpen, musica, skull, resize, cluster-mask,
    cluster-colors, watershed-colors. Without --steps: clean,crop,contrast,musica. Masks are cut and
    resized with their scans. The same command goes on where it was stopped. Exit code: 0 all well,
    2 nothing usable, 3 some scans failed.

    \b
    Examples
      tumorscope prepare scans/ -o prepared
      tumorscope prepare scans/ -o small --steps clean,crop:mode=soft,contrast:method=clahe,resize:size=224
      tumorscope prepare scans/ -o colored --steps clean,crop,contrast,cluster-colors:clusters=10
    """  # noqa: D301
    from tumorscope.datasets import manifest
    from tumorscope.datasets.prepare import prepare as run
    from tumorscope.imaging.steps import DEFAULT, parse

    chosen = parse(DEFAULT if steps is None else steps)
    table = manifest.load([*data])
    with Watch("preparing") as watch:
        made = run(table, chosen, out, workers=workers, progress=watch.count)
    if as_json:
        facts = {"out": str(out), "manifest": str(out / "manifest.parquet"), "made": made.made, "kept": made.kept}
        answer_json({**facts, "failed": list(made.failed), "steps": [one.model_dump() for one in chosen]})
    else:
        answer(made.sentence())
        answer(f"manifest: {out / 'manifest.parquet'}")
    return Exit.PARTIAL if made.failed else Exit.OK

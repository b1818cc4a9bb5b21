"""``tumorscope annotate``: the viewer on a folder of scans, without any set-up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorscope.cli._console import Watch, complain
from tumorscope.cli._options import Model
from tumorscope.cli.serve import Checkpoints, checkpoints_of, need_serving, run
from tumorscope.errors import DataError

if TYPE_CHECKING:
    from tumorscope.server.settings import Settings


def annotate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of scans; DICOM series count as one each.")],
    workspace: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="WORKSPACE", help="Where masks are kept.  [default: DIR-annotations]"),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="NAME", help="What answers to clicks at first, such as click or grabcut.")
    ] = None,
    checkpoint: Checkpoints = None,
    model: Model = None,
    channel: Annotated[int | None, typer.Option(min=0, help="Sequence to take from files that hold several.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser on the work list.")] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
) -> int:
    """Open the viewer on a folder: predict, correct with clicks or a brush, save, export.

    Scans are copied into the workspace once, without identifiers; started again, only new ones are added.
    Ctrl-C stops the server; everything saved stays in the workspace.

    \b
    Examples
      tumorscope annotate scans
      tumorscope annotate scans -o study --no-browser --port 9000
      tumorscope annotate scans --engine sam-vit-base --checkpoint sam-vit-base=run/engine
    """  # noqa: D301
    need_serving()
    import secrets

    from tumorscope.server.settings import Settings

    if not folder.is_dir():
        finding = "is no folder" if folder.exists() else "there is no such folder"
        raise DataError(f"{folder}: {finding}; name the folder that holds the scans")
    whole = folder.resolve()
    place = workspace if workspace is not None else whole.with_name(f"{whole.name}-annotations")
    token = secrets.token_urlsafe(24)  # others on this machine do not see the scans
    settings = Settings.load(
        workspace=place,
        port=port,
        host="127.0.0.1",
        token=token,
        model=model,
        channel=channel,
        engine=engine,
        checkpoints=checkpoints_of(checkpoint),
    )
    count = _bring(settings, folder)
    scans = "1 scan" if count == 1 else f"{count} scans"
    return run(settings, f"login?token={settings.secret}", f"{scans}; masks are kept in {place}", browser)


def _bring(settings: Settings, folder: Path) -> int:
    """Copy the scans that are not in the workspace yet; the number of cases that it then holds."""
    from tumorscope.server.importing.local import bring_folder
    from tumorscope.server.workspace import Workspace

    opened = Workspace(settings)
    try:
        with Watch("reading scans") as watch:
            brought = bring_folder(opened, folder, watch.count)
    finally:
        opened.close()
    if not brought.cases:
        raise DataError(f"{folder}: holds no scan that can be read; give a folder of images, NIfTI or DICOM files")
    if brought.failed:
        complain(f"{brought.failed} of {brought.failed + brought.cases} scans could not be read and were left out")
    return brought.cases

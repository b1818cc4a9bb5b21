"""Options that several commands share, so that they are spelt and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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

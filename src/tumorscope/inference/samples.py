"""Synthetic scans on disk: PNG files that say what they are, and rows that a manifest can take."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tumorscope import io
from tumorscope.datasets import manifest
from tumorscope.datasets.folder import file_name
from tumorscope.datasets.synthetic import bound
from tumorscope.errors import OutputError
from tumorscope.inference.generator import Generator
from tumorscope.inference.synthesis import BATCH, STEPS, Inpainted, lesion_region

LIST, MANIFEST, IMAGES, MASKS = "samples.csv", "manifest.parquet", "images", "masks"
NONE, TUMOR = "none", "tumor"  # classes of a generator that are no tumour type
SOURCE = "synthetic"
Progress = Callable[[int, int, str | None], None]


@dataclass(frozen=True)
class Made:
    """What was written.

    Parameters
    ----------
    rows : polars.DataFrame
        One for each picture, also in ``samples.csv``.
    manifest : Path or None
        Where real scans were given: they and the pictures, bound to one group.
    """

    rows: pl.DataFrame
    manifest: Path | None


def write_samples(
    generator: Generator,
    seeds: Sequence[int],
    out: Path,
    *,
    steps: int = STEPS,
    named: str | None = None,
    guidance: float = 0.0,
    data: pl.DataFrame | None = None,
    progress: Progress | None = None,
) -> Made:
    """A picture for each seed below ``out/images``, a list of them, and with ``data`` a manifest to train on.

    Without the real scans there is no manifest: nothing would hold the pictures on the side of what their generator
    saw.

    Parameters
    ----------
    generator : Generator
    seeds : sequence of int
    out : Path
        A folder that holds no samples yet.
    steps, named, guidance
        As for `Synthesizer.sample`.
    data : polars.DataFrame, optional
        A manifest with the scans that the generator was trained on; see `datasets.synthetic.bound`.
    progress : callable, optional
        Called with the pictures done, their total and None.

    Raises
    ------
    OutputError
        If ``out`` holds samples already or cannot be written to.
    DataError
        As `bound`; before anything is written.
    """
    _refuse_used(out)
    model, make = generator.metadata.identity, generator.synthesizer
    ids = [f"{generator.metadata.name}-{named or 'any'}-{seed}" for seed in seeds]
    rows = [
        _row(generator, own, out, named, seed, steps) | {"mask_path": None, "mask_source": None, "parent_id": None}
        for own, seed in zip(ids, seeds, strict=True)
    ]
    if data is not None:  # refuse what cannot be bound before anything is written
        bound(data, _table(rows), generator.metadata.training.scan_hashes, model)
    done = 0
    for start in range(0, len(seeds), BATCH):
        some = slice(start, start + BATCH)
        for row, picture in zip(
            rows[some], make.sample(seeds[some], steps=steps, named=named, guidance=guidance), strict=True
        ):
            _write_picture(row, picture)
            done += 1
            if progress:
                progress(done, len(seeds), None)
    return _listed(rows, out, data, generator.metadata.training.scan_hashes, model)


def write_inpainted(
    generator: Generator,
    scans: Sequence[Path],
    out: Path,
    *,
    seed: int = 0,
    steps: int = STEPS,
    named: str | None = None,
    guidance: float = 0.0,
    radius: float | None = None,
    data: pl.DataFrame | None = None,
    progress: Progress | None = None,
) -> tuple[Made, list[Inpainted]]:
    """A lesion in each scan, below ``out/images`` at the network's side, with its mask below ``out/masks``.

    The pictures are bound to what the generator saw and to the scans that they were made from. The mask is where the
    lesion was asked for; the column ``change`` says how much became different there.

    Parameters
    ----------
    scans : sequence of Path
        2-D files without tumour.
    seed : int
        Of the first scan; the next has the next.
    radius : float, optional
        Of the lesion, px of the network's square.
    generator, out, steps, named, guidance, data, progress
        As for `write_samples`.

    Raises
    ------
    ScanError
        If a scan cannot be read, is a volume, or shows no head.
    """
    _refuse_used(out)
    make, preparation = generator.synthesizer, generator.metadata.preparation
    named = named or next((one for one in generator.metadata.classes if one != NONE), None)
    rows: list[dict[str, Any]] = []
    made: list[Inpainted] = []
    hashes = [*generator.metadata.training.scan_hashes]
    for number, path in enumerate(scans):
        scan = io.read(path)
        pixels = scan.pixels if scan.axes[0] != "C" else scan.pixels.mean(axis=0)
        if pixels.ndim != 2:
            raise OutputError(f"{path}: is a volume, and lesions are put into 2-D scans; cut it into slices first")
        prepared = preparation.prepare(pixels)
        own = f"{file_name(Path(path).stem)}-lesion-{seed + number}"
        region = lesion_region(prepared.to_square(prepared.head), seed + number, radius=radius)
        one = make.inpaint(prepared.pixels, region, seed + number, steps=steps, named=named, guidance=guidance)
        mask = out / MASKS / f"{own}.png"
        row = _row(generator, own, out, named or TUMOR, seed + number, steps)
        row |= {"mask_path": str(mask), "mask_source": "synthetic", "parent_id": None, "change": round(one.change, 4)}
        _write_picture(row, one.picture)
        io.write_image(mask, one.mask.astype(np.uint8) * np.uint8(255))
        hashes.append(hashlib.sha256(Path(path).read_bytes()).hexdigest())
        rows.append(row)
        made.append(one)
        if progress:
            progress(number + 1, len(scans), None)
    return _listed(rows, out, data, hashes, generator.metadata.identity), made


def _row(generator: Generator, own: str, out: Path, named: str | None, seed: int, steps: int) -> dict[str, Any]:
    facts = generator.metadata
    label = None if named is None else int(named != NONE)
    return {
        "id": own,
        "path": str(out / IMAGES / f"{file_name(own)}.png"),
        "label": label,
        "tumor_type": named if named not in (None, NONE, TUMOR) else None,
        "source": SOURCE,
        "synthetic": True,
        "model": facts.identity,
        "seed": seed,
        "steps": steps,
        "width": facts.preparation.size,
        "height": facts.preparation.size,
        "sha256": None,
        "licence": facts.licence or None,
    }


def _write_picture(row: dict[str, Any], picture: NDArray) -> None:
    """The picture as PNG with what it is in its text, and its hash in the row."""
    info = PngInfo()
    for name in ("synthetic", "model", "seed", "steps"):
        info.add_text(name, str(row[name]).lower() if name == "synthetic" else str(row[name]))
    with io.atomic(row["path"]) as draft:
        Image.fromarray(np.rint(picture * 255).astype(np.uint8)).save(draft, format="PNG", pnginfo=info)
    row["sha256"] = hashlib.sha256(Path(row["path"]).read_bytes()).hexdigest()


def _table(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None)


def _listed(
    rows: Sequence[dict[str, Any]], out: Path, data: pl.DataFrame | None, hashes: Iterable[str], model: str
) -> Made:
    table = _table(rows)
    with io.atomic(out / LIST) as draft:
        table.with_columns(pl.col("path").str.replace(str(out) + "/", "", literal=True)).write_csv(draft)
    if data is None:
        return Made(table, None)
    return Made(table, manifest.write(bound(data, table, hashes, model), out / MANIFEST))


def _refuse_used(out: Path) -> None:
    if (out / LIST).exists():
        raise OutputError(f"{out}: holds samples already; choose another folder")

"""The report of an audit: three sentences, then the evidence with pictures; JSON and a clean manifest beside it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tumorscope.audit.quality import BANDED
from tumorscope.audit.quality import remarks as remarks_of
from tumorscope.audit.quality import sentence as quality_sentence
from tumorscope.audit.run import Audit
from tumorscope.audit.shortcuts import Origin
from tumorscope.datasets import manifest
from tumorscope.io import atomic
from tumorscope.report.document import Figure, Section, Table, write_document
from tumorscope.report.figures import PAPER, contact_sheet

GROUPS_SHOWN = 200  # groups of copies with a picture
COLUMNS, LINES = 8, 12  # tiles across and down one picture of groups
REMARKED = 6  # scans shown of each remark
SUSPECTS_SHOWN = 24
TILE = 128  # px
EMPTY = np.full((8, 8, 3), PAPER, np.uint8)  # a gap in a sheet


def write_audit(found: Audit, out: Path, command: str = "") -> Path:
    """``out/report.html``, with ``audit.json`` and ``clean.parquet`` beside it.

    Parameters
    ----------
    found : Audit
    out : Path
        A folder; made where it is missing.
    command : str
        What was typed, for the foot of the page.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    manifest.write(found.clean(), out / "clean.parquet")
    with atomic(out / "audit.json") as draft:
        draft.write_text(json.dumps(_plain(found.to_dict()), indent=2), encoding="utf-8")
    sections = [
        copies(found), *sides(found), *kinship(found), shortcuts(found), chance(found), labels(found), masks(found),
        quality(found), files(found),
    ]  # fmt: skip
    facts = {"scans": found.measured.table.height, "command": command}
    return write_document(out / "report.html", "What is in these data", found.headlines(), sections, facts)


def copies(found: Audit) -> Section:
    """Copies, with a picture of the largest groups."""
    twins = found.duplicates
    tables = [
        Table(
            ("data set", "scans", "distinct", "redundant"),
            twins.sources.select("source", "scans", "distinct", "redundant").rows(),
            "Copies in each data set",
        )
    ]
    if twins.groups.height:
        shown = twins.groups.select("group", "scans", "labels", "keep").rows()
        rows = [(name, scans, ", ".join(map(str, labels)), keep) for name, scans, labels, keep in shown]
        tables.append(Table(("group", "copies", "labels", "keep"), rows, "Groups of copies, the largest first"))
    return Section(
        "Copies",
        twins.sentences(),
        tables,
        _group_sheets(found),
        alarm=bool(twins.redundant),
        hint="Copies were compared on the cleaned and cropped head, turned and mirrored too. clean.parquet names the "
        "group of every scan, which one of a group to keep, and why.",
    )


def _group_sheets(found: Audit) -> list[Figure]:
    """Pictures of all groups, the largest first: small groups share a row, with an empty tile between them."""
    ids = found.measured.table["id"].to_list()
    groups = found.duplicates.groups["rows"].to_list() if found.duplicates.groups.height else []
    lines: list[list[int | None]] = []
    for rows in groups[:GROUPS_SHOWN]:
        tiles = rows[:COLUMNS]
        if lines and len(lines[-1]) + 1 + len(tiles) <= COLUMNS:
            lines[-1] += [None, *tiles]
        else:
            lines.append(list(tiles))
    figures = []
    for start in range(0, len(lines), LINES):
        part = [row for line in lines[start : start + LINES] for row in line + [None] * (COLUMNS - len(line))]
        images = [EMPTY if row is None else found.measured.heads[row] for row in part]
        titles = ["" if row is None else ids[row] for row in part]
        shown = f"{min(len(groups), GROUPS_SHOWN)} of {len(groups)}" if len(groups) > GROUPS_SHOWN else "all"
        caption = f"Groups of copies ({shown}), the largest first, up to {COLUMNS} scans of each; a gap parts groups"
        figures.append(Figure(contact_sheet(images, titles, columns=COLUMNS, tile=TILE), caption))
    return figures


def sides(found: Audit) -> list[Section]:
    """Twins across splits and between data sets."""
    sections = []
    for leak in found.leaks:
        columns = [name for name in ("test_id", "train_id", "kind", "difference") if name in leak.twins.columns]
        rows = [tuple(map(_said, row)) for row in leak.twins.select(columns).rows()]
        table = [Table([name.replace("_", " ") for name in columns], rows, "Test scans with a twin")] if rows else []
        title = f"Twins of {leak.test} scans in {leak.train}"
        sections.append(Section(title, leak.sentences(), table, alarm=bool(leak.with_twin)))
    return sections


def kinship(found: Audit) -> list[Section]:
    """Data sets and classes that come from one collection, or are told apart without a tumour."""
    if not found.kin:
        return []
    rows = [(one.one, one.other, one.verdict, str(one.mixing), str(one.heads), str(one.around)) for one in found.kin]
    columns = ("one", "other", "verdict", "mixing", "AUC of telling heads apart", "AUC of telling surroundings apart")
    return [
        Section(
            "Look-alikes",
            [one.sentence() for one in found.kin if one.verdict != "unclear"] or ["no two sets can be judged"],
            [Table(columns, rows, "Every two data sets, and their classes")],
            alarm=any(one.verdict == "one collection" for one in found.kin),
            hint="Mixing is 1 where the most similar scan lies on the other side as often as if both were one set, "
            "and 0 where they have nothing in common.",
        )
    ]


def shortcuts(found: Audit) -> Section:
    """What predicts the label without a tumour."""
    tests = [one.shortcut if isinstance(one, Origin) else one for one in found.shortcuts]
    rows = [
        (one.name, str(one.score.accuracy), str(one.score.balanced_accuracy), str(one.score.auc), one.score.always)
        for one in tests
    ]
    columns = ("test", "accuracy", "balanced accuracy", "AUC", "always the larger class")
    tables = (
        [Table(columns, rows, "Predicting the label in folds that cut no group, with 95 % intervals")] if rows else []
    )
    traits = next((one.traits for one in tests if one.traits), ())
    if traits:
        tables.append(Table(("trait", "balanced accuracy alone"), list(traits), "Single file traits"))
    sentences = [one.sentence() for one in found.shortcuts] or [_skipped(found, "shortcuts")]
    return Section(
        "Shortcuts",
        sentences,
        tables,
        alarm=any(one.score.beyond_chance for one in tests),
        hint="A model may use whatever tells the classes apart. What predicts the label here without seeing a head is "
        "open to it too, and its score on these data is worth nothing above that.",
    )


def chance(found: Audit) -> Section:
    """What the protocol itself is worth."""
    if found.chance is None:
        return Section("Random labels", [_skipped(found, "random labels")])
    return Section(
        "Random labels",
        [found.chance.sentence()],
        alarm=found.chance.leaks,
        hint="An honest protocol cannot predict labels that were dealt at random. benchmarks/leaky_protocol.py shows "
        "what augmenting before the split does to this figure.",
    )


def labels(found: Audit) -> Section:
    """Class balance and suspected label errors."""
    rows = found.balance.counts.rows()
    tables = [Table(found.balance.counts.columns, rows, "Scans and distinct groups of each class")]
    sentences, figures = [found.balance.sentence()], []
    if found.suspects is None:
        sentences.append(_skipped(found, "label errors"))
    else:
        sentences.append(found.suspects.sentence())
        chosen = found.suspects.table.head(SUSPECTS_SHOWN)
        if chosen.height:
            ids = found.measured.table["id"].to_list()
            row_of = {name: row for row, name in enumerate(ids)}
            images = [found.measured.heads[row_of[name]] for name in chosen["id"].to_list()]
            names = [f"{name}: {given}?" for name, given in chosen.select("id", "label").rows()]
            caption = "Scans that look like another class than their label says, the surest first"
            figures.append(Figure(contact_sheet(images, names, columns=6, tile=TILE), caption))
    return Section("Labels", sentences, tables, figures)


def masks(found: Audit) -> Section:
    """What is wrong with the masks."""
    rows = found.masks.frame().select("kind", "id", "what", "remedy").rows()
    tables = [Table(("kind", "scan", "finding", "remedy"), rows, "Findings")] if rows else []
    return Section("Masks", [found.masks.sentence()], tables, alarm=bool(rows), hint=found.masks.rule)


def quality(found: Audit) -> Section:
    """How the scans look: views, quality, and those that call for a look."""
    table = found.measured.readable.table
    medians = table.group_by("source").agg(
        pl.len().alias("scans"),
        pl.col("scan_width").min().alias("narrowest"),
        pl.col("scan_width").max().alias("widest"),
        *(pl.col(name).median().alias(name.replace("_", " ")) for name in BANDED),
    )
    remarks = remarks_of(table)
    counts = remarks.group_by("remark").agg(pl.len().alias("scans"), pl.col("id").first().alias("for example"))
    tables = [
        Table(medians.columns, medians.sort("source").rows(), "Readable scans of each data set, medians"),
        *(_views(table, name, title) for name, title in (("plane", "Plane"), ("sequence", "Sequence"))),
    ]
    if remarks.height:
        tables.append(Table(counts.columns, counts.sort("scans", descending=True).rows(), "Scans that call for a look"))
    return Section(
        "Views and quality",
        [quality_sentence(table)],
        tables,
        _remarked(found, remarks),
        hint="Planes and sequences are guesses from the picture, withheld where they are unsure; T1 and FLAIR are not "
        "told apart. clean.parquet has both, and the third in which each scan's size, noise, sharpness and contrast "
        "lie, so that an evaluation can say whom a model serves badly.",
    )


def _views(table: pl.DataFrame, name: str, title: str) -> Table:
    guess = pl.col(f"{name}_guess").fill_null("unknown")
    counts = table.group_by("source", guess.alias("guess")).agg(
        pl.len().alias("scans"), pl.col(f"{name}_confidence").mean().alias("mean confidence")
    )
    return Table(counts.columns, counts.sort("source", "scans", descending=[False, True]).rows(), f"{title} by guess")


def _remarked(found: Audit, remarks: pl.DataFrame) -> list[Figure]:
    """A sheet with the first scans of each remark."""
    row_of = {name: row for row, name in enumerate(found.measured.table["id"].to_list())}
    images, titles = [], []
    for (remark,), part in remarks.group_by("remark", maintain_order=True):
        for name in part["id"].head(REMARKED).to_list():
            images.append(found.measured.heads[row_of[name]])
            titles.append(f"{remark}: {name}")
        for _ in range(-min(part.height, REMARKED) % REMARKED):
            images.append(EMPTY)
            titles.append("")
    caption = f"Scans that call for a look, one kind a row, up to {REMARKED} of each"
    return [Figure(contact_sheet(images, titles, columns=REMARKED, tile=TILE), caption)] if images else []


def files(found: Audit) -> Section:
    """What could not be read, and what did not fit when the folders were read."""
    rows = found.measured.table.filter(pl.col("problem").is_not_null()).select("id", "problem").rows()
    tables = [Table(("scan", "problem"), rows, "Scans that could not be read")] if rows else []
    if found.findings:
        tables.append(Table(("finding",), [(one,) for one in found.findings], "What did not fit in the folders"))
    return Section("Files", [found.measured.sentence()], tables, alarm=bool(rows))


def _skipped(found: Audit, name: str) -> str:
    return f"This could not be tested: {found.skipped.get(name, 'the data do not allow it')}"


def _said(value: Any) -> str:
    return "" if value is None else str(value)


def _plain(value: Any) -> Any:
    """The value without NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value

"""What counts as wrong with a mask: the rules by which measurements become findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.audit.mask_facts import SPECK, Facts, is_faint, name_of
from tumorscope.datasets import duplicates
from tumorscope.datasets.labels import NAMES
from tumorscope.datasets.layouts import class_word
from tumorscope.datasets.truth import RULE

OUTSIDE = 0.05  # of a mask outside the head; none of the 2,551 masks of Cheng and TCGA-LGG has a pixel there
OFF_GRID = 0.5  # voxels between two grids that should be one
INVERTED = 0.8  # of the background that an inverted mask marks; some of it may lie in a border that was cut off
WHOLE = 0.5  # of the head that is marked: a brain mask; the largest lesion in Cheng and TCGA-LGG takes 0.19
TINY = 5e-4  # of the head; the smallest mask in Cheng and TCGA-LGG has 1.4e-3
POOR, GOOD = 0.25, 0.7  # fits: of the mask as it is, and of the same mask turned or of a neighbour's, for a finding
ENOUGH = 12  # pairs from which something can be said about a whole source
SHIFTED = 0.6  # of a source's masks that fit better turned, or on the next scan; 0.17 at most in Cheng and TCGA-LGG
UNRELATED = 0.25  # of a source's masks that fit worse than a stranger's; 0.05 in Cheng and TCGA-LGG
STRANGERS = "that of a stranger"  # what the masks of scans far away are called
SAME = 20  # px: smaller masks may be equal by chance

KINDS = {
    "unreadable": "cannot be read, or their scan cannot",
    "size": "are of another size than their scan",
    "off_grid": "lie on another grid than their scan",
    "faint": "hold only compression noise",
    "classes": "hold several classes",
    "grey": "are not binary",
    "empty": "are empty though the label says tumour",
    "unexpected": "mark something though the label says none",
    "full": "mark every pixel",
    "inverted": "mark the background",
    "outside": "lie outside the head in part",
    "whole": "mark most of the head",
    "tiny": "mark next to nothing",
    "specks": "have specks",
    "turned": "fit their scan better when turned",
    "neighbour": "fit worse than the mask of a neighbour",
    "name": "bear the name of another scan",
    "shared": "are shared by several scans",
    "repeated": "are equal to the mask of another scan",
    "source": "whole sources have masks that fit better elsewhere",
}
"""What the masks of each kind of finding do, in the order of the report."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one mask.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    id : str or None
        The scan's; None for a finding about a whole source.
    file : str
        The mask's, or the source's name.
    what : str
        What was found, with the figures.
    amount : float
        How much, in the unit that ``what`` names; pixels, a share, or a number of scans.
    remedy : str
        What to do.
    """

    kind: str
    id: str | None
    file: str
    what: str
    amount: float
    remedy: str

    def sentence(self) -> str:
        """The finding in one line.

        Examples
        --------
        >>> Finding("full", "a", "a_mask.png", "every pixel is marked", 1.0, "draw it again").sentence()
        'a_mask.png: every pixel is marked; draw it again'
        """
        return f"{self.file}: {self.what}; {self.remedy}"


def alone(row: Mapping[str, Any], fact: Facts) -> Iterator[Finding]:
    """Findings about one mask and its scan."""

    def finding(kind: str, what: str, amount: float, remedy: str) -> Finding:
        return Finding(kind, row["id"], str(row["mask_path"]), what, float(amount), remedy)

    if fact["problem"]:
        files = [str(row[name]) for name in ("mask_path", "path")]
        file = next((name for name in files if fact["problem"].startswith(name)), files[0])
        what, _, remedy = fact["problem"].removeprefix(f"{file}: ").rpartition("; ")
        yield Finding("unreadable", row["id"], file, what, 1.0, f"{remedy}, or drop the row")
    if fact["marked"] is None:
        return
    if fact["scan_size"] and fact["mask_size"] != fact["scan_size"]:
        what = f"the mask is {fact['mask_size']}, its scan {fact['scan_size']}"
        yield finding("size", what, 1, "resample the mask, or correct mask_path")
    if (fact["shift"] or 0) > OFF_GRID:
        what = f"the mask's grid lies up to {fact['shift']:.1f} voxels off its scan's"
        yield finding("off_grid", what, fact["shift"], "resample the mask on the scan's grid")
    if is_faint(fact):
        what = f"the largest value is {fact['highest']:.0f} of 255: nothing is drawn, and noise would be marked"
        yield finding("faint", what, fact["marked"], "save an empty mask as a black PNG")
        return
    yield from _levels(fact, finding)
    says = _says_tumor(row)
    if says and fact["marked"] == 0:
        what = f"the mask is empty, but the label is {_shown(row)}"
        yield finding("empty", what, 1, "draw the lesion or correct the label")
    if says is False and fact["marked"]:
        what = f"{fact['marked']} pixels are marked, but the label is {_shown(row)}"
        yield finding("unexpected", what, fact["marked"], "correct the label or empty the mask")
    if fact["marked"] and fact["share"] is not None:
        yield from _placed(fact, finding)


def _levels(fact: Facts, finding: Callable[[str, str, float, str], Finding]) -> Iterator[Finding]:
    """Masks with more than two values."""
    if not fact["between"]:
        return
    left_out = f"{fact['lost']} of them are not marked, because {RULE}"
    if fact["classes"]:
        what = f"areas of {fact['levels']} values, {fact['between']} pixels below the largest; {left_out}"
        yield finding("classes", what, fact["lost"], "write one mask of 0 and 255 for what is to be found")
        return
    kind = "JPEG rims" if fact["lossy"] else "grey rims"
    what = f"{kind}: {fact['between']} pixels between 0 and {fact['highest']:g}; {left_out}"
    yield finding("grey", what, fact["between"], "save masks as PNG of 0 and 255")


def _placed(fact: Facts, finding: Callable[[str, str, float, str], Finding]) -> Iterator[Finding]:
    """Masks that lie where no lesion is."""
    again = "look at both and draw the mask again"
    if fact["share"] == 1:
        yield finding("full", "every pixel is marked", 1, "invert the mask, or draw it again")
        return
    if fact["head_found"] is None:  # of another size, or the scan could not be read
        return
    if (fact["of_background"] or 0) > INVERTED or (not fact["head_found"] and fact["share"] > INVERTED):
        share = fact["of_background"] if fact["head_found"] else fact["share"]
        where = "background" if fact["head_found"] else "image"
        yield finding("inverted", f"{share:.0%} of the {where} is marked", share, "invert the mask")
        return
    if (fact["outside"] or 0) > OUTSIDE:
        yield finding("outside", f"{fact['outside']:.0%} of the mask lies outside the head", fact["outside"], again)
    if (fact["of_head"] or 0) > WHOLE:
        what = f"{fact['of_head']:.0%} of the head is marked: a mask of the brain, not of a lesion"
        yield finding("whole", what, fact["of_head"], again)
    if fact["of_head"] is not None and fact["of_head"] + (fact["outside"] or 0) < TINY:
        what = f"{fact['marked']} pixels are marked, {fact['of_head']:.2%} of the head"
        yield finding("tiny", what, fact["marked"], "empty the mask where this is a slip of the pen")
    if fact["specks"]:
        what = f"{fact['specks']} of {fact['regions']} regions are below {SPECK:.0%} of the largest "
        what += f"({fact['speck_pixels']} pixels beside {fact['largest']})"
        yield finding("specks", what, fact["speck_pixels"], "erase them where they are slips of the pen")
    yield from _fitted(fact, finding)


def _fitted(fact: Facts, finding: Callable[[str, str, float, str], Finding]) -> Iterator[Finding]:
    """Masks whose outline follows nothing in their scan, while another one would."""
    if fact["fit"] is None or fact["fit"] >= POOR:
        return
    own = f"the outline fits the scan's edges by {fact['fit']:.2f}"
    if fact["turned_fit"] > GOOD:
        what, gain = f"{own}, {fact['turned']} by {fact['turned_fit']:.2f}", fact["turned_fit"] - fact["fit"]
        yield finding("turned", what, gain, "look at both, and lay the mask as the scan lies")
    if (fact["neighbour_fit"] or 0) > GOOD:
        what, gain = f"{own}, that of '{fact['neighbour']}' by {fact['neighbour_fit']:.2f}", fact["neighbour_fit"]
        remedy = "look whether the two were exchanged, or drawn to another extent"
        yield finding("neighbour", what, gain - fact["fit"], remedy)


def _says_tumor(row: Mapping[str, Any]) -> bool | None:
    """What the label says: a tumour, none, or (no label, or a class of another kind) nothing about it."""
    value, name = row.get("label"), row.get("label_name")
    if value is None:
        return None
    if name is None or name in NAMES:
        return bool(value)
    word = class_word(name)
    return None if word is None else word != "none"


def _shown(row: Mapping[str, Any]) -> str:
    return f"{row['label']} ({row['label_name']})" if row.get("label_name") else str(row["label"])


def misnamed(every: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Masks whose file bears the name of another scan than the one that they are given to."""
    scans: dict[str, str] = {}
    for row in every:
        scans.setdefault(name_of(row["path"]), row["id"])
    for row in rows:
        own, named = name_of(row["path"]), name_of(row["mask_path"])
        if own != named and named in scans:
            what = f"the file is named as scan '{scans[named]}', but is given to '{row['id']}'"
            yield Finding("name", row["id"], str(row["mask_path"]), what, 1.0, "correct mask_path")


def _apart(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two rows are neither of one file nor of one case."""
    if first["path"] == second["path"] or (first.get("sha256") or 0) == second.get("sha256"):
        return False
    case = first.get("case")
    return case is None or (case, first.get("source")) != (second.get("case"), second.get("source"))


def shared(rows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Mask files that several scans name, of different cases."""
    users: dict[Path, list[Mapping[str, Any]]] = {}
    for row in rows:
        users.setdefault(Path(row["mask_path"]).resolve(), []).append(row)
    for several in users.values():
        others = [row for row in several[1:] if _apart(several[0], row)]
        if others:
            names = ", ".join(f"'{row['id']}'" for row in [several[0], *others][:3])
            what = f"one mask file for {len(others) + 1} scans ({names}{', ...' if len(others) > 2 else ''})"
            first = several[0]
            yield Finding("shared", first["id"], str(first["mask_path"]), what, len(others) + 1.0, "correct mask_path")


def repeated(
    rows: Sequence[Mapping[str, Any]], facts: Sequence[Facts], prints: NDArray[np.float32] | None
) -> Iterator[Finding]:
    """Equal masks in different files, on scans that are no copies of each other."""
    equal: dict[str, list[int]] = {}
    for place, fact in enumerate(facts):
        if (fact["marked"] or 0) >= SAME and fact["share"] < 1 and not is_faint(fact):
            equal.setdefault(fact["digest"], []).append(place)
    for first, *rest in equal.values():
        for place in rest:
            one, other = rows[first], rows[place]
            if Path(one["mask_path"]).resolve() == Path(other["mask_path"]).resolve() or not _apart(one, other):
                continue
            if prints is not None and _alike(prints, first, place):
                continue
            what = f"the {facts[place]['marked']} marked pixels are the same as those of '{one['id']}'"
            remedy = "look which of the two scans the mask belongs to"
            yield Finding("repeated", other["id"], str(other["mask_path"]), what, facts[place]["marked"], remedy)


def _alike(prints: NDArray[np.float32], first: int, second: int) -> bool:
    like = duplicates.correlations(prints, np.array([first]), np.array([second]))
    return bool(like[0, 0] >= duplicates.THRESHOLD)


def sources(facts: Sequence[Facts], others: Sequence[Mapping[str, float]]) -> Iterator[Finding]:
    """Sources whose masks, as a rule, fit better when laid otherwise: a whole folder was turned or misnumbered.

    ``others`` holds for each mask how its scan fits the masks of other scans. The way that wins most often is told.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    wins: Counter[tuple[str, str]] = Counter()
    total: Counter[str] = Counter()
    for fact, tried in zip(facts, others, strict=True):
        if fact["fit"] is None:
            continue
        source = str(fact["source"])
        total[source] += 1
        for name, fit in tried.items():
            pairs[source, name] += 1
            wins[source, name] += fit > fact["fit"]
        if fact["turned"]:
            wins[source, fact["turned"]] += fact["turned_fit"] > fact["fit"]
    for source in sorted(total):
        counted = {name: pairs[own, name] or total[own] for own, name in wins if own == source}
        shares = {name: wins[source, name] / number for name, number in counted.items() if number >= ENOUGH}
        usual = [name for name, share in shares.items() if name != STRANGERS and share > SHIFTED]
        if not usual and shares.get(STRANGERS, 0) > UNRELATED:
            usual = [STRANGERS]
        if usual:
            name = max(usual, key=shares.__getitem__)
            better = f"{name} fits better than its own mask" if pairs[source, name] else f"the mask fits better {name}"
            what = f"on {shares[name]:.0%} of {counted[name]} scans {better}"
            yield Finding("source", None, source, what, shares[name], "look at some pairs before anything is trained")

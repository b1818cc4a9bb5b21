"""Pictures and page of an explanation: the scan, the map over it, and what the maps are worth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope import io
from tumorscope.evaluation.localization import Localization
from tumorscope.evaluation.statistics import Interval
from tumorscope.report.document import Figure, Section, Table, write_document
from tumorscope.report.figures import contact_sheet, overlay
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.saliency import NAMES

if TYPE_CHECKING:
    from tumorscope.training.explain import Explanation, Seen

OPACITY = 0.55  # of the map where it is 1; 0 where it is 0, so that nothing is drawn where nothing was found
COLUMNS, TILE = 6, 224  # of the sheet: three scans in a row, each beside its map
LIMITS = (
    "A map shows which places moved this answer of this network. It is no outline of a tumour, no measure of how sure "
    "the network is, and no proof that the answer is right; the fewer places the last layer has, the coarser it is."
)


def heat(image: ArrayLike, values: ArrayLike, truth: ArrayLike | None = None) -> NDArray[np.uint8]:
    """RGB picture of a scan with a map over it, from clear (0) over violet to yellow (1), and the true lesion's line.

    Parameters
    ----------
    image : (H, W) array
        The scan, of any range.
    values : (H, W) array in [0, 1]
    truth : (H, W) bool array, optional
        Thin blue line.

    Examples
    --------
    >>> picture = heat(np.zeros((300, 300)), np.eye(300))
    >>> picture.shape, picture[0, -1].tolist()
    ((600, 600, 3), [0, 0, 0])
    """
    grey = np.asarray(image)
    plain = overlay(grey, np.zeros(grey.shape, bool), truth=truth)
    size = (plain.shape[1], plain.shape[0])
    strength = np.clip(cv2.resize(np.asarray(values, np.float32), size, interpolation=cv2.INTER_LINEAR), 0, 1)
    colour = cv2.applyColorMap(np.rint(strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = OPACITY * strength[..., None]
    share[np.ptp(plain, axis=2) > 0] = 0  # the line stays on top
    return np.rint(plain * (1 - share) + colour * share).astype(np.uint8)


def sheet(seen: Sequence[Seen]) -> NDArray[np.uint8]:
    """One picture of several scans, each beside its map: its name and truth under the one, the answer under the other.

    The blue line is the true lesion.
    """
    pictures: list[NDArray] = []
    titles: list[str] = []
    for one in seen:
        blank = np.zeros(one.pixels.shape, bool)
        pictures += [overlay(one.pixels, blank), heat(one.pixels, one.values, one.mask)]
        titles += [f"{one.id} · {one.truth or 'unknown'}", f"said {one.said} · {one.explained} {one.probability:.2f}"]
    return contact_sheet(pictures, titles, COLUMNS, TILE)


def write_report(
    found: Explanation, recipe: ClassifierRecipe, shown: NDArray[np.uint8], out: Path, command: str = ""
) -> Path:
    """``out/report.html`` and ``out/explain.json``.

    Parameters
    ----------
    found : Explanation
    recipe : ClassifierRecipe
    shown : (H, W, 3) uint8 array
        The figure sheet.
    out : Path
    command : str
        What was typed.
    """
    with io.atomic(out / "explain.json") as draft:
        draft.write_text(json.dumps(facts_of(found), indent=2), encoding="utf-8")
    columns = ("id", "label", "said", "explained", "probability", "fold", "pointing", "energy", "coverage")
    rows = found.table.select(columns).rows()
    scans = Section(
        "Scans",
        ["Left the scan, right the map over it; the blue line is the true lesion, where one is known"],
        [Table(columns, rows)],
        [Figure(shown, "Scans, each beside its map")],
        hint=LIMITS,
    )
    parts = [part for part in (_where(found), _check(found), scans) if part is not None]
    facts = {
        "method": NAMES[found.method],
        "layer": found.layer or "none: squares are hidden",
        "backbone": recipe.model.backbone,
        "scans": found.table.height,
        "command": command,
    }
    return write_document(found.report, f"Where it looks: {recipe.name}", sentences(found), parts, facts)


def sentences(found: Explanation) -> list[str]:
    """What was found, the most important first."""
    said = []
    if found.sanity is not None and not found.sanity.trusted:
        said.append(found.sanity.sentence(NAMES[found.method]))
    said.append(
        f"{NAMES[found.method]} of {found.table.height} scans, each explained by a network that did not learn from it."
    )
    if found.learnt:
        said.append(f"{found.learnt} scans were left out: every network that could explain them learnt from them.")
    if found.failed:
        said.append(f"{found.failed} scans could not be read.")
    if found.localization is None:
        said.append("No scan has a mask, so nothing can be said of whether the maps point at the lesions.")
    else:
        said += found.localization.sentences()
    if found.sanity is not None and found.sanity.trusted:
        said.append(found.sanity.sentence(NAMES[found.method]) + ".")
    return said


def facts_of(found: Explanation) -> dict[str, Any]:
    """The result as plain data, for ``explain.json``."""
    return {
        "method": found.method,
        "layer": found.layer,
        "scans": found.table.height,
        "learnt_from": found.learnt,
        "failed": found.failed,
        "localization": None if found.localization is None else _plain(found.localization),
        "localization_answered_rightly": None if found.right is None else _plain(found.right),
        "sanity": None
        if found.sanity is None
        else {
            "trusted": found.sanity.trusted,
            "rank_correlation": {
                one.name: [_number(value) for value in (one.mean, one.low, one.high)] for one in found.sanity.stages
            },
            "scans": found.sanity.scans,
            "seeds": found.sanity.seeds,
        },
        "sentences": sentences(found),
    }


def _where(found: Explanation) -> Section | None:
    if found.localization is None:
        return None
    rows: list[tuple[Any, ...]] = []
    for name, one in (("all with a mask", found.localization), ("those answered rightly", found.right)):
        if one is None:
            continue
        for score, part, blob, gain in (
            ("pointing game", one.pointing, one.centre_pointing, one.pointing_gain),
            ("energy in the lesion", one.energy, one.centre_energy, one.energy_gain),
        ):
            rows.append((name, one.scans, score, part.value, part.low, part.high, one.coverage, blob, str(gain)))
    columns = ("scans", "number", "score", "value", "low", "high", "by chance", "blob in the middle", "gain over it")
    hint = (
        "Pointing game: how often the map's highest point lies in the lesion. Energy: how much of the map lies there. "
        "Intervals of 95 %, by group."
    )
    return Section("Does it look at the lesion?", found.localization.sentences(), [Table(columns, rows)], hint=hint)


def _check(found: Explanation) -> Section | None:
    if found.sanity is None:
        return None
    rows = [(f"{one.name} random", one.mean, one.low, one.high) for one in found.sanity.stages]
    table = Table(("network", "rank correlation", "lowest", "highest"), rows, "Maps before and after")
    said = [found.sanity.sentence(NAMES[found.method])]
    hint = "A map that stays the same when the weights are random shows the picture, not what the network learnt."
    return Section("Sanity check", said, [table], alarm=not found.sanity.trusted, hint=hint)


def _plain(one: Localization) -> dict[str, Any]:
    values: dict[str, Any] = {"scans": one.scans, "groups": one.groups}
    for name in ("pointing", "energy", "pointing_gain", "energy_gain"):
        part: Interval = getattr(one, name)
        values[name] = [_number(value) for value in (part.value, part.low, part.high)]
    return values | {
        "coverage": one.coverage,
        "centre_pointing": one.centre_pointing,
        "centre_energy": one.centre_energy,
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

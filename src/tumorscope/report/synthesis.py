"""What a generator's pictures are worth, on a page: KID beside its floor, copies beside chance, the closest pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.audit.copying import SHOWN, Copying
from tumorscope.evaluation.kid import Kid
from tumorscope.report.document import Figure, Section, Table, write_document
from tumorscope.report.figures import Picture, contact_sheet, side_by_side

GRID = 32  # pictures shown
TILE = 192  # px of a pair


def closest_pairs(
    found: Copying, made: NDArray, training: NDArray, names: Sequence[str] | None = None, count: int = SHOWN
) -> Picture:
    """RGB sheet of the closest pairs, nearest first: the made picture on the left, the training scan on the right.

    Parameters
    ----------
    found : Copying
    made, training : (N, S, S), (M, S, S) arrays in [0, 1]
        As they were given to `find_copies`.
    names : sequence of str, optional
        Of the training scans.
    count : int
    """
    pairs = found.closest(count)
    pictures = [side_by_side(_grey(made[one]), _grey(training[other]), gap=2) for one, other, _ in pairs]
    titles = [f"{apart:.3f} {names[other] if names else other}" for _, other, apart in pairs]
    return contact_sheet(pictures, titles, columns=4, tile=TILE)


def write_synthesis_report(
    path: Path,
    made: NDArray,
    training: NDArray,
    found: Copying,
    distance: Kid | None,
    facts: dict[str, Any],
    names: Sequence[str] | None = None,
) -> Path:
    """``path``, an HTML page about some made pictures.

    Parameters
    ----------
    path : Path
    made, training : (N, S, S), (M, S, S) arrays in [0, 1]
    found : Copying
    distance : Kid or None
    facts : dict
        What is said at the foot.
    names : sequence of str, optional
        Of the training scans.
    """
    lead = [
        str(distance) if distance is not None else "Too few real scans to measure KID.",
        *(measure.sentence() for measure in found.measures),
    ]
    copying = Table(
        ("measure", "copies", "pictures", "rate", "held-out real scans", "limit", "median distance", "real to real"),
        [
            (
                one.name,
                len(one.copies),
                len(one.distance),
                str(one.rate),
                None if one.held_out is None else str(one.held_out),
                round(one.limit, 4),
                round(float(np.median(one.distance)), 4),
                round(float(np.median(one.real)), 4),
            )
            for one in found.measures
        ],
    )
    beyond = [] if distance is None or distance.within_floor is None else [_worth(distance.within_floor)]
    sections = [
        Section(
            "Pictures",
            [f"{len(made)} pictures were made; {min(GRID, len(made))} are shown."],
            figures=[Figure(contact_sheet([_grey(one) for one in made[:GRID]], columns=8, tile=96), "Made pictures.")],
        ),
        Section(
            "Distance to real scans",
            [lead[0], *beyond],
            hint="KID compares pictures by features. Figures of other features, or of sets of another size, "
            "cannot be compared; the floor is what two sets of real scans get.",
        ),
        Section(
            "Copying",
            lead[1:],
            tables=[copying],
            figures=[
                Figure(
                    closest_pairs(found, made, training, names),
                    "Closest pairs: made picture on the left, training scan on the right, with their distance.",
                )
            ],
            alarm=any(one.alarming for one in found.measures),
            hint="A picture counts as a copy when it lies nearer to a training scan than 1 % of real scans lie to one "
            "of another group. Held-out real scans show what chance gets.",
        ),
    ]
    return write_document(path, "Synthetic scans", lead, sections, facts)


def _worth(within: bool) -> str:
    if within:
        return "Real scans get as much among themselves: these features tell no difference."
    return "Real scans are nearer to each other than these pictures are to them: they can be told apart."


def _grey(picture: NDArray) -> NDArray[np.uint8]:
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)

"""One DICOM file: a 2-D scan for a single frame, a volume for several."""

from __future__ import annotations

from pathlib import Path

from tumorscope.io.decoding import noted
from tumorscope.io.dicom.assemble import flat_scan, loose_scan, stacked_scan
from tumorscope.io.dicom.header import Place, bits_of, is_enhanced, load, modality_of, notes_of, number, place_of
from tumorscope.io.dicom.pixels import full_value, values
from tumorscope.io.dicom.stack import arrange
from tumorscope.scan import Scan, Source


def read_dicom(path: Path, *, channel: int | None, max_pixels: int) -> Scan:
    """The scan in one DICOM file.

    The frames of an enhanced file are sorted by their own positions, like the files of a series; of several
    orientations in one file the one with most frames is read. Frames without positions keep their stored order.

    Raises
    ------
    ScanError
        If the file holds no image, is damaged, or needs ``channel`` to choose between images at one position.
    """
    data = load(path)
    frames = values(data, path, max_pixels)
    source = Source(path, "dicom", bits_of(data), modality_of(data), files=(path,), notes=notes_of(data))
    full = full_value(data)
    step = number(data, "SpacingBetweenSlices")
    thickness = abs(step or number(data, "SliceThickness") or 1.0)
    if len(frames) == 1:
        return flat_scan(frames[0], place_of(data), thickness, full, source, channel)
    places = [place_of(data, frame) for frame in range(len(frames))] if is_enhanced(data) else []
    if not places or not all(place.is_known for place in places):
        return loose_scan(frames, places[0] if places else place_of(data), step, full, source, channel)
    kept, notes = _main_orientation(places)
    first = places[kept[0]]
    if len(kept) == 1:
        return flat_scan(frames[kept[0]], first, thickness, full, noted(source, *notes), channel)
    positions = [places[index].position or () for index in kept]
    stack = arrange(positions, first.orientation or (), first.spacing or (), kept, thickness)
    return stacked_scan(frames[kept], stack, full, noted(source, *notes), channel)


def _main_orientation(places: list[Place]) -> tuple[list[int], tuple[str, ...]]:
    """Frames of the orientation and spacing that most frames have; a localiser holds several."""
    groups: list[list[int]] = []
    for index, place in enumerate(places):
        home = next((group for group in groups if place.stacks_with(places[group[0]])), None)
        if home is None:
            groups.append([index])
        else:
            home.append(index)
    kept = max(groups, key=len)
    rest = len(places) - len(kept)
    frames = "1 frame" if rest == 1 else f"{rest} frames"
    return kept, (f"{frames} of other orientations in the same file left out",) if rest else ()

"""A record on the axes that its scan has after a round trip through a file.

NIfTI keeps where voxels lie, not which axis was the slice's: a sagittal DICOM series of cubes comes back as axial
slices, and a volume that never had an affine with its rows turned round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from tumorscope.annotation import rle
from tumorscope.annotation.records import Annotation, ScanFacts
from tumorscope.errors import DataError
from tumorscope.io.decoding import label
from tumorscope.scan import BoolArray, Scan

CLOSE = 0.01  # voxels that two grids may be apart and still be one; NIfTI keeps affines as float32
NIFTI = (".nii", ".nii.gz", ".hdr", ".img")
Turn = Callable[[NDArray], NDArray]


def on_grid(
    annotation: Annotation, scan: Scan, mask: BoolArray | None = None, *, nifti: bool | None = None
) -> Annotation:
    """The record on the axes of ``scan``: itself, or with its masks turned, exact to the voxel.

    Parameters
    ----------
    annotation : Annotation
        Of the same voxels.
    scan : Scan
        The scan as it is read now.
    mask : bool array of the shape of ``scan``, optional
        All lesions together, as a mask file has them: what the record must agree with.
    nifti : bool, optional
        Whether the record was made on a NIfTI file, which comes back as it was; None tells it by the file's name.
        Asked only where a volume has no affine.

    Raises
    ------
    DataError
        If the two lie on different grids, or the mask marks other pixels than the record.

    Examples
    --------
    >>> from tumorscope.annotation.records import Lesion
    >>> scan = Scan.of(np.zeros((3, 4), np.float32))
    >>> record = Annotation(case_id="a", scan=ScanFacts.of(scan), lesions=(Lesion(mask=rle.encode(np.eye(3, 4) > 0)),))
    >>> on_grid(record, scan) is record
    True
    """
    same = annotation.scan.name.casefold().endswith(NIFTI) if nifti is None else nifti
    turns = list(_turns(annotation.scan, scan, same))
    if not turns:
        sizes = ["x".join(map(str, shape)) for shape in (annotation.scan.shape, scan.shape)]
        what = f"the record is {sizes[0]}, the scan {sizes[1]}" if sizes[0] != sizes[1] else "they lie on other grids"
        raise DataError(f"{label(annotation.scan.name)}: {what}; record and scan do not belong together")
    marked = annotation.mask()
    for turn in turns:
        if mask is not None and not np.array_equal(turn(marked), mask):
            continue
        if turn is _as_it_is:
            return annotation
        lesions = tuple(
            lesion.model_copy(update={"mask": rle.encode_any(turn(lesion.pixels))}) for lesion in annotation.lesions
        )
        facts = ScanFacts.of(scan, name=annotation.scan.name)
        return annotation.model_copy(update={"scan": facts, "lesions": lesions})
    raise DataError(
        f"{label(annotation.scan.name)}: the mask file marks other pixels than the record in annotations/; remove the "
        "one that is out of date"
    )


def _turns(given: ScanFacts, scan: Scan, same: bool) -> Iterator[Turn]:
    """Ways to lay the axes of the record as the scan's, the likeliest first: one by the affines, or two without."""
    if len(given.shape) == len(scan.shape) == 3 and given.affine is not None and scan.affine is not None:
        turn = _by_affine(np.asarray(given.affine), given.shape, np.asarray(scan.affine), scan.shape)
        if turn is not None:
            yield turn
        return
    if given.shape == scan.shape and (same or len(scan.shape) == 2):
        yield _as_it_is
    if len(given.shape) == 3 and given.shape[::-1] == scan.grid.shape:
        yield lambda mask: scan.grid.from_file(mask.transpose(2, 1, 0))
    if given.shape == scan.shape and not same:
        yield _as_it_is


def _as_it_is(mask: NDArray) -> NDArray:
    return mask


def _by_affine(
    first: NDArray[np.float64], shape: tuple[int, ...], second: NDArray[np.float64], wanted: tuple[int, ...]
) -> Turn | None:
    """The turn from the first grid to the second; None where they are not one grid in another order."""
    exact = np.linalg.inv(first) @ second  # index on the second to index on the first
    whole = np.rint(exact[:3, :3]).astype(int)
    order = tuple(int(axis) for axis in np.abs(whole).argmax(axis=0))  # of the first, for each axis of the second
    start = np.where(whole.sum(axis=1) < 0, np.subtract(shape, 1), 0)
    apart = np.abs(exact[:3] - np.column_stack([whole, start]))
    apart[:, :3] *= np.subtract(wanted, 1)  # how far it leads astray at the other end
    if sorted(order) != [0, 1, 2] or tuple(shape[axis] for axis in order) != wanted or apart.max() > CLOSE:
        return None
    flips = tuple(axis for axis in range(3) if whole[order[axis], axis] < 0)
    if order == (0, 1, 2) and not flips:
        return _as_it_is
    return lambda mask: np.flip(mask.transpose(order), flips)

"""Scan: pixels with the geometry of the file they came from. Every stage passes one on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Grid:
    """How a scan's array came from the grid stored in its file, so that a mask can go back.

    The file's array is transposed by ``order``, then the axes in ``flips`` are reversed.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array as the file stores it (spatial axes only).
    order : tuple of int
        ``scan_axis = file_axis[order]``, as for :func:`numpy.transpose`.
    flips : tuple of bool
        One flag per scan axis, applied after the transposition.
    affine : (4, 4) float array or None
        The file's own voxel-to-world matrix in RAS+ millimetres, indexed in the file's axis order.

    Examples
    --------
    >>> stored = np.arange(6).reshape(2, 3)
    >>> grid = Grid(shape=(2, 3), order=(1, 0), flips=(True, False))
    >>> np.array_equal(grid.to_file(grid.from_file(stored)), stored)
    True
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    flips: tuple[bool, ...]
    affine: NDArray[np.float64] | None = None

    def from_file(self, array: NDArray) -> NDArray:
        """``array`` on the file's grid, brought to the scan's axes. Shape ``shape`` in, view out."""
        moved = np.transpose(array, self.order)
        return moved[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def to_file(self, array: NDArray) -> NDArray:
        """``array`` on the scan's axes, brought back to the file's grid: the inverse of `from_file`."""
        unflipped = array[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]
        return np.transpose(unflipped, np.argsort(self.order))


@dataclass(frozen=True)
class Source:
    """Where a scan came from and what its file says about itself.

    ``notes`` are findings worth showing to a person, one sentence each, free of patient identifiers.
    ``sides_known`` tells whether the file says which side is the patient's left; a PNG cannot.
    """

    path: Path
    format: str
    bits: int | None = None
    modality: str | None = None
    sides_known: bool = False
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scan:
    """One 2-D image or one 3-D volume.

    Parameters
    ----------
    pixels : (H, W) or (D, H, W) float32 array, or with a leading channel axis
        Values as the file means them (rescale slope applied, MONOCHROME1 turned round), not normalised.
    axes : str
        ``"YX"``, ``"ZYX"``, ``"CYX"`` or ``"CZYX"``. Z is the slice axis. Where the file knows
        directions, every slice is shown by the radiological convention: the patient's right is on
        the left of an axial or coronal slice.
    spacing : tuple of float or None
        Millimetres along the spatial axes in array order; None when the file does not say.
    affine : (4, 4) float array or None
        Index of ``pixels`` (spatial axes, array order) to RAS+ world millimetres. For a 2-D scan the
        index is (0, y, x).
    grid : Grid
        The way back to the file's own grid.
    source : Source
        The file and what it says.
    plane : str or None
        ``"axial"``, ``"coronal"``, ``"sagittal"`` for what a slice shows; None when unknown.

    Raises
    ------
    ScanError
        If ``pixels`` does not have one axis for each letter of ``axes``, is empty, or is not float32.

    Examples
    --------
    >>> scan = Scan.of(np.zeros((4, 5), np.float32))
    >>> scan.axes, scan.is_volume, scan.shape
    ('YX', False, (4, 5))
    """

    pixels: FloatArray
    axes: str
    grid: Grid
    source: Source
    spacing: tuple[float, ...] | None = None
    affine: NDArray[np.float64] | None = field(default=None, compare=False)
    plane: str | None = None

    def __post_init__(self) -> None:
        name = self.source.path.name
        if self.axes not in ("YX", "ZYX", "CYX", "CZYX"):
            raise ScanError(f"{name}: axes '{self.axes}' are not one of YX, ZYX, CYX, CZYX; name them in this order")
        if self.pixels.ndim != len(self.axes):
            raise ScanError(
                f"{name}: {self.pixels.ndim}-D pixels do not fit the axes '{self.axes}'; give one axis per letter"
            )
        if self.pixels.dtype != np.float32:
            raise ScanError(f"{name}: pixels are {self.pixels.dtype}, a Scan holds float32; convert with astype")
        if self.pixels.size == 0:
            raise ScanError(f"{name}: the scan has no pixels (shape {self.pixels.shape}); check the file")

    @classmethod
    def of(cls, pixels: NDArray, *, spacing: tuple[float, ...] | None = None, name: str = "array") -> Scan:
        """A scan made from a bare (H, W) or (D, H, W) array; its own grid is the file's grid."""
        array = np.ascontiguousarray(pixels, dtype=np.float32)
        if array.ndim not in (2, 3):
            raise ScanError(
                f"{name}: a {array.ndim}-D array is neither a 2-D scan nor a volume; pass (H, W) or (D, H, W)"
            )
        grid = Grid(array.shape, tuple(range(array.ndim)), (False,) * array.ndim)
        return cls(array, "YX" if array.ndim == 2 else "ZYX", grid, Source(Path(name), "array"), spacing)

    @property
    def is_volume(self) -> bool:
        """Whether the scan has a slice axis."""
        return "Z" in self.axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape: (H, W) or (D, H, W)."""
        return self.pixels.shape[1:] if self.axes[0] == "C" else self.pixels.shape

    def channel(self, index: int) -> Scan:
        """The scan of one channel, without the channel axis.

        Raises
        ------
        ScanError
            If there is no such channel.
        """
        count = self.pixels.shape[0] if self.axes[0] == "C" else 1
        if not 0 <= index < count:
            raise ScanError(f"{self.source.path}: there is no channel {index}; it has {count}, counted from 0")
        if self.axes[0] != "C":
            return self
        return replace(self, pixels=np.ascontiguousarray(self.pixels[index]), axes=self.axes[1:])

    def middle(self) -> FloatArray:
        """The (H, W) slice by which a scan is measured: several channels averaged, of a volume the middle slice.

        Not the slice with the lesion, which only a scan with a mask could have.

        Examples
        --------
        >>> Scan.of(np.arange(12.0).reshape(3, 2, 2)).middle().tolist()
        [[4.0, 5.0], [6.0, 7.0]]
        """
        pixels = self.pixels.mean(axis=0) if self.axes[0] == "C" else self.pixels
        return np.ascontiguousarray(pixels[pixels.shape[0] // 2] if self.is_volume else pixels)

    def noting(self, *notes: str) -> Scan:
        """The same scan with findings added to ``source.notes``."""
        return replace(self, source=replace(self.source, notes=(*self.source.notes, *notes)))

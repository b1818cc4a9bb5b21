"""From a scan's own grid to the network's square, and back again, exact to the pixel.

Training, inference and the gate prepare a slice with these few lines, so that a network
never sees in use what it did not see in training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import BundleError, look_up
from tumorscope.imaging.background import clean_background
from tumorscope.imaging.crop import Crop, crop_head
from tumorscope.imaging.geometry import Letterbox
from tumorscope.imaging.intensity import normalize
from tumorscope.imaging.intensity_clusters import intensity_clusters
from tumorscope.imaging.musica import musica
from tumorscope.imaging.palettes import colored
from tumorscope.scan import BoolArray, FloatArray


@dataclass(frozen=True)
class Prepared:
    """A slice as a network takes it, with the way back.

    Parameters
    ----------
    pixels : (S, S) float32 array in [0, 1]
        The head, normalised, padded to a square and resized.
    crop : Crop
        Where the head lies on the input's grid, and why.
    letterbox : Letterbox
        How the cut-out became a square.
    shape : tuple of int
        (H, W) of the input.
    findings : tuple of str
        What cleaning removed, one sentence each.
    cleaned : (H, W) float32 array
        The whole slice after cleaning, before anything else.
    """

    pixels: FloatArray
    crop: Crop
    letterbox: Letterbox
    shape: tuple[int, int]
    findings: tuple[str, ...]
    cleaned: FloatArray

    @property
    def head(self) -> BoolArray:
        """The filled head on the input's grid, (H, W)."""
        return self.crop.head

    def to_input_grid(self, array: NDArray, interpolation: Literal["linear", "nearest"] = "linear") -> NDArray:
        """An (S, S) array of the network brought to the input's (H, W); zero outside the crop."""
        return self.crop.box.paste(self.letterbox.invert(array, interpolation), self.shape, 0)

    def to_square(self, mask: BoolArray) -> BoolArray:
        """An (H, W) mask of the input brought to the network's square."""
        cut = np.ascontiguousarray(self.crop.box.cut(mask), dtype=np.uint8)
        return self.letterbox.apply(cut, "nearest", fill=0).astype(bool)


@dataclass(frozen=True)
class Preparation:
    """The settings of `prepare`; a bundle carries them so that wrong preparation cannot happen.

    Parameters
    ----------
    size : int
        Side of the network's square in pixels.
    clean : bool
        Whether a white background, borders and burned-in text are removed first.
    crop : {"auto", "hard", "soft", "none"}
        How the head is found.
    enhance : {"none", "musica"}
        Contrast enhancement after normalisation.
    low, high : float
        Percentiles of the head's intensities that become 0 and 1.
    colors : {"none", "kmeans", "watershed"}
        What `tinted` makes of a square: nothing, or colours of clusters of grey values or of watershed regions.
    clusters : int
        Number of k-means clusters.
    """

    size: int = 192
    clean: bool = True
    crop: str = "auto"
    enhance: str = "none"
    low: float = 0.5
    high: float = 99.5
    colors: str = "none"
    clusters: int = 10

    def __post_init__(self) -> None:
        look_up(self.crop, ("auto", "hard", "soft", "none"), "crop mode", BundleError)
        look_up(self.enhance, ("none", "musica"), "enhancement", BundleError)
        look_up(self.colors, ("none", "kmeans", "watershed"), "colouring", BundleError)
        if self.size < 32:
            raise BundleError(f"preparation: size {self.size} is under 32 px; give a larger square")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain data, for a bundle's metadata."""
        return asdict(self)

    def prepare(self, image: NDArray) -> Prepared:
        """The (H, W) slice ``image``, of any range, as the network takes it.

        Examples
        --------
        >>> disc = np.hypot(*np.mgrid[-40:40, -30:30]) < 25
        >>> prepared = Preparation(size=64).prepare(disc * 100.0)
        >>> prepared.pixels.shape, prepared.to_input_grid(prepared.pixels).shape
        ((64, 64), (80, 60))
        """
        pixels = np.asarray(image, dtype=np.float32)
        findings: tuple[str, ...] = ()
        if self.clean:
            cleaned = clean_background(pixels)
            pixels, findings = cleaned.image, cleaned.findings
        crop = crop_head(pixels, mode=self.crop)
        cut = crop.box.cut(pixels)
        where = crop.box.cut(crop.head)
        cut = normalize(cut, low=self.low, high=self.high, where=where if where.any() else None)
        if self.enhance == "musica":
            cut = np.clip(musica(cut, keep_black=True), 0.0, 1.0)
        letterbox = Letterbox.fit(cut.shape, self.size)
        square = letterbox.apply(cut, "area", fill=0)
        shape = (int(pixels.shape[0]), int(pixels.shape[1]))
        return Prepared(np.ascontiguousarray(square, np.float32), crop, letterbox, shape, findings, pixels)

    @property
    def channels(self) -> int:
        """Channels of what `tinted` returns."""
        return 1 if self.colors == "none" else 3

    def tinted(self, square: NDArray) -> FloatArray:
        """A prepared square (S, S) as the network's input, (channels, S, S) float32 in [0, 1].

        Examples
        --------
        >>> ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
        >>> Preparation(size=64, colors="kmeans", clusters=4).tinted(ramp)[:, 0, -1].tolist()  # the brightest is red
        [1.0, 0.0, 0.0]
        """
        plane = np.asarray(square, np.float32)
        if self.colors == "none":
            return plane[None]
        if self.colors == "kmeans":
            clusters = min(self.clusters, len(np.unique(plane)))
            rgb = colored(intensity_clusters(plane, clusters).labels, clusters)
        else:
            from tumorscope.imaging.regions import region_colors, watershed

            rgb = region_colors(watershed(plane, where=plane > 0), plane)
        return np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / np.float32(255)

"""Random changes to a classifier's training square, made after the split and never stored.

Geometry first, in one interpolation; then, for grey squares, the look: brightness, contrast, bias field, sharpness,
noise, ghosts. Coloured squares keep their look, since their colours are names of clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.scan import BoolArray, FloatArray
from tumorscope.training import augment
from tumorscope.training.augment import FAINTEST_NOISE
from tumorscope.training.classifier_recipe import Changes

ELASTIC_GRID = 5  # control points along a side: deformations as large as a lobe of the brain
GHOSTS = (2, 5)  # fewest and most repetitions of the head along the axis


def changed(image: FloatArray, settings: Changes, rng: np.random.Generator) -> FloatArray:
    """A changed square of the same shape, float32 in [0, 1].

    Parameters
    ----------
    image : (S, S) or (S, S, 3) float32 array
        In [0, 1]; three channels are colours of clusters or regions.
    settings : Changes
    rng : numpy.random.Generator

    Examples
    --------
    >>> still = Changes(flip=0, rotation=0, shift=0, shear=0, zoom=0, brightness=0)
    >>> square = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    >>> bool(np.allclose(changed(square, still, np.random.default_rng(0)), square))
    True
    """
    image = moved(image, settings, rng)
    if image.ndim == 3:
        return image
    return looked(image, settings, rng)


def moved(image: FloatArray, settings: Changes, rng: np.random.Generator) -> FloatArray:
    """The square flipped, turned, sheared, zoomed, shifted and bent at random; grey linearly, colours to the nearest.

    Parameters and result as for `changed`.
    """
    return Motion.drawn(image.shape[0], settings, rng).apply(image)


@dataclass(frozen=True)
class Motion:
    """One random change of place, for a square and for the mask on it.

    Parameters
    ----------
    forward : (2, 3) float array
        Where a pixel (x, y) of the square comes to lie.
    bend : (2, S, S) float32 array or None
        Further shift in x and y of each pixel of the result, px.
    fill : {"nearest", "zero"}
        What comes in at the borders of an image; of a mask always nothing.
    """

    forward: NDArray[np.float64]
    bend: FloatArray | None
    fill: str

    @classmethod
    def drawn(cls, side: int, settings: Changes, rng: np.random.Generator) -> Motion:
        """A motion for squares of ``side`` pixels, as the settings allow."""
        turn = np.deg2rad(rng.uniform(-settings.rotation, settings.rotation))
        zoom = 1 + rng.uniform(-settings.zoom, settings.zoom)
        shear = rng.uniform(-settings.shear, settings.shear)
        shift = rng.uniform(-settings.shift, settings.shift, 2) * side
        linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        linear = linear @ np.array([[1, shear], [0, 1]]) * zoom
        if rng.random() < settings.flip:
            linear = linear @ np.diag([-1, 1])
        center = np.full(2, (side - 1) / 2)
        forward = np.hstack([linear, (center + shift - linear @ center)[:, None]])
        bend = None
        if rng.random() < settings.elastic:
            bend = np.stack([_bend(side, settings.elastic_size, rng) for _ in range(2)])
        return cls(forward, bend, settings.fill)

    def apply(self, image: FloatArray) -> FloatArray:
        """A moved (S, S) grey square or (S, S, 3) square of colours."""
        border = cv2.BORDER_REPLICATE if self.fill == "nearest" else cv2.BORDER_CONSTANT
        return self._moved(image, cv2.INTER_LINEAR if image.ndim == 2 else cv2.INTER_NEAREST, border)

    def apply_mask(self, mask: BoolArray) -> BoolArray:
        """A moved (S, S) mask."""
        return self._moved(mask.astype(np.float32), cv2.INTER_LINEAR, cv2.BORDER_CONSTANT) > 0.5

    def _moved(self, image: FloatArray, way: int, border: int) -> FloatArray:
        side = image.shape[0]
        if self.bend is None:
            return cv2.warpAffine(image, self.forward, (side, side), flags=way, borderMode=border)
        back = cv2.invertAffineTransform(self.forward)
        y, x = np.mgrid[:side, :side].astype(np.float32)
        x, y = x + self.bend[0], y + self.bend[1]
        maps = [(row[0] * x + row[1] * y + row[2]).astype(np.float32) for row in back]
        return cv2.remap(image, maps[0], maps[1], way, borderMode=border)


def looked(image: FloatArray, settings: Changes, rng: np.random.Generator) -> FloatArray:
    """The grey square (S, S) with another brightness, contrast, bias, sharpness, noise and ghosts, in [0, 1]."""
    if settings.brightness:
        image = image * np.float32(1 + rng.uniform(-settings.brightness, settings.brightness))
    if rng.random() < settings.curve:
        image = augment.curve(image, rng)
    if rng.random() < settings.bias:
        image = image * augment.bias(image.shape[0], rng)
    if rng.random() < settings.ghost:
        image = ghosted(image, rng.uniform(0, settings.ghost_strength), rng)
    if rng.random() < settings.coarse:
        image = augment.coarse(image, rng)
    if rng.random() < settings.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5))
    if rng.random() < settings.noise:
        largest = max(settings.noise_level, FAINTEST_NOISE)
        image = augment.rician(image, np.exp(rng.uniform(np.log(FAINTEST_NOISE), np.log(largest))), rng)
    return np.clip(image, 0.0, 1.0, dtype=np.float32)


def ghosted(image: FloatArray, strength: float, rng: np.random.Generator) -> FloatArray:
    """The square with fainter, shifted copies of itself along one axis, as periodic motion leaves them [1]_.

    Every n-th line of k-space is weakened by ``strength``, which puts copies at multiples of S/n pixels.

    References
    ----------
    .. [1] Perez-Garcia, Sparks, Ourselin, "TorchIO", Computer Methods and Programs in Biomedicine 208, 2021.

    Examples
    --------
    >>> point = np.zeros((8, 8), np.float32)
    >>> point[4, 4] = 1
    >>> int((ghosted(point, 0.5, np.random.default_rng(0)) > 0.01).sum()) > 1
    True
    """
    axis = int(rng.integers(2))
    every = int(rng.integers(GHOSTS[0], GHOSTS[1] + 1))
    spectrum = np.fft.fft(image, axis=axis)
    lines = [slice(None), slice(None)]
    lines[axis] = slice(every, None, every)  # line 0 carries the mean brightness and stays
    spectrum[tuple(lines)] *= 1 - strength
    return np.abs(np.fft.ifft(spectrum, axis=axis)).astype(np.float32)


def _bend(side: int, size: float, rng: np.random.Generator) -> FloatArray:
    """A smooth shift in pixels, (S, S), of at most ``size`` of the side."""
    grid = rng.uniform(-1, 1, (ELASTIC_GRID, ELASTIC_GRID)).astype(np.float32) * np.float32(size * side)
    return np.asarray(cv2.resize(grid, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)

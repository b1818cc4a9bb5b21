"""Random changes to a training scan, made after the split and never stored.

Everything works on prepared squares: geometry first, then the look (contrast curves, bias field,
resolution, noise), then the same percentile normalisation that a scan gets in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tumorscope.imaging.intensity import normalize
from tumorscope.scan import BoolArray, FloatArray
from tumorscope.training.recipe import Augmentation

QUANTILES = np.linspace(0, 1, 65, dtype=np.float32)
FAINTEST_NOISE = 0.005  # spread of the weakest noise added; the head's bright end is 1


@dataclass
class Sample:
    """A square under augmentation: ``image`` float32 about [0, 1], ``mask`` and ``head`` bool, all (S, S)."""

    image: FloatArray
    mask: BoolArray
    head: BoolArray


def quantiles(image: FloatArray, head: BoolArray) -> FloatArray:
    """65 quantiles of the intensities inside the head, (65,) float32 and increasing."""
    values = image[head] if head.any() else image.ravel()
    return np.quantile(values, QUANTILES).astype(np.float32)


def warp(sample: Sample, size: int, settings: Augmentation, rng: np.random.Generator) -> Sample:
    """The sample flipped, turned, zoomed, stretched and shifted at random, on a square of side ``size``."""
    side = sample.image.shape[0]
    angle = rng.uniform(-settings.rotation, settings.rotation)
    if rng.random() < settings.turn:
        angle += 90 * rng.integers(1, 4)
    zoom = size / side * np.exp(rng.uniform(-settings.zoom, settings.zoom))
    stretch = np.exp(rng.uniform(-0.1, 0.1))
    turn = np.deg2rad(angle)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = linear @ np.diag([zoom * stretch, zoom / stretch]) @ np.array([[1, rng.uniform(-0.08, 0.08)], [0, 1]])
    if rng.random() < settings.flip:
        linear = linear @ np.diag([-1, 1])
    target = size / 2 + rng.uniform(-settings.shift, settings.shift, 2) * size
    move = np.hstack([linear, (target - linear @ np.array([side / 2, side / 2]))[:, None]])
    shape = (size, size)
    image = cv2.warpAffine(sample.image, move, shape, flags=cv2.INTER_LINEAR)
    both = cv2.warpAffine(
        cv2.merge([sample.mask.astype(np.float32), sample.head.astype(np.float32)]), move, shape, flags=cv2.INTER_LINEAR
    )
    return Sample(image, both[..., 0] > 0.5, both[..., 1] > 0.5)


def look(
    sample: Sample, settings: Augmentation, rng: np.random.Generator, style: tuple[FloatArray, FloatArray] | None
) -> Sample:
    """The sample with another contrast, sharpness, noise and bias; mask and head stay.

    ``style`` holds the quantiles of this scan and those of another one to borrow the histogram from.
    """
    image = np.clip(sample.image, 0.0, 1.3)
    head = sample.head
    if style is not None and rng.random() < settings.match:
        own, other = style
        strength = rng.uniform(0.5, 1.0)
        ranks = np.interp(image, own + np.arange(own.size, dtype=np.float32) * 1e-6, QUANTILES)
        image = (image + strength * (np.interp(ranks, QUANTILES, other).astype(np.float32) - image)).astype(np.float32)
        image *= head
    if rng.random() < settings.curve:
        image = curve(image, rng)
    if rng.random() < settings.invert:
        image = np.where(head, 1.0 - np.clip(image, 0, 1), image).astype(np.float32)
    if rng.random() < settings.strip:
        image = _strip(image, head, rng)
    if rng.random() < settings.bias:
        image = image * bias(image.shape[0], rng)
    if rng.random() < settings.coarse:
        image = coarse(image, rng)
    if rng.random() < settings.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5))
    elif rng.random() < settings.sharpen:
        image = image + rng.uniform(0.3, 1.5) * (image - cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 3.0)))
    if rng.random() < settings.noise:
        largest = max(settings.noise_level, FAINTEST_NOISE)
        spread = float(np.exp(rng.uniform(np.log(FAINTEST_NOISE), np.log(largest))))
        image = rician(image, spread, rng)
    if rng.random() < settings.jpeg:
        eight = np.clip(image * 255, 0, 255).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))]
        decoded = cv2.imdecode(cv2.imencode(".jpg", eight, quality)[1], cv2.IMREAD_GRAYSCALE)
        image = np.asarray(decoded, np.float32) / np.float32(255)
    image = normalize(image, where=head if head.sum() > 100 else None)
    return Sample(image, sample.mask, head)


def curve(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A random increasing curve through (0, 0) and (1, 1): a power, or straight pieces between random knots."""
    if rng.random() < 0.5:
        return np.power(np.maximum(image, 0), np.float32(np.exp(rng.uniform(-0.8, 0.8))), dtype=np.float32)
    count = int(rng.integers(3, 7))
    x = np.sort(np.concatenate([[0, 1.3], rng.uniform(0.05, 0.95, count)]))
    y = np.cumsum(np.concatenate([[0], rng.gamma(2.0, 1.0, count + 1) + 0.1]))
    return np.interp(image, x, y / y[-1] * 1.3).astype(np.float32)


def rician(image: FloatArray, spread: float, rng: np.random.Generator) -> FloatArray:
    """The image with Rician noise, as the magnitude of two noisy channels has it; ``spread`` is that of each."""
    real = image + np.float32(spread) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.sqrt(real * real + (np.float32(spread) * rng.standard_normal(image.shape, dtype=np.float32)) ** 2)


def bias(size: int, rng: np.random.Generator) -> FloatArray:
    """A smooth field of factors about 1, (S, S)."""
    coarse = rng.uniform(-1, 1, (4, 4)).astype(np.float32) * np.float32(rng.uniform(0.1, 0.45))
    return np.exp(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))


def coarse(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The image at 35 to 85 % of its resolution, on the same grid."""
    size = image.shape[0]
    small = int(size * rng.uniform(0.35, 0.85))
    way = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_NEAREST
    return cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (size, size), interpolation=way)


def _strip(image: FloatArray, head: BoolArray, rng: np.random.Generator) -> FloatArray:
    steps = max(1, int(image.shape[0] * rng.uniform(0.03, 0.09)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * steps + 1, 2 * steps + 1))
    inner = cv2.erode(head.astype(np.uint8), kernel)
    return image * inner if inner.sum() > 0.3 * head.sum() else image

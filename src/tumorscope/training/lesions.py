"""Lesions pasted into healthy tissue, tumours taken out, and healthy patches as distraction.

A network trained on two collections, one with tumours and one without, learns to tell the
collections apart. These three edits break that link: tumours appear in every collection, scans
of the tumour collection appear without theirs, and a soft-edged patch alone means nothing.
All work on squares of float32 in [0, 1] as `imaging.preparation` makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from tumorscope.scan import BoolArray, FloatArray

SMALLEST_LESION = 40  # px at the cache's size: below this a pasted lesion is a speck
BOUND_TO_TISSUE = 0.4  # share of the larger pasted lesions that keep to one kind of tissue
SYMMETRIC = 0.6  # correlation with the mirror image from which a slice counts as left-right symmetric


@dataclass(frozen=True)
class Patch:
    """A shape and its texture: ``alpha`` in [0, 1] and zero-mean ``texture``, both (h, w) float32."""

    alpha: FloatArray
    texture: FloatArray


def blob(radius: float, rng: np.random.Generator) -> FloatArray:
    """A random lobed shape of about ``radius`` pixels as an (h, w) float32 array of 0 and 1."""
    side = int(np.ceil(radius * 1.7)) * 2 + 1
    y, x = (np.mgrid[:side, :side] - side // 2).astype(np.float32) / radius
    angle = rng.uniform(0, np.pi)
    stretch = rng.uniform(0.6, 1.0)
    u = np.cos(angle) * x + np.sin(angle) * y
    v = (np.cos(angle) * y - np.sin(angle) * x) / stretch
    wobble = _smooth_noise((side, side), radius * rng.uniform(0.3, 0.7), rng)
    return (np.sqrt(u * u + v * v) + rng.uniform(0.0, 0.28) * wobble < 0.95).astype(np.float32)


def made_up(radius: float, rng: np.random.Generator) -> Patch:
    """A lesion of invented shape: homogeneous, mottled, rim-enhancing, or with a dark core."""
    shape = blob(radius, rng)
    texture = _smooth_noise(shape.shape, rng.uniform(0.8, max(1.0, radius / 3)), rng) * rng.uniform(0.0, 1.0)
    if rng.random() < 0.4:
        depth = cv2.distanceTransform(shape.astype(np.uint8), cv2.DIST_L2, 3) / max(radius, 1.0)
        rim = np.exp(-(((depth - rng.uniform(0.05, 0.2)) / rng.uniform(0.08, 0.2)) ** 2)).astype(np.float32)
        texture += (rim - 0.5) * rng.uniform(0.8, 2.5) * (1 if rng.random() < 0.8 else -1)
    return Patch(shape, texture)


def taken(image: FloatArray, mask: BoolArray, radius: float, rng: np.random.Generator) -> Patch:
    """A real lesion, turned, mirrored and scaled to about ``radius`` pixels; its brightness taken away."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    values = image[mask]
    area = float(mask.sum())
    scale = radius / np.sqrt(area / np.pi)
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    side = int(np.hypot(height, width) * scale) + 5
    centre = ((columns[0] + columns[-1]) / 2, (rows[0] + rows[-1]) / 2)
    move = cv2.getRotationMatrix2D(centre, rng.uniform(0, 360), scale)
    if rng.random() < 0.5:
        move = np.array([[-1, 0, 2 * centre[0]], [0, 1, 0]]) @ np.vstack([move, [0, 0, 1]])
    move[:, 2] += side / 2 - np.array(centre)
    texture = (image - values.mean()) / max(float(values.std()), 0.03)
    shape = cv2.warpAffine(mask.astype(np.float32), move, (side, side), flags=cv2.INTER_LINEAR)
    texture = cv2.warpAffine(texture, move, (side, side), flags=cv2.INTER_LINEAR)
    return Patch((shape > 0.5).astype(np.float32), np.clip(texture, -3, 3))


def paste(
    image: FloatArray, head: BoolArray, patch: Patch, rng: np.random.Generator
) -> tuple[FloatArray, BoolArray] | None:
    """``image`` with ``patch`` somewhere inside the head, and its mask; None where it does not fit.

    The new brightness lies well above or below the tissue it replaces; the edge is sharp or soft;
    some of the host's own fine texture shows through. Some lesions keep to one kind of tissue, as
    oedema keeps to white matter.
    """
    place = _place(head, patch.alpha.shape, rng)
    if place is None:
        return None
    window, part = place
    host = image[window]
    shape = patch.alpha[part] * head[window]
    if shape.sum() > 10 * SMALLEST_LESION and rng.random() < BOUND_TO_TISSUE:
        shape = shape * _tissue(host, shape > 0, rng)
    if shape.sum() < SMALLEST_LESION:
        return None
    soft = rng.uniform(0.6, 2.5) if rng.random() < 0.75 else rng.uniform(2.5, 6.0)
    alpha = cv2.GaussianBlur(shape, (0, 0), soft)
    lesion = (alpha > 0.5) & head[window]
    if lesion.sum() < SMALLEST_LESION:
        return None
    mean = float(host[lesion].mean())
    bright = rng.random() < (0.8 if mean < 0.6 else 0.4)
    contrast = rng.uniform(0.12, 0.5) * (1 if bright else -1)
    if not 0.02 < mean + contrast < 1.25:
        contrast = -contrast
    fine = host - cv2.GaussianBlur(host, (0, 0), 3.0)
    new = mean + contrast + patch.texture[part] * rng.uniform(0.02, 0.12) + fine * rng.uniform(0.2, 1.2)
    out = image.copy()
    out[window] = np.clip(host + alpha * (new - host), 0.0, 1.3)
    mask = np.zeros(image.shape, bool)
    mask[window] = lesion
    return out, mask


def _tissue(host: FloatArray, where: BoolArray, rng: np.random.Generator) -> FloatArray:
    """1 where the host's tissue inside ``where`` is of one kind (brighter or darker than a random level), else 0."""
    if not where.any():
        return np.ones_like(host)
    calm = cv2.GaussianBlur(host, (0, 0), rng.uniform(1.0, 2.5))
    level = np.quantile(calm[where], rng.uniform(0.1, 0.5))
    kind = calm > level if rng.random() < 0.8 else calm < 2 * np.median(calm[where]) - level
    return cv2.morphologyEx(kind.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(np.float32)


def remap(image: FloatArray, head: BoolArray, rng: np.random.Generator) -> FloatArray:
    """``image`` as another sequence might show it: 4 to 8 ranges of its grey values get random new ones.

    The curve between them is smooth but need not rise, so that fluid may become brighter than white matter
    and white darker than grey. What is outside the head stays.
    """
    values = image[head]
    if values.size < SMALLEST_LESION:
        return image
    count = int(rng.integers(4, 9))
    ranks = np.sort(np.concatenate([[0, 1], rng.uniform(0.03, 0.97, count - 2)]))
    knots = np.quantile(values, ranks) + np.arange(count) * 1e-4
    levels = rng.uniform(0.05, 1.0, count)
    fine = np.linspace(float(knots[0]), float(knots[-1]), 256, dtype=np.float32)
    curve = cv2.GaussianBlur(np.interp(fine, knots, levels).astype(np.float32)[None], (0, 0), 6.0)[0]
    return np.where(head, np.interp(image, fine, curve), image).astype(np.float32)


def distract(
    image: FloatArray, head: BoolArray, other: FloatArray, avoid: BoolArray, rng: np.random.Generator
) -> FloatArray:
    """``image`` with a soft-edged patch of the tumour-free scan ``other`` that is no lesion.

    The patch comes from the same place of the head and is brought to the host's mean and spread,
    so that a paste boundary alone tells nothing. Returned unchanged where it would touch ``avoid``.
    """
    shape = blob(rng.uniform(8, 30), rng)
    place = _place(head, shape.shape, rng)
    if place is None:
        return image
    window, part = place
    if avoid[window].any():
        return image
    alpha = cv2.GaussianBlur(shape[part] * head[window], (0, 0), rng.uniform(0.6, 4.0))
    inside = alpha > 0.3
    if inside.sum() < SMALLEST_LESION:
        return image
    host, guest = image[window], other[window]
    gain = min(float(host[inside].std()) / max(float(guest[inside].std()), 0.02), 2.0)
    new = (guest - guest[inside].mean()) * gain + host[inside].mean()
    out = image.copy()
    out[window] = np.clip(host + alpha * (new - host), 0.0, 1.3)
    return out


def remove(image: FloatArray, mask: BoolArray, rng: np.random.Generator) -> FloatArray | None:
    """``image`` with its lesion replaced by the mirrored other side; None where that is no healthy tissue.

    Only for slices that are nearly symmetric (axial, coronal) and lesions off the mid-line.
    """
    mirrored = image[:, ::-1]
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    if (wide & wide[:, ::-1]).sum() > 0.1 * wide.sum():
        return None
    rest = ~(wide | wide[:, ::-1])
    if np.corrcoef(image[rest][::3], mirrored[rest][::3])[0, 1] < SYMMETRIC:
        return None
    alpha = cv2.GaussianBlur(wide.astype(np.float32), (0, 0), rng.uniform(1.0, 3.0))
    return image + alpha * (mirrored - image)


def draw_patch(
    bank: Callable[[np.random.Generator], tuple[FloatArray, BoolArray]] | None, size: int, rng: np.random.Generator
) -> Patch:
    """A lesion for a square of side ``size``: taken from ``bank`` more often than made up."""
    radius = float(np.exp(rng.uniform(np.log(0.022), np.log(0.24)))) * size
    if bank is not None and rng.random() < 0.6:
        image, mask = bank(rng)
        return taken(image, mask, max(radius, 6.0), rng)
    return made_up(max(radius, 5.0), rng)


def _place(
    head: BoolArray, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """A window centred inside the head (the deeper one of two spots), and the part of the patch that falls into it."""
    height, width = head.shape
    inside = cv2.erode(head.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, height // 20))
    spots = np.flatnonzero(inside)
    if spots.size == 0:
        return None
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3).ravel()
    y, x = divmod(int(max(spots[rng.integers(spots.size, size=2)], key=lambda spot: depth[spot])), width)
    top, left = y - shape[0] // 2, x - shape[1] // 2
    rows = slice(max(top, 0), min(top + shape[0], height))
    columns = slice(max(left, 0), min(left + shape[1], width))
    part = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    return (rows, columns), part


def _smooth_noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> FloatArray:
    """Gaussian noise blurred by ``sigma`` pixels, brought to zero mean and unit spread."""
    step = max(1, int(sigma / 2))
    small = rng.standard_normal((shape[0] // step + 2, shape[1] // step + 2), dtype=np.float32)
    small = cv2.GaussianBlur(small, (0, 0), max(sigma / step, 0.3))
    noise = cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return (noise - noise.mean()) / max(float(noise.std()), 1e-6)

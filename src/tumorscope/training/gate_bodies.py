"""Simulated pictures of other body parts: what the gate has to tell from a brain.

They are caricatures built from outlines, tissues and textures, with the layout that tells a knee from a
head. Each function takes a random generator and returns an (H, W) float32 image in [0, 1], except for the
few that are coloured by nature, which return (H, W, 3).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDE = 256  # pixels; the caricatures are drawn at this size and degraded later

TISSUES = {
    # brightness of fat, muscle, organ, fluid, marrow, cortical bone, lung or gas
    "t1": (0.90, 0.40, 0.50, 0.20, 0.75, 0.06, 0.02),
    "t2": (0.75, 0.25, 0.45, 0.95, 0.55, 0.06, 0.02),
    "fat-saturated": (0.15, 0.40, 0.60, 0.95, 0.20, 0.06, 0.02),
    "ct": (0.28, 0.48, 0.55, 0.42, 0.70, 1.00, 0.04),
}


class Tissue:
    """Brightness of each tissue in one picture: a table row, shaken a little."""

    def __init__(self, rng: Rng, names: tuple[str, ...] = ("t1", "t2", "fat-saturated", "ct")) -> None:
        self.name = names[rng.integers(len(names))]
        row = np.clip(np.asarray(TISSUES[self.name]) * rng.uniform(0.75, 1.25, 7), 0.01, 1.0)
        self.fat, self.muscle, self.organ, self.fluid, self.marrow, self.cortex, self.gas = row


def texture(rng: Rng, slope: float = 1.0, side: int = SIDE) -> Image:
    """Noise with amplitude falling as ``1 / frequency**slope``: (side, side), zero mean, unit deviation."""
    fy = np.fft.fftfreq(side)[:, None]
    fx = np.fft.rfftfreq(side)[None, :]
    radius = np.hypot(fy, fx)
    radius[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) / radius**slope
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, s=(side, side))
    return np.asarray(field / max(float(field.std()), 1e-9), np.float32)


def blob(rng: Rng, x: float, y: float, rx: float, ry: float, *, angle: float = 0.0, rough: float = 0.05) -> Mask:
    """A closed, slightly irregular outline, filled; centre and radii as fractions of the picture's side."""
    turn = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radius = np.ones_like(turn)
    for k in range(2, 7):
        radius += rough / (k - 1) * rng.standard_normal() * np.cos(k * turn + rng.uniform(0, 2 * np.pi))
    px, py = rx * radius * np.cos(turn), ry * radius * np.sin(turn)
    c, s = np.cos(angle), np.sin(angle)
    points = np.stack([x + c * px - s * py, y + s * px + c * py], axis=1) * SIDE
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], 1)
    return canvas.astype(bool)


def bone(image: Image, mask: Mask, tissue: Tissue, wall: int = 3) -> None:
    """Paint a bone in place: marrow inside a cortical wall of ``wall`` pixels."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((2 * wall + 1, 2 * wall + 1), np.uint8)).astype(bool)
    image[mask] = tissue.cortex
    image[inner] = tissue.marrow


def finish(rng: Rng, image: Image, *, grain: float = 0.04, soften: float = 1.0) -> Image:
    """Soft edges, tissue texture, slow shading, an elastic bend and noise."""
    body = cv2.GaussianBlur(image, (0, 0), soften * rng.uniform(0.6, 1.4))
    body = body * (1 + grain * rng.uniform(0.5, 3) * texture(rng, rng.uniform(0.6, 1.6)))
    body = body * (1 + rng.uniform(0, 0.25) * texture(rng, 3.0))
    amplitude = rng.uniform(0, 5)
    grid_y, grid_x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    body = cv2.remap(
        body.astype(np.float32), grid_x + amplitude * texture(rng, 2.5), grid_y + amplitude * texture(rng, 2.5), 1
    )
    body = body + rng.uniform(0, 0.05) * np.abs(rng.standard_normal(body.shape))
    return np.clip(body, 0, 1).astype(np.float32)


def _trunk(rng: Rng, tissue: Tissue) -> tuple[Image, float, float]:
    """Skin, fat and muscle wall of a trunk's cross-section, with a spine; the cavity's radii."""
    image = np.zeros((SIDE, SIDE), np.float32)
    rx, ry = rng.uniform(0.40, 0.48), rng.uniform(0.25, 0.37)
    fat, wall = rng.uniform(0.015, 0.07), rng.uniform(0.015, 0.035)
    image[blob(rng, 0.5, 0.5, rx, ry, rough=0.02)] = tissue.fat
    image[blob(rng, 0.5, 0.5, rx - fat, ry - fat, rough=0.02)] = tissue.muscle
    image[blob(rng, 0.5, 0.5 - wall / 2, rx - fat - wall, ry - fat - 1.5 * wall, rough=0.02)] = tissue.fat * 0.8
    y = 0.5 + ry * rng.uniform(0.45, 0.6)
    for side in (-1, 1):
        image[blob(rng, 0.5 + side * 0.08, y + 0.05, 0.06, 0.045)] = tissue.muscle
    bone(image, blob(rng, 0.5, y + 0.055, 0.03, 0.05), tissue, 1)
    bone(image, blob(rng, 0.5, y, 0.05, 0.04), tissue, 2)
    image[blob(rng, 0.5, y + 0.05, 0.016, 0.014)] = tissue.fluid
    return image, rx - fat - wall, ry - fat - wall


def _ribs(rng: Rng, image: Image, tissue: Tissue, rx: float, ry: float) -> None:
    for angle in np.linspace(0, 2 * np.pi, rng.integers(8, 15), endpoint=False) + rng.uniform(0, 1):
        x, y = 0.5 + (rx + 0.01) * np.cos(angle), 0.5 + (ry + 0.01) * np.sin(angle)
        bone(image, blob(rng, x, y, 0.024, 0.01, angle=angle + np.pi / 2), tissue, 1)


def abdomen(rng: Rng) -> Image:
    """Axial abdomen: liver, spleen, kidneys, aorta, bowel."""
    tissue = Tissue(rng)
    image, rx, ry = _trunk(rng, tissue)
    image[blob(rng, 0.5 - rx * 0.5, 0.5 - ry * 0.1, rx * 0.48, ry * 0.75, rough=0.12)] = tissue.organ
    image[blob(rng, 0.5 + rx * 0.75, 0.5 + ry * 0.2, rx * 0.2, ry * 0.4, rough=0.12)] = tissue.organ * 1.1
    for side in (-1, 1):
        kidney = blob(rng, 0.5 + side * rx * 0.45, 0.5 + ry * 0.45, rx * 0.16, ry * 0.25, angle=side * 0.5)
        image[kidney] = tissue.organ * rng.uniform(1.0, 1.7)
        image[blob(rng, 0.5 + side * rx * 0.38, 0.5 + ry * 0.45, rx * 0.06, ry * 0.1)] = tissue.fluid
    for _ in range(rng.integers(3, 12)):
        x, y = 0.5 + rx * rng.uniform(-0.2, 0.65), 0.5 + ry * rng.uniform(-0.75, 0.1)
        r = rng.uniform(0.02, 0.06)
        image[blob(rng, x, y, r, r, rough=0.1)] = tissue.muscle
        image[blob(rng, x, y, r * 0.7, r * 0.7, rough=0.1)] = (tissue.gas, tissue.fluid, tissue.organ)[rng.integers(3)]
    image[blob(rng, 0.5, 0.5 + ry * 0.22, 0.022, 0.022)] = tissue.fluid
    if rng.random() < 0.5:
        _ribs(rng, image, tissue, rx, ry)
    return finish(rng, image)


def thorax(rng: Rng) -> Image:
    """Axial chest: lungs, heart, ribs."""
    tissue = Tissue(rng)
    image, rx, ry = _trunk(rng, tissue)
    for side in (-1, 1):
        lung = blob(rng, 0.5 + side * rx * 0.55, 0.5, rx * 0.42, ry * 0.85, rough=0.06)
        image[lung] = tissue.gas
        for _ in range(rng.integers(5, 40)):
            x, y = 0.5 + side * rx * rng.uniform(0.2, 0.85), 0.5 + ry * rng.uniform(-0.6, 0.6)
            image[blob(rng, x, y, *rng.uniform(0.003, 0.012, 2)) & lung] = tissue.organ
    image[blob(rng, 0.5 + rx * 0.12, 0.5 - ry * 0.2, rx * 0.36, ry * 0.45, angle=0.5)] = tissue.organ
    if rng.random() < 0.6:
        image[blob(rng, 0.5 + rx * 0.2, 0.5 - ry * 0.2, rx * 0.14, ry * 0.2, angle=0.5)] = tissue.fluid
    _ribs(rng, image, tissue, rx, ry)
    return finish(rng, image)


def pelvis(rng: Rng) -> Image:
    """Axial pelvis: femoral heads, bladder, rectum, gluteal muscle."""
    tissue = Tissue(rng)
    image = np.zeros((SIDE, SIDE), np.float32)
    rx, ry = rng.uniform(0.42, 0.48), rng.uniform(0.26, 0.34)
    image[blob(rng, 0.5, 0.5, rx, ry, rough=0.03)] = tissue.fat
    for side in (-1, 1):
        image[blob(rng, 0.5 + side * rx * 0.5, 0.5 + ry * 0.5, rx * 0.35, ry * 0.35, rough=0.1)] = tissue.muscle
        image[blob(rng, 0.5 + side * rx * 0.6, 0.5 - ry * 0.2, rx * 0.28, ry * 0.5, rough=0.1)] = tissue.muscle
        bone(image, blob(rng, 0.5 + side * rx * 0.62, 0.5, rx * 0.16, ry * 0.24), tissue, 2)
        bone(image, blob(rng, 0.5 + side * rx * 0.42, 0.5, rx * 0.06, ry * 0.32, angle=side * 0.3), tissue, 2)
    image[blob(rng, 0.5, 0.5 - ry * 0.15, rx * 0.26, ry * 0.3)] = tissue.fluid
    image[blob(rng, 0.5, 0.5 + ry * 0.25, rx * 0.2, ry * 0.1)] = tissue.organ
    image[blob(rng, 0.5, 0.5 + ry * 0.55, rx * 0.09, ry * 0.13)] = tissue.gas if rng.random() < 0.5 else tissue.organ
    return finish(rng, image)


def trunk_coronal(rng: Rng) -> Image:
    """Coronal trunk that runs out of the picture above and below."""
    tissue = Tissue(rng)
    image = np.zeros((SIDE, SIDE), np.float32)
    rx = rng.uniform(0.3, 0.44)
    image[blob(rng, 0.5, 0.5, rx, 0.9, rough=0.03)] = tissue.fat
    image[blob(rng, 0.5, 0.5, rx - rng.uniform(0.02, 0.06), 0.9, rough=0.03)] = tissue.muscle
    split = rng.uniform(0.25, 0.5)
    for side in (-1, 1):
        image[blob(rng, 0.5 + side * rx * 0.45, split - 0.25, rx * 0.33, 0.25)] = tissue.gas
        image[blob(rng, 0.5 + side * rx * 0.5, split + 0.3, rx * 0.14, 0.1, angle=-side * 0.2)] = tissue.organ * 1.4
    image[blob(rng, 0.5 - rx * 0.4, split + 0.1, rx * 0.5, 0.16, rough=0.1)] = tissue.organ
    image[blob(rng, 0.5 + rx * 0.1, split - 0.1, rx * 0.3, 0.12, rough=0.1)] = tissue.fluid
    _column(rng, image, tissue, 0.5, bend=0.02)
    return finish(rng, image)


def _column(rng: Rng, image: Image, tissue: Tissue, x: float, bend: float) -> None:
    step = rng.uniform(0.07, 0.16)
    for index, y in enumerate(np.arange(-0.05, 1.05, step)):
        shift = bend * np.sin(np.pi * y + 0.3 * index * bend)
        image[blob(rng, x + shift, y + step / 2, step * 0.5, step * 0.16)] = tissue.fluid * rng.uniform(0.4, 1)
        vertebra = blob(rng, x + shift, y, step * 0.55, step * 0.42, rough=0.04)
        bone(image, vertebra, tissue, 1)


def spine_sagittal(rng: Rng) -> Image:
    """Sagittal spine: a stack of vertebrae, canal and cord, fat behind."""
    tissue = Tissue(rng, ("t1", "t2", "fat-saturated"))
    image = np.full((SIDE, SIDE), tissue.muscle * rng.uniform(0.3, 1), np.float32)
    image += 0.15 * np.abs(texture(rng, 1.8))
    x, bend = rng.uniform(0.35, 0.6), rng.uniform(-0.08, 0.08)
    rows = np.arange(SIDE) / SIDE
    centre = x + bend * np.sin(np.pi * rows)
    step = rng.uniform(0.09, 0.18)
    columns = np.arange(SIDE)[None, :] / SIDE - centre[:, None]
    image[(columns > 0.5 * step) & (columns < 0.95 * step)] = tissue.fluid
    image[(columns > 0.6 * step) & (columns < 0.85 * step)] = tissue.organ
    image[columns > rng.uniform(1.2, 2.0) * step] = tissue.muscle
    image[columns > rng.uniform(2.2, 3.0) * step] = tissue.fat
    image[columns > rng.uniform(3.2, 5.0) * step] = 0
    for index, y in enumerate(np.arange(-0.05, 1.05, step)):
        middle = x + bend * np.sin(np.pi * y)
        image[blob(rng, middle, y + step / 2, step * 0.5, step * 0.14)] = tissue.fluid * rng.uniform(0.3, 1)
        bone(image, blob(rng, middle, y, step * 0.5, step * 0.42, rough=0.03), tissue, 1)
        if index % 2 == 0:
            bone(image, blob(rng, middle + 1.3 * step, y, step * 0.3, step * 0.14, angle=0.5), tissue, 1)
    return finish(rng, image)


def knee(rng: Rng) -> Image:
    """Sagittal or coronal knee that runs out of the picture above and below."""
    tissue = Tissue(rng)
    image = np.zeros((SIDE, SIDE), np.float32)
    x, gap = rng.uniform(0.42, 0.58), rng.uniform(0.45, 0.58)
    image[blob(rng, x, 0.5, rng.uniform(0.33, 0.48), 0.95, rough=0.03)] = tissue.fat
    image[blob(rng, x + 0.02, 0.5, rng.uniform(0.27, 0.33), 0.9, rough=0.05)] = tissue.muscle
    wide = rng.uniform(0.17, 0.24)
    bone(image, blob(rng, x, gap - 0.5, wide * 0.55, 0.45, rough=0.02), tissue, 2)
    bone(image, blob(rng, x, gap - 0.17, wide, 0.14, rough=0.04), tissue, 2)
    bone(image, blob(rng, x, gap + 0.55, wide * 0.55, 0.5, rough=0.02), tissue, 2)
    bone(image, blob(rng, x, gap + 0.1, wide * 1.05, 0.08, rough=0.04), tissue, 2)
    image[blob(rng, x, gap - 0.02, wide, 0.012)] = tissue.fluid
    if rng.random() < 0.5:
        bone(image, blob(rng, x - wide - 0.06, gap - 0.2, 0.04, 0.1, angle=0.2), tissue, 2)
        image[blob(rng, x - wide, gap, 0.05, 0.08)] = tissue.fat
    else:
        bone(image, blob(rng, x + wide + 0.02, gap + 0.35, 0.035, 0.24), tissue, 2)
    return finish(rng, image)


def limb(rng: Rng) -> Image:
    """Cross-section of one or two limbs: fat, muscle compartments, bones."""
    tissue = Tissue(rng)
    image = np.zeros((SIDE, SIDE), np.float32)
    pair = rng.random() < 0.4
    for x in (0.27, 0.73) if pair else (0.5,):
        r = rng.uniform(0.17, 0.22) if pair else rng.uniform(0.25, 0.45)
        image[blob(rng, x, 0.5, r, r * rng.uniform(0.85, 1.15), rough=0.03)] = tissue.fat
        muscle = blob(rng, x, 0.5, r * 0.83, r * 0.83, rough=0.06)
        seeds = np.stack([x + r * rng.uniform(-0.8, 0.8, 12), 0.5 + r * rng.uniform(-0.8, 0.8, 12)], axis=1)
        yy, xx = np.mgrid[0:SIDE, 0:SIDE] / SIDE
        away = np.sort(np.hypot(xx[..., None] - seeds[:, 0], yy[..., None] - seeds[:, 1]), axis=-1)
        image[muscle] = tissue.muscle
        image[muscle & (away[..., 1] - away[..., 0] < 0.008)] = tissue.fat * 0.8
        for _ in range(rng.integers(1, 3)):
            bx, by = x + r * rng.uniform(-0.3, 0.3), 0.5 + r * rng.uniform(-0.3, 0.3)
            bone(image, blob(rng, bx, by, r * rng.uniform(0.12, 0.28), r * rng.uniform(0.12, 0.28)), tissue, 3)
        for _ in range(4):
            image[blob(rng, *(x + r * rng.uniform(-0.6, 0.6), 0.5 + r * rng.uniform(-0.6, 0.6)), 0.01, 0.01)] = 1.0
    return finish(rng, image)


def breasts(rng: Rng) -> Image:
    """Axial breasts, or one mammogram against the picture's edge."""
    image = np.zeros((SIDE, SIDE), np.float32)
    if rng.random() < 0.5:
        breast = blob(rng, 0.0, 0.5, rng.uniform(0.35, 0.7), rng.uniform(0.3, 0.48), rough=0.03)
        gland = cv2.GaussianBlur(np.maximum(texture(rng, 1.2), 0), (0, 0), 1.5)
        image[breast] = 0.35 + 0.25 * gland[breast]
        return finish(rng, image)
    tissue = Tissue(rng, ("t1", "t2", "fat-saturated"))
    for x in (0.28, 0.72):
        breast = blob(rng, x, 0.45, 0.19, rng.uniform(0.2, 0.3), rough=0.04)
        image[breast] = tissue.fat
        image[breast & (texture(rng, 1.6) > rng.uniform(0, 1))] = tissue.organ
    image[int(0.55 * SIDE) :] = np.where(texture(rng, 2.0)[int(0.55 * SIDE) :] > 0, tissue.muscle, tissue.fat)
    image[int(0.68 * SIDE) :, int(0.2 * SIDE) : int(0.8 * SIDE)] = tissue.gas
    return finish(rng, image)


def creature(rng: Rng) -> Image:
    """A body that no textbook knows: any number of parts, rims, holes and inserts of any brightness, on black."""
    image = np.zeros((SIDE, SIDE), np.float32)
    count = int(rng.choice([1, 1, 1, 2, 3]))
    twins = count == 2 and rng.random() < 0.5
    for k in range(count):
        x, y = (0.5, 0.5) if count == 1 else ((0.28 + 0.44 * k, 0.5) if twins else rng.uniform(0.25, 0.75, 2))
        rx, ry = rng.uniform(0.25, 0.48, 2) / (1 if count == 1 else 1.8)
        angle, rough = rng.uniform(0, np.pi), rng.uniform(0.01, 0.2)
        for _ in range(rng.integers(1, 5)):
            image[blob(rng, x, y, rx, ry, angle=angle, rough=rough)] = rng.uniform(0.05, 1)
            rx, ry = rx - rng.uniform(0.01, 0.06), ry - rng.uniform(0.01, 0.06)
            if min(rx, ry) < 0.05:
                break
        for _ in range(int(rng.choice([0, 2, 5, 10, 25]))):
            turn, away = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 0.9
            px, py = x + rx * away * np.cos(turn), y + ry * away * np.sin(turn)
            size = rng.uniform(0.01, 0.4) * max(rx, 0.05)
            part = blob(rng, px, py, size, size * rng.uniform(0.3, 1), angle=rng.uniform(0, 3), rough=0.1)
            image[part & (image > 0)] = rng.uniform(0, 1)
    return finish(rng, image, grain=rng.uniform(0.01, 0.15))


CROSS_SECTIONS: dict[str, Callable[[Rng], Image]] = {
    "abdomen": abdomen,
    "thorax": thorax,
    "pelvis": pelvis,
    "trunk-coronal": trunk_coronal,
    "spine-sagittal": spine_sagittal,
    "knee": knee,
    "limb": limb,
    "breast": breasts,
    "creature": creature,
}
"""Family name -> one random picture, for CT and MR of other body parts."""

"""Simulated radiographs, ultrasound, microscopy and camera pictures: the gate's other medical negatives.

As in `gate_bodies`, each function takes a random generator and returns one picture: (H, W) float32 in
[0, 1], or (H, W, 3) where the real thing is coloured.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from tumorscope.training.gate_bodies import SIDE, Image, Mask, Rng, Tissue, blob, bone, finish, texture


def _grid() -> tuple[Image, Image]:
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
    return y, x


def _soft(mask: Mask, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma))


def _long_bone(image: Image, a: tuple[float, float], b: tuple[float, float], width: float, value: float) -> None:
    """Add the shadow of a long bone from ``a`` to ``b`` (x, y): bright walls, thicker ends."""
    layer = np.zeros((SIDE, SIDE), np.float32)
    p, q = (tuple(int(v * SIDE) for v in point) for point in (a, b))
    thick = max(int(width * SIDE), 2)
    cv2.line(layer, p, q, 1.0, thick)
    for end in (p, q):
        cv2.circle(layer, end, max(int(thick * 0.75), 1), 1.0, -1)
    inner = cv2.erode(layer, np.ones((max(thick // 3, 1),) * 2, np.uint8))
    image += value * (layer - 0.4 * inner)


def chest_xray(rng: Rng) -> Image:
    """Frontal or lateral chest radiograph."""
    y, x = _grid()
    image = 0.75 - 0.15 * np.abs(x - 0.5) + 0 * y
    middle = 0.5 + rng.uniform(-0.04, 0.04)
    if rng.random() < 0.25:
        image -= 0.5 * _soft(blob(rng, middle, 0.45, 0.25, 0.36, rough=0.06), 8)
    else:
        for side in (-1, 1):
            lung = blob(rng, middle + side * rng.uniform(0.18, 0.23), 0.47, 0.145, 0.33, angle=side * -0.1, rough=0.06)
            image -= rng.uniform(0.3, 0.55) * _soft(lung, 5)
        image += 0.35 * _soft(blob(rng, middle + 0.06, 0.6, 0.14, 0.16, angle=0.5), 5)
    for k in range(rng.integers(6, 11)):
        for side in (-1, 1):
            box = (int((middle + side * 0.16) * SIDE), int((0.15 + 0.08 * k) * SIDE))
            cv2.ellipse(image, box, (int(0.2 * SIDE), int(0.08 * SIDE)), side * 15, 180, 360, 0.6, 2)
    image += 0.12 * _soft(np.abs(x - middle) < 0.03, 3)
    image[:, : rng.integers(1, 20)] = 0
    image[: rng.integers(1, 25), :] *= 0.3
    image -= 0.5 * (np.hypot((x - 0.5) / 0.56, (y - 0.65) / 0.85) > 1)
    return finish(rng, image.astype(np.float32), soften=1.2)


def hand_xray(rng: Rng) -> Image:
    """Radiograph of a hand or a foot: fan of bones in faint soft tissue on black."""
    image = np.zeros((SIDE, SIDE), np.float32)
    soft = np.zeros((SIDE, SIDE), np.uint8)
    root = np.array([0.5, rng.uniform(0.6, 0.7)])
    spread = rng.uniform(0.16, 0.3)
    for k in range(5):
        angle = -np.pi / 2 + (k - 2) * spread + rng.normal(0, 0.03)
        direction = np.array([np.cos(angle), np.sin(angle)])
        start = root + 0.12 * direction
        length = rng.uniform(0.75, 1) * (1 - 0.12 * abs(k - 2))
        for part in (0.2, 0.13, 0.09, 0.06)[: 4 if k else 3]:
            stop = start + part * length * direction
            _long_bone(image, tuple(start), tuple(stop), 0.025, 0.5)
            cv2.line(soft, tuple(int(v * SIDE) for v in start), tuple(int(v * SIDE) for v in stop), 1, 17)
            start = stop + 0.012 * direction
    for _ in range(8):
        x, y = root + rng.uniform(-0.08, 0.08, 2)
        image += 0.35 * blob(rng, x, y, 0.03, 0.028)
    for side in (-1, 1):
        _long_bone(image, (0.5 + side * 0.04, root[1] + 0.1), (0.5 + side * 0.05, 1.1), 0.05, 0.5)
    palm = blob(rng, root[0], root[1] - 0.07, 0.17, 0.19) | blob(rng, 0.5, 0.95, 0.12, 0.3)
    image += 0.22 * _soft(soft.astype(bool) | palm, 2)
    return finish(rng, image, grain=0.02)


def limb_xray(rng: Rng) -> Image:
    """Radiograph of long bones with a joint, running out of the picture."""
    y, x = _grid()
    centre = 0.5 + 0.05 * np.sin(3 * y)
    image = (0.25 * (np.abs(x - centre) < rng.uniform(0.2, 0.4))).astype(np.float32)
    gap = rng.uniform(0.3, 0.7)
    pair = rng.random() < 0.5
    for top, bottom in ((-0.1, gap - 0.03), (gap + 0.03, 1.1)):
        for offset in (-0.09, 0.07) if pair else (0.0,):
            tilt = rng.uniform(-0.05, 0.05)
            _long_bone(image, (0.5 + offset, top), (0.5 + offset + tilt, bottom), rng.uniform(0.06, 0.14), 0.55)
    return finish(rng, image)


def abdomen_xray(rng: Rng) -> Image:
    """Frontal radiograph of the belly or the pelvis: column, gas, iliac wings."""
    tissue = Tissue(rng, ("ct",))
    image = np.full((SIDE, SIDE), 0.45, np.float32) + 0.08 * texture(rng, 2.2)
    step = rng.uniform(0.08, 0.12)
    for y in np.arange(-0.02, rng.uniform(0.6, 1.0), step):
        bone(image, blob(rng, 0.5, y, step * 0.55, step * 0.4, rough=0.03), tissue, 1)
    for _ in range(rng.integers(3, 15)):
        x, y = rng.uniform(0.15, 0.85), rng.uniform(0.2, 0.8)
        image -= 0.25 * _soft(blob(rng, x, y, *rng.uniform(0.02, 0.07, 2), rough=0.15), 2)
    for side in (-1, 1):
        image += 0.25 * _soft(blob(rng, 0.5 + side * 0.26, 0.85, 0.15, 0.2, angle=side * 0.5), 2)
    return finish(rng, image)


def teeth_xray(rng: Rng) -> Image:
    """Panoramic radiograph of the teeth."""
    y, x = _grid()
    image = 0.35 + 0.1 * texture(rng, 1.8)
    curve = 0.5 + 0.15 * (2 * x - 1) ** 2 * rng.uniform(0.3, 1.2)
    image -= 0.3 * (np.abs(y - curve) < 0.015)
    for k in np.linspace(0.1, 0.9, rng.integers(10, 17)):
        for side in (-1, 1):
            middle = float(0.5 + 0.12 * (2 * k - 1) ** 2 + side * 0.09)
            image += 0.35 * _soft(blob(rng, k, middle, 0.022, 0.075), 1)
    image -= 0.4 * _soft(y > 0.95 - 0.2 * (2 * x - 1) ** 2, 2)
    height = int(rng.uniform(0.5, 1.0) * SIDE)
    return np.asarray(finish(rng, image.astype(np.float32))[(SIDE - height) // 2 :][:height])


def ultrasound(rng: Rng) -> Image:
    """Ultrasound fan or rectangle: speckle, shadows, dark cysts."""
    y, x = _grid()
    speckle = cv2.GaussianBlur(rng.rayleigh(0.35, (SIDE, SIDE)).astype(np.float32), (0, 0), 1.2, sigmaY=0.7)
    image = speckle * (0.7 + 0.4 * texture(rng, 1.5))
    for _ in range(rng.integers(1, 6)):
        hole = _soft(blob(rng, *rng.uniform(0.25, 0.75, 2), *rng.uniform(0.03, 0.16, 2), rough=0.1), 2)
        image *= 1 - rng.uniform(0.5, 1) * hole
    image += 0.4 * np.clip(np.cos((y + 0.05 * texture(rng, 2.5)) * rng.uniform(20, 60)) - 0.85, 0, 1) * 3
    if rng.random() < 0.7:
        apex, half = rng.uniform(-0.25, 0.05), rng.uniform(0.45, 0.8)
        radius, angle = np.hypot(x - 0.5, y - apex), np.arctan2(x - 0.5, y - apex)
        image *= (np.abs(angle) < half) & (radius < 0.9 - apex) & (radius > max(-apex, 0) + 0.08)
    else:
        top, left = rng.uniform(0, 0.2, 2)
        image *= (y > top) & (y < rng.uniform(0.75, 1)) & (x > left) & (x < 1 - left)
    return np.clip(image, 0, 1).astype(np.float32)


def _vessels(rng: Rng, x: float, y: float, count: int, width: float) -> Image:
    layer = np.zeros((SIDE, SIDE), np.float32)
    paths = [(np.array([x, y]), rng.uniform(0, 2 * np.pi), width) for _ in range(count)]
    for _ in range(4 * count):
        if not paths:
            break
        point, angle, size = paths.pop()
        for _ in range(int(rng.integers(12, 40))):
            angle += rng.normal(0, 0.12)
            step = point + 0.015 * np.array([np.cos(angle), np.sin(angle)])
            cv2.line(
                layer, tuple(int(v * SIDE) for v in point), tuple(int(v * SIDE) for v in step), 1.0, max(int(size), 1)
            )
            point, size = step, size * 0.985
        if size > 1:
            paths += [(point, angle + 0.4, size * 0.75), (point, angle - 0.4, size * 0.75)]
    return layer


def retina(rng: Rng) -> Image:
    """Fundus photograph, in colour or grey: a disc with branching vessels."""
    y, x = _grid()
    disc = np.hypot(x - 0.5, y - 0.5) < rng.uniform(0.42, 0.5)
    nerve = 0.5 + rng.choice([-1, 1]) * rng.uniform(0.1, 0.3)
    image = rng.uniform(0.4, 0.7) + 0.05 * texture(rng, 2.0)
    image -= rng.uniform(0.2, 0.4) * cv2.GaussianBlur(_vessels(rng, nerve, 0.5, 8, rng.uniform(3, 6)), (0, 0), 0.8)
    image += 0.3 * _soft(blob(rng, nerve, 0.5, 0.05, 0.055), 2) - 0.2 * _soft(blob(rng, 1 - nerve, 0.5, 0.06, 0.06), 8)
    image = np.clip(image * disc * (1 - 0.5 * np.hypot(x - 0.5, y - 0.5)), 0, 1).astype(np.float32)
    if rng.random() < 0.5:
        return image
    return np.clip(np.stack([image * 1.3, image**1.6, image**3], axis=-1), 0, 1).astype(np.float32)


def histology(rng: Rng) -> Image:
    """Stained tissue: pink ground, purple nuclei, pale holes; in colour or grey."""
    ground = 0.75 + 0.08 * texture(rng, rng.uniform(0.8, 1.6))
    size = rng.uniform(2, 7)
    for _ in range(int(rng.integers(40, 400))):
        centre = tuple(int(v) for v in rng.uniform(0, SIDE, 2))
        axes = tuple(int(v) for v in size * rng.uniform(0.6, 1.5, 2) + 1)
        cv2.ellipse(ground, centre, axes, rng.uniform(0, 180), 0, 360, rng.uniform(0.2, 0.5), -1)
    ground[texture(rng, 1.8) > rng.uniform(1, 2.5)] = 0.95
    image = np.clip(cv2.GaussianBlur(ground, (0, 0), rng.uniform(0.4, 1.2)), 0, 1).astype(np.float32)
    if rng.random() < 0.4:
        return image
    return np.clip(np.stack([image**0.5, image**1.6, image**0.8], axis=-1), 0, 1).astype(np.float32)


def cells(rng: Rng) -> Image:
    """Fluorescent cells on black, or one large cell."""
    image = np.zeros((SIDE, SIDE), np.float32)
    many = int(rng.choice([1, 2, 5, 20, 80]))
    size = 0.35 / np.sqrt(many)
    for _ in range(many):
        x, y = rng.uniform(0.2, 0.8, 2) if many > 1 else (0.5, 0.5)
        body = blob(rng, x, y, *(size * rng.uniform(0.6, 1.3, 2)), angle=rng.uniform(0, 3), rough=0.15)
        fade = _soft(body, rng.uniform(1, 6))
        image = np.maximum(image, fade * rng.uniform(0.3, 0.8) * np.clip(1 + 0.3 * texture(rng, 1.5), 0, 2))
        image += rng.uniform(0, 0.5) * _soft(blob(rng, x, y, size * 0.35, size * 0.35), 2)
    return np.clip(image + 0.02 * np.abs(rng.standard_normal(image.shape)), 0, 1).astype(np.float32)


def nuclear(rng: Rng) -> Image:
    """Whole-body bone scan or PET projection: a small bright figure, narrow on its ground."""
    image = np.zeros((SIDE, SIDE), np.float32)
    middle = 0.5
    image += 0.3 * _soft(blob(rng, middle, 0.12, 0.05, 0.07), 3) + 0.25 * _soft(blob(rng, middle, 0.4, 0.11, 0.2), 4)
    image += 0.4 * _soft(blob(rng, middle, 0.4, 0.018, 0.22), 2)
    for side in (-1, 1):
        image += 0.2 * _soft(blob(rng, middle + side * 0.05, 0.75, 0.035, 0.24), 3)
        image += 0.15 * _soft(blob(rng, middle + side * 0.16, 0.45, 0.02, 0.2, angle=-side * 0.15), 3)
    for _ in range(rng.integers(2, 9)):
        image += rng.uniform(0.2, 1) * _soft(blob(rng, rng.uniform(0.4, 0.6), rng.uniform(0.1, 0.9), 0.015, 0.015), 2)
    image = (rng.poisson(np.clip(image, 0, 1) * 60) / 60).astype(np.float32)
    if rng.random() < 0.4:
        image = 1 - image
    return np.clip(image, 0, 1).astype(np.float32)


def scope(rng: Rng) -> Image:
    """Endoscopy or dermoscopy: a smooth reddish scene behind a round or cut-off stop."""
    y, x = _grid()
    middle_x, middle_y = rng.uniform(0.3, 0.7, 2)
    image = 0.55 + 0.15 * texture(rng, 2.2) - 0.5 * _soft(blob(rng, middle_x, middle_y, 0.15, 0.15, rough=0.2), 15)
    image += np.clip(texture(rng, 1.5) - 2.3, 0, 1)
    stop = np.hypot(x - 0.5, y - 0.5) < 0.5 if rng.random() < 0.6 else (np.abs(x - 0.5) + np.abs(y - 0.5)) < 0.75
    image = np.clip(image * stop, 0, 1).astype(np.float32)
    return np.clip(np.stack([image**0.7, image**1.5, image**1.7], axis=-1), 0, 1).astype(np.float32)


def test_object(rng: Rng) -> Image:
    """MR test object: a uniform bottle or disc with a grid, holes or inserts."""
    y, x = _grid()
    r = rng.uniform(0.25, 0.45)
    radius = np.hypot(x - 0.5, (y - 0.5) * rng.uniform(0.9, 1.1))
    image = (radius < r).astype(np.float32) * (0.8 + 0.15 * texture(rng, 3.0))
    kind = rng.integers(4)
    if kind == 1:
        period = rng.uniform(0.04, 0.1)
        image *= ((x % period) > 0.012) & ((y % period) > 0.012)
    elif kind == 2:
        for _ in range(rng.integers(4, 16)):
            hole = blob(rng, *(0.5 + r * rng.uniform(-0.6, 0.6, 2)), *([rng.uniform(0.01, 0.05)] * 2), rough=0)
            image[hole] *= rng.uniform(0, 0.6)
    elif kind == 3:
        image[(np.abs(y - 0.5) < 0.06) & (np.abs(x - 0.5) < 0.6 * r)] *= 0.2
    return finish(rng, image, grain=0.01)


def layers(rng: Rng) -> Image:
    """Retinal layers (OCT), also met as seismic or skin pictures: bright wavy bands."""
    y, x = _grid()
    wave = y + 0.06 * np.sin(2 * np.pi * (x * rng.uniform(0.4, 1.2) + rng.random())) + 0.01 * texture(rng, 2.0)
    image = np.zeros((SIDE, SIDE), np.float32)
    top = rng.uniform(0.25, 0.45)
    for _ in range(rng.integers(4, 9)):
        image += rng.uniform(0.1, 0.6) * ((wave > top) & (wave < top + rng.uniform(0.01, 0.06)))
        top += rng.uniform(0.02, 0.07)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1.5) + 0.1 * rng.rayleigh(0.6, image.shape), 0, 1).astype(np.float32)


PROJECTIONS: dict[str, Callable[[Rng], Image]] = {
    "chest-xray": chest_xray,
    "hand-xray": hand_xray,
    "limb-xray": limb_xray,
    "abdomen-xray": abdomen_xray,
    "teeth-xray": teeth_xray,
    "ultrasound": ultrasound,
    "retina": retina,
    "histology": histology,
    "cells": cells,
    "nuclear": nuclear,
    "scope": scope,
    "test-object": test_object,
    "layers": layers,
}
"""Family name -> one random picture, for radiographs, ultrasound, microscopy and medical cameras."""

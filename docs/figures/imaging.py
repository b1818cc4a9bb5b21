"""The pictures of cleaning, cropping and MUSICA, made from phantoms.

    python docs/figures/imaging.py

Writes docs/images/cleaning.jpg, cropping.jpg, musica.jpg, musica-parameters.jpg and musica-curves.png.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from tumorscope.datasets import phantom
from tumorscope.imaging.background import clean_background
from tumorscope.imaging.crop import crop_head
from tumorscope.imaging.intensity import normalize
from tumorscope.imaging.musica import Curve, musica

IMAGES = Path(__file__).resolve().parent.parent / "images"
SIDE = 250  # px of one panel
GREEN, YELLOW = (0, 220, 0), (0, 210, 255)


def scan(seed: int, contrast: str = "t1ce", lesion: str | None = "glioma") -> phantom.Phantom:
    """An axial phantom through the ventricles."""
    return phantom.make(seed, "axial", contrast, lesion=lesion, offset=22.0)


def panel(image: NDArray, title: str) -> NDArray[np.uint8]:
    """A grey or colour picture in a square of SIDE, with its title above."""
    grey = np.clip(image, 0, 255).astype(np.uint8)
    colour = grey if grey.ndim == 3 else cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    scale = SIDE / max(colour.shape[:2])
    small = cv2.resize(colour, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((SIDE + 26, SIDE + 8, 3), 255, np.uint8)
    canvas[24 : 24 + small.shape[0], 4 : 4 + small.shape[1]] = small[: SIDE + 2, : SIDE + 4]
    return cv2.putText(canvas, title, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (0, 0, 0), 1, cv2.LINE_AA)


def outlined(image: NDArray, mode: str = "auto") -> tuple[NDArray[np.uint8], str]:
    """The image with crop box (green) and head (yellow), and the mode."""
    crop = crop_head(image, mode)
    drawn = cv2.cvtColor(np.clip(image, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    contours, _ = cv2.findContours(crop.head.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, contours, -1, YELLOW, 1)
    box = crop.box
    cv2.rectangle(drawn, (box.left, box.top), (box.right - 1, box.bottom - 1), GREEN, 1)
    return drawn, crop.mode


def disturbed() -> list[tuple[str, NDArray]]:
    """Phantoms with what people put around scans."""
    base = scan(3)
    white = np.where(base.head, base.image, 255).astype(np.uint8)
    bars = np.pad(base.image, ((0, 0), (60, 60)), constant_values=255)
    frame = np.pad(base.image, 5, constant_values=255)
    text = base.image.copy()
    for words, where in (("R", (8, 130)), ("TE 14", (6, 20)), ("SL 5.0", (190, 250)), ("W 953 L 437", (4, 250))):
        cv2.putText(text, words, where, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1, cv2.LINE_AA)
    return [("white background", white), ("white bars", bars), ("white frame", frame), ("letters", text)]


def cleaning() -> NDArray[np.uint8]:
    """Before and after cleaning, in two rows."""
    before, after = [], []
    for name, image in disturbed():
        cleaned = clean_background(image)
        before.append(panel(image, name))
        after.append(panel(outlined(cleaned.image)[0], "cleaned, box, head"))
    return np.vstack([np.hstack(before), np.hstack(after)])


def cropping() -> NDArray[np.uint8]:
    """Hard and soft on a lit background, and what auto takes."""
    base = scan(5, "t1", None)
    lit = np.where(base.head, base.image, np.linspace(0, 130, base.image.shape[1])[None])
    panels = [panel(lit, "uneven background")]
    for mode in ("hard", "soft"):
        panels.append(panel(outlined(lit, mode)[0], f"forced: {mode}"))
    drawn, mode = outlined(lit)
    return np.hstack([*panels, panel(drawn, f"auto: {mode}")])


def forms() -> NDArray[np.uint8]:
    """One phantom and its three enhancements, cut to the head and shown between the same percentiles."""
    image = scan(11, "flair").image
    crop = crop_head(image)
    grey = normalize(image, where=crop.head)
    shown = {
        "normalised": grey,
        "vuylsteke, p = 0.7": musica(grey, keep_black=True),
        "reference, a = 2": musica(grey, form="reference", gain=2, keep_black=True),
        "dippel, a = 1, p = 2": musica(grey, form="dippel", gain=1, exponent=2, keep_black=True),
    }
    head = crop.box.cut(crop.head)
    return np.hstack([panel(255 * normalize(crop.box.cut(values), where=head), name) for name, values in shown.items()])


def parameters() -> NDArray[np.uint8]:
    """What each parameter does to a noisy phantom, one a row."""
    head = phantom.make(11, "axial", "t1ce", lesion="glioma", offset=22.0, noise=0.03, bias=0.15, bits=16)
    crop = crop_head(head.image)
    grey, inside = crop.box.cut(normalize(head.image, where=crop.head)), crop.box.cut(crop.head)
    calm: dict[str, Any] = {"noise": 3.0}
    rows: list[list[tuple[str, dict[str, Any]]]] = [
        [(f"exponent = {value}", {"exponent": value}) for value in (1.0, 0.8, 0.6, 0.45)],
        [(f"exponent 0.6, noise = {value}", {"exponent": 0.6, "noise": value}) for value in (0, 1, 2, 4)],
        [(f"edge = {value}", {"edge": value} | calm) for value in (0.6, 1.0, 2.0, 3.0)],
        [(f"4 levels, latitude = {value}", {"latitude": value, "levels": 4} | calm) for value in (1.0, 0.7, 0.4, 0.1)],
        [
            ("gain = 1", calm),
            ("gain = 2 2 1 1 1 1", {"gain": [2, 2, 1, 1, 1, 1]} | calm),
            ("gain = 1 1 2 2 1 1", {"gain": [1, 1, 2, 2, 1, 1]} | calm),
            ("gain = 1 1 1 1 2 2", {"gain": [1, 1, 1, 1, 2, 2]} | calm),
        ],
    ]
    shown = [
        [panel(255 * normalize(musica(grey, keep_black=True, **chosen), where=inside), title) for title, chosen in row]
        for row in rows
    ]
    return np.vstack([np.hstack(row) for row in shown])


def curves(path: Path) -> None:
    """What each form does to a detail coefficient, and what noise containment makes of it."""
    share = np.linspace(-1, 1, 2001, dtype=np.float32)[None]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.0), dpi=75, layout="constrained")
    left.plot(share[0], share[0], color="0.6", lw=1, label="unchanged")
    for curve, name in (
        (Curve(), "vuylsteke, a = 1, p = 0.7, xc = 0.01 M"),
        (Curve("reference", gain=2), "reference, a = 2"),
        (Curve("dippel", exponent=2), "dippel, a = 1, p = 2"),
    ):
        left.plot(share[0], curve(share)[0], label=name)
    left.set(xlabel="detail / M", ylabel="changed detail / M", xlim=(-1, 1), ylim=(-1.5, 1.5))
    right.plot(share[0], share[0], color="0.6", lw=1, label="unchanged")
    for noise in (0.0, 0.03, 0.08):
        name = f"noise up to {noise:g} M contained" if noise else "vuylsteke, nothing contained"
        right.plot(share[0], Curve(noise=noise)(share)[0], label=name)
    right.set(xlabel="detail / M", ylabel="changed detail / M", xlim=(0, 0.25), ylim=(0, 0.5))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Write all pictures."""
    IMAGES.mkdir(exist_ok=True)
    for name, picture in (("cleaning", cleaning()), ("cropping", cropping()), ("musica", forms())):
        cv2.imwrite(str(IMAGES / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    picture = parameters()
    cv2.imwrite(str(IMAGES / "musica-parameters.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
    curves(IMAGES / "musica-curves.png")


if __name__ == "__main__":
    main()

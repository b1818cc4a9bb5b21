"""The pictures of cleaning, cropping and MUSICA, made from phantoms.

    python docs/figures/imaging.py

Writes docs/images/cleaning.jpg, cropping.jpg, musica.jpg and musica-curves.png.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from tumorscope.datasets import phantom
from tumorscope.imaging.background import clean_background
from tumorscope.imaging.crop import crop_head
from tumorscope.imaging.intensity import normalize
from tumorscope.imaging.musica import musica

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


def curves(path: Path) -> None:
    """What each form does to a detail coefficient."""
    share = np.linspace(-1, 1, 801)
    size = np.maximum(np.abs(share), 1e-9)
    figure, axes = plt.subplots(figsize=(5.2, 4.2), dpi=80)
    axes.plot(share, share, color="0.6", lw=1, label="unchanged")
    axes.plot(share, share * np.maximum(size, 0.01) ** -0.3, label="vuylsteke, a = 1, p = 0.7, xc = 0.01 M")
    axes.plot(share, 2 * share, label="reference, a = 2")
    axes.plot(share, share * (1 + (1 - size) ** 2), label="dippel, a = 1, p = 2")
    axes.set(xlabel="detail / M", ylabel="changed detail / M", xlim=(-1, 1), ylim=(-1.5, 1.5))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Write all pictures."""
    IMAGES.mkdir(exist_ok=True)
    for name, picture in (("cleaning", cleaning()), ("cropping", cropping()), ("musica", forms())):
        cv2.imwrite(str(IMAGES / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    curves(IMAGES / "musica-curves.png")


if __name__ == "__main__":
    main()

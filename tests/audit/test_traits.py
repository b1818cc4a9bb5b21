from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tumorscope import io
from tumorscope.audit.traits import AROUND_SIDE, BLOT, PREPARATION, around, pixel_hash, traits
from tumorscope.scan import Scan


def disc(side: int = 120) -> np.ndarray:
    y, x = np.mgrid[-side // 2 : side // 2, -side // 2 : side // 2]
    return np.hypot(y / 50, x / 40) < 1


def test_a_copy_in_another_format_has_the_same_pixels(tmp_path: Path) -> None:
    pixels = (disc() * np.random.default_rng(0).integers(90, 250, (120, 120))).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(tmp_path / "b.bmp")
    tifffile.imwrite(tmp_path / "c.tif", pixels)
    other = pixels.copy()
    other[60, 60] ^= 1
    Image.fromarray(other).save(tmp_path / "d.png")
    found = [traits(tmp_path / name) for name in ("a.png", "b.bmp", "c.tif", "d.png")]
    hashes = [row["pixel_hash"] for row in found]
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]
    assert [row["file_format"] for row in found] == ["png", "bmp", "tiff", "png"]
    assert [row["mode"] for row in found] == ["L", "RGB", "L", "L"]


def test_the_hash_knows_the_shape() -> None:
    flat = np.arange(12, dtype=np.float32)
    assert pixel_hash(Scan.of(flat.reshape(3, 4))) != pixel_hash(Scan.of(flat.reshape(4, 3)))


def test_nothing_of_the_heads_inside_is_left_around_it() -> None:
    y, x = np.mgrid[-60:60, -60:60]
    brain = np.hypot(y / 42, x / 32) < 1
    pictures = []
    for grey in (120 + 0 * x, 120 + x, np.where(np.hypot(y - 10, x) < 9, 230, 90)):
        picture = np.where(brain, grey, np.where(disc(), 250, 4)).astype(np.float32)  # in a scalp of 250
        picture[2:8, 2:30] = 180.0
        pictures.append(around(picture, PREPARATION.prepare(picture)))
    inside = np.hypot(*np.mgrid[-24:24, -24:24] / np.array([18.0, 14.0])[:, None, None]) < 1
    assert all((picture[inside] == BLOT).all() for picture in pictures)
    assert all(np.mean(picture != pictures[0]) < 0.1 for picture in pictures)  # the outline found may differ a little
    assert pictures[0][1:3, 2:10].max() > 100  # what stands outside the head is still there
    assert pictures[0].shape == (AROUND_SIDE, AROUND_SIDE)


def test_a_picture_without_a_head_is_all_blotted_out() -> None:
    noise = np.random.default_rng(0).random((60, 60)).astype(np.float32)
    assert (around(noise, PREPARATION.prepare(noise)) == BLOT).all()


def test_a_picture_is_padded_with_black() -> None:
    wide = np.pad(disc() * 200.0, ((0, 0), (60, 60))).astype(np.float32)
    square = around(wide, PREPARATION.prepare(wide))
    assert not square[: AROUND_SIDE // 4 - 1].any()


def test_a_head_that_is_not_found_is_not_measured(tmp_path: Path) -> None:
    io.write_image(tmp_path / "noise.png", np.random.default_rng(0).integers(0, 256, (80, 80)).astype(np.uint8))
    io.write_image(tmp_path / "flat.png", np.full((80, 80), 7, np.uint8))
    io.write_image(tmp_path / "head.png", (disc() * 200).astype(np.uint8))
    found = [traits(tmp_path / f"{name}.png") for name in ("noise", "flat", "head")]
    assert [row["head_side"] is None for row in found] == [True, True, False]
    assert found[1]["plane_guess"] is None
    assert all(row["problem"] is None for row in found)


def test_large_pictures_are_measured_at_their_own_size(tmp_path: Path) -> None:
    large = np.kron(disc() * 200, np.ones((9, 9))).astype(np.uint8)  # 1080 px
    io.write_image(tmp_path / "large.png", large)
    found = traits(tmp_path / "large.png")
    assert found["scan_width"] == 1080
    assert found["head_side"] == pytest.approx(900, abs=25)
    assert found["head_share"] == pytest.approx(disc().mean(), abs=0.05)


def test_an_odd_failure_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    io.write_image(tmp_path / "a.png", np.zeros((20, 20), np.uint8))

    def odd(*_: object, **__: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("tumorscope.audit.traits.quality", odd)
    assert traits(tmp_path / "a.png") == {
        "problem": f"{tmp_path}/a.png: internal error, ZeroDivisionError: two lines; leave the scan out"
    }

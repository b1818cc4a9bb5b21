"""Volumes: slices, three planes, and a mask that is exported on the file's own grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tumorscope import io
from tumorscope.annotation import rle
from tumorscope.inference.postprocess import measure


def test_slices_planes_brush_and_export(watched: Any, scans: dict[str, Path]) -> None:
    import nibabel as nib

    page = watched.page
    case = watched.open(scans["volume"])
    assert case["axes"] == "ZYX"
    slider = page.get_by_label("Slice", exact=True)
    slider.fill("3")
    page.get_by_text("slice 4 of 12").wait_for()
    page.locator("canvas.slice").first.focus()
    page.keyboard.press("PageUp")
    page.get_by_text("slice 5 of 12").wait_for()
    page.keyboard.press("l")
    page.keyboard.press("d")
    watched.drag((10, 10), (10, 30))
    stored = watched.save()
    mask = rle.decode_any(stored["lesions"][-1]["mask"])
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [4]
    union = np.logical_or.reduce([rle.decode_any(lesion["mask"]) for lesion in stored["lesions"]])

    exported = nib.load(watched.download("NIfTI mask"))
    np.testing.assert_allclose(exported.affine, nib.load(scans["volume"]).affine)
    grid = io.read(scans["volume"]).grid
    np.testing.assert_array_equal(grid.from_file(np.asarray(exported.dataobj)) > 0, union)

    volume = measure(union, case["spacing"]).volume_mm3
    shown = page.locator(".numbers tr", has_text="Volume").locator("td").last.text_content()
    assert float(shown.split("\u00a0")[0].replace("\u202f", "")) == pytest.approx(volume, rel=0.005)


def test_three_planes_show_the_volume_and_follow_the_slice(watched: Any, scans: dict[str, Path]) -> None:
    page = watched.page
    watched.open(scans["volume"])
    page.keyboard.press("t")
    planes = page.locator(".planes canvas")
    page.wait_for_function(LIT)
    box = planes.bounding_box()
    before = page.get_by_label("Slice", exact=True).input_value()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.45)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.55)
    page.locator("canvas.slice").first.focus()
    page.keyboard.press("ArrowUp")
    after = page.get_by_label("Slice", exact=True).input_value()
    assert after != before


LIT = """() => {
  const canvas = document.querySelector(".planes canvas");
  const copy = document.createElement("canvas");
  copy.width = copy.height = 64;
  const context = copy.getContext("2d");
  context.drawImage(canvas, 0, 0, 64, 64);
  return context.getImageData(0, 0, 64, 64).data.some((value, at) => at % 4 < 3 && value > 60);
}"""

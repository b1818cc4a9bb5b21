from __future__ import annotations

import numpy as np
import pytest

from tumorscope.evaluation.segmentation import dice
from tumorscope.imaging.silhouette import SIDE, closed, disc, frame_head, large_parts


@pytest.mark.parametrize("shape", [(61, 40), (200, 333), (700, 512)])
def test_a_head_goes_to_the_working_grid_and_back(shape: tuple[int, int], draw_head) -> None:
    image, head = draw_head(*shape)
    frame = frame_head(image)
    assert frame is not None
    assert max(frame.grey.shape) == SIDE and frame.grey.shape == frame.hull.shape == frame.silhouette.shape
    back = frame.to_slice(frame.silhouette)
    assert back.shape == shape and back.dtype == bool
    assert dice(back, head) > 0.95


def test_the_silhouette_keeps_dents_that_the_hull_bridges() -> None:
    y, x = np.mgrid[-100:100, -80:80]
    skull, neck = np.hypot((y + 30) / 60, x / 60) < 1, (np.abs(x) < 25) & (y > 0) & (y < 90)
    frame = frame_head(np.where(skull | neck, 100, 0).astype(np.float32))
    assert frame is not None
    found, hull = frame.to_slice(frame.silhouette), frame.to_slice(frame.hull)
    assert dice(found, skull | neck) > 0.97
    assert dice(found, skull | neck) > dice(hull, skull | neck) + 0.05


def test_a_head_that_fills_the_image_is_framed_whole() -> None:
    y, x = np.mgrid[:120, :100]
    image = 100 + 40 * np.sin(x / 9) * np.cos(y / 11)
    image[:2] = 0  # a little background, so that something stands out from something
    frame = frame_head(image.astype(np.float32))
    if frame is not None:
        assert frame.to_slice(frame.silhouette).shape == image.shape


def test_depth_is_measured_from_the_outline_not_from_the_edge_of_the_picture(draw_head) -> None:
    image, _ = draw_head(180, 150)
    whole, cut = frame_head(image), frame_head(image[:90])  # the lower half is missing
    assert whole is not None and cut is not None
    assert cut.silhouette[-1].any()
    assert cut.depth()[-1].max() > 0.3 * cut.depth().max()
    assert whole.depth()[-1].max() == 0
    assert (whole.depth() > 0).sum() == (whole.silhouette > 0).sum()


def test_closing_fills_holes_and_does_not_reach_the_border() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[4:16, 4:26] = 1
    mask[8:12, 10:20] = 0
    assert np.array_equal(closed(mask, 2) > 0, np.pad(np.ones((12, 22), bool), ((4, 4), (4, 4))))
    gap = mask.copy()
    gap[:, 14:16] = 0
    assert closed(gap, 2)[10, 14] == 1


def test_small_parts_go_and_the_disc_is_round() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[2:12, 2:12], mask[15:18, 15:18] = 1, 1
    assert large_parts(mask, 0.05).sum() == 109
    assert large_parts(mask, 0.2).sum() == 100
    assert disc(3).shape == (7, 7) and disc(3)[0, 0] == 0 and disc(3)[3].all()

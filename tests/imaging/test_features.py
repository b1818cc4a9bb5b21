from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tumorscope.errors import ScanError
from tumorscope.imaging.features import NAMES, features, head_features
from tumorscope.imaging.firstorder import first_order
from tumorscope.imaging.preparation import Preparation
from tumorscope.imaging.texture import cooccurrence


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (13, 17), (64, 64)])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float64])
def test_the_same_names_in_the_same_order(shape: tuple[int, int], dtype: type) -> None:
    image = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    assert tuple(features(image)) == tuple(head_features(image)) == NAMES


def test_each_name_holds_its_own_feature(draw_head: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    image, where = draw_head()
    found = features(image, where)
    assert found["original_firstorder_Entropy"] == first_order(image, where)["Entropy"]
    assert found["original_glcm_Contrast"] == cooccurrence(image, where)["Contrast"]
    assert (
        found["glcm4_Contrast"] == cooccurrence(image, where, distance=4)["Contrast"] != found["original_glcm_Contrast"]
    )
    assert np.isfinite(list(found.values())).all()
    assert len(set(found.values())) > 70  # no column repeats another one


def test_a_head_is_measured_inside_as_it_is_prepared(draw_head: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    image, _ = draw_head()
    prepared = Preparation(size=96).prepare(image)
    assert head_features(image, 96) == features(prepared.pixels, prepared.to_square(prepared.head))


def test_range_and_place_hardly_matter(draw_head: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    image, _ = draw_head()
    plain, other = head_features(image), head_features(np.pad(image, ((30, 10), (20, 60))) * 16 - 1000)
    for name in ("original_glcm_Contrast", "edge_density", "log_4", "haar_2_LH", "original_firstorder_Mean"):
        assert other[name] == pytest.approx(plain[name], rel=0.1), name


def test_what_is_no_slice_is_refused() -> None:
    for wrong in (np.zeros((3, 3, 3)), np.full((3, 3), np.nan), np.zeros((0, 3))):
        for measure in (features, head_features):
            with pytest.raises(ScanError):
                measure(wrong)

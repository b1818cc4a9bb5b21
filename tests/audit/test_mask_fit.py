from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.audit.mask_fit import Edges, reduced, turns
from tumorscope.datasets import phantom


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(20, 60), st.integers(20, 60))
def test_fit_is_that_of_the_same_turn_of_both(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.random((height, width), np.float32), (0, 0), 2)[None]
    mask = image > np.quantile(image, 0.7)
    own = Edges.of(image).fit(mask)
    assert 0 <= own <= 1
    for turned, picture in zip(turns(mask).values(), turns(image).values(), strict=True):
        assert Edges.of(picture).fit(turned) == pytest.approx(own, abs=1e-4)
    assert Edges.of(image).fit(mask) == pytest.approx(Edges.of(-3 * image).fit(~mask), abs=1e-4)


def test_an_outline_on_the_edges_fits_and_one_beside_them_does_not() -> None:
    for seed in range(8):
        scan = phantom.make(seed, "axial", size=96, lesion="meningioma")
        small = reduced(scan.image[None].astype(np.float32), scan.mask[None])
        assert small is not None
        edges = Edges.of(small[0])
        assert edges.fit(small[1]) > 0.85
        assert edges.fit(np.roll(small[1], 12, axis=2)) < 0.6


def test_a_mask_without_an_outline_has_no_fit() -> None:
    disc = (np.hypot(*np.mgrid[-15:15, -15:15]) < 9)[None]
    assert Edges.of(np.ones((1, 30, 30))).fit(disc) == 0
    assert reduced(np.zeros((1, 30, 30), np.float32), np.ones((1, 30, 30), bool)) is None

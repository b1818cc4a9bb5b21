"""Tiny SAM and SAM 2 with random weights, and a slice to show them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tumorscope.datasets import phantom
from tumorscope.models.promptable.architectures import tiny
from tumorscope.models.promptable.loading import random_network
from tumorscope.models.promptable.network import PromptableNetwork


@pytest.fixture(scope="session", params=["sam", "sam2"])
def network(request: pytest.FixtureRequest) -> PromptableNetwork:
    return random_network(tiny(second=request.param == "sam2"))


@pytest.fixture(scope="session")
def image() -> NDArray[np.float32]:
    return phantom.make(3, size=96, lesion="glioma").image[:70].astype(np.float32)

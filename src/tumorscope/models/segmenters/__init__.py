"""Segmenters by name."""

from tumorscope.models.segmenters.detector import ARCHITECTURES, DetectorSegmenter, build

__all__ = ["ARCHITECTURES", "DetectorSegmenter", "build"]

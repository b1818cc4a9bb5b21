"""Segmenters by name."""

from tumorscope.models.segmenters.detector import ARCHITECTURES, DetectorSegmenter, Exported

__all__ = ["ARCHITECTURES", "DetectorSegmenter", "Exported"]

"""Segmenters by name."""

from tumorscope.models.segmenters.detector import DECODERS, DetectorSegmenter, Exported

__all__ = ["DECODERS", "DetectorSegmenter", "Exported"]

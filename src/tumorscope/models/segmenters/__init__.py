"""Segmenters by name."""

from tumorscope.models.segmenters.blocks import keras_count
from tumorscope.models.segmenters.detector import DECODERS, DetectorSegmenter, Exported
from tumorscope.models.segmenters.library import licence_remark
from tumorscope.models.segmenters.network import ARCHITECTURES, Segmented, Segmenter, segmenter

__all__ = [
    "ARCHITECTURES",
    "DECODERS",
    "DetectorSegmenter",
    "Exported",
    "Segmented",
    "Segmenter",
    "keras_count",
    "licence_remark",
    "segmenter",
]

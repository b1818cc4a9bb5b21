"""Reading scans and writing masks, in formats told by content.

Public: `read`, `sniff`, `discover`, `Item`, `write_mask`, `write_image`, `write_volume`, `atomic`, `MAX_PIXELS`.
Decoders are imported when the first file of their format is read.
"""

from tumorscope.io.decoding import MAX_PIXELS
from tumorscope.io.formats import sniff
from tumorscope.io.inputs import Item, discover
from tumorscope.io.output import atomic, write_image, write_mask, write_volume
from tumorscope.io.reading import read

__all__ = ["MAX_PIXELS", "Item", "atomic", "discover", "read", "sniff", "write_image", "write_mask", "write_volume"]

"""The results of the student project that tumorscope's recipes follow, and why they cannot be reached honestly."""

from __future__ import annotations

#: Model, accuracy on validation, F1 on training and validation, binary IoU on training and validation, AUC.
CLASSIFIERS = (
    ("ConvNeXtBase 2nd", "99.97 %", ".9996", ".9996", ".9992", "1.0000", "1.0000"),
    ("EfficientNetV2L 1st", "98.43 %", ".9984", ".9900", ".9990", "~.99", ".9985"),
    ("EfficientNetV2L 2nd", "97.77 %", ".9996", ".9777", ".9992", "~.96", ".9972"),
    ("ResNet50 2nd", "96.87 %", ".9914", ".9687", ".9994", "~.84", ".9937"),
    ("ConvNeXtBase 1st", "96.80 %", "1.0000", ".9682", "1.0000", "~.93", ".9963"),
    ("ResNet50 1st", "96.00 %", ".9942", ".9445", ".9999", "~.91", ".9858"),
)
#: Model, accuracy of pixels on validation, F1 and IoU on training and validation, AUC of pixels.
SEGMENTERS = (
    ("DeepLabV3+ 2nd", "99.72 %", ".9818", ".9776", ".9704", ".9578", ".9998"),
    ("DeepLabV3+ 1st", "99.65 %", ".9743", ".9724", ".9537", ".9474", ".9998"),
    ("Custom U-Net", "99.58 %", ".9708", ".9667", "~.95", "~.93", ".9997"),
    ("DeepLabV3+ 3rd", "99.57 %", ".9715", ".9662", ".9585", ".9342", ".9997"),
    ("Xception-style U-Net", "99.02 %", ".9400", ".9241", "~.91", "~.89", ".9982"),
)
COLUMNS = ("model", "val accuracy", "train F1", "val F1", "train IoU", "val IoU", "AUC")
WHY = (
    "The reference has no test set. Its validation scans are augmented copies of scans that were trained on, and "
    "near-copies of others; with labels dealt at random the same protocol still scores far above chance. Its figures "
    "say how well a network remembers, the ones above how well it answers for scans that it has not seen."
)
WHY_MASKS = "Its masks were drawn by SAM, so that its segmenters were asked to repeat SAM, on copies of the same scans."

"""Numbers with their meaning: detection, segmentation, calibration and intervals, on NumPy and SciPy alone."""

"""Prompted segmentation and masks with provenance; runs without torch."""

"""Promptable segmenters: networks that answer clicks, boxes and scribbles. Importing this package imports no torch."""

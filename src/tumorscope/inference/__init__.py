"""Inference: a bundle, the gate before it, the predictor around it, and batches of scans through it."""

"""Findings over data sets: what would spoil a result before any model is trained."""

"""Data sets: manifests, known layouts, near-duplicates, splits that do not leak, and phantoms."""

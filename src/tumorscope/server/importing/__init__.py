"""From an upload to cases: streamed to disk, unpacked within limits, stripped of identifiers."""

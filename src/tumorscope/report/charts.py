"""Matplotlib charts as pictures: no window, no global state."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DPI = 100  # dots an inch


def chart(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """A Matplotlib figure of ``width`` x ``height`` inches and its (rows, columns) array of axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def drawn(figure: Any) -> NDArray[np.uint8]:
    """The figure as an (H, W, 3) uint8 RGB picture.

    Examples
    --------
    >>> figure, axes = chart(2, 1)
    >>> _ = axes[0, 0].plot([0, 1])
    >>> drawn(figure).shape
    (100, 200, 3)
    """
    figure.canvas.draw()
    return np.ascontiguousarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])

"""Health: whether the server answers, and how busy it is."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter

from tumorscope import __version__
from tumorscope.server.routes.common import Here
from tumorscope.server.store import newest

router = APIRouter(tags=["health"])


@router.get("/health")
def health(here: Here) -> dict[str, Any]:
    """Version, schema of the store, whether torch is installed, and the queue."""
    return {
        "status": "ok",
        "version": __version__,
        "schema": newest(),
        "torch": find_spec("torch") is not None,
        "queue": here.pool.facts(),
    }

"""Models: the bundles to predict with and the engines to annotate with."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from tumorscope.server.routes.common import Here

router = APIRouter(tags=["models"])


@router.get("/models")
def models(here: Here) -> list[dict[str, Any]]:
    """Every bundle and engine, with the reason and the remedy where one cannot be used."""
    return here.models.list()

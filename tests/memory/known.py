"""Models of the catalogue, for tests of what they take."""

from __future__ import annotations

from mgpu.catalog.models import by_name, models
from mgpu.values.model import Model

LANGUAGE = [model for model in models() if model.kind == "llm"]


def known(name: str) -> Model:
    found = by_name(name)
    assert found is not None
    return found

"""The repositories of quantized weights: each is of a model that is known, and its name leads there."""

from __future__ import annotations

import json
from pathlib import Path

import mgpu.catalog.variants as module
from mgpu.catalog.models import by_name, models
from mgpu.catalog.variants import variants

ROWS = json.loads(Path(module.__file__).with_name("variants.json").read_text())["variants"]


def test_every_variant_is_of_a_model_that_its_name_means() -> None:
    for row in ROWS:
        found = by_name(row["repository"])
        assert found, row
        assert found.id == row["model"], row
        assert row["source"]


def test_the_most_bits_come_first() -> None:
    for model in models():
        formats = [variant.format for variant in variants(model.id)]
        assert formats == sorted(formats, key=["fp8", "awq-int4"].index)

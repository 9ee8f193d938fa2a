"""The JSON Schema: the copy kept here is what is printed, in words that editors know, and it tells right from wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mgpu.resources import folder
from mgpu.spec.document import read
from mgpu.spec.schema import schema, text
from tests.compiler.cases import cases

ROOT = Path(__file__).parents[2]
SAFE = {"$schema", "$ref", "title", "description", "definitions", "type", "properties", "required", "enum", "const"}
SAFE |= {
    "additionalProperties",
    "patternProperties",
    "minProperties",
    "items",
    "minItems",
    "anyOf",
    "allOf",
    "if",
    "then",
}
SAFE |= {"pattern", "minimum", "maximum", "exclusiveMinimum"}
NAMES = {"properties", "patternProperties", "definitions"}
SPECS = sorted([*folder("specs").rglob("*.mgpu.yaml"), *(ROOT / "examples").rglob("*.mgpu.yaml")])
VALIDATOR = jsonschema.Draft7Validator(schema())


def keywords(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            yield key
            yield from (
                (word for inner in value.values() for word in keywords(inner)) if key in NAMES else keywords(value)
            )
    elif isinstance(part, list):
        for item in part:
            yield from keywords(item)


def test_the_copy_in_the_repository_is_what_is_printed() -> None:
    assert (folder("specs") / "mgpu.schema.json").read_text() == text(), "mgpu schema > specs/mgpu.schema.json"


def test_only_keywords_that_editors_know() -> None:
    jsonschema.Draft7Validator.check_schema(schema())
    assert set(keywords(schema())) <= SAFE


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_every_spec_is_good_and_names_the_schema(path: Path) -> None:
    VALIDATOR.validate(read(str(path), path.read_text()).data)
    first = path.read_text().split("\n")[0]
    assert (path.parent / first.rpartition("$schema=")[2]).resolve() == folder("specs") / "mgpu.schema.json"


def test_what_a_schema_can_refuse_it_refuses() -> None:
    """Of the bad specs that are YAML at all: those with an unknown key, a wrong type or a wrong word."""
    refused = 0
    words = ("unknown key", "wants a whole number", "cannot be 'v", "kind cannot")
    for case in cases(Path(__file__).with_name("bad_specs.txt"), "# error"):
        told = any(part in case.expected for part in words)
        if told and "= write 8000" not in case.expected:  # 08000 and 8e3 are the integer 8000 to a schema
            data = json.loads(json.dumps(read("spec", case.text).data))
            assert not VALIDATOR.is_valid(data), case.name
            refused += 1
    assert refused >= 15

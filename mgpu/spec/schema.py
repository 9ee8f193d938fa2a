"""The spec language as JSON Schema, with the keywords that draft-07 and later drafts share."""

from __future__ import annotations

from typing import Any

from mgpu.spec.flag_schema import branches
from mgpu.spec.flag_schema import definitions as flag_definitions
from mgpu.spec.language import KEYS, KINDS, NAME, PIPELINE, record


def schema() -> dict[str, Any]:
    """The schema of a spec. What it accepts, `validate` may still refuse: relations between keys are not in it."""
    definitions = {kind: record(kind).schema() for kind in KEYS}
    for kind, definition in definitions.items():
        meaning = definition["properties"]["kind"]["description"]
        definition["properties"]["kind"] = {"const": kind, "description": meaning}
        if flags := branches(kind):
            definition["allOf"] = flags
    definitions["job"] = _by_kind(tuple(KEYS))
    definitions["pipeline"] = _pipeline()
    for kind in KEYS:
        definitions |= flag_definitions(kind)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "mgpu job spec",
        **_by_kind(KINDS),
        "definitions": definitions,
    }


def _by_kind(kinds: tuple[str, ...]) -> dict[str, Any]:
    def branch(kind: str) -> dict[str, Any]:
        test = {"properties": {"kind": {"const": kind}}, "required": ["kind"]}
        return {"if": test, "then": {"$ref": f"#/definitions/{kind}"}}

    return {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": list(kinds), "description": "what this is"}},
        "allOf": [branch(kind) for kind in kinds],
    }


def _pipeline() -> dict[str, Any]:
    keys = {name: {**key.shape.schema(), "description": key.doc} for name, key in PIPELINE.items()}
    jobs = {
        "type": "object",
        "minProperties": 1,
        "description": "the jobs by name",
        "patternProperties": {f"^(?:{NAME})$": {"$ref": "#/definitions/job"}},
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "required": ["kind", "jobs"],
        "additionalProperties": False,
        "properties": {**keys, "kind": {"const": "pipeline"}, "jobs": jobs},
    }


WIDTH = 200
"""What fits on a line of this many characters stands on one: the schema has thousands of flags."""


def text() -> str:
    """The schema as it is printed and kept in the repository."""
    return _written(schema(), 0) + "\n"


def _written(value: Any, indent: int) -> str:
    import json

    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or len(line) + indent <= WIDTH:
        return line
    inner = " " * (indent + 1)
    named = isinstance(value, dict)
    rows = [
        (f"{json.dumps(row)}: {_written(value[row], indent + 1)}" if named else _written(row, indent + 1))
        for row in value
    ]
    begin, end = "{}" if named else "[]"
    return f"{begin}\n{inner}" + f",\n{inner}".join(rows) + f"\n{' ' * indent}{end}"

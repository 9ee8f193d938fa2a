"""A list's data in, its file out: one flag a line and in order, so that the next version is a diff to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mgpu.values.flag import Flag

ORDER = list(Flag._fields)


def text(data: Mapping[str, Any]) -> str:
    """The list as the JSON that `mgpu.catalog.flags` reads. Empty sections and fields are left out."""
    parts = [f'"source": {_json(data["source"])}'] if data.get("source") else []
    parts.append(f'"flags": {_lines(data["flags"])}')
    if data.get("more"):
        parts.append(f'"more": {_lines(data["more"])}')
    if data.get("removed"):
        parts.append(f'"removed": {_lines(data["removed"])}')
    if data.get("excludes"):
        parts.append('"excludes": [\n' + ",\n".join(_json(group) for group in data["excludes"]) + "\n]")
    parts += [f'"{name}": true' for name in ("open", "dotted") if data.get(name)]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _lines(entries: Mapping[str, Mapping[str, Any]]) -> str:
    return "{\n" + ",\n".join(f"{_json(name)}: {_entry(entries[name])}" for name in sorted(entries)) + "\n}"


def _entry(entry: Mapping[str, Any]) -> str:
    known = [key for key in (*ORDER, "gone") if key in entry]
    return _json({key: entry[key] for key in known})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

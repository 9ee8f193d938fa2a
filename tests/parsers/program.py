"""The command line of mgpu's own program in, its list of flags out: what argparse itself holds."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from mgpu.resources import folder

VERSION = "1"
"""Of the list: another one where a flag goes, or means something else."""


COUNTS = ("height", "images-per-prompt", "ring-degree", "steps", "ulysses-degree", "width")
"""What none of is nothing."""


def program() -> ModuleType:
    """templates/text_to_image.py as a module. It imports torch and diffusers only once it has something to draw."""
    spec = importlib.util.spec_from_file_location("text_to_image", folder("templates") / "text_to_image.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parsed() -> dict[str, Any]:
    """The list's data."""
    actions = [action for action in program().parser()._actions if action.dest != "help"]
    flags = {action.option_strings[0].lstrip("-"): entry(action) for action in actions}
    for name in COUNTS:
        flags[name]["low"] = 1
    return {"source": "the parser of mgpu's own text_to_image.py", "flags": flags}


def entry(action: argparse.Action) -> dict[str, Any]:
    """One flag as a list holds it."""
    kinds = {int: "int", float: "float", json.loads: "json", Path: "str"}
    kind = "bool" if action.nargs == 0 else "choice" if action.choices else kinds.get(action.type, "str")
    default = str(action.default) if isinstance(action.default, Path) else action.default
    found = {
        "kind": kind,
        "choices": list(action.choices or ()),
        "default": default,
        "many": "repeat" if isinstance(action, argparse._AppendAction) else None,
        "meaning": action.help,
    }
    return {key: value for key, value in found.items() if value not in (None, [], {})}

"""The name of an engine in, what its own parser says out. Run by an interpreter that has the engine, never imported.

``python inside.py flags NAME`` prints the flags as JSON; ``python inside.py accept NAME`` reads a command's words as
a line of JSON and answers with the parser's refusal, or null, line by line.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import io
import json
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any

from entries import either, entry_of
from makers import MAKERS, VLLM_FORMATS, VLLM_METHODS, Parsers, accelerate, version


def flags(name: str) -> dict[str, Any]:
    """All flags of the parsers of an engine, those of all its scripts in one."""
    parsers = MAKERS[name]()
    entries: dict[str, dict[str, Any]] = {}
    having: dict[str, list[str]] = {}
    groups = []
    for script, parser in parsers.items():
        for action in parser._actions:
            if action.option_strings and not isinstance(action, argparse._HelpAction | argparse._VersionAction):
                flag, entry = entry_of(parser, action)
                entries[flag] = either(entries[flag], entry) if flag in entries else entry
                having.setdefault(flag, []).append(script)
        groups += [
            [entry_of(parser, action)[0] for action in group._group_actions]
            for group in parser._mutually_exclusive_groups
        ]
    for flag, scripts in having.items():
        if len(scripts) < len(parsers):
            entries[flag]["scripts"] = scripts
    if name == "vllm":
        _vllm_knows(entries)
    more = flags("accelerate")["flags"] if name == "trl" else {}
    return {"version": version(name), "flags": entries, "more": more, "excludes": groups}


def _vllm_knows(entries: Mapping[str, dict[str, Any]]) -> None:
    """What vLLM checks only after its parser: ranges, methods of quantization, formats, and what is deprecated."""
    arguments = importlib.import_module("vllm.engine.arg_utils")
    configs: list[Any] = []
    original = arguments.get_kwargs
    arguments.get_kwargs = lambda cls: configs.append(cls) or original(cls)
    parser = MAKERS["vllm"]()[""]
    bounds: dict[str, Any] = {}
    for config in configs:
        for name, field in config.__dataclass_fields__.items():
            if metadata := getattr(field.default, "metadata", None):
                bounds.setdefault(name.replace("_", "-"), metadata)
    for name, metadata in bounds.items():
        if entries.get(name, {}).get("kind") in ("int", "float"):
            entries[name].update(_range(metadata, entries[name]["kind"]))
    for action in getattr(parser, "_deprecated", ()):
        entries[entry_of(parser, action)[0]]["deprecated"] = "deprecated"
    methods = importlib.import_module(VLLM_METHODS).QUANTIZATION_METHODS
    formats = importlib.import_module(VLLM_FORMATS)._LOAD_FORMAT_TO_MODEL_LOADER
    dtypes = typing.get_args(importlib.import_module("vllm.config.cache").CacheDType)
    for name, choices in (("quantization", methods), ("load-format", formats), ("kv-cache-dtype", dtypes)):
        entries[name] |= {"kind": "choice", "choices": [*choices]}
    backends = importlib.import_module("vllm.v1.attention.backends.registry").AttentionBackendEnum
    entries["attention-backend"]["usual"] = [*backends.__members__]
    for config in {*configs, importlib.import_module("vllm.config").VllmConfig}:
        _vllm_keys(config, entries)


def _vllm_keys(config: Any, entries: Mapping[str, dict[str, Any]]) -> None:
    """The keys of each flag that is a configuration class of its own: those refuse others."""
    for name, hint in typing.get_type_hints(config).items():
        of = next((cls for cls in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(cls)), None)
        entry = entries.get(name.replace("_", "-"), {})
        if of and entry.get("kind") == "json" and isinstance(of, type):
            entry["keys"] = sorted(field.name for field in dataclasses.fields(of) if field.init)


def _range(metadata: Any, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for bound in metadata:
        for word, key in (("ge", "low"), ("gt", "above"), ("le", "high"), ("lt", "high")):
            if (value := getattr(bound, word, None)) is not None:
                found[key] = int(value) if value == int(value) else value
    if kind == "int" and "above" in found:
        found["low"] = found.pop("above") + 1
    return found


def refusal(name: str, parsers: Parsers, words: list[str]) -> str | None:
    """What the parser has against the words after the program's name."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            READERS.get(name, _read)(parsers, words)
    except SystemExit as end:
        lines = said.getvalue().strip().splitlines()
        return None if end.code in (0, None) else lines[-1] if lines else f"exit {end.code}"
    except Exception as error:  # noqa: BLE001 - whatever a parser raises is its refusal
        return f"{type(error).__name__}: {error}"
    return None


def _read(parsers: Parsers, words: list[str]) -> Any:
    return parsers[""].parse_args(words)


def _read_torchrun(parsers: Parsers, words: list[str]) -> None:
    """Read, and its configuration made, for a machine that has the GPUs."""
    args = _read(parsers, words)
    args.nproc_per_node = {"gpu": "1", "xpu": "1"}.get(args.nproc_per_node, args.nproc_per_node)
    importlib.import_module("torch.distributed.run").config_from_args(args)


def _read_accelerate(parsers: Parsers, words: list[str]) -> None:
    importlib.import_module("accelerate.commands.launch")._validate_launch_command(_read(parsers, words))


def _read_trl(parsers: Parsers, words: list[str]) -> None:
    """What the script's parser leaves is read by that of accelerate. Making the arguments' classes would need a GPU."""
    script, *rest = words
    if "--config" in rest:
        at = rest.index("--config")
        del rest[at : at + 2]
        for action in parsers[script]._actions:
            action.required = False
    _, left = parsers[script].parse_known_args(rest)
    configured = importlib.import_module("trl.cli.accelerate_config").resolve_accelerate_config_argument(left)
    _read_accelerate(accelerate(), [*configured, "script.py"])


def _read_served(parsers: Parsers, words: list[str]) -> None:
    """The model may be the first word."""
    named = words and not words[0].startswith("-")
    _read(parsers, ["--model-path", *words] if named else words)


READERS: Mapping[str, Callable[[Parsers, list[str]], Any]] = {
    "torchrun": _read_torchrun,
    "accelerate": _read_accelerate,
    "trl": _read_trl,
    "sglang": _read_served,
}


def main() -> None:
    """Say what was asked on the real standard output; what an engine prints meanwhile goes to the other."""
    task, name = sys.argv[1:3]
    answers = sys.stdout
    sys.stdout = sys.stderr
    if task == "flags":
        answers.write(json.dumps(flags(name)))
        return
    parsers = MAKERS[name]()
    for line in sys.stdin:
        answers.write(json.dumps(refusal(name, parsers, json.loads(line))) + "\n")


if __name__ == "__main__":
    main()

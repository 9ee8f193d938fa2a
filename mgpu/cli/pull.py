"""Fetch the images and models of a spec ahead of time."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mgpu import Compiled, compile_spec
from mgpu.cli import progress, show, source
from mgpu.errors import HostError
from mgpu.run import images, models
from mgpu.values.machine import Machine
from mgpu.values.spec import Spec


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="SPEC", help="a spec; - is standard input")
    source.add_sets(parser)
    source.add_locked(parser)
    parser.add_argument(
        "--machine", metavar="MACHINE", help="fetch what this machine would need: a machine file, or as 2xrtx-4090"
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def main(options: argparse.Namespace) -> int:
    spec = source.spec(Path(options.file), options.sets)
    spec = source.locked(Path(options.file), spec) if options.locked else spec
    show.warn(spec.document, spec.warnings)
    folder = os.getcwd() if options.file == "-" else os.path.dirname(os.path.abspath(options.file))
    compiled = _compiled(spec, folder, options.machine)
    rows: list[dict[str, Any]] = []
    names = {command.container.image: None for command in compiled.commands if command.container}
    for name in names:
        rows.append(_done({"image": name}, lambda name=name: _image(name), options.json))  # type: ignore[misc]
    for model in models.wanted(compiled, os.environ):
        row = {"model": model.hub.repository, "cache": model.cache}
        rows.append(_done(row, lambda model=model: _model(model), options.json))  # type: ignore[misc]
    if options.json:
        import json

        print(json.dumps({"version": 1, "name": spec.name, "items": rows}, indent=2))
    elif not rows:
        print(f"{spec.name}: there is nothing to pull: no container, and no model from the hub")
    return 125 if any(row["state"] == "failed" for row in rows) else 0


def _compiled(spec: Spec, folder: str, given: str | None) -> Compiled:
    """The spec for the machine given, else for this host, as if nobody used it; files are those of this host."""
    from mgpu.machine import snapshot
    from mgpu.machine.file import resolve
    from mgpu.plan.vacant import vacant

    here = snapshot.read(folder, spec)
    machine: Machine = resolve(given) if given else here
    machine = replace(machine, home=here.home, folder=here.folder, user=here.user)
    return compile_spec(replace(spec, machine=None), vacant(machine))


def _done(row: dict[str, Any], work: Callable[[], dict[str, Any]], quiet: bool) -> dict[str, Any]:
    """Do the work for one image or model, and say how it went; what fails does not keep the others from coming."""
    name = row.get("image") or row["model"]
    try:
        row |= work()
    except HostError as error:
        show.failed(error)
        return {**row, "state": "failed", "why": error.message, "hint": error.hint}
    if not quiet:
        said = {"there": "there already", "pulled": f"pulled {progress.size(row.get('bytes', 0))}"}
        print(f"{name}: {said.get(row['state']) or 'not pulled: ' + row['why']}", flush=True)
    return row


def _image(name: str) -> dict[str, Any]:
    if name not in images.absent([name]):
        return {"state": "there"}
    return {"state": "pulled", "bytes": progress.image(name, ends=False)}


def _model(model: models.Model) -> dict[str, Any]:
    if model.instead:
        return {"state": "left", "why": model.instead}
    print(f"mgpu: asking the hub for {model.hub.repository}", file=sys.stderr, flush=True)
    fetched = models.fetch(model, lambda: progress.shown(model.hub.repository, "files", ends=False))
    return {"state": "pulled" if fetched.bytes else "there", "commit": fetched.commit, "bytes": fetched.bytes}

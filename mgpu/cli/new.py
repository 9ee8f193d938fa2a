"""Write a new spec from the catalogue."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from mgpu.cli.source import ENDING
from mgpu.errors import UsageError
from mgpu.resources import folder
from mgpu.spec.nearest import did_you_mean
from mgpu.spec.schema import text

SCHEMA = "mgpu.schema.json"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a spec of the catalogue; without it they are listed")
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="where to write it; NAME.mgpu.yaml if left out"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def main(options: argparse.Namespace) -> int:
    specs = catalogue()
    if options.name is None:
        width = max(map(len, specs))
        print("\n".join(f"{name:<{width}}  {summary(path)}" for name, path in specs.items()))
        print("\nmgpu new NAME writes one of them here.", file=sys.stderr)
        return 0
    if options.name not in specs:
        raise UsageError(f"the catalogue has no {options.name!r}", did_you_mean(options.name, specs))
    target = options.file or Path(options.name + ENDING)
    if target.exists() and not options.force:
        raise UsageError(f"{target} is there already", "name another file, or say --force")
    body = re.sub(r"\$schema=\S+", f"$schema={SCHEMA}", specs[options.name].read_text("utf-8"), count=1)
    _write(target, body)
    _write(target.parent / SCHEMA, text())
    print(f"{target}: edit it, then: mgpu validate {target}", file=sys.stderr)
    return 0


def catalogue() -> dict[str, Path]:
    """The catalogue's specs by name."""
    return {path.name.removesuffix(ENDING): path for path in sorted(folder("specs").rglob(f"*{ENDING}"))}


def summary(path: Path) -> str:
    """The first comment of a spec below its schema line."""
    lines = path.read_text("utf-8").split("\n")
    return next((line.lstrip("# ") for line in lines[1:] if line.startswith("#")), "")


def _write(path: Path, body: str) -> None:
    try:
        path.write_text(body, "utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None

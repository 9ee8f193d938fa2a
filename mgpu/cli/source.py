"""Paths and options of the command line in, checked Specs and the Machine to compile them for out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mgpu.errors import UsageError

if TYPE_CHECKING:
    from mgpu.values.machine import Machine
    from mgpu.values.spec import Spec

ENDING = ".mgpu.yaml"


def files(paths: Sequence[str]) -> list[Path]:
    """The spec files that `paths` name: files as they are, in folders everything that ends in .mgpu.yaml."""
    found = [file for path in paths for file in _files(Path(path))]
    if not found:
        raise UsageError(f"there is no spec in {', '.join(paths)}", f"a spec's name ends in {ENDING}")
    return found


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(path.rglob(f"*{ENDING}"))
    elif path.exists() or str(path) == "-":
        yield path
    else:
        from mgpu.spec.nearest import did_you_mean

        beside = [other.name for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise UsageError(f"there is no file {path}", did_you_mean(path.name, beside) or "see what `mgpu new` offers")


def spec(path: Path, sets: Sequence[str] = ()) -> Spec:
    """The checked Spec in the file (``-``: standard input). Raises SpecError, or UsageError for an unreadable file."""
    from mgpu.spec.check import check
    from mgpu.spec.document import read

    document = read("stdin" if str(path) == "-" else str(path), _text(path))
    if sets:
        from mgpu.spec.override import override

        document = override(document, sets)
    return check(document)


def machine(path: Path, wanted: Spec, given: str | None) -> Machine:
    """The machine to compile for: the one given, else the one that the spec names, else this host."""
    from mgpu.machine.file import resolve

    if given:
        return resolve(given)
    if wanted.machine:
        beside = path.parent / wanted.machine
        return resolve(str(beside) if beside.exists() else wanted.machine)
    from mgpu.machine.snapshot import read

    return read(os.path.abspath(path.parent))


def _text(path: Path) -> str:
    """What the file holds, or standard input for ``-``."""
    try:
        raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return raw.decode().removeprefix("\ufeff")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 at byte {error.start}", "save it as UTF-8") from None


def add_files(parser: argparse.ArgumentParser) -> None:
    """The arguments of every verb that reads specs."""
    parser.add_argument(
        "files", nargs="+", metavar="SPEC", help=f"a spec, or a folder of *{ENDING}; - is standard input"
    )
    add_sets(parser)


def add_sets(parser: argparse.ArgumentParser) -> None:
    """--set."""
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change a value: gpus=2, jobs.llm.port=8001",
    )


def add_machine(parser: argparse.ArgumentParser) -> None:
    """--machine."""
    parser.add_argument(
        "--machine", metavar="MACHINE", help="a machine file, or a shorthand as 2xrtx-4090, in place of this host"
    )

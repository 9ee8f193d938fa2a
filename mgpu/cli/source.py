"""Paths and options of the command line in, checked Specs and the Machine to compile them for out."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mgpu.errors import Problem, SpecError, UsageError
from mgpu.values.mark import Mark

if TYPE_CHECKING:
    from mgpu.catalog.prices import Prices
    from mgpu.values.machine import Machine
    from mgpu.values.spec import Spec

ENDING = ".mgpu.yaml"
STDIN = "stdin"


def files(paths: Sequence[str]) -> list[Path]:
    """The spec files that `paths` name: files as they are, in folders all that ends in .mgpu.yaml and is not hidden."""
    found = [file for path in paths for file in _files(Path(path))]
    if not found:
        raise UsageError(f"there is no spec in {', '.join(paths)}", f"a spec's name ends in {ENDING}")
    return found


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        found = (file for file in path.rglob(f"*{ENDING}") if file.is_file())
        yield from sorted(file for file in found if not any(part[0] == "." for part in file.relative_to(path).parts))
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

    name = STDIN if str(path) == "-" else str(path)
    document = read(name, text(name))
    if sets:
        from mgpu.spec.override import override

        document = override(document, sets)
    return check(document)


def lock_of(path: Path) -> Path:
    """The lock file of a spec: beside it, and called as it is."""
    return path.with_name(path.name.removesuffix(".yaml").removesuffix(".yml") + ".lock")


def locked(path: Path, spec: Spec) -> Spec:
    """The spec as its lock file pins it. Raises SpecError where there is none, or where it is of another spec."""
    from mgpu.plan.lock import locked as pinned
    from mgpu.spec.document import read

    file = lock_of(path)
    if str(path) == "-" or not file.exists():
        hint = "name a file: a lock lies beside its spec" if str(path) == "-" else f"mgpu lock {path}"
        raise spec.document.error(spec.document.problem(f"there is no lock file {file}", (), hint))
    return pinned(spec, read(str(file), text(str(file))))


def add_locked(parser: argparse.ArgumentParser) -> None:
    """--locked."""
    parser.add_argument(
        "--locked", action="store_true", help="images and models as the lock file has them, or not at all"
    )


def machine(path: Path, wanted: Spec, given: str | None) -> Machine:
    """The machine to compile for: the one given, else the one that the spec names, else this host."""
    from mgpu.machine.file import resolve

    if given:
        return resolve(given)
    if wanted.machine:
        beside = path.parent / wanted.machine
        try:
            return resolve(str(beside) if beside.exists() else wanted.machine)
        except UsageError as error:
            raise wanted.document.error(wanted.document.problem(error.message, ("machine",), error.hint)) from None
    from mgpu.machine.snapshot import read

    return read(os.path.abspath(path.parent), wanted)


def text(name: str) -> str:
    """What the file of this name, or standard input, holds: no more of it than a spec may have."""
    from mgpu.spec.document import MAX_BYTES

    try:
        with open(0 if name == STDIN else name, "rb", closefd=name != STDIN) as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    try:
        return raw.decode(errors="replace" if len(raw) > MAX_BYTES else "strict").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw[raw.rfind(b"\n", 0, error.start) + 1 : error.start].decode()
        mark = Mark(raw.count(b"\n", 0, error.start) + 1, len(line) + 1)
        problem = Problem(f"this is not UTF-8: byte 0x{raw[error.start]:02x}", (), mark, "save it as UTF-8")
        raise SpecError(name, raw.decode(errors="replace"), (problem,)) from None


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


def add_prices(parser: argparse.ArgumentParser) -> None:
    """--prices."""
    parser.add_argument("--prices", metavar="FILE", help="your own price list: date, source, gpus: {h100-sxm: 2.49}")


def prices(path: str | None) -> Prices:
    """The price list in the file, else the one that comes with mgpu. Raises SpecError for what is wrong in it."""
    from mgpu.catalog.prices import listed

    if path is None:
        return listed()
    from mgpu.spec.prices import load

    return load(path, text(path))

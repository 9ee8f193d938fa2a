"""Print the commands that a spec means, for a machine at hand or given."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from mgpu import Compiled, compile_spec
from mgpu.cli import show, source
from mgpu.command.text import script
from mgpu.errors import MgpuError, NoRoom, SpecError, UsageError


def add(parser: argparse.ArgumentParser) -> None:
    source.add_files(parser)
    source.add_machine(parser)
    source.add_locked(parser)
    parser.add_argument("--json", action="store_true", help="print the plan and the commands as JSON")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write each rendering to DIR, beside the others")
    parser.add_argument("--check", action="store_true", help="fail with a diff where the rendering in --out differs")
    parser.add_argument("--templates", type=Path, metavar="DIR", help="templates of your own; trusted like a Makefile")


def main(options: argparse.Namespace) -> int:
    if options.check and not options.out:
        raise UsageError("--check compares with a folder", "name it with --out DIR")
    if options.templates and not options.templates.is_dir():
        raise UsageError(f"--templates {options.templates} is not a folder")
    worst = 0
    done: list[tuple[Path, str]] = []
    ending = ".json" if options.json else ".sh"
    for path in source.files(options.files):
        try:
            done.append((path, _rendered(path, options)))
        except (SpecError, NoRoom) as error:
            show.failed(_named(error, path))
            worst = 1
    if not options.out:
        print("\n".join(text for _, text in done), end="")
        return worst
    texts = _named_apart(done, options.files, ending)
    return max(worst, _compared(texts, options.out, ending) if options.check else _written(texts, options.out))


def compiled(path: Path, options: argparse.Namespace) -> Compiled:
    """The spec in the file, compiled for the machine that the options or the spec name, else for this host."""
    spec = source.spec(path, options.sets)
    spec = source.locked(path, spec) if options.locked else spec
    show.warn(spec.document, spec.warnings)
    done = compile_spec(spec, source.machine(path, spec, options.machine), options.templates)
    show.warn(spec.document, done.plan.warnings)
    return done


def _rendered(path: Path, options: argparse.Namespace) -> str:
    done = compiled(path, options)
    if options.json:
        import json

        from mgpu.command.data import plain

        return json.dumps(plain(done.plan, done.commands), indent=2, ensure_ascii=False) + "\n"
    text = script(done.plan, done.commands)
    return f"# templates: {options.templates}\n{text}" if options.templates else text


def _named(error: MgpuError, path: Path) -> MgpuError:
    if isinstance(error, NoRoom):
        return NoRoom(f"{path}: {error.message}", error.hint, error.ever)
    return error


def _name(path: Path, given: list[str]) -> str:
    """The rendering's file below --out, less its ending: the spec's own path from the folder it was found in."""
    root = next((folder for folder in given if os.path.isdir(folder) and path.is_relative_to(folder)), None)
    inner = path.relative_to(root) if root else Path(path.name if path.name != "-" else source.STDIN)
    return str(inner).removesuffix(".yaml").removesuffix(".mgpu")


def _named_apart(done: list[tuple[Path, str]], given: list[str], ending: str) -> dict[str, str]:
    """The renderings by their files below --out. Raises UsageError where two would go to the same one."""
    texts: dict[str, str] = {}
    for path, text in done:
        name = _name(path, given) + ending
        if name in texts:
            raise UsageError(f"{path} is not the only spec that renders to {name}", "render it into another folder")
        texts[name] = text
    return texts


def _written(texts: dict[str, str], out: Path) -> int:
    for name, text in texts.items():
        try:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(text.encode(errors="surrogateescape"))
        except OSError as error:
            raise UsageError(f"{out / name} cannot be written: {error.strerror}") from None
    print(f"{len(texts)} renderings in {out}", file=sys.stderr)
    return 0


def _compared(texts: dict[str, str], out: Path, ending: str) -> int:
    """Print how the folder differs from the renderings; 1 where it does."""
    differences = [line for name, text in texts.items() for line in _difference(name, text, out)]
    there = {str(file.relative_to(out)) for file in out.rglob(f"*{ending}") if file.is_file()}
    differences += [f"{out / name}: no spec renders to this file any more" for name in sorted(there - texts.keys())]
    if differences:
        print("\n".join(differences))
        print(
            f"the renderings in {out} differ\n  hint: mgpu render ... --out {out}, and look at the diff",
            file=sys.stderr,
        )
    return 1 if differences else 0


def _difference(name: str, text: str, out: Path) -> Iterator[str]:
    import difflib

    file = out / name
    try:
        old = file.read_bytes().decode(errors="replace") if file.exists() else ""
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    return difflib.unified_diff(old.split("\n"), text.split("\n"), str(file), f"{file} (now)", lineterm="")

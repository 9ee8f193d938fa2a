"""Write what a spec's images and models are now beside it, for runs that shall have just those; or say what changed."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mgpu.cli import show, source
from mgpu.errors import HostError, SpecError, UsageError

HEAD = "# What `mgpu lock` found. Commit it; run, render and pull --locked use it.\n"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", metavar="SPEC", help=f"a spec, or a folder of *{source.ENDING}; its lock goes beside it"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, and fail with a diff where it would change"
    )


def main(options: argparse.Namespace) -> int:
    if "-" in options.files:
        raise UsageError("a lock is written beside its spec", "name a file")
    worst = 0
    for path in source.files(options.files):
        try:
            worst = max(worst, _done(path, _text(path), options.check))
        except (SpecError, HostError) as error:
            worst = max(worst, show.failed(error))
    return worst


def _text(path: Path) -> str:
    """What the lock file shall hold."""
    from mgpu.command.files import dumped
    from mgpu.plan.lock import wanted
    from mgpu.run import locking

    spec = source.spec(path)
    pins, folder = wanted(spec), os.path.dirname(os.path.abspath(path))
    for pin in pins:
        here = (
            f"{pin.keys.get('model')} is a folder of this host: it is not pinned"
            if locking.beside(pin, folder)
            else None
        )
        if loose := here or pin.loose:
            print(f"mgpu: {pin.job.name}: {loose}", file=sys.stderr)
    return HEAD + dumped("lock.yaml", locking.answers(pins, folder, os.environ))


def _done(path: Path, text: str, check: bool) -> int:
    file = source.lock_of(path)
    old = source.text(str(file)) if file.exists() else ""
    if not check and old != text:
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{file} cannot be written: {error.strerror}") from None
    if check and old != text:
        import difflib

        lines = difflib.unified_diff(old.splitlines(), text.splitlines(), str(file), f"{file} (now)", lineterm="")
        print("\n".join(lines))
        print(f"mgpu: {file} is not what it would be now\n  hint: mgpu lock {path}", file=sys.stderr)
        return 1
    print(f"{file}: {'as it was' if old == text else 'written'}")
    return 0

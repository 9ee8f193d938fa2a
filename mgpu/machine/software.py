"""The interpreter of process jobs in, the versions of the packages that engines are out. Nothing is imported."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator

DIST_INFO = re.compile(r"(.+)-([^-]+)\.dist-info")


def installed(packages: Iterable[str], folders: Iterable[str] | None = None) -> tuple[tuple[str, str], ...]:
    """(package, version) of those that are there. Folders default to the module path of the `python` on PATH, where its
    environment can be told from its place, else to this interpreter's."""
    wanted = {_plain(name): name for name in packages}
    found: dict[str, str] = {}
    for folder in folders if folders is not None else _folders():
        for entry in _entries(folder):
            match = DIST_INFO.fullmatch(entry)
            if match and _plain(match[1]) in wanted:
                found.setdefault(wanted[_plain(match[1])], match[2])
    return tuple(sorted(found.items()))


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _folders() -> Iterator[str]:
    """Where the environment on PATH keeps its packages: jobs find their programs by PATH, not beside mgpu."""
    import shutil

    program = shutil.which("python3") or shutil.which("python")
    own = program and os.path.dirname(program) == os.path.dirname(sys.executable)
    yield from (beside(program, "/") if program and not own else ()) or (folder for folder in sys.path if folder)


def beside(python: str, folder: str) -> list[str]:
    """Where the environment of an interpreter keeps its packages; a path that is not whole is below `folder`."""
    program = os.path.join(folder, os.path.expanduser(python))
    library = os.path.join(os.path.dirname(os.path.dirname(program)), "lib")
    names = sorted(entry for entry in _entries(library) if re.fullmatch(r"python3\.\d+", entry))
    return [os.path.join(library, name, kind) for name in names for kind in ("site-packages", "dist-packages")]


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []

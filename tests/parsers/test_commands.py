"""Every command of the catalogue and of the goldens is taken by the real parser of its engine, where that is here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mgpu import Compiled, compile
from mgpu.errors import MgpuError
from mgpu.machine.file import resolve
from mgpu.spec.document import read
from mgpu.values.command import Command
from tests.compiler.cases import cases
from tests.compiler.test_golden import DIVIDER, FILES, MACHINES, in_catalogue
from tests.parsers.oracle import ENGINES, interpreter, refusals
from tests.require import require


def compiled() -> Iterator[tuple[str, Compiled]]:
    """Everything that mgpu renders in its own tests, with the name of its case."""
    for name, path in in_catalogue().items():
        text = path.read_text()
        yield name, compile(text, resolve(str(read(name, text).data["machine"])), f"{name}.mgpu.yaml")
    for case in (case for file in FILES for case in cases(file, DIVIDER)):
        text, _, machine = case.text.rpartition("# machine: ")
        known = machine.strip()
        with suppress(MgpuError):  # a case of what is refused
            yield case.name, compile(text, resolve(str(MACHINES / known) if known.endswith(".yaml") else known))


def commands(engine: str, folder: Path) -> dict[str, list[str]]:
    """The engine's commands in the version that its parser has, by the names of their case and task; the config files
    that they name are in `folder`."""
    found = {}
    for name, done in compiled():
        for task, command in zip(done.plan.tasks, done.commands, strict=True):
            if task.job.engine == engine and not task.job.version and not task.job.python:
                case = f"{name}: {task.name}"
                found[case] = _with_files(command, folder / str(len(found)))
    return found


def _with_files(command: Command, folder: Path) -> list[str]:
    """The command's words, with its config files written and named where they are."""
    words = list(command.argv)
    for file in command.files:
        folder.mkdir(exist_ok=True)
        inner = file.path[file.path.index("/.mgpu/") :]
        path = folder / Path(file.path).name
        path.write_text(file.text)
        words = [re.sub(r"[^\s=]*" + re.escape(inner), str(path), word) for word in words]
    return words


@pytest.mark.parametrize("engine", ENGINES)
def test_its_parser_takes_every_command(engine: str, tmp_path: Path) -> None:
    require(engine, interpreter(engine) is not None, "no interpreter has it")
    rendered = commands(engine, tmp_path)
    assert len(rendered) > 1
    refused = dict(zip(rendered, refusals(engine, list(rendered.values())), strict=True))
    assert not {name: (why, rendered[name]) for name, why in refused.items() if why}

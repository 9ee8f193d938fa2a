"""What specs become, to the byte: the plan and the commands on a given machine, or the refusal in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from mgpu import compile
from mgpu.command.text import script
from mgpu.engines import ENGINES
from mgpu.errors import NoRoom
from mgpu.machine.file import resolve
from mgpu.resources import folder
from tests.compiler.cases import REWRITE, Case, cases, rewrite

FILE = Path(__file__).with_name("golden.txt")
MACHINES = Path(__file__).parents[1] / "machines"
DIVIDER = "# output"


def output(text: str) -> str:
    """The rendering of a spec whose last line names its machine."""
    spec, _, name = text.rpartition("# machine: ")
    name = name.strip()
    machine = resolve(str(MACHINES / name) if name.endswith(".yaml") else name)
    try:
        done = compile(spec, machine)
    except NoRoom as refusal:
        return f"{'not now' if refusal.ever else 'never'}: {refusal.message}\n  hint: {refusal.hint}"
    return script(done.plan, done.commands).rstrip("\n")


if REWRITE:
    rewrite(FILE, DIVIDER, output)


@pytest.mark.parametrize("case", list(cases(FILE, DIVIDER)), ids=lambda case: case.name)
def test_golden(case: Case) -> None:
    assert output(case.text) == case.expected


def test_every_engine_has_its_parts() -> None:
    goldens = FILE.read_text()
    specs = "".join(path.read_text() for path in folder("specs").rglob("*.yaml"))
    engines = Path(__file__).parents[2] / "mgpu" / "engines"
    modules = {path.stem for path in engines.glob("*.py")} - {"__init__"}
    assert modules == {engine.name for engine in ENGINES}
    assert {path.name.split(".")[0] for path in folder("templates").glob("*.sh.j2")} == modules
    for name in modules:
        marker = "kind: task" if name == "task" else f"engine: {name}"
        assert marker in specs, f"{name} has no spec in the catalogue"
        assert marker in goldens, f"{name} has no golden"

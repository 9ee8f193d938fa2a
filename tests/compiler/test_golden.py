"""What specs become, to the byte: the plan and the commands on a given machine, or the refusal in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from mgpu import compile
from mgpu.command.text import script
from mgpu.engines import ENGINES, every
from mgpu.errors import NoRoom, SpecError
from mgpu.machine.file import resolve
from mgpu.resources import folder
from mgpu.spec.document import read
from tests.compiler.cases import REWRITE, Case, cases, rewrite

FILES = sorted(Path(__file__).with_name("goldens").glob("*.txt"))
CATALOGUE = Path(__file__).with_name("catalogue")
"""What every spec of the catalogue becomes on the machine that it names."""
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
    except SpecError as wrong:
        return "\n".join(f"wrong: {problem.message}\n  hint: {problem.hint}" for problem in wrong.problems)
    return script(done.plan, done.commands).rstrip("\n")


if REWRITE:
    for file in FILES:
        rewrite(file, DIVIDER, output)


@pytest.mark.parametrize("case", [case for file in FILES for case in cases(file, DIVIDER)], ids=lambda case: case.name)
def test_golden(case: Case) -> None:
    assert output(case.text) == case.expected


def in_catalogue() -> dict[str, Path]:
    """The catalogue's specs by their path in it, less its ending."""
    root = folder("specs")
    return {str(path.relative_to(root)).split(".mgpu")[0]: path for path in sorted(root.rglob("*.mgpu.yaml"))}


@pytest.mark.parametrize("name", in_catalogue())
def test_catalogue(name: str) -> None:
    text = in_catalogue()[name].read_text()
    done = compile(text, resolve(str(read("spec.yaml", text).data["machine"])), f"{name}.mgpu.yaml")
    golden = CATALOGUE / f"{name}.sh"
    if REWRITE:
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(script(done.plan, done.commands))
    assert script(done.plan, done.commands) == golden.read_text()


def test_the_catalogue_has_no_golden_too_many() -> None:
    assert {str(path.relative_to(CATALOGUE).with_suffix("")) for path in CATALOGUE.rglob("*.sh")} == set(in_catalogue())


def test_every_engine_has_its_parts() -> None:
    goldens = "".join(file.read_text() for file in FILES)
    specs = "".join(path.read_text() for path in folder("specs").rglob("*.yaml"))
    engines = Path(__file__).parents[2] / "mgpu" / "engines"
    modules = {path.stem.replace("_", "-") for path in engines.glob("*.py")} - {"--init--"}
    assert modules == set(ENGINES)
    assert {engine.name: engine.kinds for engine in every()} == ENGINES
    assert {path.name.split(".")[0] for path in folder("templates").glob("*.sh.j2")} == modules
    for name in modules:
        marker = "kind: task" if name == "task" else f"engine: {name}"
        assert marker in specs, f"{name} has no spec in the catalogue"
        assert marker in goldens, f"{name} has no golden"

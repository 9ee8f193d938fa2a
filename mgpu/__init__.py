"""mgpu: a job spec in, the exact commands of a multi-GPU job out.

The whole way through the house::

    text -> Document -> Spec -> Plan -> Command
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from mgpu.values.command import Command
    from mgpu.values.machine import Machine
    from mgpu.values.plan import Plan
    from mgpu.values.spec import Spec

__version__ = "0.1.0"
__all__ = ["Compiled", "compile", "compile_spec"]


class Compiled(NamedTuple):
    """What compiling gives: the checked spec, the plan, and one command a task in the order of starting."""

    spec: Spec
    plan: Plan
    commands: tuple[Command, ...]


def compile(text: str, machine: Machine, name: str = "spec.yaml", templates: Path | None = None) -> Compiled:
    """Compile the spec in `text` for `machine`; `name` is what errors call it, `templates` a folder of one's own.

    It asks the host nothing: the same input gives the same commands everywhere. Raises SpecError with every problem
    of the text, and NoRoom where the machine cannot take the job.
    """
    from mgpu.spec.check import check
    from mgpu.spec.document import read

    return compile_spec(check(read(name, text)), machine, templates)


def compile_spec(spec: Spec, machine: Machine, templates: Path | None = None, ignore_foreign: bool = False) -> Compiled:
    """The second half of `compile`, for a spec that is checked already and a machine that may have changed since."""
    from mgpu.command.render import render
    from mgpu.plan import place

    plan = place(spec, machine, ignore_foreign)
    return Compiled(spec, plan, render(plan, templates))

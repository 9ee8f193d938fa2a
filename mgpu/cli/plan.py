"""Show what a spec needs and gets on a machine: memory, layout, speed and price; or compare machines, or mend it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mgpu.cli import show, source
from mgpu.errors import NoRoom, SpecError, UsageError
from mgpu.spec.language import POLICIES

if TYPE_CHECKING:
    from mgpu.catalog.prices import Prices
    from mgpu.cli.comparison import Row
    from mgpu.plan.fix import Fix
    from mgpu.values.machine import Machine
    from mgpu.values.plan import Plan, Task
    from mgpu.values.spec import Spec


def add(parser: argparse.ArgumentParser) -> None:
    source.add_files(parser)
    parser.add_argument(
        "--machine",
        dest="machines",
        action="append",
        default=[],
        metavar="MACHINE",
        help="a machine file, or a shorthand as 2xrtx-4090, in place of this host; several are compared",
    )
    parser.add_argument("--policy", choices=POLICIES, help="what layouts are chosen for, in place of the spec's policy")
    source.add_prices(parser)
    parser.add_argument("--online", action="store_true", help="ask the hub about models that are not known here")
    parser.add_argument("--fix", action="store_true", help="print, as a diff, the cheapest change that makes it fit")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")


def main(options: argparse.Namespace) -> int:
    if options.fix and (options.json or len(options.machines) > 1):
        raise UsageError("--fix mends a spec for one machine, and prints a diff")
    prices = source.prices(options.prices)
    worst, answers = 0, []
    for path in source.files(options.files):
        try:
            code, answer = _answered(path, options, prices)
        except (SpecError, NoRoom) as error:
            named = NoRoom(f"{path}: {error.message}", error.hint, error.ever) if isinstance(error, NoRoom) else error
            worst = max(worst, min(1, show.failed(named)))
            continue
        worst = max(worst, code)
        answers.append(answer)
    if options.json:
        import json

        print(json.dumps(answers[0] if len(answers) == 1 else answers, indent=2, ensure_ascii=False))
    else:
        between = "" if options.fix else "\n"
        print(between.join(answers), end="")
    return worst


def _answered(path: Path, options: argparse.Namespace, prices: Prices) -> tuple[int, Any]:
    """The exit code of one spec, and what is printed of it."""
    spec = _spec(path, options)
    show.warn(spec.document, spec.warnings)
    if options.fix:
        return _mended(path, spec, _machine(path, spec, next(iter(options.machines), None), options))
    if len(options.machines) > 1:
        return _compared(path, spec, options, prices)
    from mgpu import compile_spec

    machine = _machine(path, spec, next(iter(options.machines), None), options)
    from mgpu.plan.tasks import timed

    done = compile_spec(spec, machine)
    done = done._replace(plan=timed(done.plan))
    lacking = _lacking(done.plan)
    code = int(lacking is not None)
    if options.json:
        from mgpu.command.data import plain

        return code, plain(done.plan, done.commands, prices, priced=True)
    from mgpu.cli.drawing import picture
    from mgpu.plan.advice import advice

    _warn_of_others(spec, done.plan)
    mends = {lacking.job.name: tuple(advice(spec, machine, lacking))} if lacking else {}
    lines = picture(done.plan, _width(), prices, mends, colour=show.colour(sys.stdout))
    return code, "\n".join(lines) + "\n"


def _spec(path: Path, options: argparse.Namespace) -> Spec:
    """The spec, with the policy of the command line for all its jobs that have one."""
    spec = source.spec(path, options.sets)
    if not options.policy:
        return spec
    from mgpu.spec.check import check
    from mgpu.spec.override import changed

    jobs = [job for job in spec.jobs if job.kind == "inference"]
    return check(changed(spec.document, {(*job.path, "policy"): options.policy for job in jobs}))


def _machine(path: Path, spec: Spec, name: str | None, options: argparse.Namespace) -> Machine:
    """The machine, with what files here say of the spec's models, and the hub where it is to be asked."""
    machine = source.machine(path, spec, name)
    from mgpu.engines import engine_named
    from mgpu.machine.models import attached

    named = [engine_named(job.engine).model(job) for job in spec.jobs]
    wanted = [model for model in named if model and model not in dict(machine.models)]
    known = attached(machine, wanted, os.path.abspath(path.parent), options.online)
    for note in known.notes[len(machine.notes) :]:
        print(f"mgpu: {note}", file=sys.stderr)
    return known


def _width() -> int | None:
    """The columns to fit in; None where no person sits in front of them."""
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None


def _warn_of_others(spec: Spec, plan: Plan) -> None:
    """Warnings, but for those that say what the picture says."""
    show.warn(spec.document, [problem for problem in plan.warnings if " does not fit: " not in problem.message])


def _lacking(plan: Plan) -> Task | None:
    """The first task that does not fit."""
    from mgpu.plan import sums

    return next((task for task in plan.tasks if sums.verdict(task) == "does not fit"), None)


def _compared(path: Path, spec: Spec, options: argparse.Namespace, prices: Prices) -> tuple[int, Any]:
    from mgpu.cli.comparison import compared

    rows = [_row(spec, name, _machine(path, spec, name, options)) for name in options.machines]
    code = int(all(row.plan is None or _lacking(row.plan) is not None for row in rows))
    if options.json:
        from mgpu.command.data import plain

        return code, [
            plain(row.plan, (), prices, priced=True) if row.plan else {"machine": row.machine, "why": row.why}
            for row in rows
        ]
    return code, "\n".join(compared(rows, _width(), prices, colour=show.colour(sys.stdout))) + "\n"


def _row(spec: Spec, name: str, machine: Machine) -> Row:
    from mgpu.cli.comparison import Row
    from mgpu.plan import place
    from mgpu.plan.tasks import timed

    try:
        return Row(name, timed(place(spec, machine)))
    except NoRoom as error:
        return Row(name, None, error.message)
    except SpecError as error:
        return Row(name, None, "; ".join(problem.message for problem in error.problems))


def _mended(path: Path, spec: Spec, machine: Machine) -> tuple[int, str]:
    """The diff that makes the first task fit that does not; nothing where all do."""
    from mgpu.plan import place, sums
    from mgpu.plan.advice import fix_of
    from mgpu.spec.edit import diff, edited

    plan = place(spec, machine)
    task = _lacking(plan)
    _known(plan)
    if task is None:
        print(f"{path}: it fits on {machine.name} as it is", file=sys.stderr)
        return 0, ""
    fix = fix_of(spec, machine, task)
    if fix is None:
        words = sums.told(task.memory, task.layout) if isinstance(task.memory, tuple) else "it does not fit"
        hint = "a smaller model or format, or a larger machine"
        raise NoRoom(f"{task.name} does not fit, and no change that mgpu knows of helps: {words}", hint, ever=False)
    print(f"{path}: {task.name} {_verb(fix)} with {fix.words}", file=sys.stderr)
    text = edited(spec.document, fix.changes)
    return 0, diff(spec.document.text, text, str(path))


def _known(plan: Plan) -> None:
    """Raise NoRoom where whether a task fits is not known, and no other lacks anything."""
    from mgpu.values.memory import Unknown

    why = next((task.memory for task in plan.tasks if isinstance(task.memory, Unknown)), None)
    if why and _lacking(plan) is None:
        raise NoRoom(f"whether it fits is not known: {why.why}", why.hint, ever=False)


def _verb(fix: Fix) -> str:
    return "fits" if fix.verdict == "fits" else "fits tightly"

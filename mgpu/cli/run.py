"""Run a spec on this host."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mgpu.cli import progress, show, source
from mgpu.errors import NoRoom
from mgpu.run import handover, hatch

if TYPE_CHECKING:
    from mgpu.run.executor import Started
    from mgpu.values.command import Probe
    from mgpu.values.spec import Spec


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="SPEC", help="a spec; - is standard input")
    source.add_sets(parser)
    parser.add_argument("--name", metavar="NAME", help="another name than the spec's, for a second run of it")
    parser.add_argument("--detach", action="store_true", help="come back once it is started")
    parser.add_argument("--wait", action="store_true", help="wait until the GPUs are free")
    parser.add_argument("--dry-run", action="store_true", help="print the commands for this host, and start nothing")
    parser.add_argument("--ignore-foreign", action="store_true", help="take GPUs although other processes use them")
    parser.add_argument("--force", action="store_true", help="start what the plan says does not fit")
    parser.add_argument("--json", action="store_true", help="print how it went as JSON, and logs on stderr")


def main(options: argparse.Namespace) -> int:
    path = Path(options.file)
    spec = source.spec(path, [*options.sets, *([f"name={options.name}"] if options.name else [])])
    show.warn(spec.document, spec.warnings)
    folder = os.getcwd() if options.file == "-" else os.path.dirname(os.path.abspath(path))
    if options.dry_run:
        return _dry(spec, folder, options)
    spec = replace(spec, machine=None)
    keeper = hatch.hatched(spec)
    from mgpu.run import executor

    started = executor.start(
        spec, folder, keeper, options.ignore_foreign, options.wait, _waiting, progress.image, options.force
    )
    show.warn(spec.document, started.compiled.plan.warnings)
    if options.detach:
        return _detached(started, options)
    _narrate(f"{spec.name} is run {started.id}{_gpus(started)}")
    return _followed(started, options)


def _dry(spec: Spec, folder: str, options: argparse.Namespace) -> int:
    from mgpu import compile_spec
    from mgpu.command.text import script
    from mgpu.machine import snapshot

    compiled = compile_spec(spec, snapshot.read(folder, spec), None, options.ignore_foreign)
    show.warn(spec.document, compiled.plan.warnings)
    if options.json:
        import json

        from mgpu.command.data import plain

        print(json.dumps(plain(compiled.plan, compiled.commands), indent=2, ensure_ascii=False))
    else:
        print(script(compiled.plan, compiled.commands), end="")
    return 0


def _waiting(refusal: NoRoom) -> None:
    _narrate("waiting: " + refusal.message)


def _narrate(words: str) -> None:
    print(f"mgpu: {words}", file=sys.stderr, flush=True)


def _gpus(started: Started) -> str:
    """The GPUs that it got, in words, and what bounded the choice."""
    plan = started.compiled.plan
    indices = sorted({gpu.index for task in plan.tasks for gpu in task.gpus})
    bound = ", within the CUDA_VISIBLE_DEVICES of its caller" if plan.machine.mask is not None else ""
    return f" on GPU{'s' if len(indices) > 1 else ''} {','.join(map(str, indices))}{bound}" if indices else ""


def _detached(started: Started, options: argparse.Namespace) -> int:
    name = started.compiled.spec.name
    if options.json:
        _report({"id": started.id, "name": name, "folder": started.folder})
    else:
        print(started.id)
        _narrate(f"{name} runs{_gpus(started)}; see it with: mgpu logs -f {name}; end it with: mgpu stop {name}")
    return 0


def _report(data: dict[str, Any]) -> None:
    import json

    print(json.dumps({"version": 1, **data}))


def _followed(started: Started, options: argparse.Namespace) -> int:
    """Follow the run to its end; the first ^C asks it to stop, the second kills it."""
    from mgpu.run import follow, stopping

    asked: list[int] = []

    def interrupt(number: int, _: object) -> None:
        asked.append(number)
        stopping.ask(started.folder, now=len(asked) > 1)
        words = "killing it" if len(asked) > 1 else "stopping it; once more kills it"
        os.write(2, f"\nmgpu: {words}\n".encode())

    for number in handover.STOPPING:
        signal.signal(number, interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handover.STOPPING)
    places = {command.task: _place(command.probe) for command in started.compiled.commands if command.probe}
    out = sys.stderr.buffer if options.json else sys.stdout.buffer
    tasks = [command.task for command in started.compiled.commands]
    try:
        over = follow.follow(started.folder, tasks, out, lambda event: _tell(event, places, len(tasks) > 1))
    except BrokenPipeError:
        _narrate(f"nobody reads the output any more; the run goes on: mgpu logs -f {started.compiled.spec.name}")
        raise
    return _ended(started, over, bool(asked), options)


def _place(probe: Probe) -> str:
    """Where what the probe asks is served; nothing where it reads a log."""
    return {"http": " at " + "/".join(probe.target.split("/")[:3]), "tcp": f" at {probe.target}", "log": ""}[probe.kind]


def _tell(event: dict[str, Any], places: dict[str, str], many: bool) -> None:
    """An event in words, where a person wants to know of it. `places` says where the tasks with a probe are served."""
    task, what = event.get("task"), event["what"]
    if what == "ready" and task in places:
        _narrate(f"{task} is ready{places[task]} after {event['after']:.1f} s")
    elif what == "ready" and many:
        _narrate(f"{task} has started")
    elif what == "refused":
        _narrate(f"{task}: {event['why']}" + (f"\n  hint: {event['hint']}" if event.get("hint") else ""))
    elif what == "memory":
        _narrate(f"{task}: {event['why']}")
    elif what == "failed":
        _narrate(f"{task} failed with {event['code']}" + (f": {event['why']}" if "why" in event else ""))
    elif what in ("late", "timeout"):
        words = "was not ready within" if what == "late" else "ran longer than its timeout of"
        why = f" ({event['why']})" if event.get("why") else ""
        _narrate(f"{task} {words} {event['after']:g} s{why}: stopping it")
    elif what == "leftover":
        _narrate(f"{task} has ended and left processes behind: stopping them")
    elif what == "killed":
        _narrate(f"{task} did not stop in time: killed")
    elif what == "ended" and many:
        _narrate(f"{task} has ended")


def _explain(started: Started, task: str) -> None:
    """Why a task failed and what to change, where its log shows a failure that is known."""
    from mgpu.run import state
    from mgpu.run.why import glance

    last = [event for event in state.events(started.folder) if event.get("task") == task]
    if any(event["what"] in ("timeout", "refused") for event in last):
        return
    code = next((event.get("code") for event in last if event["what"] == "failed"), None)
    data = state.read(f"{started.folder}/run.json") or {}
    cause = glance(started.folder, data, task, code)
    if cause:
        more = f"\n  hint: {cause.hint}\n  more: mgpu why {started.compiled.spec.name}"
        _narrate(f"{task}: {cause.cause}{more}")


def _ended(started: Started, over: dict[str, Any] | None, asked: bool, options: argparse.Namespace) -> int:
    status = started.keeper.wait() if over is None else 0
    if over is None and status >= 0:
        _narrate("how it went could not be written down; the exit code is what the keeper says")
        code, by = (130 if asked else status), None
    elif over is None:
        _narrate("the keeper of this run is gone; what lives of it goes on: mgpu ps, mgpu stop " + started.id)
        code, by = 125, None
    else:
        assert over
        code, by = (130 if asked else over["code"]), over.get("by")
    if by and not asked:
        from mgpu.run import state

        _explain(started, by)
        _narrate(f"the log of {by} is {state.log(started.folder, by)}")
    if options.json:
        _report(
            {
                "id": started.id,
                "name": started.compiled.spec.name,
                "code": code,
                "by": by or ("mgpu" if over is None else None),
            }
        )
    return code

"""Run a spec on this host."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mgpu.cli import allow, progress, show, source, telling
from mgpu.run import handover, hatch
from mgpu.spec.debug import debugged

if TYPE_CHECKING:
    from mgpu.run.executor import Started
    from mgpu.values.command import Probe
    from mgpu.values.spec import Spec


MOST_PRIORITY = 100


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="SPEC", help="a spec; - is standard input")
    source.add_sets(parser)
    parser.add_argument("--name", metavar="NAME", help="another name than the spec's, for a second run of it")
    parser.add_argument("--detach", action="store_true", help="come back once it is started")
    parser.add_argument("--wait", action="store_true", help="wait in the machine's queue until the GPUs are free")
    parser.add_argument(
        "--priority", type=_priority, default=0, metavar="N", help="goes before those with less; 0 if left out"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands for this host, and start nothing")
    parser.add_argument("--ignore-foreign", action="store_true", help="take GPUs although other processes use them")
    allow.add(parser)
    source.add_locked(parser)
    parser.add_argument(
        "--debug",
        action="append",
        default=[],
        metavar="WORD",
        help="have jobs tell more in this run: nccl, torch (C++ and collectives), cuda (each kernel waits)",
    )
    parser.add_argument("--force", action="store_true", help="start what the plan says does not fit")
    parser.add_argument("--json", action="store_true", help="print how it went as JSON, and logs on stderr")


def _priority(word: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", word) or abs(int(word)) > MOST_PRIORITY:
        raise argparse.ArgumentTypeError(f"a priority is from -{MOST_PRIORITY} to {MOST_PRIORITY}, not {word!r}")
    return int(word)


def main(options: argparse.Namespace) -> int:
    path, allowed = Path(options.file), allow.granted(options.allow)
    spec = source.spec(path, [*options.sets, *([f"name={options.name}"] if options.name else [])])
    spec = source.locked(path, spec) if options.locked else spec
    spec = debugged(spec, options.debug, os.environ)
    folder = os.getcwd() if options.file == "-" else os.path.dirname(os.path.abspath(path))
    if options.dry_run:
        return _dry(spec, folder, options)
    if allow.refused(spec, folder, allowed):
        return 1
    spec = replace(spec, machine=None)
    keeper = hatch.hatched(spec)
    from mgpu.run import executor, pruning

    terms = executor.Terms(options.ignore_foreign, options.force, options.wait, options.priority)
    started = executor.start(spec, folder, keeper, terms, _waiting, progress.image)
    show.warn(spec.document, started.compiled.plan.warnings)
    pruning.prune()
    if options.detach:
        return _detached(started, options)
    _narrate(f"{spec.name} is run {started.id}{_gpus(started)}")
    return _followed(started, options)


def _dry(spec: Spec, folder: str, options: argparse.Namespace) -> int:
    from mgpu import compile_spec
    from mgpu.command.text import script
    from mgpu.machine import snapshot

    show.warn(spec.document, spec.warnings)
    compiled = compile_spec(spec, snapshot.read(folder, spec), None, options.ignore_foreign)
    show.warn(spec.document, compiled.plan.warnings)
    if options.json:
        import json

        from mgpu.command.data import plain

        print(json.dumps(plain(compiled.plan, compiled.commands), indent=2, ensure_ascii=False))
    else:
        print(script(compiled.plan, compiled.commands), end="")
    return 0


def _waiting(why: str) -> None:
    _narrate("waiting: " + why)


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
    data = {"indices": {gpu.id: gpu.index for gpu in started.compiled.plan.machine.gpus}}
    try:
        over = follow.follow(
            started.folder, tasks, out, lambda event: _tell(telling.told(event, data, places, len(tasks) > 1))
        )
    except BrokenPipeError:
        _narrate(f"nobody reads the output any more; the run goes on: mgpu logs -f {started.compiled.spec.name}")
        raise
    return _ended(started, over, bool(asked), options)


def _place(probe: Probe) -> str:
    """Where what the probe asks is served; nothing where it reads a log."""
    if probe.kind == "http":
        return " at " + "/".join(probe.target.split("/")[:3])
    return f" at {probe.target}" if probe.kind == "tcp" else ""


def _tell(words: str | None) -> None:
    if words:
        _narrate(words)


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

"""List the runs of this user, and all who wait on this host."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

from mgpu.machine import leases
from mgpu.machine.tickets import Queue
from mgpu.plan import turn
from mgpu.run import held, pruning, runs, samples
from mgpu.run.runs import Run
from mgpu.values.queue import Waiter

WORDS = {
    "unkept": "running, without its keeper",
    "lost": "lost: nothing of it lives, and nobody saw it end",
    "newer": "written by a newer mgpu",
    "unreadable": "its state cannot be read",
}


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="also those that have ended")
    parser.add_argument("--json", action="store_true", help="print them as JSON")


def main(options: argparse.Namespace) -> int:
    leases.tidy()
    pruning.prune()
    listed = [
        run for run in runs.found(options.all) if options.all or run.alive or run.state in ("newer", "unreadable")
    ]
    waiting = turn.ordered(Queue().waiters(whys=True))
    if options.json:
        import json

        data = {"version": 1, "runs": [_data(run) for run in listed], "waiting": list(map(_waiter, _placed(waiting)))}
        print(json.dumps(data, indent=2))
        return 0
    if not listed and not waiting:
        import sys

        print("nothing runs" if not options.all else "nothing has run", file=sys.stderr)
        return 0
    if listed:
        rows = (row for run, name in _told(listed) for row in _rows(run, name))
        _table([("NAME", "TASK", "STATE", "GPUS", "PORT", "SINCE"), *rows])
    if waiting:
        print(end="\n" if listed else "")
        _table([("WAITING", "USER", "PRIORITY", "PLACE", "SINCE", "WHY"), *map(_waits, _placed(waiting))])
    return 0


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


class Placed(NamedTuple):
    """Somebody who waits, and the place among those who could take something from each other."""

    waiter: Waiter
    place: int
    of: int


def _placed(waiting: list[Waiter]) -> Iterator[Placed]:
    for at, waiter in enumerate(waiting):
        rivals = [other for other in waiting if other is waiter or other.uses & waiter.uses]
        before = sum(other in rivals for other in waiting[:at])
        yield Placed(waiter, before + 1, len(rivals))


def _waits(placed: Placed) -> tuple[str, ...]:
    waiter = placed.waiter
    where = f"{placed.place} of {placed.of}"
    return (waiter.name, waiter.user, str(waiter.priority), where, _since(waiter.since), f"waits {waiter.why}".strip())


def _waiter(placed: Placed) -> dict[str, Any]:
    waiter = placed.waiter
    return {
        "run": waiter.run,
        "name": waiter.name,
        "user": waiter.user,
        "uid": waiter.uid,
        "priority": waiter.priority,
        "since": waiter.since,
        "place": placed.place,
        "of": placed.of,
        "why": waiter.why,
    }


def _told(listed: list[Run]) -> list[tuple[Run, str]]:
    """Each with the word by which other verbs find it: its name, or its id where another is meant by the name."""
    names = runs.called(listed)
    return [(run, run.name if names[run.name] is run else run.id) for run in listed]


def _rows(run: Run, name: str) -> list[tuple[str, ...]]:
    """Its tasks, the first beside its `name`."""
    commands = run.data.get("commands", ())
    if not commands:
        return [(name, "", WORDS.get(run.state, run.state), "", "", "")]
    indices = run.data.get("indices", {})
    return [
        (
            name if not at else "",
            command["task"] if len(commands) > 1 else "",
            _state(run, run.tasks[command["task"]]) + _cause(run, command["task"]),
            _gpus(command, indices),
            str(command["port"] or ""),
            _since(run.data.get("created")),
        )
        for at, command in enumerate(commands)
    ]


def _gpus(command: dict[str, Any], indices: dict[str, int]) -> str:
    """The indices, and how much of each where it is a share."""
    names = ",".join(str(indices.get(gpu, gpu)) for gpu in command["gpus"])
    share = command.get("share")
    return f"{share / 2**30:.1f} GiB of {names}" if share else names


def _state(run: Run, last: dict[str, Any]) -> str:
    """How a task is: by its last event while the run is kept, else how the run is."""
    what = last.get("what")
    if run.stuck:
        return "stuck: " + held.words(run.stuck, run.data)
    if what in ("ended", "failed"):
        return "ended" if what == "ended" else f"failed with {last.get('code')}"
    if run.state != "running":
        return WORDS.get(run.state, run.state)
    if what == "restarting":
        return _restarting(last)
    return {"started": "starting", "ready": "ready", None: "waiting"}.get(what, str(what))


def _restarting(last: dict[str, Any]) -> str:
    import math
    import time

    after = float(last["after"])
    left = math.ceil(min(after, float(last["time"]) + after - time.time()))  # a clock may have been set back
    when = f" in {left} s" if left > 0 else ""
    return f"restarting{when} ({last['nth']} of {last['most']})"


def _cause(run: Run, task: str) -> str:
    """Why a task failed, in few words, where its log shows that."""
    last = run.tasks[task]
    if last.get("what") != "failed":
        return ""
    from mgpu.run.why import glance

    cause = glance(run.folder, run.data, task, last.get("code"))
    return f": {cause.short}" if cause else ""


def _since(created: object) -> str:
    import time

    if not isinstance(created, (int, float)):
        return ""
    return time.strftime("%d %b %H:%M", time.localtime(created))


def _pid(last: dict[str, Any]) -> int | None:
    return None if last.get("what") == "restarting" else last.get("pid")


def _data(run: Run) -> dict[str, Any]:
    tasks = [
        {
            "name": command["task"],
            "state": _state(run, run.tasks[command["task"]]),
            "gpus": command["gpus"],
            "share": command.get("share"),
            "port": command["port"],
            "pid": _pid(run.tasks[command["task"]]),
            "cause": _cause(run, command["task"]).removeprefix(": ") or None,
        }
        for command in run.data.get("commands", ())
    ]
    return {
        "id": run.id,
        "name": run.name,
        "state": run.state,
        "created": run.data.get("created"),
        "folder": run.folder,
        "pids": sorted(run.pids),
        "tasks": tasks,
        "held": run.stuck["held"] if run.stuck else None,
        "sample": samples.last(run.folder),
    }

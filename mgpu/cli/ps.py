"""List the runs of this host."""

from __future__ import annotations

import argparse
from typing import Any

from mgpu.machine import leases
from mgpu.run import runs
from mgpu.run.runs import Run

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
    listed = [run for run in runs.found() if options.all or run.alive or run.state in ("newer", "unreadable")]
    if options.json:
        import json

        print(json.dumps({"version": 1, "runs": [_data(run) for run in listed]}, indent=2))
        return 0
    if not listed:
        import sys

        print("nothing runs" if not options.all else "nothing has run", file=sys.stderr)
        return 0
    rows = [("NAME", "TASK", "STATE", "GPUS", "PORT", "SINCE"), *(row for run in listed for row in _rows(run))]
    widths = [max(len(row[at]) for row in rows) for at in range(6)]
    print(
        "\n".join(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )
    )
    return 0


def _rows(run: Run) -> list[tuple[str, ...]]:
    commands = run.data.get("commands", ())
    if not commands:
        return [(run.name, "", WORDS.get(run.state, run.state), "", "", "")]
    indices = run.data.get("indices", {})
    return [
        (
            run.name if not at else "",
            command["task"] if len(commands) > 1 else "",
            _state(run, run.tasks[command["task"]]) + _cause(run, command["task"]),
            ",".join(str(indices.get(gpu, gpu)) for gpu in command["gpus"]),
            str(command["port"] or ""),
            _since(run.data.get("created")),
        )
        for at, command in enumerate(commands)
    ]


def _state(run: Run, last: dict[str, Any]) -> str:
    """How a task is: by its last event while the run is kept, else how the run is."""
    what = last.get("what")
    if what in ("ended", "failed"):
        return "ended" if what == "ended" else f"failed with {last.get('code')}"
    if run.state != "running":
        return WORDS.get(run.state, run.state)
    return {"started": "starting", "ready": "ready", None: "waiting"}.get(what, str(what))


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


def _data(run: Run) -> dict[str, Any]:
    tasks = [
        {
            "name": command["task"],
            "state": _state(run, run.tasks[command["task"]]),
            "gpus": command["gpus"],
            "port": command["port"],
            "pid": run.tasks[command["task"]].get("pid"),
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
    }

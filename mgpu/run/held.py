"""A run that has ended and whose GPUs are not given back in; who holds them in words out, or those processes ended."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

from mgpu.errors import HostError
from mgpu.machine import processes, watch
from mgpu.machine.meter import Meter
from mgpu.run import proof, state

if TYPE_CHECKING:
    from mgpu.run.runs import Run

GRACE = 5.0
"""Seconds from TERM to KILL for a process that holds a GPU of a run that is over."""
MIB = 2**20


def stuck(folder: str) -> dict[str, Any] | None:
    """The event that tells what holds the GPUs of this run; None where nothing does, or nothing is known."""
    last = None
    for event in state.events(folder):
        last = event if event["what"] in ("stuck", "freed", "over") else last
    return last if last and last["what"] == "stuck" else None


def words(event: dict[str, Any], data: dict[str, Any]) -> str:
    """What holds which GPU; `data` is the run.json."""
    return "; ".join(_one(each, data.get("indices", {})) for each in event.get("held", ()))


def _one(held: dict[str, Any], indices: dict[str, int]) -> str:
    gpu, over = indices.get(held["gpu"], held["gpu"]), -(-held["over"] // MIB)
    size = f"{over} MiB more than before the run, " if over else ""
    who = ", ".join(map(_who, held["processes"])) or "nobody that can be seen"
    return f"GPU {gpu} is still held: {size}by {who}"


def _who(process: dict[str, Any]) -> str:
    if process["start"] is None:
        return f"a process that is not seen here (pid {process['pid']})"
    return f"{process['name'] or 'a process'} (pid {process['pid']} of {process['user'] or 'somebody'})"


def refusal(run: Run, event: dict[str, Any]) -> HostError:
    """The error that says so, and what to do."""
    seen = any(process["start"] is not None for held in event["held"] for process in held["processes"])
    hint = (
        f"mgpu stop --reap {run.name} ends what is named here" if seen else "nvidia-smi may tell more; a reboot ends it"
    )
    return HostError(f"{run.name} has ended, and {words(event, run.data)}", hint)


def proven(run: Run) -> dict[str, Any] | None:
    """Ask the driver oneself, as the keeper of a run that has none would; the event, noted, where a GPU is held.

    What another run has leased since is that run's, whatever is in use there.
    """
    gpus = {gpu for command in run.data.get("commands", ()) for gpu in command["gpus"]}
    gpus &= watch.free(gpus).keys()
    if not gpus or "id" not in run.data:
        return None
    meter = Meter(gpus, os.environ)
    try:
        held = proof.Proof(run.data, meter).settled()
    finally:
        meter.close()
    if not held:
        return None
    state.note(run.folder, "stuck", code=143, by=None, held=held)
    return stuck(run.folder) or {"held": held}


def reap(run: Run, event: dict[str, Any]) -> None:
    """End the processes that the event names: TERM, and KILL after a grace. None that is another by now, or a run's."""
    named = {process["pid"]: process["start"] for held in event["held"] for process in held["processes"]}
    mine = {pid: start for pid, start in named.items() if start is not None and _may_end(run.id, pid, start)}
    state.note(run.folder, "reaped", pids=sorted(mine))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid, start in mine.items():
            process = processes.read(pid)
            if process and process.start == start:
                processes.send(process, number)
        deadline = time.monotonic() + GRACE
        while any(_lives(pid, start) for pid, start in mine.items()) and time.monotonic() < deadline:
            time.sleep(0.02)


def _lives(pid: int, start: int) -> bool:
    process = processes.read(pid)
    return process is not None and process.start == start


def _may_end(run: str, pid: int, start: int) -> bool:
    return _lives(pid, start) and processes.run_of(pid) in (None, run) and pid not in (os.getpid(), os.getppid())

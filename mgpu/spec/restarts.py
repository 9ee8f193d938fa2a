"""When a job is started anew, as specs say it: the shape of `restart`, and what contradicts it."""

from __future__ import annotations

from collections.abc import Iterator

from mgpu.engines import engine_named
from mgpu.spec.scalars import Choice, Duration, Integer
from mgpu.spec.shapes import Either, Key, Made, Record
from mgpu.values.engine import Complaint
from mgpu.values.flag import plain
from mgpu.values.spec import Job, Restart

POLICY = Choice(("no", "on-failure", "always"))
RESTART = Either(
    {
        str: Made(POLICY, Restart),
        dict: Record(
            Restart,
            {
                "policy": Key(POLICY, "on-failure, always, or no", True),
                "max": Key(Integer(1, 1000), "how often at most: 3 if left out"),
                "within": Key(Duration(), "in which time so often; in a row if left out"),
            },
        ),
    },
    "no, on-failure, always, or a mapping of policy, max and within",
    {
        bool: "write restart: no, or restart: always",
        int: "write restart: {policy: on-failure, max: 3}",
    },
)

LAUNCHERS = frozenset(("max-restarts", "elastic-training"))
"""Flags by which a launcher starts its own ranks again: torchrun's and accelerate's number (0 if left out), and that
by which DeepSpeed does so up to 100 times (deepspeed/launcher/launch.py, WorkerSpec)."""


def restart_complaints(job: Job) -> Iterator[Complaint]:
    """One policy for each job: not the launcher's own and mgpu's. And what nobody uses is a server."""
    theirs = [flag for flag, times in job.args.items() if plain(flag) in LAUNCHERS and times not in (0, "0", False)]
    if job.restart.policy != "no" and theirs:
        flag = theirs[0]
        message = f"restart and args: {flag} are two policies for one job: {job.engine} restarts by itself"
        yield Complaint(message, ("restart",), f"keep one of them: remove restart, or {flag} from args", key=True)
    if job.max_idle and engine_named(job.engine).finite:
        message = f"{job.engine} serves nothing, so it is never idle"
        yield Complaint(message, ("max_idle",), "remove max_idle; timeout: ends it after some time", key=True)

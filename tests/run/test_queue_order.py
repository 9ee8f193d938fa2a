"""Many runs queue for eight GPUs: none shares, none starves, each in its turn, and nearly as fast as arithmetic."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from mgpu.machine import leases
from tests.end_to_end.host import Host
from tests.run.scene import SOAK, scene, told

GPUS = 8
JOBS, AT_ONCE, SECONDS = (500, 64, (2.0, 6.0)) if SOAK else (20, 12, (0.1, 0.3))
SHARES = ((1, 60), (2, 25), (4, 15))
"""GPUs that a job asks for, and how many of a hundred do."""
MOST_OVERHEAD = 1.3
SCRIPT = """
gpus=$(echo $CUDA_VISIBLE_DEVICES | tr , ' ')
for gpu in $gpus; do mkdir held-$gpu || touch shared; done
sleep {seconds}
for gpu in $gpus; do rmdir held-$gpu || touch shared; done"""


class Asked(NamedTuple):
    """A job: how many GPUs, for how long."""

    gpus: int
    seconds: float


class Took(NamedTuple):
    """A run in the record: its number in the queue, when it took its GPUs, and what it had asked for."""

    number: int
    taken: float
    asked: Asked


def drawn(count: int) -> list[Asked]:
    draw = random.Random(6)
    sizes, shares = zip(*SHARES, strict=True)
    asked = draw.choices(sizes, shares, k=count)
    return [Asked(gpus, round(draw.uniform(*SECONDS), 2)) for gpus in asked]


def arithmetic(order: list[Asked]) -> float:
    """Seconds until the last has ended, if each starts in this order as soon as there are enough GPUs."""
    free, now, last = [0.0] * GPUS, 0.0, 0.0
    for job in order:
        free.sort()
        now = max(now, free[job.gpus - 1])
        free[: job.gpus] = [now + job.seconds] * job.gpus
        last = max(last, now + job.seconds)
    return last


def record(host: Host, jobs: list[Asked]) -> list[Took]:
    """Every run of the host, as its run.json tells of its turn."""
    data = [json.loads(file.read_text()) for file in (host.state / "runs").glob("*/run.json")]
    return [Took(run["turn"]["number"], run["turn"]["taken"], jobs[int(run["name"].split("-")[1])]) for run in data]


def carried_out(host: Host, number: int, job: Asked) -> subprocess.CompletedProcess[str]:
    spec = host.task(SCRIPT.replace("{seconds}", str(job.seconds)), f"job-{number}", gpus=job.gpus)
    argv = [*host.argv, "run", "--wait", str(spec)]
    return subprocess.run(argv, env=host.env, capture_output=True, text=True, check=False, timeout=1800)


def test_everyone_has_a_turn_and_takes_it(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(tmp_path, monkeypatch, gpus=GPUS) as host:
        host.env["MGPU_KEEP_RUNS"] = str(JOBS)
        jobs = drawn(JOBS)
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            done = list(pool.map(lambda each: carried_out(host, *each), enumerate(jobs)))
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        found = sorted(record(host, jobs))
        ideal = arithmetic([each.asked for each in found])
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        words = (
            f"  {JOBS} jobs, {AT_ONCE} at once: {took:.1f} s, in the same order without overhead {ideal:.1f} s: "
            f"{took / ideal:.2f} x\n  {spent / JOBS:.2f} s of a core a job, load {os.getloadavg()[0]:.1f}"
        )
        told(request, "The queue of a machine of eight GPUs", words)
        assert [(each.returncode, each.stderr) for each in done if each.returncode] == []
        assert len(found) == JOBS
        assert not (tmp_path / "shared").exists()
        late = [(a, b) for a, b in pairwise(found) if b.taken < a.taken]
        assert late == [], "somebody was overtaken"
        assert (host.held(), host.of_host()) == (0, set())
        assert not [name for name in os.listdir(leases.folder()) if name.endswith(".wait")]
        if SOAK:
            assert took <= MOST_OVERHEAD * ideal

"""kill -9 at random moments of the runner, the keeper, the agent: a GPU is held while anything of its job lives, and
free one second after; no live job is lost from `ps`, and `stop` ends every one."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgpu.machine import leases, locks, processes
from tests.end_to_end.host import Host, eventually, kill, lives
from tests.fakes.nvml import uuid

SOAK = "MGPU_SOAK" in os.environ
ROUNDS = 100 if SOAK else 12
GPUS = [uuid(index) for index in range(4)]

AGENT = """
import os, pathlib, subprocess, sys
work = "import time; time.sleep(1000)"
workers = [subprocess.Popen([sys.executable, "-c", work], start_new_session=True) for _ in range(2)]
pathlib.Path("agent.new").write_text(" ".join(str(pid) for pid in [os.getpid(), *(w.pid for w in workers)]))
os.rename("agent.new", "agent")
for worker in workers:
    worker.wait()
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host in which, at the end, nothing that a test started is left."""
    made = Host(tmp_path)
    monkeypatch.setenv("MGPU_LOCK_DIR", made.env["MGPU_LOCK_DIR"])
    yield made
    for pid in of_host(made):
        kill(pid)


def of_host(host: Host) -> set[int]:
    """Every live process that mgpu has started on this host, keepers and jobs and what they left."""
    own = {pid for pid in processes.table() if processes.variable(pid, "MGPU_STATE_DIR") == str(host.state)}
    return own | keepers(host)


def keepers(host: Host) -> set[int]:
    """The live keepers of this host, by the run's folder on their command line."""
    return {pid for pid in processes.table() if os.fsencode(host.state) + b"/" in command_line(pid)}


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def pids_in(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()] if file.exists() else []


def pause(chance: random.Random, longest: float) -> None:
    """Let a random time pass: which moment is hit is what these tests are about."""
    time.sleep(chance.random() * longest)


def held() -> int:
    return len(leases.holders(GPUS))


def locked() -> int:
    """How many GPUs the kernel itself says are held, whatever notes and marks tell."""
    return sum(locks.held(os.path.join(leases.folder(), f"gpu-{gpu}.lock")) for gpu in GPUS)


def judge(host: Host, jobs: list[int], state: str) -> None:
    """What must hold once the killing is over: a job that lives is seen in `state` with its GPU, and can be stopped."""
    if any(lives(pid) for pid in jobs):
        assert held() == 1, "a job lives, and its GPU is free"
        alive = [run for run in host.runs() if run["state"] == state]
        assert len(alive) == 1, f"a job lives, and ps does not show it as {state}: {host.runs()}"
        assert len(alive[0]["tasks"][0]["gpus"]) == 1
        stopped = host.mgpu("stop", alive[0]["id"])
        assert stopped.returncode == 0, stopped.stderr
        assert not [pid for pid in jobs if lives(pid)], "stop came back, and the job lives"
    settled(host)


def settled(host: Host) -> None:
    """What must hold once nothing lives: every GPU is free within a second, and the next run gets them all."""
    eventually(lambda: held() == 0, "the GPU is free once nothing lives", within=1.0)
    assert not of_host(host)
    assert host.mgpu("run", host.task("true", "next", gpus=4)).returncode == 0


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_the_runner_killed_at_any_moment(host: Host, seed: int) -> None:
    pid = host.folder / "pid"
    runner = host.start("run", host.task("echo $$ > pid.new; mv pid.new pid; exec sleep 1000", gpus=1))
    pause(random.Random(seed), 0.6)
    kill(runner.pid)
    runner.communicate()
    eventually(lambda: pid.exists() or not of_host(host), "either the job came about, or nothing did")
    judge(host, pids_in(pid), "running")


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_the_keeper_killed_at_any_moment(host: Host, seed: int) -> None:
    pid = host.folder / "pid"
    runner = host.start("run", host.task("echo $$ > pid.new; mv pid.new pid; exec sleep 1000", gpus=1))
    (keeper,) = eventually(lambda: keepers(host), "the keeper is there")
    pause(random.Random(seed), 0.12)
    kill(keeper)
    runner.communicate(timeout=30)
    assert runner.returncode == 125
    eventually(lambda: pid.exists() or not of_host(host), "either the job came about, or nothing did")
    assert locked() == pid.exists(), "the job itself holds the lease, and nothing else does"
    judge(host, pids_in(pid), "unkept")


@pytest.mark.parametrize("seed", range(ROUNDS // 2))
def test_the_keeper_killed_while_it_stops(host: Host, seed: int) -> None:
    script = "trap '' TERM; echo $$ > pid.new; mv pid.new pid; while true; do sleep 0.05; done"
    host.mgpu("run", "--detach", host.task(script, gpus=1, stop_grace="200ms"))
    eventually((host.folder / "pid").exists, "the job runs")
    (keeper,) = keepers(host)
    stopper = host.start("stop", "job")
    pause(random.Random(seed), 0.5)
    if lives(keeper):
        kill(keeper)
    stopper.communicate(timeout=60)
    assert stopper.returncode == 0
    assert not any(map(lives, pids_in(host.folder / "pid"))), "stop came back, and the job lives"
    settled(host)


def agent(host: Host) -> tuple[int, list[int]]:
    """Start a run like torchrun: an agent whose workers have sessions of their own, and none of its descriptors."""
    (host.folder / "agent.py").write_text(AGENT)
    spec = host.spec(f"kind: task\ngpus: 1\nstop_grace: 1s\ncommand: [{sys.executable}, agent.py]\n")
    assert host.mgpu("run", "--detach", spec).returncode == 0
    first, *workers = eventually(lambda: pids_in(host.folder / "agent"), "the agent has its workers")
    return first, workers


def test_the_agent_alone_killed_takes_its_workers_with_it(host: Host) -> None:
    first, workers = agent(host)
    kill(first)
    eventually(lambda: not any(map(lives, workers)), "the keeper has ended the workers")
    eventually(lambda: held() == 0, "the GPU is free", within=1.0)
    assert [run["state"] for run in host.runs()] == ["failed"]
    settled(host)


def test_the_gpu_of_workers_without_agent_and_keeper_is_not_given_out(host: Host) -> None:
    first, workers = agent(host)
    (keeper,) = keepers(host)
    kill(keeper)
    kill(first)
    eventually(lambda: not lives(keeper) and not lives(first), "both are dead")
    assert all(map(lives, workers))
    refused = host.mgpu("run", host.task("true", "other", gpus=4))
    assert refused.returncode == 75
    assert "what is left of run job" in refused.stderr
    assert held() == 1
    judge(host, workers, "unkept")


def test_everything_killed_at_once_leaves_nothing_held(host: Host) -> None:
    agent(host)
    first = keepers(host)  # a keeper that is left for last would tell of the rest
    for pid in [*first, *of_host(host) - first]:
        kill(pid)
    eventually(lambda: held() == 0, "the GPU is free", within=1.0)
    assert [run["state"] for run in host.runs()] == ["lost"]
    settled(host)

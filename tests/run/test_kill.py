"""kill -9 at random moments of all that keeps a run, and of its job: a GPU is held while anything of its job lives, and
free one second after; no live job is lost from `ps`, and `stop` ends every one."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.end_to_end.host import eventually, kill, lives
from tests.require import require
from tests.run.scene import SOAK, Scene, Tally, judge, settled, told

TALLY = Tally()

WORKER = """
import os, time
with open("ran", "a") as ran:
    print(os.getpid(), file=ran)
time.sleep(1000)
"""

Victims = Callable[[Scene, int], set[int]]
"""The processes to kill, of this host and this runner; none while they are not there yet."""


def seeds(count: int) -> pytest.MarkDecorator:
    """A third of so many random moments in every run, and seven times as many in a soak: 300 in all."""
    return pytest.mark.parametrize("seed", range(count * 50 // 7 if SOAK else -(-count // 3)))


@pytest.fixture(scope="module", autouse=True)
def figures(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    told(request, "killed at random moments", TALLY.told())


def pause(chance: random.Random, longest: float) -> None:
    """Let a random time pass: which moment is hit is what these tests are about."""
    time.sleep(chance.random() * longest)


def kill_all(pids: set[int], chance: random.Random) -> None:
    """Kill these in a random order, and be sure that they are dead."""
    order = sorted(pids)
    chance.shuffle(order)
    for pid in order:
        with suppress(ProcessLookupError):
            kill(pid)
    eventually(lambda: not any(map(lives, pids)), "the killed are dead")


def killed_in(host: Scene, kind: str, seed: int, victims: Victims, longest: float) -> subprocess.CompletedProcess[str]:
    """Start a run, wait until its victims are there, kill them at a random moment after, and judge what is left."""
    chance = random.Random(f"{kind} {seed}")
    with TALLY(kind):
        runner = host.start("run", host.job())
        eventually(lambda: victims(host, runner.pid), "the victims are there")
        pause(chance, longest)
        kill_all(victims(host, runner.pid), chance)
        judge(host)
        assert host.ran() <= 1, "the job was run twice"
        said = runner.communicate(timeout=30)
    return subprocess.CompletedProcess(runner.args, runner.returncode, *said)


@seeds(4)
def test_the_runner_of_a_process(host: Scene, seed: int) -> None:
    killed_in(host, "runner of a process", seed, lambda host, runner: {runner}, 0.6)


@seeds(4)
def test_the_keeper_of_a_process(host: Scene, seed: int) -> None:
    done = killed_in(host, "keeper of a process", seed, lambda host, runner: host.keepers(), 0.2)
    assert done.returncode == 125, done.stderr


@seeds(3)
def test_the_runner_of_a_container(docked: Scene, seed: int) -> None:
    killed_in(docked, "runner of a container", seed, lambda host, runner: {runner}, 1.2)


@seeds(4)
def test_the_keeper_of_a_container(docked: Scene, seed: int) -> None:
    done = killed_in(docked, "keeper of a container", seed, lambda host, runner: host.keepers(), 1.2)
    assert done.returncode == 125, done.stderr


@seeds(6)
def test_what_stands_for_a_container(docked: Scene, seed: int) -> None:
    done = killed_in(docked, "stand-in", seed, lambda host, runner: host.standins(), 1.2)
    assert done.returncode == 130, done.stderr


@seeds(5)
def test_what_stands_for_a_container_and_the_keeper(docked: Scene, seed: int) -> None:
    def both(host: Scene, runner: int) -> set[int]:
        standins = host.standins()
        return standins | host.keepers() if standins else set()

    killed_in(docked, "stand-in and keeper", seed, both, 1.2)


@seeds(4)
def test_what_stands_for_a_container_the_keeper_and_the_runner(docked: Scene, seed: int) -> None:
    def line(host: Scene, runner: int) -> set[int]:
        standins = host.standins()
        return standins | host.keepers() | {runner} if standins else set()

    killed_in(docked, "stand-in, keeper and runner", seed, line, 1.2)


@seeds(3)
def test_the_keeper_killed_while_it_stops(host: Scene, seed: int) -> None:
    chance = random.Random(seed)
    with TALLY("keeper while it stops"):
        spec = host.job("trap '' TERM; echo >> ran; while true; do sleep 0.05; done", stop_grace="200ms")
        host.mgpu("run", "--detach", spec)
        eventually(host.ran, "the job runs")
        stopper = host.start("stop", "job")
        pause(chance, 0.5)
        kill_all(host.keepers(), chance)
        stopper.communicate(timeout=60)
        assert stopper.returncode == 0
        assert not host.alive(), "stop came back, and the job lives"
        settled(host)


def agent(host: Scene) -> tuple[int, set[int]]:
    """Start a run like torchrun: its agent, and the workers."""
    assert host.mgpu("run", "--detach", host.agent()).returncode == 0
    eventually(host.ran, "the agent has its workers")
    first, *workers = map(int, (host.folder / "agent").read_text().split())
    return first, set(workers)


def torchrun(host: Scene) -> tuple[int, set[int]]:
    """Start a run of the real torchrun: its agent, and the workers."""
    require("torch", importlib.util.find_spec("torch") is not None, "torchrun comes with it")
    (host.folder / "train.py").write_text(WORKER)
    spec = host.spec("kind: training\nengine: torchrun\nscript: train.py\ngpus: 2\nstop_grace: 1s\n")
    path = os.pathsep.join([os.path.dirname(sys.executable), host.env["PATH"]])
    started = host.mgpu("run", "--detach", spec, PATH=path)
    assert started.returncode == 0, started.stderr
    eventually(lambda: host.ran() == 2, "both workers work", within=60)
    (event,) = host.events("started")
    return int(event["pid"]), set(map(int, (host.folder / "ran").read_text().split()))


@seeds(3)
def test_the_agent_alone(host: Scene, seed: int) -> None:
    judge_agent(host, "agent", seed, agent)


@seeds(2)
def test_the_agent_of_torchrun_alone(host: Scene, seed: int) -> None:
    judge_agent(host, "torchrun's agent", seed, torchrun)


def judge_agent(host: Scene, kind: str, seed: int, start: Callable[[Scene], tuple[int, set[int]]]) -> None:
    """The agent alone killed takes its workers with it: the keeper ends them."""
    with TALLY(kind):
        first, workers = start(host)
        pause(random.Random(seed), 0.3)
        kill(first)
        eventually(lambda: not any(map(lives, workers)), "the keeper has ended the workers")
        settled(host)
        assert {run["name"]: run["state"] for run in host.runs()} == {"job": "failed", "next": "ended"}


@seeds(3)
def test_the_agent_and_the_keeper(host: Scene, seed: int) -> None:
    judge_workers(host, "agent and keeper", seed, agent)


@seeds(2)
def test_the_agent_of_torchrun_and_the_keeper(host: Scene, seed: int) -> None:
    judge_workers(host, "torchrun's agent and keeper", seed, torchrun)


def judge_workers(host: Scene, kind: str, seed: int, start: Callable[[Scene], tuple[int, set[int]]]) -> None:
    """Workers without agent and keeper hold no lock, and are not overlooked."""
    chance = random.Random(seed)
    with TALLY(kind):
        first, workers = start(host)
        pause(chance, 0.3)
        kill_all({first, *host.keepers()}, chance)
        if all(map(lives, workers)):
            refused = host.all_gpus("other")
            if all(map(lives, workers)):
                assert (refused.returncode, "what is left of run job" in refused.stderr) == (75, True), refused.stderr
        judge(host)


def test_everything_killed_at_once_leaves_nothing_held(host: Scene) -> None:
    agent(host)
    first = host.keepers()  # a keeper that is left for last would tell of the rest
    for pid in [*first, *host.of_host() - first]:
        kill(pid)
    eventually(lambda: host.held() == 0, "the GPUs are free", within=1.0)
    assert [run["state"] for run in host.runs()] == ["lost"]
    settled(host)

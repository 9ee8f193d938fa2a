"""Stop, and death, just while a run is handed over or gone on with: it ends as asked, and nothing is lost or left."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.end_to_end.host import eventually, kill, lives
from tests.fakes.docker import BUSYBOX
from tests.run.scene import Scene, settled

HALT = {"role": "runner", "act": "halt"}
LOCKED = {**HALT, "file": "machine/leases.py", "name": "take", "event": "return"}
TOLD = {**HALT, "file": "run/hatch.py", "name": "sent", "event": "call", "nth": 2}


def halted(host: Scene, point: dict[str, object], spec: Path | None = None) -> subprocess.Popen[str]:
    """A runner that stands still at this point."""
    runner = host.start("run", spec or host.job(), **host.armed(**point))
    eventually(host.hit, "the runner comes to its point")
    return runner


def asked(pid: int) -> bool:
    """Whether a SIGTERM waits for the process."""
    words = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(words["ShdPnd"], 16) & 1 << signal.SIGTERM - 1)


@pytest.mark.parametrize("boxed", [False, True])
def test_a_keeper_is_asked_to_stop_before_it_has_its_run(request: pytest.FixtureRequest, boxed: bool) -> None:
    host: Scene = request.getfixturevalue("docked" if boxed else "host")
    runner = halted(host, TOLD)
    (keeper,) = host.keepers()
    stopper = host.start("stop", "job")
    eventually(lambda: asked(keeper), "stop has asked")
    runner.send_signal(signal.SIGCONT)
    runner.communicate(timeout=30)
    stopper.communicate(timeout=30)
    assert (runner.returncode, stopper.returncode, host.ran()) == (130, 0, 0)
    settled(host)


def test_stop_waits_for_the_keeper_of_a_run_that_is_handed_over(host: Scene) -> None:
    runner = halted(host, LOCKED)
    stopper = host.start("stop", "job")
    with pytest.raises(subprocess.TimeoutExpired):
        stopper.communicate(timeout=1)
    runner.send_signal(signal.SIGCONT)
    runner.communicate(timeout=30)
    stopper.communicate(timeout=30)
    assert (runner.returncode, stopper.returncode) == (130, 0)
    settled(host)


def test_what_shall_stand_for_a_container_dies_before_it_is_told(docked: Scene) -> None:
    runner = halted(docked, TOLD, docked.job("echo >> ran; exit 7"))
    (standin,) = docked.standins()
    kill(standin)
    eventually(lambda: not lives(standin), "it is dead")
    runner.send_signal(signal.SIGCONT)
    runner.communicate(timeout=30)
    assert (runner.returncode, docked.ran()) == (7, 1)
    settled(docked)


def test_what_stands_for_a_container_dies_again_and_again(docked: Scene) -> None:
    point = {"role": "standin", "file": "run/box.py", "name": "followed", "event": "call", "times": 4}
    done = docked.mgpu("run", docked.job("echo >> ran; exit 7"), **docked.armed(**point))
    assert (done.returncode, docked.hit(), docked.ran()) == (7, 4, 1)
    settled(docked)


def test_two_containers_without_keeper_one_of_them_with_nothing_that_stands_for_it(docked: Scene) -> None:
    job = f'{{kind: task, gpus: 1, image: "{BUSYBOX}", command: [sh, -c, "echo >> ran; exec sleep 1000"]}}'
    docked.mgpu("run", "--detach", docked.spec(f"kind: pipeline\njobs:\n  a: {job}\n  b: {job}\n"))
    eventually(lambda: docked.ran() == 2, "both run")
    for pid in [*docked.keepers(), docked.standins().pop()]:
        kill(pid)
    eventually(lambda: (docked.keepers(), len(docked.standins())) == (set(), 1), "keeper and one of two are dead")
    began = time.monotonic()
    stopped = docked.mgpu("stop", "job")
    assert stopped.returncode == 0, stopped.stderr
    assert not docked.alive()
    assert time.monotonic() - began < 8, "both were asked, and not one killed at the end of its grace"
    settled(docked)


def test_who_reads_what_a_detached_run_says_is_not_kept_waiting(docked: Scene) -> None:
    done = docked.mgpu("run", "--detach", docked.job())
    assert done.returncode == 0
    eventually(docked.ran, "the container runs")
    assert docked.alive()
    assert docked.mgpu("stop", "job").returncode == 0
    settled(docked)

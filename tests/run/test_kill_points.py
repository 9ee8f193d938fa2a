"""kill -9 at named points of the runner, the keeper and what stands for a container; then nothing is lost, nor left."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.host import eventually
from tests.run.scene import JOB, SOAK, Scene, Tally, judge, settled, told

ROUNDS = 10 if SOAK else 1
TALLY = Tally()

Point = dict[str, str | int]

RUNNER: dict[str, Point] = {
    "before lock": {"file": "machine/leases.py", "name": "take", "event": "call"},
    "while the run's folder is made": {"file": "machine/kept.py", "name": "write", "event": "call"},
    "after lock": {"file": "machine/leases.py", "name": "take", "event": "return"},
    "while writing state": {"file": "machine/kept.py", "name": "write", "event": "c_call:rename", "nth": 2},
    "half handed over": {"file": "run/handover.py", "name": "send", "event": "c_return:sendall", "nth": 2},
    "after handing over": {"file": "run/executor.py", "name": "_taken", "event": "return"},
}
KEEPER: dict[str, Point] = {
    "before it takes over": {"file": "run/state.py", "name": "settle_in", "event": "call"},
    "before the first task": {"file": "run/supervisor.py", "name": "start", "event": "call"},
    "after the first task": {"file": "run/starting.py", "name": "start", "event": "return"},
    "while writing an event": {"file": "run/state.py", "name": "note", "event": "c_call:write"},
    "before ready": {"file": "run/supervisor.py", "name": "become_ready", "event": "call"},
    "after ready": {"file": "run/supervisor.py", "name": "become_ready", "event": "return"},
}
STANDIN: dict[str, Point] = {
    "before create": {"file": "run/box.py", "name": "made", "event": "call"},
    "while creating": {"file": "http/client.py", "name": "getresponse", "event": "call", "within": "made"},
    "after create": {"file": "run/box.py", "name": "made", "event": "return"},
    "before start": {"file": "run/box.py", "name": "begin", "event": "call"},
    "while starting": {"file": "http/client.py", "name": "getresponse", "event": "call", "within": "begin", "nth": 2},
    "after start": {"file": "run/box.py", "name": "begin", "event": "return"},
    "while following": {"file": "http/client.py", "name": "getresponse", "event": "return", "within": "listen"},
}
ENDING: dict[str, Point] = {
    "before remove": {"file": "run/sdk.py", "name": "removed", "event": "call"},
    "while removing": {"file": "http/client.py", "name": "getresponse", "event": "call", "within": "removed"},
    "after remove": {"file": "run/sdk.py", "name": "removed", "event": "return"},
}


def rounds(points: dict[str, Point]) -> pytest.MarkDecorator:
    """Every point, several times."""
    return pytest.mark.parametrize("point", [name for name in points for _ in range(ROUNDS)])


@pytest.fixture(scope="module", autouse=True)
def figures(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    told(request, "killed at named points", TALLY.told())


def run(host: Scene, role: str, point: Point, spec: Path | None = None, **more: object) -> subprocess.Popen[str]:
    """A run whose process of this role is killed at this point, which it was."""
    runner = host.start("run", spec or host.job(), **host.armed(role=role, **{**point, **more}))
    eventually(lambda: host.hit() or runner.poll() is not None, f"the {role} comes to its point")
    return runner


@rounds(RUNNER)
def test_the_runner_of_a_process(host: Scene, point: str) -> None:
    with TALLY(f"runner of a process, {point}"):
        killed = run(host, "runner", RUNNER[point])
        killed.communicate()
        assert (killed.returncode, host.hit()) == (-signal.SIGKILL, 1)
        judge(host)
        assert host.ran() == (point == "after handing over")
        assert host.mgpu("ps").stdout == ""


@rounds(RUNNER)
def test_the_runner_of_a_container(docked: Scene, point: str) -> None:
    with TALLY(f"runner of a container, {point}"):
        killed = run(docked, "runner", RUNNER[point])
        killed.communicate()
        assert (killed.returncode, docked.hit()) == (-signal.SIGKILL, 1)
        judge(docked)
        assert docked.ran() == (point == "after handing over")
        assert docked.mgpu("ps").stdout == ""


@rounds(KEEPER)
def test_the_keeper_of_a_process(host: Scene, point: str) -> None:
    with TALLY(f"keeper of a process, {point}"):
        runner = run(host, "keeper", KEEPER[point])
        _, said = runner.communicate(timeout=30)
        assert (runner.returncode, host.hit()) == (125, 1), said
        judge(host)
        assert host.ran() == (point not in ("before it takes over", "before the first task"))


@rounds(KEEPER)
def test_the_keeper_of_a_container(docked: Scene, point: str) -> None:
    with TALLY(f"keeper of a container, {point}"):
        runner = run(docked, "keeper", KEEPER[point])
        _, said = runner.communicate(timeout=30)
        assert (runner.returncode, docked.hit()) == (125, 1), said
        judge(docked)
        assert docked.ran() == (point not in ("before it takes over", "before the first task"))


@pytest.mark.parametrize("event", ["call", "return"])
@pytest.mark.parametrize("boxed", [False, True])
def test_the_keeper_while_it_stops(request: pytest.FixtureRequest, boxed: bool, event: str) -> None:
    host: Scene = request.getfixturevalue("docked" if boxed else "host")
    with TALLY(f"keeper of a {'container' if boxed else 'process'}, {event} of stop"):
        spec = host.job("trap '' TERM; echo >> ran; while true; do sleep 0.05; done", stop_grace="300ms")
        point: Point = {"role": "keeper", "file": "run/supervisor.py", "name": "stop", "event": event}
        runner = host.start("run", "--detach", spec, **host.armed(**point))
        runner.communicate(timeout=30)
        eventually(host.ran, "the job runs")
        stopped = host.mgpu("stop", "job")
        assert (stopped.returncode, host.hit()) == (0, 1), stopped.stderr
        assert not host.alive()
        settled(host)


@rounds(STANDIN)
def test_what_stands_for_a_container(docked: Scene, point: str) -> None:
    with TALLY(f"stand-in, {point}"):
        runner = run(docked, "standin", STANDIN[point])
        eventually(docked.ran, "the container runs, for it is gone on with", within=10)
        assert docked.hit() == 1
        eventually(lambda: len(docked.standins()) == 1, "one process stands for it")
        judge(docked)
        assert docked.ran() == 1
        runner.communicate(timeout=30)
        assert runner.returncode == 130


@rounds(ENDING)
def test_what_stands_for_a_container_that_has_ended(docked: Scene, point: str) -> None:
    with TALLY(f"stand-in, {point}"):
        runner = run(docked, "standin", ENDING[point], docked.job("echo >> ran; echo once; exit 7"))
        said = runner.communicate(timeout=30)
        assert (runner.returncode, said[0], docked.ran()) == (7, "once\n", 1), said
        assert docked.hit() == 1
        settled(docked)


@rounds({**STANDIN, **ENDING})
def test_what_stands_for_a_container_with_its_keeper(docked: Scene, point: str) -> None:
    with TALLY(f"stand-in and keeper, {point}"):
        spec = docked.job() if point in STANDIN else docked.job("echo >> ran; exit 7")
        runner = run(docked, "standin", {**STANDIN, **ENDING}[point], spec, act="kill parent")
        runner.communicate(timeout=30)
        assert (runner.returncode, docked.hit()) == (125, 1)
        judge_orphan(docked, point)


@rounds(STANDIN)
def test_what_stands_for_a_container_with_keeper_and_runner(docked: Scene, point: str) -> None:
    with TALLY(f"stand-in, keeper and runner, {point}"):
        run(docked, "standin", STANDIN[point], act="kill line").communicate(timeout=30)
        assert docked.hit() == 1
        judge_orphan(docked, point)


def judge_orphan(docked: Scene, point: str) -> None:
    """Nobody goes on with it: the engine does what it was asked, and no more."""
    if point in ("while starting", "after start", "while following"):
        eventually(docked.ran, "the container runs")
    elif point in ("while creating", "after create", "before start"):
        eventually(docked.boxes, "the container is made")
        assert not docked.alive()
        assert docked.ran() == 0
    judge(docked)


CRASHES = "echo >> ran; exit 3"
SHARE: dict[str, object] = {"gpus": {"share": "20GiB"}}
LATE: dict[str, tuple[Point, str, dict[str, object]]] = {
    "in a back-off": (
        {"file": "run/task.py", "name": "rest", "event": "return"}, CRASHES, {"restart": "on-failure"}
    ),
    "while it proves the end": ({"file": "run/witness.py", "name": "prove", "event": "call"}, CRASHES, {}),
    "once the end is proven": ({"file": "run/witness.py", "name": "prove", "event": "return"}, CRASHES, {}),
    "with the gate of a shared GPU": ({"file": "run/gates.py", "name": "open", "event": "return"}, JOB, SHARE),
    "before the gate is left": ({"file": "run/gates.py", "name": "leave", "event": "call"}, JOB, SHARE),
    "while it cuts a log": (
        {"file": "run/logcut.py", "name": "punch", "event": "call"}, f"head -c 3000000 /dev/zero; {JOB}", {}
    ),
    "once it has cut a log": (
        {"file": "run/logcut.py", "name": "punch", "event": "return"}, f"head -c 3000000 /dev/zero; {JOB}", {}
    ),
}  # fmt: skip
SELDOM = ("once the end is proven", "before the gate is left", "once it has cut a log")
"""Those that are tried in a soak alone."""
WAITER: dict[str, Point] = {
    "while it joins the queue": {"file": "machine/tickets.py", "name": "join", "event": "c_call:rename"},
    "in the queue": {"file": "machine/tickets.py", "name": "join", "event": "return"},
    "with its leases, in the queue": {"file": "machine/leases.py", "name": "take", "event": "return"},
    "with its leases, out of it": {"file": "machine/tickets.py", "name": "leave", "event": "return"},
}


@rounds({name: point for name, (point, _, _) in LATE.items() if SOAK or name not in SELDOM})
def test_the_keeper_of_a_run_under_way(host: Scene, point: str) -> None:
    where, script, keys = LATE[point]
    with TALLY(f"keeper, {point}"):
        spec = host.job(script, **keys)
        runner = host.start("run", spec, **host.armed(role="keeper", **where), MGPU_LOG_BYTES="131072")
        runner.communicate(timeout=30)
        assert (runner.returncode, host.hit()) == (125, 1)
        if keys is SHARE:
            judge_share(host)
        else:
            judge(host)
        assert host.ran() == (point != "with the gate of a shared GPU")


def judge_share(host: Scene) -> None:
    """Nobody waits for the gate of somebody dead; what is left of the first is still there beside the next."""
    beside = host.mgpu("run", host.job("true", "beside", **SHARE))
    assert beside.returncode == 0, beside.stderr
    if host.alive():
        assert host.mgpu("stop", "job").returncode == 0
    settled(host)


@rounds(WAITER if SOAK else {name: WAITER[name] for name in ("with its leases, in the queue",)})
def test_a_runner_that_waits_in_the_queue(host: Scene, point: str) -> None:
    with TALLY(f"runner with --wait, {point}"):
        runner = host.start("run", "--wait", host.job(), **host.armed(role="runner", **WAITER[point]))
        runner.communicate(timeout=30)
        assert (runner.returncode, host.hit()) == (-signal.SIGKILL, 1)
        assert host.all_gpus("other").returncode == 0, "nobody waits for somebody dead"
        settled(host)
        assert host.ran() == 0


SECOND: dict[str, Point] = {
    "before create": {"file": "run/box.py", "name": "made", "event": "call"},
    "after create": {"file": "run/box.py", "name": "made", "event": "return"},
    "after start": {"file": "run/box.py", "name": "begin", "event": "return"},
}


@rounds(SECOND if SOAK else {"after create": SECOND["after create"]})
@pytest.mark.parametrize("victims", ["kill", "kill parent"] if SOAK else ["kill"])
def test_what_stands_for_a_container_that_was_started_anew(docked: Scene, point: str, victims: str) -> None:
    with TALLY(f"stand-in of a second life, {point}, {victims}"):
        spec = docked.job("echo >> ran; test $(wc -l < ran) = 2 || exit 3; exec sleep 1000", restart="on-failure")
        runner = docked.start("run", spec, **docked.armed(role="standin", life=1, act=victims, **SECOND[point]))
        eventually(docked.hit, "it comes to its point")
        if victims == "kill":
            eventually(lambda: docked.ran() == 2, "the container of the second life is gone on with")
            assert len(docked.events("restarting")) == 1
            judge(docked)
        else:
            runner.communicate(timeout=30)
            judge(docked)
        runner.communicate(timeout=30)
        assert docked.ran() == 1 + (victims == "kill" or point == "after start")


@pytest.mark.parametrize("event", ["call", "return"] if SOAK else ["return"])
def test_the_keeper_of_containers_in_a_back_off(docked: Scene, event: str) -> None:
    with TALLY(f"keeper of a container, {event} of its back-off"):
        point: Point = {"role": "keeper", "file": "run/task.py", "name": "rest", "event": event}
        runner = docked.start("run", docked.job(CRASHES, restart="on-failure"), **docked.armed(**point))
        runner.communicate(timeout=30)
        assert (runner.returncode, docked.hit()) == (125, 1)
        judge(docked)
        assert docked.ran() == 1

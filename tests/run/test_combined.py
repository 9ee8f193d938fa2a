"""What only several parts together show: shares that wait, restarts on a full disk, ends that nobody kept."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mgpu.run import runs, state
from tests.end_to_end.host import eventually
from tests.fakes.nvml import LOST, FakeGpu
from tests.require import host_pids, require
from tests.run.scene import Scene, judge, kill, scene
from tests.run.test_queue import ended, queued, waits

GIB = 2**30


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A host with one GPU."""
    with scene(tmp_path, monkeypatch, gpus=1) as made:
        yield made


def share(host: Scene, name: str, size: str, script: str = "exec sleep 1000", **keys: object) -> Path:
    return host.task(script, name, gpus={"share": size}, **keys)


def shares(host: Scene, *sizes: str) -> None:
    """Runs a, b, c and so on, each with its share."""
    for name, size in zip("abc", sizes, strict=False):
        done = host.mgpu("run", "--detach", share(host, name, size))
        assert done.returncode == 0, done.stderr


def test_a_share_that_waits_gets_what_one_of_several_has_left(small: Scene) -> None:
    shares(small, "40GiB", "30GiB")
    waiter = waits(small, share(small, "later", "20GiB", "true"))
    assert small.mgpu("stop", "b").returncode == 0
    ended(waiter)
    assert [run["name"] for run in small.runs() if run["state"] == "running"] == ["a"]


def test_who_wants_a_whole_gpu_is_not_passed_by_shares_but_by_priority(small: Scene) -> None:
    shares(small, "40GiB")
    whole = waits(small, small.task("true", "whole", gpus=1), why="for GPU 0, held by run a of ")
    refused = small.mgpu("run", share(small, "late", "10GiB", "true"))
    assert (refused.returncode, "GPU 0 is free, and run whole of " in refused.stderr) == (75, True), refused.stderr
    queued = waits(small, share(small, "late", "10GiB", "true"), why="behind run whole of ")
    first = small.mgpu("run", "--wait", "--priority", 1, share(small, "first", "10GiB", "true"))
    assert first.returncode == 0, first.stderr
    assert small.mgpu("stop", "a").returncode == 0
    ended(whole)
    ended(queued)


def test_a_share_that_joins_one_without_a_keeper(small: Scene) -> None:
    shares(small, "40GiB")
    for pid in small.keepers():
        kill(pid)
    done = small.mgpu("run", "--detach", share(small, "b", "30GiB"))
    assert done.returncode == 0, done.stderr
    waiter = waits(small, share(small, "c", "20GiB", "true"))
    assert small.mgpu("stop", "a").returncode == 0
    ended(waiter)
    assert [run["name"] for run in small.runs() if run["state"] == "running"] == ["b"]
    assert small.mgpu("stop", "b").returncode == 0
    assert small.held() == 0


FILLED = "until [ -e go ]; do sleep 0.01; done; exit 3"
SOON = {"event": "call", "act": "set mgpu.run.proof WITHIN 0.1"}
STUCK = {"role": "keeper", "file": "witness.py", "name": "prove", **SOON}
HASTE = {"role": "runner", "file": "stopping.py", "name": "_freed", **SOON}
GPU_1: dict[str, object] = {"gpus": {"ids": ["1"]}}


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def stuck(host: Scene, pid: int | None) -> None:
    """A run that has ended and is stuck, and whose keeper has been killed; `pid` holds its GPU 1, or nobody seen."""
    runner = host.start("run", host.job(FILLED, **GPU_1), **host.armed(**STUCK))
    eventually(lambda: host.events("ready"), "the job runs")
    seen = ((pid, 3 * GIB),) if pid else ()
    host.stub.write([FakeGpu(), FakeGpu(used=3 * GIB, processes=seen), FakeGpu(), FakeGpu()])
    (host.folder / "go").touch()
    eventually(lambda: host.events("stuck"), "it is stuck")
    runner.communicate(timeout=30)
    for keeper in host.keepers():
        kill(keeper)
    eventually(lambda: not host.keepers(), "its keeper is gone")
    assert [run["state"] for run in host.runs()] == ["stuck"]
    (host.hits / "0").unlink()


def test_reaping_where_there_is_no_keeper(host: Scene, stranger: subprocess.Popen[bytes]) -> None:
    host_pids()
    stuck(host, stranger.pid)
    said = host.mgpu("stop", "job", **host.armed(**HASTE))
    assert (said.returncode, f"sleep (pid {stranger.pid} of " in said.stderr) == (125, True), said.stderr
    (host.hits / "0").unlink()
    reaping = host.start("stop", "--reap", "job", **host.armed(**HASTE))
    assert stranger.wait(timeout=10) == -15
    host.stub.write([FakeGpu()] * 4)
    _, error = reaping.communicate(timeout=30)
    assert reaping.returncode == 0, error
    assert [run["state"] for run in host.runs()] == ["stopped"]


def test_what_another_run_has_taken_since_is_not_held_by_one_without_a_keeper(host: Scene) -> None:
    stuck(host, None)
    host.stub.write([FakeGpu()] * 4)
    assert host.mgpu("run", "--detach", host.job("exec sleep 1000", "next", **GPU_1)).returncode == 0
    host.stub.write([FakeGpu(), FakeGpu(used=3 * GIB), FakeGpu(), FakeGpu()])  # its processes are not shown
    said = host.mgpu("stop", "job", **host.armed(**HASTE))
    assert said.returncode == 0, said.stderr
    assert {run["name"]: run["state"] for run in host.runs()} == {"job": "stopped", "next": "running"}


def test_a_waiter_whose_port_a_stranger_has_bound_stays_in_the_queue(host: Scene) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # nobody listens, so the machine does not show it
        spec = host.spec(
            "kind: inference\nengine: custom\nruntime: process\ngpus: 1\ncommand: [sleep, '1000']\n"
            f"port: {bound.getsockname()[1]}\n"
        )
        point = {"role": "runner", "file": "run/preflight.py", "name": "ports", "event": "call", "nth": 2}
        runner = host.start("run", "--wait", spec, **host.armed(**point, act="halt"))
        eventually(host.hit, "it tries for the second time")
        names = [waiter.name for waiter in queued(host)]
        runner.kill()
        runner.communicate(timeout=30)
        assert names == ["job"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place]
    require("mount", not subprocess.run(mount, capture_output=True, check=False).returncode, "no disk can be mounted")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path) -> None:
    """Leave no byte."""
    with suppress(OSError), open(disk / "fill", "ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    with suppress(OSError), open(disk / "fill", "ab", buffering=0) as file:
        while True:
            file.write(b"x")


def test_a_disk_that_is_full_during_a_restart(host: Scene, disk: Path) -> None:
    env = {"MGPU_STATE_DIR": str(disk / "state")}
    script = "echo >> ran; head -c 9000 /dev/zero; until [ -e go-$(wc -l < ran) ]; do sleep 0.01; done; exit 3"
    runner = host.start("run", host.job(script, restart={"policy": "on-failure", "max": 2}), **env)
    eventually(lambda: host.ran() == 1, "its first life")
    fill(disk)
    (host.folder / "go-1").touch()
    eventually(lambda: host.ran() == 2, "it is started anew on a full disk")
    (disk / "fill").unlink()
    (host.folder / "go-2").touch()
    eventually(lambda: host.ran() == 3, "and again")
    fill(disk)
    assert host.locked() == 2
    stopped = host.mgpu("stop", "job", **env)
    assert stopped.returncode == 0, stopped.stderr
    assert host.held() == 0
    assert host.ran() == 3
    (disk / "fill").unlink()
    runner.communicate(timeout=30)
    assert runner.returncode == 130
    host.env |= env
    assert host.of_host() == set()


def test_events_after_a_line_that_a_full_disk_cut_off_are_read(tmp_path: Path) -> None:
    state.note(str(tmp_path), "started", "job", pid=7)
    with open(tmp_path / "events.jsonl", "ab") as file:
        file.write(b'{"time": 1.5, "task": "job", "wh')
    state.note(str(tmp_path), "over", code=0, by=None)
    assert [event["what"] for event in state.events(str(tmp_path))] == ["started", "over"]


def test_a_run_whose_keeper_no_event_names_is_stopped_and_not_started_anew(host: Scene) -> None:
    runner = host.start("run", host.job("echo >> ran; exec sleep 1000", restart={"policy": "always", "max": 9}))
    eventually(host.ran, "the job runs")
    (run,) = runs.found()
    file = Path(run.folder) / "events.jsonl"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if '"kept"' not in line))
    stopped = host.mgpu("stop", "job")
    assert stopped.returncode == 0, stopped.stderr
    runner.communicate(timeout=30)
    assert (runner.returncode, host.ran()) == (130, 1)


def test_a_flood_of_logs_during_a_restart_with_a_log_probe(host: Scene) -> None:
    flood = "head -c 1000000 /dev/urandom | od -v"
    script = f"echo >> ran; {flood}; if [ $(wc -l < ran) = 1 ]; then echo the first is up; exit 3; fi; {flood}; "
    script += "echo the second is up; exec sleep 1000"
    spec = host.spec(f"""
kind: inference
engine: custom
gpus: 1
command: [sh, -c, {json.dumps(script)}]
ready: {{log: "^the second is up"}}
restart: {{policy: on-failure, max: 2}}
""")
    runner = host.start("run", "--detach", spec, MGPU_LOG_BYTES="131072")
    runner.communicate(timeout=30)
    eventually(lambda: host.events("ready"), "the second is ready", within=60)
    assert host.ran() == 2
    (run,) = runs.found()
    log = Path(state.log(run.folder, "job"))
    assert log.stat().st_size > 6e6
    eventually(lambda: log.stat().st_blocks * 512 < 1_000_000, "what is between has been cut")
    assert host.mgpu("stop", "job").returncode == 0


def test_a_job_whose_gpu_is_lost_is_started_anew_as_its_policy_says_and_ends(host: Scene) -> None:
    script = "echo >> ran; until [ -e go ]; do sleep 0.01; done; exit 3"
    runner = host.start("run", host.job(script, restart={"policy": "on-failure", "max": 1}, **GPU_1))
    eventually(host.ran, "the job runs")
    host.stub.write([FakeGpu(), FakeGpu(handle=LOST), FakeGpu(), FakeGpu()])
    (host.folder / "go").touch()
    _, error = runner.communicate(timeout=40)
    assert (runner.returncode, host.ran()) == (3, 2), error
    assert "Traceback" not in error
    assert host.held() == 0


SERVER = """
    kind: inference
    engine: custom
    command: [sh, -c, "echo up; exec sleep 1000"]
    gpus: 1
    max_idle: 500ms
    ready: {log: "^up"}
"""
PARTS = f"""
kind: pipeline
name: job
jobs:
  server: {SERVER}
  other: {SERVER}
  first: {{kind: task, command: [sh, -c, "echo >> ran; sleep 1; test $(wc -l < ran) = 2"], restart: on-failure}}
  second: {{kind: task, command: [sh, -c, "echo >> second"], needs: {{first: done, server: ready}}}}
"""


def test_a_server_is_there_for_who_comes_after_a_restart_and_another_may_be_idle(host: Scene) -> None:
    done = host.mgpu("run", host.spec(PARTS))
    assert done.returncode == 0, done.stderr
    assert (host.folder / "second").read_text() == "\n"
    assert [event["task"] for event in host.events("idle")] == ["other"]
    assert host.held() == 0


def test_a_pipeline_whose_keeper_dies_in_a_back_off(host: Scene) -> None:
    """One job rests, the other lives, and holds the GPUs of both."""
    spec = host.spec("""
kind: pipeline
name: job
jobs:
  one: {kind: task, command: [sh, -c, "echo >> ran; exit 3"], gpus: 1, restart: on-failure}
  two: {kind: task, command: [sleep, "1000"], gpus: 1}
""")
    point = {"role": "keeper", "file": "run/task.py", "name": "rest", "event": "return"}
    host.start("run", "--detach", spec, **host.armed(**point)).communicate(timeout=30)
    eventually(host.hit, "it rests")
    judge(host)


def test_a_clock_that_was_set_back_makes_no_back_off_longer(host: Scene) -> None:
    runner = host.start("run", host.job("exit 3", restart={"policy": "on-failure", "max": 9}))
    eventually(lambda: len(host.events("restarting")) == 2, "2 s until the next life")
    (run,) = runs.found()
    file = Path(run.folder) / "events.jsonl"
    last = json.loads(file.read_text().splitlines()[-1])
    with open(file, "a", encoding="utf-8") as events:
        events.write(json.dumps({**last, "time": last["time"] + 3600}) + "\n")
    (task,) = next(run["tasks"] for run in host.runs() if run["name"] == "job")
    assert "restarting in 36" not in task["state"]
    assert host.mgpu("stop", "--now", "job").returncode == 0
    runner.communicate(timeout=30)

"""What hosts and people do to runs at the worst moment: nothing is lost, nothing left, nothing called a success."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.host import Host, eventually, kill, lives


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def pid_in(file: Path) -> int:
    return int(eventually(lambda: file.exists() and file.read_text().strip(), f"{file.name} is written"))


def test_a_failure_stays_one_though_what_it_left_had_to_be_killed(host: Host) -> None:
    spec = host.task("(trap '' TERM; while true; do sleep 0.1; done) & exit 3", stop_grace="300ms")
    assert host.mgpu("run", spec).returncode == 3


def test_an_agent_killed_beside_a_deaf_worker(host: Host) -> None:
    worker = "setsid sh -c 'trap \"\" TERM; echo $$ > worker; while true; do sleep 0.1; done' & echo $$ > agent; wait"
    runner = host.start("run", host.task(worker, stop_grace="300ms"))
    left = pid_in(host.folder / "worker")
    kill(pid_in(host.folder / "agent"))
    runner.communicate(timeout=30)
    assert (runner.returncode, lives(left)) == (137, False)


def test_an_orphan_without_marks_does_not_outlive_its_run(host: Host) -> None:
    spec = host.spec("""
kind: pipeline
jobs:
  a: {kind: task, gpus: 1, command: [sh, -c, "setsid env -i sleep 100 & echo $! > pid; exit 3"]}
  b: {kind: task, command: ['true'], needs: {a: done}}
""")
    assert host.mgpu("run", spec).returncode == 3
    assert not lives(pid_in(host.folder / "pid"))
    assert host.free() == 4


@pytest.mark.parametrize("_", range(5))
def test_an_interrupt_right_after_the_start_is_not_lost(host: Host, _: int) -> None:
    runner = host.start("run", host.task("exec sleep 60"))
    assert runner.stderr
    runner.stderr.readline()
    runner.send_signal(signal.SIGINT)
    runner.communicate(timeout=30)
    assert runner.returncode == 130


def test_stop_now_leaves_no_grace(host: Host) -> None:
    spec = host.task("trap '' TERM; echo $$ > pid; while true; do sleep 0.1; done", stop_grace="10m")
    host.mgpu("run", "--detach", spec)
    pid = pid_in(host.folder / "pid")
    assert host.mgpu("stop", "--now", "job").returncode == 0
    assert not lives(pid)


def test_what_is_left_is_asked_before_it_is_killed(host: Host) -> None:
    """A worker in a session of its own gets the chance to write its checkpoint."""
    worker = "setsid sh -c 'trap \"echo saved > saved; exit\" TERM; echo $$ > worker; while true; do sleep 0.05; done'"
    host.mgpu("run", "--detach", host.task(f"{worker} & exec sleep 100", stop_grace="20s"))
    pid_in(host.folder / "worker")
    host.mgpu("stop", "job")
    assert (host.folder / "saved").exists()


@pytest.mark.parametrize("data", [
    {"format": "2"},
    {"format": 1, "commands": None},
    {"format": 1, "commands": [{}]},
    {"format": 1, "commands": [], "created": "yesterday"},
    ["no", "mapping"],
])  # fmt: skip
def test_one_broken_run_does_not_hide_the_others(host: Host, data: Any) -> None:
    host.mgpu("run", host.task("true", "good"))
    broken = host.state / "runs" / "broken-1"
    broken.mkdir()
    (broken / "run.json").write_text(json.dumps(data))
    listed = host.mgpu("ps", "--all")
    assert (listed.returncode, "good" in listed.stdout, "Traceback" in listed.stderr) == (0, True, False)
    assert host.mgpu("run", host.task("true", "next")).returncode == 0


def test_logs_follow_a_run_that_has_lost_its_keeper(host: Host) -> None:
    host.mgpu("run", "--detach", host.task("echo $$ > pid; while [ ! -e go ]; do sleep 0.05; done; echo last words"))
    pid = pid_in(host.folder / "pid")
    kill(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]))
    follower = host.start("logs", "-f", "job")
    (host.folder / "go").touch()
    assert follower.communicate(timeout=30)[0] == "last words\n"

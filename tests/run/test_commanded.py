"""A command shows readiness: run where the job runs, again and again, and killed with its children if it hangs."""

from __future__ import annotations

import json
import os
from pathlib import Path

from mgpu.machine import locks
from mgpu.run.gates import Gates, crowded
from mgpu.run.task import Task
from tests.end_to_end.host import eventually, lives
from tests.fakes.docker import BUSYBOX
from tests.run.scene import Scene


def spec(host: Scene, probe: str, command: str = "sleep 100", within: str = "30s", more: str = "") -> Path:
    return host.spec(
        f"kind: inference\nengine: custom\ngpus: 0\ncommand: [sh, -c, {json.dumps(command)}]\nenv: {{WORD: hello}}\n"
        f"ready: {{command: [sh, -c, {json.dumps(probe)}], within: {within}}}\n{more}"
    )


def test_it_has_the_environment_and_the_folder_of_the_job(host: Scene) -> None:
    runner = host.start("run", spec(host, 'test -e go && test "$WORD" = hello'))
    eventually(lambda: host.events("started"), "it is started")
    assert host.events("ready") == []
    (host.folder / "go").touch()
    eventually(lambda: host.events("ready"), "the command has ended with 0")
    host.mgpu("stop", "job")
    runner.communicate(timeout=30)
    assert runner.returncode == 130


def test_why_it_is_not_ready(host: Scene) -> None:
    done = host.mgpu("run", spec(host, "exit 7", within="0.5"))
    assert done.returncode == 125
    assert "was not ready within 0.5 s (sh -c 'exit 7' ended with 7)" in done.stderr


def test_one_that_hangs_is_killed_with_its_children_and_holds_up_nothing(host: Scene) -> None:
    hangs = "sleep 1000 & setsid sleep 1000 & echo $! > pid; wait"
    runner = host.start("run", spec(host, f"test -e go || {{ {hangs}; }}"))
    pid = int(eventually(lambda: (host.folder / "pid").exists() and (host.folder / "pid").read_text(), "it was asked"))
    (host.folder / "go").touch()
    eventually(lambda: host.events("ready"), "it is asked anew")
    assert not lives(pid)
    host.mgpu("stop", "job")
    runner.communicate(timeout=30)
    assert host.of_host() == set()


def test_it_goes_with_a_job_that_ends(host: Scene) -> None:
    done = host.mgpu("run", spec(host, "exec sleep 1000", command="sleep 0.3; exit 5"))
    assert done.returncode == 5
    assert host.events("leftover") == []
    assert host.of_host() == set()


def test_inside_a_container(docked: Scene) -> None:
    runner = docked.start(
        "run",
        spec(
            docked,
            'test -e /tmp/up && test "$WORD" = hello',
            command="sleep 1; touch /tmp/up; sleep 100",
            more=f"image: {BUSYBOX}\n",
        ),
    )
    eventually(lambda: docked.events("ready"), "the command has ended with 0 in there")
    docked.mgpu("stop", "job")
    runner.communicate(timeout=30)
    assert runner.returncode == 130


def task(name: str, *gpus: str, share: int | None = 2**30) -> Task:
    return Task({"task": name, "container": None, "gpus": list(gpus), "share": share, "timeout": None})


def test_of_those_on_one_gpu_one_starts_at_a_time() -> None:
    one, two, three = task("one", "a", "b"), task("two", "b"), task("three", "c")
    tasks = (one, two, three)
    one.pid = 1
    assert [crowded(each, tasks) for each in tasks] == [False, True, False]
    one.ready = True
    assert not crowded(two, tasks)
    one.anew()
    two.pid = 2
    assert crowded(one, tasks)
    two.gone = True
    assert not crowded(one, tasks)


def test_between_runs_the_gate_of_a_gpu_is_passed_by_one(tmp_path: Path) -> None:
    mine, theirs = Gates({"MGPU_LOCK_DIR": str(tmp_path)}), Gates({"MGPU_LOCK_DIR": str(tmp_path)})
    first, second, alone = task("first", "a", "b"), task("second", "b", "c"), task("alone", "b", share=None)
    assert mine.open(first)
    assert not theirs.open(second)
    assert not locks.held(os.path.join(tmp_path, "gpu-c.starting")), "all of them, or none"
    assert theirs.open(alone), "a lease keeps all others off"
    mine.leave(first)
    assert theirs.open(second)
    assert not mine.open(first)

"""Runs that share a GPU: beside each other as far as their shares go, never beside a run that has the GPU alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.host import Host, eventually, kill, lives
from tests.fakes.docker import BUSYBOX, Engine
from tests.fakes.nvml import MIB, FakeGpu

GIB = 2**30
STAY = "echo $$ > $0.pid; exec sleep 100"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path, gpus=1)
    yield made
    made.mgpu("stop", "--all")


def started(host: Host, name: str, share: str, **keys: object) -> tuple[int, str]:
    """The exit code of a detached run with a share, and what it said."""
    script = f"echo $$ > {name}.pid; exec sleep 100"
    done = host.mgpu("run", "--detach", host.task(script, name, gpus={"share": share}, **keys))
    return done.returncode, done.stderr


def pid(host: Host, name: str) -> int:
    file = host.folder / f"{name}.pid"
    return int(eventually(lambda: file.exists() and file.read_text().strip(), "the job says who it is"))


def test_two_runs_share_a_gpu_and_a_third_is_refused_in_words(host: Host) -> None:
    assert started(host, "a", "40GiB")[0] == started(host, "b", "30GiB")[0] == 0
    code, words = started(host, "c", "20GiB")
    assert code == 75
    assert "c needs 20.0 GiB of a GPU and can have none, of 1" in words
    assert "GPU 0 has 9.2 of 79.2 GiB left beside run a of " in words
    assert "(40.0 GiB) and run b of " in words
    whole = host.mgpu("run", host.task("true", "whole", gpus=1))
    assert (whole.returncode, "GPU 0 is shared by run a" in whole.stderr) == (75, True)
    assert "40.0 GiB of 0" in host.mgpu("ps").stdout
    (gpu,) = json.loads(host.mgpu("machine", "--json").stdout)["gpus"]
    assert [(held["bytes"], held["start"]) for held in gpu["shared"]] == [(40 * GIB, 0), (30 * GIB, 40 * GIB)]
    assert host.mgpu("stop", "a").returncode == 0
    assert started(host, "c", "20GiB")[0] == 0


def test_a_run_that_has_the_gpu_alone_lets_no_share_in(host: Host) -> None:
    assert host.mgpu("run", "--detach", host.task(STAY, "whole", gpus=1)).returncode == 0
    code, words = started(host, "a", "1GiB")
    assert (code, "GPU 0 is held by run whole" in words) == (75, True)


def test_a_process_of_a_sharing_run_is_no_stranger_and_does_not_count_twice(host: Host) -> None:
    started(host, "a", "40GiB")
    host.stub.write([FakeGpu(used=39 * 1024 * MIB, processes=((pid(host, "a"), 38 * GIB),))])
    code, words = started(host, "b", "39GiB")
    assert (code, "has 38.2 of 79.2 GiB left" in words) == (75, True), words  # a desktop has one
    assert started(host, "b", "38GiB")[0] == 0


def test_what_a_killed_keeper_leaves_keeps_everybody_off(host: Host) -> None:
    started(host, "a", "40GiB")
    job = pid(host, "a")
    (run,) = host.runs()
    events = [json.loads(line) for line in (Path(run["folder"]) / "events.jsonl").read_text().splitlines()]
    kill(next(event["pid"] for event in events if event["what"] == "kept"))
    assert lives(job)
    assert started(host, "b", "20GiB")[0] == 0, "the job itself holds the lease of its share still"
    assert host.mgpu("run", host.task("true", "whole", gpus=1)).returncode == 75


def test_without_the_lock_files_a_share_is_still_told_by_its_marks(host: Host) -> None:
    started(host, "a", "40GiB")
    shutil.rmtree(host.folder / "locks")
    for gpus in (1, {"share": "20GiB"}):
        refused = host.mgpu("run", host.task("true", "other", gpus=gpus))
        assert (refused.returncode, "processes of run a-" in refused.stderr) == (75, True), refused.stderr
    assert host.mgpu("stop", "a").returncode == 0
    assert host.mgpu("run", host.task("true", "other", gpus=1)).returncode == 0


PIPELINE = """
kind: pipeline
name: both
jobs:
  llm:   {{kind: task, command: [sleep, "100"], gpus: {{share: 40GiB}}{image}}}
  image: {{kind: task, command: [sleep, "100"], gpus: {{share: 30GiB}}, needs: {{llm: started}}{image}}}
"""


def shared(host: Host) -> list[int]:
    """The bytes of the shares of the first GPU."""
    gpu = json.loads(host.mgpu("machine", "--json").stdout)["gpus"][0]
    return [held["bytes"] for held in gpu.get("shared", ())]


def test_two_jobs_of_a_pipeline_share_one_card(host: Host) -> None:
    assert host.mgpu("run", "--detach", host.spec(PIPELINE.format(image=""), "both")).returncode == 0
    assert shared(host) == [70 * GIB]
    (run,) = host.runs()
    assert [(task["gpus"], task["share"]) for task in run["tasks"]] == [
        (run["tasks"][0]["gpus"], 40 * GIB),
        (run["tasks"][0]["gpus"], 30 * GIB),
    ]
    assert started(host, "beside", "9GiB")[0] == 0
    assert started(host, "more", "1GiB")[0] == 75


def test_two_containers_of_a_pipeline_share_one_card(tmp_path: Path, engine: Engine) -> None:
    host = Host(tmp_path, engine=engine)
    try:
        text = PIPELINE.format(image=f", image: {BUSYBOX}")
        done = host.mgpu("run", "--detach", host.spec(text, "both"))
        assert done.returncode == 0, done.stderr
        eventually(lambda: len(engine.docker("ps", "-q").stdout.split()) == 2, "both containers run")
        assert shared(host) == [70 * GIB]
        code, words = started(host, "beside", "9GiB", image=BUSYBOX)
        assert code == 0, words
        eventually(lambda: len(engine.docker("ps", "-q").stdout.split()) == 3, "a third runs beside them")
        assert host.mgpu("stop", "--all").returncode == 0
        assert shared(host) == []
    finally:
        engine.clear()


def test_a_job_that_nothing_holds_finds_its_share_in_a_variable(host: Host) -> None:
    said = host.mgpu("run", host.task("echo $MGPU_SHARE", gpus={"share": "2GiB"}))
    assert said.stdout == f"{2 * GIB}\n"
    assert "nothing holds job to its 2.0 GiB: task has no setting for that" in said.stderr

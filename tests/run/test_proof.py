"""A run that has ended while somebody holds the memory of its GPU: told with the holder's name, ended only if asked."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from mgpu.machine.meter import Meter, Reading
from mgpu.run import proof
from tests.end_to_end.host import eventually, lives
from tests.fakes.nvml import MIB, FakeGpu, Stub, uuid
from tests.require import host_pids
from tests.run.scene import SOAK, Scene, kill

GIB = 2**30


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds GPU 1, by what the stub says of it; TERM ends it."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def held(host: Scene, pid: int, used: int = 3 * GIB) -> None:
    """Show memory of GPU 1 as held by `pid`."""
    host.stub.write([FakeGpu(), FakeGpu(used=used, processes=((pid, used),)), FakeGpu(), FakeGpu()])


def free(host: Scene) -> None:
    host.stub.write([FakeGpu()] * 4)


def stuck(host: Scene, name: str = "job") -> dict[str, object] | None:
    return next((run for run in host.runs() if run["name"] == name and run["state"] == "stuck"), None)


JOB = "touch up; until [ -e go ]; do sleep 0.01; done; exit 3"
SOON = {
    "role": "keeper",
    "file": "witness.py",
    "name": "prove",
    "event": "call",
    "act": "set mgpu.run.proof WITHIN 0.5",
}
"""Half a second instead of 30 until it is told what holds a GPU; at full length under `make soak`."""


def test_who_holds_a_gpu_is_told_and_the_lease_stays_until_it_is_gone(
    host: Scene, other: subprocess.Popen[bytes]
) -> None:
    host_pids()
    runner = host.start("run", host.job(JOB, gpus={"ids": ["1"]}), **({} if SOAK else host.armed(**SOON)))
    eventually((host.folder / "up").exists, "the job runs")
    held(host, other.pid)
    began = time.monotonic()
    (host.folder / "go").touch()
    _, error = runner.communicate(timeout=45)
    assert (time.monotonic() - began > proof.WITHIN) == SOAK
    sentence = f"GPU 1 is still held: 3072 MiB more than before the run, by sleep (pid {other.pid} of "
    assert runner.returncode == 3, "the job's own code"
    assert sentence in error
    assert stuck(host)
    assert sentence in host.mgpu("ps").stdout
    assert host.mgpu("run", host.job("true", "next", gpus={"ids": ["1"]})).returncode == 75
    assert host.locked() == 1
    said = host.mgpu("stop", "job")
    assert said.returncode == 125
    assert sentence in said.stderr
    assert "mgpu stop --reap job" in said.stderr
    assert other.poll() is None
    ended = host.start("stop", "--reap", "job")
    assert other.wait(timeout=10) == -15
    free(host)
    _, error = ended.communicate(timeout=20)
    assert ended.returncode == 0, error
    eventually(lambda: host.held() == 0, "the lease is free")
    told = [json.loads(line)["what"] for line in host.mgpu("events", "job", "--json").stdout.splitlines()]
    assert told[-4:] == ["stuck", "reaped", "freed", "over"]
    assert [run["state"] for run in host.runs() if run["name"] == "job"] == ["failed"]


def test_reaping_ends_nothing_of_another_run_and_nothing_that_is_another_by_now(host: Scene) -> None:
    host_pids()
    host.mgpu("run", "--detach", host.job("exec sleep 1000", "other", gpus=0))
    theirs = eventually(host.jobs, "it runs").pop()
    from mgpu.run import held as ending
    from mgpu.run import runs

    with subprocess.Popen(["sleep", "1000"]) as later:
        process = proof.told(later.pid, None)
        named = [proof.told(theirs, None), {**process, "start": process["start"] - 1}]
        run = next(run for run in runs.found() if run.name == "other")._replace(id="ended")
        ending.reap(run, {"held": [{"gpu": uuid(0), "over": 0, "processes": named}]})
        assert lives(theirs)
        assert later.poll() is None
        later.kill()
    assert host.mgpu("stop", "other", "--now").returncode == 0


def test_without_a_keeper_stop_asks_the_driver_itself(host: Scene, other: subprocess.Popen[bytes]) -> None:
    host_pids()
    host.mgpu("run", "--detach", host.job(JOB, gpus={"ids": ["1"]}))
    eventually((host.folder / "up").exists, "the job runs")
    for pid in host.keepers():
        kill(pid)
    held(host, other.pid)
    stopping = host.start("stop", "job", "--now")
    eventually(lambda: not host.jobs(), "the job is gone")
    assert stopping.poll() is None
    free(host)
    _, error = stopping.communicate(timeout=20)
    assert stopping.returncode == 0, error


def test_an_ordinary_stop_asks_once(host: Scene) -> None:
    host.mgpu("run", "--detach", host.job("trap exit TERM; touch up; while :; do sleep 0.01; done", gpus=2))
    eventually((host.folder / "up").exists, "the job runs")
    began = time.monotonic()
    assert host.mgpu("stop", "job").returncode == 0
    assert time.monotonic() - began < 5
    assert not host.events("stuck")


@pytest.mark.parametrize("driver", [{"init": 9}, {"hang": 60}])
def test_a_driver_that_says_nothing_holds_up_nobody(host: Scene, driver: dict[str, int]) -> None:
    host.mgpu("run", "--detach", host.job("trap exit TERM; touch up; while :; do sleep 0.01; done", gpus=2))
    eventually((host.folder / "up").exists, "the job runs")
    host.stub.write([FakeGpu()] * 4, **driver)
    assert host.mgpu("stop", "job").returncode == 0
    assert not host.events("stuck")


class Answers(Meter):
    """A meter that has its answer."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(["a"], {})
        self.latest = {"a": reading}

    def ask(self) -> None:
        self.at = time.monotonic()


BASE = {"a": {"free": 10 * GIB, "others": [(1, GIB)]}}


@pytest.mark.parametrize(("free", "processes", "graphics", "over"), [
    (10 * GIB, [(1, GIB)], [], 0),
    (10 * GIB - proof.SLACK, [(1, GIB)], [], 0),
    (10 * GIB - proof.SLACK - MIB, [(1, GIB)], [], 257 * MIB),
    (8 * GIB, [(1, 3 * GIB)], [], 0),
    (8 * GIB, [(1, GIB)], [], 2 * GIB),
    (11 * GIB, [], [], 0),
    (10 * GIB, [], [], GIB),
    (8 * GIB, [(1, GIB), (99999999, 2 * GIB)], [], 2 * GIB),
    (8 * GIB, [(1, GIB)], [(2, 2 * GIB)], 0),
    (None, [], [], 0),
])  # fmt: skip
def test_memory_over_the_base_is_what_nobody_else_has_taken(
    free: int | None, processes: list[tuple[int, int]], graphics: list[tuple[int, int]], over: int
) -> None:
    reading = Reading({"free": free, "processes": processes, "graphics": graphics})
    found = proof.Proof({"id": "run", "base": BASE}, Answers(reading)).held()
    assert found is not None
    assert [each["over"] for each in found] == ([over] if over else [])


def test_a_process_of_the_run_that_the_driver_still_lists_is_waited_for_without_a_base() -> None:
    with subprocess.Popen(["sleep", "1000"], env={**os.environ, "MGPU_RUN": "run"}) as process:
        asked = proof.Proof({"id": "run"}, Answers(Reading({"free": GIB, "processes": [(process.pid, None)]})))
        asked.look()
        eventually(lambda: (asked.look(), asked.held())[1], "it is known")
        process.kill()
        process.wait()
        found = asked.held()
    assert found
    assert [each["pid"] for each in found[0]["processes"]] == [process.pid]


def test_the_meter_reads_what_the_driver_says(nvml: Stub) -> None:
    gpu = FakeGpu(used=3 * GIB, utilization=71, power=312_500, temperature=64, processes=((4711, GIB), (4712, 2 * GIB)))
    nvml.write([FakeGpu(), gpu, FakeGpu(memory_version=1, used=GIB, power=None, temperature=None, utilization=None)])
    meter = Meter([uuid(1), uuid(2), "GPU-none"], {**os.environ, **nvml.env})
    meter.ask()
    eventually(lambda: (meter.look(), meter.at)[1], "the driver answers")
    meter.close()
    names = ("free", "used", "utilization", "power", "temperature", "processes")
    told = [[getattr(meter.latest[each], name) for name in names] for each in (uuid(1), uuid(2), "GPU-none")]
    usable = gpu.total - gpu.reserved if gpu.total else 0
    assert told == [
        [usable - 3 * GIB, 3 * GIB, 71, 312.5, 64, [[4711, GIB], [4712, 2 * GIB]]],
        [usable - GIB, GIB + gpu.reserved, None, None, None, []],
        [None, None, None, None, None, []],
    ]

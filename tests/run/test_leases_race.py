"""Many processes after the same GPUs, ports and names: never two holders, never half a lease, nobody starved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mgpu.machine import leases
from tests.end_to_end.host import Host, eventually, kill

SOAK = "MGPU_SOAK" in os.environ
TAKERS, ROUNDS = (32, 500) if SOAK else (16, 100)
STARVED = 600 if SOAK else 90
"""Seconds after which a taker that has not had all its leases gives up, and the test fails."""
GPUS = [f"GPU-{index}" for index in range(8)]

TAKER = """
import json, os, random, sys, time
from mgpu.machine.leases import Clash, Holder, take
seed, rounds, marks = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
deadline = time.monotonic() + float(sys.argv[4])
chance = random.Random(seed)
holder = Holder(f"none-{seed}", f"taker-{seed}", "someone", 0.0)
said = {"taken": 0, "clashes": 0, "double": 0, "leaked": 0}
opened = len(os.listdir("/proc/self/fd"))
while said["taken"] < rounds and not said["double"] + said["leaked"] and time.monotonic() < deadline:
    gpus = chance.sample([f"GPU-{i}" for i in range(8)], chance.choice((1, 2, 4)))
    try:
        lease = take(gpus, (), holder)
    except Clash:
        said["clashes"] += 1
        said["leaked"] += len(os.listdir("/proc/self/fd")) != opened
        time.sleep(chance.random() / 500)
        continue
    mine = []
    for gpu in gpus:
        try:
            os.close(os.open(f"{marks}/{gpu}", os.O_CREAT | os.O_EXCL))
            mine.append(gpu)
        except FileExistsError:
            said["double"] += 1
    os.sched_yield()
    for gpu in mine:
        os.unlink(f"{marks}/{gpu}")
    lease.release()
    said["taken"] += 1
print(json.dumps(said))
"""

HOLDER = """
import subprocess, sys, time
from mgpu.machine.leases import Holder, take
lease = take(["GPU-0"], (), Holder("none", "holder", "someone", 0.0))
child = subprocess.Popen(["sleep", "1000"], pass_fds=lease.fds if sys.argv[1] == "inherited" else ())
print(child.pid, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MGPU_LOCK_DIR", str(tmp_path / "locks"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (tmp_path / "marks").mkdir()
    return tmp_path


def python(program: str, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program, *map(str, words)], stdout=subprocess.PIPE, text=True)


def test_no_gpu_has_two_holders_and_no_clash_leaves_half_a_lease(folder: Path) -> None:
    takers = [python(TAKER, seed, ROUNDS, folder / "marks", STARVED) for seed in range(TAKERS)]
    said = [json.loads(taker.communicate(timeout=STARVED + 30)[0]) for taker in takers]
    total = {key: sum(each[key] for each in said) for key in said[0]}
    print(total)
    assert total["clashes"] > 0, "nobody met anybody: this was no race"
    assert (total["taken"], total["double"], total["leaked"]) == (TAKERS * ROUNDS, 0, 0)
    assert leases.holders(GPUS) == {}


@pytest.mark.parametrize(("how", "stays"), [("inherited", True), ("closed", False)])
def test_a_lease_lives_as_long_as_the_last_process_that_has_it_open(folder: Path, how: str, stays: bool) -> None:
    with python(HOLDER, how) as taker:
        assert taker.stdout
        child = int(taker.stdout.readline())
        assert list(leases.holders(GPUS)) == ["GPU-0"]
        kill(taker.pid)
        taker.wait()
    try:
        assert ("GPU-0" in leases.holders(GPUS)) is stays
    finally:
        kill(child)
    eventually(lambda: leases.holders(GPUS) == {}, "the lease is free once the child is dead", within=1.0)


def test_a_clash_takes_none_of_the_others_and_names_the_holder(folder: Path) -> None:
    someone = leases.Holder("none-1", "llm", "ada", 0.0)
    with leases.take(["GPU-3"], [18500], someone):
        with pytest.raises(leases.Clash) as refused:
            leases.take(GPUS, [18500, 18501], someone)
        assert list(refused.value.held) == ["gpu-GPU-3", "port-18500"]
        assert all("llm of ada" in words for words in refused.value.held.values())
        with leases.take([gpu for gpu in GPUS if gpu != "GPU-3"], [18501], someone):
            assert sorted(leases.holders(GPUS)) == GPUS


def test_jobs_that_wait_for_each_other_all_run_and_never_share(tmp_path: Path) -> None:
    host = Host(tmp_path)
    script = """
for gpu in $(echo $CUDA_VISIBLE_DEVICES | tr , ' '); do mkdir held-$gpu || touch shared; done
sleep 0.05
for gpu in $(echo $CUDA_VISIBLE_DEVICES | tr , ' '); do rmdir held-$gpu; done"""
    specs = [host.task(script, f"job-{number}", gpus=1 + number % 3) for number in range(9)]
    runners = [host.start("run", "--wait", spec) for spec in specs]
    said = [(*runner.communicate(timeout=120), runner.returncode) for runner in runners]
    assert [code for _, _, code in said] == [0] * len(runners), said
    assert not (tmp_path / "shared").exists()
    assert host.free() == 4


def test_of_many_runs_of_one_name_at_once_one_starts(tmp_path: Path) -> None:
    host = Host(tmp_path)
    spec = host.task("exec sleep 1000", "twin")
    runners = [host.start("run", "--detach", spec) for _ in range(8)]
    try:
        errors = [runner.communicate(timeout=60)[1] for runner in runners]
        assert sorted(runner.returncode == 0 for runner in runners) == [False] * 7 + [True], errors
        assert sum("twin is running already" in error for error in errors) == 7
        assert [run["name"] for run in host.runs()] == ["twin"]
    finally:
        assert host.mgpu("stop", "--all").returncode == 0

"""Many processes after the same GPUs, ports and names: never two holders, never half a lease, nobody starved."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mgpu.machine import leases
from tests.end_to_end.host import Host, eventually, kill
from tests.run.scene import SOAK, told

TAKERS, ROUNDS = 32, 500
STARVED = 60
"""Seconds that a taker may wait for one lease."""
GPUS = [f"GPU-{index}" for index in range(8)]
CARD, SHARE = 80 * 1024, 20 * 1024
"""The MiB of a card, and those of the share that some takers ask for."""

TAKER = """
import fcntl, json, os, random, sys, time
from mgpu.machine.leases import Clash, Holder, Share, take

marks = sys.argv[1]
seed, rounds, starved, sharers, card, share = map(int, sys.argv[2:])
chance = random.Random(seed)
holder = Holder(f"none-{seed}", f"taker-{seed}", "someone", 0.0)
shares = seed < sharers
said = {"leases": 0, "shares": 0, "clashes": 0, "double": 0, "leaked": 0, "longest": 0.0}
opened = len(os.listdir("/proc/self/fd"))


def count(gpu, mib):
    # What is in use of a card, by the takers' own book of it: that of the card never less than nothing, nor too much.
    with open(f"{marks}/{gpu}", "r+") as book:
        fcntl.flock(book, fcntl.LOCK_EX)
        used = int(book.read() or 0) + mib
        book.seek(0)
        book.write(f"{used:8}")
    return used


while said["leases"] < rounds and not said["double"] + said["leaked"]:
    gpus = chance.sample([f"GPU-{i}" for i in range(8)], chance.choice((1, 2, 4)))
    wanted = {gpu: Share(share, card) for gpu in gpus if shares and chance.random() < 0.7}
    began = time.monotonic()
    while True:
        try:
            lease = take(gpus, (), holder, wanted)
            break
        except Clash:
            said["clashes"] += 1
            said["leaked"] += len(os.listdir("/proc/self/fd")) != opened
            said["longest"] = max(said["longest"], time.monotonic() - began)
            if said["longest"] > starved:
                sys.exit(f"taker {seed} starved")
            time.sleep(chance.random() / 50)
    sizes = {gpu: share if gpu in wanted else card for gpu in gpus}
    said["double"] += sum(count(gpu, mib) > card for gpu, mib in sizes.items())
    os.sched_yield()
    for gpu, mib in sizes.items():
        count(gpu, -mib)
    lease.release()
    said["leases"] += 1
    said["shares"] += len(wanted)
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


@pytest.mark.parametrize("sharers", [0, TAKERS // 2])
def test_no_gpu_has_two_holders_and_no_clash_leaves_half_a_lease(
    request: pytest.FixtureRequest, folder: Path, sharers: int
) -> None:
    for gpu in GPUS:
        (folder / "marks" / gpu).touch()
    rounds = ROUNDS if SOAK or not sharers else ROUNDS // 5
    began = time.monotonic()
    takers = [python(TAKER, folder / "marks", n, rounds, STARVED, sharers, CARD, SHARE) for n in range(TAKERS)]
    said = [json.loads(taker.communicate(timeout=600)[0] or "{}") for taker in takers]
    assert all(said), "a taker starved"
    longest = max(each.pop("longest") for each in said)
    total = {key: sum(each[key] for each in said) for key in said[0]}
    words = ", ".join(f"{count} {key}" for key, count in total.items())
    told(
        request, f"{TAKERS} takers", f"  {words}; longest wait {longest:.2f} s; {time.monotonic() - began:.0f} s in all"
    )
    assert total["clashes"] > 0, "nobody met anybody: this was no race"
    assert (total["leases"], total["double"], total["leaked"]) == (TAKERS * rounds, 0, 0)
    assert bool(total["shares"]) == bool(sharers)
    assert leases.holders(GPUS) == {}


def test_shares_fill_a_card_and_a_whole_one_wants_it_empty(folder: Path) -> None:
    holder = leases.Holder("none", "sharer", "someone", 0.0)
    some = {"GPU-0": leases.Share(SHARE, CARD)}
    mine = [leases.take(["GPU-0"], (), holder, some) for _ in range(CARD // SHARE)]
    for more in (some, {}):
        with pytest.raises(leases.Clash):
            leases.take(["GPU-0"], (), holder, more)
    mine.pop(1).release()
    with pytest.raises(leases.Clash):
        leases.take(["GPU-0"], (), holder)
    mine.append(leases.take(["GPU-0"], (), holder, some))
    for lease in mine:
        lease.release()
    with leases.take(["GPU-0"], (), holder), pytest.raises(leases.Clash):
        leases.take(["GPU-0"], (), holder, some)


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

"""The queue with real runners: its order, its words, what a dead or hostile waiter costs, and two users in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mgpu.errors import HostError
from mgpu.machine import leases, locks, tickets
from mgpu.machine.tickets import ENDING, GATE, NEW, Queue, join
from mgpu.values.queue import Waiter, Want
from tests.end_to_end.host import Host, eventually
from tests.require import require
from tests.run.scene import Scene
from tests.run.users import Ground, lacking

LONG = "exec sleep 1000"
WANTS = (Want(2, frozenset(("x", "y"))), Want(1, frozenset({"port-80"})))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MGPU_LOCK_DIR", str(tmp_path / "locks"))
    return tmp_path / "locks"


def waiting(host: Host) -> list[dict[str, Any]]:
    """Who waits, by `ps`."""
    found = json.loads(host.mgpu("ps", "--json").stdout)["waiting"]
    assert isinstance(found, list)
    return found


def queued(host: Host) -> list[Waiter]:
    """The same, without starting a program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MGPU_LOCK_DIR", host.env["MGPU_LOCK_DIR"])
        return Queue().waiters(whys=True)


def waits(host: Host, *words: object, why: str = "") -> subprocess.Popen[str]:
    """A run that waits; back once it has said so."""
    runner = host.start("run", "--wait", *words)
    name = Path(str(words[-1])).name.partition(".")[0]
    found = eventually(lambda: [w for w in queued(host) if w.name == name and w.why], "it waits", 60)
    assert why in found[0].why
    return runner


def held(host: Host, gpus: int, name: str = "holder") -> None:
    done = host.mgpu("run", "--detach", host.task(LONG, name, gpus=gpus))
    assert done.returncode == 0, done.stderr


def ended(runner: subprocess.Popen[str]) -> str:
    out, error = runner.communicate(timeout=60)
    assert runner.returncode == 0, error
    return out


def test_a_ticket_tells_who_waits_for_what(folder: Path) -> None:
    first, second = join("run-1", "one", 0, WANTS, 7.5), join("run-2", "two", 3, (), None)
    first.says("for GPU 0, held by\nrun a of \u0416")
    found = {waiter.run: waiter for waiter in Queue().waiters(whys=True)}
    assert found["run-1"] == first.waiter._replace(why="for GPU 0, held byrun a of \u0416")
    assert found["run-2"] == second.waiter
    assert first.waiter.number < second.waiter.number
    second.says("\U0001f600" * 9999)
    assert Queue().waiters(whys=True)[1].why.startswith("\U0001f600" * 100)
    first.leave()
    first.leave()
    assert [waiter.run for waiter in Queue().waiters()] == ["run-2"]
    second.leave()
    assert sorted(os.listdir(folder)) == [GATE]


def test_what_is_no_ticket_counts_for_nothing(folder: Path) -> None:
    good = join("run-1", "one", 0, WANTS, None)
    text = Path(good.path).read_bytes()
    said = json.loads(text.partition(b"\n")[0])
    bad = [b"", b"\0" * 9, b"[" * 200_000, b"{}", b"[1]", b"9" * 9999, b'"x"']
    wrong = {"since": [1e300, "x", -1], "priority": [True, 2**40, None], "number": [-1, 1e99, []], "lasts": ["1"],
             "wants": [7, [[0, ["x"]]], [["x"]], [[1, [7]]], [[1e9, ["x"]]]], "run": [1], "name": [[]]}  # fmt: skip
    bad += [json.dumps({**said, key: value}).encode() for key, values in wrong.items() for value in values]
    handles = []
    for at, content in enumerate(bad):
        path = folder / f"bad-{at}{ENDING}"
        path.write_bytes(content + b"\n")
        handles.append(locks.reach(str(path)))
        assert locks.lock(handles[-1])
    os.mkfifo(folder / f"fifo{ENDING}")
    (folder / f"link{ENDING}").symlink_to(good.path)
    (folder / f"folder{ENDING}").mkdir()
    with open(folder / f"huge{ENDING}", "wb") as huge:
        huge.truncate(2**30)
        os.set_inheritable(huge.fileno(), False)
        assert locks.lock(locks.reach(huge.name))
        assert [waiter.run for waiter in Queue().waiters(whys=True)] == ["run-1"]
    for handle in handles:
        os.close(handle)
    good.leave()
    assert Queue().waiters() == []
    assert not list(folder.glob(f"bad-*{ENDING}")), "dead tickets are cleared away"


def test_whoever_died_while_joining_is_cleared_away(folder: Path) -> None:
    leases.folder()
    young, old = folder / f"young{NEW}", folder / f"old{NEW}"
    young.touch()
    old.touch()
    os.utime(old, (time.time() - 1000,) * 2)
    assert Queue().waiters() == []
    assert (young.exists(), old.exists()) == (True, False)


def test_whoever_stops_at_the_gate_keeps_nobody_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "PATIENCE", 0.1)
    gate = locks.reach(os.path.join(leases.folder(), GATE))
    assert locks.lock(gate)
    join("run-1", "one", 0, (), None).leave()
    os.close(gate)


def test_a_full_disk_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(HostError, match="the queue cannot be joined: No space left on device"):
        join("run-1", "one", 0, (), None)
    assert sorted(os.listdir(folder)) == [GATE]


def test_first_come_first_served_and_ps_says_so(host: Scene) -> None:
    held(host, 4)
    large = waits(host, host.task("echo large", "large", gpus=4), why="for GPUs 0,1,2,3, held by run holder of")
    small = waits(host, host.task("echo small", "small", gpus=1), why="behind run large of")
    urgent = waits(host, "--priority", "5", host.task("echo urgent", "urgent", gpus=1), why="held by")
    found = [(each["name"], each["place"], each["of"], each["priority"]) for each in waiting(host)]
    assert found == [("urgent", 1, 3, 5), ("large", 2, 3, 0), ("small", 3, 3, 0)]
    table = host.mgpu("ps").stdout
    assert "WAITING" in table
    assert "3 of 3" in table
    told = host.mgpu("stop", "small")
    assert (told.returncode, "small has not started: it waits behind run" in told.stderr) == (2, True), told.stderr
    small.send_signal(signal.SIGINT)
    small.communicate(timeout=30)
    assert small.returncode == 130
    assert [each["name"] for each in waiting(host)] == ["urgent", "large"]
    assert host.mgpu("stop", "holder").returncode == 0
    assert (ended(urgent), ended(large)) == ("urgent\n", "large\n")
    turns = {run["name"]: json.loads(Path(run["folder"], "run.json").read_text())["turn"] for run in host.runs()}
    assert turns["urgent"]["taken"] < turns["large"]["taken"]


def test_who_does_not_wait_is_refused_what_is_waited_for(host: Scene) -> None:
    held(host, 2)
    large = waits(host, host.task("true", "large", gpus=4))
    refused = host.mgpu("run", host.task("true", "late", gpus=1))
    assert refused.returncode == 75, refused.stderr
    assert "GPU 2 is free, and run large of" in refused.stderr
    assert "has waited for it since" in refused.stderr
    assert host.mgpu("run", "--priority", "1", host.task("true", "first", gpus=1)).returncode == 0
    assert host.mgpu("run", host.task("true", "none", gpus=0)).returncode == 0
    large.kill()
    large.communicate()
    assert host.mgpu("run", host.task("true", "late", gpus=1)).returncode == 0, "a dead waiter counts for nothing"
    assert waiting(host) == []


def test_a_later_job_passes_where_its_timeout_proves_that_it_delays_nobody(host: Scene) -> None:
    hour, short = {"timeout": "1h", "stop_grace": "1s"}, {"timeout": "10m", "stop_grace": "1s"}
    for name, gpus in (("first", 1), ("second", 3)):
        done = host.mgpu("run", "--detach", host.task(LONG, name, gpus=gpus, **hour))
        assert done.returncode == 0, done.stderr
    large = waits(host, host.task("true", "large", gpus=4, **hour))
    small = waits(host, host.task("echo small", "small", gpus=2, **short), why="held by run")
    assert host.mgpu("stop", "second").returncode == 0
    assert ended(small) == "small\n"
    assert host.mgpu("run", host.task("true", "late", gpus=1, **short)).returncode == 0
    assert host.mgpu("run", host.task("true", "slow", gpus=1, timeout="2h")).returncode == 75
    assert host.mgpu("run", host.task("true", "never", gpus=1)).returncode == 75
    assert [each.name for each in queued(host)] == ["large"]
    assert host.mgpu("stop", "first").returncode == 0
    ended(large)


def test_other_gpus_than_those_waited_for_can_be_had(host: Scene) -> None:
    held(host, 1)
    waiter = waits(host, host.task("true", "mine", gpus={"ids": [0, 1]}))
    assert host.mgpu("run", host.task("true", "any", gpus=2)).returncode == 0
    refused = host.mgpu("run", host.task("true", "many", gpus=3))
    assert refused.returncode == 75
    assert "GPU 1 is free, and run mine of" in refused.stderr
    waiter.kill()
    waiter.communicate()


def test_shares_wait_for_room_and_not_for_a_whole_gpu(host: Scene) -> None:
    held(host, 3)
    part = {"count": 1, "share": "32GiB"}
    for name in ("one", "two"):
        done = host.mgpu("run", "--detach", host.task(LONG, name, gpus=part))
        assert done.returncode == 0, done.stderr
    third = waits(host, host.task("echo third", "third", gpus={"count": 1, "share": "40GiB"}))
    assert host.mgpu("run", host.task("true", "late", gpus={"count": 1, "share": "1GiB"})).returncode == 75
    assert host.mgpu("stop", "two").returncode == 0
    assert ended(third) == "third\n"


@pytest.fixture
def ground() -> Iterator[Ground]:
    require("users", not lacking(), lacking())
    made = Ground()
    yield made
    made.close()


def test_two_users_wait_in_one_line(ground: Ground) -> None:
    ada, bob = ground.ada, ground.bob
    held(ada, 2)
    first = waits(bob, bob.task("true", "first", gpus=2), why="GPUs 0,1, held by run holder of 23001")
    second = waits(ada, ada.task("true", "second", gpus=1), why="behind run first of 23002")
    assert [(each["name"], each["user"]) for each in waiting(ground.root)] == [("first", "23002"), ("second", "23001")]
    first.kill()
    first.communicate()
    eventually(lambda: [each for each in queued(ada) if "held by" in each.why], "the next one is next", 60)
    assert [each["name"] for each in waiting(ada)] == ["second"]
    assert ada.mgpu("stop", "holder").returncode == 0
    ended(second)

"""A folder of leases as others may leave it: what is no lock file blocks nobody, and its GPU is not given out."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mgpu.errors import HostError
from mgpu.machine import leases, locks, notes
from tests.end_to_end.host import Host, eventually, kill, lives
from tests.fakes.nvml import uuid

SOMEONE = leases.Holder("none-1", "llm", "ada", 0.0)
ODD: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "a link": lambda path: path.symlink_to("/etc/hostname"),
    "a link to nothing": lambda path: path.symlink_to("/nowhere"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MGPU_LOCK_DIR", str(tmp_path / "locks"))
    return Path(leases.folder())


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_holds_its_gpu_and_no_other(tmp_path: Path, kind: str) -> None:
    host = Host(tmp_path, gpus=2)
    (tmp_path / "locks").mkdir(0o1777)
    ODD[kind](tmp_path / "locks" / f"gpu-{uuid(0)}.lock")
    assert host.free() == 1
    assert host.mgpu("ps").returncode == 0
    assert host.mgpu("run", host.task("true", gpus=1)).returncode == 0
    assert "lock file may not be opened" in refused(host, 2)


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_no_lease(folder: Path, kind: str) -> None:
    ODD[kind](folder / "gpu-x.lock")
    with pytest.raises(HostError, match="a lease cannot be taken"):
        leases.take(["x"], (), SOMEONE)


AGENT = """
import os, pathlib, subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
pathlib.Path("agent.new").write_text(f"{os.getppid()} {os.getpid()} {worker.pid}")
os.rename("agent.new", "agent")
worker.wait()
"""
"""Like torchrun's: its worker has none of its descriptors, and so no lease."""


def agent(host: Host) -> list[int]:
    """Start a run on one GPU; the ids of its keeper, its agent, its worker."""
    (host.folder / "agent.py").write_text(AGENT)
    host.mgpu("run", "--detach", host.spec(f"kind: task\ngpus: 1\ncommand: [{sys.executable}, agent.py]\n"))
    file = host.folder / "agent"
    return [int(pid) for pid in eventually(lambda: file.exists() and file.read_text().split(), "the agent runs")]


def refused(host: Host, gpus: int) -> str:
    """Why a run on so many GPUs is refused."""
    done = host.mgpu("run", host.task("true", "other", gpus=gpus))
    assert done.returncode == 75, done.stderr
    return done.stderr


@pytest.mark.parametrize("lost", ["folder", "file", "note"])
def test_a_worker_keeps_its_gpu_whatever_becomes_of_the_lock_file(tmp_path: Path, lost: str) -> None:
    host = Host(tmp_path, gpus=2)
    keeper, first, worker = agent(host)
    file = tmp_path / "locks" / f"gpu-{uuid(0)}.lock"
    try:
        kill(keeper)
        kill(first)
        eventually(lambda: not lives(first), "the agent is dead")
        if lost == "folder":
            shutil.rmtree(file.parent)
        elif lost == "file":
            file.unlink()
        else:
            file.write_bytes(b"")
        assert "is held by processes of run job-" in refused(host, 2)
        assert host.free() == 1
        assert host.mgpu("run", host.task("true", "third", gpus=1)).returncode == 0
    finally:
        kill(worker)
    assert host.mgpu("run", host.task("true", "fourth", gpus=2)).returncode == 0


def test_leases_in_another_folder_are_of_another_world(tmp_path: Path) -> None:
    host = Host(tmp_path, gpus=1)
    keeper, first, worker = agent(host)
    try:
        elsewhere = host.mgpu("run", host.task("true", "other", gpus=1), MGPU_LOCK_DIR=str(tmp_path / "else"))
        assert elsewhere.returncode == 0
    finally:
        host.mgpu("stop", "--all")
    assert not any(map(lives, (keeper, first, worker)))


def test_a_file_removed_under_the_lock_is_no_lease(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = locks.lock

    def late(handle: int, *part: int) -> bool:
        (folder / "gpu-x.lock").unlink()
        return lock(handle, *part)

    with monkeypatch.context() as patched:
        patched.setattr(locks, "lock", late)
        with pytest.raises(leases.Clash, match="removing the folder"):
            leases.take(["x"], (), SOMEONE)
    leases.take(["x"], (), SOMEONE).release()


GOOD = {"run": "none", "name": "n", "user": "u", "since": 0, "uid": 1, "tick": 0, "boxed": False}
GARBAGE = {
    "nothing": b"",
    "no JSON": b"\xff{" * 100,
    "deep": b"[" * 512,
    "a list": b"[1]",
    "no keys": b"{}",
    **{
        f"{key} {value}": json.dumps({**GOOD, key: value}).encode()
        for key in ("since", "uid", "tick")
        for value in (float("inf"), float("nan"), 1e300, -1e300, "x", None, [], 10**400 if key != "uid" else "1.5")
    },
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_for_a_note(folder: Path, what: str) -> None:
    holder = leases.Holder("none", "llm", "ada", 0.0)
    with leases.take(["x"], (), holder):
        (folder / "gpu-x.lock").write_bytes(GARBAGE[what].ljust(notes.SLOT, b"\0"))
        assert leases.holders(["x"])["x"]
        with pytest.raises(leases.Clash, match="is held by"):
            leases.take(["x"], (), holder)
    (folder / "gpu-x.lock").write_bytes(GARBAGE[what].ljust(notes.SLOT, b"\0"))
    leases.holders(["x"])
    leases.tidy()
    leases.take(["x"], (), holder).release()


@pytest.mark.parametrize("size", [10 * 2**20, 2**40])
def test_a_large_file_of_leases_delays_nobody(folder: Path, size: int) -> None:
    with open(folder / "gpu-x.lock", "wb") as file:
        file.write(b"{garbage" * (10 * 2**20 // 8))
        file.truncate(size)
        file.seek(size - 4096)
        file.write(json.dumps(GOOD).encode())
    began = time.monotonic()
    assert leases.holders(["x"]) == {}
    leases.take(["x"], (), SOMEONE).release()
    assert time.monotonic() - began < 3


def test_a_job_that_leaves_its_session_and_its_marks_still_holds_the_lock(tmp_path: Path) -> None:
    host = Host(tmp_path, gpus=1)
    hide = (
        "(setsid env -i sh -c 'echo $$ > hidden.new; mv hidden.new hidden; exec sleep 1000' &) ; echo $PPID $$ > pids"
    )
    spec = host.task(f"{hide}; exec sleep 1000", gpus=1)
    host.mgpu("run", "--detach", spec)
    hidden = int(eventually(lambda: read(tmp_path / "hidden"), "it hides"))
    try:
        for pid in eventually(lambda: read(tmp_path / "pids"), "the job runs").split():
            kill(int(pid))
        eventually(lambda: "held by run job" in refused(host, 1), "the lock is held by who inherited it")
        assert host.free() == 0
    finally:
        kill(hidden)
    eventually(lambda: host.free() == 1, "the GPU is free", within=1.0)


def read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def test_clocks_that_were_set_back_matter_to_words_only(folder: Path) -> None:
    with leases.take(["x"], (), leases.Holder("none", "llm", "ada", time.time() + 10**8)):
        assert "llm of ada" in leases.holders(["x"])["x"]
    leases.take(["x"], (), SOMEONE).release()

"""A folder of leases as others may leave it: what is no lock file blocks nobody, and its GPU is not given out."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mgpu.errors import HostError
from mgpu.machine import leases, notes
from tests.end_to_end.host import Host
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
    assert "lock may not be read" in refused(host, 2)


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_no_lease(folder: Path, kind: str) -> None:
    ODD[kind](folder / "gpu-x.lock")
    with pytest.raises(HostError, match="a lease cannot be taken"):
        leases.take(["x"], (), SOMEONE)


def refused(host: Host, gpus: int) -> str:
    """Why a run on so many GPUs is refused."""
    done = host.mgpu("run", host.task("true", "other", gpus=gpus))
    assert done.returncode == 75, done.stderr
    return done.stderr


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

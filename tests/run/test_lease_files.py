"""A folder of leases as others may leave it: what is no lock file blocks nobody, and its GPU is not given out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mgpu.errors import HostError
from mgpu.machine import leases
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
    refused = host.mgpu("run", host.task("true", gpus=2))
    assert (refused.returncode, "lock may not be read" in refused.stderr) == (75, True), refused.stderr


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_no_lease(folder: Path, kind: str) -> None:
    ODD[kind](folder / "gpu-x.lock")
    with pytest.raises(HostError, match="a lease cannot be taken"):
        leases.take(["x"], (), SOMEONE)

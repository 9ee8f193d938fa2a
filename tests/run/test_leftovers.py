"""What `doctor` says of runs that nobody can explain: a keeper that was killed, a lock without a name, a container."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mgpu.machine import locks
from tests.end_to_end.host import eventually, kill
from tests.fakes.docker import BUSYBOX, Engine
from tests.fakes.nvml import uuid
from tests.run.scene import Scene, scene


def rows(host: Scene, *words: str) -> dict[str, Any]:
    """What the checks find, by their names."""
    done = host.mgpu("doctor", *words, "--json")
    assert "Traceback" not in done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)["checks"]}


def test_runs_and_locks_that_cannot_be_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path, monkeypatch) as host:
        assert host.mgpu("run", "--detach", host.job()).returncode == 0
        eventually(host.ran, "the job has started")
        found = rows(host, "leases")
        assert (found["locks"]["verdict"], found["runs"]["verdict"]) == ("ok", "ok")
        assert found["runs"]["evidence"] == "1 running, each with its keeper"
        for pid in host.keepers():
            kill(pid)
        eventually(lambda: not host.keepers(), "the keeper is dead")
        found = rows(host, "leases")
        assert found["runs"]["evidence"].startswith("job runs without its keeper")
        assert found["runs"]["mend"] == ["mgpu stop job"]
        for pid in host.jobs():
            kill(pid)
        eventually(lambda: not host.jobs(), "the job is dead")
        found = rows(host, "leases")
        assert found["runs"]["evidence"].startswith("job is lost: nothing of it lives")
        assert found["locks"]["verdict"] == "ok"
        handle = locks.reach(str(tmp_path / "locks" / f"gpu-{uuid(3)}.lock"))
        os.ftruncate(handle, 0)
        assert locks.lock(handle)
        found = rows(host, "leases.locks")
        assert (found["locks"]["verdict"], "left no name" in found["locks"]["evidence"]) == ("warning", True)
        assert any("fuser -v" in line for line in found["locks"]["mend"])
        os.close(handle)


def test_a_state_folder_and_a_lock_folder_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene(tmp_path, monkeypatch) as host:
        (host.state / "runs" / "odd-1").mkdir(parents=True)
        (host.state / "runs" / "odd-1" / "run.json").write_text("[")
        found = rows(host, "runs", "state")
        assert (found["runs"]["verdict"], "cannot be read" in found["runs"]["evidence"]) == ("warning", True)
        assert str(host.state) in found["state"]["evidence"]


def test_a_real_engine_and_a_container_that_nobody_looks_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    with scene(tmp_path, monkeypatch, engine) as host:
        found = rows(host, "docker", "containers", "images")
        assert found["engine"]["evidence"].startswith("Docker 2")
        assert (found["toolkit"]["verdict"], found["cgroups"]["verdict"]) == ("ok", "ok")
        assert found["cgroups"]["evidence"].startswith("cgroup driver cgroupfs")
        assert found["restart"]["verdict"] == "warning"
        assert found["containers"]["evidence"] == "none of mgpu's"
        labels = ["--label", "mgpu.run=gone-1", "--label", f"mgpu.user={os.getuid()}", "--name", "gone"]
        engine.docker("create", *labels, BUSYBOX, "sleep", "100", check=True)
        found = rows(host, "containers")
        assert found["containers"]["mend"] == ["docker rm gone"]
        engine.docker("start", "gone", check=True)
        found = rows(host, "containers")
        assert (found["containers"]["verdict"], found["containers"]["mend"]) == ("warning", ["mgpu stop gone-1"])

"""What the caller's surroundings may do to a run: odd variables, no home, a full disk, little that may be opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_relative_folder_of_runs_is_the_caller_s(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = host.mgpu("run", host.task("echo here; exit 3"), MGPU_STATE_DIR="mine")
    assert (done.returncode, done.stdout) == (3, "here\n")
    assert host.mgpu("logs", "job", MGPU_STATE_DIR="mine").stdout == "here\n"


def test_a_relative_folder_of_leases_is_refused(host: Host) -> None:
    refused = host.mgpu("run", host.task("true", gpus=1), MGPU_LOCK_DIR="mine")
    assert refused.returncode == 125
    assert "MGPU_LOCK_DIR=mine is no absolute path" in refused.stderr


def test_the_exit_code_is_the_job_s_where_its_end_cannot_be_written_down(host: Host) -> None:
    script = 'cd "$(dirname "$(readlink /proc/$$/fd/1)")/.." && rm events.jsonl && mkdir events.jsonl && exit 3'
    done = host.mgpu("run", host.task(script))
    assert "could not be written down" in done.stderr
    assert done.returncode == 3

"""What the caller's surroundings may do to a run: odd variables, no home, a full disk, little that may be opened."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.host import MGPU, Host


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


def test_descriptors_that_do_not_suffice_for_all_ports(host: Host) -> None:
    argv = ["prlimit", "--nofile=64", *MGPU, "run", many(host, 100)]
    few = subprocess.run(argv, env=host.env, capture_output=True, text=True, check=False)
    assert (few.returncode, "Too many open files" in few.stderr) == (125, True), few.stderr
    assert host.runs() == []


def many(host: Host, replicas: int) -> Path:
    """The spec of so many servers, each with a port of its own, that answer at once and end by themselves."""
    keys = "kind: inference, engine: custom, gpus: 0, ready: {log: up}, runtime: process"
    command = "command: [sh, -c, 'echo up; exec sleep 1000']"
    jobs = [f"  s{n}: {{{keys}, {command}, port: {21000 + n}}}" for n in range(replicas)]
    last = "  end: {kind: task, command: ['true'], needs: {" + ", ".join(f"s{n}: ready" for n in range(replicas)) + "}}"
    return host.spec("kind: pipeline\njobs:\n" + "\n".join([*jobs, last]) + "\n", "many")


def test_more_ports_than_one_message_can_carry(host: Host) -> None:
    done = host.mgpu("run", many(host, 255))
    assert done.returncode == 0, done.stderr[-2000:]


def test_an_environment_of_a_megabyte_reaches_the_job(host: Host) -> None:
    large = {f"LARGE_{n}": "x" * 100_000 for n in range(10)}
    done = host.mgpu("run", host.task("env | wc -c"), **large)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1_000_000

"""The whole host as one Machine: who holds GPUs, which ports listen, what is installed, where it stands."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from mgpu.machine import leases, ports, snapshot, software
from mgpu.machine.file import load
from tests.fakes.nvml import FakeGpu, Stub, uuid
from tests.machine.reading import machine, mgpu


def test_where_it_stands(nvml: Stub, tmp_path: Path) -> None:
    read = load("stdout", mgpu("--yaml", env={**nvml.env, "HOME": "/home/ada"}, folder=tmp_path))
    assert (read.name, read.home, read.folder) == (os.uname().nodename, "/home/ada", str(tmp_path))
    assert read.cpus == len(os.sched_getaffinity(0))
    assert read.memory is not None
    assert 2**28 < read.memory <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_container_has_the_memory_that_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, none = tmp_path / "memory.max", tmp_path / "limit_in_bytes"
    limit.write_text("1073741824\n")
    none.write_text("max\n")
    monkeypatch.setattr(snapshot, "LIMITS", (str(tmp_path / "missing"), str(none), str(limit)))
    assert snapshot.read(".").memory == 2**30


def test_the_holder_of_a_gpu_is_named(nvml: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGPU_LOCK_DIR", str(tmp_path / "held"))
    nvml.write([FakeGpu(), FakeGpu()])
    holder = leases.Holder("r-17", "llama-70b-chat", "ada", time.time())
    with leases.take([uuid(1)], [], holder):
        held = machine(nvml, MGPU_LOCK_DIR=str(tmp_path / "held"))
    assert held.gpus[0].holder is None
    assert (held.gpus[1].holder or "").startswith("run llama-70b-chat of ada since ")
    assert machine(nvml, MGPU_LOCK_DIR=str(tmp_path / "held")).gpus[1].holder is None


def test_a_port_is_taken_while_something_listens() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert port not in ports.listening()
        server.listen()
        assert port in ports.listening()
        with socket.create_connection(server.getsockname()) as client:
            assert client.getsockname()[1] not in ports.listening()
    assert port not in ports.listening()


def test_ports_of_ipv6_count_and_a_missing_table_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "tcp6"
    here, row = (
        "0" * 24 + "01000000",
        "  {}: {}:1F40 {}:0000 {} 00000000:00000000 00:00000000 00000000     0        0 1\n",
    )
    table.write_text(
        "  sl  local_address\n" + row.format(0, here, "0" * 32, "0A") + row.format(1, here, "0" * 32, "01")
    )
    monkeypatch.setattr(ports, "TABLES", (str(tmp_path / "tcp"), str(table)))
    assert ports.listening() == (8000,)


def test_versions_are_read_from_the_names_of_folders(tmp_path: Path) -> None:
    for name in ("torch-2.13.0+cu130.dist-info", "xLLama_cpp-1.2.dist-info", "torch", "torchvision-0.28.0.dist-info"):
        (tmp_path / name).mkdir()
    found = software.installed(["torch", "xllama-cpp", "vllm"], [str(tmp_path), str(tmp_path / "missing")])
    assert found == (("torch", "2.13.0+cu130"), ("xllama-cpp", "1.2"))


def test_the_first_folder_counts(tmp_path: Path) -> None:
    for folder, version in (("first", "1.0"), ("second", "2.0")):
        (tmp_path / folder / f"vllm-{version}.dist-info").mkdir(parents=True)
    assert software.installed(["vllm"], [str(tmp_path / "first"), str(tmp_path / "second")]) == (("vllm", "1.0"),)


def test_the_interpreter_on_path_is_the_one_that_jobs_run_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib/python3.12/site-packages/vllm-0.32.0.dist-info").mkdir(parents=True)
    program = tmp_path / "bin/python3"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert software.installed(["vllm", "pytest"]) == (("vllm", "0.32.0"),)

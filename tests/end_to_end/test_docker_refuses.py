"""What Docker refuses or lacks, told in words that say what to do, before a GPU is taken where that can be."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.host import Host
from tests.fakes.docker import BUSYBOX, Engine, lacking
from tests.fakes.docker.podman import Podman
from tests.fakes.docker.registry import Registry
from tests.fakes.nvml import FakeGpu
from tests.require import require
from tests.run.users import Ground
from tests.run.users import lacking as nobody_else


@pytest.fixture
def host(tmp_path: Path, engine: Engine) -> Iterator[Host]:
    yield Host(tmp_path, engine=engine)
    engine.clear()


def refused(done: subprocess.CompletedProcess[str], *words: str, code: int = 125) -> None:
    """It failed with this code, its words are there, and it is no crash."""
    assert done.returncode == code, done.stderr
    missing = [word for word in words if word not in done.stderr]
    assert not missing, done.stderr
    assert "Traceback" not in done.stderr


def nothing_started(host: Host) -> None:
    """No run came about, so no GPU was taken."""
    assert not list(host.state.rglob("run.json"))


def test_no_engine(tmp_path: Path) -> None:
    host = Host(tmp_path)
    done = host.mgpu("run", host.task("true", image=BUSYBOX, gpus=1))
    refused(done, "there is no Docker engine here", "install one and start it, or say runtime: process")
    nothing_started(host)


def test_an_engine_that_does_not_run(tmp_path: Path) -> None:
    host = Host(tmp_path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "no-docker.sock"))
    refused(host.mgpu("run", host.task("true", image=BUSYBOX)), "does not run", "systemctl start docker")


def test_an_engine_on_another_host(tmp_path: Path) -> None:
    host = Host(tmp_path)
    done = host.mgpu("run", host.task("true", image=BUSYBOX), DOCKER_HOST="tcp://10.0.0.1:2375")
    refused(done, "tcp://10.0.0.1:2375", "name its own socket")


def test_no_permission_on_the_socket(engine: Engine) -> None:
    require("users", not nobody_else(), nobody_else())
    ground = Ground()
    before = engine.socket.stat().st_mode
    engine.socket.chmod(0o600)
    try:
        for folder in (engine.folder, *engine.folder.parents[:3]):
            folder.chmod(folder.stat().st_mode | 0o011)
        spec = ground.ada.task("true", image=BUSYBOX, gpus=1)
        refused(ground.ada.mgpu("run", spec, **docker_of(engine)), "permission denied on", "usermod -aG docker")
        nothing_started(ground.ada)
    finally:
        engine.socket.chmod(before)
        ground.close()


def docker_of(engine: Engine) -> dict[str, str]:
    """Where this engine is."""
    return {"DOCKER_HOST": f"unix://{engine.socket}"}


def test_podman_behind_the_socket(tmp_path: Path) -> None:
    require("podman", not lacking() and shutil.which("podman") is not None, "podman is not installed")
    host = Host(tmp_path, gpus=2)
    podman = Podman(tmp_path)
    try:
        podman.start()
        done = host.mgpu("run", host.task("true", image=BUSYBOX, gpus=1), **podman.env)
    finally:
        podman.stop()
    refused(done, "Podman answers for Docker", "drops it without a word", "runtime: process")
    nothing_started(host)


def test_no_toolkit(tmp_path: Path) -> None:
    require("docker", not lacking(), lacking())
    engine = Engine(tmp_path, toolkit=False)
    try:
        host = Host(tmp_path, engine=engine.start())
        path = os.pathsep.join(part for part in host.env["PATH"].split(os.pathsep) if "toolkit" not in part)
        spec = host.task("true", image=BUSYBOX, gpus=1)
        refused(
            host.mgpu("run", spec, PATH=path), "cannot give containers GPUs", "apt-get install nvidia-container-toolkit"
        )
        nothing_started(host)
        assert host.mgpu("run", host.task("true", "none", image=BUSYBOX), PATH=path).returncode == 0
        told_by_docker = host.mgpu("run", spec, PATH=f"{hook(tmp_path)}:{path}")
        refused(told_by_docker, "Docker cannot give a container GPUs", "nvidia-ctk runtime configure")
    finally:
        engine.stop()


def hook(folder: Path) -> Path:
    """A folder with a hook that the engine does not know of: what mgpu sees and what Docker does disagree."""
    place = folder / "elsewhere"
    place.mkdir()
    (place / "nvidia-container-runtime-hook").write_text("#!/bin/sh\n")
    (place / "nvidia-container-runtime-hook").chmod(0o755)
    return place


def test_no_such_image_and_a_registry_that_refuses(host: Host, engine: Engine) -> None:
    registry = Registry(engine, 5011, login=True).start()
    try:
        wanted = registry.push("private:1", size=2**20, layers=1)
        refused(host.mgpu("run", host.task("true", image=wanted)), "wants a login", "docker login")
        nothing_started(host)
    finally:
        registry.stop()
    refused(host.mgpu("run", host.task("true", image=wanted)), "is not reached", "network")
    open_one = Registry(engine, 5012).start()
    try:
        missing = f"{open_one.address}/nobody/has:this"
        refused(host.mgpu("run", host.task("true", image=missing)), f"the registry has no image {missing}", "tag")
    finally:
        open_one.stop()


def test_a_port_that_is_taken(host: Host, engine: Engine) -> None:
    spec = host.spec(f"""
kind: inference
engine: custom
name: web
image: {BUSYBOX}
command: [sleep, "60"]
gpus: 1
port: 18601
""")
    engine.docker("run", "--detach", "--name", "other", "--publish", "127.0.0.1:18601:80", BUSYBOX, "sleep", "60")
    refused(host.mgpu("run", spec), "port 18601", "port: 18602", code=75)


def test_a_container_of_the_same_name(host: Host, engine: Engine) -> None:
    spec = host.task("true", image=BUSYBOX, gpus=1)
    engine.docker("create", "--name", "mgpu-job", BUSYBOX, "true", check=True)
    refused(host.mgpu("run", spec), "there is a container mgpu-job already", "docker rm -f mgpu-job", "--name")
    nothing_started(host)
    assert host.mgpu("run", spec, "--name", "other").returncode == 0


def test_what_an_earlier_run_left_makes_way(host: Host, engine: Engine) -> None:
    """A run that was killed whole leaves its container, made or ended: the next one of that name goes on."""
    marks = ["--label", "mgpu.run=job-1234", "--label", f"mgpu.user={os.getuid()}", "--label", "mgpu.gpus="]
    engine.docker("create", "--name", "mgpu-job", *marks, BUSYBOX, "true", check=True)
    engine.docker("run", "--name", "mgpu-older", *marks, BUSYBOX, "true", check=True)
    assert host.mgpu("run", host.task("true", image=BUSYBOX)).returncode == 0
    assert engine.docker("ps", "--all", "--quiet").stdout == ""


@pytest.mark.parametrize(("command", "code"), [("no-such-program", 127), ("/etc", 126)])
def test_a_program_that_cannot_be_run(host: Host, command: str, code: int) -> None:
    """Docker's init says so, in the container's own output."""
    done = host.mgpu("run", host.spec(f"kind: task\nimage: {BUSYBOX}\ncommand: [{command}]\n"))
    assert (done.returncode, command in done.stdout) == (code, True), done.stdout + done.stderr


def test_a_gpu_that_docker_does_not_know(host: Host) -> None:
    """The driver lists a GPU that the toolkit does not find."""
    host.stub.write([FakeGpu(uuid=f"GPU-{index:08d}-dead-4000-8000-000000000000") for index in range(8)])
    seen = host.stub.file.read_text()
    stub = host.folder / "nvml.conf"
    stub.write_text(seen)
    host.stub.write([FakeGpu() for _ in range(8)])
    done = host.mgpu("run", host.task("true", image=BUSYBOX, gpus=1), FAKE_NVML_CONF=str(stub))
    refused(done, "Docker knows no such GPU", "nvidia-ctk cdi generate")


def test_a_volume_that_cannot_be(host: Host) -> None:
    (host.folder / "a:b").mkdir()
    spec = host.task("true", image=BUSYBOX)
    inner = host.folder / "a:b" / "job.mgpu.yaml"
    inner.write_text(spec.read_text())
    refused(host.mgpu("run", inner), "a colon in a path ends it")

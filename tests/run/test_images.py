"""Images are pulled from a real registry by real engines: what is shown meanwhile, what is refused, and when."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgpu.run.images import Layers, _root
from tests.end_to_end.host import MGPU, Host, eventually
from tests.fakes.docker import Engine, lacking
from tests.fakes.docker.registry import Registry
from tests.require import require

FAR, RATE = 5002, 2_000_000
MIB = 2**20


@pytest.fixture(params=["engine", "engine28"])
def each(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def registry(each: Engine) -> Iterator[Registry]:
    registry = Registry(each).start()
    try:
        yield registry
    finally:
        registry.stop()


@pytest.fixture
def host(each: Engine, tmp_path: Path) -> Host:
    return host_of(each, tmp_path)


def host_of(engine: Engine, folder: Path) -> Host:
    host = Host(folder, gpus=1)
    host.env |= {**engine.env, "FAKE_NVML_CONF": host.env["FAKE_NVML_CONF"]}
    return host


def far(registry: Registry, size: int = 8 * MIB, layers: int = 5) -> str:
    """An image that takes a second or more to come, from its registry's far side."""
    name = registry.push(f"org/far-{os.urandom(4).hex()}:1", size, layers)
    return name.replace(registry.address, registry.far(FAR, RATE))


def task(host: Host, image: str) -> Path:
    return host.task("echo $(ls /data)", image=image)


def test_a_pipe_has_a_line_at_the_start_and_one_at_the_end(host: Host, registry: Registry) -> None:
    image = far(registry)
    done = host.mgpu("run", task(host, image))
    assert (done.returncode, done.stdout) == (0, "0 1 2 3 4\n"), done.stderr
    first, last, *_ = done.stderr.splitlines()
    assert first == f"mgpu: pulling {image}"
    assert re.fullmatch(rf"mgpu: pulled {image}: 8\.[345] MB in \d\.\d s", last), last
    again = host.mgpu("run", task(host, image))
    assert "pull" not in again.stderr


def test_run_detached_pulls_before_it_comes_back(host: Host, registry: Registry) -> None:
    done = host.mgpu("run", "--detach", task(host, far(registry)))
    assert done.returncode == 0, done.stderr
    assert "mgpu: pulled " in done.stderr
    assert re.fullmatch(r"job-[0-9a-f]+\n", done.stdout)


def test_a_terminal_has_a_bar(host: Host, registry: Registry) -> None:
    shown = on_a_terminal(host, "run", str(task(host, far(registry))))
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert re.search(r"download +[━╸╺]+ +\d\.\d MB of \d\.\d MB\+? +\d\.\d MB/s", plain), plain[-2000:]
    assert re.search(r"unpack +[━╸╺]+ +.*[1-5] of 6 layers", plain)
    assert re.search(r"pulled .*: 8\.[345] MB in", plain)


def on_a_terminal(host: Host, *words: str) -> str:
    """All that the verb writes to its terminal."""
    ours, its = pty.openpty()
    env = {**host.env, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([*MGPU, *words], env=env, stdin=its, stdout=its, stderr=its)
    os.close(its)
    said = b""
    while True:
        try:
            piece = os.read(ours, 2**16)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    assert process.wait() == 0, said.decode(errors="replace")
    return said.decode()


def test_pull_says_what_it_did(host: Host, registry: Registry) -> None:
    image = far(registry)
    done = host.mgpu("pull", task(host, image))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"{image}: pulled 8\.[345] MB\n", done.stdout)
    assert done.stderr == f"mgpu: pulling {image}\n"
    assert host.mgpu("pull", task(host, image)).stdout == f"{image}: there already\n"
    said = json.loads(host.mgpu("pull", task(host, image), "--json").stdout)
    assert said == {"version": 1, "name": "job", "items": [{"image": image, "state": "there"}]}


def test_no_gpu_is_taken_by_a_pull(host: Host, registry: Registry) -> None:
    spec = host.task("true", image=far(registry), gpus=1)
    holder = host.mgpu("run", "--detach", host.task("sleep 100", "holder", gpus=1))
    assert holder.returncode == 0, holder.stderr
    try:
        assert host.mgpu("run", spec).returncode == 75
        assert host.mgpu("pull", spec).returncode == 0
    finally:
        host.mgpu("stop", "holder")


def test_one_that_is_refused_does_not_keep_the_others(host: Host, registry: Registry) -> None:
    image, gone = far(registry), f"{registry.address}/org/none:1"
    spec = host.spec(f"""
kind: pipeline
jobs:
  a: {{kind: task, command: [x], image: "{gone}"}}
  b: {{kind: task, command: [x], image: "{image}"}}
""")
    done = host.mgpu("pull", spec)
    assert done.returncode == 125
    assert f"the registry has no image {gone}" in done.stderr
    assert f"{image}: pulled" in done.stdout


def test_an_interrupted_pull_ends_at_once(host: Host, registry: Registry) -> None:
    image = far(registry, 40 * MIB)
    pull = host.start("pull", task(host, image))
    assert pull.stderr
    assert "pulling" in pull.stderr.readline()
    time.sleep(1)
    pull.send_signal(signal.SIGINT)
    _, said = pull.communicate(timeout=5)
    assert pull.returncode == 130
    assert f"mgpu: {image}: interrupted at " in said


def test_without_an_engine_it_is_told(tmp_path: Path) -> None:
    host = Host(tmp_path, gpus=0)
    done = host.mgpu("pull", task(host, "busybox:1"), DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert done.returncode == 125
    assert "there is no Docker engine here" in done.stderr


@pytest.mark.parametrize("version", ["20", "28"])
def test_a_disk_that_is_too_small_is_told_as_soon_as_it_is_certain(tmp_path: Path, version: str) -> None:
    """68 MiB of disk, 60 of image: it would come, and could not be unpacked. Refused before most of it has come."""
    require("docker", not lacking(version), lacking(version))
    data = tmp_path / "docker" / "data"
    data.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500m", "tmpfs", data], check=True)
    engine = Engine(tmp_path, version)
    try:
        registry = Registry(engine.start()).start()
        small, big = far(registry, 4 * MIB), registry.push("org/big:1", 60 * MIB, 2)
        big = big.replace(registry.address, f"127.0.0.1:{FAR}")
        left = (500 * MIB - free(data) + 68 * MIB) // 1024
        subprocess.run(["mount", "-o", f"remount,size={left}k", data], check=True)
        host = host_of(engine, tmp_path)
        assert host.mgpu("pull", task(host, small)).returncode == 0
        began = time.monotonic()
        done = host.mgpu("run", task(host, big))
        assert time.monotonic() - began < 8, "60 MB at 4 MB/s would have taken 15 s"
        assert done.returncode == 125
        assert f"{big} does not fit on the disk of Docker: it needs 0.09 GB at the least" in done.stderr
        eventually(lambda: free(data) > 58 * MIB, "the engine has given up what had come")
    finally:
        engine.stop()
        subprocess.run(["umount", "--lazy", data], check=True)


def free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bfree * found.f_frsize


def event(layer: str, status: str, current: int = 0, total: int = 0, **more: str) -> dict[str, object]:
    detail = {**({"current": current, "total": total} if total else {"current": current} if current else {}), **more}
    return {"id": layer, "status": status, "progressDetail": detail}


def test_a_small_layer_tells_its_size_late() -> None:
    layers = Layers()
    for told in (event("a", "Pulling fs layer"), event("a", "Download complete")):
        layers.count(told)
    assert layers.progress()[:5] == (0, 0, 0, 1, False)
    layers.count(event("a", "Extracting", 10, 100))
    assert layers.progress() == (100, 100, 0, 1, True, 10)
    layers.count(event("a", "Pull complete"))
    assert layers.progress() == (100, 100, 1, 1, True, 100)


def test_seconds_of_unpacking_are_no_bytes() -> None:
    """What an engine that keeps its images in containerd says."""
    layers = Layers()
    layers.count(event("a", "Downloading", 50, 1000))
    layers.count(event("a", "Download complete"))
    layers.count(event("a", "Extracting", 3, units="s"))
    assert layers.progress() == (1000, 1000, 0, 1, True, 0)


def test_a_download_that_begins_again_goes_back() -> None:
    layers = Layers()
    layers.count(event("a", "Downloading", 900, 1000))
    layers.count(event("a", "Retrying in 5 seconds"))
    layers.count(event("a", "Downloading", 10, 1000))
    assert layers.progress()[:2] == (10, 1000)


def test_what_the_disk_must_have_for() -> None:
    layers = Layers()
    layers.count(event("there", "Already exists"))
    for name, size in (("a", 100), ("b", 1000), ("c", 10)):
        layers.count(event(name, "Downloading", 1, size))
    assert layers.needed() == 100 + 1000 + 1000


def test_the_disk_is_that_of_the_images() -> None:
    snapshotter = {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]], "DockerRootDir": "/d"}
    own = {**snapshotter, "Containerd": {"Address": "/run/containerd/containerd.sock"}}
    assert _root(own) == "/var/lib/containerd"
    assert _root(snapshotter) == "/d"
    assert _root({"DriverStatus": [["Backing Filesystem", "extfs"]], "DockerRootDir": "/d"}) == "/d"

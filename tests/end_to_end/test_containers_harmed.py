"""What people and hosts do to containers behind a run's back: each has its outcome in words, and frees the GPUs."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.host import Host, eventually
from tests.fakes.docker import BUSYBOX, Engine, lacking
from tests.require import require
from tests.run.scene import Scene, scene

SERVES = "trap 'exit 0' TERM; echo up; while true; do sleep 0.1; done"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Iterator[Scene]:
    with scene(tmp_path, monkeypatch, engine) as made:
        yield made


@pytest.mark.parametrize(("words", "code", "told"), [
    (["rm", "--force"], 125, "its container was removed by somebody else"),
    (["kill"], 137, "SIGKILL ended it"),
    (["stop"], 0, ""),
])  # fmt: skip
def test_somebody_ends_the_container(host: Scene, engine: Engine, words: list[str], code: int, told: str) -> None:
    runner = host.start("run", host.job(SERVES))
    eventually(lambda: "up" in host.mgpu("logs", "job").stdout, "it is up")
    engine.docker(*words, "mgpu-job", check=True)
    _, said = runner.communicate(timeout=30)
    assert runner.returncode == code, said
    assert told in said
    assert "Traceback" not in said
    assert host.held() == 0


def test_a_paused_container_keeps_its_gpus_and_can_be_stopped(host: Scene, engine: Engine) -> None:
    runner = host.start("run", host.job(SERVES))
    eventually(lambda: "up" in host.mgpu("logs", "job").stdout, "it is up")
    engine.docker("pause", "mgpu-job", check=True)
    assert [run["state"] for run in host.runs()] == ["running"]
    assert host.held() == 2
    assert host.mgpu("stop", "job").returncode == 0
    runner.communicate(timeout=30)
    assert (runner.returncode, host.held()) == (130, 0)


def test_the_image_is_removed_once_it_was_seen(host: Scene, engine: Engine) -> None:
    engine.tag("passing:1", BUSYBOX)
    point = {"role": "runner", "act": "halt", "file": "run/images.py", "name": "missing", "event": "return"}
    spec = host.task("true", image="passing:1", gpus=1)
    runner = host.start("run", spec, **host.armed(**point))
    eventually(host.hit, "the runner has seen the image")
    engine.docker("rmi", "passing:1", check=True)
    runner.send_signal(signal.SIGCONT)
    _, said = runner.communicate(timeout=30)
    assert runner.returncode == 125
    assert "the image passing:1 is gone" in said
    assert "mgpu pull" in said
    assert host.held() == 0


def test_the_disk_of_docker_is_full(tmp_path: Path) -> None:
    require("docker", not lacking(), lacking())
    engine = Engine(tmp_path)
    data = engine.folder / "data"
    data.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(data)], check=True)
    try:
        host = Host(tmp_path, engine=engine.start())
        (data / "all").write_bytes(bytes(shutil.disk_usage(data).free))
        done = host.mgpu("run", host.task("true", image=BUSYBOX, gpus=1))
        assert done.returncode == 125
        assert "the disk of Docker is full" in done.stderr
        assert "docker system prune" in done.stderr
        assert host.free() == 8
        (data / "all").unlink()
        assert host.mgpu("run", host.task("true", image=BUSYBOX, gpus=1)).returncode == 0
    finally:
        engine.stop()
        subprocess.run(["umount", "--lazy", str(data)], check=True)

"""Whole outputs of `mgpu doctor` on five kinds of host, and how it holds out where driver or Docker hang."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.fakes.nvml import DRIVER_NOT_LOADED, MIB, SWITCH, FakeGpu, Stub, no_nvml
from tests.machine.doctor import trees
from tests.machine.doctor.look import docker, looked, plain
from tests.run.scene import told

GOLDEN = Path(__file__).with_name("golden")
MISMATCH = 18
"""NVML_ERROR_LIB_RM_VERSION_MISMATCH."""
H100 = [
    FakeGpu(links=dict.fromkeys(range(18), SWITCH), p2p={n: 0 for n in range(8) if n != index}, ecc=0, numa=index // 4)
    for index in range(8)
]
RENTED = [
    FakeGpu(
        name="NVIDIA GeForce RTX 3090",
        total=24576 * MIB,
        cc_major=8,
        cc_minor=6,
        bus=f"00000000:{0x10 + index:02X}:00.0",
        pcie_generation=4,
        pcie_card=4,
        pcie_now=1,
        pstate=8,
        pcie_width=16 if index == 0 else 4,
        ancestors={1 - index: 30},
        p2p={1 - index: 1},
        persistence=1,
    )
    for index in range(2)
]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder with a short name: that of a socket has 108 bytes."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="dr-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


Setting = Callable[[Path, Stub], "dict[str, str]"]
HOSTS: dict[str, tuple[trees.Files, Setting, dict[str, str], int, int]] = {
    "server": (trees.server(), lambda root, stub: stub.write(H100).env, {}, 1000 * 2**30, 0),
    "desktop-nouveau": (trees.desktop(), lambda root, stub: no_nvml(root), {}, 16 * 2**30, 1),
    "rented": (
        trees.rented(),
        lambda root, stub: stub.write(RENTED, driver="560.35.03", cuda=12060).env,
        {"RUNPOD_POD_ID": "x1"},
        64 * MIB,
        1,
    ),
    "updated": (trees.updated(), lambda root, stub: stub.write(init=MISMATCH).env, {}, 1000 * 2**30, 1),
    "no-gpu": (trees.bare(), lambda root, stub: no_nvml(root), {}, 32 * 2**30, 1),
}
"""The files, the driver, the shell's variables, the shared memory, and the exit code."""


@pytest.mark.parametrize("name", HOSTS)
def test_a_whole_host(root: Path, nvml: Stub, name: str, request: pytest.FixtureRequest) -> None:
    files, driver, env, shm, code = HOSTS[name]
    trees.grow(root, files)
    with docker(root) if files.get("/var/lib/docker") else nullcontext():
        done = looked(root, driver(root, nvml), env=env, shm=shm)
    text, golden = plain(done.stdout, root), GOLDEN / f"{name}.txt"
    if "MGPU_GOLDEN" in os.environ:
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert text == golden.read_text()
    told(request, f"doctor on {name}", f"  {done.stderr.strip()}, without the start of Python")


def test_json_says_the_same(root: Path, nvml: Stub) -> None:
    trees.grow(root, trees.server(1))
    done = looked(root, nvml.write(init=DRIVER_NOT_LOADED).env, "driver.nvml", "clock", "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["ok"], said["version"], said["container"]) == (1, False, 1, None)
    assert [(row["group"], row["name"], row["verdict"]) for row in said["checks"]] == [
        ("driver", "nvml", "broken"),
        ("programs", "clock", "ok"),
    ]
    assert said["checks"][0]["mend"] == ["sudo modprobe nvidia", "sudo reboot"]


def test_a_word_that_is_no_check(root: Path, nvml: Stub) -> None:
    done = looked(root, nvml.env, "gpu")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no check 'gpu'" in done.stderr
    assert "did you mean 'gpus'?" in done.stderr


def test_a_driver_that_hangs_is_told_and_the_rest_goes_on(
    root: Path, nvml: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees.grow(root, trees.server())
    (root / "sitecustomize.py").write_text("from mgpu.machine.checks import survey\nsurvey.DRIVER = 0.5\n")
    began = time.monotonic()
    path = f"{root}{os.pathsep}{Path(__file__).parents[3]}"
    done = looked(root, {**nvml.write(H100, hang=1000).env, "PYTHONPATH": path}, "driver", "host")
    assert done.returncode == 1
    assert "BROKEN   nvml         the driver does not answer: nothing came back within 0.5 s" in done.stdout
    assert "ok       memory" in done.stdout
    assert time.monotonic() - began < 20


def test_a_docker_that_hangs_is_told(root: Path, nvml: Stub) -> None:
    trees.grow(root, trees.server())
    (root / "sitecustomize.py").write_text("from mgpu.machine.checks import survey\nsurvey.DOCKER = 0.5\n")
    path = f"{root}{os.pathsep}{Path(__file__).parents[3]}"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(root / "docker.sock"))
        deaf.listen()
        done = looked(root, {**nvml.write(H100).env, "PYTHONPATH": path}, "docker", "clock")
    assert done.returncode == 1
    assert "BROKEN   engine" in done.stdout
    assert "within 0.5 s" in done.stdout
    assert "ok       clock" in done.stdout

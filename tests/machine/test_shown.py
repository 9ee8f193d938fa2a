"""`mgpu machine` as people see it: a golden for every fault and every kind of box, and what a terminal gets."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mgpu.catalog.machines import shorthand
from mgpu.cli.machine import shown
from mgpu.machine.file import load
from mgpu.values.machine import Gpu, Machine, Process
from tests.fakes.nvml import DRIVER_NOT_LOADED, LOST, MIB, SWITCH, UNKNOWN, FakeGpu, Stub, bus, no_nvml
from tests.machine.reading import ROOT, mgpu
from tests.require import host_pids

BOXES = Path(__file__).parents[1] / "machines"
GOLDENS = Path(__file__).parent / "goldens"
HOST = re.compile(r"\d+ CPUs?, \d+ GiB of memory.*")
H100 = FakeGpu(
    links=dict.fromkeys(range(18), SWITCH), ancestors=dict.fromkeys(range(4), 50), p2p=dict.fromkeys(range(4), 0)
)


def golden(name: str, text: str) -> None:
    """`text` is what the golden says; MGPU_WRITE_GOLDENS=1 writes it anew, for a person to look at the diff."""
    path = GOLDENS / f"{name}.txt"
    if os.environ.get("MGPU_WRITE_GOLDENS"):
        path.write_text(text)
    assert text == path.read_text()


def seen(stub: Stub, **more: str) -> str:
    """What the command prints, without what is this host's own."""
    env = {"MGPU_LOCK_DIR": str(stub.file.parent / "locks"), **stub.env, **more}
    return HOST.sub("(this host)", mgpu(env=env)).replace(f"{os.uname().nodename}: ", "host: ")


def test_healthy(nvml: Stub) -> None:
    golden("healthy", seen(nvml.write([H100] * 4)))


def test_lost(nvml: Stub) -> None:
    golden("lost", seen(nvml.write([H100, FakeGpu(handle=LOST), H100])))


def test_unknown_error(nvml: Stub) -> None:
    golden("unknown-error", seen(nvml.write([H100, FakeGpu(handle=UNKNOWN), H100])))


def test_no_driver(nvml: Stub) -> None:
    golden("no-driver", seen(nvml.write(init=DRIVER_NOT_LOADED)))


def test_container_that_lost_its_gpus(nvml: Stub) -> None:
    golden("nvml-unknown-error", seen(nvml.write(init=UNKNOWN)))


def test_no_library(nvml: Stub) -> None:
    nvml.env = no_nvml(nvml.file.parent)
    golden("no-library", seen(nvml))


def test_mig(nvml: Stub) -> None:
    golden("mig", seen(nvml.write([H100, FakeGpu(mig=1)])))


def test_order_changed(nvml: Stub) -> None:
    small = FakeGpu(name="NVIDIA L4", total=23034 * MIB, reserved=556 * MIB, bus=bus(9))
    golden("order-changed", seen(nvml.write([small, FakeGpu(bus=bus(1))])))


def test_foreign_process(nvml: Stub) -> None:
    host_pids()
    command = [sys.executable, "-c", "print(end='!', flush=True); input()"]
    with subprocess.Popen(command, stdin=-1, stdout=-1) as child:
        assert child.stdout
        child.stdout.read(1)
        text = seen(nvml.write([FakeGpu(used=9 * 2**30, processes=((child.pid, 9 * 2**30),)), H100]))
        child.communicate()
    golden("foreign-process", re.sub(r"python[0-9.]* \(pid \d+\)", "python (pid 4242)", text))


def test_mask(nvml: Stub) -> None:
    golden("mask", seen(nvml.write([H100] * 3), CUDA_VISIBLE_DEVICES="2,0"))


def test_worn(nvml: Stub) -> None:
    golden("worn", seen(nvml.write([FakeGpu(remapped=(0, 1, 1, 0), ecc=2), FakeGpu(remapped=(0, 9, 0, 1))])))


@pytest.mark.parametrize("path", sorted(BOXES.glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("width", [80, 120])
def test_boxes(path: Path, width: int) -> None:
    lines = shown(load(path.name, path.read_text()), width)
    assert max(map(len, lines)) <= width
    golden(f"{path.stem}-{width}", "\n".join(lines) + "\n")


def test_many_gpus_have_their_links_summed_up() -> None:
    assert shown(shorthand("64xh100"))[-1] == "NV18: 224 pairs, 450 GB/s per direction, P2P"


def test_nothing_in_a_name_moves_the_cursor() -> None:
    gpu = Gpu(0, "a\033[2Jb", 2**30, 0, processes=(Process(7, "evil\033]0;x\a"),))
    text = "\n".join(shown(Machine("box\r\n", (gpu,), notes=("\033[31mred",)), 80))
    assert not set(text) & set("\033\r\a")
    assert "a\N{REPLACEMENT CHARACTER}[2Jb" in text


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": ""}, False), ({"TERM": "dumb"}, False)])
def test_colour_is_for_terminals_that_want_it(env: dict[str, str], coloured: bool) -> None:
    command = [sys.executable, "-m", "mgpu", "machine", "--machine", str(BOXES / "lost.yaml")]
    clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    master, slave = pty.openpty()
    with subprocess.Popen(command, stdout=slave, env={**clean, "TERM": "xterm", **env}, cwd=ROOT) as child:
        os.close(slave)
        text = everything(master)
    assert child.returncode == 0
    assert ("\033[31mlost: it fell off the bus\033[0m" in text) == coloured
    assert ("\033" in text) == coloured


def everything(terminal: int) -> str:
    """What was written to the terminal until its other end was closed."""
    text = b""
    while True:
        try:
            text += (part := os.read(terminal, 4096))
        except OSError:
            part = b""
        if not part:
            os.close(terminal)
            return text.decode()


def test_a_pipe_gets_no_colour_and_a_line_a_gpu() -> None:
    text = mgpu("--machine", str(BOXES / "lost.yaml"), env={})
    assert "\033" not in text
    assert len([line for line in text.splitlines() if "lost: it fell off the bus" in line]) == 1

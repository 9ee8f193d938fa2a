"""Links are measured by NCCL or not at all: what it says is read, wrong values are no figure, the GPUs are leased."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mgpu.errors import HostError, NoRoom
from mgpu.machine import software
from mgpu.machine.file import load
from mgpu.run import linkbench
from mgpu.run.linkbench import of_perf, of_script, pairs, surroundings, tool
from mgpu.values.machine import Gpu, Machine
from tests.fakes.nvml import FakeGpu, Stub, uuid
from tests.machine.reading import ROOT
from tests.require import require

PERF = """\
# nThread 1 nGpus 2 minBytes 8192 maxBytes 67108864 step: 8192(factor) warmup iters: 10 iters: 100 agg iters: 1
# Using devices
#  Rank  0 Group  0 Pid   4711 on       box device  0 [0000:01:00] NVIDIA GeForce RTX 3090
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
        8192          2048     float     sum      -1    11.92    0.69    0.69      0    11.60    0.71    0.71      0
    67108864      16777216     float     sum      -1   1560.1   43.02   43.02      {}   1571.8   42.70   42.70    N/A
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 21.7743
"""
SCRIPT = {"torch": "2.13.0", "backend": "nccl", "nccl": "2.27.3", "right": True, "graph": True}


def test_nccl_tests_are_read() -> None:
    assert of_perf(PERF.format(0)) == (11.60, 43.02, True, "nccl-tests")
    assert not of_perf(PERF.format(3)).right


@pytest.mark.parametrize("text", ["", "nonsense\n", PERF.replace("67108864 ", "6710886 "), PERF.replace("8192 ", "#")])
def test_what_lacks_a_size_is_no_figure(text: str) -> None:
    with pytest.raises(ValueError, match="there is no row of"):
        of_perf(text)


def test_the_script_is_read() -> None:
    text = "a warning\n" + json.dumps({**SCRIPT, "latency_us": 5.5, "GBps": 42.0}) + "\n"
    assert of_script(text) == (5.5, 42.0, True, "torch 2.13.0, NCCL 2.27.3, in a CUDA graph")


@pytest.mark.parametrize("text", ["", "{}", "{", json.dumps({**SCRIPT, "latency_us": 0, "GBps": 1}), "[]"])
def test_what_is_not_the_scripts_is_no_figure(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        of_script(text)


def test_the_script_runs_and_checks_values() -> None:
    require("torch", bool(software.installed(["torch"])), "torch is not installed")
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*argv, linkbench.SCRIPT, "gloo"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found = of_script(done.stdout)
    assert found.right
    assert found.how.endswith(", gloo")


WRONG = """
import sys
sys.path.insert(0, {folder!r})
import allreduce, torch, torch.distributed as dist
right = dist.all_reduce
def off(values):
    right(values)
    if dist.get_rank() and values.numel() > 5: values[-1] += 1
dist.all_reduce = off
allreduce.main("gloo")
"""


def test_a_transfer_that_loses_a_value_on_one_gpu_is_seen(tmp_path: Path) -> None:
    require("torch", bool(software.installed(["torch"])), "torch is not installed")
    (tmp_path / "off.py").write_text(WRONG.format(folder=str(Path(linkbench.SCRIPT).parent)))
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*argv, tmp_path / "off.py"], capture_output=True, text=True, timeout=120, check=False)
    assert not of_script(done.stdout).right


def gpu(index: int, holder: str | None = None) -> Gpu:
    return Gpu(index, "x", 2**34, 2**34, uuid=f"GPU-{index}", holder=holder)


def test_every_two_that_are_free() -> None:
    machine = Machine("box", (gpu(0), gpu(1, "somebody"), gpu(2), gpu(3)))
    assert [(a.index, b.index) for a, b in pairs(machine)] == [(0, 2), (0, 3), (2, 3)]


def test_one_gpu_has_no_link() -> None:
    with pytest.raises(NoRoom, match="wants two free GPUs, and box has 1 of 1") as caught:
        pairs(Machine("box", (gpu(0),)))
    assert not caught.value.ever
    with pytest.raises(NoRoom, match="box has 1 of 2: GPU 1 is held by somebody") as caught:
        pairs(Machine("box", (gpu(0), gpu(1, "somebody"))))
    assert caught.value.ever


def test_gloo_is_no_substitute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(software, "installed", lambda names: (("torch", "2.13.0+cpu"),))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match=r"torch 2\.13\.0\+cpu has no NCCL, and no all_reduce_perf on PATH"):
        tool()
    monkeypatch.setattr(software, "installed", lambda names: ())
    with pytest.raises(HostError, match="there is no torch in the interpreter on PATH"):
        tool()


def test_torch_with_nccl_is_the_first_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "installed", lambda names: (("torch", "2.13.0+cu130"),))
    found = tool()
    assert found.argv[0] == (shutil.which("python3") or shutil.which("python"))
    assert found.argv[1:3] == ("-m", "torch.distributed.run")
    assert (found.name, found.read) == ("torch 2.13.0+cu130", of_script)


def test_the_two_are_all_that_is_in_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "7")
    env = surroundings(gpu(0), gpu(3), "r-1")
    assert (env["CUDA_VISIBLE_DEVICES"], env["CUDA_DEVICE_ORDER"]) == ("GPU-0,GPU-3", "PCI_BUS_ID")
    assert env["MGPU_RUN"] == "r-1"
    assert "RANK" not in env


def bench(nvml: Stub, folder: Path, body: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`mgpu bench links` on two free GPUs and one that something uses, with an all_reduce_perf that does `body`, and an
    interpreter on PATH that has no torch."""
    cards = [FakeGpu(ancestors={0: 30, 1: 30}) for _ in range(2)]
    nvml.write([*cards, FakeGpu(processes=((os.getpid(), 2**30),))])
    (folder / "bin").mkdir()
    for name, text in (("all_reduce_perf", body), ("python3", "exit 1")):
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MGPU_", "CUDA_"))}
    env = {"MGPU_LOCK_DIR": str(folder / "locks"), "MGPU_STATE_DIR": str(folder / "state"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mgpu"]
    run = {**inherited, **nvml.env, **env, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*command, "bench", "links", *words], env=run, capture_output=True, text=True, timeout=60, check=False
    )
    shown = subprocess.run([*command, "machine", "--yaml"], env=run, capture_output=True, text=True, check=True)
    (folder / "after.yaml").write_text(shown.stdout)
    return done


def test_figures_are_shown_and_kept(nvml: Stub, tmp_path: Path) -> None:
    seen = f'echo "$CUDA_VISIBLE_DEVICES" >{tmp_path}/seen; ls {tmp_path}/locks >>{tmp_path}/seen'
    body = f"{seen}\ncat <<'END'\n{PERF.format(0)}END"
    done = bench(nvml, tmp_path, body)
    assert (done.returncode, done.stdout) == (
        0,
        "PAIR     KIND    LATENCY us  64 MiB GB/s\n0-1      PHB           11.6         43.0\n",
    )
    assert "measuring GPU 0 and 1, by nccl-tests" in done.stderr
    seen_lines = (tmp_path / "seen").read_text().splitlines()
    assert seen_lines == [f"{uuid(0)},{uuid(1)}", f"gpu-{uuid(0)}.lock", f"gpu-{uuid(1)}.lock"]
    after = load("after.yaml", (tmp_path / "after.yaml").read_text())
    figures = {(link.a, link.b): (link.latency, link.measured) for link in after.links}
    assert figures[0, 1] == (11.6, 43.02)
    assert all(gpu.holder is None for gpu in after.gpus)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (f"cat <<'END'\n{PERF.format(3)}END", "values come out wrong: the driver grants P2P that does not work here"),
        ("echo no device >&2; exit 3", "nccl-tests failed with 3: no device"),
        ("echo nothing", "says what cannot be read: there is no row of 8192 bytes"),
    ],
)
def test_what_goes_wrong_is_said_and_not_kept(nvml: Stub, tmp_path: Path, body: str, why: str) -> None:
    done = bench(nvml, tmp_path, body, "--json")
    assert done.returncode == 125
    data = json.loads(done.stdout)
    assert data["links"] == []
    assert why in data["failed"][0]["why"]
    assert not (tmp_path / "state" / "measured.json").exists()


def test_a_transfer_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linkbench, "WITHIN", 0.3)
    slow = linkbench.Tool("slow", ("sleep", "60"), of_perf)
    assert str(linkbench._pair(slow, gpu(0), gpu(1), "r")).startswith("nothing came back within 0 s")
    absent = linkbench.Tool("x", ("/no/such/program",), of_perf)
    assert "cannot be started: No such file" in str(linkbench._pair(absent, gpu(0), gpu(1), "r"))

"""What was measured on this host is there in the next run, and damage to its file costs figures and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mgpu.errors import HostError
from mgpu.machine import measured
from mgpu.machine.file import dump, load
from mgpu.machine.measured import LinkFigure, Measured, keep_corrections, keep_links, read
from mgpu.values.machine import Gpu, Link, Machine
from mgpu.values.memory import Correction
from tests.fakes.nvml import FakeGpu, Stub, uuid
from tests.machine.reading import machine

GRAPHS = Correction("vllm", "0.32.0", "h100-sxm", "CUDA graphs", 700 * 2**20, 2, 1, "boot.log")
BRIDGE = LinkFigure("GPU-a", "GPU-b", 5.5, 42.0, "torch 2.13, NCCL 2.27", "2026-11-24")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of this user's."""
    monkeypatch.setenv("MGPU_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def test_nothing_was_measured_yet(folder: Path) -> None:
    assert read() == Measured()
    assert not folder.exists()


def test_what_is_kept_is_read_again(folder: Path) -> None:
    keep_corrections([GRAPHS])
    keep_links([BRIDGE])
    assert read() == Measured((GRAPHS,), (BRIDGE,))
    assert (folder / "measured.json").stat().st_mode & 0o777 == 0o600


def test_a_newer_figure_takes_the_place_of_the_one_before() -> None:
    other = GRAPHS._replace(tensor=4)
    keep_corrections([GRAPHS, other])
    keep_corrections([GRAPHS._replace(bytes=5, log="later.log")])
    assert read().corrections == (GRAPHS._replace(bytes=5, log="later.log"), other)
    keep_links([BRIDGE])
    keep_links([LinkFigure("GPU-b", "GPU-a", 9.0, 7.0)])
    assert read().links == (LinkFigure("GPU-b", "GPU-a", 9.0, 7.0),)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"version": 1, "links": ', "\ufffe"])
def test_a_damaged_file_is_told_and_put_aside(text: str, folder: Path) -> None:
    folder.mkdir()
    (folder / "measured.json").write_text(text)
    (note,) = read().notes
    assert "is damaged" in note
    keep_links([BRIDGE])
    assert read() == Measured((), (BRIDGE,))
    assert (folder / "measured.json.damaged").read_text() == text


@pytest.mark.parametrize(
    "row",
    [3, {}, {**GRAPHS._asdict(), "bytes": "7"}, {**GRAPHS._asdict(), "more": 1}, {**GRAPHS._asdict(), "engine": None}],
)
def test_a_damaged_row_is_left_out(row: object, folder: Path) -> None:
    folder.mkdir()
    rows = {"version": 1, "corrections": [row, GRAPHS._asdict()], "links": [BRIDGE._asdict(), {"GBps": -1}]}
    (folder / "measured.json").write_text(json.dumps(rows))
    found = read()
    assert (found.corrections, found.links) == ((GRAPHS,), (BRIDGE,))
    assert found.notes[0].startswith("2 of the figures")


@pytest.mark.parametrize("number", [0, -3, 1e300, True, "7", None])
def test_a_figure_is_a_number_that_can_be(number: object, folder: Path) -> None:
    folder.mkdir()
    (folder / "measured.json").write_text(json.dumps({"version": 1, "links": {**BRIDGE._asdict(), "GBps": number}}))
    assert read().links == ()


def test_a_later_version_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    text = '{"version": 2, "all": "new"}'
    (folder / "measured.json").write_text(text)
    assert "is of version 2, and this mgpu reads 1" in read().notes[0]
    with pytest.raises(HostError, match="is of version 2"):
        keep_links([BRIDGE])
    assert (folder / "measured.json").read_text() == text


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MGPU_STATE_DIR", str(tmp_path / "file" / "state"))
    assert read() == Measured()
    with pytest.raises(HostError, match="cannot be written: Not a directory"):
        keep_links([BRIDGE])


def test_without_a_home_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MGPU_STATE_DIR")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda text: text)
    assert read() == Measured()


def test_writers_at_the_same_time_lose_nothing() -> None:
    code = (
        "import sys; from mgpu.machine.measured import LinkFigure, keep_links\n"
        "for n in range(5): keep_links([LinkFigure(sys.argv[1], str(n), 1.0, 1.0)])"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, name], env={**os.environ}) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(read().links) == 15


def test_figures_stand_on_the_links_of_their_gpus() -> None:
    gpus = [Gpu(index, "x", 1, 1, uuid=f"GPU-{name}") for index, name in enumerate("abc")]
    links = [Link(0, 1, "PHB"), Link(0, 2, "SYS"), Link(1, 7, "SYS")]
    figured = measured.on_links(links, gpus, [BRIDGE._replace(a_uuid="GPU-b", b_uuid="GPU-a")])
    assert figured == (links[0]._replace(latency=5.5, measured=42.0), links[1], links[2])


def test_a_snapshot_has_them(nvml: Stub, folder: Path) -> None:
    nvml.write([FakeGpu(ancestors={1: 30}), FakeGpu(ancestors={0: 30})])
    keep_corrections([GRAPHS])
    keep_links([BRIDGE._replace(a_uuid=uuid(1), b_uuid=uuid(0))])
    found = machine(nvml, MGPU_STATE_DIR=str(folder))
    assert found.corrections == (GRAPHS,)
    assert [(link.latency, link.measured) for link in found.links] == [(5.5, 42.0)]


def test_a_snapshot_tells_of_damage(nvml: Stub, folder: Path) -> None:
    folder.mkdir()
    (folder / "measured.json").write_text("{")
    found = machine(nvml, MGPU_STATE_DIR=str(folder))
    assert any("is damaged" in note for note in found.notes)


def test_a_machine_file_carries_them_for_people_to_read() -> None:
    gpus = tuple(Gpu(index, "NVIDIA L4", 4 * 2**20, 3, uuid=f"GPU-{index}") for index in range(3))
    links = (Link(0, 1, "PHB", latency=5.5, measured=42.0), Link(0, 2, "PHB"), Link(1, 2, "PHB"))
    box = Machine("box", gpus, links, corrections=(GRAPHS, Correction("sglang", None, "l4", "context", 7)))
    text = dump(box)
    assert "- kind: PHB\n  latency: 5.5\n  measured: 42.0\n  pairs: [0-1]\n- kind: PHB\n  pairs: [0-2, 1-2]\n" in text
    assert "line: CUDA graphs\n  bytes: 700MiB\n  tensor: 2\n  log: boot.log\n- engine: sglang\n  product: l4\n" in text
    assert load("box.yaml", text) == box

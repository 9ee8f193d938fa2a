"""An inherited CUDA_VISIBLE_DEVICES: CUDA's own rules, as watched on a real driver (580.159) with `cuInit`."""

from __future__ import annotations

import pytest

from mgpu.machine.mask import left, note
from mgpu.values.machine import Gpu
from tests.fakes.nvml import FakeGpu, Stub, uuid
from tests.machine.reading import machine

GPUS = tuple(
    Gpu(index, "NVIDIA L4", 2**34, 2**34, uuid=name)
    for index, name in enumerate(("GPU-aa00aa00-1111", "GPU-aa00bb00-2222", "GPU-cc00cc00-3333"))
)


@pytest.mark.parametrize(
    ("mask", "indices"),
    [
        ("0", [0]),
        ("2,0", [2, 0]),
        (" 1", [1]),
        ("1 ,2", [1, 2]),
        ("0, 1", [0, 1]),
        ("+1", [1]),
        ("01", [1]),
        ("0x2", [0]),
        ("1abc", [1]),
        ("1.9", [1]),
        ("1,", [1]),
        ("1,9,0", [1]),
        ("0,-1,2", [0]),
        ("0,GPU-cc", [0]),
        ("GPU-cc00cc00-3333", [2]),
        ("GPU-cc", [2]),
        ("GPU-c", [2]),
        ("GPU-CC00CC00-3333", [2]),
        ("GPU-cc ", [2]),
        ("GPU-aa00b,GPU-aa00a", [1, 0]),
        ("GPU-cc,1", [2]),
        ("GPU-cc,x,GPU-aa00a", [2]),
        ("", []),
        (" ", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("none", []),
        ("all", []),
        ("9", []),
        ("9,0", []),
        (",0", []),
        ("0,0", []),
        ("1,0,1", []),
        ("GPU-cc,GPU-cc00", []),
        ("GPU-", []),
        ("GPU-aa00", []),
        ("gpu-cc", []),
        (" GPU-cc", []),
        ("cc00cc00-3333", []),
    ],
)
def test_the_rules(mask: str, indices: list[int]) -> None:
    assert [gpu.index for gpu in left(mask, GPUS)] == indices


def test_the_note_says_how_indices_count() -> None:
    assert note("2,0", GPUS) == "CUDA_VISIBLE_DEVICES=2,0 bounds mgpu to GPU 2, 0, counted in the order of bus ids"
    assert note("GPU-cc", GPUS) == "CUDA_VISIBLE_DEVICES=GPU-cc bounds mgpu to GPU 2"
    assert note("", GPUS) == "CUDA_VISIBLE_DEVICES='' leaves no GPU: unset it, or name GPUs that are there"


@pytest.mark.parametrize(
    ("mask", "kept"),
    [("1", (uuid(1),)), (uuid(0)[:12], (uuid(0),)), ("", ()), ("-1", ()), ("1,0", (uuid(1), uuid(0)))],
)
def test_the_callers_mask_is_part_of_the_machine(nvml: Stub, mask: str, kept: tuple[str, ...]) -> None:
    read = machine(nvml.write([FakeGpu(), FakeGpu()]), CUDA_VISIBLE_DEVICES=mask)
    assert read.mask == kept
    assert len(read.gpus) == 2
    assert read.notes[0].startswith("CUDA_VISIBLE_DEVICES=")


def test_no_mask_is_no_bound(nvml: Stub) -> None:
    read = machine(nvml.write([FakeGpu()]))
    assert (read.mask, read.notes) == (None, ())


def test_a_mask_over_nothing_needs_no_words(nvml: Stub) -> None:
    read = machine(nvml, CUDA_VISIBLE_DEVICES="0")
    assert read.mask == ()
    assert not [said for said in read.notes if "CUDA_VISIBLE_DEVICES" in said]

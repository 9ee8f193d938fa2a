"""When what nobody of mgpu does keeps a GPU from a job, and in which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mgpu.plan.fitness import HIDDEN, foreign, unusable
from mgpu.values.machine import Gpu, Machine, Process

GIB = 2**30
GPU = Gpu(0, "H100", 80 * GIB, 40 * GIB, uuid="GPU-0")


@pytest.mark.parametrize(("unexplained", "words"), [
    (None, None),
    (0, None),
    (300 * 2**20, None),
    (HIDDEN, None),
    (HIDDEN + 1, "has 0.5 GiB in use by something outside this container"),
    (3174 * 2**20, "has 3.1 GiB in use by something outside this container"),
])  # fmt: skip
def test_memory_that_nothing_explains(unexplained: int | None, words: str | None) -> None:
    gpu = replace(GPU, unexplained=unexplained)
    assert foreign(gpu) == unusable(gpu, Machine("m", (gpu,))) == words
    assert unusable(gpu, Machine("m", (gpu,)), ignore_foreign=True) is None


@pytest.mark.parametrize(("unexplained", "processes", "words"), [
    (None, (Process(7, "python3 train.py"),), "is in use by python3 train.py (pid 7)"),
    (None, (Process(None),), "is in use by a process"),
    (0, (Process(7),), "is in use by a process (pid 7)"),
    (0, (Process(None, None, 5),), "is in use by a process outside this container"),
    (3 * GIB, (Process(None),), "has 3.0 GiB in use by something outside this container"),
    (3 * GIB, (Process(None), Process(7, "sh")), "is in use by sh (pid 7)"),
    (0, (Process(7, "sh", 5, "r-1"),), None),
])  # fmt: skip
def test_processes_come_before_memory(unexplained: int | None, processes: tuple[Process, ...], words: str) -> None:
    assert foreign(replace(GPU, unexplained=unexplained, processes=processes)) == words


def test_who_has_leased_it_is_told_before_what_is_in_use() -> None:
    gpu = replace(GPU, unexplained=30 * GIB, holder="run a of ada")
    assert unusable(gpu, Machine("m", (gpu,)), ignore_foreign=True) == "is held by run a of ada"

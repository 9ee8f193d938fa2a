"""A Machine in, the same with nobody on it out: what to compile for where nothing is going to be started yet."""

from __future__ import annotations

from dataclasses import replace

from mgpu.values.machine import Gpu, Machine


def vacant(machine: Machine) -> Machine:
    """`machine` as if its GPUs, their memory and its ports were all free, and no caller's mask bounded them."""
    return replace(machine, gpus=tuple(map(_free, machine.gpus)), ports=(), mask=None)


def _free(gpu: Gpu) -> Gpu:
    return replace(gpu, free=gpu.memory, processes=(), holder=None, shared=(), awaited=None)

"""A thing that a test needs of the machine in; a skip with its reason out, or a failure where MGPU_REQUIRE names it."""

from __future__ import annotations

import os

import pytest

from mgpu.machine.occupants import on_host

LARGE = frozenset(("serving", "vllm", "sglang", "trl"))
"""What takes minutes and gigabytes to install: only by its own name is it required."""


def require(thing: str, there: bool, reason: str) -> None:
    """Skip the test unless `there`. MGPU_REQUIRE is a list of things with commas between, or ``all`` but for
    what is LARGE: those must be."""
    required = os.environ.get("MGPU_REQUIRE", "").split(",")
    if there:
        return
    if thing in required or ("all" in required and thing not in LARGE):
        pytest.fail(f"MGPU_REQUIRE asks for {thing}: {reason}", pytrace=False)
    pytest.skip(f"{thing}: {reason}")


def host_pids() -> None:
    """Skip the test where its own process ids are not the host's, as those are that NVML tells."""
    require("host-pids", on_host(), "this is a container with process ids of its own")

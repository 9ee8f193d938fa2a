"""A thing that a test needs of the machine in; a skip with its reason out, or a failure where MGPU_REQUIRE names it."""

from __future__ import annotations

import os

import pytest


def require(thing: str, there: bool, reason: str) -> None:
    """Skip the test unless `there`. MGPU_REQUIRE is a list of things with commas between, or ``all``: those must be."""
    required = os.environ.get("MGPU_REQUIRE", "").split(",")
    if there:
        return
    if thing in required or "all" in required:
        pytest.fail(f"MGPU_REQUIRE asks for {thing}: {reason}", pytrace=False)
    pytest.skip(f"{thing}: {reason}")

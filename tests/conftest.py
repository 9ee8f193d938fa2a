"""The fixtures of every test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.fakes.nvml import Stub
from tests.require import require


@pytest.fixture
def nvml(tmp_path: Path) -> Stub:
    """A stub of the driver's library that knows no GPU yet: `write` shows some, `env` is for those that shall see."""
    require("gcc", shutil.which("gcc") is not None, "the stub of libnvidia-ml.so.1 is compiled from C")
    return Stub(tmp_path).write()

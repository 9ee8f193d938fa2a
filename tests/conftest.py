"""The fixtures of every test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.docker import Engine, lacking
from tests.fakes.nvml import Stub
from tests.require import require


@pytest.fixture
def nvml(tmp_path: Path) -> Stub:
    """A stub of the driver's library that knows no GPU yet: `write` shows some, `env` is for those that shall see."""
    require("gcc", shutil.which("gcc") is not None, "the stub of libnvidia-ml.so.1 is compiled from C")
    return Stub(tmp_path).write()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real Docker engine with the images busybox:test and fakevllm:test, and eight stub GPUs: `engine.stub`."""
    require("docker", not lacking(), lacking())
    engine = Engine(tmp_path_factory.mktemp("engine"))
    try:
        yield engine.start()
    finally:
        engine.stop()

"""The fixtures of every test."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.docker import Engine, lacking
from tests.fakes.nvml import Stub
from tests.require import require

os.environ["DOCKER_HOST"] = "unix:///nonexistent/docker.sock"
"""A test's host has the Docker that the test gives it, and not the one of whoever runs it."""

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
"""Behind a shell's & nothing hears ^C, and what a test starts would not either."""


@pytest.fixture
def nvml(tmp_path: Path) -> Stub:
    """A stub of the driver's library that knows no GPU yet: `write` shows some, `env` is for those that shall see."""
    require("gcc", shutil.which("gcc") is not None, "the stub of libnvidia-ml.so.1 is compiled from C")
    return Stub(tmp_path).write()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real Docker engine with the images busybox:test and fakevllm:test, and eight stub GPUs: `engine.stub`."""
    require("docker", not lacking(), lacking())
    yield from running(Engine(tmp_path_factory.mktemp("engine")))


@pytest.fixture(scope="session")
def engine28(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The same of a release that knows CDI, with the stub GPUs as CDI devices."""
    require("docker-28", not lacking("28"), lacking("28"))
    yield from running(Engine(tmp_path_factory.mktemp("engine28"), "28"))


def running(engine: Engine) -> Iterator[Engine]:
    """The engine from its start to its end."""
    try:
        yield engine.start()
    finally:
        engine.stop()

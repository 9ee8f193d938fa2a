"""What the tests of real engines share: the environment that has them, and the models that they serve."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.real import models
from tests.real.serving import SERVING
from tests.require import require


@pytest.fixture(scope="session", autouse=True)
def serving() -> Path:
    """The environment with vLLM and SGLang."""
    require("gcc", shutil.which("gcc") is not None, "the stub of libnvidia-ml.so.1 is compiled from C")
    require("serving", (SERVING / ".ready").exists(), "make test-engines installs vLLM and SGLang for the CPU")
    return SERVING


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that every engine serves."""
    return models.write(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that vLLM for the CPU loads, and cannot run."""
    return models.write(tmp_path_factory.mktemp("models") / "broken", models.BROKEN_HEAD_DIM)

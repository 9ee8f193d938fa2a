"""The hosts on which runs are killed, raced and stopped: with processes, or with Docker besides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.docker import Engine
from tests.run.scene import Scene, scene


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with scene(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def docked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Iterator[Scene]:
    with scene(tmp_path, monkeypatch, engine) as made:
        yield made

"""What only several parts together show: shares that wait, restarts on a full disk, ends that nobody kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run.scene import Scene, scene
from tests.run.test_queue import ended, waits

STAY = "echo $$ > $0.pid; exec sleep 1000"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A host with one GPU."""
    with scene(tmp_path, monkeypatch, gpus=1) as made:
        yield made


def share(host: Scene, name: str, size: str, script: str = "exec sleep 1000", **keys: object) -> Path:
    return host.task(script, name, gpus={"share": size}, **keys)


def shares(host: Scene, *sizes: str) -> None:
    """Runs a, b, c and so on, each with its share."""
    for name, size in zip("abc", sizes, strict=False):
        done = host.mgpu("run", "--detach", share(host, name, size))
        assert done.returncode == 0, done.stderr


def test_a_share_that_waits_gets_what_one_of_several_has_left(small: Scene) -> None:
    shares(small, "40GiB", "30GiB")
    waiter = waits(small, share(small, "later", "20GiB", "true"))
    assert small.mgpu("stop", "b").returncode == 0
    ended(waiter)
    assert [run["name"] for run in small.runs() if run["state"] == "running"] == ["a"]

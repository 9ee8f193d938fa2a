"""Questions asked apart: none can hang, end or disturb the asker."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from mgpu.machine.checks.apart import Failed, Late, answers
from tests.end_to_end.host import eventually, lives


def deaf(file: Path) -> None:
    """Start what ignores a polite end, and never come back."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    file.write_text(f"{os.getpid()} {subprocess.Popen(['sleep', '1000']).pid}")
    time.sleep(1000)


def test_answers_come_in_the_order_of_the_questions() -> None:
    slow, large = (lambda: time.sleep(0.1) or "late"), (lambda: "x" * 2**20)
    assert answers([(slow, 30), (large, 30), (lambda: 3, 30)]) == ["late", "x" * 2**20, 3]
    assert answers([]) == []


def test_what_hangs_is_late_and_is_ended_with_what_it_started(tmp_path: Path) -> None:
    file = tmp_path / "pids"

    def written() -> str:
        return str(eventually(lambda: file.exists() and file.read_text(), "the other has started"))

    said, pids = answers([(lambda: deaf(file), 3.0), (written, 30)])
    assert said == Late(3.0)
    eventually(lambda: not any(lives(int(pid)) for pid in pids.split()), "nothing of it is left")


def test_what_fails_or_dies_tells_so() -> None:
    def fails() -> None:
        raise ValueError("no such thing")

    assert answers([(fails, 30), (lambda: os.kill(os.getpid(), signal.SIGKILL), 30), (lambda: 1, 30)]) == [
        Failed("ValueError: no such thing"),
        Failed("its process died"),
        1,
    ]


def test_no_descriptor_and_no_child_is_left() -> None:
    """But for those that other tests of this process have, an engine for one."""
    before, others = open_files(), children()
    answers([(lambda: 1, 30), (lambda: time.sleep(1000), 0.05)])
    assert open_files() <= before
    assert children() <= others


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def children() -> set[str]:
    file = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(file.read_text().split()) if file.exists() else set()

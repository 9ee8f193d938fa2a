"""Jobs that will not end, stopped again and again: whatever they do, nothing of them lives once `stop` is back."""

from __future__ import annotations

import time

import pytest

from tests.end_to_end.host import eventually, lives
from tests.run.scene import SOAK, Scene, told

GRACE = 0.3
ROUNDS = 40 if SOAK else 2
"""How often each kind is stopped: five kinds, 200 times in all."""
SLACK = 2.0
"""Seconds beyond its grace within which a job is to be gone."""

DEAF = 'trap "" TERM INT HUP; '
LOOP = "echo $$ >> pids; while true; do sleep 0.05; done"
KINDS = {
    "ignores TERM": f"{DEAF}{LOOP}",
    "grandchildren hold the pipe": f"sh -c '{DEAF}sh -c \"{LOOP}\" & {LOOP}' & {DEAF}{LOOP}",
    "double fork, no session, no marks": f"(setsid env -i PATH=$PATH sh -c '{DEAF}{LOOP}' &) ; {LOOP}",
    "stops itself": "echo $$ >> pids; echo $$ >> pids; kill -STOP $$; sleep 1000",
    "its agent dies first": f"(setsid sh -c '{DEAF}{LOOP}' &) ; echo $$ >> pids; sleep 0.2; kill -9 $$",
}
SEEN = {"ignores TERM": 1, "grandchildren hold the pipe": 3}
"""How many lines each kind writes once it is whole; 2 if not said."""


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_survives_a_stop(host: Scene, request: pytest.FixtureRequest, kind: str) -> None:
    slowest = survivors = 0.0
    for _ in range(ROUNDS):
        (host.folder / "pids").unlink(missing_ok=True)
        began = host.mgpu("run", "--detach", host.job(KINDS[kind], stop_grace=f"{int(GRACE * 1000)}ms"))
        assert began.returncode == 0, began.stderr
        pids = eventually(lambda: written(host, SEEN.get(kind, 2)), "the job is whole")
        at = time.monotonic()
        done = host.mgpu("stop", "job")
        slowest = max(slowest, time.monotonic() - at)
        survivors += sum(map(lives, pids))
        assert done.returncode == 0, done.stderr
        assert host.of_host() == set()
    words = f"  {ROUNDS} rounds, {survivors:.0f} survivors, slowest {slowest:.1f} s (grace {GRACE} + {SLACK:g})"
    told(request, f"stop: a job that {kind}", words)
    assert survivors == 0


def written(host: Scene, lines: int) -> list[int]:
    """The ids that the job's processes wrote down, once there are so many."""
    file = host.folder / "pids"
    found = file.read_text().split() if file.exists() else []
    return [int(pid) for pid in found] if len(found) >= lines else []

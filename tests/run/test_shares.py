"""Shares of a card against a simple model: a list of who has which MiB, and the first place that is free."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgpu.machine import leases, locks, notes
from mgpu.machine.leases import Clash, Holder, Lease, Share
from tests.end_to_end.host import kill

SOAK = "MGPU_SOAK" in os.environ
CARD = 16
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, CARD + 1)),
        st.tuples(st.just("whole"), st.just(0)),
        st.tuples(st.just("end"), st.integers(0, 30)),
    ),
    max_size=40,
)
HOLDER = """
import sys, time
from mgpu.machine.leases import Holder, Share, take
lease = take(["x"], (), Holder(sys.argv[1], sys.argv[1], "ada", 0.0), {"x": Share(int(sys.argv[2]), 16)})
print(*lease.starts.values(), flush=True)
time.sleep(1000)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MGPU_LOCK_DIR", str(tmp_path / "locks"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return Path(leases.folder())


def someone(name: str = "llm") -> Holder:
    return Holder(f"none-{name}", name, "ada", 0.0)


def share(mib: int, name: str = "llm") -> Lease:
    return leases.take(["x"], (), someone(name), {"x": Share(mib, CARD)})


@contextmanager
def held(mib: int, name: str = "llm") -> Iterator[Lease]:
    """A share that ends cleanly, as a run's does; what ends otherwise leaves its note."""
    lease = share(mib, name)
    try:
        yield lease
    finally:
        lease.release()


def start(lease: Lease) -> int:
    (found,) = lease.starts.values()
    return found


def written(folder: Path) -> dict[int, str]:
    """The notes in the lock file: the names by the bytes that they are about."""
    handle = locks.opened(str(folder / "gpu-x.lock"))
    try:
        return {at: note.name for at, note in notes.every(handle)}
    finally:
        os.close(handle)


class Model:
    """The card as a list: for each MiB who has it. A whole lease has them all."""

    def __init__(self) -> None:
        self.parts: dict[Lease, range] = {}

    def place(self, mib: int) -> int | None:
        """Where the first `mib` that lie together and are free begin."""
        taken = {at for part in self.parts.values() for at in part}
        places = (at for at in range(CARD - mib + 1) if not taken & set(range(at, at + mib)))
        return next(places, None)


@settings(max_examples=2000 if SOAK else 150, deadline=None)
@given(acts=ACTS)
def test_shares_are_given_as_the_model_gives_them(acts: list[tuple[str, int]]) -> None:
    model = Model()
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patched:
        patched.setenv("MGPU_LOCK_DIR", f"{place}/locks")
        for act, number in acts:
            if act == "end":
                for lease in list(model.parts)[number : number + 1]:
                    lease.release()
                    del model.parts[lease]
                continue
            mib = number or CARD
            expected = model.place(mib)
            try:
                lease = share(mib) if act == "take" else leases.take(["x"], (), someone())
            except Clash:
                assert expected is None
                continue
            assert start(lease) == expected
            model.parts[lease] = range(start(lease), start(lease) + mib)
            held = [at for part in model.parts.values() for at in part]
            assert len(held) == len(set(held)) <= CARD
            assert max(held) < CARD
        assert bool(leases.holders(["x"])) == bool(model.parts)
        for lease in model.parts:
            lease.release()
        assert leases.holders(["x"]) == {}
        leases.take(["x"], (), someone()).release()


def test_a_whole_card_and_a_share_keep_each_other_out(folder: Path) -> None:
    with leases.take(["x"], (), someone("whole")), pytest.raises(Clash, match="held by run whole"):
        share(1)
    with held(1, "part"), pytest.raises(Clash, match="held by run part"):
        leases.take(["x"], (), someone())
    with held(10, "large"), pytest.raises(Clash, match="held by run large"):
        share(7)
    with pytest.raises(Clash):
        share(CARD + 1)


def test_each_share_has_a_note_of_its_own(folder: Path) -> None:
    first, second, third = share(4, "first"), share(4, "second"), share(4, "third")
    assert written(folder) == {0: "first", 4: "second", 8: "third"}
    second.release()
    assert written(folder) == {0: "first", 8: "third"}
    with held(3, "small") as small:
        assert (start(small), written(folder)) == (4, {0: "first", 4: "small", 8: "third"})
    first.release()
    third.release()
    assert written(folder) == {}


def test_a_clash_over_one_of_several_takes_no_share(folder: Path) -> None:
    with leases.take(["y"], (), someone()):
        with pytest.raises(Clash, match="gpu y"):
            leases.take(["x", "y"], (), someone(), {"x": Share(4, CARD)})
        assert leases.holders(["x"]) == {}
        assert written(folder) == {}


def holder(name: str, mib: int) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", HOLDER, name, str(mib)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def begun(process: subprocess.Popen[str]) -> int:
    assert process.stdout
    return int(process.stdout.readline())


def test_a_killed_process_leaves_its_share_free(folder: Path) -> None:
    with held(4, "below"), holder("killed", 8) as process:
        assert begun(process) == 4
        with pytest.raises(Clash):
            share(8)
        kill(process.pid)
        process.wait()
        assert written(folder) == {0: "below", 4: "killed"}
        with held(8, "next") as again:
            assert start(again) == 4
            assert written(folder) == {0: "below", 4: "next"}
    assert written(folder) == {}


def test_what_is_left_of_a_run_keeps_its_share(folder: Path) -> None:
    with held(4, "below"), holder("ghost", 8) as process:
        assert begun(process) == 4
        worker = subprocess.Popen(["sleep", "1000"], env={"MGPU_RUN": "ghost"})
        try:
            kill(process.pid)
            process.wait()
            with pytest.raises(Clash, match="what is left of run ghost"):
                share(8)
            with pytest.raises(Clash, match="what is left of run ghost"):
                share(1)
            leases.tidy()
            assert written(folder) == {0: "below", 4: "ghost"}
        finally:
            worker.kill()
            worker.wait()
        assert free(8)
        leases.tidy()
        assert written(folder) == {0: "below"}


def free(mib: int) -> bool:
    try:
        share(mib).release()
    except Clash:
        return False
    return True


def test_tidying_leaves_the_notes_of_those_who_live(folder: Path) -> None:
    with held(4, "one"), held(4, "two"):
        leases.tidy()
        assert written(folder) == {0: "one", 4: "two"}


def test_many_processes_never_overlap(folder: Path, tmp_path: Path) -> None:
    program = """
import json, os, random, sys, time
from mgpu.machine.leases import Clash, Holder, Share, take
chance, taken, double = random.Random(int(sys.argv[1])), 0, 0
while taken < 60:
    mib = chance.choice((1, 3, 8, 16))
    try:
        lease = take(["x"], (), Holder("none", "n", "u", 0.0), {"x": Share(mib, 16)})
    except Clash:
        time.sleep(chance.random() / 500)
        continue
    (start,) = lease.starts.values()
    mine = range(start, start + mib)
    for at in mine:
        try:
            os.close(os.open(f"{sys.argv[2]}/{at}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            double += 1
    os.sched_yield()
    for at in mine:
        os.unlink(f"{sys.argv[2]}/{at}")
    lease.release()
    taken += 1
print(json.dumps([double, max(mine)]))
"""
    (tmp_path / "marks").mkdir()
    argv = [sys.executable, "-c", program]
    takers = [
        subprocess.Popen([*argv, str(seed), str(tmp_path / "marks")], stdout=subprocess.PIPE, text=True)
        for seed in range(8)
    ]
    said = [json.loads(taker.communicate(timeout=120)[0]) for taker in takers]
    assert all(double == 0 and last < CARD for double, last in said), said

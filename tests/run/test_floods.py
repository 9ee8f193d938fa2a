"""Jobs that write much, in long lines, or no text at all: nobody waits for anybody, and nothing grows without bound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mgpu.run import follow, logcut, runs, samples, state
from tests.end_to_end.host import eventually
from tests.run.scene import SOAK, Scene, told

MIB = 2**20
FLOOD = """
import os, sys, time
piece = b"".join(b"line %07d of a log that is written at full speed\\n" % n for n in range(16 * 1024))
worst, left = 0.0, {size}
while left > 0:
    began = time.monotonic()
    left -= os.write(1, piece)
    worst = max(worst, time.monotonic() - began)
open("worst", "w").write(str(worst))
os.write(1, b"the end\\n")
"""
ODD = """
import os
os.write(1, b"x" * 10 * 2**20)
os.write(1, bytes(range(256)) * 4096)
os.write(1, b"\\n\\x1b[31mred\\x1b[0m\\r50 %\\r100 %\\n")
"""


def script(host: Scene, text: str) -> Path:
    (host.folder / "job.py").write_text(text)
    return host.spec(f"kind: task\ncommand: [{sys.executable}, job.py]\n")


def resident(pid: int) -> int:
    """The most bytes that a process had in memory; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024
    except (OSError, StopIteration):
        return 0


def test_a_flood_of_a_log_holds_up_nobody_and_stays_within_its_bounds(
    request: pytest.FixtureRequest, host: Scene, tmp_path: Path
) -> None:
    size, keep = (2**30, logcut.KEPT) if SOAK else (64 * MIB, 4 * MIB)
    more = {} if SOAK else {"MGPU_LOG_BYTES": str(keep)}
    spec = script(host, FLOOD.format(size=size))
    began = time.monotonic()
    with open(tmp_path / "out", "wb") as out:
        runner = subprocess.Popen([*host.argv, "run", str(spec)], env={**host.env, **more}, stdout=out)
        disk = memory = kept = 0
        while runner.poll() is None:
            for run in runs.found():
                log = Path(state.log(run.folder, "job"))
                disk = max(disk, log.stat().st_blocks * 512 if log.exists() else 0)
            memory = max(memory, resident(runner.pid))
            kept = max([kept, *map(resident, host.keepers())])
            time.sleep(0.01)
    took = time.monotonic() - began
    worst = float((tmp_path / "worst").read_text())
    log = Path(state.log(next(runs.found()).folder, "job"))
    lasting = log.stat().st_blocks * 512
    words = (
        f"  {size // MIB} MiB in {took:.1f} s: on the disk {disk / MIB:.0f} MiB at most, {lasting / MIB:.0f} at last;"
        f" run {memory / MIB:.0f} MiB of memory, keeper {kept / MIB:.0f}; the job's longest write {worst * 1000:.0f} ms"
    )
    told(request, "a log at full speed", words)
    assert runner.returncode == 0
    assert max(memory, kept) < 200 * MIB
    assert worst < 1
    assert log.stat().st_size >= size, "every byte has kept its place"
    head = min(logcut.HEAD, keep // 4)
    assert lasting <= 2 * keep + head + MIB
    shown = host.mgpu("logs", "job", "--tail", "2").stdout
    assert shown.endswith("of a log that is written at full speed\nthe end\n")
    assert shown.count("\n") == 2
    every = (tmp_path / "out").read_bytes()
    assert every.endswith(b"the end\n")
    assert b"\0" not in every, "what is cut is no zeros"
    assert len(every) >= size or b"bytes of this log are gone" in every


def test_long_lines_and_no_text_come_as_they_are(host: Scene) -> None:
    done = subprocess.run([*host.argv, "run", str(script(host, ODD))], env=host.env, capture_output=True, check=False)
    expected = b"x" * 10 * MIB + bytes(range(256)) * 4096 + b"\n\x1b[31mred\x1b[0m\r50 %\r100 %\n"
    assert (done.returncode, done.stdout == expected) == (0, True)


def test_a_reader_goes_on_behind_what_was_cut_and_says_how_much_is_gone(tmp_path: Path) -> None:
    path, out = tmp_path / "log", tmp_path / "out"
    text = b"".join(b"%09d\n" % number for number in range(200_000))
    path.write_bytes(text)
    log = logcut.Log(str(path), 4 * logcut.BLOCK)
    tail = follow.Tail(str(path), b"")
    with open(out, "wb") as to:
        tail.copy(to)
        assert log.look() is None
        while tail.copy(to):
            pass
        with path.open("ab") as more:
            more.write(b"and more\n")
        assert tail.copy(to)
        tail.close(to)
    read = out.read_bytes()
    head, _, rest = read.partition(b"[mgpu: ")
    number, _, rest = rest.partition(b" bytes of this log are gone: it keeps the newest]\n")
    assert head == text[: len(head)]
    assert rest == text[len(head) + int(number) :] + b"and more\n"
    assert path.stat().st_size == len(text) + 9
    assert path.stat().st_blocks * 512 < 10 * logcut.BLOCK
    assert follow.last(str(tmp_path), "none") == []


@pytest.mark.parametrize("lines", [0, 1, 3, 100_000, 300_000])
def test_the_last_lines_are_found_without_reading_the_rest(tmp_path: Path, lines: int) -> None:
    text = [f"{number:09d} {'x' * (number % 50)}\n" for number in range(200_000)]
    path = tmp_path / "log"
    path.write_text("".join(text))
    tail = follow.Tail(str(path), b"")
    tail.skip(lines)
    with open(tmp_path / "out", "wb") as out:
        while tail.copy(out):
            pass
        tail.close(out)
    assert (tmp_path / "out").read_text() == "".join(text[len(text) - lines :] if lines < len(text) else text)


def test_the_supervisor_idles_cheaply(request: pytest.FixtureRequest, host: Scene) -> None:
    host.mgpu("run", "--detach", host.job(gpus=2))
    keeper = eventually(host.keepers, "it is kept").pop()
    eventually(Path(samples.path(next(runs.found()).folder)).exists, "a sample is taken")
    span = 60 if SOAK else 5
    before = spent(keeper)
    time.sleep(span)
    share = (spent(keeper) - before) / span
    memory = int(next(
        line.split()[1] for line in Path(f"/proc/{keeper}/status").read_text().splitlines() if line.startswith("VmRSS")
    )) / 1024  # fmt: skip
    told(request, "the keeper", f"  idles at {share:.2%} of a core, with {memory:.1f} MiB of memory")
    assert memory < 25
    assert share < 0.01
    sample = json.loads(host.mgpu("events", "job", "--samples").stdout.splitlines()[0])
    assert set(sample["gpus"]) == set(host.gpus[:2])
    assert {"used": 0, "utilization": 0, "power": 70.0, "temperature": 35} in sample["gpus"].values()
    assert host.mgpu("stop", "job").returncode == 0


def spent(pid: int) -> float:
    """The seconds of a core that a process, and what it has started and seen end, have had."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")

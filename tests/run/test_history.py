"""What has happened, told afterwards: events in words and as data, runs that have ended, and how many are kept."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgpu.cli import telling
from mgpu.run import pruning, runs, samples, state
from tests.bench.sizes import modules
from tests.end_to_end.host import eventually
from tests.run.scene import SOAK, Scene, told

MIB = 2**20


def noted() -> Iterator[str]:
    """The kinds of events that the code notes: the first word of note(), or the second of state.note()."""
    for path in (path for path in modules() if path.parent.name == "run"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "note":
                kind = call.args[1 if ast.unparse(call.func) == "state.note" else 0]
                values = [kind.body, kind.orelse] if isinstance(kind, ast.IfExp) else [kind]
                yield from (each.value for each in values if isinstance(each, ast.Constant))


def test_every_event_has_words_and_no_other() -> None:
    kinds = {*noted()}
    assert {"ready", "failed", "ended", "over", "stuck", "kept", "boxed"} <= kinds
    assert kinds == {*telling.TASKS, *telling.RUNS}


def test_events_are_told_in_words_and_as_data(host: Scene) -> None:
    assert host.mgpu("run", host.job("exit 3", "one", gpus=1)).returncode == 3
    assert host.mgpu("run", host.job("true", "two", gpus=0)).returncode == 0
    words = host.mgpu("events").stdout.splitlines()
    assert re.fullmatch(r"\d\d \w+ \d\d:\d\d:\d\d  one  process \d+ keeps it", words[0])
    ends = [line.partition("  ")[2] for line in words if "over" in line or "failed" in line]
    assert ends == [
        "one  one failed with 3",
        "one  the run is over, with 3, the code of one",
        "two  the run is over, with 0",
    ]
    data = [json.loads(line) for line in host.mgpu("events", "two", "--json").stdout.splitlines()]
    assert [(each["name"], each["what"]) for each in data] == [
        ("two", what) for what in ("kept", "started", "ready", "ended", "over")
    ]
    assert host.mgpu("events", "one", "--samples").returncode == 0
    none = host.mgpu("events", "two", "--samples")
    assert (none.returncode, none.stdout, "no sample of two is there" in none.stderr) == (0, "", True)
    assert host.mgpu("events", "--samples").returncode == 2
    assert host.mgpu("logs", "one").returncode == 0


def test_of_runs_of_one_name_ps_tells_the_older_by_their_ids(host: Scene) -> None:
    for _ in range(2):
        assert host.mgpu("run", host.job("exit 3", "one", gpus=0)).returncode == 3
    older, _ = host.runs()
    names = [line.split()[0] for line in host.mgpu("ps", "--all").stdout.splitlines()]
    assert names == ["NAME", older["id"], "one"]
    assert older["id"] in host.mgpu("why", older["id"], "--json").stdout


def test_ps_says_of_a_task_that_it_never_started(host: Scene) -> None:
    first = "{kind: task, command: [sh, -c, exit 3]}"
    after = "{kind: task, command: ['true'], needs: {first: done}}"
    spec = host.spec(f"kind: pipeline\njobs:\n  first: {first}\n  after: {after}\n")
    assert host.mgpu("run", spec).returncode == 3
    (run,) = host.runs()
    assert [task["state"] for task in run["tasks"]] == ["failed with 3", "never started"]


def test_events_are_followed_until_the_run_is_over(host: Scene) -> None:
    host.mgpu("run", "--detach", host.job("until [ -e go ]; do sleep 0.01; done", gpus=0))
    following = host.start("events", "job", "-f", "--json")
    assert following.stdout
    first = [json.loads(following.stdout.readline())["what"] for _ in range(3)]
    (host.folder / "go").touch()
    rest, _ = following.communicate(timeout=20)
    assert following.returncode == 0
    assert [*first, *(json.loads(line)["what"] for line in rest.splitlines())] == [
        "kept", "started", "ready", "ended", "over",
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MGPU_STATE_DIR", str(tmp_path))
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def ended(folder: Path, number: int, age: float = 0, *events: str, **data: object) -> Path:
    """A run that was begun `age` seconds ago."""
    path = folder / f"job-{number:04d}"
    (path / "logs").mkdir(parents=True)
    begun = time.time() - age
    state.write(str(path / "run.json"), {"format": 1, "id": path.name, "name": "job", "commands": [], **data})
    os.utime(path / "run.json", (begun, begun))
    for what in events or ("over",):
        state.note(str(path), what, code=0)
    return path


def test_the_newest_200_that_have_ended_are_kept_for_30_days(folder: Path) -> None:
    many = [ended(folder, number, 1000 - number) for number in range(210)]
    pruning.prune()
    assert sorted(path.name for path in folder.iterdir()) == [path.name for path in many[10:]]
    old = ended(folder, 300, 31 * 86400)
    pruning.prune()
    assert not old.exists()


def test_what_is_not_over_or_not_known_is_never_pruned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGPU_KEEP_RUNS", "0")
    newer = ended(folder, 1, 10, format=99)
    fresh = ended(folder, 2, 10, "kept")
    stuck = ended(folder, 3, 31 * 86400, "stuck")
    unread = ended(folder, 4, 31 * 86400)
    (unread / "run.json").write_text("{")
    live = runs.new("live", "live-0000")
    over, lost = ended(folder, 5), ended(folder, 6, 7200, "kept")
    pruning.prune()
    assert [path.exists() for path in (newer, fresh, stuck, unread, Path(live.folder), over, lost)] == [True] * 5 + [
        False
    ] * 2
    live.discard()


def test_many_prune_and_read_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGPU_KEEP_RUNS", "20")
    for number in range(200):
        ended(folder, number, 1000 - number)
    seen: list[set[str]] = []
    threads = [threading.Thread(target=pruning.prune) for _ in range(4)]
    threads += [threading.Thread(target=lambda: seen.append({run.state for run in runs.found()})) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [{"ended"}] * 8
    assert len(list(folder.iterdir())) == 20


def test_runs_that_have_ended_are_not_read_to_list_what_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGPU_KEEP_RUNS", "10000")
    for number in range(2000 if SOAK else 200):
        ended(folder, number)
    live = runs.new("live", "live-0000")
    read: list[str] = []
    monkeypatch.setattr(state, "events", lambda path: read.append(path) or iter(()))
    pruning.prune()
    assert [run.name for run in runs.found(ended=False)] == ["live"]
    assert read == [live.folder]
    live.discard()


def test_samples_are_thinned_out_and_stay_in_order(tmp_path: Path) -> None:
    from mgpu.machine.meter import Reading

    readings = {f"GPU-{number}": Reading({"used": number, "power": 70.5}) for number in range(8)}
    size = 0
    for _ in range(3000):
        samples.append(str(tmp_path), readings)
        size = max(size, os.stat(samples.path(str(tmp_path))).st_size)
    every = samples.read(str(tmp_path))
    assert size <= samples.MOST + 1000
    assert 500 < len(every) < 3000
    assert [each["time"] for each in every] == sorted(each["time"] for each in every)
    assert samples.last(str(tmp_path)) == every[-1]
    assert every[-1]["gpus"]["GPU-3"] == {"used": 3, "utilization": None, "power": 70.5, "temperature": None}


def test_many_short_runs_leave_everything_as_it_was(request: pytest.FixtureRequest, host: Scene) -> None:
    """Some at once, beside a run that lives all the while. What is counted a third through is the same at the end."""
    count, at_once, keep = (2000, 20, 200) if SOAK else (15, 6, 5)
    host.mgpu("run", "--detach", host.job(gpus=1, name="neighbour"))
    keeper = eventually(host.keepers, "the neighbour is kept").pop()
    spec = host.task("echo $CUDA_VISIBLE_DEVICES", "short", gpus=1)
    marks: list[dict[str, int]] = []
    began = time.monotonic()
    running: list[subprocess.Popen[str]] = []
    for number in range(count):
        words = ("run", "--wait", spec, "--name", f"short-{number}")
        running.append(host.start(*words, MGPU_KEEP_RUNS=str(keep)))
        while len(running) >= (at_once if number + 1 < count else 1):
            running = [runner for runner in running if not well_ended(runner)]
            time.sleep(0.01)
        if number + 1 in (count // 3, count):
            marks.append(counted(host, keeper))
    took = time.monotonic() - began
    told(
        request, f"{count} short runs, {at_once} at once", f"  in {took:.0f} s; a third through and at the end: {marks}"
    )
    first, last = marks
    assert last["folders"] <= keep + 2 * at_once
    assert last["locks"] <= len(host.gpus) + 1, "a file for each GPU, and the gate of the queue"
    assert last["disk"] <= first["disk"] + 64 * 1024
    assert last["threads"] == first["threads"]
    assert abs(last["descriptors"] - first["descriptors"]) <= 2, "two are of a question to the driver, if one is asked"
    assert last["memory"] <= first["memory"] + MIB
    assert host.mgpu("ps", MGPU_KEEP_RUNS=str(keep)).returncode == 0
    assert counted(host, keeper)["folders"] == keep + 1
    assert host.mgpu("stop", "--all", "--now").returncode == 0
    assert (host.held(), host.locked()) == (0, 0)
    eventually(lambda: not host.of_host(), "nothing is left")


def well_ended(runner: subprocess.Popen[str]) -> bool:
    """Whether the run has ended, and then well."""
    if runner.poll() is None:
        return False
    _, error = runner.communicate()
    assert runner.returncode == 0, error
    return True


def counted(host: Scene, keeper: int) -> dict[str, int]:
    """What might grow with every run: folders of runs, lock files, the bytes that a kept run takes on the disk; and of
    a keeper the threads, descriptors and memory (bytes)."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{keeper}/status").read_text().splitlines())
    folders = [entry.path for entry in os.scandir(host.state / "runs") if entry.is_dir()]
    sizes = [sum(size(path) for path in Path(folder).rglob("*")) for folder in folders]
    return {
        "folders": len(folders),
        "locks": len(list(Path(host.env["MGPU_LOCK_DIR"]).iterdir())),
        "disk": max(sizes, default=0),
        "threads": int(lines["Threads"]),
        "descriptors": len(os.listdir(f"/proc/{keeper}/fd")),
        "memory": int(lines["VmRSS"].split()[0]) * 1024,
    }


def size(path: Path) -> int:
    """The bytes that it takes on the disk; 0 where it was pruned meanwhile."""
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0

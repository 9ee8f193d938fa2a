"""From /proc to the processes of a run: who descends from whom, and which run and task their environment names."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

RUN = "MGPU_RUN"
TASK = "MGPU_TASK"
GPUS = "MGPU_GPUS"
"""The ids of a process's GPUs, with commas between."""


class Process:
    """A live process as /proc tells it. `start` is the clock tick of its birth: with the pid, who it is."""

    __slots__ = ("parent", "pid", "start", "state")

    def __init__(self, pid: int, state: str, parent: int, start: int) -> None:
        self.pid = pid
        self.state = state
        self.parent = parent
        self.start = start


def read(pid: int) -> Process | None:
    """The process `pid`, or None where it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    words = text[text.rindex(b")") + 2 :].split()
    state = words[0].decode()
    return None if state in "ZX" else Process(pid, state, int(words[1]), int(words[19]))


def table() -> dict[int, Process]:
    """Every live process of the host that this user may see, by pid."""
    return {process.pid: process for process in map(read, pids()) if process}


def pids() -> list[int]:
    """The ids of the processes that this user may see."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def variable(pid: int, name: str) -> str | None:
    """A variable of the environment that `pid` was started with; None where it has none or it may not be read."""
    return _value(_environment(pid), name)


def _environment(pid: int) -> bytes:
    """What `pid` was started with, each variable between two zero bytes; nothing where it may not be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return b"\0" + file.read()
    except OSError:
        return b""


def _value(environment: bytes, name: str) -> str | None:
    _, found, rest = environment.partition(f"\0{name}=".encode())
    return rest.partition(b"\0")[0].decode(errors="replace") if found else None


def descendants(roots: Iterable[int], processes: Mapping[int, Process]) -> set[int]:
    """The live ones of `roots`, and whatever descends from any of the roots."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, ())
    return found & processes.keys()


def by_run() -> dict[str, set[int]]:
    """The live processes of every run, by its id: those that carry MGPU_RUN, and their descendants."""
    processes = table()
    marked: dict[str, set[int]] = {}
    for pid in processes:
        run = variable(pid, RUN)
        if run:
            marked.setdefault(run, set()).add(pid)
    return {run: descendants(pids, processes) for run, pids in marked.items()}


def given() -> Iterator[tuple[str, list[str], str | None]]:
    """Of each live process of a run that was given GPUs: the run, the ids of the GPUs, and its MGPU_LOCK_DIR."""
    for pid in pids():
        environment = _environment(pid)
        gpus = _value(environment, GPUS)
        if gpus and read(pid):
            yield _value(environment, RUN) or "?", gpus.split(","), _value(environment, "MGPU_LOCK_DIR")


def legible(pid: int) -> bool:
    """Whether this user may read what the process was started with."""
    return os.access(f"/proc/{pid}/environ", os.R_OK) and bool(_environment(pid))


def inside(pid: int) -> bool:
    """Whether the process is in another pid namespace than this one: in a container."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    except OSError:
        return False


def of_run(run: str) -> set[int]:
    """The live processes of one run."""
    return by_run().get(run, set())


def run_of(pid: int) -> str | None:
    """The id of the run that the process, or else its nearest marked ancestor, belongs to."""
    for ancestor in _line(pid):
        run = variable(ancestor, RUN)
        if run:
            return run
    return None


def _line(pid: int) -> Iterator[int]:
    while pid > 1:
        yield pid
        process = read(pid)
        pid = process.parent if process else 0


def younger(uid: int, tick: float) -> bool:
    """Whether the user `uid` has a live process that was started at `tick` (seconds since boot) or later.

    So it may be where others' processes are hidden: /proc mounted with hidepid does not even show the first.
    """
    if read(1) is None:
        return True
    earliest = (tick - 1) * os.sysconf("SC_CLK_TCK")
    return any(process.start >= earliest and owner(pid) == uid for pid, process in table().items())


def owner(pid: int) -> int | None:
    """The number of the user whose process it is; None where it is gone."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def called(uid: int) -> str:
    """The name of the user with this number; the number where it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def send(process: Process, number: int) -> bool:
    """Signal this very process and no later one of the same pid; False where it is gone or may not be signalled."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    except OSError:
        handle = -1
    try:
        now = read(process.pid)
        if now is None or now.start != process.start:
            return False
        return _deliver(process.pid, handle, number)
    finally:
        if handle >= 0:
            os.close(handle)


def _deliver(pid: int, handle: int, number: int) -> bool:
    try:
        if handle >= 0:
            import signal

            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True

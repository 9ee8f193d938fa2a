"""Commands, one JSON line each, on stdin in; their process ids on stdout out, and nothing left of them once stdin ends.

Runs as a program in a network and mount namespace of its own (see namespace.py), so that whatever its commands mount
or listen on goes away with them, also where the test that started it was killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER: a shim outlives its daemon, and shall stay below this process."""
PATIENCE = 20.0
PRIVATE = [Path("/run/containerd"), Path("/etc/docker")]
"""The sockets of the shims, a key of Docker's."""
CGROUPS = Path("/sys/fs/cgroup")


def main(name: str) -> None:
    """Serve until stdin ends; `name` is the cgroup that the containers are in."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGCHLD, lambda *_: reap())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare()
    started: list[int] = []
    print("ready", flush=True)
    for line in sys.stdin:
        started.append(start(**json.loads(line)))
        print(started[-1], flush=True)
    end(started)
    remove_cgroups(name)


def prepare() -> None:
    """A loopback device that is up, and folders that are not the host's where daemons write whatever one tells them."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for folder in PRIVATE:
        folder.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True)


def start(argv: list[str], env: dict[str, str], log: str) -> int:
    """The process that runs `argv`, its output at the end of `log`."""
    to_log = (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    no_input = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    actions = [no_input, to_log, (os.POSIX_SPAWN_DUP2, 1, 2)]
    return os.posix_spawn(argv[0], argv, env, file_actions=actions, setsid=True, setsigdef=[signal.SIGINT])


def end(started: list[int]) -> None:
    """TERM for what was started; its containers get no time, and after PATIENCE nobody does."""
    for pid in started:
        signal_to(pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while descendants := below(os.getpid(), tree := processes()):
        tidying = time.monotonic() < deadline and busy(descendants, started, tree)
        for pid in descendants:
            if not tidying or in_container(pid, tree):
                signal_to(pid, signal.SIGKILL)
        time.sleep(0.02)


def busy(descendants: set[int], started: list[int], tree: dict[int, tuple[int, str]]) -> bool:
    """Whether a daemon still tidies up: it ends its containerd last, and then sleeps for a second."""
    return not descendants.isdisjoint(started) and any(tree[pid][1].startswith("containerd") for pid in descendants)


def processes() -> dict[int, tuple[int, str]]:
    """Every process with its parent and its name."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                head, _, tail = (entry / "stat").read_text().rpartition(") ")
                found[int(entry.name)] = int(tail.split()[1]), head.partition("(")[2]
    return found


def below(root: int, tree: dict[int, tuple[int, str]]) -> set[int]:
    """The processes that descend from `root`."""
    found: set[int] = set()
    new = {root}
    while new:
        new = {pid for pid, (parent, _) in tree.items() if parent in new}
        found |= new
    return found


def in_container(pid: int, tree: dict[int, tuple[int, str]]) -> bool:
    """Whether it is a container's first process, and no runc that tidies up after one."""
    parent, name = tree[pid]
    return tree.get(parent, (0, ""))[1].startswith("containerd-shim") and not name.startswith("runc")


def reap() -> None:
    """Leave no zombie: those of the shims come here too."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def signal_to(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def remove_cgroups(name: str) -> None:
    """Remove what a killed daemon left in the host's cgroup file systems."""
    for top in [*CGROUPS.glob(name), *CGROUPS.glob(f"*/{name}")]:
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)


if __name__ == "__main__":
    main(sys.argv[1])

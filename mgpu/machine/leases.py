"""GPU ids and ports in, descriptors that hold them out: all or nothing, machine-wide, free when nobody has one open."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from mgpu.errors import HostError, NoRoom
from mgpu.machine import locks, processes

FOLDER = "/run/lock/mgpu"
NOTE = 4096
"""The longest note that is read, in bytes."""


class Holder(NamedTuple):
    """Who takes a lease: for words only, never for a decision about who owns what. `since` in seconds of the epoch."""

    run: str
    name: str
    user: str
    since: float

    def __str__(self) -> str:
        import time

        return f"run {self.name} of {self.user} since {time.strftime('%H:%M on %d %b', time.localtime(self.since))}"


class Clash(NoRoom):
    """Something that was asked for is held: `held` says by whom, by ``gpu-<id>`` and ``port-<n>``."""

    def __init__(self, held: Mapping[str, str]) -> None:
        words = "; ".join(f"{what.replace('-', ' ', 1)} is held by {who}" for what, who in held.items())
        super().__init__(words, "wait for it with --wait, or stop the holder: mgpu ps, mgpu stop NAME")
        self.held = dict(held)


class Lease:
    """What was taken. Whoever inherits `fds` holds it too; it ends when the last of them is closed."""

    def __init__(self) -> None:
        self.fds: tuple[int, ...] = ()

    def release(self) -> None:
        """Close this process's own descriptors."""
        for handle in self.fds:
            os.close(handle)
        self.fds = ()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *reason: object) -> None:
        self.release()


def folder() -> str:
    """The machine-wide folder of the locks, made if it is not there. Raises HostError where it cannot be used."""
    path = os.environ.get("MGPU_LOCK_DIR") or FOLDER
    hint = f"as root: install -d -m 1777 {path}; or name another folder with MGPU_LOCK_DIR"
    umask = os.umask(0)
    try:
        os.mkdir(path, 0o1777)
    except FileExistsError:
        pass
    except OSError as error:
        raise HostError(f"the folder of the leases, {path}, cannot be made: {error.strerror}", hint) from error
    finally:
        os.umask(umask)
    if os.path.islink(path) or not os.path.isdir(path):
        raise HostError(f"the folder of the leases, {path}, is not a folder", hint)
    return path


def take(gpus: Iterable[str], ports: Iterable[int], holder: Holder) -> Lease:
    """Lease whole GPUs (by id) and ports at once, without waiting.

    Raises Clash where one of them is held or is still used by a run whose keeper is gone; then nothing is taken.
    """
    lease = Lease()
    try:
        with _folder_errors():
            clashes = _try(_files(gpus, ports), lease)
        if clashes:
            raise Clash(clashes)
    except BaseException:
        lease.release()
        raise
    for handle in lease.fds:
        _write_note(handle, holder)
    return lease


def holders(gpus: Iterable[str]) -> dict[str, str]:
    """Who holds which of these GPUs, in words, by GPU id; free ones are left out. Takes nothing, makes nothing."""
    found = {}
    place = os.environ.get("MGPU_LOCK_DIR") or FOLDER
    for gpu in gpus:
        who = _holder_of(os.path.join(place, _file("gpu", gpu)))
        if who:
            found[gpu] = who
    return found


def _files(gpus: Iterable[str], ports: Iterable[int]) -> list[str]:
    return sorted({_file("gpu", gpu) for gpu in gpus}) + sorted({_file("port", str(port)) for port in ports})


def _file(kind: str, what: str) -> str:
    return f"{kind}-{what.replace('/', '_')}.lock"


def _try(files: list[str], lease: Lease) -> dict[str, str]:
    place = folder() if files else ""
    clashes: dict[str, str] = {}
    for file in files:
        handle = locks.reach(os.path.join(place, file))
        lease.fds += (handle,)
        who = _living(_note(handle)) if locks.lock(handle) else _in_words(_note(handle))
        if who:
            clashes[file.removesuffix(".lock")] = who
    return clashes


def _holder_of(path: str) -> str | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"somebody whose lock may not be read ({error.strerror})"
    try:
        return _in_words(_note(handle)) if locks.locked(handle) else _living(_note(handle))
    finally:
        os.close(handle)


def _in_words(note: Holder | None) -> str:
    return str(note) if note else "a run that left no name"


def _living(note: Holder | None) -> str | None:
    """A worker whose agent and keeper are both dead holds no lock, but its run's last note and its environment tell."""
    if note is None or not processes.of_run(note.run):
        return None
    return f"what is left of {note}"


def _write_note(handle: int, holder: Holder) -> None:
    import json

    text = json.dumps(holder._asdict()).encode()
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, text, 0)
    except OSError:  # a full disk costs the words, not the lease
        return


def _note(handle: int) -> Holder | None:
    import json

    try:
        said = json.loads(os.pread(handle, NOTE, 0))
        run, name, user = ("".join(filter(str.isprintable, str(said[key])))[:100] for key in ("run", "name", "user"))
        return Holder(run, name, user, float(said["since"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


@contextmanager
def _folder_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(
            f"a lease cannot be taken: {error.strerror}: {error.filename}",
            "the folder of the leases wants mode 1777 and its files 0666; MGPU_LOCK_DIR names another one",
        ) from error

"""GPU ids and ports in, descriptors that hold them out: all or nothing, machine-wide, free when nobody has one open.

A lease is a lock on bytes of a file, a byte for each MiB of the card: a whole GPU is all of them, a share some that lie
together. The kernel frees it with the last descriptor. That the lock can be had is not enough: a worker whose agent and
keeper are dead holds none, nor does a container, so what is left of a run is looked for by its marks and labels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

from mgpu.errors import HostError, NoRoom
from mgpu.machine import locks, notes
from mgpu.machine.claims import Look
from mgpu.machine.notes import Holder

__all__ = ["Clash", "Holder", "Lease", "Part", "Share", "folder", "holders", "ports", "read", "take", "tidy"]

ENDING = ".lock"


class Share(NamedTuple):
    """A part of a card: `mib` of the `of` MiB that it has."""

    mib: int
    of: int


class Part(NamedTuple):
    """What somebody holds of a card, in MiB: `mib` from `start` on, 0 for all of it; `by` whom, if he left a note."""

    start: int
    mib: int
    by: Holder | None

    def __str__(self) -> str:
        return str(self.by) if self.by else "a run that left no name"


class Clash(NoRoom):
    """Something that was asked for is held: `held` says by whom, by ``gpu-<id>`` and ``port-<n>``."""

    def __init__(self, held: Mapping[str, str]) -> None:
        words = "; ".join(f"{what.replace('-', ' ', 1)} is held by {who}" for what, who in held.items())
        super().__init__(words, "wait for it with --wait, or stop the holder: mgpu ps, mgpu stop NAME")
        self.held = dict(held)


class Lease:
    """What was taken: descriptors, and for each the first byte that it holds. Whoever inherits the descriptors holds it
    too; it ends when the last of them is closed."""

    def __init__(self) -> None:
        self.starts: dict[int, int] = {}

    @property
    def fds(self) -> tuple[int, ...]:
        """The descriptors."""
        return tuple(self.starts)

    def release(self, clean: bool = True) -> None:
        """Close this process's own descriptors; `clean` where nobody else has inherited them: then nothing is left."""
        for handle, start in self.starts.items():
            if clean:
                notes.wipe(handle, start)
            os.close(handle)
        self.starts = {}

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: type[BaseException] | None, *reason: object) -> None:
        self.release(clean=kind is not None)


def folder() -> str:
    """The machine-wide folder of the locks, made if it is not there. Raises HostError where it cannot be used."""
    path = locks.place()
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


def take(gpus: Iterable[str], ports: Iterable[int], holder: Holder, shares: Mapping[str, Share] | None = None) -> Lease:
    """Lease GPUs (by id) and ports at once, without waiting: whole GPUs, but of those in `shares` only that much.

    Raises Clash where one of them is held or is still used by a run whose keeper is gone; then nothing is taken.
    """
    lease = Lease()
    try:
        with _folder_errors():
            clashes = _try(sorted(set(gpus)), sorted(set(ports)), shares or {}, lease)
        if clashes:
            raise Clash(clashes)
    except BaseException:
        lease.release(clean=False)
        raise
    for handle, start in lease.starts.items():
        notes.write(handle, start, holder)
    return lease


def _try(gpus: list[str], ports: list[int], shares: Mapping[str, Share], lease: Lease) -> dict[str, str]:
    """Lock what is wanted, into `lease`; who has what cannot be had."""
    where = folder() if gpus or ports else ""
    wanted = {**{_file("gpu", gpu): shares.get(gpu) for gpu in gpus}, **{_file("port", str(p)): None for p in ports}}
    clashes: dict[str, str] = {}
    locked: dict[str, int] = {}
    for file, share in wanted.items():
        handle, who = _one(os.path.join(where, file), share, lease)
        clashes |= {file: who} if who else {}
        locked |= {} if who else {file: handle}
    look = Look()  # not before all is locked: nobody can leave anything behind from now on
    for file, handle in locked.items():
        left = _left(handle, look)
        clashes |= {file: left} if left else {}
    if not clashes:
        claims = look.claims(gpus, holding=True, beside=lambda gpu: _runs(_parts(locked[_file("gpu", gpu)])))
        clashes = {_file("gpu", gpu): who for gpu, who in claims.items()}
    if not clashes:
        _emptied(handle for file, handle in locked.items() if wanted[file] is None)
    return {file.removesuffix(ENDING): clashes[file] for file in wanted if file in clashes}


def _one(path: str, share: Share | None, lease: Lease) -> tuple[int, str | None]:
    """Lock one file's bytes into `lease`, or say who has them."""
    handle = locks.reach(path)
    start = (0 if locks.lock(handle) else None) if share is None else locks.lock_somewhere(handle, share.mib, share.of)
    if start is None:
        try:
            return handle, _blocking(handle)
        finally:
            os.close(handle)
    lease.starts[handle] = start
    return handle, None if locks.current(handle, path) else "somebody who is removing the folder of the leases"


def path_of(resource: str) -> str:
    """The lock file of a resource: a GPU's id, or ``port-<number>``."""
    kind, what = ("port", resource.removeprefix("port-")) if resource.startswith("port-") else ("gpu", resource)
    return os.path.join(locks.place(), _file(kind, what))


def _file(kind: str, what: str) -> str:
    return f"{kind}-{what.replace('/', '_')}{ENDING}"


def _blocking(handle: int) -> str:
    """Who holds one of the file's bytes."""
    other = locks.blocker(handle)
    note = notes.read(handle, other[0]) if other else None
    return str(note) if note else "a run that left no name"


def _left(handle: int, look: Look) -> str | None:
    """What is left of a run whose note is there and whose lock is not."""
    found = (look.of(note) for start, note in notes.every(handle) if not locks.locked(handle, start, 1))
    return next((words for words in found if words), None)


def _emptied(handles: Iterable[int]) -> None:
    """Nobody else holds a byte of these, and nothing is left of those who did: no old note is worth keeping."""
    for handle in handles:
        with suppress(OSError):
            os.ftruncate(handle, 0)


def holders(gpus: Iterable[str]) -> dict[str, str]:
    """Who holds which of these GPUs, or a part of it, in words, by GPU id; free ones are left out."""
    whole, parts = read(gpus)
    return {**whole, **{gpu: " and ".join(map(str, part)) for gpu, part in parts.items()}}


def read(gpus: Iterable[str]) -> tuple[dict[str, str], dict[str, list[Part]]]:
    """By GPU id who has one that nobody else may have anything of, in words; and the parts of those that runs share.
    Takes nothing, makes nothing."""
    wanted, look = list(gpus), Look()
    found = {gpu: _held(path_of(gpu), look) for gpu in wanted}
    whole = {gpu: who for gpu, who in found.items() if isinstance(who, str)}
    parts = {gpu: part for gpu, part in found.items() if isinstance(part, list) and part}
    rest = [gpu for gpu in wanted if gpu not in whole]
    whole |= look.claims(rest, holding=False, beside=lambda gpu: _runs(parts.get(gpu, ())))
    return whole, {gpu: part for gpu, part in parts.items() if gpu not in whole}


def _held(path: str, look: Look) -> str | list[Part] | None:
    """Who keeps everybody else off a GPU, or the parts of it that are held."""
    try:
        handle = locks.opened(path, os.O_RDWR)  # as who takes it must
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"somebody whose lock file may not be opened ({error.strerror})"
    try:
        parts = _parts(handle)
        return next((str(part) for part in parts if not part.mib), None) or _left(handle, look) or parts
    finally:
        os.close(handle)


def _parts(handle: int) -> list[Part]:
    """The parts that others hold."""
    return [Part(start, mib, notes.read(handle, start)) for start, mib in locks.ranges(handle)]


def _runs(parts: Iterable[Part]) -> set[str]:
    return {part.by.run for part in parts if part.by}


def ports() -> tuple[int, ...]:
    """The ports that runs hold, whether anything listens on them or not."""
    names = {name.removesuffix(ENDING): name for name in _names() if name.startswith("port-")}
    held = [name for name, file in names.items() if locks.held(os.path.join(locks.place(), file))]
    return tuple(sorted(int(number) for name in held if (number := name.removeprefix("port-")).isdigit()))


def _names() -> list[str]:
    """The lock files that there are."""
    try:
        return [name for name in os.listdir(locks.place()) if name.endswith(ENDING)]
    except OSError:
        return []


def tidy() -> None:
    """Wipe the notes of runs of which nothing is left, so that no other user needs to wonder about them."""
    for file in [os.path.join(locks.place(), name) for name in _names()]:
        try:
            handle = locks.opened(file, os.O_RDWR)
        except OSError:
            continue
        try:
            for start, _ in notes.every(handle):
                if locks.lock(handle, start, 1):
                    note = notes.read(handle, start)
                    if note and not Look().of(note):
                        notes.wipe(handle, start)
        finally:
            os.close(handle)


@contextmanager
def _folder_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(
            f"a lease cannot be taken: {error.strerror}: {error.filename}",
            "the folder of the leases wants mode 1777 and its files 0666; MGPU_LOCK_DIR names another one",
        ) from error

"""A path in, a descriptor with a kernel lock on it out: byte ranges of an open file, freed by the kernel alone."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

from mgpu.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "/run/lock/mgpu"
FLOCK = "@hhqqi4x"
"""``struct flock`` on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid."""


def place(env: Mapping[str, str] | None = None) -> str:
    """Where the folder of the locks is, or would be. Raises HostError where it would be another one in each folder."""
    given = (os.environ if env is None else env).get("MGPU_LOCK_DIR") or FOLDER
    if not os.path.isabs(given):
        raise HostError(f"MGPU_LOCK_DIR={given} is no absolute path, and everybody must mean the same folder by it")
    return given


def reach(path: str) -> int:
    """A descriptor of the lock file, opened for writing and made for everybody (0666) if it is not there.

    Without O_CREAT first: fs.protected_regular refuses O_CREAT on another user's file in a sticky folder.
    """
    try:
        return opened(path, os.O_RDWR)
    except FileNotFoundError:
        pass
    umask = os.umask(0)
    try:
        return opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return opened(path, os.O_RDWR)
    finally:
        os.umask(umask)


def opened(path: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of the plain file at `path`. Raises OSError for all else: a pipe would be waited at for ever."""
    handle = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no plain file", path)
    return handle


def current(handle: int, path: str) -> bool:
    """Whether `path` is still the file that `handle` has open: a lock on a removed one keeps nobody out."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except OSError:
        return False


def _range(kind: int, start: int, length: int) -> bytes:
    return struct.pack(FLOCK, kind, os.SEEK_SET, start, length, 0)


def lock(handle: int, start: int = 0, length: int = 0, *, wait: bool = False) -> bool:
    """Lock `length` bytes (0: all there can ever be) for writing; False where another holds one of them."""
    how = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
    try:
        fcntl.fcntl(handle, how, _range(fcntl.F_WRLCK, start, length))
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            return False
        raise HostError(
            f"this kernel refuses to lock a file: {error.strerror}",
            "name a folder on a local disk with MGPU_LOCK_DIR and MGPU_STATE_DIR",
        ) from error
    return True


def blocker(handle: int, start: int = 0, length: int = 0) -> tuple[int, int] | None:
    """The start and length (0: to the end) of a lock by which somebody else holds one of these bytes."""
    answer = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, _range(fcntl.F_WRLCK, start, length))
    kind, _, first, count, _ = struct.unpack(FLOCK, answer)
    return None if kind == fcntl.F_UNLCK else (first, count)


def locked(handle: int, start: int = 0, length: int = 0) -> bool:
    """Whether somebody else holds one of these bytes."""
    return blocker(handle, start, length) is not None


def ranges(handle: int, start: int = 0, length: int = 0) -> list[tuple[int, int]]:
    """The start and length (0: to the end) of every lock of others' on these bytes, in order."""
    other = blocker(handle, start, length)
    if other is None:
        return []
    first, count = other
    before = ranges(handle, start, first - start) if first > start else []
    end = first + count
    if not count or (length and end >= start + length):
        return [*before, other]
    return [*before, other, *ranges(handle, end, length and start + length - end)]


def lock_somewhere(handle: int, length: int, end: int) -> int | None:
    """Lock the first `length` bytes below `end` that lie together and that nobody holds; where they start, or None."""
    while (start := somewhere(handle, length, end)) is not None:
        if lock(handle, start, length):
            return start
    return None


def somewhere(handle: int, length: int, end: int) -> int | None:
    """Where the first `length` bytes below `end` start that lie together and that nobody else holds; None without any.

    A placement that overlaps a lock of somebody's fails wherever it starts before that lock's end, so none is missed.
    """
    start = 0
    while start + length <= end:
        other = blocker(handle, start, length)
        if other is None:
            return start
        if other[1] == 0:
            return None
        start = other[0] + other[1]
    return None


def held(path: str) -> bool:
    """Whether somebody holds a lock on the file; False where there is no such file."""
    try:
        handle = opened(path)
    except FileNotFoundError:
        return False
    try:
        return locked(handle)
    finally:
        os.close(handle)

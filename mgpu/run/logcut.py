"""A log that a job appends to in, the same log with less of it on the disk out, once it is too long.

Its first bytes and its newest stay. The file keeps its size, and every byte its place: what is between becomes a hole
(fallocate(2), FALLOC_FL_PUNCH_HOLE). So the job is never held up, nothing that it writes is lost, and whoever reads
goes on where it was. To copy the log and truncate it would lose what is written in between. Standard library only: the
keeper imports this.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT = 64 * 2**20
"""Bytes of a log that are kept at least; it is cut once it has twice that."""
NAME = "MGPU_LOG_BYTES"
"""The variable that names another number."""
BLOCK = 64 * 1024
"""What is cut is a multiple of this, as of the blocks of any file system."""
HEAD = 2**20
"""Bytes at the beginning that stay: what a job says of itself when it starts."""
PUNCH = 0x01 | 0x02
"""FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, of linux/falloc.h."""


def kept(env: Mapping[str, str]) -> int:
    """How many bytes of a log `env` wants kept."""
    given = env.get(NAME, "")
    return max(int(given), 2 * BLOCK) if given.isascii() and given.isdigit() else KEPT


class Log:
    """A log that grows: what is between its `head` and `begin` is cut; `grown` are the bytes since the last look."""

    def __init__(self, path: str, keep: int) -> None:
        self.path, self.keep = path, keep
        self.head = self.begin = min(HEAD, keep // 4 // BLOCK * BLOCK)
        self.size = self.grown = 0

    def look(self) -> str | None:
        """Cut what is too old; the reason, once, where this file system cannot."""
        try:
            size = os.stat(self.path).st_size
            self.size, self.grown = size, size - self.size
            if size - self.begin <= 2 * self.keep:
                return None
            end = (size - self.keep) // BLOCK * BLOCK
            punch(self.path, self.head, end)
            self.begin = end
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
                self.keep = 2**62
                return os.strerror(error.errno)
        return None


def punch(path: str, begin: int, end: int) -> None:
    """Give the bytes of the file from `begin` to `end` back. Raises OSError."""
    import ctypes

    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.fallocate(handle, PUNCH, ctypes.c_int64(begin), ctypes.c_int64(end - begin)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    finally:
        os.close(handle)


def first(handle: int, place: int) -> int:
    """The place of the first byte from `place` on that has not been cut; `place` itself where nothing is behind it."""
    try:
        return os.lseek(handle, place, os.SEEK_DATA)
    except OSError:  # ENXIO: the end; EINVAL: a file system that knows no holes
        return place


def piece(handle: int, place: int, size: int) -> tuple[int, bytes]:
    """At most `size` bytes from `place` on, or from behind what was cut there, and where they are."""
    while True:
        begin = first(handle, place)
        text = os.pread(handle, min(size, _uncut(handle, begin, size)), begin)
        if not text or (first(handle, begin) == begin and _uncut(handle, begin, size) >= len(text)):
            return begin, text  # else it was cut while it was read


def _uncut(handle: int, place: int, size: int) -> int:
    """How many bytes there are from `place` on until the next that are cut; `size` where that is not known."""
    try:
        return os.lseek(handle, place, os.SEEK_HOLE) - place
    except OSError:
        return size

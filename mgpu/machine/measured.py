"""What was measured on this host, kept from one run to the next: a file of the user's in, its figures out, and back.

The file is JSON: boot logs' corrections of memory by engine and product, links' figures by the GPUs' UUIDs. A damaged
one never keeps a job from running: it says so in a note, and what is kept next starts a new file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from mgpu.machine import kept
from mgpu.values.machine import Gpu, Link
from mgpu.values.memory import Correction

VERSION = 1
"""Of the format. A file of a later one is left alone."""
NAME = "measured.json"


class LinkFigure(NamedTuple):
    """An all-reduce between two GPUs: `latency_us` of 8 KiB, `GBps` of 64 MiB (GB/s, its bytes by its time); `how`
    tells what has measured it, `date` the day (``2026-11-24``)."""

    a_uuid: str
    b_uuid: str
    latency_us: float
    GBps: float
    how: str = ""
    date: str = ""

    @property
    def pair(self) -> frozenset[str]:
        """The two GPUs, in no order."""
        return frozenset((self.a_uuid, self.b_uuid))


class Measured(NamedTuple):
    """All that is kept; `notes` say what could not be read of it."""

    corrections: tuple[Correction, ...] = ()
    links: tuple[LinkFigure, ...] = ()
    notes: tuple[str, ...] = ()


def path() -> str:
    """The file. Raises HostError where this user has no folder."""
    return os.path.join(kept.folder(), NAME)


def read() -> Measured:
    """What is kept of this host. Never fails: what is damaged is left out, with a note."""
    from mgpu.errors import HostError

    try:
        return _read(path())
    except HostError:
        return Measured()


def keep_corrections(corrections: Sequence[Correction]) -> None:
    """Keep these; each takes the place of one for the same line, engine, version, product and layout.

    Raises HostError where they cannot be kept.
    """

    def with_them(known: Measured) -> Measured:
        named = {_about(correction): correction for correction in (*known.corrections, *corrections)}
        return known._replace(corrections=tuple(named.values()))

    _keep(with_them)


def keep_links(links: Sequence[LinkFigure]) -> None:
    """Keep these; each takes the place of one between the same GPUs. Raises HostError where they cannot be kept."""

    def with_them(known: Measured) -> Measured:
        return known._replace(links=tuple({figure.pair: figure for figure in (*known.links, *links)}.values()))

    _keep(with_them)


def on_links(links: Sequence[Link], gpus: Sequence[Gpu], figures: Sequence[LinkFigure]) -> tuple[Link, ...]:
    """The links with what was measured between the same GPUs."""
    known = {figure.pair: figure for figure in figures}
    ids = {gpu.index: gpu.id for gpu in gpus}
    return tuple(_figured(link, known.get(frozenset((ids.get(link.a, ""), ids.get(link.b, ""))))) for link in links)


def _figured(link: Link, figure: LinkFigure | None) -> Link:
    return link._replace(latency=figure.latency_us, measured=figure.GBps) if figure else link


def _about(correction: Correction) -> tuple[object, ...]:
    return (*correction[:4], correction.tensor, correction.pipeline)


def _read(file: str) -> Measured:
    data = kept.read(file)
    if data is None:
        there = os.path.exists(file)
        return Measured(notes=(f"{file} is damaged: what was measured on this host is not known",) if there else ())
    if data.get("version") != VERSION:
        return Measured(notes=(f"{file} is of version {data.get('version')}, and this mgpu reads {VERSION}",))
    corrections = [_correction(row) for row in _rows(data, "corrections")]
    links = [_figure(row) for row in _rows(data, "links")]
    lost = corrections.count(None) + links.count(None)
    notes = (f"{lost} of the figures in {file} cannot be read: they are left out",) if lost else ()
    return Measured(tuple(filter(None, corrections)), tuple(filter(None, links)), notes)


def _rows(data: dict[str, Any], name: str) -> list[Any]:
    rows = data.get(name, [])
    return rows if isinstance(rows, list) else [rows]


def _correction(row: Any) -> Correction | None:
    """The correction in the row, None where it is none."""
    try:
        made = Correction(**row)
    except TypeError:
        return None
    texts = (made.engine, made.product, made.line, made.log, made.version or "")
    sizes = (made.bytes, made.tensor, made.pipeline)
    right = all(isinstance(text, str) for text in texts) and all(type(size) is int and size >= 0 for size in sizes)
    return made if right else None


def _figure(row: Any) -> LinkFigure | None:
    """The figure in the row, None where it is none."""
    try:
        made = LinkFigure(**row)
    except TypeError:
        return None
    texts = (made.a_uuid, made.b_uuid, made.how, made.date)
    numbers = (made.latency_us, made.GBps)
    right = all(isinstance(text, str) for text in texts) and all(type(number) in (int, float) for number in numbers)
    return made if right and all(0 < number < 1e9 for number in numbers) else None


def _keep(change: Callable[[Measured], Measured]) -> None:
    """Change what is kept, one process at a time. A damaged file is put aside first."""
    from mgpu.errors import HostError

    file = path()
    try:
        os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
        with _alone(f"{file}.lock"):
            known = _read(file)
            _put_aside(file, kept.read(file))
            changed = change(known)
            rows = {name: [row._asdict() for row in getattr(changed, name)] for name in ("corrections", "links")}
            kept.write(file, {"version": VERSION, **rows})
    except OSError as error:
        raise HostError(f"{file} cannot be written: {error.strerror}") from None


def _put_aside(file: str, data: dict[str, Any] | None) -> None:
    """Rename a file that cannot be read. Raises HostError for one that a later mgpu has written."""
    from mgpu.errors import HostError

    version = data.get("version") if data else None
    if type(version) is int and version > VERSION:
        raise HostError(f"{file} is of version {version}, and this mgpu writes {VERSION}", "update mgpu")
    if version != VERSION and os.path.exists(file):
        os.rename(file, f"{file}.damaged")


@contextmanager
def _alone(lock: str) -> Iterator[None]:
    """While no other process of this user is here."""
    import fcntl

    handle = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

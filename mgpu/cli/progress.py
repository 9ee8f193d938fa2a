"""What is fetched and how far it is in; a bar on a terminal, a line now and then in a log, both on stderr, out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mgpu.values.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

    Told = Callable[[Progress], None]

EVERY = 10.0
"""Seconds between lines where there is no terminal."""
STARTED = Progress(0, 0, 0, 0)


def image(name: str, ends: bool = True) -> int:
    """Pull an image and show how far it is. The bytes that came; raises HostError."""
    from mgpu.run import images

    with shown(name, "layers", ends) as told:
        return images.pull(name, told)


@contextmanager
def shown(name: str, parts: str, ends: bool = True) -> Iterator[Told]:
    """Show a download from here to the end of the block; what this gives wants to be told how far it is. `parts` is
    what it is counted in: layers or files. `ends`: its end is worth a line too."""
    print(f"mgpu: pulling {name}", file=sys.stderr, flush=True)
    began = time.monotonic()
    last = [STARTED]
    try:
        with _bars(parts) if _terminal() else _lines(name, parts, began) as show:

            def told(progress: Progress) -> None:
                last[0] = progress
                show(progress)

            yield told
    except KeyboardInterrupt:
        print(f"mgpu: {name}: interrupted at {words(last[0], parts, 0)}", file=sys.stderr, flush=True)
        raise
    if ends:
        seconds = duration(time.monotonic() - began)
        print(f"mgpu: pulled {name}: {size(last[0].done)} in {seconds}", file=sys.stderr, flush=True)


def _terminal() -> bool:
    """Whether a bar can be drawn: on a terminal that can move its cursor."""
    import os

    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextmanager
def _lines(name: str, parts: str, began: float) -> Iterator[Told]:
    due = [began + EVERY]

    def told(progress: Progress) -> None:
        now = time.monotonic()
        if now >= due[0]:
            due[0] = now + EVERY
            print(f"mgpu: {name}: {words(progress, parts, now - began)}", file=sys.stderr, flush=True)

    yield told


def words(progress: Progress, parts: str, seconds: float) -> str:
    """How far it is in a line: ``1.2 GB of 3.1 GB (38 %), 12 of 20 layers, 54.0 MB/s``; 0 seconds: without a speed."""
    more = "" if progress.sized else " or more"
    share = f" ({100 * progress.done // progress.total} %)" if progress.total and progress.sized else ""
    said = f"{size(progress.done)} of {size(progress.total)}{more}{share}, {counted(progress, parts)}"
    if progress.done < progress.total and seconds:
        return f"{said}, {size(round(progress.done / seconds))}/s"
    if progress.unpacked is not None and progress.unpacked < progress.total:
        return f"{said}, {100 * progress.unpacked // progress.total} % unpacked"
    return said


def counted(progress: Progress, parts: str) -> str:
    """How many of the parts are there."""
    return f"{progress.parts_done} of {progress.parts} {parts}"


@contextmanager
def _bars(parts: str) -> Iterator[Told]:
    """A bar for what comes, and beside it one for what is unpacked; gone at the end."""
    from rich.console import Console

    with _drawn(Console(stderr=True, highlight=False)) as bars:
        coming = bars.add_task("download", total=None, comes=True, sized=False, amount="", more="")
        unpacking = bars.add_task("unpack", total=None, visible=False, comes=False, sized=False, amount="", more="")

        def told(progress: Progress) -> None:
            here, total, unpacked = counted(progress, parts), progress.total or None, progress.unpacked
            more = "" if progress.sized else "+"
            amount = f"{size(progress.done)} of {size(progress.total)}{more}"
            here = here if unpacked is None else ""
            bars.update(coming, completed=progress.done, total=total, sized=progress.sized, amount=amount, more=here)
            if unpacked is not None:
                amount, here = f"{size(unpacked)} of {size(progress.total)}{more}", counted(progress, parts)
                bars.update(unpacking, completed=unpacked, total=total, visible=True, amount=amount, more=here)

        yield told


def _drawn(console: Console) -> Bars:
    from rich import progress
    from rich.text import Text

    class Speed(progress.TransferSpeedColumn):
        """The speed of what comes from the network."""

        def render(self, task: progress.Task) -> Text:
            return super().render(task) if task.fields["comes"] and not task.finished else Text("")

    class Left(progress.TimeRemainingColumn):
        """The time left for what comes from the network, once all of it is known."""

        def render(self, task: progress.Task) -> Text:
            known = task.fields["sized"] and not task.finished and task.time_remaining is not None
            return Text(f"{duration(task.time_remaining or 0)} left" if known else "")

    columns = (
        progress.TextColumn("  {task.description:<8}"),
        progress.BarColumn(bar_width=None),
        progress.TextColumn("{task.fields[amount]}"),
        Speed(),
        Left(),
        progress.TextColumn("{task.fields[more]}"),
    )
    return progress.Progress(*columns, console=console, transient=True, expand=True)


def size(count: int) -> str:
    """Bytes for people: ``3.1 GB``, ``12.0 MB``, ``512 bytes``; powers of ten, as registries count."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def duration(seconds: float) -> str:
    """A time for people: ``4.2 s``, ``3 min 20 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"

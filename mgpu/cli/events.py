"""Show what has happened to runs, and what their GPUs did meanwhile."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

from mgpu.cli import telling
from mgpu.errors import UsageError
from mgpu.run import follow, runs, samples
from mgpu.run.runs import Run

Event = dict[str, Any]
Show = Callable[[Event, Run], None]
Followed = tuple[Run, Iterator[list[Event]]]

PAUSE = 0.2


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", metavar="RUN", help="the name or the id of a run; all of them if left out")
    parser.add_argument("-f", "--follow", action="store_true", help="go on: until the run is over, or for ever")
    parser.add_argument("--samples", action="store_true", help="what its GPUs did every 10 s, as JSON lines")
    parser.add_argument("--json", action="store_true", help="print them as JSON lines")


def main(options: argparse.Namespace) -> int:
    if options.samples:
        return _samples(options)
    chosen = [runs.named(options.run)] if options.run else list(runs.found())
    followed = [(run, follow.news(run.folder)) for run in chosen]
    show = _as_json if options.json else _in_words
    every = [(event, run) for run, news in followed for event in next(news)]
    for event, run in sorted(every, key=lambda each: _when(each[0])):
        show(event, run)
    if options.follow:
        _follow([each for each in followed if each[0].alive], options.run is None, show, {run.id for run in chosen})
    return 0


def _samples(options: argparse.Namespace) -> int:
    import json

    if not options.run:
        raise UsageError("the samples of which run?", "mgpu ps --all lists them")
    run = runs.named(options.run)
    found = samples.read(run.folder)
    for sample in found:
        print(json.dumps(sample))
    if not found:
        import sys

        why = "" if run.state == "running" else ": it had no GPU, or was over at once"
        print(f"no sample of {run.name} is there{why}", file=sys.stderr)
    return 0


def _follow(followed: list[Followed], every: bool, show: Show, seen: set[str]) -> None:
    """Print what is new, also of runs that are begun meanwhile where `every` run is wanted."""
    while followed or every:
        if every:
            begun = [run for run in runs.found(ended=False) if run.id not in seen]
            followed += [(run, follow.news(run.folder)) for run in begun]
            seen.update(run.id for run in begun)
        followed = [(run, news) for run, news in followed if _goes_on(run, news, show)]
        time.sleep(PAUSE)


def _goes_on(run: Run, news: Iterator[list[Event]], show: Show) -> bool:
    """Print what is new of the run; whether there can be more."""
    kept = runs.kept(run.folder) or runs.lives(run.id)
    new = next(news)
    for event in new:
        show(event, run)
    return kept and not any(event["what"] == "over" for event in new)


def _when(event: Event) -> float:
    when = event.get("time")
    return float(when) if isinstance(when, (int, float)) else 0.0


def _in_words(event: Event, run: Run) -> None:
    moment = time.strftime("%d %b %H:%M:%S", time.localtime(_when(event)))
    print(f"{moment}  {run.name}  {telling.sentence(event, run.data)}", flush=True)


def _as_json(event: Event, run: Run) -> None:
    import json

    print(json.dumps({"run": run.id, "name": run.name, **event}), flush=True)

"""An event of a run in, the sentence that tells it to a person out; and which of them `mgpu run` tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mgpu.run import held

Event = dict[str, Any]


class Words(NamedTuple):
    """How an event is told: in `mgpu run` always (`loud`), where there are several tasks (`many`), or never."""

    tell: Callable[[Event], str]
    loud: bool = False
    many: bool = False


def _why(event: Event, words: str) -> str:
    return f"{words}: {event['why']}" if event.get("why") else words


def _late(event: Event) -> str:
    why = f" ({event['why']})" if event.get("why") else ""
    return f"was not ready within {event['after']:g} s{why}: stopping it"


def _over(event: Event) -> str:
    return f"the run is over, with {event['code']}" + (f", the code of {event['by']}" if event.get("by") else "")


def _pids(event: Event) -> str:
    return ", ".join(map(str, event["pids"])) or "none: it is gone, another run's, or not seen here"


def _anew(event: Event) -> str:
    why = event.get("cause") or event.get("why")
    ended = f"ended with {event['code']}" + (f": {why}" if why else "")
    return f"{ended}; it is started anew in {event['after']:g} s ({event['nth']} of {event['most']})"


TASKS = {
    "started": Words(lambda event: f"is started as process {event['pid']}"),
    "boxed": Words(lambda event: f"has the container {event['container'][:12]}"),
    "resumed": Words(lambda event: f"is looked after by a new process, {event['pid']}"),
    "ready": Words(lambda event: f"is ready after {event['after']:.1f} s", many=True),
    "refused": Words(lambda event: event["why"] + (f"\n  hint: {event['hint']}" if event.get("hint") else ""), True),
    "memory": Words(lambda event: event["why"], True),
    "late": Words(_late, True),
    "timeout": Words(lambda event: f"ran longer than its timeout of {event['after']:g} s: stopping it", True),
    "leftover": Words(lambda _: "has ended and left processes behind: stopping them", True),
    "killed": Words(lambda _: "did not stop in time: killed", True),
    "exited": Words(lambda event: f"its container has ended with {event['code']}"),
    "ended": Words(lambda _: "has ended", many=True),
    "failed": Words(lambda event: _why(event, f"failed with {event['code']}"), True),
    "restarting": Words(_anew, True),
    "gave-up": Words(lambda event: f"is not started anew: {event['why']}", True),
    "idle": Words(lambda event: f"was used by nobody for {event['after']:g} s: stopping it", True),
    "uncut": Words(
        lambda event: _why(event, "has a log that grows without bound: this file system cannot cut it"), True
    ),
}
"""What happens to a task: its name goes before the words."""
COLON = ("refused", "memory", "exited")
"""These are told as what somebody says of the task, with a colon behind its name."""
RUNS = {
    "kept": Words(lambda event: f"process {event['pid']} keeps it"),
    "stopping": Words(lambda _: "it is asked to stop"),
    "broken": Words(lambda event: _why(event, "its keeper has failed, a bug in mgpu"), True),
    "stuck": Words(lambda event: held.words(event, {}), True),
    "reaped": Words(lambda event: f"what holds its GPUs is ended: {_pids(event)}"),
    "freed": Words(lambda _: "its GPUs are free now"),
    "over": Words(_over),
}
"""What happens to a run as a whole."""


def sentence(event: Event, data: Mapping[str, Any]) -> str:
    """The event in words; `data` is the run.json of its run. What another mgpu noted is told by its name."""
    what, task = event["what"], event.get("task")
    if what == "stuck":
        return held.words(event, dict(data))
    try:
        if what in RUNS:
            return RUNS[what].tell(event)
        if what in TASKS:
            return f"{task}{':' if what in COLON else ''} {TASKS[what].tell(event)}"
    except (KeyError, TypeError, ValueError):  # it was noted by another version, or cut off
        pass
    return " ".join(filter(None, (task, str(what))))


def told(event: Event, data: Mapping[str, Any], places: Mapping[str, str], many: bool) -> str | None:
    """What `mgpu run` tells of the event, if anything. `places` says where the tasks with a probe are served, `many`
    that there are several."""
    what, task = event["what"], str(event.get("task"))
    if what == "ready" and task in places:
        return f"{task} is ready{places[task]} after {event['after']:.1f} s"
    if what == "ready":
        return f"{task} has started" if many else None
    words = TASKS.get(what) or RUNS.get(what)
    return sentence(event, data) if words and (words.loud or (words.many and many)) else None

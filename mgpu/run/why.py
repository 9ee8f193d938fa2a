"""A run in, why each of its tasks is as it is out: what mgpu saw, what the log shows, what to change, and how it is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from mgpu.run import diagnosis, follow, state
from mgpu.run.runs import Run
from mgpu.values.cause import Cause
from mgpu.values.status import words

STATES = {
    "unkept": "it runs without its keeper, which is gone: nobody starts it anew, and mgpu stop still ends it",
    "lost": "it is gone, and nobody saw it end: its keeper was killed, or the host went down",
    "stuck": "it is over, and something still holds memory of its GPUs: mgpu ps names it, mgpu stop --reap ends it",
    "newer": "it was written by a newer mgpu, which can tell",
    "unreadable": "what was kept of it cannot be read",
}
TAIL = 15
"""Lines of a log that are shown where nothing in it is known."""
GLANCE = (16 * 1024, 48 * 1024)
"""Bytes at the beginning and the end of a log that are read where many are looked at."""
FAILURES = ("failed", "late", "timeout", "refused", "memory", "broken")


class Reason(NamedTuple):
    """Why a task is as it is. `how` is that in a sentence; `cause`, `change` and `source` are there where it failed and
    the reason is known, `evidence` are the lines of `log` that show it; `also` what else the log shows, in few words.
    Where nothing is known, `error` is the first error of Python's kind and `tail` the end of the log."""

    task: str
    failed: bool
    how: str
    id: str | None = None
    short: str | None = None
    cause: str | None = None
    change: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    source: str | None = None
    error: str | None = None
    tail: tuple[str, ...] = ()
    log: str | None = None


def reasons(run: Run, task: str | None = None) -> list[Reason]:
    """Of one task, else of those that failed, else of all."""
    events = list(state.events(run.folder))
    commands = [command for command in run.data.get("commands", ()) if task in (None, command["task"])]
    found = [_reason(run, command, events) for command in commands]
    failed = [reason for reason in found if reason.failed]
    by = next((event.get("by") for event in events if event["what"] == "over"), None)
    return sorted(failed, key=lambda reason: reason.task != by) or found or [_empty(run, events)]


def glance(folder: str, data: dict[str, Any], task: str, code: int | None) -> Cause | None:
    """What the two ends of the log of a task that failed show; what mgpu itself saw is told elsewhere."""
    text = diagnosis.read(state.log(folder, task), *GLANCE)
    return diagnosis.first(text, code, _engine(data, task))


def _empty(run: Run, events: Iterable[dict[str, Any]]) -> Reason:
    """Of a run that has no task."""
    broken = next((event for event in events if event["what"] == "broken"), None)
    how = f"its keeper failed: {broken.get('why')}" if broken else STATES.get(run.state, "it did not come about")
    return Reason(run.name, run.state not in ("running", "ended"), how)


def _engine(data: dict[str, Any], task: str) -> str | None:
    engines = {command["task"]: command.get("engine") for command in data.get("commands", ())}
    return engines.get(task) or None


def _reason(run: Run, command: dict[str, Any], events: list[dict[str, Any]]) -> Reason:
    task = command["task"]
    own = [event for event in events if event.get("task") == task]
    ends = [at for at, event in enumerate(own) if event["what"] == "restarting"]
    rests = bool(ends) and ends[-1] == len(own) - 1
    life = own[ends[-2] + 1 if len(ends) > 1 else 0 :] if rests else own[ends[-1] + 1 :] if ends else own
    last = {event["what"]: event for event in life}
    lost = run.state == "lost" and not {"ended", "failed"} & last.keys()
    again = f"; it was started anew {len(ends)} time{'s' if len(ends) > 1 else ''}" if ends and not rests else ""
    if not lost and not rests and not any(what in last for what in FAILURES):
        return Reason(task, False, _well(run, command, last, events) + again, log=_log(run, task))
    if rests:
        last["failed"] = last["restarting"]
        again = f"; it is to be started anew ({last['restarting'].get('nth')} of {last['restarting'].get('most')})"
    gave_up = f", and is not started anew: {last['gave-up'].get('why')}" if "gave-up" in last else ""
    return _failed(run, command, last, _how(run, last, lost) + again + gave_up)


def _log(run: Run, task: str) -> str | None:
    path = state.log(run.folder, task)
    return path if os.path.exists(path) else None


def _well(run: Run, command: dict[str, Any], last: dict[str, dict[str, Any]], events: list[dict[str, Any]]) -> str:
    """How a task is that has not failed."""
    if "ended" in last:
        if any(event["what"] == "stopping" for event in events):
            return "it was stopped, as it was asked"
        other = next((event["task"] for event in events if event["what"] == "failed"), None)
        if last["ended"].get("code"):
            return (
                f"it was stopped, since {other} had failed" if other else "it was stopped: nothing needed it any more"
            )
        if "idle" in last:
            return f"nothing is wrong with it: nobody used it for {last['idle']['after']:g} s, and it was stopped"
        return "nothing is wrong with it: it ended well"
    if not run.alive:
        return "it was never started" if "started" not in last else f"it is {run.state}"
    gone = f", but {STATES[run.state]}" if run.state in ("unkept", "stuck") else ""
    if "started" not in last:
        needs = ", ".join(f"{name} to be {what}" for name, what in command["needs"].items())
        return f"it waits for {needs}" + gone if needs else "it is about to start" + gone
    if "ready" in last:
        since = _ago(last["ready"]["time"])
        return f"nothing is wrong with it: it is ready, for {since}{gone}"
    return _unready(run, command, _ago(last["started"]["time"])) + gone


def _unready(run: Run, command: dict[str, Any], since: str) -> str:
    """A task that runs and is not ready: what its probe says now, asked without the token and without a trial."""
    from mgpu.run.probes import asker

    probe = command["probe"]
    if not probe:
        return f"it runs, for {since}"
    try:
        answer = asker({**probe, "token": None, "trial": None}, state.log(run.folder, command["task"]))()
    except (OSError, ValueError) as error:
        answer = str(error)
    says = f"its probe says: {answer}" if answer else "its probe is answered just now, and it is tried out"
    return f"it is not ready yet, after {since} of the {probe['within']:g} s that it has; {says}"


def _ago(then: float) -> str:
    seconds = max(0, int(time.time() - then))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _how(run: Run, last: dict[str, dict[str, Any]], lost: bool) -> str:
    """How it failed, as mgpu saw it."""
    if lost:
        return STATES["lost"]
    if "late" in last:
        return f"it was not ready within {last['late']['after']:g} s, and was stopped"
    if "timeout" in last:
        return f"it ran longer than its timeout of {last['timeout']['after']:g} s, and was stopped"
    if "failed" in last:
        code = last["failed"].get("code") or 1
        told = "" if last["failed"].get("why") else f": {words(code)}"
        return f"it failed with exit code {code}{told}"
    return STATES.get(run.state, f"it is {run.state}, after what is told here")


def _failed(run: Run, command: dict[str, Any], last: dict[str, dict[str, Any]], how: str) -> Reason:
    """Why a task failed: what mgpu itself saw, unless the log says more."""
    task = command["task"]
    text, engine = diagnosis.read(state.log(run.folder, task)), _engine(run.data, task)
    code = last["failed"].get("code") if "failed" in last else None
    shown = diagnosis.every(text, None if "late" in last else code, engine)
    sight = _sight(last, engine)
    card = _reported(run, command, last)
    base = Reason(task, True, how, log=_log(run, task))
    if card:
        return _told(base, card, run, shown)
    if sight and sight.known:
        return _told(base, sight.known, run, shown)
    if shown and not (sight and sight.settled):
        return _told(base, shown[0], run, shown[1:], text)
    base = base._replace(tail=_tail(run, task), error=diagnosis.exception(text), also=_shorts(shown))
    if not sight:
        return base
    return base._replace(cause=sight.why, change=(sight.hint,) if sight.hint else ())


def _reported(run: Run, command: dict[str, Any], last: dict[str, dict[str, Any]]) -> Cause | None:
    """What the driver has reported of the task's GPUs."""
    if "started" not in last or not command["gpus"]:
        return None
    from mgpu.run import reported

    ended = last["failed"]["time"] if "failed" in last else time.time()
    return reported.of(run.data, command, last["started"]["time"], ended)


def _shorts(causes: Iterable[Cause], but: str = "") -> tuple[str, ...]:
    """The few words of each, but for those that are told already."""
    return tuple(dict.fromkeys(cause.short for cause in causes if cause.short != but))


def _tail(run: Run, task: str) -> tuple[str, ...]:
    return tuple(diagnosis.plain(line) for line in follow.last(run.folder, task, TAIL))


def _told(base: Reason, cause: Cause, run: Run, others: Iterable[Cause], text: str = "") -> Reason:
    """The reason with a cause that is known; what to change with a number where the plan has one."""
    change: tuple[str, ...] = (cause.hint,)
    if cause.memory:
        from mgpu.run import mending

        better = mending.change(run.data, base.task, cause)
        change = (better, f"or: {cause.hint}") if better else change
    return base._replace(
        id=cause.id,
        short=cause.short,
        cause=cause.cause,
        change=change,
        evidence=cause.evidence,
        also=_shorts(others, cause.short),
        source=cause.source,
        error=diagnosis.exception(text) if cause.vague else None,
    )


class _Sight(NamedTuple):
    """What mgpu itself saw of a failure. `known`: it is one that is known by such words; `settled`: the log cannot say
    more of it."""

    why: str
    hint: str | None = None
    known: Cause | None = None
    settled: bool = False


def _sight(last: dict[str, dict[str, Any]], engine: str | None) -> _Sight | None:
    if "refused" in last:
        why = str(last["refused"].get("why", ""))
        return _Sight(why, last["refused"].get("hint"), diagnosis.first(why, None, engine), settled=True)
    if "memory" in last:
        hint = "less of the host's memory: no CPU offload, fewer data workers; or a machine with more"
        return _Sight(str(last["memory"].get("why", "")), hint, settled=True)
    if "timeout" in last:
        return _Sight("it was still running when its time was over", "a longer timeout:, or none", settled=True)
    if "late" in last:
        says = last["late"].get("why")
        hint = "ready: {within: 20m} where it only needs longer; else see what it did last"
        last_time = f" as it should be; the last time: {says}" if says else ""
        return _Sight(f"its probe was never answered{last_time}", hint)
    told = last.get("failed", {}).get("why")
    return _Sight(str(told)) if told else None

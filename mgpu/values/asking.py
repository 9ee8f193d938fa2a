"""A task that serves in, what to ask it to see that it is ready out."""

from __future__ import annotations

from shlex import join

from mgpu.values.command import Probe, Trial
from mgpu.values.plan import Task
from mgpu.values.said import said, secret


def url(task: Task, path: str = "") -> str:
    """Where the task is reached from this host: an address that listens everywhere is asked on the loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(task.job.host, task.job.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{task.port}{path}"


def one_token(task: Task, model: str) -> Trial:
    """The smallest completion: an API of OpenAI's shape answers it with a model that writes text."""
    return Trial(url(task, "/v1/completions"), {"model": model, "prompt": "Hello", "max_tokens": 1})


def listed_and_asked(task: Task, name_flag: str, key: str | None = None, within: float = 600.0) -> Probe:
    """Ready when the model, by the name that `name_flag` gives it, is listed and writes a token: a broken one may be
    healthy until it is asked. `key` is the variable that holds the server's key: both are then asked with it."""
    served = said(task.job, name_flag) or task.job.model
    name = served[0] if isinstance(served, (list, tuple)) else str(served)
    return Probe("http", url(task, "/v1/models"), f'"{name}"', secret(task.job, key), within, one_token(task, name))


def given_probe(task: Task) -> Probe | None:
    """The probe that the spec's `ready` describes, for engines that have none of their own."""
    ready = task.job.ready
    within = ready.within or 600.0
    if ready.http and task.port:
        return Probe("http", url(task, ready.http), within=within)
    if ready.tcp and task.port:
        return Probe("tcp", url(task).removeprefix("http://"), within=within)
    if ready.command:
        return Probe("command", join(ready.command), within=within, argv=ready.command)
    return Probe("log", ready.log, within=within) if ready.log else None

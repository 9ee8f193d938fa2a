"""Placed tasks in, the same with their references filled in out: where each is reached, from where it is asked."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from mgpu.errors import Problem
from mgpu.spec.references import KEYS, asked, filled, texts
from mgpu.values.asking import url
from mgpu.values.plan import Task
from mgpu.values.spec import Job, Spec


def addressed(spec: Spec, tasks: dict[str, Task]) -> dict[str, Task]:
    """The tasks with every ``${jobs.NAME.url}`` filled in; containers that refer to each other share a network.

    Raises SpecError for a container that refers to a process of the host: what listens on 127.0.0.1 there, it does not
    reach.
    """
    if problems := [problem for task in tasks.values() for problem in _out_of_reach(spec, task, tasks)]:
        raise spec.document.error(*problems)
    network = f"mgpu-{spec.name}" if any(_others(task) for task in tasks.values() if task.secluded) else None
    first: dict[str, Task] = {}
    urls: dict[str, list[Task]] = {}
    for task in tasks.values():
        first.setdefault(task.job.name, task)
        urls.setdefault(task.job.name, []).append(task)

    def answer(asking: Task, name: str, part: str) -> str:
        if part == "urls":
            return ",".join(_url(other, asking) for other in urls[name])
        one = _url(asking if asking.job.name == name else first[name], asking)
        host, _, port = one.removeprefix("http://").rpartition(":")
        return {"url": one, "host": host, "port": port}[part]

    def settled(task: Task) -> Job:
        return replace(task.job, **{key: filled(getattr(task.job, key), partial(answer, task)) for key in KEYS})

    return {
        name: replace(task, job=settled(task), network=network if task.secluded else None)
        for name, task in tasks.items()
    }


def _others(task: Task) -> set[str]:
    """The other jobs that the task refers to."""
    return {name for _, text in texts(task.job) for name, _ in asked(text)} - {task.job.name}


def _url(task: Task, asking: Task) -> str:
    """Where `asking` reaches `task`: a container another one by its name in their network, all else by this host."""
    if asking.secluded and asking.job.name != task.job.name:
        return f"http://{task.name}:{task.port}"
    return url(task)


def _out_of_reach(spec: Spec, task: Task, tasks: dict[str, Task]) -> list[Problem]:
    """What the task refers to and does not reach, as problems of the spec."""
    if not task.secluded:
        return []
    outside = {other.job.name for other in tasks.values() if not other.secluded} & _others(task)
    return [
        spec.document.problem(
            f"{task.job.name} runs in a container, and {name} as a process of the host, which it does not reach",
            path,
            "runtime: docker for both, or runtime: process for both",
        )
        for path, text in texts(task.job)
        for name, _ in asked(text)
        if name in outside
    ]

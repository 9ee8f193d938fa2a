"""A Spec and its lock file in, the Spec with images by digest and models by commit out: the file is read like a spec.

What a job wants pinned is known without a machine; what the registries and the hub say is asked elsewhere, in run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from mgpu.engines import engine_named
from mgpu.errors import Problem
from mgpu.spec.notes import show
from mgpu.spec.versions import image_of, version_of
from mgpu.values.document import Document
from mgpu.values.plan import Task
from mgpu.values.said import written
from mgpu.values.spec import Job, Spec

VERSION = 1
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}")
LOCAL = "a folder of this host"
"""Stands for the commit of a model that lies beside the spec."""


class Wanted(NamedTuple):
    """What a job wants pinned, by the keys of a lock file; `flag` is the engine's own for a commit. `loose` says in
    words what of it cannot be."""

    name: str
    job: Job
    keys: Mapping[str, str]
    flag: str | None = None
    loose: str | None = None


def wanted(spec: Spec) -> tuple[Wanted, ...]:
    """What each job of the spec wants pinned."""
    return tuple(_wanted(job) for job in spec.jobs)


def _wanted(job: Job) -> Wanted:
    engine, name = engine_named(job.engine), str(job.path[-1]) if job.path else "job"
    version = version_of(job, engine)
    boxable = job.runtime != "process" and not job.python
    image = image_of(job, version) if boxable else None
    hub = engine.hub(Task(job.name, job, version=version)) if job.model else None
    keys = {
        "engine": job.engine,
        "version": version,
        "image": image,
        "model": hub and hub.repository,
        "revision": hub and hub.revision,
    }
    loose = None
    if job.model and hub is None:
        loose = f"what {engine.name} reads for {job.model} is no repository that mgpu knows of: it is not pinned"
    elif hub and not engine.revision:
        loose = f"{engine.name} has no flag for a commit: {hub.repository} is not pinned"
        keys |= {"model": None, "revision": None}
    return Wanted(name, job, {key: value for key, value in keys.items() if value}, engine.revision, loose)


def locked(spec: Spec, lock: Document) -> Spec:
    """The spec as `lock` pins it. Raises SpecError: of the lock file for what is wrong in it, else of the spec for
    every key that is no longer what was locked."""
    rows = _rows(lock)
    pins = wanted(spec)
    problems = [problem for pin in pins for problem in _changed(pin, rows.get(pin.name), spec.document, lock)]
    if problems:
        raise spec.document.error(*problems)
    return replace(spec, jobs=tuple(_pinned(pin, rows[pin.name]) for pin in pins))


def _pinned(pin: Wanted, row: Mapping[str, str]) -> Job:
    job = replace(pin.job, digest=None if "@" in row.get("image", "") else row.get("digest"))
    if pin.flag and row.get("commit", LOCAL) != LOCAL:
        return replace(job, args={**job.args, written(job, pin.flag): row["commit"]})
    return job


def _rows(lock: Document) -> Mapping[str, Mapping[str, str]]:
    """The jobs of a lock file. Raises SpecError for what is none."""
    data = lock.data if isinstance(lock.data, dict) else {}
    if data.get("version") != VERSION or not isinstance(data.get("jobs"), dict):
        raise lock.error(lock.problem(f"this is no lock file of version {VERSION}", ("version",), "mgpu lock SPEC"))
    if problems := list(_wrong(lock, data["jobs"])):
        raise lock.error(*problems)
    return data["jobs"]  # type: ignore[no-any-return]


def _wrong(lock: Document, jobs: Mapping[str, Any]) -> Iterator[Problem]:
    hint = "mgpu lock SPEC writes it anew"
    for name, row in jobs.items():
        if not isinstance(row, dict) or not all(isinstance(value, str) for value in row.values()):
            yield lock.problem(f"{name} wants a mapping of texts", ("jobs", name), hint)
            continue
        for key, pattern in (("digest", DIGEST), ("commit", COMMIT)):
            if key in row and row[key] != LOCAL and not pattern.fullmatch(row[key]):
                yield lock.problem(f"{show(row[key])} is no {key}", ("jobs", name, key), hint)


def _changed(pin: Wanted, row: Mapping[str, str] | None, document: Document, lock: Document) -> Iterator[Problem]:
    """What differs between the spec and what was locked, and what is not in the lock file."""
    hint = f"mgpu lock {document.name}, and look at what changes in {lock.name}"
    if row is None:
        yield document.problem(f"{pin.job.name} is not in {lock.name}", pin.job.path, hint, key=True)
        return
    for key in ("engine", "version", "image", "model", "revision"):
        now, then = pin.keys.get(key), row.get(key)
        if now != then:
            message = f"{key} is {show(now)}, and {show(then)} is locked"
            path = ("args", written(pin.job, pin.flag)) if key == "revision" and pin.flag else (key,)
            yield document.problem(message, (*pin.job.path, *path), hint)
    for key, pinned in (("image", "digest"), ("model", "commit")):
        if key in pin.keys and row.get(key) == pin.keys[key] and pinned not in row:
            yield document.problem(f"{lock.name} has no {pinned} of {pin.keys[key]}", (*pin.job.path, key), hint)

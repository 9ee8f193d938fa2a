"""A Document in, a Spec out: the shapes first, then what holds between keys and between jobs. Every problem at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from mgpu.engines import engine_named
from mgpu.spec.between import between_jobs
from mgpu.spec.flags import flag_complaints
from mgpu.spec.language import ENGINE, KEYS, KINDS, NAME, PIPELINE, SCRIPT, elsewhere, record
from mgpu.spec.nearest import did_you_mean, nearest
from mgpu.spec.notes import BAD, Notes, called, show
from mgpu.spec.powers import powers
from mgpu.spec.references import KEYS as REFERRING
from mgpu.spec.references import OPEN, texts_in
from mgpu.spec.restarts import restart_complaints
from mgpu.spec.shapes import Key, Record
from mgpu.spec.versions import version_of
from mgpu.values.document import Document
from mgpu.values.engine import Complaint, Engine
from mgpu.values.mark import Path
from mgpu.values.said import written
from mgpu.values.secrets import secret_flag, secret_name, secret_value
from mgpu.values.spec import Job, Spec


def check(document: Document) -> Spec:
    """The Spec that `document` holds. Raises SpecError with everything that is wrong with it."""
    notes = Notes(document)
    kind = _kind(document.data, (), notes)
    jobs: tuple[Job, ...] = ()
    name = ""
    if kind == "pipeline":
        name, jobs = _pipeline(document, notes)
    elif kind:
        job = _job(document.data, kind, (), notes, _name(document))
        name, jobs = (job.name, (job,)) if job else ("", ())
    _written_out_secrets(document, notes)
    _misplaced_references(document, notes)
    if not notes.problems:
        between_jobs(jobs, notes, pipeline=kind == "pipeline")
    if notes.problems:
        raise document.error(*notes.problems)
    for job in jobs:
        _open_to_all(job, notes)
    wanted = powers(jobs, document)
    warnings = (*notes.warnings, *(power.problem for power in wanted))
    return Spec(name, jobs, document, kind == "pipeline", document.data.get("machine"), warnings, wanted)


def _open_to_all(job: Job, notes: Notes) -> None:
    """A server that others can reach should ask them for a key."""
    here = job.host in ("127.0.0.1", "localhost", "::1")
    engine = engine_named(job.engine)
    own = "command" in engine.requires  # and whatever variables its command reads
    keys = [secret.name for secret in job.secrets if secret.name == engine.key or (own and "API_KEY" in secret.name)]
    if job.serves and not here and not keys:
        message = f"{job.name} is served on {job.host} to anyone who reaches it, and asks for no key"
        other = f"or secrets: [{engine.key}]" if engine.key else "behind a proxy that asks for one"
        other = "or a key of its own under secrets:" if own else other
        notes.warn(message, (*job.path, "host"), f"host: 127.0.0.1, {other}")


def _name(document: Document) -> str:
    """The name for a spec that gives none: that of its file."""
    stem = PurePath(document.name).name.split(".")[0].lower()
    plain = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:63].strip("-")
    return plain or "job"


def _kind(data: Any, path: Path, notes: Notes, default: str | None = None) -> str | None:
    kind = data.get("kind", default)
    if kind in KINDS and isinstance(kind, str):
        return kind
    if "kind" not in data:
        notes.add(
            "kind is missing" + (f" in {called(path)}" if path else ""),
            path,
            f"add kind: one of {', '.join(KINDS)}",
            key=True,
        )
    else:
        hint = did_you_mean(kind, KINDS) if isinstance(kind, str) else f"one of: {', '.join(KINDS)}"
        notes.add(f"kind cannot be {show(kind)}", (*path, "kind"), hint)
    return None


def _pipeline(document: Document, notes: Notes) -> tuple[str, tuple[Job, ...]]:
    data = {key: value for key, value in document.data.items() if key != "jobs"}
    top = Record(dict, {**PIPELINE, "jobs": Key(PIPELINE["name"].shape, "")}, elsewhere("pipeline", PIPELINE))
    given = top.read(data, (), notes)
    jobs = document.data.get("jobs")
    if not isinstance(jobs, dict) or not jobs:
        found = (
            f"not {show(jobs)}" if jobs else "and there is none" if "jobs" not in document.data else "and it is empty"
        )
        notes.add(f"jobs wants a mapping of names to jobs, {found}", ("jobs",), "jobs: {name: {kind: ..., ...}}")
        return "", ()
    read = [_member(name, job, notes) for name, job in jobs.items()]
    name = given.get("name", _name(document)) if given is not BAD else ""
    return name, tuple(job for job in read if job)


def _member(name: str, data: Any, notes: Notes) -> Job | None:
    path: Path = ("jobs", name)
    if not re.fullmatch(NAME, name):
        notes.add(f"{show(name)} is not a job's name", path, "use small letters, digits and hyphens", key=True)
    if not isinstance(data, dict):
        notes.add(f"{called(path)} wants a mapping, not {show(data)}", path)
        return None
    kind = _kind(data, path, notes)
    if kind == "pipeline":
        notes.add("a pipeline cannot stand inside a pipeline", (*path, "kind"), "list its jobs here")
        return None
    for key in ("name", "machine"):
        if key in data:
            notes.add(f"a pipeline's job has no {key} of its own", (*path, key), f"remove {key}", key=True)
    return _job(data, kind, path, notes, name) if kind else None


def _job(data: Any, kind: str, path: Path, notes: Notes, name: str) -> Job | None:
    before = len(notes.problems)
    job = record(kind).read(data, path, notes)
    if job is BAD:
        return None
    job = replace(job, name=job.name or name, path=path)
    engine = engine_named(job.engine)
    meant = {nearest(key, KEYS[kind]) for key in data if key not in KEYS[kind]}
    for key in sorted(engine.requires - data.keys() - meant):
        notes.add(f"{key} is missing: {engine.name} needs it", path, f"add {key}:", key=True)
    for key in sorted(data.keys() & ENGINE_KEYS & KEYS[kind].keys() - engine.takes - engine.requires):
        notes.add(f"{engine.name} has no {key}", (*path, key), f"remove {key}", key=True)
    for key in sorted(data.keys() & {"port", "host"} if engine.finite else ()):
        notes.add(f"{engine.name} serves nothing: it has no {key}", (*path, key), f"remove {key}", key=True)
    flags = flag_complaints(job, engine, version_of(job, engine))
    own = (*_runtime(job, engine), *_ways(job, engine), *_shares(job, engine), *restart_complaints(job))
    for complaint in (*own, *flags, *engine.check(job)):
        add = notes.warn if complaint.warning else notes.add
        add(complaint.message, (*path, *complaint.path), complaint.hint, key=complaint.key)
    return job if len(notes.problems) == before else None


def _runtime(job: Job, engine: Engine) -> Iterator[Complaint]:
    """What contradicts itself about where the job runs."""
    if job.container and (job.runtime == "process" or job.python):
        hint = "remove it, or say runtime: docker"
        yield Complaint("a process of the host has no container", ("container",), hint, key=True)
    elif (job.runtime == "docker" or job.container) and not (job.image or engine.image):
        key = "container" if job.container else "runtime"
        yield Complaint(f"{job.engine} has no image of its own to run in", (key,), "add image:")
    if job.runtime == "docker" and job.python:
        yield Complaint("a container has its own Python", ("python",), "remove python, or say runtime: process")
    if job.image and (job.runtime == "process" or job.python):
        yield Complaint("a process of the host has no image", ("image",), "remove image, or say runtime: docker")


def _ways(job: Job, engine: Engine) -> Iterator[Complaint]:
    """Ways of being parallel that the engine does not have, of being ready without a port, a program without a name."""
    for name, size in job.parallel._asdict().items():
        if size is not None and name not in engine.dimensions and "parallel" in engine.takes:
            known = ", ".join(engine.dimensions)
            yield Complaint(f"{engine.name} has no {name} parallelism", ("parallel", name), f"it has: {known}")
    asked = "http" if job.ready.http else "tcp" if job.ready.tcp else None
    if asked and not (job.port or engine.port):
        yield Complaint(f"{asked} asks a port, and the job has none", ("ready", asked), "give it a port:")
    if job.gpus.fewest and "command" in engine.requires:
        yield Complaint("what a command needs of GPUs is not known", ("gpus",), "give a number, or all")
    if job.command and not job.command[0].strip():
        yield Complaint("the program has no name", ("command", 0), "write the program first: [python, x.py]")


def _shares(job: Job, engine: Engine) -> Iterator[Complaint]:
    """Flags and variables that say how much of a GPU the engine may have, where `share` says it."""
    for flag in engine.limit.flags if engine.limit and job.gpus.share else ():
        place = next((at for at in ("args", "env") if written(job, flag) in getattr(job, at)), None)
        if place:
            name = written(job, flag)
            message = f"{name} and share both say how much of a GPU {engine.name} may have"
            yield Complaint(message, (place, name), "keep one of them", key=True)


ENGINE_KEYS = frozenset(ENGINE) | frozenset(SCRIPT)
"""The keys that an engine has only if it says so."""


def _written_out_secrets(document: Document, notes: Notes) -> None:
    for path, text in texts_in(document.data, ()):
        name = str(path[-1])
        if len(path) > 1 and path[-2] == "env" and secret_name(name) and not _refers(text):
            literal = "is not filled in from anywhere: specs are literal"
            what = "is written out here, where anyone who reads the spec sees it"
            notes.add(f"{name} {literal if text.startswith('$') else what}", path, f"secrets: [{name}]")
        elif secret_value(text):
            notes.add(f"{called(path)} holds what looks like a secret", path, "list its variable under secrets:")
        elif _as_flag(path, text) and not any(problem.path == path for problem in notes.problems):
            message = f"{called(path)} is written out here, where anyone who reads the spec sees it"
            notes.add(message, path, "list its variable under secrets:, and have the program read that")


def _as_flag(path: Path, text: str) -> bool:
    """Whether it is the secret of a flag, or of a config file."""
    inside = set(path[:-1]) & {"args", "script_args", "config"}
    return bool(inside) and secret_flag(str(path[-1]), text) and not _refers(text)


def _refers(text: str) -> bool:
    """Whether the value of a secret's variable is not the secret: nothing, the path of a file, another job's port."""
    return not text or OPEN in text or text.startswith(("/", "./", "../", "~/"))


def _misplaced_references(document: Document, notes: Notes) -> None:
    for path, text in texts_in(document.data, ()):
        key = path[2] if path[0] == "jobs" and len(path) > 2 else path[0]
        if OPEN in text and key not in REFERRING:
            notes.add(f"nothing is filled in under {key}", path, f"references stand under {', '.join(REFERRING)}")

"""Compiled commands in, the models that they read of the Hugging Face hub out; fetched to where they look for them."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

from mgpu import Compiled
from mgpu.engines import engine_named
from mgpu.errors import HostError
from mgpu.run import download, preflight
from mgpu.values.command import Command
from mgpu.values.engine import Hub
from mgpu.values.plan import Task
from mgpu.values.progress import Progress

EXTRA = "pip install 'mgpu-cli[hub]'"
TOKEN = "HF_TOKEN"
TICK = 0.2
"""Seconds between looks at what has come."""
UNIQUE = re.compile(r"\.[0-9a-f]{8}\.incomplete$")
"""How huggingface_hub since 2.0 calls what no later download goes on with."""


@dataclass(frozen=True)
class Model:
    """A repository that is to be in `cache`, or why it will not be. The token is shown to nobody."""

    hub: Hub
    cache: str
    instead: str | None = None
    token: str | None = field(default=None, repr=False)


class Fetched(NamedTuple):
    """The commit that is in the cache now, and the bytes that had to come for it."""

    commit: str
    bytes: int


def wanted(compiled: Compiled, env: Mapping[str, str]) -> list[Model]:
    """The models of all tasks, each once. A folder beside the spec needs nobody to fetch it."""
    found: dict[tuple[str, str | None, str], Model] = {}
    for task, command in zip(compiled.plan.tasks, compiled.commands, strict=True):
        hub = engine_named(task.job.engine).hub(task)
        if hub and not os.path.isdir(os.path.join(command.cwd, os.path.expanduser(hub.repository))):
            model = _placed(hub, task, command, env)
            found.setdefault((hub.repository, hub.revision, model.cache), model)
    return list(found.values())


def _placed(hub: Hub, task: Task, command: Command, env: Mapping[str, str]) -> Model:
    """The model with the folder that the task looks in, as this host calls it."""
    token = next((preflight.value(secret, env) for secret in command.secrets if secret.name == TOKEN), env.get(TOKEN))
    if command.container:
        own = dict(command.env)
        inside = _cache(hub, own) or f"{engine_named(task.job.engine).cache}/hub"
        cache = _outside(command, inside)
        lost = f"its container keeps it in {inside}, which is on no volume, and fetches it at its start"
        return Model(hub, cache or "", hub.instead or (None if cache else lost), token)
    cache = _cache(hub, {**env, **dict(command.env)}) or os.path.expanduser("~/.cache/huggingface/hub")
    return Model(hub, os.path.join(command.cwd, os.path.expanduser(cache)), hub.instead, token)


def _cache(hub: Hub, env: Mapping[str, str]) -> str | None:
    named = next(((env[name], below) for name, below in hub.cache if env.get(name)), None)
    return os.path.join(*named).rstrip("/") if named else None


def _outside(command: Command, inside: str) -> str | None:
    """The folder of this host that is `inside` the container."""
    assert command.container
    for volume in sorted(command.container.volumes, key=lambda volume: -len(volume.target)):
        if inside == volume.target or inside.startswith(volume.target.rstrip("/") + "/"):
            return volume.source + inside[len(volume.target.rstrip("/")) :]
    return None


def fetch(model: Model, show: Callable[[], AbstractContextManager[Callable[[Progress], None]]]) -> Fetched:
    """Have the model in its cache. Where something has to come, what `show` opens hears how far it is.

    Raises HostError where the hub refuses, the disk is too small, or what asks the hub is not installed.
    """
    from importlib.util import find_spec

    if find_spec("huggingface_hub") is None:
        raise HostError(f"{model.hub.repository} is fetched with huggingface_hub, which is not installed", EXTRA)
    with _child(model) as messages:
        plan = _said(next(messages))
        blobs: dict[str, int] = plan["blobs"]
        _fits(model, plan["missing"])
        with show() if blobs else nullcontext(_nobody) as told:
            while (message := next(messages)) is None:
                told(_progress(plan["folder"], blobs))
            _said(message)
            told(_progress(plan["folder"], blobs))
    return Fetched(plan["commit"], plan["missing"])


def _nobody(_: Progress) -> None:
    """Hears that nothing has to come."""


def _said(message: download.Message | None) -> download.Message:
    assert message is not None
    if "why" in message:
        raise HostError(message["why"], message["hint"])
    return message


@contextmanager
def _child(model: Model) -> Iterator[Iterator[download.Message | None]]:
    """A process that downloads, and what it says: None while it says nothing. Ended with the block, however that ends:
    threads in the midst of a large file could not be."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        download.carry(model.hub, model.cache, model.token, write)
    os.close(write)
    before = time.time()
    try:
        with open(read, "rb", buffering=0) as pipe:
            yield _messages(pipe.fileno())
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        _tidy(os.path.join(model.cache, download.folder(model.hub.repository), "blobs"), before)


def _messages(pipe: int) -> Iterator[download.Message | None]:
    """First the plan, which is waited for, then None every now and then until the last word."""
    import json
    import select

    line, first = b"", True
    while True:
        if not first and not select.select([pipe], [], [], TICK)[0]:
            yield None
            continue
        piece = os.read(pipe, 2**16)
        if not piece:
            yield {"why": "the download broke off", "hint": "run it again: it goes on with what has not come"}
            return
        line += piece
        while b"\n" in line:
            text, _, line = line.partition(b"\n")
            first = False
            yield json.loads(text)


def _tidy(blobs: str, since: float) -> None:
    """Remove what a killed download leaves behind and none will go on with."""
    try:
        for entry in os.scandir(blobs):
            if UNIQUE.search(entry.name) and entry.stat().st_mtime >= since - 1:
                os.unlink(entry.path)
    except OSError:
        return


def _progress(folder: str, blobs: Mapping[str, int]) -> Progress:
    """How much of `blobs`, sizes by name, is in the folder: whatever fetches them writes them there."""
    come = dict.fromkeys(blobs, 0)
    there = 0
    for entry in _entries(folder):
        name, _, part = entry.name.partition(".")
        if name in come:
            there += not part
            come[name] = min(blobs[name], max(come[name], _size(entry)))
    return Progress(sum(come.values()), sum(blobs.values()), there, len(blobs))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError:
        return []


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return 0


def _fits(model: Model, needed: int) -> None:
    """Raise HostError where the disk of the cache has no room for what is to come."""
    folder = model.cache
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if needed > free:
        raise HostError(
            f"{model.hub.repository} does not fit on the disk of {model.cache}: {needed / 1e9:.2f} GB are to come, and "
            f"{free / 1e9:.2f} GB are free",
            "hf cache rm removes models that nothing uses; HF_HOME names a folder on another disk for a process",
        )

"""A task with a container in, that container from its making to its end, and its exit status out.

What Docker's labels say is the truth: whoever takes this up anew goes on where the one before was killed.
"""

from __future__ import annotations

import os
import time
from http import HTTPStatus
from threading import Thread
from typing import TYPE_CHECKING, Any

from mgpu.command.docker import create_arguments
from mgpu.machine import daemon, processes
from mgpu.run import inside, refusals, state
from mgpu.run.sdk import away, client, join, kill, leave, removed, seen_gpus

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import APIClient

PATIENCE = 60.0
"""Seconds that an engine may be away once the container's process is."""
CLASH = 10.0
"""Seconds that the name of a container may be taken by one that is on its way to be there, or to go."""
PAUSE = 0.2
LIFE = "mgpu.life"
"""The label that tells the containers of a task's lives from each other."""


class Box:
    """The container of one task. `worker` threads ask the engine; the main thread waits for signals."""

    def __init__(self, folder: str, orders: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
        """`orders` are the task, its secrets, and which of its lives this is; `tell` says something to the keeper."""
        run = state.read(os.path.join(folder, "run.json")) or {}
        task = orders["task"]
        self.folder, self.task, self.secrets, self.life = folder, task, orders["secrets"], int(orders["life"])
        self.tell = tell
        self.run: str = run["id"]
        self.name: str = run["name"]
        self.origin = {daemon.HASH: run.get("hash", ""), daemon.VERSION: run.get("version", "")}
        self.command: dict[str, Any] = next(c for c in run["commands"] if c["task"] == task)
        self.log = os.open(state.log(folder, task), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.id: str | None = None
        self.begun = False
        self.first: processes.Process | None = None
        self.copied = 0
        self.asked: set[str] = set()
        self.refusal: refusals.Refusal | None = None

    def note(self, what: str, **more: Any) -> None:
        state.note(self.folder, what, self.task, **more, life=self.life)

    def carry(self) -> int:
        """Carry the container through; its exit status, or that of a refusal."""
        from docker.errors import APIError

        api = client()
        try:
            self.id = self.found(api)
            if self.id is None and (before := self.last("boxed", "exited", "refused")):
                return int(before.get("code", refusals.REMOVED.code))
            self.id = self.id or self.made(api)
            self.begin(api)
            status = self.followed(api)
        except APIError as error:
            if self.id and not removed(api, self.id):
                raise  # it may run: whoever stands for it next will see
            self.refusal = refusals.of(error.explanation or str(error), self.command)
            status = self.refusal.code
        if network := self.command["container"]["network"]:
            leave(api, network, self.run)
        if self.refusal:
            self.note("refused", why=self.refusal.why, hint=self.refusal.hint, code=self.refusal.code)
            return self.refusal.code
        return status

    def found(self, api: APIClient) -> str | None:
        """The container of this very task and life, from before this process was started anew; one of an earlier life,
        which has ended, is removed."""
        mine = [f"{daemon.RUN}={self.run}", f"{daemon.TASK}={self.task}"]
        every = api.containers(all=True, filters={"label": mine})
        rows = [row for row in every if row["Labels"].get(LIFE, "0") == str(self.life)]
        for row in every:
            if row not in rows:
                removed(api, row["Id"])
        if not rows:
            return None
        made = self.last("boxed")
        self.copied = max(0, os.fstat(self.log).st_size - int(made.get("log", 0) if made else 0))
        return str(rows[0]["Id"])

    def last(self, *kinds: str) -> dict[str, Any] | None:
        """The last event of these kinds in this life, from before this process was started anew."""
        mine = (e for e in state.events(self.folder) if e.get("task") == self.task and e.get("life", 0) == self.life)
        events = [event for event in mine if event["what"] in kinds]
        return events[-1] if events else None

    def made(self, api: APIClient) -> str:
        """A new container, not yet started. Raises APIError where the engine refuses it.

        Its name may be taken by one that the engine is still making for a process that was killed meanwhile: for this
        one's forerunner, whose container is gone on with, or for a run that nobody attends, whose container goes.
        """
        from docker.errors import APIError

        from mgpu.run import boxes

        deadline = time.monotonic() + CLASH
        while True:
            try:
                return self.created(api)
            except APIError as error:
                if error.status_code != HTTPStatus.CONFLICT or time.monotonic() > deadline:
                    raise
            boxes.sweep()
            time.sleep(PAUSE)
            found = self.found(api)
            if found:
                return found

    def created(self, api: APIClient) -> str:
        """Have the engine make the container. Raises APIError where it refuses."""
        box = self.command["container"]
        arguments = create_arguments(self.command["argv"], self.environment(), box)
        own = {daemon.GPUS: "", **arguments.pop("labels"), daemon.RUN: self.run, daemon.TASK: self.task}
        own |= {LIFE: str(self.life)}
        labels = {**own, **self.origin, daemon.NAME: self.name, daemon.OWNER: str(os.getuid())}
        if box["network"]:
            join(api, box["network"], self.run, os.getuid())
        host = api.create_host_config(**arguments.pop("host_config"))
        identity = str(api.create_container(**arguments, labels=labels, host_config=host)["Id"])
        self.note("boxed", container=identity, log=os.fstat(self.log).st_size)
        return identity

    def environment(self) -> dict[str, str]:
        """What the command sees: its own variables, its secrets, and the marks of the run."""
        marks = {processes.RUN: self.run, processes.TASK: self.task}
        return {**self.command["env"], **self.secrets, **marks}

    def begin(self, api: APIClient) -> None:
        """Start the container unless it has been, and look whether it has its GPUs."""
        assert self.id
        known = api.inspect_container(self.id)
        if known["State"]["Status"] == "created":
            self.refusal = refusals.of_requests(known["HostConfig"].get("DeviceRequests"), self.command)
            if self.refusal:
                removed(api, self.id)
                return
            if self.asked and removed(api, self.id):
                self.refusal = refusals.STOPPED
                return
            api.start(self.id)
            known = api.inspect_container(self.id)
            if known["State"]["Status"] == "created":
                raise OSError("the engine says that it has started the container, and it has not")
        self.first = processes.read(int(known["State"].get("Pid") or 0))
        self.begun = True
        self.tell({"first": self.first.pid if self.first else None})
        probe = self.command["probe"]
        if probe and probe["kind"] == "command":
            Thread(target=inside.ask, args=(self.id, probe, self.tell), daemon=True).start()
        for word in sorted(self.asked):
            self.signal(word)
        if self.command["gpus"]:
            Thread(target=self.check_gpus, daemon=True).start()

    def signal(self, word: str) -> None:
        """Send a signal to the container; where it does not run any more there is nothing to send it to."""
        self.asked.add(word)
        if not self.begun or self.id is None:
            return
        try:
            kill(self.id, word)
        except away() as error:
            os.write(2, f"{self.task}: {word}: {error}\n".encode())  # into the keeper's log

    def check_gpus(self) -> None:
        """Ask the container itself; where it lacks one of its GPUs, end it and say so."""
        wanted, seen = self.command["gpus"], seen_gpus(client(), self.id or "")
        if seen is not None and self.command["container"]["privileged"]:
            seen = [gpu for gpu in seen if gpu in wanted] or seen  # it sees every one, and is told which are its own
        if seen is not None and (set(seen) != set(wanted) if wanted[0].startswith("GPU-") else len(seen) < len(wanted)):
            self.refusal = refusals.of_gpus(wanted, seen)
            self.signal("SIGKILL")

    def followed(self, api: APIClient) -> int:
        """Copy what the container writes until it has ended; its exit status. An engine that is away is waited for."""
        from docker.errors import NotFound

        if self.refusal or self.id is None:
            return 0
        gone = 0.0
        while True:
            try:
                any(self.listen(api) for _ in range(3))  # an answer that broke off at its start looks like silence
                told = api.inspect_container(self.id)["State"]
                gone = 0.0
                if told["Status"] in ("exited", "dead"):
                    status = self.status(told)
                    if removed(api, self.id) or not self.restarted(api):
                        return status
            except NotFound:
                self.refusal = refusals.REMOVED
                return self.refusal.code
            except away() as error:
                gone = gone or time.monotonic()
                if not self.lives() and time.monotonic() > gone + PATIENCE:
                    self.refusal = refusals.away(error)
                    return self.refusal.code
            time.sleep(PAUSE)

    def restarted(self, api: APIClient) -> bool:
        """Whether somebody has started the container again: then it goes on, and its leases must."""
        try:
            now = api.inspect_container(self.id)["State"]
        except away():
            return False
        self.first = processes.read(int(now.get("Pid") or 0))
        return bool(now["Running"])

    def lives(self) -> bool:
        """Whether the container's first process is there, whatever the engine says."""
        now = processes.read(self.first.pid) if self.first else None
        return bool(now and self.first and now.start == self.first.start)

    def listen(self, api: APIClient) -> bool:
        """Append the container's output to the log until it ends, but for what was copied before; whether any came."""
        skip, came = self.copied, False
        for piece in api.logs(self.id, stream=True, follow=True):
            came = True
            new = piece[skip:]
            skip = max(0, skip - len(piece))
            if new:
                self.copied += len(new)
                write(self.log, new)
        return came

    def status(self, told: dict[str, Any]) -> int:
        """The exit status that the engine tells, and what is to be said of it; noted, since the container goes now."""
        if told.get("OOMKilled"):
            self.note("memory", why="the kernel killed it: the host, or its container, ran out of memory")
        code = int(told["ExitCode"])
        self.note("exited", code=code)
        return code


def write(log: int, text: bytes) -> None:
    """Write all of `text`; a full disk loses it, and the job goes on."""
    while text:
        try:
            text = text[os.write(log, text) :]
        except OSError:
            return

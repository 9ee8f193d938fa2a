"""What will be carried out, to the letter: argument vectors, environment, containers, probes, stop rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from mgpu.values.spec import Restart, Secret, Volume


class Trial(NamedTuple):
    """A request as users make them, in JSON, to a URL: what shows that a server does its work and not only lives.

    `patience` is how long it may take, in seconds: a model that is asked for the first time may compile. Where the
    answer is 404, a server that fetches its own models is told to by `absent`, and then asked again.
    """

    url: str
    body: Mapping[str, Any]
    patience: float = 120.0
    absent: Trial | None = None


class Probe(NamedTuple):
    """How readiness is asked for: `http` (GET `target`, a URL, answers 200 and `contains`), `tcp` (`target` is
    host:port), `log` (`target` is a regular expression), `command` (`argv`, where the job runs, ends with 0;
    `target` is its text). `bearer` names a secret, sent as a token; `within` is in seconds. A `trial`, once that is
    answered, must not fail on the server's side: a model of another kind may refuse it."""

    kind: Literal["http", "tcp", "log", "command"]
    target: str
    contains: str | None = None
    bearer: str | None = None
    within: float = 600.0
    trial: Trial | None = None
    argv: tuple[str, ...] = ()


class Stop(NamedTuple):
    """The signal that asks the job to end, and the seconds it has before it is killed."""

    signal: str = "SIGTERM"
    grace: float = 10.0


class File(NamedTuple):
    """A file to write before the start: its whole path on the host, and what it holds."""

    path: str
    text: str


@dataclass(frozen=True)
class Container:
    """The box a command runs in. `gpus` are device ids of the host, or with `cdi` names of NVIDIA's CDI devices; `shm`
    in bytes; `ulimits` are limits of its processes, -1 for none; `publish` is (address on the host, port on the host,
    port in the container); `user` are the ids that it runs as, None for the image's own; in `network` the containers
    of one spec reach each other, this one as `alias`; `labels` are what tells mgpu that a container holds GPUs; it is
    `privileged`, has capabilities and devices of the host, and shares `namespaces` (ipc, network, pid) with it, where
    the spec says so."""

    image: str
    name: str
    gpus: tuple[str, ...] = ()
    cdi: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    user: str | None = None
    network: str | None = None
    alias: str | None = None
    publish: tuple[tuple[str, int, int], ...] = ()
    volumes: tuple[Volume, ...] = ()
    shm: int | None = None
    ulimits: tuple[tuple[str, int], ...] = ()
    workdir: str | None = None
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """One task's command. `lines` gives the number of words on each line of the text that a person reads; their sum is
    len(argv). `env` is sorted; `unset` are patterns (fnmatch) of variables the caller's environment loses; `timeout`
    and `max_idle`, after which a server that nobody uses is stopped, are in seconds; `engine` is as the spec has it;
    `share` are bytes of each of its GPUs, None where it has them alone."""

    task: str
    argv: tuple[str, ...]
    lines: tuple[int, ...]
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()
    unset: tuple[str, ...] = ()
    cwd: str = ""
    container: Container | None = None
    probe: Probe | None = None
    stop: Stop = Stop()
    timeout: float | None = None
    needs: Mapping[str, str] = field(default_factory=dict)
    serves: bool = False
    gpus: tuple[str, ...] = ()
    share: int | None = None
    port: int | None = None
    rendezvous: int | None = None
    files: tuple[File, ...] = ()
    engine: str = ""
    restart: Restart | None = None
    max_idle: float | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of the host that it takes."""
        return tuple(port for port in (self.port, self.rendezvous) if port)

    def __post_init__(self) -> None:
        if not self.argv or sum(self.lines) != len(self.argv):
            raise AssertionError(f"{self.task}: {len(self.argv)} words on lines of {self.lines}")
        if not all(isinstance(word, str) for word in self.argv):
            raise AssertionError(f"{self.task}: an argument is not text: {self.argv}")

"""The spec language: every key of every kind of job, its shape and its meaning in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from mgpu.engines import ENGINES, engine_named
from mgpu.spec.container import CONTAINER
from mgpu.spec.facts import FACTS
from mgpu.spec.gpus import GPUS
from mgpu.spec.recipes import RECIPE
from mgpu.spec.restarts import RESTART
from mgpu.spec.scalars import Anything, Choice, Duration, Flag, Integer, Settings, Text
from mgpu.spec.shapes import Array, Either, Key, Made, Record, Shape, Table, made
from mgpu.values.spec import Gpus, Job, Parallel, Ready, Secret, Volume

POLICIES = ("latency", "throughput", "capacity")
KINDS = ("inference", "training", "task", "pipeline")
NAME = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
FLAG = r"[A-Za-z0-9][A-Za-z0-9_.-]*"

NAMED = Text(NAME, "a name of small letters, digits and hyphens")
WORD = Text(dash=False)
SIZED = Integer(1, 4096)


def _volume(text: str) -> Volume:
    parts = text.split(":")
    mode = parts.pop() if len(parts) == 3 else "rw"
    if len(parts) != 2 or mode not in ("ro", "rw") or not all(parts):
        raise ValueError(f"cannot be {text!r}", "write host-folder:/folder/in/container, with :ro to forbid writing")
    if not parts[1].startswith("/"):
        raise ValueError(f"wants a full path inside the container, not {parts[1]!r}", f"did you mean /{parts[1]}?")
    return Volume(parts[0], parts[1], mode == "ro")


def _address(text: str) -> str:
    from ipaddress import ip_address

    try:
        return str(ip_address("127.0.0.1" if text == "localhost" else text))
    except ValueError:
        raise ValueError(f"cannot be {text!r}", "write an address: 127.0.0.1, or 0.0.0.0 for every one") from None


def _ready(**given: Any) -> Ready:
    if len([key for key in given if key != "within"]) > 1:
        raise ValueError("has more than one way to be ready", "keep one of http, tcp, log, command")
    if "log" in given:
        _regular(given["log"])
    return Ready(**given)


def _regular(pattern: str) -> None:
    """Raise ValueError for what Python's `re` does not take; its mere warnings say nothing to a user."""
    import re
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(pattern)
        except (re.error, OverflowError) as error:
            raise ValueError(f"log is not a regular expression: {error}") from None
        except RecursionError:
            raise ValueError("log is not a regular expression: it is nested too deep") from None


PARALLEL = Either(
    {
        str: Made(Choice(("auto",)), lambda word: Parallel()),
        dict: Record(
            Parallel,
            {
                "tensor": Key(SIZED, "GPUs that share every layer"),
                "pipeline": Key(SIZED, "stages of whole layers"),
                "data": Key(SIZED, "full copies; for training the number of ranks"),
                "expert": Key(SIZED, "GPUs that share a layer's experts"),
            },
        ),
    },
    "auto, or a mapping of tensor, pipeline, data, expert",
)

SECRET = Either(
    {
        str: Made(Text(VARIABLE, "the name of an environment variable"), partial(Secret)),
        dict: Record(
            Secret,
            {
                "name": Key(Text(VARIABLE, "the name of an environment variable"), "the variable the job gets", True),
                "file": Key(WORD, "the file that holds the value"),
            },
        ),
    },
    "a name, or a mapping of name and file",
)

READY = made(
    _ready,
    http=Key(Text(r"/\S*", "a path that starts with /"), "ready when a GET of this path answers 200"),
    tcp=Key(Flag(), "ready when the port takes connections"),
    log=Key(Text(longest=1000), "ready when a line of the log matches this regular expression"),
    command=Key(Array(Text(empty=True), 1), "ready when this program, run where the job runs, ends with 0"),
    within=Key(Duration(), "how long it may take"),
)

COMMON = {
    "kind": Key(Choice(KINDS), "what this is", True),
    "name": Key(NAMED, "what ps, logs and stop call it; the file's name if left out"),
    "gpus": Key(GPUS, "how many GPUs, or which; auto: the fewest that fit; 1 if left out, 0 for a task"),
    "env": Key(
        Table(Text(empty=True), VARIABLE, "a variable's name"), "environment of the job; text may hold ${jobs.NAME.url}"
    ),
    "secrets": Key(Array(SECRET), "variables whose values come from the caller or a file, and are never shown"),
    "volumes": Key(Array(Made(Text(), _volume)), "folders of the host in the container: host:container[:ro]"),
    "workdir": Key(WORD, "the folder to run in; the spec's folder if left out"),
    "runtime": Key(Choice(("docker", "process")), "in a container or as a process of the host"),
    "container": Key(CONTAINER, "what its container may do beyond every other, and its limits"),
    "image": Key(WORD, "another container image than the engine's own"),
    "python": Key(WORD, "the Python interpreter whose programs are run, for process jobs"),
    "timeout": Key(Duration(), "stop the job after this long, restarts and all"),
    "restart": Key(RESTART, "when a job that has ended is started anew: no if left out"),
    "stop_grace": Key(Duration(), "how long the job may take to stop before it is killed"),
    "ready": Key(READY, "how the job shows that it is ready"),
    "needs": Key(
        Table(Choice(("started", "ready", "done")), NAME, "a job's name"),
        "jobs of this pipeline that must be started, ready or done first",
    ),
    "machine": Key(WORD, "the machine that render assumes when it is given none; run ignores it"),
}
ENGINE = {
    "model": Key(WORD, "the model: a repository, or a file or folder"),
    "quantization": Key(Text(FLAG, "a short word"), "how the weights are quantized, as awq-int4"),
    "context_length": Key(Integer(1), "tokens of context a request may use"),
    "command": Key(Array(Text(empty=True), 1), "the program and its arguments, each a word"),
    "args": Key(Table(Anything(), FLAG, "a flag's name without dashes"), "the engine's own flags, without dashes"),
    "parallel": Key(PARALLEL, "the parallel layout: auto, or sizes"),
    "version": Key(Text(r"[0-9A-Za-z][A-Za-z0-9._+-]*", "a version in quotes, as '0.32.0'"), "the engine's version"),
}
MODEL = {"model_facts": Key(FACTS, "the sizes of a model that mgpu does not know")}

SCRIPT = {
    "script": Key(WORD, "the script that every rank runs, relative to the spec's folder"),
    "script_args": Key(
        Either(
            {dict: Table(Anything(), FLAG, "an option's name"), list: Array(Text(empty=True))},
            "a mapping of options, or a list of words",
        ),
        "what the script is given; ${config} is the path of the config file",
    ),
    "trainer": Key(Text(FLAG, "a short word"), "which of the engine's own trainers, as sft"),
    "recipe": Key(RECIPE, "how the script trains its model, for the estimate of memory; it changes no command"),
    "config": Key(Settings(), "the engine's own config file, inline: it is checked, and written before the start"),
}
SERVER = {
    "port": Key(Integer(1, 65535), "where it is served; the engine's usual port if left out"),
    "host": Key(Made(WORD, _address), "the address it is served on: 127.0.0.1 if left out"),
    "replicas": Key(Integer(1, 256), "how many copies, each with its own GPUs and the next port"),
}
SERVED = {
    "max_idle": Key(Duration(), "stop the server once nobody has used it for this long"),
    "policy": Key(Choice(POLICIES), "what a layout is chosen for: latency if left out"),
}


def _engines(kind: str) -> dict[str, Key]:
    names = tuple(name for name, kinds in ENGINES.items() if kind in kinds)
    return {"engine": Key(Choice(names), "the program that does the work", True)}


def _job(kind: str, /, **given: Any) -> Job:
    """A job of this kind; the language's own defaults are filled in here."""
    given.pop("kind", None)
    given.pop("machine", None)
    if kind == "task":
        given = {"engine": "task", "gpus": Gpus(0), **given}
    serves = kind == "inference" and not engine_named(given["engine"]).finite
    return Job(kind=kind, **{"name": "", "serves": serves, **given})


KEYS: dict[str, dict[str, Key]] = {
    "inference": COMMON | _engines("inference") | ENGINE | MODEL | {"config": SCRIPT["config"]} | SERVER | SERVED,
    "training": COMMON | _engines("training") | ENGINE | MODEL | SCRIPT,
    "task": COMMON | {"command": ENGINE["command"]._replace(required=True)} | SERVER,
}
"""The keys of each kind of job."""

PIPELINE = {key: COMMON[key] for key in ("kind", "name", "machine")}
"""The keys of a pipeline itself; `jobs` holds the jobs."""


def elsewhere(kind: str, keys: dict[str, Key]) -> Callable[[str], str | None]:
    """The hint for a key that is not one of `keys`: where it belongs instead."""

    def hint(name: str) -> str | None:
        for key, inner in (
            ("gpus", ("count", "memory", "link", "ids", "share")),
            ("parallel", tuple(Parallel._fields)),
            ("restart", ("max", "within")),
            ("container", ("privileged", "cap_add", "devices", "ipc", "network", "pid", "shm_size", "ulimits")),
            ("model_facts", ("parameters", "layers", "hidden", "heads", "kv_heads", "vocabulary")),
        ):
            if name in inner and key in keys:
                return f"put it under {key}: {{{name}: ...}}"
        if name in ("priority", "wait", "allow", "detach", "locked", "debug"):
            return f"it is an option of the run: mgpu run --{name}"
        having = [other for other, known in (*KEYS.items(), ("pipeline", ("jobs",))) if name in known]
        if having and kind == "pipeline":
            return f"{name} belongs to a job: put it under jobs:"
        if having:
            return f"{name} is a key of kind: {' or '.join(having)}"
        if "args" in keys:
            return "mgpu's keys are listed by `mgpu schema`; the engine's own flags go under args:"
        return None

    return hint


def record(kind: str) -> Shape:
    """The shape of one job of this kind."""
    return Record(partial(_job, kind), KEYS[kind], elsewhere(kind, KEYS[kind]))

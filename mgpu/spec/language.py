"""The spec language: every key of every kind of job, its shape and its meaning in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from mgpu.engines import ENGINES, engine_named
from mgpu.spec.facts import FACTS
from mgpu.spec.scalars import Anything, Choice, Duration, Flag, Integer, Settings, Size, Text
from mgpu.spec.shapes import Array, Either, Key, Made, Record, Shape, Table
from mgpu.values.machine import LINK_KINDS
from mgpu.values.recipe import ATTENTIONS, LOSSES, MATRICES, METHODS, OPTIMIZERS, PRECISIONS, SHARDINGS
from mgpu.values.spec import Gpus, Job, Parallel, Ready, Secret, Volume

POLICIES = ("latency", "throughput", "capacity")
KINDS = ("inference", "training", "task", "pipeline")
NAME = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
FLAG = r"[A-Za-z0-9][A-Za-z0-9_.-]*"

NAMED = Text(NAME, "a name of small letters, digits and hyphens")
WORD = Text(dash=False)
NUMBER_OF_GPUS = Integer(0, 4096)
SIZED = Integer(1, 4096)


def _all_gpus(word: str) -> Gpus:
    return Gpus(count=None, fewest=word == "auto")


def _gpus(**given: Any) -> Gpus:
    if "share" in given:
        raise ValueError("cannot have share in this version", "leave share out: the job gets whole GPUs")
    ids = given.pop("ids", ())
    count = given.pop("count", len(ids) or 1)
    if count in ("all", "auto"):
        return Gpus(None, ids=ids, fewest=count == "auto", **given)
    if ids and count > len(ids):
        raise ValueError(f"asks for {count} of {len(ids)} ids", "give more ids, or leave count out")
    if len(set(ids)) != len(ids):
        raise ValueError("names a GPU twice in ids")
    return Gpus(count, ids=ids, **given)


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
        raise ValueError("has more than one way to be ready", "keep one of http, tcp, log")
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


def _made(make: Any, **keys: Key) -> Made:
    return Made(Record(dict, keys), lambda given: make(**given))


GPUS = Either(
    {
        int: Made(NUMBER_OF_GPUS, Gpus),
        str: Made(Choice(("all", "auto"), "give a number without quotes, all, or auto"), _all_gpus),
        dict: _made(
            _gpus,
            count=Key(
                Either({int: NUMBER_OF_GPUS, str: Choice(("all", "auto"))}, "a number, all, or auto"),
                "how many, per replica",
            ),
            memory=Key(Size(), "free memory that each GPU must have, as 20GiB"),
            name=Key(WORD, "a word in the GPU's name or its catalogue id, as rtx-4090"),
            link=Key(
                Made(Choice(tuple(kind.lower() for kind in LINK_KINDS)), str.upper),
                "the worst link allowed between any two of them, as nvlink",
            ),
            ids=Key(Array(WORD, 1), "exactly these, by index or UUID"),
            share=Key(Size(), "memory on a GPU shared with others (not in this version)"),
        ),
    },
    "a number, all, auto, or a mapping of count, memory, name, link, ids",
    {list: "to name them: gpus: {ids: [0, 1]}"},
)

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

READY = _made(
    _ready,
    http=Key(Text(r"/\S*", "a path that starts with /"), "ready when a GET of this path answers 200"),
    tcp=Key(Flag(), "ready when the port takes connections"),
    log=Key(Text(longest=1000), "ready when a line of the log matches this regular expression"),
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
    "image": Key(WORD, "another container image than the engine's own"),
    "python": Key(WORD, "the Python interpreter whose programs are run, for process jobs"),
    "timeout": Key(Duration(), "stop the job after this long"),
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
RECIPE = Record(
    dict,
    {
        "method": Key(Choice(METHODS), "what is trained: all weights, or adapters of 16- or 4-bit ones"),
        "precision": Key(Choice(PRECISIONS), "amp: fp32 weights and 16-bit computing; bf16: everything in 16 bits"),
        "optimizer": Key(Choice(OPTIMIZERS), "the optimizer: adamw is torch's own as it comes"),
        "sharding": Key(Choice(SHARDINGS), "how ranks share the states"),
        "offload_optimizer": Key(Flag(), "the optimizer's states are in the host's memory"),
        "offload_parameters": Key(Flag(), "the parameters are in the host's memory"),
        "micro_batch": Key(Integer(1, 65536), "samples that a GPU takes at once"),
        "sequence": Key(Integer(1), "tokens of a sample"),
        "accumulation": Key(Integer(1), "batches between two steps of the optimizer"),
        "checkpointing": Key(Flag(), "gradient checkpointing: activations are reckoned anew"),
        "lora_rank": Key(Integer(1, 65536), "the rank of the adapters"),
        "adapted": Key(Array(Choice(MATRICES), 1), "the matrices of a layer that get an adapter"),
        "loss": Key(Choice(LOSSES), "how cross-entropy is reckoned: all logits at once, or piece by piece"),
        "backward_step": Key(Flag(), "the optimizer steps within the backward pass"),
        "compile": Key(Flag(), "torch.compile"),
        "attention": Key(Choice(ATTENTIONS), "eager keeps the scores of all pairs of tokens"),
    },
)

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
CHOSEN = {"policy": Key(Choice(POLICIES), "what a layout is chosen for: latency if left out")}


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
    "inference": COMMON | _engines("inference") | ENGINE | MODEL | {"config": SCRIPT["config"]} | SERVER | CHOSEN,
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
            ("model_facts", ("parameters", "layers", "hidden", "heads", "kv_heads", "vocabulary")),
        ):
            if name in inner and key in keys:
                return f"put it under {key}: {{{name}: ...}}"
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

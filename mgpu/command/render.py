"""Plan in, Commands out: for every task the words, the environment, the box and the probe, to the letter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mgpu.command.files import dumped
from mgpu.command.options import options
from mgpu.command.words import words
from mgpu.engines import engine_named
from mgpu.spec.versions import image_of, listed
from mgpu.values.asking import given_probe
from mgpu.values.command import Command, Container, File, Probe, Stop
from mgpu.values.engine import Engine, Spelling
from mgpu.values.machine import CDI, CLAIM, FOLDER, HOME, USER, Machine
from mgpu.values.plan import Plan, Task
from mgpu.values.spec import CONFIG, Bounds, Volume

WRITTEN = ".mgpu"
"""The folder, below the spec's, for the config files that mgpu writes."""

UNSET = ("CUDA_VISIBLE_DEVICES", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_*", "PET_*")
"""What a job must not inherit: another job's GPUs and ranks (PET_* are torchrun's own flags as variables)."""

TEMPORARY = "/tmp"
HOMELESS = {"HOME": TEMPORARY, "USER": "mgpu"}
"""A user of the host has no home in an image, and caches want one; nor a name, and torch's compiler asks for one
(getpass.getuser looks for USER before it fails on a number that /etc/passwd lacks)."""

SCRIPT = Spelling(negation=None, equals=True)
"""Scripts parse with argparse, and a flag that is false is one that is not given."""


def render(plan: Plan, templates: Path | None = None) -> tuple[Command, ...]:
    """The Commands of `plan`, in the order of starting. Raises HostError where a template of one's own fails."""
    return tuple(_command(task, plan, templates) for task in plan.tasks)


def _command(task: Task, plan: Plan, templates: Path | None) -> Command:
    job, engine, machine = task.job, engine_named(task.job.engine), plan.machine
    inside, files = _files(task, engine, plan)
    lines = words(engine.name, _values(task, engine, inside), templates)
    boxed = task.runtime == "docker"
    if boxed:
        lines = _without_entrypoint(lines, engine)
    elif job.python:
        lines[0][0] = _beside(job.python, lines[0][0])
    return Command(
        task=task.name,
        argv=tuple(word for line in lines for word in line),
        lines=tuple(len(line) for line in lines),
        env=tuple(sorted(_environment(task, engine).items())),
        secrets=job.secrets,
        unset=() if boxed else UNSET,
        cwd=_under(machine.folder or FOLDER, job.workdir),
        container=_container(task, engine, plan) if boxed else None,
        probe=_probe(task, engine),
        stop=Stop(engine.stop_signal, job.stop_grace or engine.stop_grace),
        timeout=job.timeout,
        needs=task.needs,
        serves=job.serves,
        gpus=tuple(gpu.id for gpu in task.gpus),
        share=job.gpus.share if task.gpus else None,
        port=task.port,
        rendezvous=None if task.secluded else task.rendezvous,
        files=files,
        engine=job.engine,
        restart=job.restart if job.restart.policy != "no" else None,
        max_idle=job.max_idle,
    )


def _files(task: Task, engine: Engine, plan: Plan) -> tuple[dict[str, str], tuple[File, ...]]:
    """Where the job finds each of its config files, by name, and the files to write on the host."""
    alone = len(plan.tasks) == 1
    folder = f"{WRITTEN}/{plan.name}" if alone else f"{WRITTEN}/{plan.name}/{task.name}"
    host = plan.machine.folder or FOLDER
    inner = engine.workspace if task.runtime == "docker" else host
    contents = engine.files(task)
    files = tuple(File(f"{host}/{folder}/{name}", dumped(name, content)) for name, content in contents.items())
    return {name: f"{inner}/{folder}/{name}" for name in contents}, files


def _values(task: Task, engine: Engine, files: dict[str, str]) -> dict[str, Any]:
    """What a template can print."""
    job = task.job
    config = files.get(engine.config or "")
    script_args = _pointed(job.script_args, config)
    given = {
        "model": job.model,
        "quantization": job.quantization,
        "context_length": job.context_length,
        "listen": "0.0.0.0" if task.secluded else job.host,
        "port": task.port,
        "rendezvous": task.rendezvous,
        "layout": task.layout,
        "gpus": task.gpu_count,
        "files": {PurePosixPath(name).stem: path for name, path in files.items()},
        "config": None if script_args != job.script_args else config,
        "args": options(engine.arguments(task), engine.spelling, listed(engine, "args", task.version)),
        "script": job.script,
        "script_args": options(script_args, SCRIPT, listed(engine, "script_args", task.version)),
        "trainer": job.trainer,
        "command": job.command,
    }
    return {**given, **engine.variables(task)}


def _pointed(given: Any, config: str | None) -> Any:
    """What a script is given, with the path of the config file in the place of ``${config}``."""
    if not config:
        return given
    if isinstance(given, Mapping):
        return {flag: _pointed(value, config) for flag, value in given.items()}
    if isinstance(given, tuple):
        return tuple(_pointed(value, config) for value in given)
    return given.replace(CONFIG, config) if isinstance(given, str) else given


def _without_entrypoint(lines: list[list[str]], engine: Engine) -> list[list[str]]:
    """The lines without the leading words that the entrypoint of the image, the engine's or one built on it, gives."""
    count = len(engine.entrypoint)
    if tuple(lines[0][:count]) != engine.entrypoint:
        return lines
    return [line for line in (lines[0][count:], *lines[1:]) if line]


def _beside(python: str, program: str) -> str:
    """The program of the environment that the interpreter belongs to; a path stays what it is."""
    if program in ("python", "python3"):
        return python
    return program if "/" in program else str(PurePosixPath(python).parent / program)


def _environment(task: Task, engine: Engine) -> dict[str, str]:
    own = {"PYTHONUNBUFFERED": "1", **engine.environment(task)}
    if task.gpus and task.job.gpus.share and engine.limit is None:
        own["MGPU_SHARE"] = str(task.job.gpus.share)
    if task.runtime == "process":
        own |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        if not task.gpus or engine.names_gpus(task.version) != "nothing":
            own |= {"CUDA_VISIBLE_DEVICES": _visible(task, engine)}
    else:
        own |= _among_all(task, engine) if _privileged(task) else _ranked(task)
        if engine.scripted:
            own |= HOMELESS | {"HF_HOME": engine.cache or TEMPORARY}
    return own | dict(task.job.env)


def _privileged(task: Task) -> bool:
    return bool(task.job.container and task.job.container.privileged)


def _among_all(task: Task, engine: Engine) -> dict[str, str]:
    """A privileged container sees every GPU of the host, whichever it was given (NVIDIA/nvidia-docker issue 764)."""
    if not task.gpus or engine.names_gpus(task.version) == "nothing":
        return {}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": _visible(task, engine)}


def _ranked(task: Task) -> dict[str, str]:
    """Inside a container GPUs are numbered from 0 as the bus has them: the order of the ranks, where it is another."""
    places = {
        gpu.id: place for place, gpu in enumerate(sorted(task.gpus, key=lambda gpu: (gpu.bus_id or "", gpu.index)))
    }
    order = [places[gpu.id] for gpu in task.gpus]
    if order == sorted(order):
        return {}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, order))}


def _visible(task: Task, engine: Engine) -> str:
    """The job's GPUs as its engine wants them named; nothing at all for a job without GPUs."""
    uuids = [gpu.uuid for gpu in task.gpus if gpu.uuid]
    if len(uuids) == len(task.gpus) and engine.names_gpus(task.version) == "uuid":
        return ",".join(uuids)
    return ",".join(str(gpu.index) for gpu in task.gpus)


def _probe(task: Task, engine: Engine) -> Probe | None:
    """The spec's own probe, else the engine's; the spec's deadline counts for either."""
    probe = given_probe(task) or engine.probe(task)
    return probe._replace(within=task.job.ready.within) if probe and task.job.ready.within else probe


def _container(task: Task, engine: Engine, plan: Plan) -> Container:
    job, machine, bounds = task.job, plan.machine, task.job.container or Bounds()
    image = (image_of(job, task.version) or "") + (f"@{job.digest}" if job.digest else "")
    cache = (Volume(f"{machine.home or HOME}/{engine.cache_home}", engine.cache),) if engine.cache else ()
    folder = Volume(machine.folder or FOLDER, engine.workspace)
    volumes = tuple(volume._replace(source=_resolved(volume.source, machine)) for volume in job.volumes)
    alone = len(plan.tasks) == 1
    devices = _devices(task, machine)
    return Container(
        image=image,
        name=f"mgpu-{plan.name}" if alone else f"mgpu-{plan.name}-{task.name}",
        gpus=devices or tuple(gpu.id for gpu in task.gpus),
        cdi=bool(devices),
        labels=((CLAIM, ",".join(gpu.id for gpu in task.gpus)),) if task.gpus else (),
        user=(machine.user or USER) if engine.scripted else None,
        network=task.network,
        alias=task.name if task.network else None,
        publish=((job.host, task.port, task.port),) if task.port and task.secluded else (),
        volumes=(*cache, folder, *volumes),
        shm=None if "ipc" in bounds.namespaces else bounds.shm or engine.shm,
        ulimits=tuple({**dict(engine.ulimits), **dict(bounds.ulimits)}.items()),
        workdir=_under(engine.workspace, job.workdir),
        privileged=bounds.privileged,
        cap_add=bounds.cap_add,
        devices=bounds.devices,
        namespaces=bounds.namespaces,
    )


def _devices(task: Task, machine: Machine) -> tuple[str, ...]:
    """The names by which Docker lists the task's GPUs as CDI devices; none unless it lists every one."""
    listed = machine.docker.cdi if machine.docker else ()
    names = [next((name for name in (gpu.uuid, str(gpu.index)) if name in listed), None) for gpu in task.gpus]
    return tuple(f"{CDI}{name}" for name in names if name) if all(names) else ()


def _resolved(source: str, machine: Machine) -> str:
    """A host path with ``~`` and relative parts made whole."""
    if source == "~" or source.startswith("~/"):
        return (machine.home or HOME) + source[1:]
    return source if source.startswith("/") else _under(machine.folder or FOLDER, source)


def _under(folder: str, inner: str | None) -> str:
    if not inner:
        return folder
    return inner if inner.startswith("/") else str(PurePosixPath(folder) / inner)

"""Commands in, the values of their secrets out; or the error that starting them would end in, before a GPU is taken."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from mgpu import Compiled
from mgpu.errors import HostError, NoRoom
from mgpu.run import boxes
from mgpu.values.command import Command
from mgpu.values.plan import Task
from mgpu.values.secrets import Hidden
from mgpu.values.spec import Secret


def check(compiled: Compiled, env: Mapping[str, str]) -> dict[str, dict[str, Hidden]]:
    """The secrets' values by task and name. Raises SpecError or HostError for what is missing on this host."""
    for task, command in zip(compiled.plan.tasks, compiled.commands, strict=True):
        _place(compiled, task, command)
        _script(compiled, task, command)
        if command.container:
            boxes.check(command, command.container, compiled.plan.machine.docker)
        else:
            _program(command, dict(command.env).get("PATH") or env.get("PATH", os.defpath))
    return {command.task: _secrets(command, env) for command in compiled.commands}


def memory(compiled: Compiled) -> None:
    """Raise NoRoom, with the sum, for a task that does not fit into the memory of its GPUs."""
    from mgpu.plan.refusal import unfitting

    refusal = unfitting(compiled.spec, compiled.plan)
    if refusal:
        raise refusal


def _place(compiled: Compiled, task: Task, command: Command) -> None:
    document = compiled.spec.document
    inside = command.container and os.path.isabs(task.job.workdir or "")
    if not inside and not os.path.isdir(command.cwd):
        path = (*task.job.path, "workdir")
        raise document.error(document.problem(f"there is no folder {command.cwd}", path, "make it, or name another"))


def _script(compiled: Compiled, task: Task, command: Command) -> None:
    script = task.job.script
    inside = command.container and os.path.isabs(os.path.join(task.job.workdir or "", script or ""))
    if script and not inside and not os.path.isfile(os.path.join(command.cwd, script)):
        document = compiled.spec.document
        hint = "a script is looked for in the spec's folder, or in workdir"
        raise document.error(
            document.problem(f"there is no file {script} in {command.cwd}", (*task.job.path, "script"), hint)
        )


def _program(command: Command, path: str) -> None:
    import shutil

    program = command.argv[0]
    if "/" in program:
        file = os.path.normpath(os.path.join(command.cwd, program))
        if not os.path.exists(file):
            raise HostError(f"{command.task}: there is no program {file}", "look at its path in the spec", 127)
        if os.path.isdir(file) or not os.access(file, os.X_OK):
            raise HostError(f"{command.task}: {file} may not be executed", f"chmod +x {file}", 126)
    elif not shutil.which(program, path=path):
        denied = [
            os.path.join(folder, program)
            for folder in path.split(os.pathsep)
            if os.path.isfile(os.path.join(folder, program))
        ]
        if denied:
            raise HostError(f"{command.task}: {denied[0]} may not be executed", f"chmod +x {denied[0]}", 126)
        hint = "install it, activate its environment, or name one in the spec: python: /path/to/venv/bin/python"
        raise HostError(f"{command.task}: the program {program} is not on PATH", hint, 127)


def _secrets(command: Command, env: Mapping[str, str]) -> dict[str, Hidden]:
    found = {secret.name: value(secret, env) for secret in command.secrets}
    missing = [secret for secret in command.secrets if found[secret.name] is None]
    if missing:
        words = ", ".join(secret.name + (f" (in {secret.file})" if secret.file else "") for secret in missing)
        raise HostError(
            f"{command.task}: these secrets are missing: {words}", f"export {missing[0].name}=..., then run again", 1
        )
    odd = [name for name, value in found.items() if value and "\0" in value]
    if odd:
        raise HostError(
            f"{command.task}: the secret {odd[0]} holds a NUL character", "look at its file: it is not text", 1
        )
    return {name: Hidden(value) for name, value in found.items() if value is not None}


def value(secret: Secret, env: Mapping[str, str]) -> str | None:
    """The value of a secret, from the file that the spec names or from `env`; None where it has none."""
    if secret.file is None:
        return env.get(secret.name) or None
    try:
        with open(os.path.expanduser(secret.file), encoding="utf-8") as file:
            return file.read().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def ports(wanted: Iterable[int]) -> None:
    """Raise NoRoom for the first port that cannot be bound, whatever the kernel's tables have shown."""
    import socket

    for port in wanted:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise NoRoom(f"port {port} cannot be used: {error.strerror}", "name another with port:") from None

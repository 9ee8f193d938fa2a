"""Plan and Commands in, the text that a person reads and pastes out: the very words that a runner carries out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from mgpu.command.docker import docker_lines
from mgpu.values.command import Command, File
from mgpu.values.machine import FOLDER, HOME, USER
from mgpu.values.plan import Plan, Task
from mgpu.values.spec import Secret

GIB = 2**30
MARKS = {HOME: '"$HOME"', FOLDER: '"$PWD"', USER: '"$(id -u):$(id -g)"'}
"""What a shell knows of the machine that it stands on, where mgpu does not."""
MOVED = {**MARKS, FOLDER: '"$OLDPWD"'}
"""The same after a `cd`."""


def script(plan: Plan, commands: tuple[Command, ...]) -> str:
    """The plan as comments, and every command as shell text: of several, each in parentheses, servers behind `&`."""
    blocks = [f"# {line}" for line in described(plan)]
    networks = {command.container.network: None for command in commands if command.container}
    blocks += [f"\ndocker network create {quote(network)}" for network in networks if network]
    for task, command in zip(plan.tasks, commands, strict=True):
        text = shell(command, plan)
        if len(commands) > 1:
            text = f"(\n{text}\n)" + (" &" if command.serves else "")
        blocks += ["", *(f"# {line}" for line in because(task)), text]
    return "\n".join(blocks) + "\n"


def described(plan: Plan) -> list[str]:
    """The plan in lines: the machine, then every task with what it was given."""
    lines = [f"{plan.name} on {plan.machine.name}"]
    width = max(len(task.name) for task in plan.tasks)
    return lines + [f"  {task.name:<{width}}  {', '.join(_given(task))}" for task in plan.tasks]


def _given(task: Task) -> Iterator[str]:
    version = f" {task.version}" if task.version else ""
    yield f"{task.job.engine}{version} ({task.runtime})"
    if task.gpus:
        share = f"{task.job.gpus.share / GIB:.1f} GiB of " if task.job.gpus.share else ""
        yield f"{share}GPU{'s' if len(task.gpus) > 1 else ''} {','.join(str(gpu.index) for gpu in task.gpus)}"
    elif task.gpu_count:
        yield f"{task.gpu_count} GPUs, placed by the scheduler"
    else:
        yield "no GPU"
    if task.port:
        yield f"{task.job.host}:{task.port}"
    if task.needs:
        yield "after " + " and ".join(f"{name} is {state}" for name, state in task.needs.items())


def because(task: Task) -> list[str]:
    """The task's name and the reasons for what it was given."""
    return [task.name, *(f"  {reason}" for reason in task.because)]


def shell(command: Command, plan: Plan) -> str:
    """One command as shell text: the environment as exports, or within a `docker run` line."""
    lines = _lines(command)
    files = [line for file in command.files for line in _written(file)]
    if command.container:
        read = [_secret(secret, plan) for secret in command.secrets if secret.file]
        return "\n".join([*files, *read, _joined([*docker_lines(command, command.container), *lines])])
    exports = [f"export {name}={quote(value)}" for name, value in command.env]
    secrets = [_secret(secret, plan) for secret in command.secrets]
    folder = [f"cd {quote(command.cwd)}"] if command.cwd != (plan.machine.folder or FOLDER) else []
    return "\n".join([*files, *secrets, *exports, *folder, _joined(lines, MOVED if folder else MARKS)])


def _written(file: File) -> Iterator[str]:
    """What makes a shell write the file, to the byte."""
    folder, _, _ = file.path.rpartition("/")
    end = "EOF"
    while end in file.text.split("\n"):
        end += "_"
    yield f"mkdir -p {quote(folder)}"
    yield f"cat > {quote(file.path)} <<'{end}'\n{file.text}{end}"


def _secret(secret: Secret, plan: Plan) -> str:
    """What gives a shell the value of a secret, or stops it."""
    if secret.file is None:
        return f': "${{{secret.name}:?is a secret of this job}}"; export {secret.name}'
    home = plan.machine.home or HOME
    path = home + secret.file[1:] if secret.file.startswith("~/") else secret.file
    return f'{secret.name}="$(cat {quote(path)})" && export {secret.name}'


def _lines(command: Command) -> list[list[str]]:
    lines, rest = [], list(command.argv)
    for count in command.lines:
        lines.append(rest[:count])
        rest = rest[count:]
    return lines


def _joined(lines: list[list[str]], marks: Mapping[str, str] = MARKS) -> str:
    return " \\\n    ".join(" ".join(quote(word, marks) for word in line) for line in lines)


def quote(word: str, marks: Mapping[str, str] = MARKS) -> str:
    """A word quoted for a shell, but for the facts of an unknown machine: those the shell fills in."""
    for mark, variable in marks.items():
        if word.startswith(mark):
            rest = word[len(mark) :]
            return variable + (shlex.quote(rest) if rest else "")
        if mark in word:
            return quote(word.split(mark, 1)[0], marks) + quote(mark + word.split(mark, 1)[1], marks)
    return shlex.quote(word)


def named(word: str) -> str:
    """A word for JSON: the facts of an unknown machine as a shell would name them."""
    for mark, variable in MARKS.items():
        word = word.replace(mark, variable.strip('"'))
    return word

"""What the servers built on AUTOMATIC1111's stable-diffusion-webui share: A1111 itself, and Forge.

They are started by launch.py and not by webui.sh: that is a shell script which reads webui-user.sh, makes an
environment of its own, refuses root without -f, and starts the server anew by itself, so what runs would not be what
the spec says. `python:` names the environment in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mgpu.values.asking import url
from mgpu.values.command import Probe
from mgpu.values.engine import Complaint, Spelling
from mgpu.values.plan import Task
from mgpu.values.said import said
from mgpu.values.spec import Job

OWNED = {
    "port": "port",
    "listen": "host",
    "server-name": "host",
    "autolaunch": "nothing: a server opens no browser",
}
"""Flags that mgpu gives, or that name what the spec has a key for. --listen is --server-name 0.0.0.0."""
SPELLING = Spelling(negation=None, equals=True)
WORDS = "COMMANDLINE_ARGS"
"""launch.py puts the words of this variable behind those of its command line (modules/launch_utils.py)."""
OF_ITS_OWN = {"ui-settings-file": "config", "ui-config-file": "ui-config"}
"""The files that every instance writes, by their flag: those of one checkout overwrite each other's."""


def check(job: Job) -> Iterable[Complaint]:
    """One process uses one GPU (modules/devices.py): there is no list of devices and no mode for several."""
    count = job.gpus.count
    if not job.gpus.fewest and (count is None or count > 1):
        many = "n" if count is None else count
        message = f"one {job.engine} server uses one GPU, and only the first of {'all' if count is None else count}"
        yield Complaint(message, ("gpus",), f"gpus: 1 and replicas: {many}, for one server a GPU")
    if WORDS in job.env:
        yield Complaint(f"{WORDS} would change the command unseen", ("env", WORDS), "put its flags under args:")


def probe(task: Task) -> Probe:
    """/internal/ping is the user interface's; without one the API's own is asked, and where that wants a password the
    page that describes it. With TLS only the port is asked."""
    job = task.job
    if said(job, "tls-certfile"):
        return Probe("tcp", url(task).removeprefix("http://"), within=1800.0)
    path = "/internal/ping"
    if said(job, "nowebui"):
        path = "/docs" if said(job, "api-auth") else "/sdapi/v1/memory"
    return Probe("http", url(task, path), within=1800.0)


def variables(task: Task) -> Mapping[str, Any]:
    """Of several instances each has settings of its own, in the folder that they run in."""
    job = task.job
    apart = job.replicas > 1
    given = {flag: f"{name}.{task.name}.json" for flag, name in OF_ITS_OWN.items() if apart and not said(job, flag)}
    return {
        "settings": given.get("ui-settings-file"),
        "interface": given.get("ui-config-file"),
    }


def environment(_: Task) -> Mapping[str, str]:
    """Nothing that stands in the caller's environment is added to the command."""
    return {WORDS: ""}

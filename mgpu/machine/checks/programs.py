"""The host in, whether what runs on it can use it out: this Python, its torch, the ports, the clock."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time

from mgpu.engines import every
from mgpu.machine import software
from mgpu.machine.checks.finding import Check, Finding, broken, ok, skipped, warning
from mgpu.machine.checks.host import Host
from mgpu.machine.mask import left

NEEDED = {"docker": (7, 1), "jinja2": (3, 1, 6), "nvidia-ml-py": (12, 560), "rich": (13,), "ruamel.yaml": (0, 18, 6)}
"""The libraries that mgpu is installed with, as pyproject.toml has them."""
TORCH = """
import json, sys, torch
error = None
try:
    torch.cuda.init()
except Exception as raised:
    error = str(raised).splitlines()[0]
print(json.dumps([torch.__version__, torch.version.cuda, torch.cuda.device_count() if not error else 0, error]))
"""
"""CUDA is initialized, as nothing else shows that it can be; no memory is taken on any GPU."""
PATIENCE = 25.0
"""Seconds that importing torch and starting CUDA may take: on a cold disk, with eight cards, it is ten."""
LISTEN = "0A"
DAY = 86400
FIRST, LAST = 2025, 2100
"""The years between which a clock can be right."""
STAMPS = ("/var/lib/systemd/timesync/clock", "/var/log/wtmp", "/var/log/lastlog", "/run/utmp")
"""Files whose times are the latest that this machine has known."""


def python(_: Host) -> Finding:
    """Whether mgpu has the libraries that it needs."""
    found = dict(software.installed(NEEDED, [folder for folder in sys.path if folder]))
    old = [
        f"{name} {found.get(name, 'missing')}" for name, least in NEEDED.items() if _version(found.get(name)) < least
    ]
    words = f"Python {sys.version.split()[0]} in {sys.prefix}"
    if old:
        return broken(
            f"{words} lacks what mgpu needs: {', '.join(old)}",
            "pip install --upgrade mgpu-cli, or from a checkout: pip install .",
        )
    return ok(words)


def _version(text: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text or ""))


def torch(host: Host) -> Finding:
    """Whether torch of the interpreter on PATH, if there is one, can use the GPUs."""
    path = host.env.get("PATH", os.defpath)
    program = shutil.which("python3", path=path) or shutil.which("python", path=path)
    if not program or not (version := dict(software.installed(["torch"], _places(program))).get("torch")):
        return skipped("no torch in the interpreter on PATH")
    if version.endswith("+cpu"):
        words = f"torch {version} of {program} is built without CUDA"
        return warning(words, f"{program} -m pip install --upgrade --force-reinstall torch") if host.gpus else ok(words)
    if not host.gpus:
        return skipped(f"torch {version}, and no GPU")
    try:
        argv = [program, "-c", TORCH]
        done = subprocess.run(argv, env=dict(host.env), capture_output=True, text=True, timeout=PATIENCE, check=False)
        said = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return broken(f"torch {version} does not start CUDA within {PATIENCE:g} s", "sudo dmesg | grep -e NVRM -e Xid")
    except (OSError, ValueError, IndexError):
        return broken(f"torch {version} of {program} cannot be imported", f"{program} -c 'import torch'")
    return _judged(host, program, *said)


def _places(program: str) -> list[str]:
    own = os.path.dirname(program) == os.path.dirname(sys.executable)
    return [folder for folder in sys.path if folder] if own else software.beside(program, "/")


def _judged(host: Host, program: str, version: str, cuda: str | None, count: int, error: str | None) -> Finding:
    newest = getattr(host.driver, "cuda", None)
    words = f"torch {version} for CUDA {cuda}"
    if error and newest and cuda and _version(cuda)[0] > _version(newest)[0]:
        return broken(
            f"{words}, and the driver is for CUDA {newest}: {error}",
            "update the driver, or take a torch for it: "
            f"{program} -m pip install torch --index-url https://download.pytorch.org/whl/cu{newest.replace('.', '')}",
        )
    if error:
        return broken(
            f"{words} cannot use the GPUs: {error}", "mgpu doctor driver", f"{program} -m torch.utils.collect_env"
        )
    mask = host.env.get("CUDA_VISIBLE_DEVICES")
    wanted = len([gpu for gpu in (host.gpus if mask is None else left(mask, host.gpus)) if not gpu.fault])
    if count != wanted:
        return warning(
            f"{words} sees {count} GPUs, and the driver has {wanted} for it", f"{program} -m torch.utils.collect_env"
        )
    return ok(f"{words} sees {count} GPU{'s' * (count != 1)}")


def ports(host: Host) -> Finding:
    """Whether something listens where the engines listen if a spec names no port."""
    engines: dict[int, list[str]] = {}
    for engine in every():
        if engine.port:
            engines.setdefault(engine.port, []).append(engine.name)
    rows = [
        line.split(maxsplit=4)
        for file in ("tcp", "tcp6")
        for line in (host.text(f"/proc/net/{file}") or "").splitlines()[1:]
    ]
    busy = {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == LISTEN}
    taken = sorted(engines.keys() & busy)
    if not taken:
        return ok("the engines' own ports are free")
    words = ", ".join(f"{port} ({', '.join(engines[port])})" for port in taken)
    return warning(
        f"something listens on {words}",
        f"ss -ltnp 'sport = :{taken[0]}'",
        "mgpu ps; or name another port in the spec: port:",
    )


def clock(host: Host) -> Finding:
    """Whether the clock can be right: nothing by TLS works otherwise, no model and no image comes."""
    year = time.gmtime(host.now).tm_year
    mend = ("the host outside sets it",) if host.container else ("sudo timedatectl set-ntp true",)
    if not FIRST <= year <= LAST:
        return broken(f"the clock says {year}: certificates are refused, so nothing can be downloaded", *mend)
    stamps = [os.lstat(host.path(place)).st_mtime for place in STAMPS if host.there(place)]
    latest = max(stamps, default=0.0)
    if latest > host.now + DAY:
        words = f"the clock is {(latest - host.now) / DAY:.0f} days behind what this machine has known"
        return broken(words, *mend)
    return ok(time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(host.now)))


CHECKS = (
    Check("programs", "python", python),
    Check("programs", "torch", torch, PATIENCE + 3),
    Check("programs", "ports", ports),
    Check("programs", "clock", clock),
)

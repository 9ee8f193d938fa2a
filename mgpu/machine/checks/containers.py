"""The host in, whether a job can have a container with GPUs out: Docker, NVIDIA's toolkit, CDI, and their traps."""

from __future__ import annotations

import re

from mgpu.machine.checks.driver import loaded
from mgpu.machine.checks.finding import Check, Finding, broken, ok, skipped, warning
from mgpu.machine.checks.host import Engine, Host, Silent
from mgpu.machine.daemon import HOOK
from mgpu.values.machine import CDI

PROCESS = "runtime: process runs jobs without it"
SPECS = ("/etc/cdi", "/var/run/cdi")
"""Where CDI keeps its files, where the engine does not say otherwise (CDISpecDirs)."""
PROGRAMS = ("/usr/bin", "/usr/local/bin", "/usr/local/nvidia/toolkit")
RELOAD = "/dev/char/195:255"
"""nvidiactl by its number: with such links systemd knows the device, and a reload leaves it to the containers."""
NAMES = re.compile(r"""^\s*-?\s*["']?name["']?:\s*["']?([^"'\s,]+)""", re.MULTILINE)
LIBRARY = re.compile(r"lib(?:cuda|nvidia-ml)\.so\.(\d+\.\d+(?:\.\d+)?)")


def _engine(host: Host) -> Engine | None:
    """The engine that answers."""
    there = not isinstance(host.engine, Silent) and not host.engine.docker.fault
    return host.engine if there and isinstance(host.engine, Engine) else None


def engine(host: Host) -> Finding:
    """Whether Docker answers this user."""
    if isinstance(host.engine, Silent):
        return broken(f"Docker does not answer: {host.engine.why}", "sudo systemctl restart docker", PROCESS)
    docker, info = host.engine.docker, host.engine.info
    fault = docker.fault or ""
    if not fault:
        rootless = any("rootless" in option for option in info.get("SecurityOptions") or ())
        name = "Podman" if docker.podman else "Docker"
        words = f"{name} {docker.version}{', rootless' if rootless else ''} answers"
        return (
            warning(f"{words}: it takes requests for GPUs and drops them", DOCKER, PROCESS)
            if docker.podman
            else ok(words)
        )
    if host.container:
        return skipped(f"there is none inside {host.container}, as is usual: {PROCESS}")
    if "permission denied" in fault:
        return broken(fault.partition(":")[0], "sudo usermod -aG docker $USER", "then log in again", PROCESS)
    if "nobody listens" in fault:
        return broken("Docker is installed and does not run", "sudo systemctl enable --now docker", PROCESS)
    if "no Docker engine" in fault:
        return warning("there is no Docker engine", DOCKER, PROCESS)
    return broken(fault, PROCESS)


DOCKER = "install Docker: docs.docker.com/engine/install"


def toolkit(host: Host) -> Finding:
    """Whether Docker can give a container GPUs."""
    answers = _engine(host)
    if not answers:
        return skipped("no Docker answers")
    if answers.docker.podman:
        return skipped("Podman gives GPUs by CDI, for which mgpu does not ask it")
    runtimes = answers.info.get("Runtimes") or {}
    ways = ["CDI"] if answers.docker.cdi else []
    ways += ["the runtime nvidia"] if "nvidia" in runtimes else []
    ways += [f"the hook {HOOK}"] if _program(host, HOOK) or (answers.docker.gpus and not ways) else []
    if ways:
        return ok(f"GPUs by {', '.join(ways)}")
    if not host.gpus and not loaded(host):
        return skipped("there is no GPU to give")
    if _program(host, "nvidia-ctk"):
        return broken("NVIDIA's toolkit is installed, and Docker was not told of it", *CONFIGURE)
    package = {"apt": "sudo apt-get install -y", "dnf": "sudo dnf install -y"}.get(host.installer or "", "install")
    repository = (
        "add NVIDIA's repository: docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"
    )
    return broken(
        "NVIDIA's container toolkit is missing", repository, f"{package} nvidia-container-toolkit", *CONFIGURE
    )


CONFIGURE = ("sudo nvidia-ctk runtime configure --runtime=docker", "sudo systemctl restart docker")


def _program(host: Host, name: str) -> bool:
    return any(host.there(f"{folder}/{name}") for folder in PROGRAMS)


def cgroups(host: Host) -> Finding:
    """Whether `systemctl daemon-reload` takes the GPUs from running containers (nvidia-container-toolkit#48)."""
    answers = _engine(host)
    if not answers or not answers.docker.gpus:
        return skipped("Docker gives no GPUs here")
    driver = answers.info.get("CgroupDriver")
    if driver != "systemd":
        return ok(f"cgroup driver {driver}: a reload of systemd takes no GPU away")
    if answers.docker.cdi:
        return ok("cgroup driver systemd, and GPUs by CDI, which tells systemd of the devices")
    if host.there(RELOAD):
        return ok("cgroup driver systemd, and /dev/char names the devices, so a reload leaves them")
    return warning(
        "cgroup driver systemd: each systemctl daemon-reload takes the GPUs from containers that run "
        '("Failed to initialize NVML: Unknown Error")',
        "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml (Docker 28.2 and newer use it by themselves)",
        'or in /etc/docker/daemon.json: {"exec-opts": ["native.cgroupdriver=cgroupfs"]}',
        "and then: sudo systemctl restart docker",
        "or sudo nvidia-ctk system create-dev-char-symlinks --create-all (after each boot)",
    )


def cdi(host: Host) -> Finding:
    """Whether the files of CDI name the GPUs that are there now, and this driver's libraries."""
    answers = _engine(host)
    folders = (answers.info.get("CDISpecDirs") if answers else None) or SPECS
    files = [
        f"{folder}/{name}" for folder in folders for name in host.names(folder) if name.endswith((".yaml", ".json"))
    ]
    texts = {file: text for file in files if (text := host.text(file)) and CDI.rstrip("=") in text}
    if not texts:
        return skipped("no CDI file of NVIDIA's (older ways give GPUs as well)")
    where, renew = ", ".join(texts), f"sudo nvidia-ctk cdi generate --output={next(iter(texts))}"
    every = "\n".join(texts.values())
    listed, now = set(NAMES.findall(every)), loaded(host)
    versions = set(LIBRARY.findall(every))
    if now and versions and now not in versions:
        words = f"{where} names libraries of driver {', '.join(sorted(versions))}, and {now} is loaded"
        return broken(f"{words}: containers do not start", renew)
    lacking = [gpu.index for gpu in host.gpus if not {gpu.uuid, str(gpu.index)} & listed and not gpu.mig]
    if lacking and (listed != {"all"}):
        return broken(f"{where} does not name GPU {', '.join(map(str, lacking))}", renew)
    if not host.gpus:
        return skipped(f"{where} is there, and no GPU answers to compare it with")
    strange = sorted(name for name in listed if name.startswith("GPU-") and name not in {gpu.uuid for gpu in host.gpus})
    if strange:
        return warning(f"{where} names GPUs that are not here: {', '.join(strange)}", renew)
    return ok(
        f"{where} names {len(host.gpus)} GPU{'s' * (len(host.gpus) != 1)}" + (f" and driver {now}" if versions else "")
    )


def restart(host: Host) -> Finding:
    """Whether containers outlive a restart of Docker, as an update of its package does by itself."""
    answers = _engine(host)
    if not answers or answers.docker.podman:
        return skipped("no Docker answers")
    if answers.info.get("LiveRestoreEnabled"):
        return ok("containers outlive a restart of Docker (live-restore)")
    return warning(
        "a restart or an update of Docker stops every container (live-restore is off)",
        'in /etc/docker/daemon.json: {"live-restore": true}, then: sudo systemctl reload docker',
    )


CHECKS = (
    Check("docker", "engine", engine),
    Check("docker", "toolkit", toolkit),
    Check("docker", "cgroups", cgroups),
    Check("docker", "cdi", cdi),
    Check("docker", "restart", restart),
)

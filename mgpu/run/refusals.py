"""What Docker says when it refuses a container in, why in words, what to change, and the run's exit code out."""

from __future__ import annotations

import re
from typing import Any, NamedTuple


class Refusal(NamedTuple):
    """Why a container did not come about, or came to nothing."""

    why: str
    hint: str
    code: int = 125


STOPPED = Refusal("it was stopped before its container was started", "", 143)
REMOVED = Refusal("its container was removed by somebody else, and its exit status with it", "look at: docker events")

TOOLKIT = (
    "install NVIDIA's container toolkit: apt-get install nvidia-container-toolkit; "
    "nvidia-ctk runtime configure --runtime=docker; systemctl restart docker"
)
KNOWN: tuple[tuple[str, str, str, int], ...] = (
    (r"could not select device driver", "Docker cannot give a container GPUs", TOOLKIT, 125),
    (
        r"unresolvable CDI devices|CDI device injection failed|unknown device|device error",
        "Docker knows no such GPU: {said}",
        "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml writes the list anew; nvidia-smi -L shows what is there",
        125,
    ),
    (
        r"nvidia-container-cli|nvidia-container-runtime",
        "NVIDIA's container toolkit fails: {said}",
        "nvidia-smi on the host shows whether the driver works; nvidia-ctk runtime configure --runtime=docker",
        125,
    ),
    (
        r"port is already allocated|address already in use|ports are not available",
        "port {port} is taken on this machine",
        "name another with port:, or end what listens there: ss -ltnp",
        125,
    ),
    (
        r"The container name .* is already in use",
        "there is a container {name} already",
        "docker rm -f {name}, or give this run another name: --name",
        125,
    ),
    (r"[Nn]o such image", "the image {image} is gone", "mgpu pull fetches it", 125),
    (r"no space left on device", "the disk of Docker is full: {said}", "docker system prune shows and frees", 125),
    (
        r"executable file not found|no such file or directory: unknown",
        "{program} is not in {image}",
        "mend command:, or name another image:",
        127,
    ),
    (r"permission denied", "{program} may not be executed in {image}: {said}", "chmod +x it in the image", 126),
    (r"invalid mount|bind source path|mounts denied", "a volume cannot be mounted: {said}", "mend volumes:", 125),
    (r"unable to find user|no matching entries in passwd", "{said}", "name an image that has this user", 125),
)  # fmt: skip
"""Engine messages (moby 20.10 to 28, seen on real ones or in moby's source), and what they mean here."""


def of(said: str, command: dict[str, Any]) -> Refusal:
    """The refusal that the engine's own words stand for; those words themselves where they are not known."""
    box = command["container"]
    facts = {
        "said": " ".join(said.split())[:400],
        "port": command["port"],
        "name": box["name"],
        "image": box["image"],
        "program": command["argv"][0],
    }
    for pattern, why, hint, code in KNOWN:
        if re.search(pattern, said):
            return Refusal(why.format(**facts), hint.format(**facts), code)
    return Refusal(f"Docker refuses its container: {facts['said']}", "see the log of the Docker engine")


PULLS: tuple[tuple[str, str, str], ...] = (
    (
        r"pull access denied|unauthorized|denied:|authentication required|no basic auth",
        "the registry refuses {image}: there is no such image, or it wants a login",
        "mend its name; or docker login, with an account that may read it",
    ),
    (
        r"manifest unknown|manifest for .* not found|not found: manifest",
        "the registry has no image {image}",
        "mend its tag: the page of the image lists those that there are",
    ),
    (r"toomanyrequests|rate limit", "the registry has had too many pulls from this address", "docker login; or wait"),
    (
        r"no such host|connection refused|i/o timeout|TLS handshake|network is unreachable|Client.Timeout|EOF",
        "the registry of {image} is not reached: {said}",
        "look at the network and the proxy of the Docker engine; an image that is built here needs no registry",
    ),
    (r"no space left on device", "the disk of Docker is full: {said}", "docker system prune shows and frees"),
    (
        r"no matching manifest",
        "{image} is not made for this kind of machine: {said}",
        "name an image for it, or another tag",
    ),
    (r"invalid reference format|repository name must", "{image} is not the name of an image", "write name:tag"),
)
"""What registries and the engine say when a pull fails (moby 20.10 to 28, distribution 2.8)."""


def of_pull(image: str, said: str) -> Refusal:
    """The refusal that the words of a failed pull stand for."""
    facts = {"image": image, "said": " ".join(said.split())[:400]}
    for pattern, why, hint in PULLS:
        if re.search(pattern, said):
            return Refusal(why.format(**facts), hint)
    return Refusal(f"{image} cannot be pulled: {facts['said']}", "see the log of the Docker engine")


def of_requests(requests: Any, command: dict[str, Any]) -> Refusal | None:
    """The refusal of an engine that made the container without the GPUs it was asked for, as Podman's does."""
    wanted = set(command["container"]["gpus"])
    given = {device for request in requests or () for device in request.get("DeviceIDs") or ()}
    if wanted <= given:
        return None
    return Refusal(
        "the engine dropped the request for GPUs without a word", "Podman does that: use Docker's own engine"
    )


def of_gpus(wanted: list[str], seen: list[str]) -> Refusal:
    """The refusal of a container that was started and does not see its GPUs."""
    lacking = [gpu for gpu in wanted if gpu not in seen]
    return Refusal(
        f"its container sees {len(seen)} GPUs ({', '.join(seen) or 'none'}) and was to have {', '.join(lacking)}",
        "restart Docker; if systemd's daemon-reload took them, nvidia-container-toolkit#48 says how to keep them",
    )


def away(error: Exception) -> Refusal:
    """The refusal of an engine that did not come back to tell how its container ended."""
    return Refusal(f"Docker went away, and how the container ended is not known ({type(error).__name__})", "")

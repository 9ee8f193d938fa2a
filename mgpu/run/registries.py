"""The name of an image in, the digest that its registry has for it out: asked through Docker, or where there is none
of the registry itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from mgpu.errors import HostError
from mgpu.machine import daemon
from mgpu.run import refusals

if TYPE_CHECKING:
    from http.client import HTTPResponse

PATIENCE = 30.0
"""Seconds that one answer of a registry may take."""
HUB = "registry-1.docker.io"
"""What answers for the names that name no registry (Docker's own)."""
KINDS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""What a tag may stand for: first the lists of several platforms (OCI distribution specification 1.1)."""
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class Reference(NamedTuple):
    """Where an image is: the registry's address, the repository in it, and the tag."""

    registry: str
    repository: str
    tag: str


def reference(image: str) -> Reference:
    """The parts of a name, as Docker reads it: a first part with a point, a colon, or localhost is a registry."""
    first, slash, rest = image.partition("/")
    named = bool(slash) and ("." in first or ":" in first or first == "localhost")
    registry, path = (first, rest) if named else (HUB, image)
    if registry in ("docker.io", "index.docker.io"):
        registry = HUB
    repository, _, tag = path.partition(":")
    official = registry == HUB and "/" not in repository
    return Reference(registry, f"library/{repository}" if official else repository, tag or "latest")


def digest(image: str) -> str:
    """The digest. Raises HostError where the registry refuses, or is not reached."""
    if "@" in image:
        return image.partition("@")[2]
    try:
        daemon.ask("/version")
    except daemon.Unreachable:
        return _of_registry(image)
    return _of_engine(image)


def _of_engine(image: str) -> str:
    from mgpu.run.sdk import away, client

    try:
        return str(client().inspect_distribution(image)["Descriptor"]["digest"])
    except away() as error:
        raise _refused(image, str(getattr(error, "explanation", None) or error)) from error


def _of_registry(image: str) -> str:
    """Asked of the registry itself, without a login."""
    at = reference(image)
    scheme = "http" if at.registry.partition(":")[0] in ("localhost", "127.0.0.1") else "https"
    url = f"{scheme}://{at.registry}/v2/{quote(at.repository)}/manifests/{quote(at.tag)}"
    try:
        try:
            answer = _asked(url)
        except HTTPError as error:
            token = _token(error) if error.code == 401 else None
            if token is None:
                raise
            answer = _asked(url, token)
        with answer:
            found = answer.headers.get("Docker-Content-Digest")
    except HTTPError as error:
        said = {401: "unauthorized", 403: "denied", 404: "manifest unknown"}.get(error.code, f"status {error.code}")
        raise _refused(image, said) from error
    except (URLError, OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        why = getattr(why, "strerror", None) or why
        raise HostError(
            f"the registry {at.registry} is not reached: {why}", "look at the network and the proxy"
        ) from error
    if not found:
        raise HostError(f"the registry {at.registry} tells no digest of {image}", "ask through Docker: start it")
    return str(found)


def _asked(url: str, token: str | None = None) -> HTTPResponse:
    bearer = {"Authorization": f"Bearer {token}"} if token else {}
    request = Request(url, headers={"Accept": ", ".join(KINDS), **bearer}, method="HEAD")
    return urlopen(request, timeout=PATIENCE)  # type: ignore[no-any-return]


def _token(error: HTTPError) -> str | None:
    """What a registry that lets everybody in wants to see all the same."""
    kind, _, rest = error.headers.get("WWW-Authenticate", "").partition(" ")
    asked = dict(CHALLENGE.findall(rest))
    if kind.lower() != "bearer" or not asked.get("realm", "").startswith(("https://", "http://")):
        return None
    words = urlencode({key: asked[key] for key in ("service", "scope") if key in asked})
    with urlopen(f"{asked['realm']}?{words}", timeout=PATIENCE) as answer:
        data = json.load(answer)
    return str(data.get("token") or data.get("access_token") or "") or None


def _refused(image: str, said: str) -> HostError:
    refusal = refusals.of_pull(image, said)
    return HostError(refusal.why.replace("cannot be pulled", "has no digest to be had"), refusal.hint)

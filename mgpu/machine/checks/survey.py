"""A root folder in, the Host that checks look at out: driver and Docker are asked, each with a deadline."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mgpu.machine import daemon, health, measured, nvml
from mgpu.machine.checks.apart import Failed, Late, answers
from mgpu.machine.checks.host import Engine, Host, Silent
from mgpu.machine.health import Health
from mgpu.machine.nvml import Found

DRIVER, DOCKER = 25.0, daemon.PATIENCE + 2
"""Seconds: without persistence mode each card is initialized when it is asked, one after the other."""


def host(root: str = "/", env: Mapping[str, str] | None = None) -> Host:
    """The host as it is now. Never fails, and never takes longer than the longer deadline."""
    found, engine = answers(((_driver, DRIVER), (_engine, DOCKER)))
    about, cards = (_silent(found), ()) if isinstance(found, (Late, Failed)) else found
    docker = _silent(engine) if isinstance(engine, (Late, Failed)) else engine
    return Host(about, docker, cards, root, dict(os.environ) if env is None else env)


def _silent(what: Late | Failed) -> Silent:
    return Silent(f"nothing came back within {what.seconds:g} s" if isinstance(what, Late) else what.why)


def _driver() -> tuple[Found, tuple[Health, ...]]:
    """What NVML says, with what was measured of its links."""
    found = nvml.read()
    links = measured.on_links(found.links, found.gpus, measured.read().links)
    return found._replace(links=links), health.read() if found.gpus else ()


def _engine() -> Engine:
    """What Docker says."""
    docker = daemon.read()
    return Engine(docker) if docker.fault else Engine(docker, dict(daemon.ask("/info")))

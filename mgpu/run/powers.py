"""A checked Spec and its folder in, the powers that it asks for on this host out: symbolic links are followed here."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from mgpu.machine import kept, leases
from mgpu.spec import powers
from mgpu.spec.mounts import reason
from mgpu.values.spec import Power, Spec, Volume


def asked(spec: Spec, folder: str) -> tuple[Power, ...]:
    """What the spec itself asks for, and the volumes that lead elsewhere than their names say."""
    return (*spec.powers, *_led_astray(spec, folder))


def _led_astray(spec: Spec, folder: str) -> Iterator[Power]:
    for job in spec.jobs:
        for at, volume in enumerate(job.volumes if powers.boxable(job) else ()):
            told = reason(volume.source, read_only=volume.read_only)
            if not told and (why := _why(volume, folder)):
                message = f"{volume.source} {why}"
                yield powers.power(spec.document, powers.MOUNT, message, (*job.path, "volumes", at))


def _why(volume: Volume, folder: str) -> str | None:
    """What is wrong with where the volume leads."""
    source = os.path.join(folder, os.path.expanduser(volume.source))
    where, top = os.path.realpath(source), os.path.realpath(folder)
    given = not volume.source.startswith(("/", "~"))
    if given and not _within(where, top):
        return f"leads to {where}, out of the spec's folder"
    if _socket(where):
        return "is a socket: who has it commands what listens there"
    own = next((own for own in _own() if _within(where, own) or _within(own, where)), None)
    if own:
        return f"holds or belongs to {own}, where mgpu keeps runs and leases"
    why = None if given else reason(where, read_only=volume.read_only, home=_home())
    return why and (f"leads to {where}, which {why}" if where != os.path.normpath(source) else why)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _own() -> list[str]:
    return [os.path.realpath(path) for path in (kept.folder(), leases.folder())]


def _home() -> str | None:
    """The home, as the kernel calls it; a home that is the root folder says nothing."""
    home = os.path.realpath(os.path.expanduser("~"))
    return home if home.strip("/") else None

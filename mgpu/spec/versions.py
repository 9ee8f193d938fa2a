"""A job in, the version of its engine out, as far as the spec tells; and the flags of that version."""

from __future__ import annotations

import re

from mgpu.catalog.flags import flags
from mgpu.engines import engine_named
from mgpu.values.engine import Engine
from mgpu.values.flag import FlagList
from mgpu.values.spec import Job

VERSION = re.compile(r"\d+(\.\d+)+(\.?[a-z]+\d*)*")


def version_of(job: Job, engine: Engine) -> str | None:
    """The version that the spec names: by itself, by its image's tag, or by neither (the engine's own). None for an
    image that does not tell."""
    if job.version or not job.image or not engine.version:
        return job.version or engine.version
    return tagged(job.image, engine)


def tagged(image: str, engine: Engine) -> str | None:
    """The version in the tag of an image: where the engine's own image has it, else the first that looks like one."""
    _, _, tag = image.rpartition("/")[2].partition("@")[0].partition(":")
    before, _, _ = (engine.image or "").rpartition(":")[2].partition("{version}")
    if before and tag.startswith(before) and (found := re.match(r"[a-z]?\d[0-9a-z.]*", tag[len(before) :])):
        return found[0]
    seen = VERSION.search(tag)
    return seen[0] if seen else None


def image_of(job: Job, version: str | None) -> str | None:
    """The image of the job: its own, else that of its engine in this version. One that is no number (v0.33.0, nightly)
    stands in the tag as it is."""
    image, version = engine_named(job.engine).image or "", version or ""
    if job.image or not image:
        return job.image
    return (image if version[:1].isdigit() else image.replace("v{version}", "{version}")).format(version=version)


def list_names(engine: Engine) -> list[str]:
    """The catalogue's lists that the engine's flags are in, each once."""
    return list(dict.fromkeys(name.partition("@")[0] for name in engine.lists.values()))


def listed(engine: Engine, key: str, version: str | None) -> FlagList | None:
    """The flags that the spec key `key` may hold in this version of the engine; None where no list is known."""
    name, _, own = engine.lists.get(key, "").partition("@")
    return flags(name, own or version) if name else None

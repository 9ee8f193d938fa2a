"""What holds an engine to a share of a GPU: the flags that a job may not give then, and those that it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mgpu.values.model import Model
    from mgpu.values.plan import Task


class Limit(NamedTuple):
    """How an engine is held to a share of a GPU. `flags` are those by which a job would say so itself; `args` are the
    flags, under the names that a job's `args` have, that keep a task whose GPUs have a `budget` within it.
    Raises ValueError where that cannot be reckoned, with the reason."""

    flags: tuple[str, ...]
    args: Callable[[Task, Model | None], Mapping[str, Any]]

"""Which GPUs a job wants, as specs say it: the shape of `gpus`, in its short forms and as a mapping."""

from __future__ import annotations

from typing import Any

from mgpu.spec.scalars import Choice, Integer, Size, Text
from mgpu.spec.shapes import Array, Either, Key, Made, made
from mgpu.values.machine import LINK_KINDS
from mgpu.values.spec import Gpus

GIB, MIB = 2**30, 2**20
NUMBER_OF_GPUS = Integer(0, 4096)
WORD = Text(dash=False)


def _all_gpus(word: str) -> Gpus:
    return Gpus(count=None, fewest=word == "auto")


def _gpus(**given: Any) -> Gpus:
    ids = given.pop("ids", ())
    count = given.pop("count", len(ids) or 1)
    if "share" in given and count == 0:
        raise ValueError("has a share of no GPU", "give count: 1, or leave share out")
    if "share" in given and "memory" in given:
        raise ValueError("has both share and memory", "keep share: a GPU that has less left is not taken")
    if count in ("all", "auto"):
        return Gpus(None, ids=ids, fewest=count == "auto", **given)
    if ids and count > len(ids):
        raise ValueError(f"asks for {count} of {len(ids)} ids", "give more ids, or leave count out")
    if len(set(ids)) != len(ids):
        raise ValueError("names a GPU twice in ids")
    return Gpus(count, ids=ids, **given)


def _share(size: int) -> int:
    """Whole MiB, as they are leased."""
    from mgpu.catalog.gpus import products

    largest = max(products(), key=lambda product: product.memory)
    if size > largest.memory:
        has = f"{largest.memory / GIB:.0f} GiB"
        raise ValueError(f"is more than any GPU has: {largest.id}, the largest, has {has}", "leave it out: whole GPUs")
    if size < MIB:
        raise ValueError("is less than a MiB, and shares are whole ones", "as 20GiB")
    return size // MIB * MIB


GPUS = Either(
    {
        int: Made(NUMBER_OF_GPUS, Gpus),
        str: Made(Choice(("all", "auto"), "give a number without quotes, all, or auto"), _all_gpus),
        dict: made(
            _gpus,
            count=Key(
                Either({int: NUMBER_OF_GPUS, str: Choice(("all", "auto"))}, "a number, all, or auto"),
                "how many, per replica",
            ),
            memory=Key(Size(), "free memory that each GPU must have, as 20GiB"),
            name=Key(WORD, "a word in the GPU's name or its catalogue id, as rtx-4090"),
            link=Key(
                Made(Choice(tuple(kind.lower() for kind in LINK_KINDS)), str.upper),
                "the worst link allowed between any two of them, as nvlink",
            ),
            ids=Key(Array(WORD, 1), "exactly these, by index or UUID"),
            share=Key(
                Made(Size(), _share),
                "memory that the job has of each GPU, as 20GiB; the rest is for others' shares",
            ),
        ),
    },
    "a number, all, auto, or a mapping of count, share, memory, name, link, ids",
    {list: "to name them: gpus: {ids: [0, 1]}"},
)

"""Which GPUs a job wants, as specs say it: the shape of `gpus`, in its short forms and as a mapping."""

from __future__ import annotations

from typing import Any

from mgpu.spec.scalars import Choice, Integer, Size, Text
from mgpu.spec.shapes import Array, Either, Key, Made, made
from mgpu.values.machine import LINK_KINDS
from mgpu.values.spec import Gpus

NUMBER_OF_GPUS = Integer(0, 4096)
WORD = Text(dash=False)


def _all_gpus(word: str) -> Gpus:
    return Gpus(count=None, fewest=word == "auto")


def _gpus(**given: Any) -> Gpus:
    if "share" in given:
        raise ValueError("cannot have share in this version", "leave share out: the job gets whole GPUs")
    ids = given.pop("ids", ())
    count = given.pop("count", len(ids) or 1)
    if count in ("all", "auto"):
        return Gpus(None, ids=ids, fewest=count == "auto", **given)
    if ids and count > len(ids):
        raise ValueError(f"asks for {count} of {len(ids)} ids", "give more ids, or leave count out")
    if len(set(ids)) != len(ids):
        raise ValueError("names a GPU twice in ids")
    return Gpus(count, ids=ids, **given)


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
            share=Key(Size(), "memory on a GPU shared with others (not in this version)"),
        ),
    },
    "a number, all, auto, or a mapping of count, memory, name, link, ids",
    {list: "to name them: gpus: {ids: [0, 1]}"},
)

"""What is asked of the planner, by the kinds of reference rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tests.reference.judging import Tally


class Bound(NamedTuple):
    """The largest mean error, and the largest of all."""

    mean: float
    worst: float = float("inf")


BOUNDS = {
    "gguf_weights": Bound(0.002),
    "kv": Bound(0.002),
    "kv_known_wrong": Bound(0.002),
    "llamacpp_buffers": Bound(0.002),
    "vllm_weights": Bound(0.01),
    "vllm_activation": Bound(0.05),
    "vllm_nontorch": Bound(0.10),
    "vllm_kv_pool": Bound(0.02),
    "vllm_kv_tokens": Bound(0.02),
    "vllm_kv_tokens_old": Bound(0.02),
    "sglang_kv": Bound(0.02),
    "training_states": Bound(0.01),
    "diffusion": Bound(0.10),
    "training_measured": Bound(0.05, 0.12),
    "train": Bound(0.05, 0.12),
    "infer": Bound(0.05, 0.12),
}
"""By kind, as parts of one. Rounded tables (`weights`) and rules of thumb bound nothing: they must be answered."""
LAYOUTS = frozenset((
    "decode_single_gpu", "interconnect_ab_consumer", "layer_vs_tp_pcie", "llamacpp_multi_gpu", "llamacpp_split",
    "mla_dp_vs_tp", "nvlink_vs_pcie", "replicas_vs_tp", "tp_degree_pcie", "tp_sweep_nvswitch", "tp_vs_pp",
    "tp_vs_pp_pcie", "uneven_gpus",
))  # fmt: skip
IN_ALL, IN_EACH = 0.9, 0.8
"""How many of the orderings must be right: of all, and of every kind with two rows or more."""


def broken(tallies: Mapping[str, Tally]) -> Iterator[str]:
    """What is not as it should be, by kind, in words."""
    for kind, tally in sorted(tallies.items()):
        bound = BOUNDS.get(kind, Bound(float("inf")))
        if tally.answered < tally.rows:
            yield f"{kind}: {tally.rows - tally.answered} of {tally.rows} rows are not answered"
        if tally.mean > bound.mean or tally.worst > bound.worst:
            yield f"{kind}: mean error {100 * tally.mean:.2f} %, worst {100 * tally.worst:.2f} %"
        if kind not in ordering(tallies) and tally.right < tally.verdicts:
            yield f"{kind}: {tally.verdicts - tally.right} of {tally.verdicts} verdicts are wrong"
        elif kind in ordering(tallies) and tally.rows >= 2 and tally.right < IN_EACH * tally.verdicts:
            yield f"{kind}: {tally.right} of {tally.verdicts} orderings are right"


def ordering(tallies: Mapping[str, Tally]) -> frozenset[str]:
    """The kinds that are orderings of layouts."""
    return frozenset(kind for kind in tallies if kind in LAYOUTS or (kind != "fits" and tallies[kind].verdicts))


def overall(tallies: Mapping[str, Tally]) -> Iterator[str]:
    """Whether enough of all orderings are right."""
    kinds = [tallies[kind] for kind in ordering(tallies)]
    right, count = sum(tally.right for tally in kinds), sum(tally.verdicts for tally in kinds)
    if right < IN_ALL * count:
        yield f"layouts: {right} of {count} orderings are right"

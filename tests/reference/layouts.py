"""Rows of published comparisons of layouts in, what the planner says of each out; no measured number is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mgpu.catalog.engine_speed import pace
from mgpu.catalog.gpus import by_name as product_named
from mgpu.catalog.machines import shorthand
from mgpu.catalog.models import by_name
from mgpu.memory.weights import format_of
from mgpu.plan.burden import Burden, burden_of
from mgpu.plan.collective import Fabric
from mgpu.plan.speed import speed
from mgpu.values.plan import Layout
from mgpu.values.speed import Speed, Workload
from tests.reference.layout_words import STANDS_FOR, TIE, Side, model_of, products_of, sides

Row = Mapping[str, Any]
PRECISIONS = {"fp4": "nvfp4"}


def sweep(row: Row) -> dict[str, int] | None:
    """Which tensor parallel size has the lowest time between tokens, and which the most tokens a second and GPU."""
    system = row["system"].split("_")[0]
    product = product_named(row["system"].replace("_", "-")) or product_named(STANDS_FOR.get(system, system))
    product = product or next(iter(products_of(row["system"].lower().replace("_", " "))), None)
    if product is None:
        return None
    found = by_name(row["model"])
    model, scale = (found, 1.0) if found else model_of(row["model"].lower(), [product] * 8)
    workload = Workload(row["concurrency"], row["isl"], row["osl"])
    said = PRECISIONS.get(row["precision"], row["precision"])
    stored = "mxfp4" if model.dtype.startswith("mxfp4") else format_of(row["model"], said, model)
    burden = _larger(burden_of(model, stored, workload), scale)
    sizes = [option["tp"] for option in row["options"]]
    machine = shorthand(f"{max(sizes)}x{product.id}")
    fabric, constants = Fabric(machine.links), pace(row["engine"].split()[0])
    speeds = {size: speed(burden, Layout(size), machine.gpus[:size], fabric, constants, workload) for size in sizes}
    known = {size: one for size, one in speeds.items() if one}
    return {
        "lowest_tpot_tp": min(known, key=lambda size: known[size].tpot),
        "best_per_gpu_tp": max(known, key=lambda size: known[size].per_gpu),
    }


def better(row: Row) -> int | str:
    """The index of the better of the row's two options, or that there is none."""
    first, second = row["options"]
    one, other = sides(row, (first, second))
    gains = [_gain(side, option) for side, option in ((one, first), (other, second))]
    if one.what != "sustained" and abs(gains[0] - gains[1]) <= TIE * max(gains):
        return "tie"
    return 0 if gains[0] > gains[1] else 1


def _gain(side: Side, option: str) -> float:
    """What is compared, more is better."""
    found = _at(side, side.workload, option)
    if side.what == "prefill":
        return 1 / found.ttft
    if side.what in ("throughput", "sustained"):
        return found.tokens_per_second
    if side.what == "decode":
        return side.workload.concurrency / found.tpot
    if side.rate is None:
        return 1 / found.request
    counts = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    steady = (_at(side, side.workload._replace(concurrency=count), option) for count in counts)
    return next((1 / one.request for one in steady if one.tokens_per_second / side.workload.output >= side.rate), 1e-9)


def _at(side: Side, workload: Workload, option: str) -> Speed:
    burden = _larger(burden_of(side.model, side.stored, workload, side.element), side.scale)
    shared = burden.experts if pace(side.engine).experts_over_data else 0.0
    memory = 0.9 * sum(gpu.memory for gpu in side.gpus) - (burden.weights - shared) * side.layout.data - shared
    held = max(1, int(memory / max(1.0, burden.sequence)))
    workload = workload._replace(concurrency=min(workload.concurrency, held))
    found = speed(
        burden, side.layout, side.gpus, Fabric(side.links), pace(_mode(side, option)), workload, side.attention
    )
    assert found is not None, side
    return found


def _larger(burden: Burden, scale: float) -> Burden:
    """The same for a model of the same make that is so much larger."""
    names = ("attention", "mlp", "experts", "dense", "chosen")
    return burden._replace(**{name: getattr(burden, name) * scale for name in names})


def _mode(side: Side, option: str) -> str:
    if side.engine != "llamacpp" or side.layout.tensor == 1:
        return side.engine
    return "llamacpp-row" if re.search(r"\brow\b", option.lower()) else "llamacpp-tensor"


def single(row: Row) -> int | str:
    """One GPU against its own roof: nearer to what was measured where the estimate stays well below the roof."""
    first, second = row["options"]
    side, _ = sides(row, (first, second))
    burden = burden_of(side.model, side.stored, side.workload, side.element)
    product = product_named(side.gpus[0].product or "")
    assert product is not None
    roof = product.bandwidth * 1e9 / burden.weights
    found = _at(side, side.workload, first)
    below = 1 / found.tpot < 0.85 * roof
    measured = 1 if re.search(r"roof|theor|bound|limit|bandwidth|ideal", first.lower()) else 0
    return measured if below else 1 - measured


PAIRS = (
    "interconnect_ab_consumer", "tp_vs_pp", "tp_vs_pp_pcie", "llamacpp_multi_gpu", "llamacpp_split", "tp_degree_pcie",
    "layer_vs_tp_pcie", "mla_dp_vs_tp", "nvlink_vs_pcie", "replicas_vs_tp", "uneven_gpus",
)  # fmt: skip

ANSWERS: dict[str, Callable[[Row], object]] = {
    "tp_sweep_nvswitch": sweep,
    "decode_single_gpu": single,
    **dict.fromkeys(PAIRS, better),
}

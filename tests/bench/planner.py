"""The planner in one warm process: what planning adds to a spec, and one model held against the whole catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mgpu.catalog.machines import shorthand
from mgpu.plan import place
from mgpu.plan.advice import fix_of
from mgpu.plan.fit import Wanted, everywhere
from mgpu.spec.check import check
from mgpu.spec.document import read
from tests.bench.figure import Figure, milliseconds, repeated

HEAD = "{kind: inference, engine: vllm, context_length: 8192, model: "
SPECS = {
    "70B on 8xh100-sxm": ("meta-llama/Llama-3.1-70B-Instruct, gpus: 8}", "8xh100-sxm"),
    "gpus: auto on 8xa100-pcie-80gb": ("meta-llama/Llama-3.1-70B-Instruct, gpus: auto}", "8xa100-pcie-80gb"),
    "671B on 8xh200-sxm": ("deepseek-ai/DeepSeek-V3, gpus: 8}", "8xh200-sxm"),
}


def planning() -> Iterator[Figure]:
    """Milliseconds of one plan, with every layout that its engine has; of a fix, and of a whole catalogue."""
    for name, (rest, machine) in SPECS.items():
        spec = check(read("bench.mgpu.yaml", HEAD + rest))
        yield milliseconds(f"plan {name}", repeated(partial(place, spec, shorthand(machine)), 9), 30)
    spec = check(read("bench.mgpu.yaml", HEAD + "meta-llama/Llama-3.1-70B-Instruct, gpus: 2}"))
    small = shorthand("2xa100-sxm4-40gb")
    task = place(spec, small).tasks[0]
    yield milliseconds("fix a 70B on 2xa100-sxm4-40gb", repeated(partial(fix_of, spec, small, task), 5), None)
    yield milliseconds("fit a 70B on every machine", repeated(partial(everywhere, Wanted("llama-3.1-70b")), 5), 1000)

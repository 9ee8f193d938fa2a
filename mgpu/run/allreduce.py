"""A program for two ranks, started by torchrun: times an all-reduce between them, checks its values, writes JSON.

It imports nothing of mgpu: it runs in the interpreter that jobs run in. The small one is timed in a CUDA graph, as
engines run it: what Python takes to start each would be longer than it takes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

SMALL, LARGE = 8 * 2**10, 64 * 2**20
"""Bytes."""
WITHIN = 20
"""All-reduces in one graph."""


def main(backend: str) -> int:
    """Time both sizes; rank 0 writes what it found. The exit code is 0 also where values are wrong."""
    torch: Any = import_module("torch")
    dist: Any = import_module("torch.distributed")
    device = "cpu"
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        device = "cuda"
    dist.init_process_group(backend)
    found = {
        "torch": str(torch.__version__),
        "backend": backend,
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if backend == "nccl" else None,
        "right": all(right(torch, dist, device, size) for size in (SMALL, LARGE)),
        **timed(torch, dist, device),
    }
    if dist.get_rank() == 0:
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
    dist.destroy_process_group()
    return 0


def right(torch: Any, dist: Any, device: str, size: int) -> bool:
    """Whether the sum is right in every place, in both directions: the grant of P2P can be false."""
    count, ranks = size // 4, dist.get_world_size()
    pattern = torch.arange(count, device=device, dtype=torch.float32).remainder(1021)
    good = True
    for turn in range(3):
        values = pattern * (dist.get_rank() + 1) + turn
        dist.all_reduce(values)
        good = good and bool((values == pattern * (ranks * (ranks + 1) // 2) + turn * ranks).all())
    agreed = torch.tensor([0.0 if good else 1.0], device=device)
    dist.all_reduce(agreed)
    return float(agreed) == 0.0


def timed(torch: Any, dist: Any, device: str) -> dict[str, Any]:
    """us of the small one and GB/s of the large one (its bytes by its time), the best of several rounds."""
    small, large = (torch.zeros(size // 4, device=device) for size in (SMALL, LARGE))
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    several, graph = many(torch, dist, small, device)
    latency = best(several, wait, 20) / WITHIN
    few = 5 if device == "cuda" else 1
    seconds = best(lambda: [dist.all_reduce(large) for _ in range(few)], wait, 2 + few) / few
    return {"latency_us": latency * 1e6, "GBps": LARGE / seconds / 1e9, "graph": graph}


def many(torch: Any, dist: Any, small: Any, device: str) -> tuple[Callable[[], object], bool]:
    """What starts WITHIN small ones, and whether they are in a graph: only where all ranks see that it reduces."""

    def one_by_one() -> None:
        for _ in range(WITHIN):
            dist.all_reduce(small)

    if device != "cuda":
        return one_by_one, False
    one_by_one()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            one_by_one()
        small.fill_(1.0)
        graph.replay()
        torch.cuda.synchronize()
        good = bool((small == float(dist.get_world_size() ** WITHIN)).all())
    except RuntimeError:
        good = False
    small.zero_()
    agreed = torch.tensor([0.0 if good else 1.0], device=device)
    dist.all_reduce(agreed)
    return (graph.replay, True) if float(agreed) == 0.0 else (one_by_one, False)


def best(once: Callable[[], object], wait: Callable[[], object], rounds: int) -> float:
    """Seconds of `once`, in the best of `rounds` after two to warm up."""
    times = []
    for _ in range(rounds + 2):
        wait()
        start = time.perf_counter()
        once()
        wait()
        times.append(time.perf_counter() - start)
    return min(times[2:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "nccl"))

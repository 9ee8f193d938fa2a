"""A live Machine in, how fast its GPUs reduce between each two out: by NCCL, on GPUs that are leased as a run's are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple, Union

from mgpu.errors import HostError, NoRoom
from mgpu.machine.measured import LinkFigure
from mgpu.values.machine import Gpu, Machine

SCRIPT = os.path.join(os.path.dirname(__file__), "allreduce.py")
PERF = "all_reduce_perf"
WITHIN = 180.0
"""Seconds that a pair may take: NCCL's own start takes up to a minute. Longer, and the transfer hangs."""
SMALL, LARGE = 8192, 64 * 2**20


class Tool(NamedTuple):
    """What measures: `argv` (the GPUs come by the environment), `name` for people, and what reads its output."""

    name: str
    argv: tuple[str, ...]
    read: Callable[[str], Found]


class Found(NamedTuple):
    """What a tool says of a pair: us, GB/s, whether the values were right, and what did it."""

    latency_us: float
    GBps: float
    right: bool
    how: str


class Trouble(NamedTuple):
    """Why there is no figure of a pair, as a sentence."""

    a: str
    b: str
    why: str


def tool() -> Tool:
    """torch with NCCL in the interpreter on PATH, else all_reduce_perf of nccl-tests. Raises HostError for neither."""
    from mgpu.machine import software

    version = dict(software.installed(["torch"])).get("torch")
    python = shutil.which("python3") or shutil.which("python")
    if version and python and not version.endswith("+cpu"):
        start = (python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", SCRIPT)
        return Tool(f"torch {version}", start, of_script)
    perf = shutil.which(PERF)
    if perf:
        argv = (perf, "-b", "8K", "-e", "64M", "-f", "8192", "-g", "2", "-w", "10", "-n", "100", "-c", "1")
        return Tool("nccl-tests", argv, of_perf)
    there = f"torch {version} has no NCCL, " if version else "there is no torch in the interpreter on PATH, "
    raise HostError(
        f"links are measured by NCCL: {there}and no {PERF} on PATH",
        "activate an environment whose torch is built for CUDA, or install nccl-tests",
    )


def pairs(machine: Machine) -> list[tuple[Gpu, Gpu]]:
    """Every two GPUs that are free. Raises NoRoom where there are no two."""
    from mgpu.plan.fitness import unusable

    busy = {gpu.index: unusable(gpu, machine) for gpu in machine.gpus}
    free = [gpu for gpu in machine.gpus if not busy[gpu.index]]
    if len(free) < 2:
        why = "; ".join(f"GPU {index} {words}" for index, words in busy.items() if words)
        count = len(machine.gpus)
        message = f"a link wants two free GPUs, and {machine.name} has {len(free)} of {count}"
        raise NoRoom(message + (f": {why}" if why else ""), ever=count > 1)
    return list(combinations(free, 2))


def measured(machine: Machine, tell: Callable[[str], object]) -> Iterator[Union[LinkFigure, Trouble]]:
    """A figure for every two free GPUs, or what went wrong with them; all are leased meanwhile. `tell` gets a word
    before each. Raises HostError or NoRoom where nothing can be measured, Clash where somebody takes a GPU first."""
    import getpass
    import time
    from datetime import datetime, timezone

    from mgpu.machine import leases
    from mgpu.run import state

    every, by = pairs(machine), tool()
    run = state.identity("bench-links")
    holder = leases.Holder(run, "bench-links", getpass.getuser(), time.time())
    with leases.take({gpu.id for pair in every for gpu in pair}, [], holder):
        for a, b in every:
            tell(f"GPU {a.index} and {b.index}, by {by.name}")
            found = _pair(by, a, b, run)
            if isinstance(found, str):
                yield Trouble(a.id, b.id, found)
            else:
                today = datetime.now(timezone.utc).date().isoformat()
                yield LinkFigure(a.id, b.id, round(found.latency_us, 2), round(found.GBps, 3), found.how, today)


def _pair(by: Tool, a: Gpu, b: Gpu, run: str) -> Found | str:
    """What the tool finds of the two, or why it finds nothing."""
    try:
        done = _run(by.argv, surroundings(a, b, run))
    except subprocess.TimeoutExpired:
        return (
            f"nothing came back within {WITHIN:.0f} s: the driver may grant P2P that does not work (NCCL_P2P_DISABLE=1)"
        )
    except OSError as error:
        return f"{by.argv[0]} cannot be started: {error.strerror}"
    if done.returncode:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
        return f"{by.name} failed with {done.returncode}: {last.strip()[:200]}"
    try:
        found = by.read(done.stdout)
    except ValueError as error:
        return f"{by.name} says what cannot be read: {error}"
    wrong = "values come out wrong: the driver grants P2P that does not work here (NCCL_P2P_DISABLE=1)"
    return found if found.right else wrong


def _run(argv: tuple[str, ...], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The tool's end. All that it started goes with it where it takes too long."""
    import signal

    process = subprocess.Popen(
        argv, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=WITHIN)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(argv, process.returncode, out, err)


def surroundings(a: Gpu, b: Gpu, run: str) -> dict[str, str]:
    """The caller's environment with just these two GPUs in sight, and the mark of the run."""
    dropped = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    visible = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": f"{a.id},{b.id}"}
    return {**kept, **visible, "MGPU_RUN": run, "OMP_NUM_THREADS": "1"}


def of_script(text: str) -> Found:
    """What allreduce.py has written. Raises ValueError for anything else."""
    rows = [line for line in text.splitlines() if line.startswith("{")]
    data: Any = json.loads(rows[-1]) if rows else None
    try:
        how = f"torch {data['torch']}" + (f", NCCL {data['nccl']}" if data["nccl"] else f", {data['backend']}")
        how += ", in a CUDA graph" if data["graph"] else ""
        return _sound(float(data["latency_us"]), float(data["GBps"]), data["right"] is True, how)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{text[-200:].strip() or 'nothing'}") from error


def of_perf(text: str) -> Found:
    """What all_reduce_perf has printed: rows of size, count, type, operation, root, and twice time (us), GB/s by bytes
    and time, GB/s of the bus, wrong values. Raises ValueError where a size lacks."""
    rows: dict[int, tuple[float, float, int]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 9 and words[0].isdigit() and words[2] in ("float", "half", "bfloat16"):
            halves = [words[5:9], words[9:13]] if len(words) >= 13 else [words[5:9]]
            wrong = sum(int(half[3]) for half in halves if half[3].isdigit())
            best = min(halves, key=lambda half: float(half[0]))
            rows[int(words[0])] = (float(best[0]), float(best[1]), wrong)
    missing = [size for size in (SMALL, LARGE) if size not in rows]
    if missing:
        raise ValueError(f"there is no row of {missing[0]} bytes")
    right = not any(wrong for _, _, wrong in rows.values())
    return _sound(rows[SMALL][0], rows[LARGE][1], right, "nccl-tests")


def _sound(latency: float, rate: float, right: bool, how: str) -> Found:
    if not (0 < latency < 1e7 and 0 < rate < 1e5):
        raise ValueError(f"{latency} us and {rate} GB/s")
    return Found(latency, rate, right, how)

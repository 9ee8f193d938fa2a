"""Whole processes measured: a cold `mgpu validate` and `mgpu render`, and what `mgpu run` adds to a job."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median

from tests.bench.figure import Figure, interleaved, milliseconds
from tests.fakes.docker import BUSYBOX, Engine, lacking

SPEC = Path(__file__).with_name("sixty.mgpu.yaml")
IMPORTS = "import pydantic, jinja2, ruamel.yaml"
"""What a tool of this kind usually pays before it has read a line."""
RATIO = 1.4
OVERHEAD, BOXED = 300.0, 400.0
"""Milliseconds that `mgpu run` may add to a process, and to `docker run`."""
TIMES = 20


def command() -> str:
    """The installed `mgpu` beside this interpreter."""
    return str(Path(sys.executable).with_name("mgpu"))


def process(*argv: str, env: Mapping[str, str] | None = None) -> Callable[[], object]:
    """A whole process as something to measure: it must succeed, and nobody reads what it says."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    return partial(subprocess.run, argv, check=True, env=env, **quiet)


def cold_start() -> Iterator[Figure]:
    """`mgpu validate` and `mgpu render` of a spec of 60 lines against bare imports."""
    works = [
        process(sys.executable, "-c", "pass"),
        process(sys.executable, "-c", IMPORTS),
        process(command(), "validate", str(SPEC)),
        process(command(), "render", str(SPEC)),
    ]
    bare, imports, validate, render = interleaved(works, TIMES)
    yield milliseconds("cold: python -c pass", bare)
    yield milliseconds(f"cold: {IMPORTS}", imports)
    for verb, taken in (("validate", validate), ("render", render)):
        yield milliseconds(f"cold: mgpu {verb}, 60 lines", taken)
        ratio = (min(taken) / min(imports), median(taken) / median(imports))
        yield Figure(f"cold: mgpu {verb} / those imports", *ratio, "x", RATIO)


def run_of_true() -> Iterator[Figure]:
    """What `mgpu run` of `true` takes above a bare `true`, its state and leases in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "true.mgpu.yaml")
        spec.write_text('kind: task\nname: bench-true\ncommand: ["true"]\n')
        env = os.environ | {"HOME": folder, "XDG_STATE_HOME": f"{folder}/state", "MGPU_LOCK_DIR": f"{folder}/lock"}
        bare, run = interleaved([process("true"), process(command(), "run", str(spec), env=env)], TIMES)
    yield milliseconds("true", bare)
    yield milliseconds("mgpu run of true", run)
    yield _added("what mgpu run adds to true", bare, run, OVERHEAD)


def run_of_true_boxed() -> Iterator[Figure]:
    """What `mgpu run` of `true` in a container takes above `docker run` of the same, on a real engine of its own."""
    if lacking():
        return
    with tempfile.TemporaryDirectory(prefix="mgpu-bench-") as folder:
        engine = Engine(Path(folder))
        try:
            env = engine.start().env | {
                "HOME": folder,
                "XDG_STATE_HOME": f"{folder}/state",
                "MGPU_LOCK_DIR": f"{folder}/lock",
            }
            spec = Path(folder, "true.mgpu.yaml")
            spec.write_text(f'kind: task\nname: bench-boxed\nimage: {BUSYBOX}\ncommand: ["true"]\n')
            docker = process("docker", "run", "--rm", "--init", BUSYBOX, "true", env=env)
            bare, run = interleaved([docker, process(command(), "run", str(spec), env=env)], TIMES)
        finally:
            engine.stop()
    yield milliseconds("docker run of true", bare)
    yield milliseconds("mgpu run of true in a container", run)
    yield _added("what mgpu run adds to docker run", bare, run, BOXED)


def _added(name: str, bare: list[float], run: list[float], bound: float) -> Figure:
    added = (1000 * (min(run) - min(bare)), 1000 * (median(run) - median(bare)))
    return Figure(name, *added, "ms", bound)

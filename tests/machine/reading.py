"""A stub of the driver in, the Machine that the real command reads through it out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mgpu.machine.file import load
from mgpu.values.machine import Machine
from tests.fakes.nvml import Stub

ROOT = Path(__file__).parents[2]


def mgpu(*words: str, env: dict[str, str], folder: Path = ROOT) -> str:
    """What `mgpu machine` prints in an environment that has nothing of the caller's mgpu, CUDA or driver."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MGPU_", "CUDA_", "FAKE_"))}
    command = [sys.executable, "-m", "mgpu", "machine", *words]
    done = subprocess.run(
        command,
        env={**inherited, "PYTHONPATH": str(ROOT), **env},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def machine(stub: Stub, **more: str) -> Machine:
    """The host as mgpu sees it through the stub, with nobody holding a lease unless MGPU_LOCK_DIR names a folder, and
    nothing measured unless MGPU_STATE_DIR does."""
    folders = {"MGPU_LOCK_DIR": str(stub.file.parent / "locks"), "MGPU_STATE_DIR": str(stub.file.parent / "nothing")}
    return load("stdout", mgpu("--yaml", env={**folders, **stub.env, **more}))

"""An example's spec in, what `mgpu run` says of it out: the examples of the repository, and what they need."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from tests.require import require

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / ".build" / "torch_extensions"
"""What DeepSpeed compiles at its first start, which takes it two minutes: kept from one test to the next."""


def run(spec: str | Path, folder: Path, *options: str, within: float = 300) -> subprocess.CompletedProcess[str]:
    """`mgpu run` of an example, or of any spec, with this environment's programs; state and leases are in `folder`."""
    own = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), "MGPU_LOCK_DIR": str(folder / "lock")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    argv = [sys.executable, "-m", "mgpu", "run", str(ROOT / "examples" / spec), *options]
    env = os.environ | own | {"PATH": path, "TORCH_EXTENSIONS_DIR": str(COMPILED)}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=within, cwd=ROOT)


def needs(*packages: str) -> None:
    """Skip the test unless these are installed beside mgpu."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    require("demo", not missing, f"not installed: {', '.join(missing)}")

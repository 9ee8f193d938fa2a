"""NVIDIA's prestart hook as runc calls it: a container's state on stdin in; just the GPUs that it asked for out.

It knows the GPUs of the stub NVML (FAKE_NVML_CONF) and leaves an `nvidia-smi` in the container that names its own.
FAKE_NVIDIA_HOOK is a folder with `calls`, a JSON line for each call, and maybe `drop`, how many GPUs to keep back.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

NONE = {"", "void", "none"}

SMI = """#!/bin/sh
case "$*" in
-L)
{listed}
  ;;
"--query-gpu=uuid --format=csv,noheader")
{uuids}
  ;;
*) echo "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help." ; exit 1 ;;
esac
"""


def main() -> None:
    """One call."""
    state = json.load(sys.stdin)
    config = json.loads(Path(state["bundle"], "config.json").read_text())
    env = dict(pair.split("=", 1) for pair in config["process"]["env"] if "=" in pair)
    asked = env.get("NVIDIA_VISIBLE_DEVICES", "")
    folder = Path(os.environ["FAKE_NVIDIA_HOOK"])
    call = {"phase": sys.argv[-1], "container": state["id"], "pid": state["pid"], "asked": asked}
    with open(folder / "calls", "a") as log:
        print(json.dumps({**call, "capabilities": env.get("NVIDIA_DRIVER_CAPABILITIES")}), file=log)
    if asked not in NONE:
        show(given(asked, read(Path(os.environ["FAKE_NVML_CONF"])), dropped(folder)), Path(config["root"]["path"]))


def read(conf: Path) -> list[dict[str, str]]:
    """The GPUs of a stub NVML's configuration, the facts of each by their first word."""
    gpus: list[dict[str, str]] = []
    for line in conf.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == "gpu":
            gpus.append({})
        elif gpus:
            gpus[-1][key] = value
    return gpus


def given(asked: str, gpus: list[dict[str, str]], drop: int) -> list[dict[str, str]]:
    """The GPUs that these words name, in the order of the machine as NVIDIA's gives them too."""
    by_name = {name: index for index, gpu in enumerate(gpus) for name in (str(index), gpu["uuid"])}
    words = list(map(str, range(len(gpus)))) if asked == "all" else asked.split(",")
    unknown = [word for word in words if word not in by_name]
    if unknown:
        sys.exit(f"nvidia-container-cli: device error: {unknown[0]}: unknown device")
    found = [gpus[index] for index in sorted({by_name[word] for word in words})]
    return found[: len(found) - drop]


def dropped(folder: Path) -> int:
    """How many GPUs a test wants kept back."""
    try:
        return int((folder / "drop").read_text())
    except FileNotFoundError:
        return 0


def show(gpus: list[dict[str, str]], root: Path) -> None:
    """Let the container's `nvidia-smi` list these."""
    listed = [f"  echo 'GPU {index}: {gpu['name']} (UUID: {gpu['uuid']})'" for index, gpu in enumerate(gpus)]
    uuids = [f"  echo {gpu['uuid']}" for gpu in gpus]
    nothing = ["  echo 'No devices were found'"]
    program = root / "usr" / "bin" / "nvidia-smi"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(SMI.format(listed="\n".join(listed or nothing), uuids="\n".join(uuids or nothing)))
    program.chmod(0o755)


if __name__ == "__main__":
    main()

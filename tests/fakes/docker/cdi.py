"""The GPUs of a stub NVML in, the CDI specification that `nvidia-ctk cdi generate` writes of such a machine out."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.docker.hook import read

SMI = """#!/bin/sh
# The GPUs that CDI gave: the variables say which.
given=$(env | sed -n 's/^FAKE_CDI_GPU_//p' | sort -n)
case "$*" in
-L) [ "$given" ] && echo "$given" | awk -F= '{ printf "GPU %d: NVIDIA H100 80GB HBM3 (UUID: %s)\\n", NR - 1, $2 }' ;;
"--query-gpu=uuid --format=csv,noheader") echo "$given" | sed 's/.*=//' ;;
*) echo "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help." ; exit 1 ;;
esac
"""


def write_spec(stub: Path, folder: Path) -> None:
    """Describe the GPUs in `folder`, each by its index and by its UUID, and all of them as ``all``."""
    smi = folder.parent / "cdi-smi"
    smi.write_text(SMI)
    smi.chmod(0o755)
    given = {str(index): gpu["uuid"] for index, gpu in enumerate(read(stub))}
    env = {index: f"FAKE_CDI_GPU_{index}={uuid}" for index, uuid in given.items()}
    devices = {**{index: [env[index]] for index in given}, **{uuid: [env[index]] for index, uuid in given.items()}}
    devices["all"] = list(env.values())
    mount = {"hostPath": str(smi), "containerPath": "/usr/bin/nvidia-smi", "options": ["ro", "nosuid", "bind"]}
    spec = {
        "cdiVersion": "0.5.0",
        "kind": "nvidia.com/gpu",
        "devices": [{"name": name, "containerEdits": {"env": words}} for name, words in devices.items()],
        "containerEdits": {"mounts": [mount]},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nvidia.json").write_text(json.dumps(spec))

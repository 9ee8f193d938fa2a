"""Real engines that serve on the CPU: what each is told so that it fits beside others, and one that `mgpu run` starts.

They are real but for the GPUs: mgpu gives them those of a stub, and they compute without.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.end_to_end.host import Host, eventually, lives

SERVING = Path(os.environ.get("MGPU_SERVING") or Path(__file__).parents[2] / ".build" / "serving").absolute()
"""The environment that tests/real/install makes."""
PYTHON = SERVING / "bin" / "python"
START = 400.0
"""Seconds within which an engine is ready or gone: four times what the slowest took, on two cores that others used."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
SMALL = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
BIND = {"vllm": "VLLM_CPU_OMP_THREADS_BIND", "sglang": "SGLANG_CPU_OMP_THREADS_BIND"}
"""The variable without which the engine shares no CPU of one socket among several ranks."""
RANKS = ("VLLM::Worker", "sglang::scheduler")
"""What the engines call a process that has a GPU."""
ARGS: dict[str, dict[str, object]] = {
    "vllm": {
        "served-model-name": "tiny",
        "dtype": "float32",
        "enforce-eager": True,
        "gpu-memory-utilization": 0.3,
        "max-num-seqs": 4,
    },
    "sglang": {
        "served-model-name": "tiny",
        "dtype": "float32",
        "device": "cpu",
        "attention-backend": "torch_native",
        "disable-overlap-schedule": True,
        "max-total-tokens": 4096,
        "mem-fraction-static": 0.2,
        "max-running-requests": 4,
        "enable-metrics": True,
    },
}
"""Flags that let it run on the CPU, in the memory that is there."""


def spec(engine: str, model: Path, port: int, tensor: int = 1, bind: bool = True, **args: object) -> str:
    """The spec of a server of `model`; JSON is YAML."""
    env = {**OFFLINE, **SMALL}
    if bind and tensor > 1:
        env[BIND[engine]] = "|".join(map(str, range(tensor)))
    return json.dumps(
        {
            "kind": "inference",
            "engine": engine,
            "model": str(model),
            "context_length": 256,
            "gpus": tensor,
            "port": port,
            "python": str(PYTHON),
            "args": {**ARGS[engine], **args},
            "env": env,
        },
        indent=1,
    )


class Served:
    """A server that `mgpu run` has in the foreground, and what it has said."""

    def __init__(self, host: Host, text: str, name: str = "server") -> None:
        self.host, self.name = host, name
        self.out, self.err = host.folder / f"{name}.out", host.folder / f"{name}.err"
        self.url = f"http://127.0.0.1:{json.loads(text)['port']}"
        argv = [*host.argv, "run", host.spec(text, name)]
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.runner = subprocess.Popen(argv, env=host.env, stdout=out, stderr=err)

    def ready(self) -> Served:
        """Itself, once mgpu says that it is ready."""
        eventually(lambda: self.told("is ready at") or self.runner.poll() is not None, "it is ready", START)
        assert self.runner.poll() is None, self.said()
        return self

    def over(self, within: float = 60.0) -> int:
        """The exit status of the run, once it has ended."""
        eventually(lambda: self.runner.poll() is not None, "it has ended", within)
        return self.runner.returncode

    def failed(self) -> int:
        """The exit status of a run that is never ready."""
        eventually(lambda: self.told("is ready at") or self.runner.poll() is not None, "it has failed", START)
        assert not self.told("is ready at"), self.said()
        return self.over()

    def told(self, words: str) -> bool:
        """Whether mgpu itself has said so."""
        return words in self.err.read_text()

    def said(self, last: int = 40) -> str:
        """What mgpu has said, and the end of what the engine has."""
        lines = self.out.read_text(errors="replace").splitlines()
        return "\n".join([self.err.read_text(), *lines[-last:]])

    def run(self) -> dict[str, Any]:
        """What `ps` says of it."""
        return next(run for run in self.host.runs() if run["name"] == self.name)

    def ranks(self) -> list[str]:
        """What the processes that compute are called, one a GPU."""
        names = [Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0") for pid in self.run()["pids"]]
        return [name for name in names if name.startswith(RANKS)]

    def get(self, path: str) -> str:
        """The text that it answers."""
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return str(answer.read().decode())

    def post(self, path: str, **body: object) -> tuple[int, dict[str, Any]]:
        """The status and the data that it answers."""
        data = json.dumps({"model": "tiny", "max_tokens": 4, "temperature": 0, **body}).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, {"text": error.read().decode()}

    def interrupt(self) -> int:
        """What ^C does to the run: its exit status."""
        self.runner.send_signal(signal.SIGINT)
        return self.over()

    def end(self) -> None:
        """Leave nothing, however the test went."""
        if self.runner.poll() is None:
            self.host.mgpu("stop", self.name, "--now")
            self.runner.wait(30)


def members(state: Path) -> set[int]:
    """The live processes that write to a job's log below `state`: of a job all.

    Not by the mark in their environment, which is what mgpu looks for.
    """
    logs = {str(log) for log in state.glob("runs/*/logs/*.log")}
    return {int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _output(pid) in logs and lives(int(pid))}


def _output(pid: str) -> str:
    """The file that a process writes to."""
    try:
        return os.readlink(f"/proc/{pid}/fd/1")
    except OSError:
        return ""


def parent(pid: int) -> int:
    """The pid of its parent: of a run's first process its keeper."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

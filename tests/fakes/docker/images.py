"""Files and settings in, an archive that `docker load` takes out: images without a network and without a build."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.fakes.docker.releases import program

HERE = Path(__file__).parent
PATH = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
TIME = "2024-01-01T00:00:00Z"


@dataclass(frozen=True)
class Image:
    """What an image holds, and how a container of it starts."""

    layers: Sequence[bytes]
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def archive(self, *names: str) -> bytes:
        """The image under these names, as `docker save` would write it."""
        config = json.dumps(self._config()).encode()
        files = {f"{digest(layer)}.tar": layer for layer in self.layers}
        named = f"{digest(config)}.json"
        manifest = [{"Config": named, "RepoTags": list(names), "Layers": list(files)}]
        return tar({**files, named: config, "manifest.json": json.dumps(manifest).encode()}, mode=0o644)

    def _config(self) -> dict[str, object]:
        env = [PATH, *(f"{name}={value}" for name, value in self.env.items())]
        starts = {"Entrypoint": list(self.entrypoint), "Cmd": list(self.command), "Env": env, "Labels": {**self.labels}}
        diffs = [f"sha256:{digest(layer)}" for layer in self.layers]
        history = [{"created": TIME} for _ in self.layers]
        where = {"architecture": architecture(), "os": "linux", "created": TIME}
        return {**where, "config": starts, "rootfs": {"type": "layers", "diff_ids": diffs}, "history": history}


@cache
def busybox() -> Image:
    """A shell with its tools in /bin, and a /tmp; nothing else."""
    return Image([_shell()], command=["sh"])


@cache
def fake_vllm() -> Image:
    """`vllm serve` as far as one sees it from outside."""
    programs = {"usr/bin/vllm": "vllm.sh", "usr/bin/vllm-answer": "vllm-answer.sh"}
    layer = tar({path: (HERE / source).read_bytes() for path, source in programs.items()})
    return Image([_shell(), layer], entrypoint=["vllm", "serve"])


def random_image(size: int, layers: int) -> Image:
    """An image of `size` bytes that nothing compresses, so that a pull takes its time."""
    parts = [tar({f"data/{index}": os.urandom(size // layers)}, mode=0o644) for index in range(layers)]
    return Image([_shell(), *parts], command=["sh"])


def tar(
    files: Mapping[str, bytes], links: Mapping[str, str] = {}, folders: Sequence[str] = (), mode: int = 0o755
) -> bytes:
    """A tar of these files, symbolic links and folders that everybody may write to."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path in folders:
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            archive.addfile(entry)
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
        for path, target in links.items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return out.getvalue()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def architecture() -> str:
    """This machine's name among Docker's."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


@cache
def _shell() -> bytes:
    busybox = Path(program("busybox"))
    done = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    links = {f"bin/{applet}": "busybox" for applet in done.stdout.split() if applet != "busybox"}
    return tar({"bin/busybox": busybox.read_bytes()}, links, folders=["tmp"])

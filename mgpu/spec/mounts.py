"""A folder of the host, as a spec names it for a container, in; why it takes a permission to mount it, or None, out.

It is judged by its name alone: where symbolic links lead is seen by whoever has the host.
"""

from __future__ import annotations

import re
from posixpath import normpath

SYSTEM = ("/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/var/lib/containerd", "/var/lib/docker", "/var/run")
"""What a host is run with: who writes there is root, and who reads there sees keys, or a socket that makes him root."""
PROGRAMS = ("/bin", "/lib", "/lib64", "/sbin", "/usr")
"""What everybody on the host executes: harmless to read."""
MEDIA = "/run/media/"
"""Where desktops mount disks."""
HOMES = re.compile(r"(/root|/home/[^/]+|/home)(/.*)?")
KEYS = (
    ".aws", ".azure", ".bash_history", ".config", ".docker", ".git-credentials", ".gnupg", ".kube", ".local",
    ".netrc", ".password-store", ".ssh",
)  # fmt: skip
"""What in a home holds keys, or lets its owner be impersonated."""
SOCKETS = re.compile(r"(docker|podman|containerd|crio)\.sock")


def reason(source: str, *, read_only: bool = False, home: str | None = None) -> str | None:
    """What is wrong with giving `source` to a container, as words behind its name. `home` is the user's, if known.

    A relative path is below the spec's folder, and ``~`` is the home.
    """
    if SOCKETS.fullmatch(source.rpartition("/")[2]):
        return "is a socket of a container engine: who has it is root here"
    if source == "~" or source.startswith("~/"):
        return _in_home(source[2:])
    if not source.startswith("/"):
        return "leads out of the spec's folder" if _leads_out(source) else None
    path = "/" + normpath(source).strip("/")
    if home and (path + "/").startswith(home.rstrip("/") + "/"):
        return _in_home(path[len(home.rstrip("/")) + 1 :])
    return _holding(path, home) or _of_system(path, read_only) or _in_a_home(path)


def _leads_out(path: str) -> bool:
    return normpath(path).split("/")[0] == ".."


def _in_home(rest: str) -> str | None:
    if not rest or normpath(rest) == ".":
        return "is the whole home"
    if _leads_out(rest):
        return "leads out of the home"
    first = normpath(rest).split("/")[0]
    return "is where keys are kept" if first in KEYS else None


def _holding(path: str, home: str | None) -> str | None:
    """What of the system, or of the user, is inside."""
    if path == "/":
        return "is the whole disk"
    inner = next((name for name in (*SYSTEM, home or "") if name.startswith(path + "/")), None)
    return f"holds {inner}" if inner else None


def _of_system(path: str, read_only: bool) -> str | None:
    roots = SYSTEM if read_only else SYSTEM + PROGRAMS
    inside = any(path == root or path.startswith(root + "/") for root in roots)
    return "belongs to the system" if inside and not path.startswith(MEDIA) else None


def _in_a_home(path: str) -> str | None:
    """Whose home it is does not matter."""
    found = HOMES.fullmatch(path)
    if found is None:
        return None
    return "holds every home" if found[1] == "/home" else _in_home((found[2] or "").lstrip("/"))

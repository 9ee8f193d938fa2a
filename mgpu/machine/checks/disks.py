"""The host in, whether its folders can be written, hold locks and have room out: for state, models, images."""

from __future__ import annotations

import os
import stat

from mgpu.errors import HostError
from mgpu.machine import kept, locks
from mgpu.machine.checks.finding import Check, Finding, broken, ok, skipped, warning, worst
from mgpu.machine.checks.host import Host, Silent
from mgpu.machine.models import hub_cache

GIB = 2**30
SMALL = 2**26
"""Bytes of /dev/shm in a container where nobody asked for more: Docker's default of 64 MiB."""
WANTED = GIB
"""Bytes of /dev/shm that NCCL's guide asks for (user guide, troubleshooting, sharing data: ``--shm-size=1g``)."""
NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "gpfs", "beegfs", "afs", "glusterfs", "virtiofs")
)
STATE, MODEL = GIB, 20 * GIB
"""Bytes that state, and a model or an image, should find free: a 7B model in 16 bits has 15 GB."""


def shm(host: Host) -> Finding:
    """Whether processes of a job can share memory: NCCL and loaders of data do so through /dev/shm."""
    try:
        total, free = host.room(host.path("/dev/shm"))
    except OSError:
        return broken("there is no /dev/shm", "sudo mount -t tmpfs -o size=50% tmpfs /dev/shm")
    words = f"{_size(total)}, {_size(free)} free"
    if total >= WANTED and free >= SMALL:
        return ok(words)
    if total < WANTED and host.container:
        words += ": the default of a container" if total <= SMALL else ""
        mend = ["make the container anew with --shm-size=16g, or rent one with more", SHARED]
    else:
        mend = ["sudo mount -o remount,size=50% /dev/shm"] if total < WANTED else ["ls -lS /dev/shm"]
    if len(host.gpus) > 1:
        return broken(f"{words}; NCCL between {len(host.gpus)} GPUs wants 1 GiB", *mend)
    return warning(f"{words}; loaders of data with several workers want more", *mend)


SHARED = "until then: NCCL_SHM_DISABLE=1 in env (slow), and no workers that load data (num_workers: 0)"


def _size(count: int) -> str:
    return f"{count / GIB:.0f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"


def lock_folder(host: Host) -> Finding:
    """Whether leases of GPUs can be taken, by everybody."""
    try:
        place = locks.place(host.env)
    except HostError as error:
        return broken(error.message, "unset MGPU_LOCK_DIR")
    mount = host.mount(place)
    if mount and _shared(mount.kind):
        words = f"{place} lies on {mount.kind}, where a lock of one host is not seen, or not kept, by others"
        return broken(words, f"export MGPU_LOCK_DIR={locks.FOLDER}")
    try:
        mode = os.lstat(host.path(place)).st_mode
    except OSError:
        return _makeable(host, place)
    if not stat.S_ISDIR(mode):
        return broken(f"{place} is not a folder", f"sudo rm {place}", FOLDER.format(place))
    if not host.may(place, os.R_OK | os.W_OK | os.X_OK):
        return broken(f"this user may not write to {place} ({stat.filemode(mode)})", f"sudo chmod 1777 {place}")
    if mode & 0o1777 != 0o1777:
        return warning(f"{place} is {stat.filemode(mode)}: not everybody can take leases", f"sudo chmod 1777 {place}")
    closed = [name for name in host.names(place) if not host.may(f"{place}/{name}", os.R_OK | os.W_OK)]
    if closed:
        return broken(f"this user may not open {', '.join(closed[:3])} in {place}", f"sudo chmod 0666 {place}/*.lock")
    seen = "; only this container sees it" if host.container else ""
    return ok(f"{place} on {mount.kind if mount else 'a disk'}, for everybody{seen}")


FOLDER = "sudo install -d -m 1777 {}"


def _makeable(host: Host, place: str) -> Finding:
    above = os.path.dirname(place)
    while not host.there(above):
        above = os.path.dirname(above)
    if host.may(above, os.W_OK | os.X_OK):
        return ok(f"{place} is made by the first run")
    return broken(f"there is no {place}, and this user may not make it", FOLDER.format(place))


def _shared(kind: str) -> bool:
    """Whether a file system may be one of several hosts."""
    return kind in NETWORK or (kind.startswith("fuse.") and kind != "fuse.fuse-overlayfs")


def state(host: Host) -> Finding:
    """Whether runs can be kept."""
    try:
        place = kept.folder(host.env)
    except HostError as error:
        return broken(error.message, error.hint or "export MGPU_STATE_DIR=/a/folder")
    mount, there = host.mount(place), _standing(host, place)
    if not host.may(there, os.W_OK | os.X_OK):
        return broken(f"this user may not write to {there}", f"sudo chown $USER {there}", OTHER)
    if mount and _shared(mount.kind):
        return warning(f"{place} lies on {mount.kind}: locks on it may not hold", OTHER)
    return _room(host, there, STATE, ("mgpu ps --all", OTHER), place)


OTHER = "or name another folder, on a disk of this host: export MGPU_STATE_DIR=/a/folder"


def models(host: Host) -> Finding:
    """Whether there is room for models."""
    place = str(hub_cache(host.env))
    mend = ("hf cache ls", "hf cache rm MODEL", "or another disk: export HF_HOME=/a/folder")
    return _room(host, _standing(host, place), MODEL, mend, place)


def images(host: Host) -> Finding:
    """Whether there is room for images."""
    place = None if isinstance(host.engine, Silent) else host.engine.info.get("DockerRootDir")
    if not place:
        return skipped("no Docker that tells where its images are")
    if not host.there(place):
        return skipped(f"{place}, where Docker keeps its images, is not seen from here")
    return _room(host, place, MODEL, ("docker system df", "docker image prune --all"), place)


def _standing(host: Host, place: str) -> str:
    """The folder, or the nearest above it that is there."""
    while not host.there(place) and place != "/":
        place = os.path.dirname(place)
    return place


def _room(host: Host, there: str, wanted: int, mend: tuple[str, ...], place: str) -> Finding:
    try:
        free = host.room(host.path(there)).free
    except OSError as error:
        return broken(f"{there} cannot be looked at: {error.strerror}", "df -h")
    words = f"{_size(free)} free for {place}"
    if free < wanted // 20:
        return broken(words, *mend)
    return worst([warning(words, *mend)] if free < wanted else [], ok(words))


CHECKS = (
    Check("disks", "shm", shm),
    Check("disks", "locks", lock_folder),
    Check("disks", "state", state),
    Check("disks", "models", models),
    Check("disks", "images", images),
)

"""What mgpu did not give out: the caller's mask, a desktop, the processes of others, and what a container hides."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mgpu.machine.occupants import on_host
from tests.end_to_end.host import MGPU, Host, eventually
from tests.fakes.nvml import MIB, FakeGpu, uuid
from tests.require import host_pids, require

GIB = 2**30
SEEN = "echo $CUDA_VISIBLE_DEVICES"
APART = [
    "unshare", *([] if os.getuid() == 0 else ["--map-root-user"]), "--pid", "--fork", "--kill-child", "--mount-proc"
]  # fmt: skip
"""What makes a container of the words behind it, as far as process ids go."""
DRIVER = """
mkdir dev
for file in null zero random urandom; do touch dev/$file; mount --bind /dev/$file dev/$file; done
touch dev/nvidia0 dev/nvidiactl
mount --rbind dev /dev
"""
"""Gives the container a driver's files to open."""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def inside(host: Host, script: str, *words: object) -> subprocess.CompletedProcess[str]:
    """`mgpu` and `words` in a container, once the shell that is its first process has carried out `script`."""
    there = subprocess.run([*APART, "true"], capture_output=True, check=False).returncode == 0
    require("unshare", there, "a process may not have process ids of its own here")
    first = ["sh", "-ec", f'{script}\n"$@"; exit $?', "sh"]
    return subprocess.run(
        [*APART, *first, *MGPU, *map(str, words)],
        env=host.env,
        cwd=host.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("mask", "given"), [
    ("2", [2]),
    ("3,1", [1, 3]),
    (uuid(2), [2]),
    (f"{uuid(3)},{uuid(0)}", [0, 3]),
    (uuid(1)[:12], [1]),
    (f"{uuid(3)[:12]},{uuid(2)[:12]}", [2, 3]),
    ("1,9,0", [1]),
])  # fmt: skip
def test_a_job_gets_all_of_the_callers_mask_and_nothing_else(host: Host, mask: str, given: list[int]) -> None:
    done = host.mgpu("run", host.task(SEEN, gpus="all"), CUDA_VISIBLE_DEVICES=mask)
    assert (done.returncode, done.stdout.strip().split(",")) == (0, [uuid(index) for index in given])
    more = host.mgpu("run", host.task(SEEN, gpus=len(given) + 1), CUDA_VISIBLE_DEVICES=mask)
    assert (more.returncode, more.stdout) == (1, ""), "waiting does not help"
    assert f"needs {len(given) + 1} GPU" in more.stderr
    for index in range(4):
        told = f"GPU {index} is outside the CUDA_VISIBLE_DEVICES that mgpu was started with" in more.stderr
        assert told == (index not in given)
    shown = host.mgpu("machine", CUDA_VISIBLE_DEVICES=mask).stdout
    assert f"CUDA_VISIBLE_DEVICES={mask} bounds mgpu to GPU " in shown
    assert shown.count("outside the CUDA_VISIBLE_DEVICES") == 4 - len(given)


@pytest.mark.parametrize("mask", ["", "-1", "9", "0,0", uuid(7)])
def test_a_mask_that_leaves_nothing_is_no_lack_of_a_mask(host: Host, mask: str) -> None:
    done = host.mgpu("run", host.task(SEEN, gpus=1), CUDA_VISIBLE_DEVICES=mask)
    assert (done.returncode, done.stdout) == (1, "")
    assert "CUDA_VISIBLE_DEVICES" in done.stderr


def test_a_mask_whose_gpus_are_busy_can_be_waited_for(host: Host) -> None:
    assert (
        host.mgpu("run", "--detach", host.task("exec sleep 100", "first", gpus=1), CUDA_VISIBLE_DEVICES="2").returncode
        == 0
    )
    done = host.mgpu("run", host.task("true", "second", gpus=1), CUDA_VISIBLE_DEVICES="2")
    assert done.returncode == 75
    assert "GPU 2 is held by run first " in done.stderr
    assert "GPU 3 is outside the CUDA_VISIBLE_DEVICES" in done.stderr
    assert host.mgpu("run", host.task("true", "third", gpus=1), CUDA_VISIBLE_DEVICES="2,3").returncode == 0
    assert host.mgpu("stop", "first").returncode == 0


def test_ids_outside_the_mask_are_refused(host: Host) -> None:
    done = host.mgpu("run", host.task(SEEN, gpus={"ids": ["0"]}), CUDA_VISIBLE_DEVICES="1,2")
    assert done.returncode == 1
    assert "GPU 0 is outside the CUDA_VISIBLE_DEVICES" in done.stderr


def test_a_desktop_takes_memory_and_no_gpu(host: Host) -> None:
    host_pids()
    xorg = FakeGpu(total=24 * GIB, reserved=0, used=800 * MIB, graphics=((os.getpid(), 800 * MIB),))
    host.stub.write([xorg])
    assert host.mgpu("run", host.task("true", gpus=1)).returncode == 0
    done = host.mgpu("run", host.task("true", gpus={"count": 1, "memory": "23.5GiB"}))
    assert done.returncode == 75
    assert "--ignore-foreign" not in done.stderr


def test_a_foreign_process_is_named_and_can_be_ignored(host: Host) -> None:
    host_pids()
    with subprocess.Popen(["sleep", "100"]) as other:
        host.stub.write([FakeGpu(used=GIB, processes=((other.pid, GIB),))])
        refused = host.mgpu("run", host.task("true", gpus=1))
        ignored = host.mgpu("run", "--ignore-foreign", host.task("true", gpus=1))
        other.kill()
    assert refused.returncode == 75
    assert f"GPU 0 is in use by sleep (pid {other.pid})" in refused.stderr
    assert "--ignore-foreign" in refused.stderr
    assert ignored.returncode == 0


def test_a_process_of_a_run_is_told_by_the_name_of_the_run(host: Host) -> None:
    """It has gone where it was not sent, so there is no lease; and it is not foreign, so it is not ignored."""
    host_pids()
    host.mgpu("run", "--detach", host.task("sleep 100 & echo $! > pid; wait", "stray", gpus=0))
    pid = int(eventually(lambda: (host.folder / "pid").exists() and (host.folder / "pid").read_text(), "it runs"))
    host.stub.write([FakeGpu(used=GIB, processes=((pid, GIB),))])
    for words in ([], ["--ignore-foreign"]):
        refused = host.mgpu("run", *words, host.task("true", "next", gpus=1))
        assert refused.returncode == 75
        assert "GPU 0 is in use by run stray-" in refused.stderr
        assert f"(pid {pid})" in refused.stderr
        assert "--ignore-foreign" not in refused.stderr
    assert host.mgpu("stop", "stray").returncode == 0


@pytest.mark.parametrize(("used", "code"), [(0, 0), (300 * MIB, 0), (512 * MIB, 0), (513 * MIB, 75), (3 * GIB, 75)])
def test_memory_blocks_where_a_container_hides_who_has_it(host: Host, used: int, code: int) -> None:
    host.stub.write([FakeGpu(used=used)])
    spec = host.task(SEEN, gpus=1)
    done = inside(host, "", "run", spec)
    assert (done.returncode, done.stdout) == (code, f"{uuid(0)}\n" if code == 0 else ""), done.stderr
    if code:
        assert f"GPU 0 has {used / GIB:.1f} GiB in use by something outside this container" in done.stderr
        assert "--ignore-foreign" in done.stderr
        assert inside(host, "", "run", "--ignore-foreign", spec).returncode == 0


def test_memory_alone_never_blocks_outside(host: Host) -> None:
    host_pids()
    host.stub.write([FakeGpu(used=3 * GIB)])
    assert host.mgpu("run", host.task("true", gpus=1)).returncode == 0


def test_a_second_gpu_is_taken_where_others_use_the_first(host: Host) -> None:
    host.stub.write([FakeGpu(used=3 * GIB), FakeGpu()])
    assert inside(host, "", "run", host.task(SEEN, gpus=1)).stdout == f"{uuid(1)}\n"


def test_a_lease_explains_the_memory_of_its_gpu(host: Host) -> None:
    """Inside a container a run's own memory is not put down to others: its holder is told, and waiting helps."""
    host.stub.write([FakeGpu(used=3 * GIB)])
    first = host.task("exec sleep 100", "first", gpus=1)
    start = " ".join([*MGPU, "run", "--detach", "--ignore-foreign", str(first)])
    done = inside(host, start, "run", "--ignore-foreign", host.task("true", "second", gpus=1))
    assert done.returncode == 75
    assert "GPU 0 is held by run first " in done.stderr
    assert "outside this container" not in done.stderr


@pytest.mark.parametrize(("memory", "words"), [
    (3 * GIB, "GPU 0 has 3.0 GiB in use by something outside this container"),
    (300 * MIB, "GPU 0 is in use by a process outside this container"),
])  # fmt: skip
def test_a_number_of_the_host_s_is_no_process_of_the_container(host: Host, memory: int, words: str) -> None:
    """NVML lists the number that a stranger has on the host; here a process of a run has the same."""
    host.stub.write([FakeGpu(used=memory)])
    script = f'MGPU_RUN=innocent-1 sleep 100 & echo "process $! {memory}" >> nvml.conf'
    done = inside(host, script, "run", host.task("true", gpus=1))
    assert done.returncode == 75
    assert words in done.stderr
    assert "innocent" not in done.stderr
    assert "pid" not in done.stderr
    assert inside(host, script, "run", "--ignore-foreign", host.task("true", gpus=1)).returncode == 0


@pytest.mark.parametrize(("mark", "used", "words"), [
    ("", 3 * GIB, "GPU 0 is in use by sleep (pid "),
    ("MGPU_RUN=stray-1", 3 * GIB, "GPU 0 is in use by run stray-1 (pid "),
])  # fmt: skip
def test_what_has_the_driver_open_is_a_process_of_the_container(host: Host, mark: str, used: int, words: str) -> None:
    host.stub.write([FakeGpu(used=used)])
    script = f'{DRIVER}\n{mark} sleep 100 9< /dev/nvidia0 & echo "process $! {used}" >> nvml.conf'
    done = inside(host, script, "run", host.task("true", gpus=1))
    assert (done.returncode, words in done.stderr) == (75, True), done.stderr
    assert "outside this container" not in done.stderr


def test_the_machine_of_a_container_can_be_written_down(host: Host) -> None:
    host.stub.write([FakeGpu(used=3 * GIB)])
    box = host.folder / "box.yaml"
    box.write_text(inside(host, "", "machine", "--yaml").stdout)
    assert "  unexplained: 3GiB\n" in box.read_text()
    assert "has 3.0 GiB in use by something outside this container" in host.mgpu("machine", "--machine", box).stdout
    if on_host():
        assert "unexplained" not in host.mgpu("machine", "--yaml").stdout

"""What the driver can do to a host, each with its stated outcome: in `machine`, in `run`, and in `doctor`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.end_to_end.host import Host
from tests.fakes.nvml import DRIVER_NOT_LOADED, LOST, MIB, UNKNOWN, FakeGpu, uuid
from tests.require import host_pids

STRANGER = 2**22 + 5
"""A process that is not to be seen from here, as one of another container's is not."""


class Fault(NamedTuple):
    """The cards of a host and the error of NVML's start; what `machine` says, how many are free for jobs, and which
    check finds it, with which verdict and words."""

    cards: Sequence[FakeGpu]
    machine: str
    free: int
    check: str
    verdict: str
    words: str
    init: int = 0


ONE = FakeGpu()
FAULTS = {
    "lost": Fault([replace(ONE, handle=LOST), ONE], "lost: it fell off the bus", 1,
                  "answering", "broken", "GPU 0 is lost"),
    "unknown error": Fault([replace(ONE, handle=UNKNOWN), ONE], "does not answer: Unknown Error", 1,
                           "answering", "broken", "GPU 0 does not answer: Unknown Error"),
    "driver gone": Fault([ONE, ONE], "installed but not loaded", 0,
                         "nvml", "broken", "not loaded", DRIVER_NOT_LOADED),
    "mig on": Fault([replace(ONE, mig=1), ONE], "split by MIG", 1,
                    "mig", "warning", "GPU 0: split by MIG"),
    "foreign process": Fault([replace(ONE, used=900 * MIB, processes=((STRANGER, 900 * MIB),)), ONE],
                             "in use by a process", 1, "used", "warning", "GPU 0 is in use by a process"),
    "memory stays held": Fault([replace(ONE, used=9000 * MIB), ONE], "", 2,
                               "used", "warning", "GPU 0 has 8.8 GiB in use that no process has"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_driver(tmp_path: Path, name: str) -> None:
    fault, host = FAULTS[name], Host(tmp_path)
    if fault.check == "used":
        host_pids()
    host.stub.write(fault.cards, init=fault.init)
    said = host.mgpu("machine")
    assert (said.returncode, fault.machine in said.stdout, "Traceback" in said.stderr) == (0, True, False), said.stdout
    assert said.stdout.count("  free") == fault.free
    ran = host.mgpu("run", host.task("echo on=$CUDA_VISIBLE_DEVICES", gpus=1))
    given = f"on={uuid(2 - fault.free)}\n" if fault.free else ""
    assert (ran.returncode, ran.stdout) == (0 if fault.free else 1, given), ran.stderr
    found = host.mgpu("doctor", fault.check, "--json")
    (row,) = [each for each in json.loads(found.stdout)["checks"] if each["group"] in ("gpus", "driver")]
    assert (row["verdict"], fault.words in row["evidence"]) == (fault.verdict, True), row
    assert row["mend"]
    assert found.returncode == (1 if fault.verdict == "broken" else 0)


def test_another_order_after_a_reboot_moves_no_lease_and_no_name(tmp_path: Path) -> None:
    host = Host(tmp_path)
    cards = [FakeGpu(uuid=uuid(7), name="NVIDIA L4", total=23034 * MIB), FakeGpu(uuid=uuid(8))]
    host.stub.write(cards)
    spec = host.task("exec sleep 100", gpus={"ids": [uuid(7)]})
    assert host.mgpu("run", "--detach", spec).returncode == 0
    try:
        host.stub.write(cards[::-1])
        machine = json.loads(host.mgpu("machine", "--json").stdout)
        assert [(gpu["uuid"], "holder" in gpu) for gpu in machine["gpus"]] == [(uuid(8), False), (uuid(7), True)]
        found = host.mgpu("doctor", "leases", "answering", "mask", "--json", CUDA_VISIBLE_DEVICES="0")
        rows = {row["name"]: row for row in json.loads(found.stdout)["checks"]}
        assert found.returncode == 0
        assert rows["locks"]["evidence"] == "1 held, each by a run that is known"
        assert "another card after a reboot" in rows["mask"]["evidence"]
    finally:
        host.mgpu("stop", "--now", "job")

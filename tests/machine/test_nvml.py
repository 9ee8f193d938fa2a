"""GPUs read through a libnvidia-ml.so.1 (the stub), a process for each reading: what is there, not there, or broken."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mgpu.catalog.gpus import usable
from mgpu.machine.occupants import on_host
from mgpu.values.machine import Gpu, Process
from tests.fakes.nvml import DRIVER_NOT_LOADED, LOST, MIB, MISMATCH, UNKNOWN, FakeGpu, Stub, bus, no_nvml, uuid
from tests.machine.reading import machine, mgpu
from tests.require import host_pids

TWO = (FakeGpu(), FakeGpu())
NOT_SUPPORTED, NO_PERMISSION = 3, 4


def test_all_that_nvml_says_of_a_gpu(nvml: Stub) -> None:
    nvml.write([FakeGpu(used=1000 * MIB, numa=1, utilization=37, temperature=66, power=310_500, pcie_width=8)])
    assert machine(nvml).gpus == (
        Gpu(
            index=0,
            name="NVIDIA H100 80GB HBM3",
            memory=81090 * MIB,
            free=80090 * MIB,
            uuid=uuid(0),
            bus_id=bus(0),
            product="h100-sxm",
            compute_capability=(9, 0),
            numa=1,
            mig=False,
            unexplained=None if on_host() else 1000 * MIB,
            utilization=37,
            temperature=66,
            power=310.5,
            pcie_generation=5,
            pcie_width=8,
        ),
    )


def test_the_driver_and_its_cuda(nvml: Stub) -> None:
    nvml.write(TWO, driver="580.159.04", cuda=13000)
    read = machine(nvml)
    assert (read.driver, read.cuda, read.notes) == ("580.159.04", "13.0", ())


def test_an_old_driver_does_not_tell_its_own_share(nvml: Stub) -> None:
    nvml.write([FakeGpu(memory_version=1, used=1000 * MIB)])
    (gpu,) = machine(nvml).gpus
    assert gpu.memory == usable(81559 * MIB)
    assert gpu.free == (81559 - 469 - 1000) * MIB


def test_what_a_card_does_not_support_is_unknown_and_no_more(nvml: Stub) -> None:
    silent = dict.fromkeys(("numa", "mig", "utilization", "temperature", "power", "pcie_width"))
    nvml.write([replace(FakeGpu(name="NVIDIA Odd 1"), **silent, cc_major=-1)])  # type: ignore[arg-type]
    (gpu,) = machine(nvml).gpus
    assert (gpu.numa, gpu.mig, gpu.utilization, gpu.temperature, gpu.power, gpu.pcie_width) == (None,) * 6
    assert (gpu.product, gpu.compute_capability, gpu.fault) == (None, None, None)
    assert (gpu.name, gpu.memory) == ("NVIDIA Odd 1", 81090 * MIB)


def test_a_card_of_unknown_memory_has_a_fault(nvml: Stub) -> None:
    nvml.write([FakeGpu(total=None), FakeGpu()])
    first, second = machine(nvml).gpus
    assert (first.memory, first.fault) == (0, "does not answer: Not Supported")
    assert second.fault is None


@pytest.mark.parametrize("broken", [FakeGpu(handle=LOST), FakeGpu(calls=LOST)], ids=["no handle", "no answer"])
def test_a_lost_gpu_is_there_and_leaves_the_others_alone(nvml: Stub, broken: FakeGpu) -> None:
    nvml.write([FakeGpu(), broken, FakeGpu()])
    read = machine(nvml)
    assert [gpu.index for gpu in read.gpus] == [0, 1, 2]
    assert [gpu.fault for gpu in read.gpus] == [None, "is lost: it fell off the bus", None]
    assert [gpu.uuid for gpu in read.gpus] == [uuid(0), None, uuid(2)]
    assert read.notes == ("GPU 1 is lost: the kernel log says why (dmesg, Xid), and only a reboot brings it back",)


def test_any_other_error_is_a_fault_in_nvmls_words(nvml: Stub) -> None:
    nvml.write([FakeGpu(handle=UNKNOWN), FakeGpu(calls=NO_PERMISSION)])
    faults = [gpu.fault for gpu in machine(nvml).gpus]
    assert faults == ["does not answer: Unknown Error", "does not answer: Insufficient Permissions"]


@pytest.mark.parametrize(
    ("worn", "fault"),
    [
        (FakeGpu(remapped=(0, 2, 0, 0)), None),
        (FakeGpu(remapped=(0, 2, 1, 0)), "has broken memory that a reset would replace"),
        (FakeGpu(remapped=(0, 2, 0, 1)), "has memory rows that could not be replaced"),
        (FakeGpu(retired=1), "has broken memory that a reset would replace"),
        (FakeGpu(retired=0), None),
    ],
)
def test_worn_memory(nvml: Stub, worn: FakeGpu, fault: str | None) -> None:
    nvml.write([worn])
    said = machine(nvml).gpus[0].fault
    assert (said or "").startswith(fault or "")
    assert (said is None) == (fault is None)


def test_uncorrected_errors_are_worth_a_note(nvml: Stub) -> None:
    nvml.write([FakeGpu(ecc=0), FakeGpu(ecc=3)])
    read = machine(nvml)
    assert read.notes == ("GPU 1 has had 3 uncorrected memory errors since the driver was loaded",)
    assert [gpu.fault for gpu in read.gpus] == [None, None]


def test_mig(nvml: Stub) -> None:
    nvml.write([FakeGpu(mig=1), FakeGpu(mig=0)])
    assert [gpu.mig for gpu in machine(nvml).gpus] == [True, False]


def test_gpus_are_counted_in_the_order_of_their_bus_ids(nvml: Stub) -> None:
    nvml.write([FakeGpu(bus=bus(9)), FakeGpu(handle=LOST), FakeGpu(bus=bus(2)), FakeGpu(bus=bus(5))])
    assert [(gpu.index, gpu.uuid) for gpu in machine(nvml).gpus] == [
        (0, uuid(2)),
        (1, None),
        (2, uuid(3)),
        (3, uuid(0)),
    ]


def test_after_a_reboot_in_another_order_the_uuid_is_still_the_same_card(nvml: Stub) -> None:
    cards = [FakeGpu(uuid=uuid(7), name="NVIDIA L4", total=23034 * MIB), FakeGpu(uuid=uuid(8))]
    nvml.write(cards)
    before = {gpu.uuid: (gpu.name, gpu.index) for gpu in machine(nvml).gpus}
    nvml.write(reversed(cards))
    after = {gpu.uuid: (gpu.name, gpu.index) for gpu in machine(nvml).gpus}
    assert before == {uuid(7): ("NVIDIA L4", 0), uuid(8): ("NVIDIA H100 80GB HBM3", 1)}
    assert after == {uuid(7): ("NVIDIA L4", 1), uuid(8): ("NVIDIA H100 80GB HBM3", 0)}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DRIVER_NOT_LOADED, "not loaded: run modprobe nvidia"),
        (MISMATCH, "was updated while it was loaded: reboot"),
        (UNKNOWN, "Unknown Error: a container loses its GPUs"),
        (NO_PERMISSION, "/dev/nvidiactl"),
        (NOT_SUPPORTED, "does not answer: Not Supported"),
    ],
)
def test_a_driver_that_does_not_start_is_a_note(nvml: Stub, error: int, words: str) -> None:
    nvml.write(TWO, init=error)
    read = machine(nvml)
    assert (read.gpus, read.links, read.driver) == ((), (), None)
    assert words in read.notes[0]


def test_no_library_is_a_note(nvml: Stub) -> None:
    nvml.env = no_nvml(nvml.file.parent)
    read = machine(nvml)
    assert read.gpus == ()
    assert "libnvidia-ml.so.1) is installed here: no GPU can be used" in read.notes[0]


def test_a_driver_without_a_gpu(nvml: Stub) -> None:
    read = machine(nvml)
    assert (read.gpus, read.driver) == ((), "550.90.07")
    assert read.notes == ("the NVIDIA driver is loaded and finds no GPU: lspci shows whether there is one",)


@pytest.fixture
def sleeper(request: pytest.FixtureRequest) -> Iterator[int]:
    """The pid of a process that sleeps, started with the words and variables of the test's parameter."""
    host_pids()
    words, env = request.param
    child = subprocess.Popen(words, env={**os.environ, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.read(1)
    yield child.pid
    child.communicate()


WAIT = "print(end='!', flush=True); input()"
SLEEPER = pytest.mark.parametrize("sleeper", [([sys.executable, "-c", WAIT], {})], indirect=True)
OURS = pytest.mark.parametrize("sleeper", [([sys.executable, "-c", WAIT], {"MGPU_RUN": "r-17"})], indirect=True)


@SLEEPER
def test_a_foreign_process(nvml: Stub, sleeper: int) -> None:
    nvml.write([FakeGpu(used=5 * MIB, processes=((sleeper, 5 * MIB),)), FakeGpu()])
    first, second = machine(nvml).gpus
    (process,) = first.processes
    assert (process.pid, process.memory, process.run) == (sleeper, 5 * MIB, None)
    assert (process.name or "").startswith("python")
    assert "input" not in (process.name or "")
    assert second.processes == ()


@OURS
def test_a_process_of_a_run_names_it(nvml: Stub, sleeper: int) -> None:
    nvml.write([FakeGpu(processes=((sleeper, 5 * MIB),))])
    assert machine(nvml).gpus[0].processes[0].run == "r-17"


def test_a_process_that_cannot_be_seen_has_no_name(nvml: Stub) -> None:
    host_pids()
    nvml.write([FakeGpu(processes=((2**22 + 5, 7 * MIB), (2**22 + 1, 9 * MIB)))])
    assert machine(nvml).gpus[0].processes == (Process(2**22 + 1, None, 9 * MIB), Process(2**22 + 5, None, 7 * MIB))


def test_what_changes_is_seen_by_a_process_that_runs_already(nvml: Stub) -> None:
    code = "from mgpu.machine import nvml\nfor _ in range(2):\n print(nvml.read().gpus[0].free, flush=True); input()"
    env = {**os.environ, **nvml.write([FakeGpu()]).env}
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdin=-1, stdout=-1, text=True) as reader:
        assert reader.stdin
        assert reader.stdout
        assert int(reader.stdout.readline()) == 81090 * MIB
        nvml.write([FakeGpu(used=90 * MIB)])
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert int(reader.stdout.readline()) == 81000 * MIB
        reader.stdin.write("\n")


def test_nothing_is_said_on_stderr_where_there_is_nothing(nvml: Stub) -> None:
    assert "no GPU" in mgpu(env=no_nvml(nvml.file.parent))

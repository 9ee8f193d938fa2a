"""What the driver reports of a GPU in the kernel's log is a cause where it is the card's own, and of that run."""

from __future__ import annotations

import pytest

from mgpu.run.reported import gravest

CARDS = {"17:00": 0, "65:00": 2}
LOST = (
    "4,1187,{at}000000,-;NVRM: Xid (PCI:0000:65:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
)
FAULT = (
    "4,1188,{at}000000,-;NVRM: Xid (PCI:0000:17:00): 31, pid=3172, name=python3, Ch 00000008, intr 00000000. MMU Fault"
)
DOUBLE = (
    "4,1189,{at}000000,-;NVRM: Xid (PCI:0000:17:00): 48, pid=3172, An uncorrectable double bit error (DBE) has occurred"
)
"""As they stand in /dev/kmsg, driver 535 to 580 (NVIDIA/open-gpu-kernel-modules issues)."""


def told(*lines: str, at: int = 150) -> str | None:
    cause = gravest([line.format(at=at) for line in lines], CARDS, 100.0, 200.0)
    return cause and cause.cause


def test_a_card_s_own_error_is_the_cause() -> None:
    cause = gravest([FAULT.format(at=120), LOST.format(at=150)], CARDS, 100.0, 200.0)
    assert cause
    assert (cause.id, cause.short, cause.lasting) == ("xid-79", "GPU 2: Xid 79", True)
    assert cause.cause.startswith("GPU 2 failed while the job ran: Xid 79, ")
    assert "reboot" in cause.hint
    assert cause.evidence[0].startswith("NVRM: Xid (PCI:0000:65:00): 79")


def test_the_gravest_is_told_first() -> None:
    assert "GPU 2" in (told(DOUBLE, LOST) or "")
    assert "Xid 48" in (told(FAULT, DOUBLE) or "")
    cause = gravest([DOUBLE.format(at=150)], CARDS, 100.0, 200.0)
    assert cause
    assert "nvidia-smi --gpu-reset -i 0" in cause.hint


@pytest.mark.parametrize(("line", "at"), [(FAULT, 150), (LOST, 90), (LOST, 210), (LOST.replace("65:00", "99:00"), 150)])
def test_a_job_s_own_fault_another_time_or_card_is_none(line: str, at: int) -> None:
    assert told(line, at=at) is None


def test_a_line_without_a_time_is_of_no_run() -> None:
    assert gravest(["Nov 24 host kernel: NVRM: Xid (PCI:0000:65:00): 79, GPU has fallen off"], CARDS, 0, 1e9) is None

"""The checks of `doctor` that read the host: a module a group, and the tuple CHECKS that is their registry."""

from mgpu.machine.checks import cards, containers, disks, driver, joints, processor, programs
from mgpu.machine.checks.finding import Check

CHECKS: tuple[Check, ...] = (
    *driver.CHECKS,
    *cards.CHECKS,
    *joints.CHECKS,
    *containers.CHECKS,
    *processor.CHECKS,
    *disks.CHECKS,
    *programs.CHECKS,
)

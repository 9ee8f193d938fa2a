"""Spec and Machine in, Plan out: which job runs where, with which GPUs, ports and layout, and why."""

from mgpu.plan.place import place

__all__ = ["place"]

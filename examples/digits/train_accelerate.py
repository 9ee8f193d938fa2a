"""Train a small network on scikit-learn's handwritten digits with accelerate; print its test accuracy.

The launcher's flags and config file say how many ranks there are and how they work together: accelerate takes that from
the environment, and chooses the device and the backend, NCCL on GPUs, gloo on the CPU.
"""

from __future__ import annotations

import argparse

import torch
from accelerate import Accelerator
from digits import Learner, network, run
from torch import nn


def start(options: argparse.Namespace) -> Learner:
    """Meet the other ranks. The batches are not prepared: every rank takes its own shard of the data already."""
    accelerator = Accelerator()
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    model, optimizer = accelerator.prepare(model, optimizer)

    def step(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        return loss

    return Learner(model, accelerator.device, step)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=0.005)
    run(start, parser)

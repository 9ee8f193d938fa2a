"""Train a small network on scikit-learn's handwritten digits with DistributedDataParallel; print its test accuracy.

Every rank trains on its own shard and counts its own part of the test set. NCCL where each local rank has a GPU, else
gloo on the CPU.
"""

from __future__ import annotations

import argparse
import os

import torch
import torch.distributed as dist
from digits import Learner, network, run
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def choose_device() -> tuple[str, torch.device]:
    """The backend and the device of this rank."""
    if torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"]):
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        return "nccl", device
    return "gloo", torch.device("cpu")


def start(options: argparse.Namespace) -> Learner:
    """Meet the other ranks, and average the gradients with theirs at every step."""
    backend, device = choose_device()
    dist.init_process_group(backend)
    model = DistributedDataParallel(network().to(device))
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)

    def step(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return Learner(model, device, step)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=0.005)
    run(start, parser)

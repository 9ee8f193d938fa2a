"""What every training of the handwritten digits shares: the data, the network, the passes over it, and the accuracy.

Each launcher's own part, how ranks meet and how a batch is learnt from, is in train.py, train_deepspeed.py and
train_accelerate.py. The data ships inside scikit-learn: nothing is downloaded.
"""

from __future__ import annotations

import argparse
import gc
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


class Learner(NamedTuple):
    """A network on this rank's device; `step` learns from a batch (images, labels) and gives its loss."""

    model: nn.Module
    device: torch.device
    step: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def digits(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """1,797 images of 8 x 8 pixels in 0..1 and their digits, four fifths to train on and one fifth held out."""
    images, labels = load_digits(return_X_y=True)
    split = train_test_split(images / 16.0, labels, test_size=0.2, random_state=seed, stratify=labels)
    train_x, test_x = (torch.tensor(part, dtype=torch.float32).view(-1, 1, 8, 8) for part in split[:2])
    train_y, test_y = (torch.tensor(part, dtype=torch.int64) for part in split[2:])
    return TensorDataset(train_x, train_y), TensorDataset(test_x, test_y)


def network() -> nn.Module:
    """Two convolutions and a linear layer: (batch, 1, 8, 8) to (batch, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )


def place() -> tuple[int, int]:
    """This process's rank, and how many there are: one that nothing was said to is alone."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def summed(part: torch.Tensor) -> torch.Tensor:
    """The sum of what each rank has."""
    if dist.is_initialized():
        dist.all_reduce(part)
    return part


def train_epoch(learner: Learner, batches: DataLoader) -> float:
    """One pass over this rank's shard; the mean loss over all ranks."""
    total = torch.zeros(2, device=learner.device)
    for images, labels in batches:
        loss = learner.step(images.to(learner.device), labels.to(learner.device))
        total += torch.stack([loss.detach(), torch.ones_like(loss)])
    loss_sum, steps = summed(total)
    return float(loss_sum / steps)


@torch.no_grad()
def accuracy(learner: Learner, test: TensorDataset) -> float:
    """The share of the test set, in percent, that is read right: each rank counts every n-th image once."""
    rank, ranks = place()
    images, labels = (part[rank::ranks].to(learner.device) for part in test.tensors)
    right = (learner.model(images).argmax(dim=1) == labels).sum()
    return 100.0 * int(summed(right)) / len(test)


def train(learner: Learner, options: argparse.Namespace) -> float:
    """Train, with the loss of each epoch printed by rank 0; the test accuracy in percent."""
    rank, ranks = place()
    data, test = digits(options.seed)
    shard = DistributedSampler(data, ranks, rank, seed=options.seed)
    batches = DataLoader(data, batch_size=options.batch_size, sampler=shard)
    if rank == 0:
        where = f"{dist.get_backend() if dist.is_initialized() else 'alone'} on {learner.device.type}"
        print(f"ranks: {ranks}, {where}, {len(shard)} of {len(data)} images each", flush=True)
    for epoch in range(1, options.epochs + 1):
        shard.set_epoch(epoch)
        loss = train_epoch(learner, batches)
        if rank == 0:
            print(f"epoch {epoch:2}: loss {loss:.4f}", flush=True)
        if not math.isfinite(loss):
            raise SystemExit(f"the loss is {loss}: lower the learning rate")
    return accuracy(learner, test)


def run(start: Callable[[argparse.Namespace], Learner], parser: argparse.ArgumentParser) -> None:
    """Parse the options, train what `start` makes of them once the ranks have met, and fail where the accuracy stays
    under what was asked for."""
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=32, help="images per rank and step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-least", type=float, default=95.0, help="the test accuracy to reach, in percent")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    try:
        percent = train(start(options), options)
        if place()[0] == 0:
            print(f"test accuracy: {percent:.1f} %", flush=True)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
            gc.collect()  # the model's cycles hold the group, and its threads must end before the interpreter does
    if not percent > options.at_least:
        raise SystemExit(f"{percent:.1f} % is not above {options.at_least:.1f} %")

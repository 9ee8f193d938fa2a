"""Train a small network on scikit-learn's handwritten digits with DistributedDataParallel; print its test accuracy.

Every rank trains on its own shard and counts its own part of the test set. NCCL where each local rank has a GPU, else
gloo on the CPU. The data ships inside scikit-learn: nothing is downloaded.
"""

from __future__ import annotations

import argparse
import gc
import math
import os

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


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


def train_epoch(model: nn.Module, batches: DataLoader, optimizer: torch.optim.Optimizer, device: torch.device) -> float:
    """One pass over this rank's shard; the mean loss over all ranks."""
    total = torch.zeros(2, device=device)
    for images, labels in batches:
        loss = nn.functional.cross_entropy(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += torch.stack([loss.detach(), torch.ones_like(loss)])
    dist.all_reduce(total)
    return float(total[0] / total[1])


@torch.no_grad()
def accuracy(model: nn.Module, test: TensorDataset, device: torch.device) -> float:
    """The share of the test set, in percent, that is read right: each rank counts every n-th image once."""
    images, labels = (part[dist.get_rank() :: dist.get_world_size()].to(device) for part in test.tensors)
    right = (model(images).argmax(dim=1) == labels).sum()
    dist.all_reduce(right)
    return 100.0 * int(right) / len(test)


def choose_device() -> tuple[str, torch.device]:
    """The backend and the device of this rank."""
    if torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"]):
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        return "nccl", device
    return "gloo", torch.device("cpu")


def train(options: argparse.Namespace) -> float:
    """Train, with the loss of each epoch printed by rank 0; the test accuracy in percent."""
    backend, device = choose_device()
    dist.init_process_group(backend)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(options.seed)
    data, test = digits(options.seed)
    shard = DistributedSampler(data, ranks, rank, seed=options.seed)
    batches = DataLoader(data, batch_size=options.batch_size, sampler=shard)
    model = DistributedDataParallel(network().to(device))
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    if rank == 0:
        print(f"ranks: {ranks}, {backend} on {device.type}, {len(shard)} of {len(data)} images each", flush=True)
    for epoch in range(1, options.epochs + 1):
        shard.set_epoch(epoch)
        loss = train_epoch(model, batches, optimizer, device)
        if rank == 0:
            print(f"epoch {epoch:2}: loss {loss:.4f}", flush=True)
        if not math.isfinite(loss):
            raise SystemExit(f"the loss is {loss}: lower --lr")
    return accuracy(model, test, device)


def main() -> None:
    """Parse the options, train, and fail where the accuracy stays under what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--batch-size", type=int, default=32, help="images per rank and step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-least", type=float, default=95.0, help="the test accuracy to reach, in percent")
    options = parser.parse_args()
    try:
        percent = train(options)
        if dist.get_rank() == 0:
            print(f"test accuracy: {percent:.1f} %", flush=True)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
            gc.collect()  # the model's cycles hold the group, and its threads must end before the interpreter does
    if not percent > options.at_least:
        raise SystemExit(f"{percent:.1f} % is not above {options.at_least:.1f} %")


if __name__ == "__main__":
    main()

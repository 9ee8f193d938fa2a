"""Train a small network on scikit-learn's handwritten digits with DeepSpeed; print its test accuracy.

Optimizer, batch size and what ranks share are in the config file. DeepSpeed chooses the device and the backend: NCCL on
GPUs, gloo on the CPU.
"""

from __future__ import annotations

import argparse

import deepspeed
import torch
from digits import Learner, network, run
from torch import nn


def start(options: argparse.Namespace) -> Learner:
    """Meet the other ranks, and learn as the config says."""
    model = network()
    engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=options.deepspeed_config)
    options.batch_size = engine.train_micro_batch_size_per_gpu()

    def step(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(engine(images), labels)
        engine.backward(loss)
        engine.step()
        return loss

    return Learner(engine, engine.device, step)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deepspeed_config", required=True, help="DeepSpeed's JSON")
    run(start, parser)

"""A recipe and a model's id in, what a real training of it takes on this GPU out, as a line of JSON.

It needs torch and transformers, and no network: weights are random, from the sizes in mgpu's own catalogue. Started by
torchrun it trains with DistributedDataParallel, by accelerate launch with Accelerator, by itself with neither.
``--tiny`` makes the model small enough for a CPU, to see that it starts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from pathlib import Path

import torch
import transformers
from torch import nn

MODELS = Path(__file__).resolve().parents[2] / "mgpu" / "catalog" / "models.json"
ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 256}
TINY |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}


class Adapted(nn.Module):
    """A frozen linear layer with a LoRA beside it as peft has it: the adapter in fp32, and its input cast to that."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        where = base.weight.device
        self.down = nn.Linear(base.in_features, rank, bias=False, device=where, dtype=torch.float32)
        self.up = nn.Linear(rank, base.out_features, bias=False, device=where, dtype=torch.float32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the layer gives, and what its adapter adds to it."""
        out = self.base(x)
        return out + (self.up(self.down(x.to(self.down.weight.dtype))) * 2.0).to(out.dtype)


def built(name: str, models: Path, tiny: bool, dtype: torch.dtype, device: str) -> nn.Module:
    """The model with random weights."""
    rows = json.loads(models.read_text("utf-8"))["models"]
    sizes = dict(next(row["config"] for row in rows if row["id"] == name))
    family = {"qkv": "Qwen2"}.get(sizes.get("attention_bias"), "Qwen3" if sizes.get("qk_norm") else "Llama")
    known = {key: value for key, value in sizes.items() if key not in ("attention_bias", "qk_norm")}
    config = getattr(transformers, f"{family}Config")(**(known | TINY if tiny else known))
    config._attn_implementation = "sdpa"
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = getattr(transformers, f"{family}ForCausalLM")(config)
    torch.set_default_dtype(torch.float32)
    return model


def adapt(model: nn.Module, rank: int) -> None:
    """Freeze the model, and put an adapter at every linear layer of its blocks."""
    model.requires_grad_(False)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if name in ADAPTED:
                setattr(module, name, Adapted(child, rank))


def wrapped(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The two as the launcher wants them."""
    if "ACCELERATE_MIXED_PRECISION" in os.environ:
        from accelerate import Accelerator

        return Accelerator().prepare(model, optimizer)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        torch.distributed.init_process_group()
        return nn.parallel.DistributedDataParallel(model), optimizer
    return model, optimizer


def train(given: argparse.Namespace, model: nn.Module, device: str) -> None:
    """A few steps on random tokens."""
    if given.recipe == "lora":
        adapt(model, 16)
    if given.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    vocabulary = model.config.vocab_size
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True if given.fused else None)
    model, optimizer = wrapped(model, optimizer)
    amp = torch.autocast(device, torch.bfloat16) if given.recipe == "amp" else contextlib.nullcontext()
    for _ in range(given.steps):
        tokens = torch.randint(0, vocabulary, (given.micro_batch, given.sequence), device=device)
        with amp:
            loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def infer(given: argparse.Namespace, model: nn.Module, device: str) -> None:
    """One prefill, with the logits of the last token."""
    tokens = torch.randint(0, model.config.vocab_size, (given.micro_batch, given.sequence), device=device)
    with torch.no_grad():
        model.eval()(input_ids=tokens, logits_to_keep=1)


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", choices=("amp", "bf16", "lora", "infer"))
    parser.add_argument("--model", default="llama-3.2-1b")
    parser.add_argument("--sequence", type=int, default=2048)
    parser.add_argument("--micro-batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--models", type=Path, default=MODELS)
    for flag in ("checkpointing", "fused", "tiny"):
        parser.add_argument(f"--{flag}", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Run it, and print what it took."""
    given = arguments()
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dtype = torch.float32 if given.recipe == "amp" else torch.bfloat16
    model = built(given.model, given.models, given.tiny, dtype, device)
    found = {"params": sum(parameter.numel() for parameter in model.parameters())}
    (infer if given.recipe == "infer" else train)(given, model, device)
    if cuda:
        free, total = torch.cuda.mem_get_info()
        found |= {
            "peak_allocated": torch.cuda.max_memory_allocated(),
            "peak_reserved": torch.cuda.max_memory_reserved(),
        }
        found |= {"outside": total - free - torch.cuda.memory_reserved(), "gpu": torch.cuda.get_device_name()}
    print(json.dumps({**vars(given), "models": None, **found}), flush=True)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()

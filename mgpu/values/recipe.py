"""How a model is trained, as far as that decides what the training takes of a GPU's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal["full", "lora", "qlora"]
Precision = Literal["fp32", "amp", "bf16"]
"""fp32: everything; amp: weights in fp32 and a 16-bit autocast, or DeepSpeed's 16-bit weights with an fp32 master;
bf16: everything in 16 bits, the optimizer's states too."""
Sharding = Literal["none", "ddp", "zero-1", "zero-2", "zero-3", "fsdp", "shard-grad-op"]
Loss = Literal["eager", "chunked", "fused"]
"""How cross-entropy is reckoned: eager upcasts all logits at once (Hugging Face), chunked upcasts them piece by piece
(torchtune), fused makes the logits themselves piece by piece (Liger)."""

MATRICES = ("q", "k", "v", "o", "gate", "up", "down")
"""The matrices of a layer that can have an adapter."""

OPTIMIZERS = (
    "adamw", "adamw-fused", "adamw-8bit", "paged-adamw", "paged-adamw-8bit", "adafactor", "lion", "lion-8bit",
    "sgd", "sgd-momentum",
)  # fmt: skip
METHODS: tuple[Method, ...] = ("full", "lora", "qlora")
PRECISIONS: tuple[Precision, ...] = ("fp32", "amp", "bf16")
SHARDINGS: tuple[Sharding, ...] = ("none", "ddp", "zero-1", "zero-2", "zero-3", "fsdp", "shard-grad-op")
LOSSES: tuple[Loss, ...] = ("eager", "chunked", "fused")
ATTENTIONS = ("flash", "eager")


@dataclass(frozen=True)
class Recipe:
    """A training. `micro_batch` samples of `sequence` tokens are on a GPU at once. `adapted` are the matrices of each
    layer that get an adapter of `lora_rank`, in fp32 as peft has them (`adapters_in_fp32`). `offload_optimizer` and
    `offload_parameters` put these into the host's memory. `backward_step`: the optimizer steps within the backward
    pass, so few gradients are ever alive; `accumulation`: batches between two steps. `bucket` is how many elements a
    bucket of ZeRO holds (deepspeed: 5e8), `overlap` that there are two; `native`: DeepSpeed's engine holds the states,
    in whatever stage. `split_ends`: FSDP shards embedding and head by themselves. `compile`: torch.compile fuses what
    stands between the matrices; `expanded`: keys and values are copied to as many heads as the queries have."""

    method: Method = "full"
    precision: Precision = "amp"
    optimizer: str = "adamw"
    sharding: Sharding = "ddp"
    micro_batch: int = 1
    sequence: int = 2048
    checkpointing: bool = False
    accumulation: int = 1
    lora_rank: int = 16
    adapted: tuple[str, ...] = MATRICES
    offload_optimizer: bool = False
    offload_parameters: bool = False
    loss: Loss = "eager"
    backward_step: bool = False
    compile: bool = False
    expanded: bool = False
    attention: str = "flash"
    bucket: int = 500_000_000
    overlap: bool = True
    native: bool = False
    adapters_in_fp32: bool = True
    split_ends: bool = False

    @property
    def tokens(self) -> int:
        """The tokens of a micro batch."""
        return self.micro_batch * self.sequence

    def __str__(self) -> str:
        """The training in a line: ``lora of rank 16, amp, adamw, ddp, 1 x 2,048 tokens, gradient checkpointing``."""
        words = [
            f"{self.method} of rank {self.lora_rank}" if self.adapters else self.method,
            self.precision,
            self.optimizer + (" in the host's memory" if self.offload_optimizer else ""),
            "no sharding" if self.sharding == "none" else self.sharding,
            f"{self.micro_batch} x {self.sequence:,} tokens",
            f"{'' if self.checkpointing else 'no '}gradient checkpointing",
        ]
        return ", ".join([*words, *([f"{self.loss} loss"] if self.loss != "eager" else [])])

    @property
    def deepspeed(self) -> bool:
        """Whether DeepSpeed holds the states: 16-bit weights, and a master copy in fp32 beside the optimizer."""
        return (self.native or self.sharding.startswith("zero")) and self.precision != "fp32"

    @property
    def stage(self) -> int:
        """The stage of ZeRO that it shards like."""
        return {"zero-1": 1, "zero-2": 2, "zero-3": 3, "fsdp": 3, "shard-grad-op": 2}.get(self.sharding, 0)

    @property
    def adapters(self) -> bool:
        """Whether only adapters are trained."""
        return self.method != "full"

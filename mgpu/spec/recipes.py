"""How a training goes, as specs say it: the shape of `recipe`, with the meaning of every field."""

from __future__ import annotations

from mgpu.spec.scalars import Choice, Flag, Integer
from mgpu.spec.shapes import Array, Key, Record
from mgpu.values.recipe import ATTENTIONS, LOSSES, MATRICES, METHODS, OPTIMIZERS, PRECISIONS, SHARDINGS

RECIPE = Record(
    dict,
    {
        "method": Key(Choice(METHODS), "what is trained: all weights, or adapters of 16- or 4-bit ones"),
        "precision": Key(Choice(PRECISIONS), "amp: fp32 weights and 16-bit computing; bf16: everything in 16 bits"),
        "optimizer": Key(Choice(OPTIMIZERS), "the optimizer: adamw is torch's own as it comes"),
        "sharding": Key(Choice(SHARDINGS), "how ranks share the states"),
        "offload_optimizer": Key(Flag(), "the optimizer's states are in the host's memory"),
        "offload_parameters": Key(Flag(), "the parameters are in the host's memory"),
        "micro_batch": Key(Integer(1, 65536), "samples that a GPU takes at once"),
        "sequence": Key(Integer(1), "tokens of a sample"),
        "accumulation": Key(Integer(1), "batches between two steps of the optimizer"),
        "checkpointing": Key(Flag(), "gradient checkpointing: activations are reckoned anew"),
        "lora_rank": Key(Integer(1, 65536), "the rank of the adapters"),
        "adapted": Key(Array(Choice(MATRICES), 1), "the matrices of a layer that get an adapter"),
        "loss": Key(Choice(LOSSES), "how cross-entropy is reckoned: all logits at once, or piece by piece"),
        "backward_step": Key(Flag(), "the optimizer steps within the backward pass"),
        "compile": Key(Flag(), "torch.compile"),
        "attention": Key(Choice(ATTENTIONS), "eager keeps the scores of all pairs of tokens"),
    },
)

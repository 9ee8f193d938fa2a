"""Parameters, a stage of ZeRO and a number of GPUs in, bytes of model states out, on a GPU and in the host."""

from __future__ import annotations

from typing import Literal

Rule = Literal["paper", "page", "code"]


def zero_states(
    params: float,
    gpus: int,
    stage: int,
    rule: Rule = "paper",
    offload_optimizer: bool = False,
    offload_parameters: bool = False,
    largest_layer: float = 0,
) -> float:
    """Bytes of parameters, gradients and optimizer on each of `gpus` GPUs, mixed precision with Adam.

    paper: 2 + 2 + 12 a parameter, of which stage 1 shares 12, 2 shares 14, 3 shares 16 (arXiv 1910.02054, 3.1).
    code: DeepSpeed 0.19.8's estimators keep gradients in fp32: stage 2 is 2P + 18P/N (estimate_zero2_model_states_mem_
    needs), stage 3 is 18P/N + 4 x the largest layer; with the optimizer offloaded 2P, and 2P/N + 4 x the largest layer;
    with the parameters too only the latter. page: what the documentation prints for stage 2 is 4P + 16P/N, 4P if
    offloaded (docs/code-docs/source/memory.rst).
    """
    if rule == "paper":
        shared = {0: 0, 1: 12, 2: 14, 3: 16}[stage]
        gone = 12 if offload_optimizer else 0
        return (16 - shared) * params + (max(0, shared - gone)) * params / gpus
    if stage == 3:
        if offload_parameters:
            return 4 * largest_layer
        return (2 if offload_optimizer else 18) * params / gpus + 4 * largest_layer
    kept = 4 if rule == "page" else 2
    return kept * params + (0 if offload_optimizer else (20 - kept if rule == "code" else 16) * params / gpus)


def korthikanti(
    sequence: int,
    hidden: int,
    heads: int,
    batch: int = 1,
    tensor: int = 1,
    parallel_sequence: bool = False,
    recompute: Literal["none", "selective", "full"] = "none",
) -> float:
    """Bytes of activations of a layer with Megatron's kernels (arXiv 2205.05198, equations 1, 2, 4 and table 2):
    s b h (34 + 5 a s / h), less where tensor parallelism shares it. Selective recompute and flash attention drop the
    scores (`scores`), full recompute keeps the input alone."""
    block = sequence * batch * hidden
    if recompute == "full":
        return 2 * block
    attention = scores(sequence, hidden, heads) if recompute == "none" else 0.0
    if parallel_sequence:
        return block / tensor * (34 + attention)
    return block * (10 + (24 + attention) / tensor)


def scores(sequence: int, hidden: int, heads: int) -> float:
    """5 a s / h: what the attention's scores take beside the 34 of the rest (arXiv 2205.05198)."""
    return 5 * heads * sequence / hidden


def host_states(
    params: float, gpus: int, stage: int, offload_optimizer: bool, offload_parameters: bool, factor: float = 1.5
) -> float:
    """Bytes in the host's memory, as DeepSpeed 0.19.8's estimators have them (`factor`: their additional buffer):
    copies of the weights while they load, and the states that were offloaded."""
    loading = 4 * params * gpus
    if stage == 3 and offload_optimizer:
        return max(loading, (18 if offload_parameters else 16) * params) * factor
    return (max(loading, 16 * params) if offload_optimizer else loading) * factor

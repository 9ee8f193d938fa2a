"""Commands that engines really take and refuse, asked of their own parsers where those are installed."""

from __future__ import annotations

import pytest

from tests.parsers.oracle import ENGINES, accepts, interpreter, refusals
from tests.require import require

TAKEN = {
    "vllm": [
        "vllm serve m --tensor-parallel-size 2 --max-model-len 8k --no-enable-prefix-caching",
        "python3 -m vllm.entrypoints.openai.api_server --model m --compilation-config.mode 3",
        "m --quantization fp8 --served-model-name a b",
    ],
    "sglang": [
        "sglang serve m --tp-size 2 --mem-fraction-static 0.8",
        "python3 -m sglang.launch_server --model-path m --context-length 8k",
    ],
    "torchrun": [
        "torchrun --standalone --nproc-per-node 2 train.py --lr 1",
        "/usr/bin/python3.11 -m torch.distributed.run --nnodes=1 --nproc_per_node=gpu -m train",
    ],
    "deepspeed": ["deepspeed --include localhost:0,1 --master_port 29501 train.py --deepspeed ds.json"],
    "accelerate": [
        "accelerate launch --multi_gpu --num_processes 2 --mixed_precision bf16 train.py --lr 1",
        "accelerate launch --use_fsdp --fsdp_version 2 --fsdp_reshard_after_forward true train.py",
    ],
    "trl": [
        "trl sft --model_name_or_path m --dataset_name d --output_dir o --bf16 true --num_processes 2",
        "trl dpo --model_name_or_path m --dataset_name d --output_dir o --accelerate_config zero2",
    ],
}
REFUSED = {
    "vllm": {
        "vllm serve m --swap-space 4": "swap-space",
        "vllm serve m --dtype fp16": "fp16",
        "vllm serve m --tensor-parallel-size two": "two",
    },
    "sglang": {
        "sglang serve m --max-model-len 4096": "max-model-len",
        "sglang serve m --quantization nonesuch": "nonesuch",
    },
    "torchrun": {
        "torchrun --num-gpus 2 train.py": "num-gpus",
        "torchrun --nproc-per-node two train.py": "two",
        "torchrun --start-method thread train.py": "thread",
        "torchrun --no-python -m train": "no-python",
    },
    "deepspeed": {
        "deepspeed --num-gpus 2 train.py": "num-gpus",
        "deepspeed --master_port no train.py": "master_port",
    },
    "accelerate": {
        "accelerate launch --num_gpus 2 train.py": "num_gpus",
        "accelerate launch --multi_gpu --use_fsdp train.py": "one of",
        "accelerate launch --mixed_precision fp32 train.py": "fp32",
    },
    "trl": {
        "trl sft --output_dir o --model_name_or_path m --bf16 maybe": "maybe",
        "trl sft --output_dir o --model_name_or_path m --num_gpus 2": "num_gpus",
    },
}


@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_parser_takes_and_what_it_refuses(engine: str) -> None:
    require(engine, interpreter(engine) is not None, "no interpreter has it")
    commands = [*TAKEN[engine], *REFUSED[engine]]
    answers = dict(zip(commands, refusals(engine, [command.split() for command in commands]), strict=True))
    assert not {command: answer for command, answer in answers.items() if command in TAKEN[engine] and answer}
    missed = {command: answer for command, answer in answers.items() if word_of(engine, command) not in (answer or "")}
    assert not missed


def word_of(engine: str, command: str) -> str:
    """The word that the refusal must have; none for a command that is taken."""
    return REFUSED[engine].get(command, "")


def test_one_command_is_asked_alone() -> None:
    require("torchrun", interpreter("torchrun") is not None, "no interpreter has it")
    assert accepts("torchrun", ["torchrun", "--standalone", "train.py"]) is None
    assert "unrecognized" in (accepts("torchrun", ["torchrun", "--num-gpus", "2", "train.py"]) or "")


def test_an_engine_that_is_not_installed_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MGPU_SERVING", raising=False)
    monkeypatch.setitem(ENGINES, "vllm", "no_package_of_this_name")
    with pytest.raises(LookupError, match="vllm"):
        accepts("vllm", ["vllm", "serve", "m"])

"""What the training engines have against a spec: each complaint with its place, and what passes without one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mgpu.catalog.machines import shorthand
from mgpu.errors import SpecError
from mgpu.plan.place import place
from mgpu.spec.check import check
from mgpu.spec.document import read

MICRO = {"train_micro_batch_size_per_gpu": 4}
QWEN = {"base_model": "m", "datasets": [{"path": "d"}]}
LORA = {"pretrained_model_name_or_path": "m", "max_train_epochs": 3}
FACTORY = {"model_name_or_path": "m", "output_dir": "o", "do_train": True}


def told(engine: str, machine: str = "8xh100-sxm", **keys: Any) -> list[str]:
    """What is said of a job on two GPUs of the machine: the place with dots, and a warning in brackets."""
    defaults = {} if engine in ("axolotl", "llamafactory", "trl") else {"script": "train.py"}
    data = {"kind": "training", "name": "job", "engine": engine, "gpus": 2, "runtime": "process", **defaults, **keys}
    document = read("job.yaml", json.dumps(data, indent=1))
    try:
        spec = check(document)
        found = [(problem, "({})") for problem in (*spec.warnings, *place(spec, shorthand(machine)).warnings)]
    except SpecError as error:
        found = [(problem, "{}") for problem in error.problems]
    return [form.format(problem.message) for problem, form in found]


def assert_told(messages: list[str], said: str | None) -> None:
    """The first message has these words, or there is none."""
    assert said in messages[0] if said and messages else said is None and not messages, messages


@pytest.mark.parametrize(("config", "gpus", "said"), [
    ({"train_batch_size": 32, **MICRO}, 2, None),
    ({"train_batch_size": 32}, 2, None),
    ({"train_batch_size": 32, "gradient_accumulation_steps": 4, **MICRO}, 2, None),
    ({"train_batch_size": 32, "gradient_accumulation_steps": 2, **MICRO}, 2, "is 16"),
    ({"train_batch_size": 33}, 2, "2 ranks do not divide it"),
    ({"train_batch_size": 12, "gradient_accumulation_steps": 8}, 2, "which does not divide it"),
    ({"train_batch_size": 32, **MICRO}, "all", None),
    ({"train_batch_size": 48, **MICRO}, "all", "8 ranks is 32, which does not divide it"),
    ({"train_batch_size": 32, "gradient_accumulation_steps": 4, "sequence_parallel_size": 2, **MICRO}, 4, None),
    ({"train_batch_size": 16, "tensor_parallel": {"autotp_size": 2}, "gradient_accumulation_steps": 2, **MICRO}, 4,
     None),
    ({"gradient_accumulation_steps": 8}, 2, "neither train_batch_size nor train_micro_batch_size_per_gpu"),
])  # fmt: skip
def test_deepspeeds_batch(config: dict[str, Any], gpus: Any, said: str | None) -> None:
    messages = told("deepspeed", config=config, gpus=gpus)
    assert_told(messages, said)


@pytest.mark.parametrize(("config", "said"), [
    ({"fp16": {"enabled": True}, "bf16": {"enabled": True}}, "fp16 and bf16 exclude each other"),
    ({"fp16": {"enabled": False}, "bf16": {"enabled": True}}, None),
    ({"zero_optimization": {"stage": 2, "offload_param": {"device": "cpu"}}}, "offload_param needs stage 3, and"),
    ({"zero_optimization": {"offload_optimizer": {"device": "cpu"}}}, "offload_optimizer needs stage 1, 2 or 3, and"),
    ({"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}}, "nvme needs the folder to write to"),
    ({"zero_optimization": {"stage": 3, "offload_param": {"device": "none"}}}, None),
    ({"zero_optimization": {"stage": 3}, "gradient_allreduce_op": "sum"}, "stage 3 has no gradient_allreduce_op sum"),
    ({"bf16": {"enabled": True, "bf16_master_weights_and_grads": True}}, "bf16_master_weights_and_grads needs ZeRO"),
    ({"zero_optimization": {"stage": 4}}, "stage cannot be 4"),
    ({"zero_optimization": {"stge": 2}}, "has no key zero_optimization.stge"),
    ({"zero_optimization": {"mics_shard_size": 2}}, "has no zero_optimization.mics_shard_size any more"),
    ({"elasticity": {}}, "has no elasticity any more"),
    ({"bfloat16": {"enabld": True}}, "has no key bf16.enabld"),
    ({"train_batch_sise": 8}, "has no key train_batch_sise"),
    ({"my_own_section": {"a": 1}}, "(deepspeed 0.19.8 has no key my_own_section)"),
])  # fmt: skip
def test_deepspeeds_config(config: dict[str, Any], said: str | None) -> None:
    messages = told("deepspeed", config={**MICRO, **config})
    assert_told(messages, said)


@pytest.mark.parametrize(("script_args", "form"), [
    ({}, "{}"),
    ({"deepspeed": "${config}"}, None),
    (["--deepspeed", "${config}"], None),
    (["--deepspeed=${config}"], None),
    ({"ds": "${config}"}, "({})"),
])  # fmt: skip
def test_auto_is_for_those_who_fill_it_in(script_args: Any, form: str | None) -> None:
    config = {**MICRO, "optimizer": {"type": "AdamW", "params": {"lr": "auto"}}}
    messages = told("deepspeed", config=config, script_args=script_args)
    message = "only Hugging Face's Trainer and Accelerate fill in auto: plain DeepSpeed has no lr then"
    assert messages == ([form.format(message)] if form else [])


def test_deepspeed_without_the_config_that_is_placed() -> None:
    assert told("deepspeed", script_args={"c": "${config}"}) == [
        "${config} stands for the config file, and there is no config"
    ]


@pytest.mark.parametrize(("keys", "said"), [
    ({"config": {"num_procesess": 2}}, "accelerate 1.15.0 has no key num_procesess"),
    ({"config": {"num_processes": 2}}, "num_processes is set by mgpu"),
    ({"config": {"gpu_ids": 0}}, "gpu_ids is set by mgpu"),
    ({"config": {"fsdp_config": {"fsdp_verzion": 2}}}, "has no key fsdp_config.fsdp_verzion"),
    ({"config": {"fsdp_config": {"version": 2}}}, None),
    ({"config": {"fsdp_config": {}, "deepspeed_config": {}}}, "fsdp_config and deepspeed_config exclude each other"),
    ({"config": {"mixed_precision": "bf16"}, "args": {"mixed_precision": "fp16"}}, "args say mixed_precision fp16"),
    ({"config": {"deepspeed_config": {"deepspeed_config_file": "x", "zero_stage": 2}}}, "zero_stage stands in the"),
    ({"config": {"parallelism_config": {"parallelism_config_tp_size": 4}}}, "tp_size 4 is 4, and the job has 2 ranks"),
    ({"config": {"fsdp_config": {}}, "gpus": 0, "parallel": {"data": 2}}, "(without GPUs accelerate trains with plain"),
    ({"args": {"cpu": True}}, "cpu is set by mgpu"),
    ({"script_args": {"config_file": "mine.toml", "cpu": True}}, None),
])  # fmt: skip
def test_accelerate(keys: dict[str, Any], said: str | None) -> None:
    messages = told("accelerate", **keys)
    assert_told(messages, said)


@pytest.mark.parametrize(("keys", "said"), [
    ({"script_args": LORA}, None),
    ({"script_args": {**LORA, "max_train_steps": 1600}}, None),
    ({"script_args": {"max_train_steps": 1600}},
     "(1600 steps on 2 GPUs are the samples of 3200 steps on one)"),
    ({"script_args": {"max_train_steps": 1600}, "gpus": "all"},
     "(1600 steps on 8 GPUs are the samples of 12800 steps on one)"),
    ({"script_args": {"max_train_steps": 1600}, "gpus": 1}, None),
    ({"script_args": {"output_dir": "o"}}, "(1600 steps on 2 GPUs are the samples of 3200 steps on one)"),
    ({"script_args": {**LORA, "lora_rank": 4}}, "has no flag lora_rank"),
    ({"script_args": {**LORA, "mixed_precision": "fp8"}}, "mixed_precision cannot be 'fp8'"),
    ({"script_args": {**LORA, "num_processes": 2}}, "has no flag num_processes"),
    ({"script_args": {**LORA, "log_with": "all"}}, "log_with needs a folder"),
    ({"script_args": LORA, "args": {"mixed_precision": "bf16"}}, "mixed_precision is set by mgpu"),
])  # fmt: skip
def test_kohya(keys: dict[str, Any], said: str | None) -> None:
    messages = told("kohya", script="sd-scripts/train_network.py", **keys)
    assert_told(messages, said)


@pytest.mark.parametrize(("config", "said"), [
    ({}, None),
    ({"learning_rate": 2e-5, "tf32": True, "val_set_size": 0.1, "special_tokens": {"pad_token": "</s>"}}, None),
    ({"micro_batch_size": "two"}, "micro_batch_size wants a whole number"),
    ({"deepspeed": "zero2.json", "fsdp_config": {"offload_params": True}}, "deepspeed and fsdp_config exclude"),
    ({"deepspeed": "zero2.json", "fsdp": ["full_shard"]}, "deepspeed and fsdp exclude each other"),
    ({"dp_shard_size": 2}, "dp_shard_size shards with FSDP, and there is no fsdp_config"),
    ({"tensor_parallel_size": 2}, None),
    ({"tensor_parallel_size": 3}, "tensor_parallel_size 3 is 3, and the job has 2 GPUs"),
    ({"dp_shard_size": 2, "dp_replicate_size": 2, "fsdp_config": {"offload_params": True}}, "is 4, and the job has 2"),
    ({"fsdp_config": {"offload_parms": True}}, "has no key fsdp_config.offload_parms"),
])  # fmt: skip
def test_axolotl(config: dict[str, Any], said: str | None) -> None:
    messages = told("axolotl", config={**QWEN, **config})
    assert_told(messages, said)


@pytest.mark.parametrize(("config", "said"), [
    (FACTORY, None),
    ({**FACTORY, "lora_rnk": 8}, "has no key lora_rnk"),
    ({"output_dir": "o", "do_train": True}, "model_name_or_path is missing"),
    ({"model_name_or_path": "m", "output_dir": "o"}, "(without do_train the model is loaded, and nothing is trained)"),
])  # fmt: skip
def test_llamafactory(config: dict[str, Any], said: str | None) -> None:
    messages = told("llamafactory", config=config)
    assert_told(messages, said)


@pytest.mark.parametrize(("keys", "said"), [
    ({"trainer": "sft", "args": {"learning_rate": 1e-5, "num_cpu_threads_per_process": 2}}, None),
    ({"trainer": "ppo"}, "trl has no trainer ppo"),
    ({"trainer": "dpo", "args": {"packing": True}}, "packing"),
    ({"trainer": "sft", "args": {"accelerate_config": "single_gpu"}}, "the preset single_gpu starts one process"),
    ({"trainer": "sft", "args": {"accelerate_config": "zero2", "use_fsdp": True}}, "the preset zero2 says already"),
    ({"trainer": "sft", "args": {"num_processes": 8}}, "num_processes is set by mgpu"),
])  # fmt: skip
def test_trl(keys: dict[str, Any], said: str | None) -> None:
    messages = told("trl", **keys)
    assert_told(messages, said)


def test_torchrun_meets_where_it_wants() -> None:
    assert told("torchrun", args={"master-port": 29501}) == [
        "master-port is set by mgpu: --standalone takes a free port, and no other"
    ]

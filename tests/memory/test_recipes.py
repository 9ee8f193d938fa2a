"""Each training engine's own words are read as one recipe, and what the spec says wins."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mgpu.catalog.models import by_name
from mgpu.engines import engine_named
from mgpu.errors import SpecError
from mgpu.memory.recipes import of_file, targets
from mgpu.memory.trainings import host_warning
from mgpu.spec.check import check
from mgpu.spec.document import read
from mgpu.values.machine import Gpu
from mgpu.values.memory import GIB, Estimate, Knob, Unknown
from mgpu.values.plan import Task
from mgpu.values.recipe import MATRICES, Recipe

LLAMA = "meta-llama/Llama-3.1-8B"
GPU = Gpu(0, "NVIDIA H100 80GB HBM3", 79 * GIB, 79 * GIB)
AXOLOTL = {"base_model": LLAMA, "datasets": [{"path": "d"}], "bf16": True, "micro_batch_size": 2, "sequence_len": 4096}
FACTORY = {"model_name_or_path": LLAMA, "output_dir": "o", "do_train": True, "cutoff_len": 4096, "bf16": True}


def task(engine: str, gpus: int = 1, **keys: Any) -> Task:
    """A job placed on GPUs of 79 GiB."""
    script = {} if engine in ("axolotl", "llamafactory", "trl", "custom") else {"script": "train.py"}
    data = {"kind": "training", "name": "job", "engine": engine, "gpus": gpus, "runtime": "process", **script, **keys}
    job = check(read("job.yaml", json.dumps(data))).jobs[0]
    return Task("job", job, (GPU,) * gpus, gpus)


def reckoned(placed: Task) -> tuple[Estimate, ...]:
    """The estimates of a task, which are known."""
    engine = engine_named(placed.job.engine)
    found = engine.memory(placed, by_name(engine.model(placed.job) or ""), ())
    assert not isinstance(found, Unknown), found
    return found


def size(placed: Task, name: str) -> int:
    """Bytes of a line on the first GPU, as expected; 0 where there is none."""
    return sum(line.bytes.expected for line in reckoned(placed)[0].lines if line.name == name)


def turned_down(placed: Task) -> list[Knob]:
    """The changes that would make it need less."""
    return list(engine_named(placed.job.engine).knobs(placed))


def test_a_script_of_ones_own_needs_a_recipe() -> None:
    engines: dict[str, Any] = {"torchrun": {}, "deepspeed": {}, "accelerate": {}, "custom": {"command": ["x"]}}
    for engine, keys in engines.items():
        placed = task(engine, model=LLAMA, **keys)
        found = engine_named(engine).memory(placed, by_name(LLAMA), ())
        assert isinstance(found, Unknown)
        assert "recipe" in (found.hint or "")
        told = task(engine, model=LLAMA, recipe={"method": "lora", "precision": "bf16"}, **keys)
        assert 15 * GIB < reckoned(told)[0].total.expected < 45 * GIB


def test_a_model_that_nobody_knows_is_not_guessed() -> None:
    placed = task("torchrun", model="me/mine", recipe={"precision": "bf16"})
    assert isinstance(engine_named("torchrun").memory(placed, None, ()), Unknown)


def test_a_recipe_with_mistakes_points_at_them() -> None:
    for wrong, key in (({"precision": "bf61"}, "precision"), ({"micro_batch": 0}, "micro_batch"), ({"x": 1}, "x")):
        with pytest.raises(SpecError) as raised:
            task("torchrun", recipe=wrong)
        assert [problem.path for problem in raised.value.problems] == [("recipe", key)]
    with pytest.raises(SpecError) as raised:
        check(read("a.yaml", json.dumps({"kind": "inference", "engine": "vllm", "model": "m", "recipe": {}})))
    assert [problem.path for problem in raised.value.problems] == [("recipe",)]


def test_deepspeed_reads_its_config() -> None:
    def config(stage: int, **more: Any) -> dict[str, Any]:
        zero = {"stage": stage, **more}
        return {"train_micro_batch_size_per_gpu": 2, "bf16": {"enabled": True}, "zero_optimization": zero}

    params = 8_030_261_248
    held = {
        stage: task("deepspeed", 8, model=LLAMA, config=config(stage), recipe={"checkpointing": True})
        for stage in (0, 1, 2, 3)
    }
    assert [size(held[stage], "weights") for stage in held] == [2 * params, 2 * params, 2 * params, params // 4]
    assert size(held[0], "optimizer") == 12 * params
    assert size(held[2], "optimizer") == 12 * params // 8
    away = config(3, offload_optimizer={"device": "cpu"}, offload_param={"device": "cpu"})
    assert not size(task("deepspeed", 8, model=LLAMA, config=away, recipe={"sequence": 512}), "optimizer")
    stage = next(knob for knob in turned_down(held[2]) if knob.path == ("config", "zero_optimization", "stage"))
    assert stage.value == 3


def test_accelerate_reads_its_config() -> None:
    sharded = {"mixed_precision": "bf16", "fsdp_config": {"fsdp_reshard_after_forward": True}}
    found = task("accelerate", 4, model=LLAMA, config=sharded, recipe={"optimizer": "adamw-fused", "micro_batch": 8})
    assert size(found, "weights") == 8_030_261_248
    assert size(found, "unsharded blocks") > 2 * 2 * 218_000_000
    plain = task("accelerate", 1, model=LLAMA, recipe={"precision": "bf16"})
    assert not size(plain, "communication buffers")


def test_axolotl_reads_its_yaml() -> None:
    full, lora = (
        task("axolotl", config=AXOLOTL),
        {**AXOLOTL, "adapter": "lora", "lora_r": 16, "lora_target_linear": True},
    )
    assert size(full, "optimizer") == 4 * 8_030_261_248
    adapted = task("axolotl", config=lora)
    assert not isinstance(reckoned(adapted), Unknown)
    assert size(adapted, "optimizer") < GIB
    four = task("axolotl", config={**lora, "adapter": "qlora", "load_in_4bit": True})
    assert size(four, "weights") < 0.4 * size(adapted, "weights")
    names = [knob.path[-1] for knob in turned_down(full)]
    assert names.index("gradient_checkpointing") < names.index("adapter")
    assert "micro_batch_size" in names


def test_axolotl_takes_bf16_where_nothing_is_said() -> None:
    silent = {name: value for name, value in AXOLOTL.items() if name != "bf16"}
    assert size(task("axolotl", config=silent), "weights") == size(task("axolotl", config=AXOLOTL), "weights")
    for words in ({"bf16": False}, {"fp16": True}):
        assert size(task("axolotl", config={**silent, **words}), "weights") == 4 * 8_030_261_248


def test_llamafactory_leaves_frozen_weights_in_16_bits() -> None:
    silent = {name: value for name, value in FACTORY.items() if name != "bf16"}
    assert size(task("llamafactory", config=silent), "weights") == size(task("llamafactory", config=FACTORY), "weights")
    full = task("llamafactory", config={**silent, "finetuning_type": "full"})
    assert size(full, "weights") == 4 * 8_030_261_248


def test_llamafactory_and_trl_read_theirs() -> None:
    lora = task("llamafactory", config={**FACTORY, "lora_target": "q_proj,v_proj"})
    every = task("llamafactory", config={**FACTORY, "lora_target": "all"})
    assert size(lora, "optimizer") < size(every, "optimizer")
    full = task("trl", trainer="sft", args={"model_name_or_path": LLAMA, "dataset_name": "d", "max_length": 512})
    assert size(full, "weights") == 4 * 8_030_261_248
    zero = {"model_name_or_path": LLAMA, "dataset_name": "d", "accelerate_config": "zero3"}
    assert size(task("trl", 8, trainer="sft", args=zero), "weights") == 2 * 8_030_261_248 // 8


def test_the_spec_wins_over_the_engines_words() -> None:
    long, short = (task("axolotl", config=AXOLOTL, recipe={"sequence": tokens}) for tokens in (8192, 512))
    assert size(long, "activations") > 10 * size(short, "activations")


def test_kohya_counts_what_stays_on_the_gpu() -> None:
    words: dict[str, Any] = {
        "pretrained_model_name_or_path": "stabilityai/stable-diffusion-xl-base-1.0",
        "mixed_precision": "bf16",
    }
    words |= {"network_module": "networks.lora", "network_dim": 32, "max_train_epochs": 1}
    whole, cached = task("kohya", script_args=words), task("kohya", script_args={**words, "cache_latents": True})
    assert size(whole, "weights") - size(cached, "weights") == 2 * 83_653_863
    assert size(task("kohya", script_args={**words, "gradient_checkpointing": True}), "activations") < size(
        whole, "activations"
    )
    assert {knob.path[-1] for knob in turned_down(whole)} >= {"gradient_checkpointing", "cache_latents"}


def test_every_knob_makes_it_need_less() -> None:
    placed = task("torchrun", model=LLAMA, recipe={"precision": "amp", "micro_batch": 4})
    before = reckoned(placed)[0].total.expected
    for knob in turned_down(placed):
        less = task("torchrun", model=LLAMA, recipe={"precision": "amp", "micro_batch": 4, knob.path[-1]: knob.value})
        assert reckoned(less)[0].total.expected < before, knob


def test_a_script_of_ones_own_may_offload_before_it_trains_less() -> None:
    placed = task("deepspeed", 8, model=LLAMA, recipe={"sharding": "zero-3", "precision": "amp"})
    knobs = {knob.path[-1]: knob.cost for knob in turned_down(placed)}
    assert knobs["offload_optimizer"] < knobs["method"]
    assert {knob.path[0] for knob in turned_down(placed)} == {"recipe"}
    assert "offload_optimizer" not in [knob.path[-1] for knob in turned_down(task("torchrun", model=LLAMA, recipe={}))]


def test_the_hosts_memory_is_warned_of() -> None:
    model = by_name("llama-3.1-70b")
    assert model
    recipe = Recipe(sharding="zero-3", offload_optimizer=True, offload_parameters=True, native=True)
    assert "more than" in (host_warning(model, recipe, 8, 256 * GIB) or "")
    assert host_warning(model, recipe, 8, 4096 * GIB) is None
    assert host_warning(model, recipe, 8, None) is None


def test_words_for_matrices_and_files() -> None:
    assert targets("all-linear", ()) == MATRICES
    assert targets(["q_proj", "v_proj"], ()) == ("q", "v")
    assert targets(None, ("q",)) == ("q",)
    assert of_file(Recipe(), "ds_z3_offload.json").offload_parameters
    assert of_file(Recipe(), "deepspeed_configs/zero2.json").sharding == "zero-2"
    assert of_file(Recipe(), "fsdp2").sharding == "fsdp"

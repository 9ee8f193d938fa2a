"""Right where guides are wrong: what people copy, and what no rendering of mgpu may be."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from mgpu import compile
from mgpu.catalog.machines import shorthand
from mgpu.values.command import Command

SCRIPT = {"script": "train.py", "script_args": {"epochs": 3}}
TRAININGS: dict[str, dict[str, Any]] = {
    "torchrun": SCRIPT,
    "deepspeed": {**SCRIPT, "config": {"train_micro_batch_size_per_gpu": 4}},
    "accelerate": SCRIPT,
    "kohya": {"script": "train_network.py", "script_args": {"max_train_epochs": 3, "mixed_precision": "bf16"}},
    "axolotl": {"config": {"base_model": "m", "datasets": [{"path": "d"}]}},
    "llamafactory": {"config": {"model_name_or_path": "m", "output_dir": "o", "do_train": True}},
    "trl": {"trainer": "sft", "args": {"model_name_or_path": "m", "dataset_name": "d"}},
}
LAUNCHED = ("accelerate", "kohya", "trl")
"""Those that start their ranks with accelerate."""
RUNTIMES = ("process", "docker")
EVERY = pytest.mark.parametrize(("engine", "runtime"), list(itertools.product(TRAININGS, RUNTIMES)))


def rendered(engine: str, runtime: str = "process", name: str = "job", **keys: Any) -> Command:
    """The command of a training on GPUs 2 and 3 of four, or as `keys` say."""
    box = {"image": "an/image:1", "version": "1.0"} if runtime == "docker" else {}
    spec = {"kind": "training", "name": name, "engine": engine, "runtime": runtime, "gpus": {"ids": [2, 3]}, **box}
    (command,) = compile(json.dumps({**spec, **TRAININGS[engine], **keys}), shorthand("4xa100-sxm4-80gb")).commands
    return command


def after(command: Command, flag: str) -> str | None:
    """The word behind `flag`."""
    return next((value for word, value in itertools.pairwise(command.argv) if word == flag), None)


@EVERY
def test_every_rank_is_told_its_threads(engine: str, runtime: str) -> None:
    """torchrun and accelerate force 1 where nobody says, and DeepSpeed lets every rank take every core."""
    assert dict(rendered(engine, runtime).env)["OMP_NUM_THREADS"].isdigit()


@EVERY
def test_the_ranks_are_as_many_as_the_gpus(engine: str, runtime: str) -> None:
    command = rendered(engine, runtime)
    said = [after(command, flag) for flag in ("--nproc-per-node", "--num_processes")]
    said += [dict(command.env).get("NPROC_PER_NODE"), str(len((after(command, "--include") or "").split(",")))]
    assert "2" in said


@EVERY
def test_no_number_of_the_host_is_in_a_container(engine: str, runtime: str) -> None:
    """A container numbers its GPUs from 0, and CUDA_VISIBLE_DEVICES of the host would name none of them."""
    command = rendered(engine, runtime)
    inside = {"CUDA_VISIBLE_DEVICES": dict(command.env).get("CUDA_VISIBLE_DEVICES"), "": after(command, "--include")}
    if runtime == "docker":
        assert [value for value in inside.values() if value] in ([], ["localhost:0,1"])
        assert command.container
        assert command.container.gpus == ("2", "3")
    else:
        assert [value for value in inside.values() if value] in (["2,3"], ["localhost:2,3"])


@EVERY
def test_two_trainings_never_meet_at_the_same_port(engine: str, runtime: str) -> None:
    """29500 is what launchers take where nobody says: the second job on a machine dies of it, or joins the first."""
    one, other = (rendered(engine, runtime, name) for name in ("one", "other"))
    if "--standalone" in one.argv:
        assert after(one, "--master-port") is None
    else:
        assert [one.rendezvous, other.rendezvous] == [None] * 2 or one.rendezvous != other.rendezvous
        ports = [str(command.rendezvous or 29500) for command in (one, other)]
        assert [port(command) for command in (one, other)] == ports
        assert runtime == "docker" or "29500" not in ports


def port(command: Command) -> str | None:
    """Where the ranks are told to meet."""
    words = [after(command, flag) for flag in ("--master_port", "--main_process_port")]
    return next((word for word in words if word), dict(command.env).get("MASTER_PORT"))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_deepspeed_is_told_its_gpus_by_include_alone(runtime: str) -> None:
    """`CUDA_VISIBLE_DEVICES=2,3 deepspeed --num_gpus 2` trains on GPUs 0 and 1 (deepspeedai/DeepSpeed#662)."""
    command = rendered("deepspeed", runtime)
    assert "--num_gpus" not in command.argv
    assert "CUDA_VISIBLE_DEVICES" not in dict(command.env)
    assert runtime == "docker" or "CUDA_VISIBLE_DEVICES" in command.unset


def test_deepspeed_reads_no_hostfile_that_lies_about_and_adds_no_flag_to_the_script() -> None:
    command = rendered("deepspeed")
    assert after(command, "--hostfile") == "/dev/null"
    assert "--no_local_rank" in command.argv
    assert "--no_local_rank" not in rendered("deepspeed", args={"no_local_rank": False}).argv


def test_deepspeed_gets_its_config() -> None:
    """`deepspeed train.py` alone starts ranks, and trains without DeepSpeed."""
    command = rendered("deepspeed")
    (file,) = command.files
    assert after(command, "--deepspeed_config") == file.path
    assert json.loads(file.text) == {"train_micro_batch_size_per_gpu": 4}


@pytest.mark.parametrize("engine", LAUNCHED)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_accelerate_is_always_told_how_its_ranks_work_together(engine: str, runtime: str) -> None:
    """With a config file of type NO, `--num_processes 2` alone trains in one process, and says nothing
    (huggingface/accelerate#1452); and a config file that lies in HF_HOME is such a file."""
    command = rendered(engine, runtime)
    (file,) = command.files
    assert "--multi_gpu" in command.argv
    assert after(command, "--num_machines") == "1"
    named = after(command, "--accelerate_config" if engine == "trl" else "--config_file")
    assert named
    assert named.endswith("/accelerate.yaml")
    assert "num_processes: 2\n" in file.text


@pytest.mark.parametrize(("section", "flag"), [("fsdp_config", "--use_fsdp"), ("deepspeed_config", "--use_deepspeed")])
def test_only_one_kind_of_launch_is_asked_of_accelerate(section: str, flag: str) -> None:
    command = rendered("accelerate", config={section: {}})
    kinds = ["--multi_gpu", "--use_fsdp", "--use_deepspeed", "--use_megatron_lm", "--cpu", "--tpu"]
    assert [word for word in command.argv if word in kinds] == [flag]


@pytest.mark.parametrize("engine", LAUNCHED)
def test_accelerate_on_one_gpu_and_on_none(engine: str) -> None:
    """--multi_gpu wants two processes; --cpu starts one, however many are asked for."""
    one, none = rendered(engine, gpus=1), rendered(engine, gpus=0, parallel={"data": 2})
    assert "--multi_gpu" not in one.argv
    assert "--multi_gpu" in none.argv
    assert "--cpu" not in (*one.argv, *none.argv)
    assert dict(none.env)["ACCELERATE_USE_CPU"] == "true"


@pytest.mark.parametrize("engine", [engine for engine, keys in TRAININGS.items() if "script" in keys])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_launchers_flags_stand_before_the_script(engine: str, runtime: str) -> None:
    """What follows the script is the script's: `accelerate launch train.py --num_processes=2` hands the flag to it."""
    command = rendered(engine, runtime)
    script = command.argv.index(TRAININGS[engine]["script"])
    own = [f"--{flag}" for flag in TRAININGS[engine]["script_args"]] + ["--deepspeed_config"] * (engine == "deepspeed")
    assert [word for word in command.argv[script:] if word.startswith("--")] == own


def test_kohyas_script_is_given_the_precision_that_the_launcher_is() -> None:
    """The scripts hand their own to accelerate, whatever the launch said: without it they train in fp32."""
    command = rendered("kohya")
    script = command.argv.index("train_network.py")
    assert [word for word, value in itertools.pairwise(command.argv[:script]) if value == "bf16"] == [
        "--mixed_precision"
    ]
    assert command.argv[script:][-2:] == ("--mixed_precision", "bf16")


def test_axolotl_gives_the_launcher_its_flags_behind_a_lone_dash() -> None:
    command = rendered("axolotl")
    assert command.argv[command.argv.index("--") :] == ("--", "--standalone", "--nproc-per-node", "2")


def test_llamafactory_is_started_by_itself_and_not_by_deepspeed() -> None:
    """`deepspeed src/train.py x.yaml` puts --local_rank where the YAML belongs (hiyouga/LlamaFactory#6075)."""
    command = rendered("llamafactory")
    assert command.argv[:2] == ("llamafactory-cli", "train")
    assert dict(command.env)["FORCE_TORCHRUN"] == "1"


def test_a_preset_of_trl_is_a_word_and_its_eight_processes_are_not_taken() -> None:
    command = rendered("trl", args={"model_name_or_path": "m", "dataset_name": "d", "accelerate_config": "zero2"})
    assert after(command, "--accelerate_config") == "zero2"
    assert after(command, "--num_processes") == "2"
    assert "--multi_gpu" not in command.argv

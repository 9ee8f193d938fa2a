# flux-speed on 2xa100-pcie-80gb
#   flux-speed  diffusers 0.42.1 (process), GPUs 0,1

# flux-speed
#   GPUs: all there are
#   layout: ulysses 2, as the spec says
mkdir -p "$PWD"/.mgpu/flux-speed
cat > "$PWD"/.mgpu/flux-speed/text_to_image.py <<'EOF'
"""Pictures from text by a diffusers pipeline, on one GPU or several (diffusers 0.40 or newer).

    python text_to_image.py --model ID --prompt "a lighthouse"          one GPU
    python ... --device-map balanced                  whole components on several GPUs: room for the model, not speed
    torchrun --nproc-per-node 2 ...                   each process draws its share of the pictures: throughput
    torchrun --nproc-per-node 2 ... --ulysses-degree 2      both draw every picture together: speed

Picture n has the seed `--seed` + n however many GPUs there are. Without a GPU it runs on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple


class Picture(NamedTuple):
    """One picture to draw."""

    prompt: str
    seed: int
    path: Path


class Place(NamedTuple):
    """Which process of how many this is, as torchrun says; alone without it."""

    rank: int
    world: int
    local: int


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description="Pictures from text by a diffusers pipeline.", allow_abbrev=False)
    add = parser.add_argument
    add("--model", required=True, help="repository or folder of the pipeline")
    add("--revision", help="branch, tag or commit of the repository")
    add("--variant", help="the files to load, as fp16")
    add("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16", help="type of the weights")
    add("--device-map", choices=("balanced",), help="whole components on all GPUs, one process")
    add("--ulysses-degree", type=int, default=1, help="GPUs that share a picture's sequence; divides the heads")
    add("--ring-degree", type=int, default=1, help="GPUs that share a picture's sequence in a ring")
    add("--attention", help="diffusers' name of the attention to use; for a ring _native_cudnn if left out")
    add("--cpu-offload", action="store_true", help="components wait in host memory; slower, one GPU a process")
    add("--prompt", action="append", default=[], help="what to draw; once for each picture")
    add("--prompt-file", type=Path, help="a file with a prompt a line")
    add("--negative-prompt", help="what not to draw")
    add("--images-per-prompt", type=int, default=1, help="pictures of each prompt")
    add("--steps", type=int, help="denoising steps; the pipeline's own number if left out")
    add("--guidance-scale", type=float, help="how closely to follow the prompt")
    add("--height", type=int, help="pixels")
    add("--width", type=int, help="pixels")
    add("--seed", type=int, default=0, help="seed of the first picture")
    add("--call", type=json.loads, default={}, help="more arguments of the pipeline, as a JSON object")
    add("--output", type=Path, default=Path("images"), help="folder of the pictures")
    return parser


def read(words: list[str] | None = None) -> tuple[argparse.Namespace, Place]:
    """The command line and this process's place; whatever contradicts itself ends the program."""
    line = parser()
    given = line.parse_args(words)
    place = Place(*(int(os.environ.get(name, default)) for name, default in
                    (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))))  # fmt: skip
    parts = given.ulysses_degree * given.ring_degree
    if min(given.ulysses_degree, given.ring_degree, given.images_per_prompt) < 1:
        line.error("degrees and --images-per-prompt are 1 or more")
    if place.world % parts:
        line.error(f"{place.world} processes cannot draw in groups of {parts}")
    if given.device_map and (place.world > 1 or given.cpu_offload):
        line.error("--device-map is for one process, and excludes --cpu-offload")
    if not isinstance(given.call, dict):
        line.error("--call wants a JSON object")
    if given.prompt_file:
        given.prompt += [text for text in given.prompt_file.read_text("utf-8").splitlines() if text.strip()]
    if not given.prompt:
        line.error("no --prompt, and none in --prompt-file")
    return given, place


def pictures(given: argparse.Namespace) -> list[Picture]:
    """Every picture, in the order of the prompts."""
    prompts = [prompt for prompt in given.prompt for _ in range(given.images_per_prompt)]
    return [Picture(prompt, given.seed + n, given.output / f"{n:04}.png") for n, prompt in enumerate(prompts)]


def loaded(given: argparse.Namespace, place: Place) -> Any:
    """The pipeline, where this process computes."""
    import torch
    from diffusers import DiffusionPipeline

    named = {"revision": given.revision, "variant": given.variant, "device_map": given.device_map}
    options = {name: value for name, value in named.items() if value}
    pipe = DiffusionPipeline.from_pretrained(given.model, dtype=getattr(torch, given.dtype), **options)
    pipe.set_progress_bar_config(disable=place.rank > 0)
    if given.device_map:
        print(f"components: {pipe.hf_device_map or 'all in one place'}", flush=True)
    elif given.cpu_offload:
        pipe.enable_model_cpu_offload(gpu_id=place.local)
    else:
        pipe.to(f"cuda:{place.local}" if torch.cuda.is_available() else "cpu")
    return pipe


def transformers(pipe: Any) -> list[Any]:
    """What denoises: one transformer, or two that take turns. Ends the program for a pipeline with a UNet."""
    found = [model for name in ("transformer", "transformer_2") if (model := getattr(pipe, name, None))]
    if not found:
        raise SystemExit(f"{type(pipe).__name__} has no transformer: no sequence to share, no attention to choose")
    return found


def attend(pipe: Any, given: argparse.Namespace) -> None:
    """Choose the attention. What diffusers takes by itself does not tell a ring how to add up its parts."""
    name = given.attention or ("_native_cudnn" if given.ring_degree > 1 else None)
    for model in transformers(pipe) if name else ():
        model.set_attention_backend(name)


def share_sequence(pipe: Any, given: argparse.Namespace, place: Place) -> None:
    """Have the processes of a group compute one picture: each a part of the sequence, in every layer."""
    import torch
    from diffusers import ContextParallelConfig
    from torch.distributed.device_mesh import init_device_mesh

    ring, ulysses = given.ring_degree, given.ulysses_degree
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    shape = (place.world // (ring * ulysses), ring, ulysses)
    mesh = init_device_mesh(kind, shape, mesh_dim_names=("group", "ring", "ulysses"))["ring", "ulysses"]
    for model in transformers(pipe):
        model.enable_parallelism(config=ContextParallelConfig(ring_degree=ring, ulysses_degree=ulysses, mesh=mesh))


def draw(pipe: Any, given: argparse.Namespace, picture: Picture) -> Any:
    """The picture. Its noise is made on the CPU: the same on every GPU."""
    import torch

    named = {
        "negative_prompt": given.negative_prompt,
        "num_inference_steps": given.steps,
        "guidance_scale": given.guidance_scale,
        "height": given.height,
        "width": given.width,
    }
    options = {name: value for name, value in named.items() if value is not None}
    generator = torch.Generator("cpu").manual_seed(picture.seed)
    return pipe(prompt=picture.prompt, generator=generator, **(options | given.call)).images[0]


def main() -> None:
    """Draw this process's share, and save what its group has drawn."""
    given, place = read()
    parts = given.ulysses_degree * given.ring_degree
    group, part = divmod(place.rank, parts)
    import torch

    if place.world > 1:
        if torch.cuda.is_available():
            torch.cuda.set_device(place.local)
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    pipe = loaded(given, place)
    attend(pipe, given)
    if parts > 1:
        share_sequence(pipe, given, place)
    given.output.mkdir(parents=True, exist_ok=True)
    for picture in pictures(given)[group :: place.world // parts]:
        began = time.monotonic()
        image = draw(pipe, given, picture)
        if part == 0:
            image.save(picture.path)
            print(f"{picture.path}  {time.monotonic() - began:.1f} s", flush=True)
    if place.world > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
EOF
: "${HF_TOKEN:?is a secret of this job}"; export HF_TOKEN
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0,1
export OMP_NUM_THREADS=1
export PYTHONUNBUFFERED=1
torchrun \
    --standalone \
    --nproc-per-node 2 \
    "$PWD"/.mgpu/flux-speed/text_to_image.py \
    --model black-forest-labs/FLUX.1-dev \
    --prompt 'a lighthouse at dusk' \
    --steps 28 \
    --ulysses-degree 2

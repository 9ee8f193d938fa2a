"""Right where guides are wrong: what they write about pictures on several GPUs, and what comes of it here."""

from __future__ import annotations

import itertools

import pytest

from mgpu import Compiled, compile
from mgpu.catalog.machines import shorthand
from mgpu.command.text import script
from mgpu.errors import SpecError
from mgpu.resources import folder
from mgpu.values.command import Command

A1111 = "kind: inference\nname: x\nengine: a1111\n"
FORGE = "kind: inference\nname: x\nengine: forge\n"
COMFYUI = "kind: inference\nname: x\nengine: comfyui\n"
FLUX = "kind: inference\nname: x\nengine: diffusers\nmodel: black-forest-labs/FLUX.1-dev\n"
XDIT = "kind: inference\nname: x\nengine: xdit\nmodel: FLUX.1-dev\n"


def made(text: str, machine: str = "4xa100-pcie-80gb") -> Compiled:
    return compile(text, shorthand(machine))


def catalogue(name: str) -> tuple[str, Compiled]:
    """A spec of the catalogue, and what it becomes where it says."""
    text = (folder("specs") / f"{name}.mgpu.yaml").read_text()
    return text, made(text, text.rpartition("\nmachine: ")[2].split("\n")[0])


def visible(command: Command) -> str:
    return dict(command.env)["CUDA_VISIBLE_DEVICES"]


WRONG = pytest.mark.parametrize(("text", "message", "hint"), [
    (A1111 + "args: {device-id: '0,1'}", "device-id is set by mgpu", "use gpus instead"),
    (A1111 + "args: {device_id: 1}", "device_id is set by mgpu", "use gpus instead"),
    (A1111 + "gpus: 2", "one a1111 server uses one GPU", "gpus: 1 and replicas: 2, for one server a GPU"),
    (A1111 + "gpus: all", "one a1111 server uses one GPU", "gpus: 1 and replicas: n, for one server a GPU"),
    (A1111 + "parallel: {tensor: 2}", "a1111 has no parallel", "remove parallel"),
    (A1111 + "env: {COMMANDLINE_ARGS: --lowvram}", "COMMANDLINE_ARGS would change the command unseen", "put its flags"),
    (A1111 + "args: {listen: true}", "listen is set by mgpu", "use host instead"),
    (FORGE + "args: {device-id: 0}", "device-id is set by mgpu", "use gpus instead"),
    (FORGE + "args: {gpu-device-id: 1}", "gpu-device-id is set by mgpu", "use gpus instead"),
    (FORGE + "gpus: 2", "one forge server uses one GPU", "gpus: 1 and replicas: 2"),
    (A1111 + "args: {gpu-device-id: 1}", "a1111 1.10.1 has no flag gpu-device-id", "device-id"),
    (A1111 + "args: {always-low-vram: true}", "a1111 1.10.1 has no flag always-low-vram", ""),
    (COMFYUI + "args: {cuda-device: '0,1'}", "cuda-device is set by mgpu", "use gpus instead"),
    (COMFYUI + "args: {default-device: 1}", "default-device is set by mgpu", "use gpus: {ids: [...]} instead"),
    (COMFYUI + "args: {auto-launch: true}", "auto-launch is set by mgpu: a server opens no browser", "remove it"),
    (COMFYUI + "args: {lowvram: true, highvram: true}", "lowvram and highvram exclude each other", "keep one"),
    (COMFYUI + "version: 0.3.64\nargs: {cache-ram: 8}", "comfyui 0.3.64 has no flag cache-ram", ""),
    (FLUX + "gpus: 2\nargs: {prompt: x, enable_model_cpu_offload: true}", "has no flag enable_model_cpu_offload", ""),
    (FLUX + "gpus: 2\nparallel: {pipeline: 2}\nargs: {prompt: x, cpu-offload: true}",
     "diffusers refuses to offload what lies on several GPUs", "keep one of them"),
    (FLUX + "gpus: 2\nargs: {prompt: x, device-map: balanced}",
     "device-map is set by mgpu", "use parallel: {pipeline: ...} instead"),
    (FLUX + "gpus: 4\nparallel: {pipeline: 2}\nargs: {prompt: x}",
     "one process has every GPU of the job, 4 GPUs and not 2", "gpus: 2"),
    (FLUX + "gpus: 4\nparallel: {pipeline: 2, data: 2}\nargs: {prompt: x}", "pipeline) are one process", "keep one"),
    (FLUX + "gpus: 2\nparallel: {tensor: 2}\nargs: {prompt: x}",
     "diffusers has no tensor parallelism", "it has: data, pipeline"),
    (FLUX + "gpus: 3\nargs: {prompt: x, ulysses-degree: 2}", "layout of ulysses 2 is 2 GPUs, and gpus is 3", "gpus: 2"),
    (FLUX + "gpus: 0\nargs: {prompt: x, ulysses-degree: 2}", "shares a sequence among GPUs alone", "parallel: {data"),
    (FLUX + "port: 7860\nargs: {prompt: x}", "diffusers serves nothing: it has no port", "remove port"),
    (FLUX, "there is nothing to draw", "args: {prompt:"),
    (XDIT + "gpus: 2", "nothing says how xDiT is to use several GPUs", "args: {ulysses_degree: 2}"),
    (XDIT + "gpus: 2\nargs: {ulysses_degree: 2, ring_degree: 2}",
     "a layout of ulysses 2 x ring 2 is 4 GPUs, and gpus is 2", "gpus: 4"),
    (XDIT + "gpus: 2\nargs: {use_cfg_parallel: true}", "it is distilled", "use ulysses_degree"),
    (XDIT + "gpus: 5\nargs: {ulysses-degree: 5}", "has 24 attention heads", "use ring_degree for the rest"),
    (XDIT + "gpus: 2\nparallel: {tensor: 2}", "xdit has no tensor parallelism", "it has: data, pipeline"),
    (XDIT + "gpus: 2\nargs: {tensor_parallel_degree: 2}", "its runner refuses it for every model", "remove it"),
    (XDIT + "gpus: 2\nargs: {ulysses_degree: 2, master_port: 29501}", "torchrun takes a free one", "remove it"),
    (XDIT + "gpus: 2\nparallel: {data: 2}\nargs: {prompt: [x]}", "needs a prompt of its own, and there is 1", ""),
])  # fmt: skip


@WRONG
def test_what_guides_write_is_refused_with_what_is_right(text: str, message: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        made(text)
    told = [(problem.message, problem.hint or "") for problem in caught.value.problems]
    assert [one for one in told if message in one[0] and hint in one[1]], told


@pytest.mark.parametrize("engine", ["a1111", "forge"])
def test_a_web_ui_is_one_server_a_gpu_with_a_port_and_settings_of_its_own(engine: str) -> None:
    done = made(f"kind: inference\nname: x\nengine: {engine}\nreplicas: 4")
    words = [command.argv for command in done.commands]
    assert [visible(command) for command in done.commands] == ["0", "1", "2", "3"]
    assert [line[line.index("--port") + 1] for line in words] == ["7860", "7861", "7862", "7863"]
    assert not {"--device-id", "--gpu-device-id"} & {*itertools.chain(*words)}
    for flag in ("--ui-settings-file", "--ui-config-file"):
        assert len({line[line.index(flag) + 1] for line in words}) == 4


@pytest.mark.parametrize("engine", ["a1111", "forge"])
@pytest.mark.parametrize(("args", "path"), [
    ("{}", "/internal/ping"),
    ("{api: true}", "/internal/ping"),
    ("{nowebui: true}", "/sdapi/v1/memory"),
    ("{nowebui: true, api-auth: 'ada:x'}", "/docs"),
])  # fmt: skip
def test_a_web_ui_is_asked_where_it_answers(engine: str, args: str, path: str) -> None:
    (command,) = made(f"kind: inference\nname: x\nengine: {engine}\nargs: {args}").commands
    assert command.probe
    assert command.probe.target == f"http://127.0.0.1:7860{path}"
    assert command.argv[command.argv.index("--port") + 1] == "7860"
    assert dict(command.env)["COMMANDLINE_ARGS"] == ""


def test_lowvram_is_for_one_gpu() -> None:
    text, done = catalogue("images/sdxl-a1111-lowvram-1xrtx-3060-12gb")
    (command,) = done.commands
    assert "--lowvram" in command.argv
    assert len(command.gpus) == 1
    assert "no substitute for a second GPU" in text


def test_comfyui_is_one_server_a_gpu_or_one_that_sees_several() -> None:
    text, done = catalogue("images/comfyui-replicas-2xrtx-4090")
    assert [(visible(command), command.port) for command in done.commands] == [("0", 8188), ("1", 8189)]
    assert "has no such input" in text
    text, done = catalogue("images/comfyui-vae-2xrtx-4090")
    assert [visible(command) for command in done.commands] == ["0,1"]
    assert "Select VAE Device" in text


def test_a_comfyui_without_device_nodes_is_told_to_use_one_gpu_each() -> None:
    (warning,) = made(COMFYUI + "version: 0.3.64\ngpus: 2").plan.warnings
    assert "no nodes that use a second GPU" in warning.message
    assert warning.hint == "gpus: 1 and replicas: 2, for one server a GPU"
    assert not made(COMFYUI + "gpus: 2").plan.warnings


def test_comfyui_is_asked_for_its_devices_and_ended_by_a_signal_that_it_never_ignores() -> None:
    (command,) = made(COMFYUI).commands
    assert command.probe
    assert (command.probe.target, command.probe.contains) == ("http://127.0.0.1:8188/system_stats", '"devices"')
    assert command.stop.signal == "SIGTERM"


@pytest.mark.parametrize("name", ["a1111", "comfyui", "forge"])
def test_with_tls_only_the_port_is_asked(name: str) -> None:
    (command,) = made(f"kind: inference\nname: x\nengine: {name}\nargs: {{tls-certfile: c, tls-keyfile: k}}").commands
    assert command.probe
    assert command.probe.kind == "tcp"


@pytest.mark.parametrize(("name", "words", "layout"), [
    ("flux-diffusers-room-2xrtx-a6000", ["python", "--device-map balanced"], "pipeline 2"),
    ("flux-diffusers-speed-2xa100-pcie-80gb", ["torchrun", "--nproc-per-node 2", "--ulysses-degree 2"], "ulysses 2"),
    ("flux-diffusers-throughput-8xh100-sxm", ["torchrun", "--nproc-per-node 8"], "data 8"),
    ("flux-xdit-4xa100-pcie-80gb", ["torchrun", "--ulysses_degree 2", "--ring_degree 2"], "ulysses 2 x ring 2"),
])  # fmt: skip
def test_flux_on_several_gpus_is_one_of_four_ways(name: str, words: list[str], layout: str) -> None:
    text, done = catalogue(f"images/{name}")
    (command,) = done.commands
    line = " ".join(command.argv)
    assert line.startswith(words[0])
    assert all(word in line for word in words)
    assert "offload" not in line
    assert f"layout: {layout}, as the spec says" in script(done.plan, done.commands)
    assert not command.serves
    assert "GPU" in text.split("kind:")[0]


@pytest.mark.parametrize("name", [
    "flux-diffusers-room-2xrtx-a6000", "flux-diffusers-speed-2xa100-pcie-80gb", "flux-diffusers-throughput-8xh100-sxm",
])  # fmt: skip
def test_offloading_is_never_called_multi_gpu(name: str) -> None:
    text, _ = catalogue(f"images/{name}")
    assert ("both use one" in text) or ("use one GPU" in text) or ("in one process" in text)


def test_no_rank_meets_at_the_port_that_every_guide_uses() -> None:
    for name in ("flux-xdit-4xa100-pcie-80gb", "flux-diffusers-speed-2xa100-pcie-80gb"):
        (command,) = catalogue(f"images/{name}")[1].commands
        assert "--standalone" in command.argv
        assert "29500" not in " ".join(command.argv)


def test_pictures_and_chat_are_one_spec() -> None:
    _, done = catalogue("pipeline/qwen3-8b-vllm-and-comfyui-2xrtx-4090")
    chat, pictures = done.commands
    assert (visible(chat), visible(pictures)) == ("0", "1")
    assert (chat.port, pictures.port) == (8000, 8188)
    assert pictures.needs == {"chat": "ready"}
    assert chat.probe
    assert pictures.probe
    assert chat.serves
    assert pictures.serves


def test_what_ends_by_itself_can_be_waited_for() -> None:
    jobs = "kind: pipeline\nname: x\njobs:\n  draw: {kind: inference, engine: %s}\n"
    after = "  pack: {kind: task, command: [tar], needs: {draw: done}}\n"
    assert made(jobs % "diffusers, model: m, args: {prompt: x}" + after)
    with pytest.raises(SpecError, match="1 problem"):
        made(jobs % "comfyui" + after)

"""The rules of security, each with a test: those that another test holds already are named in HELD."""

from __future__ import annotations

import json
import pickle
from importlib import import_module
from pathlib import Path

import pytest

from mgpu import compile
from mgpu.catalog.machines import shorthand
from mgpu.cli import allow
from mgpu.command.data import command_data
from mgpu.command.docker import create_arguments
from mgpu.command.text import script
from mgpu.errors import SpecError, UsageError
from mgpu.spec.check import check
from mgpu.spec.debug import debugged
from mgpu.spec.document import read
from mgpu.spec.mounts import reason
from mgpu.values.secrets import Hidden, masked
from mgpu.values.spec import Spec

HELD = {
    "no shell": ("tests.test_house", "test_no_shell"),
    "templates cannot inject": ("tests.compiler.test_quoting", ""),
    "YAML has no tags, no key twice, and limits": ("tests.compiler.test_fuzz", ""),
    "a run's secret is nowhere but in the job": ("tests.end_to_end.test_canary", "test_a_secret_is_nowhere"),
    "symbolic links, sockets, mgpu's own folders": ("tests.run.test_powers", ""),
}
VLLM = "kind: inference\nname: x\nengine: vllm\nmodel: {model}\nruntime: docker\n{more}"


def spec(more: str = "", model: str = "a/b") -> Spec:
    return check(read("x.yaml", VLLM.format(model=model, more=more)))


def wrong(more: str = "", model: str = "a/b") -> list[str]:
    with pytest.raises(SpecError) as caught:
        spec(more, model)
    return [problem.message for problem in caught.value.problems]


@pytest.mark.parametrize("rule", HELD)
def test_what_holds_a_rule_elsewhere_is_there(rule: str) -> None:
    module, name = HELD[rule]
    found = import_module(module)
    assert getattr(found, name) if name else any(test.startswith("test_") for test in vars(found))


@pytest.mark.parametrize("more", ["image: -x", "workdir: -x", "machine: -x", "secrets: [{name: A, file: -x}]"])
def test_options_are_no_values(more: str) -> None:
    assert ["must not start with a dash" in message for message in wrong(more)] == [True]
    assert "model must not start with a dash: it would be read as an option" in wrong(model="--evil")


@pytest.mark.parametrize("more", [
    "env: {A: hf_abcdefghijklmnopqrstuvwx}",
    "env: {A: AKIAABCDEFGHIJKLMNOP}",
    "env: {A: ghp_abcdefghijklmnopqrstuvwxyz0123456789}",
    "args: {hf-overrides: {x: sk-abcdefghijklmnopqrstuvwx}}",
    "env: {DB: 'postgres://joe:hunter22@db/x'}",
    "env: {KEY: \"-----BEGIN RSA PRIVATE KEY-----\\nMIIE\"}",
    "env: {API_KEY: hunter22}",
    "args: {api-key: hunter22}",
])  # fmt: skip
def test_a_secret_is_no_literal(more: str) -> None:
    assert len(wrong(more)) == 1


@pytest.mark.parametrize("more", [
    "env: {URL: 'http://127.0.0.1:8000/a@b', IMAGE: 'a/b:c@d', RUN: 'curl http://joe:$PASSWORD@host'}",
    "env: {TOKEN_FILE: /run/secrets/token, TOKENS: '5'}",
])  # fmt: skip
def test_what_only_resembles_a_secret_is_none(more: str) -> None:
    assert spec(more)


def test_a_flag_of_a_training_may_be_a_secret_and_a_pad_token_is_none() -> None:
    text = "kind: training\nname: x\nengine: torchrun\nscript: t.py\nscript_args: {{{}}}\n"
    assert check(read("x", text.format("pad_token: '<pad>', api_key: EMPTY, use_auth_token: true")))
    with pytest.raises(SpecError) as caught:
        check(read("x", text.format("hub_token: hunter22")))
    assert [problem.path for problem in caught.value.problems] == [("script_args", "hub_token")]


def test_a_token_in_a_spec_is_not_shown_in_the_message_about_it() -> None:
    text = "a: hf_abcdefghijklmnopqrstuvwx # here"
    assert masked(text) == "a: " + "*" * 27 + " # here"
    assert masked("b: //nothing") == "b: //nothing"


def test_a_secret_is_a_type_that_shows_itself_to_nobody() -> None:
    value = Hidden("canary")
    shown = (str(value), repr(value), f"{value}", f"{value!r:>20}", "%s" % value, repr({"A": value}), f"{value:>30}")  # noqa: UP031
    assert not [text for text in shown if "canary" in text or "<secret>" not in text]
    assert value.bare() == "canary"
    for write in (json.dumps, pickle.dumps):
        with pytest.raises(TypeError) as caught:
            write(value)
        assert "canary" not in str(caught.value)


SOURCES = {
    "/": "whole disk", "/etc": "system", "/etc/ssl/": "system", "//etc": "system", "/srv/../etc": "system",
    "/proc": "system", "/sys/class": "system", "/dev/shm": "system", "/boot": "system", "/run/lock/mgpu": "system",
    "/var": "holds /var/lib/containerd", "/var/run/docker.sock": "socket", "/var/run": "system", "/run": "system",
    "/data/docker.sock": "socket", "/home": "every home", "/home/joe": "whole home", "/root": "whole home",
    "/home/joe/.ssh/id_rsa": "keys", "/root/.aws": "keys", "~": "whole home", "~/": "whole home", "~/.": "whole home",
    "~/.ssh": "keys", "~/./.ssh": "keys", "~/.local/state/mgpu": "keys", "~/../joe": "leads out of the home",
    "..": "leads out", "../data": "leads out", "a/../../b": "leads out", "/usr/local": "system",
}  # fmt: skip
HARMLESS = (
    "data", "./data", "a/../b", "..data", ".", "~/data", "~/.cache/huggingface", "/data", "/srv/models", "/mnt/x",
    "/home/joe/data", "/run/media/joe/disk", "/etcetera", "/opt/models", "/tmp/x",
)  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_what_takes_a_permission_to_mount(source: str) -> None:
    assert SOURCES[source] in (reason(source) or ""), source
    found = spec(f"volumes: ['{source}:/x']").powers
    assert [(power.name, power.problem.path) for power in found] == [("mount", ("volumes", 0))]


@pytest.mark.parametrize("source", HARMLESS)
def test_what_takes_none(source: str) -> None:
    assert reason(source) is None
    assert spec(f"volumes: ['{source}:/x']").powers == ()


def test_programs_may_be_read_and_a_home_is_known_by_its_path() -> None:
    assert reason("/usr/local/cuda", read_only=True) is None
    assert reason("/data/joe", home="/data/joe") == "is the whole home"
    assert reason("/data", home="/data/joe") == "holds /data/joe"
    assert reason("/data/joe/.ssh", home="/data/joe") == "is where keys are kept"


def test_a_process_mounts_nothing() -> None:
    assert spec("volumes: ['/etc:/x']").powers
    assert (
        check(read("x", VLLM.format(model="a/b", more="volumes: ['/etc:/x']").replace("docker", "process"))).powers
        == ()
    )


def test_the_file_of_a_secret_is_a_way_into_the_container_too() -> None:
    (found,) = spec(
        "secrets: [{name: A, file: ~/.ssh/id_rsa}, {name: B, file: ~/.b}, {name: C, file: /run/secrets/c}]"
    ).powers
    assert (found.name, found.problem.path) == ("mount", ("secrets", 0, "file"))


@pytest.mark.parametrize(("more", "name", "option"), [
    ("privileged: true", "privileged", "--privileged"),
    ("cap_add: [SYS_PTRACE]", "cap_add", "--cap-add CAP_SYS_PTRACE"),
    ("devices: [/dev/fuse]", "devices", "--device /dev/fuse"),
    ("ipc: host", "ipc", "--ipc host"),
    ("network: host", "network", "--network host"),
    ("pid: host", "pid", "--pid host"),
])  # fmt: skip
def test_power_is_asked_for_with_its_place_and_rendering_never_refuses(more: str, name: str, option: str) -> None:
    text = VLLM.format(model="a/b", more=f"container: {{{more}}}\n")
    found = check(read("x", text))
    (power,) = found.powers
    assert (power.name, power.problem.mark and power.problem.mark.line) == (name, 6)
    assert power.problem in found.warnings
    done = compile(text, shorthand("1xh100"))
    assert option in script(done.plan, done.commands)


def test_what_is_not_asked_for_is_not_there() -> None:
    done = compile(VLLM.format(model="a/b", more=""), shorthand("1xh100"))
    text = script(done.plan, done.commands)
    assert not [word for word in ("privileged", "cap-add", "--device ", "--ipc", "--network", "--pid") if word in text]
    assert done.spec.powers == ()


def test_memory_and_limits_take_no_permission() -> None:
    more = "container: {shm_size: 24GiB, ulimits: {memlock: -1}}\n"
    done = compile(VLLM.format(model="a/b", more=more), shorthand("1xh100"))
    text = script(done.plan, done.commands)
    assert done.spec.powers == ()
    assert "--shm-size 24g" in text
    assert "--ulimit memlock=-1" in text
    small = compile(VLLM.format(model="a/b", more="container: {shm_size: 1GB}\n"), shorthand("1xh100"))
    assert "--shm-size 1000000000b" in script(small.plan, small.commands)


def test_the_network_of_the_host_is_listened_on_where_the_spec_says() -> None:
    done = compile(VLLM.format(model="a/b", more="container: {network: host}\n"), shorthand("1xh100"))
    text = script(done.plan, done.commands)
    assert "--host 127.0.0.1" in text
    assert "--publish" not in text


def test_a_privileged_container_is_told_its_own_gpus() -> None:
    more = "gpus: {ids: [3]}\ncontainer: {privileged: true}\n"
    (command,) = compile(VLLM.format(model="a/b", more=more), shorthand("8xh100")).commands
    assert dict(command.env)["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.mark.parametrize(("more", "said"), [
    ("container: {devices: [/dev/nvidia0]}", "GPUs are given by gpus"),
    ("container: {devices: [/etc]}", "a device"),
    ("container: {ipc: host, shm_size: 1GiB}", "the host's own /dev/shm counts"),
    ("container: {ipc: private}", "ipc cannot be 'private'"),
    ("container: {ulimits: {files: 3}}", "a limit of Docker's"),
    ("container: {priviledged: true}", "unknown key 'priviledged'"),
])  # fmt: skip
def test_what_a_container_cannot_be_given(more: str, said: str) -> None:
    assert said in " ".join(wrong(more))


def test_a_process_has_no_container() -> None:
    text = "kind: task\nname: x\ncommand: ['true']\nruntime: process\ncontainer: {privileged: true}\n"
    with pytest.raises(SpecError) as caught:
        check(read("x", text))
    (problem,) = caught.value.problems
    assert (problem.message, problem.mark) == ("a process of the host has no container", (5, 1))


TRUSTING = (
    "args: {trust-remote-code: true}", "args: {trust_remote_code: true}", "env: {TRUST_REMOTE_CODE: '1'}",
    "args: {hf-overrides: {trust_remote_code: true}}", "env: {ARGS: 'pretrained=x,trust_remote_code=True'}",
)  # fmt: skip
NOT_TRUSTING = (
    "args: {trust-remote-code: false}", "env: {TRUST_REMOTE_CODE: '0'}", "args: {no-trust-remote-code: true}",
    "env: {ARGS: 'pretrained=x,trust_remote_code=False'}",
)  # fmt: skip


@pytest.mark.parametrize("more", TRUSTING)
def test_code_that_comes_with_a_model_is_asked_for(more: str) -> None:
    assert [power.name for power in spec(more).powers] == ["trust-remote-code"]


@pytest.mark.parametrize("more", NOT_TRUSTING)
def test_code_that_is_not_run_needs_nobody_to_allow_it(more: str) -> None:
    assert spec(more).powers == ()


@pytest.mark.parametrize(("words", "trusts"), [
    ("[serve, --trust-remote-code]", True), ("[serve, --trust_remote_code=True]", True),
    ("[serve, --trust-remote-code, 'false']", False), ("[serve, --no-trust-remote-code]", False),
])  # fmt: skip
def test_so_is_it_in_the_words_of_a_command(words: str, trusts: bool) -> None:
    found = check(read("x", f"kind: inference\nname: x\nengine: custom\nport: 80\nimage: a\ncommand: {words}\n"))
    assert bool(found.powers) is trusts


def test_allow_takes_the_names_of_powers() -> None:
    assert allow.granted(["cap-add,mount", "trust_remote_code"]) == {"cap_add", "mount", "trust-remote-code"}
    for word in ("all", "mounts", ""):
        with pytest.raises(UsageError):
            allow.granted([word])


def test_a_server_listens_on_this_host_alone_and_one_for_all_should_ask_for_a_key() -> None:
    (command,) = compile(VLLM.format(model="a/b", more=""), shorthand("1xh100")).commands
    assert command.container
    assert command.container.publish[0][0] == "127.0.0.1"
    (warning,) = spec("host: 0.0.0.0").warnings
    assert "asks for no key" in warning.message
    assert spec("host: 0.0.0.0\nsecrets: [VLLM_API_KEY]").warnings == ()


def test_every_container_is_held_in() -> None:
    (command,) = compile(VLLM.format(model="a/b", more=""), shorthand("1xh100")).commands
    data = json.loads(json.dumps(command_data(command)))
    host = create_arguments(data["argv"], data["env"], data["container"])["host_config"]
    assert (host["init"], host["security_opt"], host["log_config"]["Type"]) == (True, ["no-new-privileges"], "local")
    assert (host["privileged"], host["cap_add"], host["devices"]) == (False, None, None)
    assert "restart_policy" not in host


def test_debug_sets_variables_that_the_spec_and_the_caller_may_set_otherwise() -> None:
    found = debugged(spec("env: {NCCL_DEBUG: TRACE}"), ["nccl,cuda"], {"CUDA_LAUNCH_BLOCKING": "0"}).jobs[0].env
    assert (found["NCCL_DEBUG"], found["CUDA_LAUNCH_BLOCKING"]) == ("TRACE", "0")
    assert "INIT" in found["NCCL_DEBUG_SUBSYS"]
    with pytest.raises(UsageError, match="--debug cannot be 'ncl'"):
        debugged(spec(), ["ncl"], {})


def test_no_spec_that_mgpu_ships_asks_for_power() -> None:
    root = Path(__file__).parents[1]
    files = [path for folder in ("specs", "examples") for path in root.glob(f"{folder}/**/*.mgpu.yaml")]
    assert len(files) > 40
    assert not [path.name for path in files if check(read(path.name, path.read_text())).powers]

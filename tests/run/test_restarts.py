"""Real jobs that crash: started anew with a limit, their leases kept meanwhile, and not at all where it cannot help."""

from __future__ import annotations

import json
import re

import pytest

from tests.end_to_end.host import eventually
from tests.fakes.docker import BUSYBOX
from tests.run.scene import Scene

CRASHES = "echo >> ran; exit 3"
NO_ROOM = "ValueError: No available memory for the cache blocks."
TWICE = {"policy": "on-failure", "max": 2}


def whats(host: Scene) -> list[str]:
    """The events of the only run, but for those of mgpu's own book-keeping."""
    (run,) = host.runs()
    with open(f"{run['folder']}/events.jsonl", encoding="utf-8") as file:
        every = [json.loads(line)["what"] for line in file]
    return [what for what in every if what not in ("kept", "over", "boxed", "exited", "base", "freed")]


def test_it_is_started_anew_up_to_the_most(host: Scene) -> None:
    done = host.mgpu("run", host.job(CRASHES, restart={"policy": "on-failure", "max": 1}))
    assert (done.returncode, host.ran()) == (3, 2)
    assert "job ended with 3; it is started anew in 1 s (1 of 1)" in done.stderr
    assert "job is not started anew: it was restarted once, and 1 is the most" in done.stderr
    assert whats(host) == ["started", "ready", "restarting", "started", "ready", "gave-up", "failed"]


def test_it_ends_well_the_second_time(host: Scene) -> None:
    done = host.mgpu("run", host.job("echo >> ran; test $(wc -l < ran) = 2", restart="on-failure"))
    assert (done.returncode, host.ran()) == (0, 2)
    assert whats(host)[-1] == "ended"


def test_without_a_policy_nothing_is_started_anew(host: Scene) -> None:
    assert (host.mgpu("run", host.job(CRASHES)).returncode, host.ran()) == (3, 1)


def test_the_leases_are_kept_meanwhile_and_stop_ends_it_at_once(host: Scene) -> None:
    policy = {"policy": "on-failure", "max": 9}
    runner = host.start("run", host.job("echo >> ran; exit 3", restart=policy))
    eventually(lambda: len(host.events("restarting")) >= 3, "three restarts, and 4 s until the next life")
    assert (host.held(), host.locked()) == (2, 2)

    def state() -> dict[str, str]:
        return next(run["tasks"][0] for run in host.runs() if run["name"] == "job")

    waiting = r"restarting in \d+ s \(\d of 9\)"
    resting = eventually(lambda: (now := state()) and re.fullmatch(waiting, now["state"]) and now, "ps shows it")
    assert resting["pid"] is None
    assert host.mgpu("stop", "job").returncode == 0
    runner.communicate(timeout=30)
    assert runner.returncode == 130
    assert whats(host)[-3:] == ["restarting", "stopping", "ended"], "it was stopped while nothing of it ran"
    (last, asked), ended = host.events("restarting")[-1:] + host.events("stopping"), host.events("ended")[0]
    assert ended["time"] - asked["time"] < 0.5 < last["after"], "the end of the back-off was not waited for"
    assert host.held() == 0


@pytest.mark.parametrize(("script", "code", "why"), [
    ("echo >> ran; no-such-program", 127, "what it is to execute cannot be executed"),
    (f"echo >> ran; echo '{NO_ROOM}'; exit 1", 1, "once the weights are loaded nothing is left"),
])  # fmt: skip
def test_what_cannot_help_is_not_repeated(host: Scene, script: str, code: int, why: str) -> None:
    done = host.mgpu("run", host.job(script, restart=TWICE))
    assert done.returncode == code
    assert "job is not started anew: " + why in done.stderr
    assert host.ran() == 1


def test_one_cause_twice_in_a_row_is_enough(host: Scene) -> None:
    words = (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has a total capacity of 79 GiB"
    )
    done = host.mgpu("run", host.job(f"echo >> ran; echo '{words}'; exit 1", restart={"policy": "always", "max": 9}))
    assert (done.returncode, host.ran()) == (1, 2), done.stderr
    assert re.search("job is not started anew: .*, twice in a row", done.stderr)


def test_what_is_no_program_is_not_tried_again(host: Scene) -> None:
    (host.folder / "text").write_bytes(b"\0nothing that a kernel executes")
    (host.folder / "text").chmod(0o755)
    done = host.mgpu("run", host.spec("kind: task\ncommand: [./text]\nrestart: on-failure\n"))
    assert done.returncode == 126
    assert "job is not started anew: it cannot be started" in done.stderr


def test_the_timeout_is_for_all_lives_together(host: Scene) -> None:
    policy = {"policy": "on-failure", "max": 9}
    done = host.mgpu("run", host.job(CRASHES, timeout="2s", restart=policy))
    assert done.returncode == 124
    assert host.ran() == 2, "one restart, after 1 s; the second would have been 2 s after that"
    assert whats(host)[-2:] == ["gave-up", "failed"]


def test_who_needs_it_stays_and_it_is_not_ready_until_its_probe_says_so(host: Scene) -> None:
    server = "if test $(wc -l < ran 2>/dev/null || echo 0) = 0; then echo >> ran; echo up; sleep 0.5; exit 4; fi; "
    server += "echo >> ran; while ! test -e go; do sleep 0.05; done; echo up; sleep 100"
    spec = host.spec(f"""
kind: pipeline
jobs:
  server:
    kind: inference
    engine: custom
    command: [sh, -c, {json.dumps(server)}]
    gpus: 0
    ready: {{log: "^up"}}
    restart: on-failure
  user:
    kind: task
    command: [sh, -c, "echo >> used; while ! test -e end; do sleep 0.05; done"]
    needs: {{server: ready}}
""")
    runner = host.start("run", spec)
    eventually(lambda: len(host.events("started")) == 3, "the server is started anew")

    def states() -> list[str]:
        return [task["state"] for run in host.runs() for task in run["tasks"]]

    eventually(lambda: states() == ["starting", "ready"], "the line of its first life does not make it ready")
    (host.folder / "go").touch()
    eventually(lambda: states() == ["ready", "ready"], "it is ready again")
    (host.folder / "end").touch()
    runner.communicate(timeout=30)
    assert runner.returncode == 0
    assert (host.folder / "used").read_text() == "\n", "who needs it was not started again"


def test_a_server_that_is_late_is_started_anew_with_a_deadline_of_its_own(host: Scene) -> None:
    done = host.mgpu(
        "run",
        host.spec("""
kind: inference
engine: custom
command: [sh, -c, "echo >> ran; sleep 100"]
gpus: 0
ready: {log: "^up", within: 0.5}
restart: {policy: on-failure, max: 1}
"""),
    )
    assert (done.returncode, host.ran()) == (125, 2), done.stderr
    assert len(host.events("late")) == 2


def test_a_container_is_made_anew_under_its_name(docked: Scene) -> None:
    done = docked.mgpu("run", docked.job("hostname; " + CRASHES, restart={"policy": "on-failure", "max": 1}))
    assert (done.returncode, docked.ran()) == (3, 2), done.stderr
    boxed = docked.events("boxed")
    assert [event["life"] for event in boxed] == [0, 1]
    assert len({event["container"] for event in boxed}) == 2
    assert len(set(done.stdout.split())) == 2, done.stdout
    assert docked.boxes() == []


def test_what_docker_refuses_is_not_tried_again(docked: Scene) -> None:
    spec = f"kind: task\nimage: {BUSYBOX}\ncommand: [/nothing]\nrestart: on-failure\n"
    done = docked.mgpu("run", docked.spec(spec))
    assert done.returncode == 127, done.stderr
    assert "job is not started anew: what it is to execute cannot be executed" in done.stderr


def test_what_stands_for_a_container_is_gone_on_with_and_that_is_no_restart(docked: Scene) -> None:
    point = {"role": "standin", "file": "run/box.py", "name": "followed", "event": "call", "times": 1}
    spec = docked.job(CRASHES, restart={"policy": "on-failure", "max": 1})
    done = docked.mgpu("run", spec, **docked.armed(**point))
    assert (done.returncode, docked.hit(), docked.ran()) == (3, 1, 2)
    assert (len(docked.events("resumed")), len(docked.events("restarting"))) == (1, 1)


def test_a_name_is_taken_by_the_same_spec_or_by_another(host: Scene) -> None:
    spec = host.job(gpus=4)
    assert host.mgpu("run", "--detach", spec).returncode == 0
    same = host.mgpu("run", spec)
    assert (same.returncode, "of this very spec, unchanged" in same.stderr) == (2, True), same.stderr
    other = host.mgpu("run", host.job("sleep 1", gpus=4))
    assert (other.returncode, "of another spec" in other.stderr) == (2, True), other.stderr
    host.mgpu("stop", "job")


@pytest.mark.parametrize(("keys", "words"), [
    ("args: {max-restarts: 2}\nrestart: on-failure", "5:1: restart and args: max-restarts are two policies"),
    ("args: {max-restarts: 2}\nrestart: no", ""),
    ("args: {max-restarts: 0}\nrestart: on-failure", ""),
    ("engine: deepspeed\nargs: {elastic_training: true}\nrestart: always", "restart and args: elastic_training are"),
    ("restart: {max: 3}", "policy is missing in restart"),
    ("restart: onfailure", "restart cannot be 'onfailure'"),
    ("restart: {policy: always, max: 0}", "restart.max wants a number from 1"),
])  # fmt: skip
def test_one_policy_for_each_job(host: Scene, keys: str, words: str) -> None:
    engine = "" if keys.startswith("engine") else "engine: torchrun\n"
    spec = host.spec(f"kind: training\n{engine}script: a.py\n{keys}\n")
    done = host.mgpu("validate", spec)
    assert (done.returncode == 1, words in done.stdout) == (bool(words), True), done.stdout

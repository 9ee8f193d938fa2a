"""The policy alone: ends in, what follows from them out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgpu.run.restarts import FIRST, HEALTHY, LONGEST, SHORT, Again, End, Over, Policy, delay, judged

ON_FAILURE, ALWAYS = Policy("on-failure"), Policy("always")
LIVES = st.floats(0, 3 * HEALTHY)
POLICIES = st.builds(
    Policy,
    st.sampled_from(["on-failure", "always"]),
    st.integers(1, 6),
    st.none() | st.floats(1, 5000),
)


def crash(life: float = 1.0, at: float = 0.0, **more: object) -> End:
    return End(at, life, 1, **more)  # type: ignore[arg-type]


def carried(policy: Policy, lives: list[float]) -> list[Again | Over | None]:
    """What was said after each of these lives, until it was not started anew."""
    now, before, said = 0.0, (), []  # type: tuple[float, tuple[End, ...], list[Again | Over | None]]
    for life in lives:
        now += life
        end = crash(life, now)
        said.append(judged(policy, before, end))
        if not isinstance(said[-1], Again):
            break
        now += said[-1].after
        before = (*before, end)
    return said


@given(POLICIES, st.lists(LIVES, min_size=20, max_size=30))
def test_a_wait_is_bounded_and_grows_in_a_row(policy: Policy, lives: list[float]) -> None:
    said = carried(policy, lives)
    waits = [each.after for each in said if isinstance(each, Again)]
    assert all(FIRST <= wait <= LONGEST for wait in waits)
    for at in range(1, len(waits)):
        assert waits[at] == (FIRST if lives[at] >= HEALTHY else min(LONGEST, 2 * waits[at - 1]))


@given(POLICIES, st.lists(st.floats(0, HEALTHY - 1), min_size=20, max_size=30))
def test_never_more_than_the_most(policy: Policy, lives: list[float]) -> None:
    said = carried(policy, lives)
    restarts = [each for each in said if isinstance(each, Again)]
    assert all(1 <= each.nth <= each.most == policy.max for each in restarts)
    if policy.within is None:
        assert len(restarts) == policy.max
        assert isinstance(said[-1], Over)


@given(st.integers(1, 5), st.floats(1, 5000), st.lists(LIVES, min_size=20, max_size=30))
def test_within_counts_in_any_stretch_of_that_time(most: int, within: float, lives: list[float]) -> None:
    said = carried(Policy("on-failure", most, within), lives)
    now, at = 0.0, []
    for life, each in zip(lives, said, strict=False):
        now += life
        if isinstance(each, Again):
            at.append(now)
            now += each.after
    for start in at:
        assert sum(start <= when < start + within for when in at) <= most


def test_a_long_healthy_life_ends_a_row() -> None:
    said = carried(ON_FAILURE, [1, 1, 1, HEALTHY, 1, 1])
    assert [each.nth for each in said if isinstance(each, Again)] == [1, 2, 3, 1, 2, 3]


def test_waits_double_up_to_the_longest() -> None:
    assert [delay(row) for row in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert delay(10**9) == LONGEST


@pytest.mark.parametrize(("policy", "failed", "again"), [
    ("no", True, False), ("no", False, False), ("on-failure", True, True),
    ("on-failure", False, False), ("always", True, True), ("always", False, True),
])  # fmt: skip
def test_what_a_policy_is_about(policy: str, failed: bool, again: bool) -> None:
    said = judged(Policy(policy), (), End(0, 1, int(failed), failed))
    assert isinstance(said, Again) == again
    assert again or said is None


def test_what_cannot_help_is_not_tried() -> None:
    assert judged(ALWAYS, (), crash(helpless="it cannot be started")) == Over("it cannot be started")
    said = judged(ON_FAILURE, (), crash(cause="flag", words="the engine has no flag --x", lasting=True))
    assert said == Over("the engine has no flag --x: that would be so again")


@pytest.mark.parametrize(("first", "then", "lives", "over"), [
    ("oom", "oom", (1, 1), True), ("oom", "nccl", (1, 1), False), ("", "", (1, 1), False),
    ("oom", "oom", (1, SHORT), False), ("oom", "oom", (SHORT, 1), False),
])  # fmt: skip
def test_one_cause_twice_in_a_row(first: str, then: str, lives: tuple[float, float], over: bool) -> None:
    before = (crash(lives[0], cause=first, words="it ran out"),)
    said = judged(ON_FAILURE, before, crash(lives[1], cause=then, words="it ran out"))
    assert (said == Over("it ran out, twice in a row")) == over

"""Memory over random histories: it stays bounded, doing it again changes nothing, and the past can be had back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.agents import memory as memory_module
from jurat.agents.memory import NOTHING, Learned, Memory, as_of, remember
from jurat.schemas.decision import InputRef

BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FEW = 4
"""In place of `MAX_FACTS`, so that random histories reach it."""

LEARNED = st.builds(
    Learned,
    name=st.sampled_from("abcdef"),
    value=st.sampled_from([None, True, 1, 0, "x"]),
    since=st.just(BEGAN),
    purpose=st.just("retention"),
)
INPUTS = st.lists(st.lists(LEARNED, max_size=FEW), max_size=12)


@pytest.fixture(autouse=True, scope="module")
def _few() -> object:
    patch = pytest.MonkeyPatch()
    patch.setattr(memory_module, "MAX_FACTS", FEW)
    yield
    patch.undo()


def where(offset: int) -> InputRef:
    return InputRef(topic="t", partition=0, offset=offset)


def at(offset: int) -> datetime:
    return BEGAN + timedelta(seconds=offset)


def history(inputs: list[list[Learned]]) -> list[Memory]:
    """The memory after each input."""
    memory, after = NOTHING, []
    for offset, learned in enumerate(inputs):
        memory = remember(memory, learned, source=where(offset), learned_at=at(offset))
        after.append(memory)
    return after


@given(INPUTS)
def test_what_stands_is_the_newest_of_each_name(inputs: list[list[Learned]]) -> None:
    newest: dict[str, tuple[object, int]] = {}
    for offset, learned in enumerate(inputs):
        newest |= {one.name: (one.value, offset) for one in learned}
    after = history(inputs)
    memory = after[-1] if after else NOTHING
    assert len(memory.facts) <= FEW
    standing = [fact for fact in memory.facts if fact.ended_at is None]
    assert len({fact.name for fact in standing}) == len(standing)
    for fact in standing:
        value, offset = newest[fact.name]
        assert (fact.value, type(fact.value), fact.source.offset) == (value, type(value), offset)
    if memory.trimmed_at is None:
        assert {fact.name for fact in standing} == {
            name for name, (value, _) in newest.items() if value is not None
        }


@given(INPUTS)
def test_teaching_again_from_the_same_source_changes_nothing(inputs: list[list[Learned]]) -> None:
    for offset, (learned, memory) in enumerate(zip(inputs, history(inputs), strict=True)):
        assert remember(memory, learned, source=where(offset), learned_at=at(offset + 100)) == memory


@given(INPUTS)
def test_a_standing_fact_goes_only_where_no_ended_one_is_left(inputs: list[list[Learned]]) -> None:
    before = NOTHING
    for learned, memory in zip(inputs, history(inputs), strict=True):
        taught = {one.name for one in learned}
        names = {fact.name for fact in memory.facts}
        lost = [fact for fact in before.facts if fact.ended_at is None and fact.name not in taught | names]
        if lost:
            assert all(fact.ended_at is None for fact in memory.facts)
        before = memory


@given(INPUTS)
def test_the_memory_as_of_a_moment_is_what_it_was_then(inputs: list[list[Learned]]) -> None:
    after = history(inputs)
    for offset, then in enumerate(after):
        for later in after[offset:]:
            if later.whole_at(at(offset)):
                assert as_of(later, at(offset)) == then
            else:
                assert set(as_of(later, at(offset)).facts) <= set(then.facts)


def test_another_kind_of_value_is_another_fact() -> None:
    said = [Learned("a", value, BEGAN, "retention") for value in (True, 1)]
    first = remember(NOTHING, said[:1], source=where(0), learned_at=at(0))
    second = remember(first, said[1:], source=where(0), learned_at=at(1))
    known = second.known("a")
    assert known is not None
    assert known.value is not True
    assert len(second.facts) == 2


def test_what_was_trimmed_is_said_to_be_missing_for_the_time_before_alone() -> None:
    memory = NOTHING
    for offset in range(FEW + 1):
        said = Learned(f"n-{offset}", offset, BEGAN, "retention")
        memory = remember(memory, [said], source=where(offset), learned_at=at(offset))
    assert memory.trimmed_at == at(FEW)
    assert [memory.whole_at(at(offset)) for offset in (FEW - 1, FEW)] == [False, True]
    assert as_of(memory, at(FEW)) == memory
    assert as_of(memory, at(FEW - 1)).trimmed_at is None


@given(INPUTS)
def test_it_comes_back_from_json(inputs: list[list[Learned]]) -> None:
    for memory in history(inputs):
        again = Memory.model_validate_json(memory.model_dump_json())
        assert [type(fact.value) for fact in again.facts] == [type(fact.value) for fact in memory.facts]
        assert again == memory

"""Tools in the journal: what a tool answered is never asked for again, and a wish is kept as it was worded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jurat.agents.agent import Situation
from jurat.agents.kernel import Use
from jurat.agents.reasoner import Proposal, RawArguments, Spent, ToolCall, ToolResult
from jurat.agents.tools import MAX_TOOL_BYTES
from jurat.schemas.errors import BrokerUnreachable, ProposalInvalid
from jurat.schemas.model import Model
from jurat.streams.journal import Journal
from jurat.streams.journal_entry import parse_entry
from tests.journal_stage import (
    EVENT,
    NOW,
    WHERE,
    Do,
    Log,
    MemoryWriter,
    Meters,
    Paid,
    Restoring,
    ask,
    opened,
    proposal,
)
from tests.tool_stage import Asked, Counted, called, counter, counting, raw_wish, wish

ABC = Asked(thing="abc")
THREE = ToolResult("count", ABC, Counted(count=3))


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Restoring:
    return Restoring(monkeypatch)


class Counter:
    """The tool, counting its uses."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.uses = 0
        self.failure = failure

    async def __call__(self, situation: object, asked: Asked) -> Counted:
        self.uses += 1
        if self.failure is not None:
            raise self.failure
        return await counting(situation, asked)

    def use(self, arguments: Model = ABC) -> Use:
        """A use of it."""
        return Use(counter(self), arguments, Situation(event=EVENT, now=NOW))


async def use(journal: Journal, wanted: Use, *, attempt: int = 1, number: int = 1) -> ToolResult:
    return await journal.use(wanted, where=WHERE, decision_id="dec_1", attempt=attempt, ask=number)


def kinds(log: Log) -> list[str]:
    return [parse_entry(value).kind.value for _key, value in log if value is not None]


async def test_2_3_4_the_intent_stands_before_a_use_and_the_answer_before_it_is_told() -> None:
    tool, writer = Counter(), MemoryWriter()
    assert await use(opened(writer), tool.use()) == THREE
    assert (kinds(writer.log), tool.uses) == (["use", "result"], 1)
    assert parse_entry(writer.log[1][1] or b"").call_id == "dec_1/1/1"


@pytest.mark.parametrize("failure", [None, ValueError("no")])
@pytest.mark.parametrize("attempt", [1, 2])
async def test_1_what_a_tool_answered_or_failed_is_used_again(
    restored: Restoring, failure: Exception | None, attempt: int
) -> None:
    tool, meters, writer = Counter(failure), Meters(), MemoryWriter()
    first = await use(opened(writer), tool.use())
    assert (first.failed is None) == (failure is None)
    again = await restored(writer.log, meters=meters)
    assert await use(again, Counter().use(), attempt=attempt) == first
    assert (tool.uses, meters.both) == (1, (1, 0))


async def test_1_other_arguments_are_another_question(restored: Restoring) -> None:
    tool, writer = Counter(), MemoryWriter()
    await use(opened(writer), tool.use())
    answer = await use(await restored(writer.log), tool.use(Asked(thing="abcd")))
    assert (answer.result, tool.uses) == (Counted(count=4), 2)


async def test_1_an_answer_of_a_reasoner_is_no_answer_of_a_tool_and_the_other_way_round(
    restored: Restoring,
) -> None:
    tool, writer = Counter(), MemoryWriter()
    await ask(opened(writer), Paid(proposal()), number=1)
    assert await use(await restored(writer.log), tool.use()) == THREE
    writer = MemoryWriter()
    await use(opened(writer), tool.use(), number=0)
    reasoner = Paid(proposal())
    assert await ask(await restored(writer.log), reasoner) == proposal()
    assert (tool.uses, reasoner.calls) == (2, 1)


async def test_1_a_use_that_was_under_way_is_made_again_and_told_once(restored: Restoring) -> None:
    tool, meters, writer = Counter(), Meters(), MemoryWriter()
    await use(opened(writer), tool.use())
    journal = await restored(writer.log[:1], meters=meters)
    assert await use(journal, tool.use()) == THREE
    assert (tool.uses, meters.both) == (2, (0, 1))


async def test_1_an_answer_that_this_release_does_not_know_is_a_failed_result(restored: Restoring) -> None:
    class Other(Model):
        number: int

    tool, writer = Counter(), MemoryWriter()
    await use(opened(writer), tool.use())
    later = replace(tool.use(), tool=replace(counter(tool), result=Other))
    answer = await use(await restored(writer.log), later)
    assert "its answer is none of this release" in (answer.failed or "")
    assert tool.uses == 1


async def test_4_an_answer_that_could_not_be_written_is_kept_for_the_next_attempt() -> None:
    failing = iter([False, True])

    async def fail_at_times() -> None:
        if next(failing, False):
            raise BrokerUnreachable("gone")

    tool, writer = Counter(), MemoryWriter(before=fail_at_times)
    journal = opened(writer)
    with pytest.raises(BrokerUnreachable):
        await use(journal, tool.use())
    assert await use(journal, tool.use(), attempt=2) == THREE
    assert (kinds(writer.log), tool.uses) == (["use", "result"], 1)


async def test_the_entries_of_a_tool_are_tombstoned_with_their_input() -> None:
    journal = opened(MemoryWriter())
    await ask(journal, Paid(wish()))
    await use(journal, Counter().use())
    assert len(journal.tombstones(WHERE)) == 2


@pytest.mark.parametrize(
    "given",
    [
        wish(call=called()),
        replace(wish(call=None), wasted=Spent(calls=1, input_tokens=0, output_tokens=0)),
        raw_wish("nonsense", thing=[1, {"a": None}]),
        wish("", call=None),
    ],
)
async def test_a_wish_comes_back_as_it_was_worded_and_is_not_bought_again(
    restored: Restoring, given: ToolCall
) -> None:
    writer = MemoryWriter()
    first = await ask(opened(writer), Paid(given))
    assert isinstance(first, ToolCall)
    assert isinstance(first.arguments, RawArguments)
    plain = (
        given.arguments.given
        if isinstance(given.arguments, RawArguments)
        else given.arguments.model_dump(mode="json")
    )
    assert first == ToolCall(given.tool, RawArguments(given=plain), given.call, given.wasted)
    assert kinds(writer.log) == ["intent", "tool"]
    reasoner = Paid(proposal())
    assert await ask(await restored(writer.log), reasoner) == first
    assert reasoner.calls == 0


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (raw_wish(thing="x" * MAX_TOOL_BYTES), "expected at most"),
        (ToolCall("count", None), "arguments of type NoneType"),  # type: ignore[arg-type]
        (ToolCall("count", Asked.model_construct(thing=2**60)), "no canonical form"),  # type: ignore[arg-type]
        (ToolCall("count", Asked.model_construct(thing="\ud800")), "no canonical form"),
        (wish(call=replace(called(), model="")), "model is refused"),
    ],
)
async def test_a_wish_that_cannot_be_written_is_invalid_now_and_later(
    restored: Restoring, given: Any, why: str
) -> None:
    writer, reasoner = MemoryWriter(), Paid(proposal())
    with pytest.raises(ProposalInvalid, match=why):
        await ask(opened(writer), Paid(given))
    assert kinds(writer.log) == ["intent", "invalid"]
    with pytest.raises(ProposalInvalid, match=why):
        await ask(await restored(writer.log), reasoner)
    assert reasoner.calls == 0


async def test_a_proposal_keeps_who_made_it_and_the_call_behind_it(restored: Restoring) -> None:
    writer = MemoryWriter()
    lost = Spent(calls=3, input_tokens=0, output_tokens=0)
    made = Proposal(Do(number=1), "because", 80, ("foreign",), "small-model", called(), wasted=lost)
    assert await ask(opened(writer), Paid(made)) == made
    assert await ask(await restored(writer.log), Paid(None)) == made

"""The journal of model calls, step by step; the numbers are those of its docstring."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from jurat.agents.agent import Agent
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.schemas.errors import (
    BrokerUnreachable,
    ConfigurationError,
    InputRejected,
    JuratError,
    NotAuthorized,
    PartitionFenced,
    ProposalInvalid,
    ReasonerUnavailable,
)
from jurat.schemas.model import Model
from jurat.streams import journal as journal_module
from jurat.streams.journal_entry import MAX_ENTRY_BYTES, parse_entry, parse_key
from tests.journal_stage import (
    EVENT,
    PARTITION,
    TOPIC,
    WHERE,
    Answer,
    Do,
    Foreign,
    Later,
    Log,
    MemoryWriter,
    Meters,
    Paid,
    Restoring,
    ask,
    doer,
    opened,
    proposal,
    request,
)


class Kept(Model):
    count: int


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Restoring:
    return Restoring(monkeypatch)


def kinds(log: Log) -> list[str]:
    return [parse_entry(value).kind.value for _key, value in log if value is not None]


async def test_2_3_4_the_intent_stands_before_the_call_and_the_answer_before_its_use() -> None:
    writer = MemoryWriter()
    seen: list[list[str]] = []

    class Looking(Paid):
        async def propose(self, request: ProposalRequest) -> Proposal | None:
            seen.append(kinds(writer.log))
            return await super().propose(request)

    reasoner = Looking(proposal())
    assert await ask(opened(writer), reasoner, attempt=3, number=1) == proposal()
    assert seen == [["intent"]]
    assert kinds(writer.log) == ["intent", "proposal"]
    (key,) = {key for key, _value in writer.log}
    assert parse_key(key)[:4] == (TOPIC, 7, 3, 1)
    entry = parse_entry(writer.log[1][1] or b"")
    assert entry.call_id == reasoner.asked[0].call_id == "dec_1/3/1"
    assert (entry.asked_at, entry.answered_at) == (
        "2026-11-22T16:40:00.000000Z",
        "2026-11-22T16:40:01.000000Z",
    )


async def test_a_deterministic_reasoner_is_not_journalled() -> None:
    writer = MemoryWriter()
    reasoner = Paid(proposal())
    reasoner.deterministic = True
    journal = opened(writer)
    assert await ask(journal, reasoner) == proposal()
    assert (writer.log, len(journal), reasoner.asked[0].call_id) == ([], 0, "")


@pytest.mark.parametrize("answer", [proposal(), None, ProposalInvalid("no such thing"), InputRejected("bad")])
@pytest.mark.parametrize("attempt", [1, 2])
async def test_1_a_finished_call_is_used_again(restored: Restoring, answer: Answer, attempt: int) -> None:
    writer, meters = MemoryWriter(), Meters()

    async def outcome(journal: journal_module.Journal, reasoner: Paid, attempt: int) -> object:
        try:
            return await ask(journal, reasoner, attempt=attempt)
        except JuratError as error:
            return type(error), str(error)

    first = await outcome(opened(writer), Paid(answer), 1)
    reasoner = Paid(proposal(99))
    again = await restored(writer.log, meters=meters)
    assert await outcome(again, reasoner, attempt) == first
    assert (reasoner.calls, meters.both) == (0, (1, 0))


async def test_1_a_call_that_was_under_way_is_made_again_and_told_once(
    restored: Restoring, caplog: pytest.LogCaptureFixture
) -> None:
    writer, meters = MemoryWriter(), Meters()
    await ask(opened(writer), Paid(proposal()))
    journal = await restored(writer.log[:1], meters=meters, writer=(second := MemoryWriter()))
    reasoner = Paid(ReasonerUnavailable("busy"), proposal(2))
    with pytest.raises(ReasonerUnavailable):
        await ask(journal, reasoner)
    assert meters.both == (0, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "dec_1/1/0" in caplog.text
    assert await ask(journal, reasoner, attempt=2) == proposal(2)
    assert meters.both == (0, 1), "the call before this one is known not to have been answered"
    assert len(set(journal.tombstones(WHERE))) == 3
    assert {key for key, _value in writer.log} | {key for key, _value in second.log} == set(
        journal.tombstones(WHERE)
    )


@pytest.mark.parametrize("error", [ReasonerUnavailable("busy"), ConfigurationError("busy with another key")])
async def test_1_an_unavailable_reasoner_is_asked_again_without_alarm(
    restored: Restoring, error: JuratError
) -> None:
    writer, meters = MemoryWriter(), Meters()
    with pytest.raises(type(error), match="busy"):
        await ask(opened(writer), Paid(error))
    assert kinds(writer.log) == ["intent", "unavailable"]
    journal = await restored(writer.log, meters=meters)
    assert await ask(journal, Paid(proposal())) == proposal()
    assert meters.both == (0, 0)


async def test_1_another_question_is_another_call(restored: Restoring) -> None:
    writer, meters = MemoryWriter(), Meters()
    await ask(opened(writer), Paid(proposal()), number=0)
    reasoner = Paid(proposal(2))
    assert await ask(await restored(writer.log, meters=meters), reasoner, number=1) == proposal(2)
    assert (reasoner.calls, meters.both) == (1, (0, 0))


async def test_1_what_a_later_attempt_answered_is_used_when_its_count_was_lost(restored: Restoring) -> None:
    """A count of failures that was not committed starts again lower; the answer was paid for all the same."""
    writer, meters = MemoryWriter(), Meters()
    journal = opened(writer)
    await ask(journal, Paid(proposal(1)), attempt=2)
    reasoner = Paid(proposal(2))
    assert await ask(await restored(writer.log, meters=meters), reasoner, attempt=1) == proposal(1)
    assert (reasoner.calls, meters.both) == (0, (1, 0))


async def test_nothing_is_bought_for_a_partition_that_may_be_somebody_elses() -> None:
    writer, reasoner = MemoryWriter(), Paid(proposal())

    def refuse() -> None:
        raise PartitionFenced("not ours")

    journal = opened(writer, check_ours=refuse)
    with pytest.raises(PartitionFenced):
        await ask(journal, reasoner)
    assert (reasoner.calls, writer.log) == (0, [])


async def test_1_an_answer_is_used_whatever_is_known_by_now_and_the_difference_is_told(
    restored: Restoring, caplog: pytest.LogCaptureFixture
) -> None:
    writer = MemoryWriter()
    await ask(opened(writer), Paid(proposal()), request(state=Kept(count=1)))
    journal = await restored(writer.log)
    with caplog.at_level(logging.INFO, logger=journal_module.__name__):
        assert await ask(journal, Paid(None), request(state=Kept(count=1))) == proposal()
        assert caplog.records == []
        assert await ask(journal, Paid(None), request(state=Kept(count=2))) == proposal()
    assert [record.levelname for record in caplog.records] == ["INFO"]


async def test_1_an_answer_about_another_event_at_this_offset_is_not_used(
    restored: Restoring, caplog: pytest.LogCaptureFixture
) -> None:
    writer = MemoryWriter()
    await ask(opened(writer), Paid(proposal()))
    other = request(event=EVENT.model_copy(update={"order_id": "o-2"}))
    assert await ask(await restored(writer.log), Paid(proposal(2)), other) == proposal(2)
    assert "another event" in caplog.text


@pytest.mark.parametrize("agent", [doer(Foreign), doer(Later)], ids=["no action", "other parameters"])
async def test_1_a_proposal_that_this_release_does_not_know_is_invalid_and_not_bought_again(
    restored: Restoring, agent: Agent[Any]
) -> None:
    writer, meters, reasoner = MemoryWriter(), Meters(), Paid(proposal())
    await ask(opened(writer), Paid(proposal()))
    journal = await restored(writer.log, agent=agent, meters=meters)
    with pytest.raises(ProposalInvalid):
        await ask(journal, reasoner)
    assert (reasoner.calls, meters.both) == (0, (1, 0))


async def test_3_a_reasoner_that_fails_otherwise_may_have_been_paid(restored: Restoring) -> None:
    writer, meters = MemoryWriter(), Meters()
    with pytest.raises(ZeroDivisionError):
        await ask(opened(writer), Paid(ZeroDivisionError()))
    await ask(await restored(writer.log, meters=meters), Paid(proposal()))
    assert meters.both == (0, 1)


def too_large() -> Proposal:
    return Proposal(Do(number=1), "x" * MAX_ENTRY_BYTES)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (too_large(), "bytes, expected at most"),
        (Proposal(Foreign(number=1), "x"), "of type Foreign, expected an action of doer"),
        (Proposal(Do(number=2**60), "x"), "cannot be"),
        (Proposal(Do(number=1), "\ud800"), "cannot be|refused"),
        (Proposal(Do(number=1), "x", confidence=101), "confidence is refused"),
        (Proposal(Do(number=1), "x", alternatives=("",)), "alternatives.0 is refused"),
    ],
    ids=["large", "foreign", "number", "text", "confidence", "alternatives"],
)
async def test_4_an_answer_that_cannot_be_used_is_invalid_now_and_later(
    restored: Restoring, answer: Proposal, why: str
) -> None:
    writer, reasoner = MemoryWriter(), Paid(proposal())
    with pytest.raises(ProposalInvalid, match=why):
        await ask(opened(writer), Paid(answer))
    assert kinds(writer.log) == ["intent", "invalid"]
    with pytest.raises(ProposalInvalid, match=why):
        await ask(await restored(writer.log), reasoner)
    assert reasoner.calls == 0


async def test_2_a_call_is_not_made_when_its_intent_cannot_be_written() -> None:
    async def refuse() -> None:
        raise NotAuthorized("no")

    meters, reasoner = Meters(), Paid(proposal())
    writer = MemoryWriter(before=refuse)
    journal = opened(writer, meters=meters)
    with pytest.raises(NotAuthorized):
        await ask(journal, reasoner)
    assert (reasoner.calls, len(journal.tombstones(WHERE))) == (0, 1), "it may stand there all the same"
    writer.before = None
    assert await ask(journal, reasoner, attempt=2) == proposal()
    assert meters.both == (0, 0)


async def test_4_an_answer_that_could_not_be_written_is_kept_for_the_next_attempt() -> None:
    failing = iter([False, True, True])

    async def fail_at_times() -> None:
        if next(failing, False):
            raise BrokerUnreachable("gone")

    meters, reasoner = Meters(), Paid(proposal())
    writer = MemoryWriter(before=fail_at_times)
    journal = opened(writer, meters=meters)
    for attempt in (1, 2):
        with pytest.raises(BrokerUnreachable):
            await ask(journal, reasoner, attempt=attempt)
    assert kinds(writer.log) == ["intent"]
    assert await ask(journal, reasoner, attempt=3) == proposal()
    assert kinds(writer.log) == ["intent", "proposal"], "durable before it is used"
    assert (reasoner.calls, meters.both) == (1, (1, 0))


class Gate:
    """Holds writes back, from the second on."""

    def __init__(self) -> None:
        self.reached, self.opened, self.count = asyncio.Event(), asyncio.Event(), 0

    async def __call__(self) -> None:
        self.count += 1
        if self.count > 1:
            self.reached.set()
            await self.opened.wait()


async def test_4_a_cancelled_worker_writes_the_answer_that_it_has() -> None:
    gate = Gate()
    writer = MemoryWriter(before=gate)
    journal = opened(writer)
    asking = asyncio.create_task(ask(journal, Paid(proposal())))
    await gate.reached.wait()
    asking.cancel()
    await asyncio.sleep(0)
    assert not asking.done()
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert kinds(writer.log) == ["intent", "proposal"]


async def test_4_a_cancelled_worker_gives_up_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "LAST_WRITE_S", 0.01)
    gate, meters, reasoner = Gate(), Meters(), Paid(proposal())
    writer = MemoryWriter(before=gate)
    journal = opened(writer, meters=meters)
    asking = asyncio.create_task(ask(journal, reasoner))
    await gate.reached.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asking, 60)
    gate.opened.set()
    assert await ask(journal, reasoner) == proposal(), "the answer is still here"
    assert (kinds(writer.log), reasoner.calls) == (["intent", "proposal"], 1)


async def test_3_a_call_that_is_cancelled_may_be_paid_twice() -> None:
    class Slow(Paid):
        async def propose(self, request: ProposalRequest) -> Proposal | None:
            await super().propose(request)
            await asyncio.sleep(60)
            return None

    meters, slow = Meters(), Slow(None)
    writer = MemoryWriter()
    journal = opened(writer, meters=meters)
    asking = asyncio.create_task(ask(journal, slow))
    while not slow.calls:  # noqa: ASYNC110 - the reasoner says when
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert kinds(writer.log) == ["intent"]
    assert await ask(journal, Paid(proposal())) == proposal()
    assert meters.both == (0, 1)


async def test_an_inputs_entries_end_with_it_and_with_it_alone(restored: Restoring) -> None:
    writer = MemoryWriter()
    journal = opened(writer)
    other = WHERE.model_copy(update={"offset": 8})
    await ask(journal, Paid(proposal()))
    await ask(journal, Paid(proposal()), number=1)
    await ask(journal, Paid(proposal()), where=other)
    keys = journal.tombstones(WHERE)
    assert sorted(keys) == sorted({key for key, _value in writer.log if b"/7/" in key})
    assert journal.tombstones(WHERE) == keys, "until they are committed they may be asked for again"
    journal.forget(WHERE)
    assert (journal.tombstones(WHERE), len(journal)) == ([], 1)
    again = await restored([*writer.log, *((key, None) for key in keys)])
    assert (again.tombstones(WHERE), len(again)) == ([], 1)
    assert again.tombstones(other) == journal.tombstones(other)


async def test_what_a_zombie_wrote_late_is_found_and_what_it_wrote_in_time_is_used(
    restored: Restoring,
) -> None:
    writer = MemoryWriter()
    for offset in (7, 8):
        await ask(opened(writer), Paid(proposal()), where=WHERE.model_copy(update={"offset": offset}))
    journal = await restored(writer.log)
    stale = journal.stale(lambda where: (where.topic, where.partition, where.offset) == (TOPIC, PARTITION, 7))
    assert stale == [writer.log[0][0]]
    assert (journal.tombstones(WHERE), len(journal)) == ([], 1)
    reasoner = Paid(proposal(2))
    assert await ask(journal, reasoner, where=WHERE.model_copy(update={"offset": 8})) == proposal()
    assert reasoner.calls == 0


async def test_a_zombie_never_replaces_what_the_owner_wrote(restored: Restoring) -> None:
    """Compaction keeps the last record of a key, so that no two workers may share one."""
    writer, late = MemoryWriter(), MemoryWriter()
    await ask(opened(writer), Paid(proposal()))
    await ask(opened(late), Paid(proposal(2)))
    log = [*writer.log, late.log[0]]
    compacted = list(dict(log).items())
    reasoner = Paid(proposal(3))
    assert await ask(await restored(compacted), reasoner) == proposal()
    assert reasoner.calls == 0

"""What inputs and decisions teach: what the decision sees, what is written with it, and what teaches nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from jurat.agents.agent import Action, Situation
from jurat.agents.memory import (
    MAX_FACTS,
    MAX_NAME_CHARS,
    MAX_VALUE_CHARS,
    NOTHING,
    Fact,
    Learned,
    Memory,
    Remembering,
    as_of,
)
from jurat.audit.chain import ChainHead
from jurat.audit.record import ContextRead, Outcome, parse
from jurat.schemas.canonical import MAX_INTEGER
from jurat.schemas.commerce import OrderCancelled, PaymentFailed
from jurat.schemas.decision import InputRef, Verdict
from jurat.streams.documents import digest_of
from jurat.streams.keyed_state import MAX_DOCUMENT_BYTES, KeyedState
from jurat.streams.state import MEMORY, PartitionState
from jurat.streams.verdicted import Verdicted
from tests.approval_stage import Desk
from tests.deciding_stage import (
    KEY,
    NOW,
    STATEFUL,
    Asked,
    Says,
    decider,
    failed,
    fresh_state,
    record_of,
)

ENTRY = f"{MEMORY}commerce.payments/{KEY}"


def by_event(event: PaymentFailed, at: datetime) -> tuple[Learned, ...]:
    return (Learned("failure", event.failure_code, at, "payments"),)


def by_decision(situation: Situation[Any], action: Action) -> tuple[Learned, ...]:
    return (Learned("last_action", action.action_name, situation.now, "payments"),)


LEARNS = replace(STATEFUL, remembers=Remembering({PaymentFailed: by_event}, by_decision))


async def decide(state: PartitionState, *, agent: Any = LEARNS, offset: int = 7, **how: Any) -> Verdicted:
    event_id = how.pop("event_id", None)
    record = replace(record_of(failed()), offset=offset)
    if event_id is not None:
        headers = tuple([(k, event_id.encode() if k == "ce_id" else v) for k, v in record.headers])
        record = replace(record, headers=headers)
    moment = how.pop("at", NOW)
    one = replace(decider(agent, **how), clock=lambda: moment)
    return await one.decide(record, state, calls=Asked())


def context_of(verdicted: Verdicted) -> list[ContextRead]:
    read = parse(verdicted.draft.finish(ChainHead())).predicate.context
    return [one for one in read if one.name == "memory"]


def names(state: PartitionState) -> list[str]:
    memory = state.memories.get(KEY)
    return [fact.name for fact in memory.facts] if isinstance(memory, Memory) else []


async def test_the_event_teaches_before_it_is_decided_and_the_decision_after() -> None:
    state, seen = fresh_state(), []

    def judged(situation: Situation[Any], action: Action) -> Any:
        seen.append(situation.memory)
        return STATEFUL.judged(situation, action)

    verdicted = await decide(state, agent=replace(LEARNS, judged=judged), engine=Says(Verdict.ALLOW))
    memory = state.memories.get(KEY)
    assert isinstance(memory, Memory)
    assert [fact.name for fact in seen[0].facts] == ["failure"]
    assert [(fact.name, fact.learned_at - NOW) for fact in memory.facts] == [
        ("failure", timedelta()),
        ("last_action", timedelta(microseconds=1)),
    ]
    assert dict(verdicted.changelog)[ENTRY] == state.memories.printed(KEY, memory)
    read = ContextRead(name="memory", key=KEY, uri=None, sha256=digest_of(as_of(memory, NOW)))
    assert context_of(verdicted) == [read]
    assert seen[0] == as_of(memory, NOW)


async def test_each_records_digest_is_that_of_the_memory_as_of_its_time() -> None:
    state, records = fresh_state(), []
    for number in range(5):
        at = NOW + timedelta(minutes=number)
        verdicted = await decide(
            state, offset=7 + number, event_id=f"e-{number}", at=at, engine=Says(Verdict.ALLOW)
        )
        records.append((at, context_of(verdicted)[0].sha256))
    memory = state.memories.get(KEY)
    assert isinstance(memory, Memory)
    assert [digest_of(as_of(memory, at)) for at, _ in records] == [digest for _, digest in records]
    assert len({digest for _, digest in records}) == 5


@pytest.mark.parametrize("verdict", [Verdict.DENY, Verdict.ESCALATE])
async def test_a_decision_that_is_not_allowed_teaches_nothing_but_its_event_does(verdict: Verdict) -> None:
    state = fresh_state()
    verdicted = await decide(state, engine=Says(verdict))
    assert names(state) == ["failure"]
    assert ENTRY in dict(verdicted.changelog)


async def test_a_dry_run_teaches_nothing() -> None:
    state = fresh_state()
    verdicted = await decide(state, agent=replace(LEARNS, dry_run=lambda _: True), engine=Says(Verdict.ALLOW))
    assert (names(state), verdicted.changelog) == ([], ())
    assert [one.sha256 for one in context_of(verdicted)] == [digest_of(NOTHING)]


async def test_a_duplicate_teaches_nothing_new() -> None:
    state = fresh_state()
    await decide(state, engine=Says(Verdict.ALLOW))
    before = state.memories.get(KEY)
    again = await decide(state, offset=8, engine=Says(Verdict.ALLOW))
    assert (again.outcome, again.changelog) == (Outcome.DUPLICATE, ())
    assert state.memories.get(KEY) == before


async def test_an_event_that_is_not_decided_teaches_and_ends_skipped() -> None:
    state = fresh_state()
    agent = replace(LEARNS, listens={"commerce.payments": (OrderCancelled,)})
    verdicted = await decide(state, agent=agent)
    assert (verdicted.outcome, names(state)) == (Outcome.SKIPPED, ["failure"])
    assert [key for key, _ in verdicted.changelog] == [ENTRY]


async def test_an_expired_event_happened_all_the_same() -> None:
    state = fresh_state()
    agent = replace(LEARNS, expires_after=timedelta(seconds=1))
    verdicted = await decide(state, agent=agent, at=NOW + timedelta(days=36500))
    assert (verdicted.outcome, names(state)) == (Outcome.EXPIRED, ["failure"])


async def test_an_agent_without_memory_writes_none() -> None:
    state = fresh_state()
    verdicted = await decide(state, agent=STATEFUL, engine=Says(Verdict.ALLOW))
    assert (names(state), context_of(verdicted)) == ([], [])
    assert ENTRY not in dict(verdicted.changelog)


async def test_too_much_to_remember_rejects_the_input_and_leaves_the_state() -> None:
    def much(situation: Situation[Any], _action: Action) -> tuple[Learned, ...]:
        return tuple([Learned(f"f{n}", n, situation.now, "p") for n in range(MAX_FACTS + 1)])

    def long(situation: Situation[Any], _action: Action) -> tuple[Learned, ...]:
        return (Learned("f", "x" * (MAX_VALUE_CHARS + 1), situation.now, "p"),)

    for teach in (much, long):
        state = fresh_state()
        agent = replace(LEARNS, remembers=Remembering({PaymentFailed: by_event}, teach))
        verdicted = await decide(state, agent=agent, engine=Says(Verdict.ALLOW))
        assert (verdicted.outcome, verdicted.changelog) == (Outcome.REJECTED, ())
        assert (state.memories.get(KEY), state.documents.get(KEY)) == (None, None)


def test_as_many_facts_as_are_kept_fit_an_entry_whatever_they_say() -> None:
    far = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    zoned = far.replace(tzinfo=timezone(-timedelta(hours=23, minutes=59)))
    for worst in ("\x01" * MAX_VALUE_CHARS, "\U0001f600" * MAX_VALUE_CHARS):
        fact = Fact(
            name='"' * MAX_NAME_CHARS,
            value=worst,
            since=zoned,
            learned_at=far,
            source=InputRef(topic="t" * 200, partition=MAX_INTEGER, offset=MAX_INTEGER),
            purpose="\\" * MAX_NAME_CHARS,
            ended_at=far,
        )
        memory = Memory(facts=(fact,) * MAX_FACTS, trimmed_at=far)
        assert len(KeyedState(Memory).printed(KEY, memory)) <= MAX_DOCUMENT_BYTES


async def test_an_approved_action_teaches_and_the_event_does_not_teach_again() -> None:
    desk = Desk(agent=LEARNS)
    request = await desk.escalate()
    assert names(desk.state) == ["failure"]
    result, record = await desk.grant(request, "alice")
    assert record.outcome is Outcome.DECIDED
    memory = desk.state.memories.get(KEY)
    assert isinstance(memory, Memory)
    assert [fact.name for fact in memory.facts] == ["failure", "last_action"]
    assert memory.facts[1].source == result.decoded.where
    assert ENTRY in dict(result.changelog)

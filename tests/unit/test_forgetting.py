"""Forgetting a subject: who may, what is gone, what stays, and what a request sent again does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from jurat.agents.agent import Situation
from jurat.agents.memory import NOTHING, Memory
from jurat.audit import dsse
from jurat.audit.forgetting import request_to_forget, statement_of
from jurat.audit.keys import Trust, TrustedKey
from jurat.audit.log import LogEntry
from jurat.audit.record import FORGET_ASKED_BY, FORGOTTEN, ContextRead, DecisionRecord, Outcome, parse
from jurat.audit.story import tell
from jurat.schemas.envelope import Signature, SignedRecord
from jurat.schemas.forgetting import ForgetRequested
from jurat.streams.documents import digest_of
from jurat.streams.state import MEMORY
from jurat.streams.verdicted import Verdicted
from tests.approval_stage import Desk, Wants, signer, trust
from tests.deciding_stage import KEY, NOW, Kept, failed, record_of
from tests.unit.test_remembering import LEARNS

TOPIC = "commerce.payments"
ENTRY = f"{MEMORY}{TOPIC}/{KEY}"
SAID: dict[str, Any] = {
    "agent": LEARNS.name,
    "cluster": "cluster",
    "event_key": KEY,
    "learned_until": NOW + timedelta(microseconds=1),
    "topic": TOPIC,
}


@dataclass
class Office(Desk):
    """A partition of an agent that remembers, and people who have it forget."""

    judge: Wants = field(default_factory=lambda: Wants(roles=()))
    agent: Any = LEARNS
    pays: int = 0

    async def pay(self) -> tuple[Verdicted, DecisionRecord]:
        """A payment that fails: it teaches, and so does the decision about it."""
        self.pays += 1
        one = replace(record_of(failed()), offset=100 + self.pays)
        headers = tuple([(k, f"p-{self.pays}".encode() if k == "ce_id" else v) for k, v in one.headers])
        return await self.take(replace(one, headers=headers))

    def memory(self) -> Memory:
        held = self.state.memories.get(KEY)
        return held if isinstance(held, Memory) else NOTHING


async def request(name: str = "dora", **said: Any) -> ForgetRequested:
    return await request_to_forget(statement_of(**{**SAID, **said}), signer(name))


def forgot(ended: tuple[Verdicted, DecisionRecord], *, asked: ForgetRequested, digest: str | None) -> None:
    """It ended so, and its record says so."""
    result, record = ended
    assert (record.outcome, result.decision, result.asked) == (Outcome.SKIPPED, None, None)
    assert result.changelog == (((ENTRY, None),) if digest else ())
    assert record.context == (
        ContextRead(name=FORGET_ASKED_BY, key="dora", uri=None, sha256=sha256(asked.payload).hexdigest()),
        ContextRead(name=FORGOTTEN, key=KEY, uri=None, sha256=digest),
    )


async def test_the_memory_goes_and_nothing_else() -> None:
    office = Office()
    await office.pay()
    before, asked = office.memory(), await request()
    assert len(before.facts) == 2
    forgot(await office.send(asked), asked=asked, digest=digest_of(before))
    assert office.state.memories.get(KEY) is None
    assert office.state.documents.get(KEY) == Kept(count=1)


async def test_a_second_request_does_nothing_and_says_so() -> None:
    office = Office()
    await office.pay()
    asked = await request()
    await office.send(asked)
    forgot(await office.send(asked), asked=asked, digest=None)


async def test_inputs_that_come_later_begin_with_an_empty_memory() -> None:
    office, seen = Office(), []

    def judged(situation: Situation[Any], action: Any) -> Any:
        seen.append([fact.name for fact in situation.memory.facts])
        return LEARNS.judged(situation, action)

    office.agent = replace(LEARNS, judged=judged)
    await office.pay()
    await office.send(await request())
    office.now += timedelta(minutes=1)
    await office.pay()
    assert seen == [["failure"], ["failure"]]
    assert [fact.learned_at - office.now for fact in office.memory().facts] == [
        timedelta(),
        timedelta(microseconds=1),
    ]


async def test_the_one_fact_that_a_request_knew_of_is_enough() -> None:
    office = Office()
    await office.pay()
    before = office.memory()
    first = await request(learned_until=NOW - timedelta(microseconds=1))
    forgot(await office.send(first), asked=first, digest=None)
    exactly = await request(learned_until=min(fact.learned_at for fact in before.facts))
    forgot(await office.send(exactly), asked=exactly, digest=digest_of(before))


async def test_a_request_sent_again_forgets_nothing_that_was_learned_later() -> None:
    office = Office()
    await office.pay()
    asked = await request()
    await office.send(asked)
    office.now += timedelta(microseconds=2)
    await office.pay()
    later = office.memory()
    forgot(await office.send(asked), asked=asked, digest=None)
    assert office.memory() == later
    assert len(later.facts) == 2


async def test_what_was_learned_while_the_request_was_on_its_way_goes_too() -> None:
    office = Office()
    await office.pay()
    asked = await request()
    office.now += timedelta(minutes=1)
    await office.pay()
    before = office.memory()
    forgot(await office.send(asked), asked=asked, digest=digest_of(before))
    assert office.memory() == NOTHING


async def test_a_killed_worker_has_forgotten_what_it_committed() -> None:
    office = Office()
    await office.pay()
    office.kill()
    assert len(office.memory().facts) == 2
    await office.send(await request())
    office.kill()
    assert office.state.memories.get(KEY) is None
    assert office.state.documents.get(KEY) == Kept(count=1)


async def refused(office: Office, asked: ForgetRequested, why: str) -> None:
    before = office.memory()
    result, record = await office.send(asked)
    assert record.outcome is Outcome.REJECTED
    assert result.rejection is not None
    assert why in result.rejection.message
    assert result.changelog == ()
    assert office.memory() == before
    assert len(before.facts) == 2


async def test_who_may_not_is_refused_and_recorded() -> None:
    office = Office()
    await office.pay()
    await refused(office, await request("alice"), "expected data-protection")
    office.trust = trust(["alice"])
    await refused(office, await request("dora"), "unknown key")
    office.trust = Trust((TrustedKey(LEARNS.name, signer("dora").keyid),))
    await refused(office, await request("dora"), "no approver's")


@pytest.mark.parametrize(
    "other",
    [
        {"agent": "dispute-mediator"},
        {"cluster": "another"},
        {"topic": "commerce.orders"},
        {"event_key": "c-2"},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_a_request_for_something_else_is_refused(other: dict[str, str]) -> None:
    office = Office()
    await office.pay()
    signed = await request(**other)
    await refused(office, signed.model_copy(update={"event_key": KEY}), "signed for the agent")
    as_here = {"event_key": KEY, "agent": LEARNS.name}
    await refused(office, signed.model_copy(update=as_here), "signed for the agent")


async def test_an_envelope_for_another_agent_is_refused() -> None:
    office = Office()
    await office.pay()
    await refused(office, (await request()).model_copy(update={"agent": "after-sales"}), "signed for")


CHANGES: dict[str, tuple[Callable[[ForgetRequested], dict[str, Any]], str]] = {
    "tampered": (lambda one: {"payload": one.payload.replace(b":00.", b":01.")}, "did not make"),
    "spelling": (lambda one: {"payload": one.payload.replace(b",", b", ")}, "one form"),
    "field": (lambda one: {"payload": one.payload.replace(b"}", b',"x":1}')}, "breaks its schema"),
    "number": (lambda one: {"signatures": one.signatures * 2}, "got 2 signatures"),
    "type": (lambda _one: {"payload_type": dsse.PAYLOAD_TYPE}, "got the payload type"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_was_not_signed_so_is_refused(change: str) -> None:
    office = Office()
    await office.pay()
    made, why = CHANGES[change]
    signed = await request()
    await refused(office, signed.model_copy(update=made(signed)), why)


async def test_a_signature_of_another_kind_of_statement_is_refused() -> None:
    office = Office()
    await office.pay()
    signed = await request()
    as_approval = await signer("dora").sign(dsse.pae(dsse.PAYLOAD_TYPE, signed.payload))
    other = (Signature(keyid=signer("dora").keyid, sig=as_approval),)
    await refused(office, signed.model_copy(update={"signatures": other}), "did not make")


async def test_a_request_on_the_input_topic_is_none() -> None:
    office = Office()
    await office.pay()
    result, record = await office.send(await request(), topic=TOPIC)
    assert (record.outcome, record.context, result.changelog) == (Outcome.SKIPPED, (), ())
    assert len(office.memory().facts) == 2


async def test_a_decision_that_waits_lands_without_what_was_forgotten() -> None:
    office, known = Office(judge=Wants()), []

    def judged(situation: Situation[Any], action: Any) -> Any:
        known.append(len(situation.memory.facts))
        return LEARNS.judged(situation, action)

    office.agent = replace(LEARNS, judged=judged)
    waiting = await office.escalate()
    await office.send(await request())
    known.clear()
    _result, record = await office.grant(waiting, "alice")
    assert (record.outcome, set(known)) == (Outcome.DECIDED, {0})


async def test_an_agent_that_remembers_nothing_has_nothing_to_forget() -> None:
    office, asked = Office(agent=replace(LEARNS, remembers=None)), await request()
    await office.pay()
    forgot(await office.send(asked), asked=asked, digest=None)


async def test_the_story_says_what_was_forgotten() -> None:
    office = Office()
    await office.pay()
    before = digest_of(office.memory())
    for _ in range(2):
        await office.send(await request())
    stories = []
    for number, payload in enumerate(office.payloads[1:]):
        signature = Signature(keyid="did:key:z6Mk", sig=bytes(64))
        signed = SignedRecord(
            chain="c", payload_type=dsse.PAYLOAD_TYPE, payload=payload, signatures=(signature,)
        )
        entry = LogEntry("audit.decisions", 0, number, 0, signed)
        stories.append(tell(entry, parse(payload), standing="Not verified."))
    for told in stories:
        assert "the agent was asked to forget" in told
        assert "dora asked to forget" in told
        assert "It looked up" not in told
    assert f"What was remembered of {KEY} was forgotten: SHA-256 {before}." in stories[0]
    assert f"Nothing that the request asks to forget was remembered of {KEY}." in stories[1]

"""A worker's session without Kafka: which credential it finds, what it signs, when it stops; and deciding within it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from jurat.agents.after_sales import AFTER_SALES
from jurat.agents.catalogue import AGENTS
from jurat.audit.credential import MAX_STATEMENT_BYTES
from jurat.audit.credential_scope import Limit, Scope
from jurat.audit.identity import Identity
from jurat.audit.record import DecisionRecord, Outcome
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import (
    BrokerUnreachable,
    ConfigurationError,
    CredentialInvalid,
    InputRejected,
    KeyNotFound,
    StatementInvalid,
)
from jurat.streams import trust_session, trust_topic
from jurat.streams.kafka import Connection, KafkaRecord
from jurat.streams.trust_session import SessionKeeper, _check_covers, _Session, needs
from jurat.streams.worker_config import PinnedSession
from tests.deciding_stage import Says, decider, ended
from tests.golden.audit import sample_log
from tests.trust_stage import AGENT, ISSUER, NOW, SCOPE, Settled, at, digest, key, root, settled, signed, t

CONNECTION = Connection("nowhere:1")


def keeper(stage: Settled, *, now: datetime = NOW, holder: str = AGENT) -> SessionKeeper:
    """It has heard what stands on the topic."""
    made = SessionKeeper(CONNECTION, AFTER_SALES, signer=key(holder), root=stage.org.pin, clock=lambda: now)
    for line in stage.org.lines:
        hear(made, line)
    return made


def hear(made: SessionKeeper, value: bytes | None) -> None:
    made._hear(KafkaRecord("audit.trust", 0, 0, 0, None, value))


def in_session(stage: Settled, *, scope: Scope = SCOPE) -> SessionKeeper:
    """It has the stage's session."""
    made = keeper(stage)
    taken = made._read.log.credentials_of(key("session 1").keyid)[0]
    above = frozenset(made._read.log.keys_above(taken))
    made._session = _Session(
        signer=key("session 1"),
        digest=taken.digest,
        scope=scope,
        not_before=t(),
        expiry=t(hours=20),
        above=above,
    )
    return made


def test_records_name_the_session_and_the_newest_head() -> None:
    stage = settled()
    made = in_session(stage)
    first = made.now()
    assert first.signer.keyid == key("session 1").keyid
    assert first.identity == Identity(credential=digest(stage.session), trust=stage.org.log.head)
    line = signed(stage.org.issuer("second"), "alice", "bob")
    stage.org.add(line)
    hear(made, line)
    assert made.now().identity == Identity(credential=digest(stage.session), trust=stage.org.log.head)


@pytest.mark.parametrize("value", [None, b"", b"garbage"])
def test_garbage_on_the_topic_stops_nobody(value: bytes | None) -> None:
    stage = settled()
    made = in_session(stage)
    hear(made, value)
    assert made.failure is None
    assert made.now().identity == Identity(credential=digest(stage.session), trust=stage.org.log.head)


@pytest.mark.parametrize(
    ("holder", "signers"), [("session 1", (AGENT,)), (AGENT, (ISSUER,)), (ISSUER, ("alice", "bob"))]
)
def test_a_revocation_above_the_session_ends_it(holder: str, signers: tuple[str, ...]) -> None:
    stage = settled()
    made = in_session(stage)
    hear(made, signed(stage.org.revocation(holder, effective=at(days=30)), *signers))
    assert isinstance(made.failure, CredentialInvalid)
    for call in (made.now, lambda: made.permits(stage.record())):
        with pytest.raises(CredentialInvalid, match=r"was revoked: nothing more is signed"):
            call()


def test_a_revocation_elsewhere_does_not() -> None:
    stage = settled()
    stage.org.add(signed(stage.org.agent(stage.issuer, holder="other"), ISSUER))
    made = in_session(stage)
    hear(made, signed(stage.org.revocation("other"), ISSUER))
    assert made.failure is None


def test_the_newest_credential_that_holds_now_is_taken() -> None:
    stage = settled()
    org = stage.org
    second = org.agent(stage.issuer, owner="later@acme", expiry=at(days=10))
    org.add(signed(second, ISSUER))
    assert keeper(stage)._credential()[1] == second
    assert keeper(stage, now=NOW + timedelta(days=11))._credential()[1] == stage.agent
    for now, why in (
        (NOW + timedelta(days=81), r"ended \d+ s ago, by the clock here"),
        (NOW - timedelta(hours=2), "begins 3600 s from now, by the clock here"),
    ):
        with pytest.raises(KeyNotFound, match=f"{why}; issue one: jurat keys issue after-sales"):
            keeper(stage, now=now)._credential()
    for holder, why in (("stranger", "has none at all"), (ISSUER, "is no key of this agent")):
        with pytest.raises(KeyNotFound, match=why):
            keeper(stage, holder=holder)._credential()
    org.add(signed(org.revocation(ISSUER, effective=at(days=30)), "alice", "bob"))
    with pytest.raises(KeyNotFound, match="the issuer credential of payments is revoked"):
        keeper(stage)._credential()


def test_a_topic_without_the_trusted_root_is_not_believed() -> None:
    stage = settled()
    made = keeper(stage)
    newer = SessionKeeper(
        CONNECTION,
        AFTER_SALES,
        signer=key(AGENT),
        root=signed(root(stage.org.log.head, version=2), "alice", "bob"),
    )
    for line in stage.org.lines:
        hear(newer, line)
    with pytest.raises(StatementInvalid, match="does not hold the root"):
        newer._credential()
    assert made._credential()[1] == stage.agent


def test_a_session_that_ended_while_the_machine_slept_signs_nothing() -> None:
    stage = settled()
    made = in_session(stage)
    made._clock = lambda: NOW + timedelta(hours=20)
    made.now()
    made._clock = lambda: NOW + timedelta(hours=20, seconds=1)
    for signs in (made.now, lambda: made.permits(stage.record())):
        with pytest.raises(CredentialInvalid, match="is over"):
            signs()


def test_what_was_refused_last_is_told() -> None:
    made = keeper(settled())
    for number in range(2 * trust_topic.MAX_REFUSED_TOLD):
        hear(made, b"%d" % number)
    assert made._read.refusals == len(made._read.refused) * 2
    hear(made, b"x" * (MAX_STATEMENT_BYTES + 1))
    assert "at most" in str(made._read.refused[-1])


def test_without_a_session_nothing_is_signed() -> None:
    with pytest.raises(CredentialInvalid, match="has no session"):
        keeper(settled()).now()


def test_what_is_outside_the_scope_is_the_inputs_fault_but_for_the_policies() -> None:
    stage = settled()
    made = in_session(stage)
    made.permits(stage.record())
    with pytest.raises(InputRejected, match="does not allow this: got an input of the topic"):
        in_session(stage, scope=SCOPE.model_copy(update={"inputs": ("other",)})).permits(stage.record())
    tight = SCOPE.model_copy(update={"limits": (Limit(most=1, of="context.amount_minor"),)})
    with pytest.raises(InputRejected, match="at most 1"):
        in_session(stage, scope=tight).permits(stage.record())
    in_session(stage, scope=tight).permits(stage.record(outcome=Outcome.DENIED))
    others = SCOPE.model_copy(update={"policies": ("60" * 32,)})
    with pytest.raises(CredentialInvalid, match="activate others"):
        in_session(stage, scope=others).permits(stage.record())


def refuses(error: Exception) -> Callable[[DecisionRecord], None]:
    def permits(_record: DecisionRecord) -> None:
        raise error

    return permits


async def test_a_decision_that_may_not_be_signed_has_no_effect() -> None:
    by = replace(decider(engine=Says(Verdict.ALLOW)), permits=refuses(InputRejected("not allowed")))
    result, record, state = await ended(by)
    assert record.outcome is Outcome.REJECTED
    assert record.rejection is not None
    assert record.rejection.message == "not allowed"
    assert (result.decision, result.changelog) == (None, ())
    assert not state.documents.get("c-1")


async def test_what_is_no_fault_of_the_input_ends_the_worker() -> None:
    by = replace(decider(engine=Says(Verdict.ALLOW)), permits=refuses(CredentialInvalid("revoked")))
    with pytest.raises(CredentialInvalid, match="revoked"):
        await ended(by)


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_every_agent_has_a_scope_that_covers_it(name: str) -> None:
    scope = needs(AGENTS[name], Connection("nowhere:1", "test"))
    _check_covers(scope, AGENTS[name], Connection("nowhere:1", "test"))
    assert all(topic.startswith("test.") for topic in (*scope.inputs, *scope.outputs))


@pytest.mark.parametrize("what", ["actions", "inputs", "outputs"])
def test_a_scope_that_does_not_cover_the_agent_is_told_at_the_start(what: str) -> None:
    whole: dict[str, Any] = needs(AFTER_SALES, CONNECTION).model_dump()
    narrow = Scope.model_validate(whole | {what: ("something-else",)})
    with pytest.raises(ConfigurationError, match=f"does not allow the {what}"):
        _check_covers(narrow, AFTER_SALES, CONNECTION)


async def test_a_pinned_key_signs_whatever_is_decided() -> None:
    pinned = PinnedSession(key("pinned"))
    await pinned.start()
    pinned.permits(sample_log.record(AGENT, offset=0, outcome=Outcome.DECIDED))
    assert (pinned.now().signer.keyid, pinned.now().identity) == (key("pinned").keyid, None)
    await pinned.stop()


class Days:
    """A clock that moves only while somebody sleeps, and a topic that is away when told."""

    def __init__(self, stage: Settled, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOW
        self.keeper = in_session(stage)
        self.keeper._clock = lambda: self.now
        self.renewed: list[timedelta] = []
        self.fails = 0
        self.most = 1
        monkeypatch.setattr(trust_session.asyncio, "sleep", self.sleep)
        monkeypatch.setattr(self.keeper, "_renew", self.renew)

    async def sleep(self, wait_s: float) -> None:
        self.now += timedelta(seconds=wait_s)

    async def renew(self) -> None:
        self.renewed.append(self.now - NOW)
        if len(self.renewed) <= self.fails:
            raise BrokerUnreachable("no broker answers")
        if len(self.renewed) >= self.most:
            raise asyncio.CancelledError


@pytest.fixture
def days(monkeypatch: pytest.MonkeyPatch) -> Days:
    return Days(settled(), monkeypatch)


async def test_a_session_is_renewed_when_half_of_it_is_over(days: Days) -> None:
    with pytest.raises(asyncio.CancelledError):
        await days.keeper._keep()
    assert days.renewed == [timedelta(hours=10)]


async def test_a_renewal_that_fails_is_tried_again(days: Days) -> None:
    days.fails, days.most = 2, 3
    with pytest.raises(asyncio.CancelledError):
        await days.keeper._keep()
    assert days.renewed == [timedelta(hours=10, minutes=minute) for minute in range(3)]


async def test_a_session_that_ends_without_a_successor_ends_the_worker(days: Days) -> None:
    days.fails = days.most = 10_000
    with pytest.raises(BrokerUnreachable):
        await days.keeper._keep()
    assert days.renewed[-1] == timedelta(hours=19, minutes=59)

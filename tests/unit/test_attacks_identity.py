"""Attacks on keys and credentials, mounted on a log that a session signed: the verdict, and the check that names it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from jurat.audit.chain import ChainHead
from jurat.audit.identity import Identity, TrustHead
from jurat.audit.keys import Trust, TrustedKey
from jurat.audit.log import LogEntry, WitnessedHead
from jurat.audit.merkle import Frontier
from jurat.audit.record import DecisionRecord, Outcome, build
from jurat.audit.trust_log import TrustLog
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_report import Check, LogVerdict, Report
from tests.golden.audit import sample_log
from tests.trust_stage import AGENT, ISSUER, Settled, at, digest, key, settled, signed, t

Change = Callable[[DecisionRecord], DecisionRecord]
RECORDS = 4


def log_of(
    stage: Settled,
    *,
    holder: str = "session 1",
    identity: Identity | None = None,
    change: Change | None = None,
) -> list[LogEntry]:
    """A chain of records, signed with a key; `change` changes the last one."""
    named = identity or Identity(credential=digest(stage.session), trust=stage.org.log.head)
    head, made = ChainHead(), list[LogEntry]()
    for offset in range(RECORDS):
        record = sample_log.record(AGENT, offset=offset, outcome=Outcome.DECIDED, head=head)
        record = record.model_copy(update={"identity": named})
        if change is not None and offset == RECORDS - 1:
            record = change(record)
        payload = build(record, *sample_log.subject_of(record, offset))
        made.append(sample_log.sign(record, payload, by=key(holder), at=(0, offset)))
        head = head.extend(payload)
    return made


def seen(log: Sequence[LogEntry], *, times: Iterable[int]) -> tuple[WitnessedHead, ...]:
    """A witnessed checkpoint after each record, at these times; the last ones may have none."""
    tree, found = Frontier(), list[WitnessedHead]()
    for entry, time in zip(log, times, strict=False):
        tree.append(entry.leaf())
        found.append(WitnessedHead(0, tree.size, tree.root(), time))
    return tuple(found)


def verified(log: Sequence[LogEntry], trust: Trust, *, times: Iterable[int] | None = None) -> Report:
    verifier = Verifier(trust, witnessed=None if times is None else seen(log, times=times))
    for entry in log:
        verifier.add(entry)
    return verifier.report()


def every_hour() -> list[int]:
    return [t(hours=hour) for hour in range(RECORDS)]


def told(report: Report) -> tuple[LogVerdict, list[tuple[int | None, int | None]]]:
    return report.verdict, [(found.first.check, found.first.place.offset) for found in report.findings]


def test_the_honest_log_is_valid_with_the_root_alone() -> None:
    stage = settled()
    assert told(verified(log_of(stage), stage.org.log.trust(), times=every_hour())) == (LogVerdict.VALID, [])


def test_without_witnesses_it_is_unproven() -> None:
    stage = settled()
    report = verified(log_of(stage), stage.org.log.trust())
    assert (report.verdict, report.faults) == (LogVerdict.UNPROVEN, 0)
    report = verified(log_of(stage), stage.org.log.trust(), times=every_hour()[:2])
    assert (report.verdict, report.faults) == (LogVerdict.UNPROVEN, 0)


def revoked(stage: Settled, holder: str, *signers: str, **changed: Any) -> Trust:
    stage.org.add(signed(stage.org.revocation(holder, **changed), *signers))
    return stage.org.log.trust()


@pytest.mark.parametrize(
    ("holder", "signers"), [("session 1", (AGENT,)), (AGENT, (ISSUER,)), (ISSUER, ("alice", "bob"))]
)
def test_a_stolen_key_that_backdates_after_its_revocation(holder: str, signers: tuple[str, ...]) -> None:
    stage = settled()
    log = log_of(
        stage, change=lambda record: record.model_copy(update={"time": "2026-01-01T00:00:00.000000Z"})
    )
    trust = revoked(stage, holder, *signers, effective=at(hours=2))
    assert told(verified(log, trust, times=every_hour())) == (LogVerdict.INVALID, [(Check.STANDING, 3)])


def test_a_theft_before_the_revocation() -> None:
    """Two records with one number: one of the agent, one of the thief. Nobody can tell which is whose."""
    stage = settled()
    log = log_of(stage)
    trust = revoked(stage, AGENT, ISSUER, effective=at(hours=9), compromised_since=at(hours=2))
    report = verified(log, trust, times=every_hour())
    assert report.verdict is LogVerdict.SUSPECT
    twice = [*log, replace(log_of(stage, change=renamed)[-1], offset=RECORDS)]
    assert verified(twice, trust, times=[*every_hour(), t(hours=3)]).verdict is LogVerdict.INVALID


def renamed(record: DecisionRecord) -> DecisionRecord:
    return record.model_copy(update={"code": "another"})


@dataclass(frozen=True)
class Attack:
    log: list[LogEntry]
    trust: Trust
    check: Check
    times: list[int]


def outside(stage: Settled, change: Change) -> Attack:
    return Attack(log_of(stage, change=change), stage.org.log.trust(), Check.STANDING, every_hour())


def widened(stage: Settled) -> Attack:
    def other_action(record: DecisionRecord) -> DecisionRecord:
        proposal = record.proposals[0].model_copy(update={"action": "refund_all"})
        return record.model_copy(update={"proposals": (proposal,)})

    return outside(stage, other_action)


def above_its_limit(stage: Settled) -> Attack:
    def more(record: DecisionRecord) -> DecisionRecord:
        assert record.policy is not None
        policy = record.policy.model_copy(update={"input": {"context": {"amount_minor": 50_001}}})
        return record.model_copy(update={"policy": policy})

    return outside(stage, more)


def not_named(stage: Settled) -> Attack:
    return outside(stage, lambda record: record.model_copy(update={"identity": None}))


def frozen_worker(stage: Settled) -> Attack:
    """A worker that was shown a trust log without its own credential."""
    old = Identity(credential=digest(stage.session), trust=TrustHead.model_validate(stage.session.after))
    return outside(stage, lambda record: record.model_copy(update={"identity": old}))


def frozen_auditor(stage: Settled) -> Attack:
    """An auditor who is shown the trust log as it was before a revocation, which the last record knows of."""
    stage.org.add(signed(stage.org.revocation(AGENT), ISSUER))
    short = TrustLog(stage.org.pin)
    for line in stage.org.lines[:-1]:
        short.add(line)
    knows = Identity(credential=digest(stage.session), trust=stage.org.log.head)
    before = Identity(credential=digest(stage.session), trust=short.head)
    log = log_of(stage, identity=before, change=lambda record: record.model_copy(update={"identity": knows}))
    return Attack(log, short.trust(), Check.STANDING, every_hour())


def expired(stage: Settled) -> Attack:
    return Attack(log_of(stage), stage.org.log.trust(), Check.STANDING, [*every_hour()[:3], t(hours=20) + 1])


def a_strangers_key(stage: Settled) -> Attack:
    log = log_of(stage)
    log[-1] = log_of(stage, holder="stranger")[-1]
    return Attack(log, stage.org.log.trust(), Check.SIGNATURE, every_hour())


def the_agents_own_key(stage: Settled) -> Attack:
    """It signs sessions, and never a record."""
    log = log_of(stage)
    log[-1] = log_of(stage, holder=AGENT)[-1]
    return Attack(log, stage.org.log.trust(), Check.SIGNATURE, every_hour())


def a_swapped_key_id(stage: Settled) -> Attack:
    log = log_of(stage)
    forged = log_of(stage, holder="stranger")[-1]
    signature = forged.record.signatures[0].model_copy(update={"keyid": key("session 1").keyid})
    log[-1] = replace(forged, record=forged.record.model_copy(update={"signatures": (signature,)}))
    return Attack(log, stage.org.log.trust(), Check.SIGNATURE, every_hour())


ATTACKS = (
    widened,
    above_its_limit,
    not_named,
    frozen_worker,
    frozen_auditor,
    expired,
    a_strangers_key,
    the_agents_own_key,
    a_swapped_key_id,
)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_the_attack_is_named_at_its_record(attack: Callable[[Settled], Attack]) -> None:
    made = attack(settled())
    report = verified(made.log, made.trust, times=made.times)
    assert told(report) == (LogVerdict.INVALID, [(made.check, RECORDS - 1)])


def test_a_record_from_before_the_session_began() -> None:
    stage = settled()
    report = verified(log_of(stage), stage.org.log.trust(), times=[t(minutes=-6), *every_hour()[1:]])
    assert told(report) == (LogVerdict.INVALID, [(Check.STANDING, 0)])


def test_a_log_that_was_fetched_too_early_says_so() -> None:
    stage = settled()
    early = stage.org.log.trust()
    stage.org.add(signed(stage.org.session(stage.agent, holder="session 2"), AGENT))
    fault = verified(log_of(stage, holder="session 2"), early).findings[0].first
    assert "among the 4 statements of the trust log" in fault.reason
    assert "jurat keys fetch" in fault.reason


def test_pinned_keys_stand_beside() -> None:
    """Records from before an organisation had a root."""
    stage = settled()
    pinned = Trust((TrustedKey(AGENT, key("pinned").keyid),))
    log = log_of(stage, holder="pinned")
    report = verified(log, stage.org.log.trust(pinned), times=every_hour())
    assert told(report) == (LogVerdict.VALID, [])

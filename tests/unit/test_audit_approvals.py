"""Approvals in the log: an agent that signs what nobody approved, or approves twice with one approval, is caught."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from jurat.audit import dsse
from jurat.audit.chain import ChainHead
from jurat.audit.coordinates import chain_name, parse_uri
from jurat.audit.keys import Trust, TrustedKey
from jurat.audit.log import LogEntry
from jurat.audit.record import GENESIS, DecisionRecord, Outcome, Statement, build, parse
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_report import LogVerdict, Report
from jurat.schemas.decision import decision_id_at
from tests.approval_stage import Desk, Wants, signer, trust

AGENT = "payment-retrier"
TRUST = Trust((TrustedKey(AGENT, signer(AGENT).keyid),), trust().approvers)
BOTH = ("fraud-desk", "payments-lead")


async def honest() -> list[Statement]:
    """Escalated, approved by two, and a refused third."""
    desk = Desk(Wants(BOTH))
    request = await desk.escalate()
    await desk.grant(request, "alice")
    await desk.grant(request, "mallory")
    await desk.grant(request, "bob")
    return [parse(payload) for payload in desk.payloads]


LOG = asyncio.run(honest())
ESCALATED, PARTLY, REFUSED, DECIDED = range(4)


def verify(statements: Sequence[Statement], *, trusted: Trust = TRUST) -> Report:
    """Sign the records anew, with places in their chains that hold, as only the agent itself can."""
    heads: dict[str, ChainHead] = {}
    verifier = Verifier(trusted)
    for offset, one in enumerate(statements):
        head = heads.get(one.predicate.chain, ChainHead())
        record = one.predicate.model_copy(update={"seq": head.next_seq, "prev": head.prev})
        assert (record.seq == 0) == (record.prev == GENESIS)
        payload = build(record, one.subject[0].name, one.subject[0].digest.sha256)
        heads[record.chain] = head.extend(payload)
        envelope = asyncio.run(dsse.sign(payload, signer(AGENT), chain=record.chain))
        verifier.add(LogEntry("audit.decisions", 2, offset, 0, envelope))
    return verifier.report()


def changed(number: int, change: Callable[[DecisionRecord], dict[str, Any]]) -> list[Statement]:
    record = LOG[number].predicate
    made = LOG[number].model_copy(update={"predicate": record.model_copy(update=change(record))})
    return [*LOG[:number], made, *LOG[number + 1 :]]


def at_offset(statement: Statement, offset: int) -> Statement:
    """The same record about another input of its partition."""
    record = statement.predicate
    at = parse_uri(record.inputs[0].uri)
    name = decision_id_at(AGENT, at.cluster_id, topic=at.topic, partition=at.partition, offset=offset)
    uri = at.uri().rpartition("/")[0] + f"/{offset}"
    first = record.inputs[0].model_copy(update={"uri": uri})
    subject = statement.subject[0].model_copy(update={"name": name})
    moved = record.model_copy(update={"decision_id": name, "inputs": (first, *record.inputs[1:])})
    return statement.model_copy(update={"predicate": moved, "subject": (subject,)})


def told(record: DecisionRecord, roles: list[str]) -> dict[str, Any]:
    assert record.policy is not None
    seen = {**record.policy.input, "context": {"approvals": roles}}
    return {"policy": record.policy.model_copy(update={"input": seen})}


def of_another_amount(record: DecisionRecord) -> dict[str, Any]:
    last = record.proposals[-1]
    more = last.model_copy(update={"parameters": {**last.parameters, "delay_hours": 1}})
    return {"proposals": (more,)}


def of_another_resource(record: DecisionRecord) -> dict[str, Any]:
    assert record.policy is not None
    resource = {"type": "Jurat::Payment", "id": "pay-2"}
    return {
        "policy": record.policy.model_copy(update={"input": {**record.policy.input, "resource": resource}})
    }


def edited(record: DecisionRecord, **change: str) -> dict[str, Any]:
    return {"approvals": (record.approvals[0].model_copy(update=change), *record.approvals[1:])}


ATTACKS: dict[str, tuple[list[Statement], str]] = {
    "policies told of nobody's approval": (
        changed(ESCALATED, lambda one: told(one, ["risk"])),
        "told of approvals",
    ),
    "an approval taken out": (
        changed(DECIDED, lambda one: {"approvals": one.approvals[1:]}),
        "told of approvals",
    ),
    "all taken out": (changed(DECIDED, lambda one: {"approvals": ()}), "told of approvals"),
    "parameters changed after the approval": (changed(DECIDED, of_another_amount), "another action"),
    "resource changed after the approval": (changed(DECIDED, of_another_resource), "another action"),
    "other policies": (
        changed(
            DECIDED,
            lambda one: {
                "policy": one.policy.model_copy(update={"digest": "9" * 64}) if one.policy else None
            },
        ),
        "grant under the policies",
    ),
    "another person beside the statement": (
        changed(DECIDED, lambda one: edited(one, approver="carol")),
        "says something else",
    ),
    "a refusal turned into a grant": (
        changed(
            DECIDED,
            lambda one: edited(one, statement=one.approvals[0].statement.replace('"grant"', '"refuse"')),
        ),
        "signature",
    ),
    "another signature": (changed(DECIDED, lambda one: edited(one, sig=one.approvals[1].sig)), "signature"),
    "without the escalated input": (
        changed(DECIDED, lambda one: {"inputs": one.inputs[:1]}),
        "escalated before",
    ),
    "decided twice": ([*LOG, at_offset(LOG[DECIDED], 9)], "concluded already"),
    "never escalated": (LOG[PARTLY:], "was not escalated before"),
}


def test_an_honest_log_is_valid() -> None:
    outcomes = [one.predicate.outcome for one in LOG]
    assert outcomes == [Outcome.ESCALATED, Outcome.ESCALATED, Outcome.REJECTED, Outcome.DECIDED]
    assert LOG[DECIDED].predicate.chain == chain_name(AGENT, f"timers.{AGENT}", 2)
    report = verify(LOG)
    assert (report.verdict, report.first_fault) == (LogVerdict.VALID, None)


@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_attack_is_caught(name: str) -> None:
    statements, why = ATTACKS[name]
    report = verify(statements)
    assert report.verdict is LogVerdict.INVALID
    assert report.first_fault is not None
    assert why in report.first_fault.reason


def test_an_approver_whom_the_auditor_does_not_trust() -> None:
    report = verify(LOG, trusted=Trust(TRUST.keys, trust(["bob"]).approvers))
    assert report.verdict is LogVerdict.INVALID
    assert report.first_fault is not None
    assert "unknown key" in report.first_fault.reason


def test_an_approvers_key_signs_no_records() -> None:
    report = verify(LOG, trusted=trust())
    assert report.verdict is LogVerdict.INVALID

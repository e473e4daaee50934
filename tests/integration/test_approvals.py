"""Approvals on a real Kafka: what people answer lands, once, and what they may not is refused and recorded."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.heuristic import HeuristicReasoner
from jurat.audit.approval import Answer, answer_to
from jurat.audit.key_store import init_approver, load_approver, load_signer, trust_approver
from jurat.audit.keys import TrustedApprover
from jurat.audit.record import APPROVAL_OF, DecisionRecord, Outcome
from jurat.schemas.approvals import ApprovalAnswered, ApprovalRequested
from jurat.schemas.decision import Verdict
from jurat.schemas.marketplace import DisputeOpened
from jurat.streams import approval_desk
from jurat.streams.partition import DUE_POLL_S
from jurat.streams.publisher import Publisher
from jurat.streams.topic_admin import ensure_agent_topics
from jurat.streams.worker import Worker, WorkerConfig
from tests.command import Shell
from tests.oracle import Findings
from tests.runtime_stage import Clock, findings, running, until
from tests.shop import shop_engine

pytestmark = pytest.mark.integration

PEOPLE = {"alice": ("payments-lead",), "bob": ("fraud-desk",), "mallory": ("logistics-lead",)}


def disputed(number: int, *, amount_minor: int = 45_213) -> DisputeOpened:
    """A buyer says that somebody else bought, with proof: the fraud desk settles."""
    proof = {"party": "buyer", "kind": "police_report", "supports": "buyer"}
    return DisputeOpened.model_validate_json(
        json.dumps(
            {
                "dispute_id": f"d-{number}",
                "order_id": f"o-{number}",
                "customer_id": f"c-{number}",
                "seller_id": "s-1",
                "amount": {"amount_minor": amount_minor, "currency": "EUR"},
                "category": "unauthorised",
                "statements": [],
                "evidence": [proof, proof, proof],
                "days_since_delivery": 3,
                "seller_dispute_rate_percent": 2,
                "buyer_prior_disputes": 0,
            }
        )
    )


async def publish(shell: Shell, *disputes: DisputeOpened) -> None:
    async with Publisher(shell.connection, source="/test") as publisher:
        for one in disputes:
            await publisher.publish(one, event_id=f"e-{one.dispute_id}")


def trust_people(shell: Shell, folder: Path) -> None:
    """Each person makes a key of their own; the operator trusts it."""
    for name, roles in PEOPLE.items():
        keyid, _made = init_approver(folder, name)
        trust_approver(shell.keys, TrustedApprover(approver=name, keyid=keyid, roles=roles))


async def asked(shell: Shell, count: int) -> dict[str, ApprovalRequested]:
    """What waits, by what it is about, once it is so many."""

    async def enough() -> bool:
        return len((await approval_desk.waiting(shell.connection)).requests) == count

    await until(enough, within_s=60)
    desk = await approval_desk.waiting(shell.connection)
    return {one.subject: one for one in desk.requests.values()}


async def send(shell: Shell, request: ApprovalRequested, answer: ApprovalAnswered) -> None:
    await approval_desk.send(shell.connection, request, answer, at=datetime.now(UTC))


def of(found: Findings, request: ApprovalRequested) -> list[DecisionRecord]:
    """The records that name a decision as the one they are about, in the order of their chain."""
    named = [
        record
        for record in found.records.values()
        if any(read.name == APPROVAL_OF and read.key == request.decision_id for read in record.context)
    ]
    return sorted(named, key=lambda record: record.seq)


def look_and_answer(shell: Shell, waiting: dict[str, ApprovalRequested], own: Path) -> None:
    """A person looks at what waits, grants one and refuses another."""
    only = shell.run("approvals", "list", "--role", "payments-lead").stdout.decode()
    assert waiting["d-6"].decision_id in only
    assert waiting["d-1"].decision_id not in only
    shown = shell.run("approvals", "show", waiting["d-1"].decision_id).stdout.decode()
    for words in (
        "It would: Refund the buyer in full (refund_buyer)",
        "amount: 452.13 EUR",
        "Where the buyer says that someone else bought, the fraud desk settles (dispute.unauthorised)",
        "fraud-desk: bob",
    ):
        assert words in shown

    as_bob = ("--as", "bob", "--keys", str(own))
    shell.run("approvals", "grant", waiting["d-1"].decision_id, *as_bob, "--why", "the bank confirmed it")
    shell.run("approvals", "refuse", waiting["d-2"].decision_id, *as_bob, "--why", "bought from home")


async def answer_otherwise(shell: Shell, waiting: dict[str, ApprovalRequested], own: Path) -> None:
    """Answers of two people, and all that must not count."""

    async def answer(subject: str, name: str, role: str) -> ApprovalAnswered:
        return await answer_to(
            waiting[subject],
            Answer.GRANT,
            approver=name,
            role=role,
            why="",
            at=datetime.now(UTC),
            signer=load_approver(own, name),
        )

    await send(shell, waiting["d-1"], await answer("d-1", "bob", "fraud-desk"))  # a second time
    await send(shell, waiting["d-3"], await answer("d-3", "mallory", "fraud-desk"))  # has not that role
    await send(shell, waiting["d-3"], await answer("d-3", "alice", "payments-lead"))  # is not asked
    await send(shell, waiting["d-6"], await answer("d-6", "bob", "fraud-desk"))
    await send(shell, waiting["d-6"], await answer("d-6", "alice", "payments-lead"))
    moved = (await answer("d-4", "bob", "fraud-desk")).model_copy(
        update={"event_key": waiting["d-5"].event_key, "decision_id": waiting["d-5"].decision_id}
    )
    await send(shell, waiting["d-5"], moved)  # the approval of another action
    signed = await answer("d-5", "bob", "fraud-desk")
    tampered = signed.payload.replace(b'"why":""', b'"why":"!"')
    await send(shell, waiting["d-5"], signed.model_copy(update={"payload": tampered}))


@pytest.mark.slow
async def test_people_answer_and_a_kill_while_waiting_loses_nothing(shell: Shell, tmp_path: Path) -> None:
    own = tmp_path / "people"
    trust_people(shell, own)
    await ensure_agent_topics(shell.connection, DISPUTE_MEDIATOR)
    await publish(shell, *(disputed(number) for number in range(1, 6)), disputed(6, amount_minor=60_000))
    worker = shell.start("worker", DISPUTE_MEDIATOR.name)
    try:
        waiting = await asked(shell, 6)
    finally:
        worker.kill()  # while they wait
        worker.wait(10)

    look_and_answer(shell, waiting, own)
    await answer_otherwise(shell, waiting, own)
    shell.run("worker", DISPUTE_MEDIATOR.name, "--until-idle", "200ms")
    found = await findings(shell, agent=DISPUTE_MEDIATOR)
    assert found.faults == []
    outcomes = {subject: [one.outcome for one in of(found, request)] for subject, request in waiting.items()}
    assert outcomes == {
        "d-1": [Outcome.DECIDED, Outcome.REJECTED],
        "d-2": [Outcome.DENIED],
        "d-3": [Outcome.REJECTED, Outcome.REJECTED],
        "d-4": [],
        "d-5": [Outcome.REJECTED, Outcome.REJECTED],
        "d-6": [Outcome.ESCALATED, Outcome.DECIDED],
    }
    landed = {one.subject: one for one in found.decisions if one.verdict is Verdict.ALLOW}
    assert set(landed) == {"d-1", "d-6"}
    assert landed["d-1"].concludes == waiting["d-1"].decision_id
    assert [(one.approver, one.role) for one in of(found, waiting["d-6"])[-1].approvals] == [
        ("bob", "fraud-desk"),
        ("alice", "payments-lead"),
    ]
    left = shell.run("approvals", "list", "--json").stdout.decode().splitlines()
    assert sorted(json.loads(line)["subject"] for line in left) == ["d-3", "d-4", "d-5"]
    verified = shell.run("audit", "verify", "--with-decisions").stdout.decode()
    assert "VALID" in verified
    assert "INVALID" not in verified
    told = shell.run("audit", "show", landed["d-1"].id).stdout.decode()
    assert "bob approved it as fraud-desk" in told


@pytest.mark.slow
async def test_nobody_answers(shell: Shell) -> None:
    await ensure_agent_topics(shell.connection, DISPUTE_MEDIATOR)
    agent, clock = replace(DISPUTE_MEDIATOR, approval_within=timedelta(hours=4)), Clock()
    config = WorkerConfig(
        agent=agent,
        reasoner=HeuristicReasoner(),
        engine=shop_engine(),
        signer=load_signer(shell.keys, agent.name),
        clock=clock,
        code="jurat test",
    )
    await publish(shell, disputed(1))
    async with running(worker := Worker(shell.connection, config)):
        (request,) = (await asked(shell, 1)).values()
        clock.ahead = timedelta(hours=3, minutes=59)
        await asyncio.sleep(2 * DUE_POLL_S)
        assert worker.committed_records == 1, "it ended before its time"
        clock.ahead = timedelta(hours=4)
        await asked(shell, 0)
    found = await findings(shell, agent=agent)
    assert found.faults == []
    (record,) = of(found, request)
    assert (record.outcome, record.approvals) == (Outcome.DENIED, ())
    (denied,) = [one for one in found.decisions if one.concludes == request.decision_id]
    assert denied.verdict is Verdict.DENY
    assert denied.rationale.startswith("Nobody approved it within 4:00:00.")

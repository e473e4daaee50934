"""Whatever people answer, in whatever order, with kills and time between: one end, with a proof that holds."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from jurat.audit import dsse
from jurat.audit.approval import Answer
from jurat.audit.keys import Trust, TrustedKey
from jurat.audit.log import LogEntry
from jurat.audit.record import Outcome, concluded, parse
from jurat.audit.verifier import Verifier
from jurat.audit.verifier_report import LogVerdict
from jurat.schemas.approvals import ApprovalRequested
from tests.approval_stage import PEOPLE, Desk, Wants, signer, trust
from tests.deciding_stage import KEY

AGENT = "payment-retrier"
ROLES = ("fraud-desk", "payments-lead")
ENDS = (Outcome.DECIDED, Outcome.DENIED)
EVERYBODY = Trust((TrustedKey(AGENT, signer(AGENT).keyid),), trust().approvers)

PERSON, ROLE = st.sampled_from(sorted(PEOPLE)), st.sampled_from((*ROLES, "logistics-lead"))
HELD = [(name, role) for name in sorted(PEOPLE) for role in PEOPLE[name] if role in ROLES]
GRANTS = st.sampled_from([("answer", *held, Answer.GRANT, True) for held in HELD])
"""Answers that may well count; most of what is drawn at random does not."""

STEPS = st.one_of(
    GRANTS,
    GRANTS,
    GRANTS,
    st.tuples(st.just("answer"), PERSON, ROLE, st.sampled_from(list(Answer)), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([1, 13, 25])),
    st.tuples(st.just("kill")),
    st.tuples(st.just("policies"), st.sampled_from("12")),
    st.tuples(st.just("trust"), st.sets(PERSON, min_size=3)),
)


class Run:
    """One escalated payment, and what is done about it."""

    def __init__(self, roles: tuple[str, ...]) -> None:
        self.desk = Desk(Wants(roles))
        self.requests: list[ApprovalRequested] = []

    async def run(self, steps: list[tuple[object, ...]]) -> None:
        self.requests.append(await self.desk.escalate())
        for step in steps:
            await getattr(self, str(step[0]))(*step[1:])
            self.check()

    async def answer(self, name: str, role: str, answer: Answer, latest: bool) -> None:
        request = self.requests[-1 if latest else 0]
        result, record = await self.desk.send(await self.desk.answer(request, answer, name, role=role))
        if result.asked is not None and result.asked.request is not None:
            self.requests.append(result.asked.request)
        if record.outcome is Outcome.DECIDED:
            assert {one.role for one in record.approvals} >= set(
                self.desk.judge.roles
            ) or not record.approvals

    async def wait(self, hours: int) -> None:
        await self.desk.wait(timedelta(hours=hours))

    async def kill(self) -> None:
        self.desk.kill()

    async def policies(self, digit: str) -> None:
        self.desk.judge.digest = digit * 64

    async def trust(self, people: set[str]) -> None:
        self.desk.trust = trust(sorted(people))

    def check(self) -> None:
        """It waits or has one end; the effect is there exactly when it was decided."""
        records = [parse(payload).predicate for payload in self.desk.payloads]
        ends = [one.outcome for one in records if concluded(one) is not None and one.outcome in ENDS]
        assert len(ends) + len(self.desk.state.waiting) == 1
        assert (self.desk.state.documents.get(KEY) is not None) == (ends == [Outcome.DECIDED])

    async def verify(self) -> None:
        verifier = Verifier(EVERYBODY)
        for offset, payload in enumerate(self.desk.payloads):
            chain = parse(payload).predicate.chain
            signed = await dsse.sign(payload, signer(AGENT), chain=chain)
            verifier.add(LogEntry("audit.decisions", 2, offset, 0, signed))
        report = verifier.report()
        assert (report.verdict, report.first_fault) == (LogVerdict.VALID, None)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([ROLES, ROLES, ROLES[:1]]), st.lists(STEPS, min_size=1, max_size=10))
def test_one_end_with_a_proof(roles: tuple[str, ...], steps: list[tuple[object, ...]]) -> None:
    async def all_of_it() -> None:
        run = Run(roles)
        await run.run(steps)
        await run.verify()

    asyncio.run(all_of_it())

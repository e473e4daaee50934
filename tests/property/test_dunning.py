"""Over any events, answers and reasoners: no open case is left without a timer, and nothing paid is charged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from jurat.agents.dunning import DUNNING
from jurat.agents.dunning_case import DunningDesk
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.reasoner import Proposal, ProposalRequest
from jurat.audit.approval import Answer
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.schemas.decision import Decision, Verdict
from jurat.schemas.model import Event
from jurat.schemas.subscriptions import CardUpdated, CareNeedDeclared, RenewalFailed, RenewalRecovered
from jurat.streams.rehearsal import Rehearsal, Rehearsed
from tests.subscriptions import NOW
from tests.unit.test_agents_dunning import STEPS, failed, recovered

INVOICES = ("inv-1", "inv-2")
CODES = ("insufficient_funds", "stolen_card", "card_expired", "processor_timeout", "of_its_own")
SILENCE = timedelta(days=40)
"""Longer than any step lasts: 30 days of a pause, 17 to a payday and the charge's result."""

Happens = Event | timedelta | Answer

happens: st.SearchStrategy[Happens] = st.one_of(
    st.builds(
        lambda code, invoice, amount: failed(code, invoice=invoice, amount=amount),
        st.sampled_from(CODES),
        st.sampled_from(INVOICES),
        st.sampled_from([4_900, 300_000]),
    ),
    st.builds(recovered, st.sampled_from(INVOICES)),
    st.just(CardUpdated(account_id="a-1")),
    st.builds(lambda needs: CareNeedDeclared(account_id="a-1", needs_care=needs), st.booleans()),
    st.sampled_from([Answer.GRANT, Answer.REFUSE]),
    st.sampled_from([timedelta(hours=hours) for hours in (1, 5, 23, 26, 80, 300)]),
)


@cache
def engine() -> PolicyEngine:
    return PolicyEngine(load_bundle(shipped_bundle("subscriptions")))


class Wilful:
    """Proposes whatever step it was told to, and what makes sense where it was told nothing."""

    name = "wilful"
    deterministic = True

    def __init__(self, steps: Sequence[int]) -> None:
        self._steps = list(steps)

    async def propose(self, request: ProposalRequest) -> Proposal | None:
        if self._steps and (step := self._steps.pop()) < len(STEPS):
            return Proposal(STEPS[step], "because")
        return await HeuristicReasoner().propose(request)


class Account:
    """One account: what was paid of it, who waits for people, and what must hold after each input."""

    def __init__(self, steps: Sequence[int]) -> None:
        self.rehearsal = Rehearsal(DUNNING, engine=engine(), reasoner=Wilful(steps), at=NOW)
        self.paid: dict[str, datetime] = {}
        self.waiting: list[Decision] = []

    async def meet(self, what: Happens) -> None:
        if isinstance(what, timedelta):
            self.look(await self.rehearsal.advance(self.rehearsal.now + what))
        elif isinstance(what, Answer):
            if self.waiting:
                decision = self.waiting.pop()
                role = decision.approvers[0]
                self.look([await self.rehearsal.answer(decision, what, role=role)])
        else:
            if isinstance(what, RenewalRecovered):
                self.paid[what.invoice_id] = self.rehearsal.now
            if isinstance(what, RenewalFailed):  # it failed after it was paid, as a returned debit does
                self.rehearsal.now += timedelta(microseconds=1)
                self.paid.pop(what.invoice_id, None)
            ended = await self.rehearsal.send(what)
            self.look([] if ended is None else [ended])

    def look(self, ended: Sequence[Rehearsed]) -> None:
        desk = self.rehearsal.state("a-1")
        case = desk.case if isinstance(desk, DunningDesk) else None
        for one in ended:
            assert one.rejection is None or "own code failed" not in one.rejection.message
            if one.decision is not None:
                self.note(one.decision)
            if one.action is not None and one.action.action_name == "retry_renewal":
                assert case is not None
                assert one is not ended[-1] or case.invoice_id not in self.paid, "charged though it was paid"
        assert case is None or not case.owed or self.rehearsal.next_due is not None, "left without a timer"

    def note(self, decision: Decision) -> None:
        """Keep who waits for people; what is asked anew waits under the id that it was asked under first."""
        asked = next((held for held in self.waiting if held.id == decision.concludes), decision)
        self.waiting = [held for held in self.waiting if held.id != decision.concludes]
        if decision.verdict is Verdict.ESCALATE:
            self.waiting.append(asked.model_copy(update={"approvers": decision.approvers}))

    async def fall_silent(self) -> None:
        """Nobody says anything any more: the case comes to an end, or to a step that stands for a while."""
        self.waiting.clear()
        for _ in range(6):
            self.look(await self.rehearsal.advance(self.rehearsal.now + SILENCE))
        desk = self.rehearsal.state("a-1")
        assert not isinstance(desk, DunningDesk) or desk.case is None or not desk.case.owed


@given(st.lists(happens, min_size=8, max_size=25), st.lists(st.integers(0, 2 * len(STEPS)), max_size=10))
@settings(max_examples=60, deadline=None)
def test_no_case_is_left_alone_and_nothing_that_was_paid_is_charged(
    story: list[Happens], steps: list[int]
) -> None:
    async def play() -> None:
        account = Account(steps)
        try:
            for what in story:
                await account.meet(what)
            await account.fall_silent()
        finally:
            account.rehearsal.close()

    asyncio.run(play())

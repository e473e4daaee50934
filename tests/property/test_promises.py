"""Over any events and any reasoner: a zone's ledger never goes negative, and every offer ends once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jurat.agents.agent import Action
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.promise_actions import (
    ChangeNothing,
    CommitPromise,
    DeclinePromise,
    NoteCapacity,
    OfferPromise,
    ReleaseOffers,
    ReportShortage,
)
from jurat.agents.promise_ledger import OFFER_STANDS, ZoneLedger
from jurat.agents.reasoner import Proposal, ProposalRequest, Reasoner
from jurat.schemas.commerce_promises import PromiseAnswer, Tier
from jurat.schemas.model import Event
from jurat.streams.rehearsal import Rehearsal, Rehearsed
from tests.promises import MORNING, accepts, fired, ledger_of, rehearsal, report, request, says, slot

NAMES = [f"r-{number}" for number in range(6)]
SLOTS = ["a", "b", "moon"]
fees = st.integers(-50, 1_000)
names, slots = st.sampled_from(NAMES), st.sampled_from(SLOTS)
some = st.lists(names, max_size=3).map(tuple)

reports = st.builds(
    lambda first, second, load: report(
        *([slot("a", 7, first)] if first is not None else []), slot("b", 20, second), load=load
    ),
    st.none() | st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from([50, 95]),
)
asks = st.builds(
    lambda name, units, tier: request(name, units=units, tier=tier),
    names,
    st.integers(1, 6),
    st.sampled_from(Tier),
)
answers = st.builds(lambda name, to: accepts(name, to=to), names, st.integers(1, 3)) | st.builds(
    lambda name, to, where, fee: says(PromiseAnswer.COUNTERED, name, to=to, slot_id=where, fee=fee),
    names,
    st.integers(1, 3),
    st.none() | slots,
    fees,
)
ends = st.builds(lambda name, to: says(PromiseAnswer.DECLINED, name, to=to), names, st.integers(1, 3))
timers = st.just(fired())
events: st.SearchStrategy[Event] = asks | asks | answers | answers | ends | reports | timers
proposals: st.SearchStrategy[Action] = st.one_of(
    st.builds(OfferPromise, slot_id=slots, fee_minor=fees, currency=st.just("EUR")),
    st.builds(CommitPromise, slot_id=slots, fee_minor=fees, currency=st.just("EUR")),
    st.just(DeclinePromise()),
    st.just(ChangeNothing()),
    st.builds(ReleaseOffers, request_ids=some),
    st.builds(NoteCapacity, withdrawn=some),
    st.builds(ReportShortage, withdrawn=some),
)


class Wild:
    """Proposes what it was given, one after the other, and then as the heuristic does."""

    name = "wild"
    deterministic = True

    def __init__(self, wishes: Sequence[Action]) -> None:
        self.wishes = list(wishes)

    async def propose(self, request: ProposalRequest) -> Proposal | None:
        if self.wishes:
            return Proposal(self.wishes.pop(), "because I say so")
        return await HeuristicReasoner().propose(request)


async def _meet(stage: Rehearsal, event: Event, wait: timedelta) -> list[Rehearsed]:
    """What was decided: first what became due while time passed, then the event."""
    found = list(await stage.advance(stage.now + wait))
    ended = await stage.send(event)
    return [*found, ended] if ended else found


def never_negative(ledger: ZoneLedger) -> None:
    for one in ledger.slots:
        held = sum(offer.wanted.units for offer in ledger.offers if offer.slot_id == one.slot_id)
        assert held == 0 or one.promised + held <= one.capacity
        assert ledger.room(one, beside="") == max(0, one.capacity - one.promised - held)
        assert one.short == max(0, one.promised - one.capacity)


def ended_by(action: Action | None, event: Event) -> tuple[str, ...]:
    """The requests that a decision says it ends."""
    match action:
        case CommitPromise() | DeclinePromise():
            named: Any = event
            return (named.request_id,)
        case ReleaseOffers(request_ids=gone) | NoteCapacity(withdrawn=gone) | ReportShortage(withdrawn=gone):
            return gone
    return ()


def held(reasoner: Reasoner, said: list[tuple[Event, int]]) -> None:
    stage = rehearsal(reasoner)
    ended: list[str] = []
    promised = 0
    with asyncio.Runner() as runner:
        runner.run(stage.send(report(slot("a", 7, 10), slot("b", 20, 10))))
        for event, minutes in said:
            before = ledger_of(stage.state("z-1"))
            found = runner.run(_meet(stage, event, timedelta(minutes=minutes)))
            after = ledger_of(stage.state("z-1"))
            never_negative(after)
            now = [name for one in found for name in ended_by(one.action, one.event)]
            ended += now
            opened = {one.request_id for one in after.offers} - {one.request_id for one in before.offers}
            assert not opened & set(ended), "what has ended is not offered again"
            gone = {one.request_id for one in before.offers} - {one.request_id for one in after.offers}
            assert gone <= set(now), "an offer ends by a decision that names it"
            assert all(one.expires_at > stage.now for one in after.offers)
            promised += sum(isinstance(one.action, CommitPromise) for one in found)
        runner.run(stage.advance(stage.now + OFFER_STANDS + timedelta(hours=1)))
        last = ledger_of(stage.state("z-1"))
        assert last.offers == (), "in the end every offer has ended"
        assert set(ended) <= set(last.ended)
    assert len(ended) == len(set(ended)), "once"
    assert promised <= len(NAMES)


turns = st.lists(st.tuples(events, st.sampled_from([0, 0, 1, 10, 31])), max_size=25)


@settings(max_examples=60, deadline=None)
@given(turns)
def test_with_the_heuristic_no_ledger_goes_negative_and_every_offer_ends_once(
    said: list[tuple[Event, int]],
) -> None:
    held(HeuristicReasoner(), said)


@settings(max_examples=60, deadline=None)
@given(turns, st.lists(proposals, max_size=60))
def test_whatever_is_proposed_no_ledger_goes_negative_and_every_offer_ends_once(
    said: list[tuple[Event, int]], wishes: list[Action]
) -> None:
    held(Wild(wishes), said)


def test_the_wild_events_do_lead_to_offers_and_promises() -> None:
    stage = rehearsal(HeuristicReasoner())
    with asyncio.Runner() as runner:
        runner.run(stage.send(report(slot("a", 7, 10), slot("b", 20, 10))))
        offered = runner.run(stage.send(request()))
        done = runner.run(stage.send(accepts()))
    assert offered is not None
    assert isinstance(offered.action, OfferPromise)
    assert done is not None
    assert isinstance(done.action, CommitPromise)
    assert stage.now == MORNING

"""Talks about a settlement: offers, answers, agreement, silence, under the shipped policies."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from jurat.agents.agent import Action, Situation
from jurat.agents.dispute_actions import (
    NoteAnswer,
    OfferSettlement,
    PartialRefund,
    RefundBuyer,
    ReleaseToSeller,
    RequestEvidence,
    SettleAsAgreed,
)
from jurat.agents.dispute_desk import ANSWER_WITHIN, MAX_NAMED, MAX_OFFERS, MAX_ROUNDS, BuyerDesk, timer_name
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.agents.reasoner import Reasoner
from jurat.schemas.decision import InputRef, Verdict
from jurat.schemas.errors import InputRejected
from jurat.schemas.marketplace import (
    DisputeCategory,
    DisputeOpened,
    Party,
    SettlementAnswer,
    SettlementAnswered,
)
from jurat.schemas.model import Event
from jurat.schemas.timers import TimerFired
from tests.shop import NOW, Down, Insisting, counted, run
from tests.unit.test_agents_disputes import CHAT, LISTING, PHOTO, SEALED, dispute

EVEN = dispute(DisputeCategory.NOT_AS_DESCRIBED, PHOTO, SEALED, LISTING, CHAT)
PAID = (RefundBuyer, PartialRefund, ReleaseToSeller, SettleAsAgreed)


def answer(
    party: Party, said: SettlementAnswer, to: int, counter: int | None = None, name: str = "d-1"
) -> SettlementAnswered:
    return SettlementAnswered(
        dispute_id=name, customer_id="c-1", party=party, answer=said, to_minor=to, counter_minor=counter
    )


@dataclass
class Talks:
    """One buyer's disputes, one event after the other, as a worker decides them."""

    desk: BuyerDesk | None = None
    now: Any = NOW
    done: list[Action] = field(default_factory=list)

    def send(self, event: Event, *, reasoner: Reasoner | None = None) -> Action | None:
        seen: Situation[Any] = Situation(event=event, now=self.now, occurred_at=self.now, state=self.desk)
        decided = run(DISPUTE_MEDIATOR, seen, reasoner=reasoner, judge=counted(seen))
        if decided.chosen.judgement.verdict is not Verdict.ALLOW:
            return None
        action = decided.chosen.proposal.action
        after = DISPUTE_MEDIATOR.effect(seen, action) if DISPUTE_MEDIATOR.effect else None
        assert isinstance(after, BuyerDesk)
        assert DISPUTE_MEDIATOR.timers is not None
        assert DISPUTE_MEDIATOR.timers(seen, action) == after.timers()
        self.desk = after
        self.done.append(action)
        return action

    def offered(self, name: str = "d-1") -> int:
        assert self.desk is not None
        offer = self.desk.offer(name)
        assert offer is not None
        return offer.amount_minor

    def silence(self, name: str = "d-1") -> Action | None:
        assert self.desk is not None
        offer = self.desk.offer(name)
        assert offer is not None
        self.now = offer.expires_at
        return self.send(fired(name, offer.expires_at))


def fired(name: str, due: Any) -> TimerFired:
    return TimerFired(
        agent="dispute-mediator",
        event_key="c-1",
        name=timer_name(name),
        due_at=due,
        set_by=InputRef(topic="marketplace.disputes", partition=0, offset=0),
    )


def begun() -> Talks:
    talks = Talks()
    action = talks.send(EVEN)
    assert isinstance(action, OfferSettlement)
    return talks


def test_where_both_sides_have_a_case_both_are_asked() -> None:
    talks = begun()
    assert 0 < talks.offered() < EVEN.amount.amount_minor
    assert talks.desk is not None
    assert talks.desk.timers() == {"offer/d-1": NOW + ANSWER_WITHIN}
    assert talks.desk.settled == ()


def test_both_accept_and_it_is_paid_once() -> None:
    talks = begun()
    amount = talks.offered()
    assert talks.send(answer(Party.BUYER, SettlementAnswer.ACCEPTED, amount)) == NoteAnswer()
    settled = talks.send(answer(Party.SELLER, SettlementAnswer.ACCEPTED, amount))
    assert settled == SettleAsAgreed(amount_minor=amount, currency="EUR")
    assert talks.desk == BuyerDesk(settled=("d-1",))
    with pytest.raises(InputRejected, match="talks have ended"):
        talks.send(answer(Party.SELLER, SettlementAnswer.ACCEPTED, amount))
    assert talks.send(EVEN) is None or not isinstance(talks.done[-1], PAID)


def test_an_acceptance_twice_is_one() -> None:
    talks = begun()
    accepted = answer(Party.BUYER, SettlementAnswer.ACCEPTED, talks.offered())
    assert talks.send(accepted) == talks.send(accepted) == NoteAnswer()


@pytest.mark.parametrize(("party", "sign"), [(Party.BUYER, 1), (Party.SELLER, -1)])
def test_a_refusal_moves_the_offer_towards_who_refused(party: Party, sign: int) -> None:
    talks = begun()
    first = talks.offered()
    action = talks.send(answer(party, SettlementAnswer.REFUSED, first))
    assert action == OfferSettlement(amount_minor=first + sign * 800, currency="EUR")


def test_counter_offers_of_both_sides_meet() -> None:
    talks = begun()
    first = talks.offered()
    talks.send(answer(Party.BUYER, SettlementAnswer.COUNTERED, first, 7_000))
    second = talks.offered()
    assert second == (first + 7_000) // 2
    action = talks.send(answer(Party.SELLER, SettlementAnswer.COUNTERED, second, 2_000))
    assert action == OfferSettlement(amount_minor=4_500, currency="EUR")


def test_an_answer_to_an_earlier_offer_is_none_to_the_next() -> None:
    talks = begun()
    first = talks.offered()
    talks.send(answer(Party.SELLER, SettlementAnswer.REFUSED, first))
    second = talks.offered()
    assert talks.send(answer(Party.BUYER, SettlementAnswer.ACCEPTED, first)) == NoteAnswer()
    assert talks.send(answer(Party.SELLER, SettlementAnswer.ACCEPTED, second)) == NoteAnswer()
    assert talks.desk is not None
    assert talks.desk.settled == ()


def test_after_three_offers_the_evidence_decides() -> None:
    talks = begun()
    for _ in range(MAX_ROUNDS - 1):
        assert isinstance(
            talks.send(answer(Party.BUYER, SettlementAnswer.REFUSED, talks.offered())), OfferSettlement
        )
    last = talks.send(answer(Party.BUYER, SettlementAnswer.REFUSED, talks.offered()))
    assert last is not None
    assert not isinstance(last, OfferSettlement | NoteAnswer)
    assert talks.desk is not None
    assert talks.desk.offers == ()


def test_silence_ends_the_talks_and_an_accepted_offer_speaks() -> None:
    talks = begun()
    amount = talks.offered()
    talks.send(answer(Party.SELLER, SettlementAnswer.ACCEPTED, amount))
    assert talks.silence() == PartialRefund(amount_minor=amount, currency="EUR")
    assert talks.desk == BuyerDesk(settled=("d-1",))


def test_silence_of_both_leaves_it_to_the_evidence() -> None:
    talks = begun()
    assert isinstance(talks.silence(), (*PAID, RequestEvidence))
    assert talks.desk is not None
    assert talks.desk.offers == ()


def test_the_end_of_an_offer_that_was_replaced_ends_nothing() -> None:
    talks = begun()
    talks.now += timedelta(hours=1)
    talks.send(answer(Party.BUYER, SettlementAnswer.REFUSED, talks.offered()))
    standing = talks.desk
    assert talks.send(fired("d-1", NOW + ANSWER_WITHIN)) == NoteAnswer()
    assert talks.desk == standing


def test_without_a_reasoner_answers_are_noted_and_the_end_asks_for_evidence() -> None:
    talks = begun()
    amount = talks.offered()
    assert talks.send(answer(Party.BUYER, SettlementAnswer.ACCEPTED, amount), reasoner=Down()) == NoteAnswer()
    assert talks.send(fired("d-1", NOW + ANSWER_WITHIN), reasoner=Down()) == RequestEvidence(
        from_party=Party.SELLER
    )


@pytest.mark.parametrize(
    "proposal",
    [
        SettleAsAgreed(amount_minor=4_000, currency="EUR"),
        SettleAsAgreed(amount_minor=8_000, currency="EUR"),
        OfferSettlement(amount_minor=8_000, currency="EUR"),
        OfferSettlement(amount_minor=-1, currency="EUR"),
        OfferSettlement(amount_minor=10, currency="USD"),
    ],
)
def test_a_reasoner_cannot_settle_what_was_not_agreed(proposal: Action) -> None:
    talks = begun()
    first = talks.offered()
    done = talks.send(answer(Party.BUYER, SettlementAnswer.ACCEPTED, first), reasoner=Insisting(proposal))
    assert done == NoteAnswer(), "the fallback"


def test_an_answer_is_from_a_side_and_names_an_amount_where_it_counters() -> None:
    with pytest.raises(ValidationError, match="carrier"):
        answer(Party.CARRIER, SettlementAnswer.ACCEPTED, 1)
    with pytest.raises(ValidationError, match="go together"):
        answer(Party.BUYER, SettlementAnswer.COUNTERED, 1)
    with pytest.raises(ValidationError, match="go together"):
        answer(Party.BUYER, SettlementAnswer.ACCEPTED, 1, 2)


def test_a_timer_has_a_name_whatever_the_dispute_is_called() -> None:
    for name in ("d" * MAX_NAMED, "d" * 200, "größer", "\x00"):
        assert len(timer_name(name)) <= 100
        assert timer_name(name).isascii()
        assert timer_name(name).isprintable()


moves = st.tuples(
    st.sampled_from(["opened", "accepted", "refused", "countered", "late", "silence"]),
    st.sampled_from([f"d-{number}" for number in range(10)]),
    st.sampled_from([Party.BUYER, Party.SELLER]),
    st.integers(-10, 9_000),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(moves, max_size=40))
def test_whatever_is_said_no_dispute_is_paid_twice_and_every_offer_ends(said: list[Any]) -> None:
    talks = Talks()
    paid: list[str] = []
    for kind, name, party, amount in said:
        desk = talks.desk or BuyerDesk()
        offer = desk.offer(name)
        event: Event
        if kind == "opened":
            event = EVEN.model_copy(update={"dispute_id": name})
        elif kind == "silence" and offer is not None:
            event = fired(name, offer.expires_at)
        elif kind == "silence":
            event = fired(name, talks.now)
        else:
            to = offer.amount_minor if offer is not None and kind != "late" else amount
            what = SettlementAnswer.ACCEPTED if kind == "late" else SettlementAnswer(kind)
            counter = amount if what is SettlementAnswer.COUNTERED else None
            event = answer(party, what, to, counter, name)
        try:
            action = talks.send(event)
        except InputRejected:
            assert offer is None
            continue
        if isinstance(action, PAID):
            paid.append(name)
        if isinstance(action, SettleAsAgreed):
            assert offer is not None
            assert action.amount_minor == offer.amount_minor
        after = talks.desk or BuyerDesk()
        assert len(after.offers) <= MAX_OFFERS
        assert not {one.order.id for one in after.offers} & set(after.settled)
        assert all(0 < one.amount_minor < 8_000 and one.round <= MAX_ROUNDS for one in after.offers)
        assert set(paid) == set(after.settled)
    assert len(paid) == len(set(paid))


def test_the_dispute_keeps_what_it_was_opened_with() -> None:
    talks = begun()
    assert isinstance(EVEN, DisputeOpened)
    assert talks.desk is not None
    assert talks.desk.offers[0].order.id == EVEN.dispute_id
    assert talks.desk.offers[0].pieces_from_buyer == talks.desk.offers[0].pieces_from_seller == 2


def test_at_the_end_of_an_offer_nobody_waits_on() -> None:
    talks = begun()
    assert talks.silence() is not None
    talks = begun()
    assert talks.desk is not None
    talks.now = talks.desk.offers[0].expires_at
    ended = fired("d-1", talks.now)
    assert not isinstance(talks.send(ended, reasoner=Insisting(NoteAnswer())), NoteAnswer)
    assert all(due > talks.now for due in talks.desk.timers().values())


def test_a_dispute_that_is_opened_again_goes_on_counting_its_offers() -> None:
    talks = begun()
    again = Insisting(OfferSettlement(amount_minor=talks.offered(), currency="EUR"))
    made = [talks.send(EVEN, reasoner=again) for _ in range(MAX_ROUNDS)]
    assert [isinstance(action, OfferSettlement) for action in made] == [True] * (MAX_ROUNDS - 1) + [False]


def test_talks_that_came_to_nothing_do_not_begin_again() -> None:
    talks = begun()
    talks.send(fired("d-1", NOW + ANSWER_WITHIN), reasoner=Down())
    assert talks.done[-1] == RequestEvidence(from_party=Party.SELLER)
    assert talks.desk is not None
    assert (talks.desk.offers, talks.desk.talked) == ((), ("d-1",))
    again = talks.send(EVEN, reasoner=Insisting(OfferSettlement(amount_minor=4_000, currency="EUR")))
    assert again == RequestEvidence(from_party=Party.SELLER), "the fallback"
    assert not isinstance(talks.send(EVEN), OfferSettlement)

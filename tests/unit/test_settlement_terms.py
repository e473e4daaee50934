"""The terms of a settlement: amounts at their edges, an acceptance that is taken back, and how much is kept."""

from __future__ import annotations

import pytest

from jurat.agents.dispute_actions import NoteAnswer, OfferSettlement, SettleAsAgreed
from jurat.agents.dispute_desk import MAX_SETTLED, OpenOffer
from jurat.agents.dispute_settlement import next_offer
from jurat.schemas.marketplace import Party, SettlementAnswer
from tests.shop import Insisting
from tests.unit.test_agents_settlement import EVEN, PAID, Talks, answer, begun


@pytest.mark.parametrize("withdraws", [SettlementAnswer.REFUSED, SettlementAnswer.COUNTERED])
@pytest.mark.parametrize("first", [Party.SELLER, Party.BUYER])
def test_who_takes_an_acceptance_back_has_not_accepted(first: Party, withdraws: SettlementAnswer) -> None:
    second = Party.BUYER if first is Party.SELLER else Party.SELLER
    talks = begun()
    to = talks.offered()
    noted = Insisting(NoteAnswer())
    assert talks.send(answer(first, SettlementAnswer.ACCEPTED, to)) == NoteAnswer()
    counter = to - 1 if withdraws is SettlementAnswer.COUNTERED else None
    assert talks.send(answer(first, withdraws, to, counter), reasoner=noted) == NoteAnswer()
    agreed = Insisting(SettleAsAgreed(amount_minor=to, currency="EUR"))
    assert not isinstance(talks.send(answer(second, SettlementAnswer.ACCEPTED, to), reasoner=agreed), PAID)


def offer_of(whole: int, last: int, *, asks: int | None = None, bids: int | None = None) -> OpenOffer:
    desk = begun().desk
    assert desk is not None
    offer = desk.offers[0]
    order = offer.order.model_copy(update={"amount_minor": whole})
    changes = {"order": order, "amount_minor": last, "buyer_asks": asks, "seller_bids": bids}
    return offer.model_copy(update=changes)


@pytest.mark.parametrize(
    ("terms", "party", "counter", "amount"),
    [
        ({"whole": 1_000, "last": 500}, Party.BUYER, None, 600),
        ({"whole": 1_000, "last": 950}, Party.BUYER, None, 999),
        ({"whole": 1_000, "last": 50}, Party.SELLER, None, 1),
        ({"whole": 1_000, "last": 999}, Party.BUYER, None, None),
        ({"whole": 1_000, "last": 1}, Party.SELLER, None, None),
        ({"whole": 1_000, "last": 500, "asks": 5_000}, Party.BUYER, 5_000, 999),
        ({"whole": 1_000, "last": 500, "asks": 500, "bids": 500}, Party.BUYER, 500, None),
        ({"whole": 5, "last": 2}, Party.BUYER, None, 3),
        ({"whole": 1, "last": 1}, Party.BUYER, None, None),
    ],
)
def test_the_next_offer_is_another_one_between_nothing_and_the_whole(
    terms: dict[str, int], party: Party, counter: int | None, amount: int | None
) -> None:
    offer = offer_of(**terms)
    said = SettlementAnswer.REFUSED if counter is None else SettlementAnswer.COUNTERED
    assert next_offer(offer, answer(party, said, offer.amount_minor, counter)) == amount


def test_a_buyer_has_eight_open_offers_at_most() -> None:
    talks = Talks()
    for number in range(8):
        one = EVEN.model_copy(update={"dispute_id": f"d-{number}"})
        assert isinstance(talks.send(one), OfferSettlement)
    more = EVEN.model_copy(update={"dispute_id": "one-more"})
    offered = Insisting(OfferSettlement(amount_minor=talks.offered("d-0"), currency="EUR"))
    assert not isinstance(talks.send(more, reasoner=offered), OfferSettlement)
    assert talks.desk is not None
    assert len(talks.desk.offers) == 8


def test_what_both_sides_named_stays_where_a_dispute_is_opened_again() -> None:
    talks = begun()
    to = talks.offered()
    talks.send(answer(Party.BUYER, SettlementAnswer.COUNTERED, to, to + 5), reasoner=Insisting(NoteAnswer()))
    again = Insisting(OfferSettlement(amount_minor=to + 1, currency="EUR"))
    assert isinstance(talks.send(EVEN, reasoner=again), OfferSettlement)
    assert talks.desk is not None
    assert talks.desk.offers[0].buyer_asks == to + 5


def test_disputes_that_came_to_nothing_are_remembered_within_bounds() -> None:
    desk = begun().desk
    assert desk is not None
    offer, names = desk.offers[0], [f"d-{number}" for number in range(MAX_SETTLED + 1)]
    for name in names:
        order = offer.order.model_copy(update={"id": name})
        desk = desk.put(offer.model_copy(update={"order": order})).give_up(name)
    assert desk.talked == tuple(names[1:])

"""The world of disputes: whoever leaves one unsettled has not saved its cost, and none is settled twice."""

from __future__ import annotations

from collections.abc import Callable

from jurat.agents.agent import Action
from jurat.agents.dispute_actions import NoteAnswer, OfferSettlement, RefundBuyer, RequestEvidence
from jurat.schemas.marketplace import DisputeOpened, Party, SettlementAnswered
from jurat.schemas.model import Event
from jurat.streams.score_disputes import MAX_ROUNDS, PERSON_MINOR, ROUND_MINOR, play
from jurat.streams.score_world import Tally

CASES = 12


def played(act: Callable[[Event], Action | None]) -> tuple[Tally, list[Event]]:
    met: list[Event] = []
    run = play(3, CASES)
    try:
        step = next(run)
        while True:
            met.append(step.event)
            step = run.send(act(step.event))
    except StopIteration as end:
        return end.value, met


def refund(opened: DisputeOpened) -> RefundBuyer:
    return RefundBuyer(amount_minor=opened.amount.amount_minor, currency="EUR")


def offer(opened: DisputeOpened) -> OfferSettlement:
    return OfferSettlement(amount_minor=max(1, opened.amount.amount_minor // 2), currency="EUR")


def test_what_nobody_decides_goes_to_a_person_who_is_right() -> None:
    tally, met = played(lambda _event: None)
    assert tally == Tally(-PERSON_MINOR * CASES, CASES, right=CASES)
    assert len(met) == CASES


def test_talks_that_lead_nowhere_go_to_a_person_too() -> None:
    tally, met = played(lambda event: offer(event) if isinstance(event, DisputeOpened) else NoteAnswer())
    assert tally.value_minor == -(PERSON_MINOR + ROUND_MINOR) * CASES
    assert len(met) == 3 * CASES, "each dispute, and an answer of both sides"


def test_who_asks_for_ever_is_cut_off() -> None:
    tally, met = played(lambda _event: RequestEvidence(from_party=Party.BUYER))
    assert tally.value_minor == -(PERSON_MINOR + ROUND_MINOR * MAX_ROUNDS) * CASES
    assert len(met) == (1 + MAX_ROUNDS) * CASES


def test_the_second_settlement_of_a_dispute_counts_for_nothing() -> None:
    opened: dict[str, DisputeOpened] = {}

    def once(event: Event) -> Action:
        if isinstance(event, DisputeOpened):
            opened[event.dispute_id] = event
            return offer(event)
        assert isinstance(event, SettlementAnswered)
        return refund(opened[event.dispute_id])

    twice, met = played(once)
    direct, _ = played(lambda event: refund(event) if isinstance(event, DisputeOpened) else None)
    assert len(met) == 3 * CASES
    assert twice.right == direct.right
    assert twice.value_minor == direct.value_minor - ROUND_MINOR * CASES

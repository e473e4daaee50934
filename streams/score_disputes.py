"""A world of disputes: the simulated marketplace's, with parties who answer.

The truth is the simulator's: who is right, and what would be fair. What is added here: a party that is asked for
evidence hands in one more piece, which speaks for the side that is right in three cases of four; a side accepts an
offer that is not far from fair, and names its own idea of fair where it is not; a dispute that is left unsettled, for
whatever reason, goes to a person, who finds what is fair, and costs; it is settled once.
Money that goes to the wrong side costs the marketplace half of it: that side's trust, sooner or later.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from jurat.agents.agent import Action, Situation
from jurat.agents.dispute_actions import (
    OfferSettlement,
    PartialRefund,
    RefundBuyer,
    ReleaseToSeller,
    RequestEvidence,
    SettleAsAgreed,
)
from jurat.agents.dispute_mediator import DISPUTE_MEDIATOR
from jurat.schemas.marketplace import DisputeOpened, Evidence, Party, SettlementAnswer, SettlementAnswered
from jurat.schemas.simulation import DisputeOutcome
from jurat.streams.score_world import Step, Tally, World
from jurat.streams.simulator import simulate
from jurat.streams.simulator_draws import Draws

CURRENCY: Final = "EUR"
START: Final = datetime(2026, 1, 2, tzinfo=UTC)

PERSON_MINOR: Final = 900
"""A person settles it: twenty minutes of their time."""

ROUND_MINOR: Final = 150
"""A letter to each side, and days in which both are unhappy."""

WRONG_PERCENT: Final = 50
CLOSE_PERCENT: Final = 15
"""A settlement this close to fair, of the disputed amount, counts as right."""

ORDERS_PER_DISPUTE: Final = 22
MAX_ROUNDS: Final = 6
"""Rounds of one dispute; after that a person takes it."""

REFUND_UNDER_MINOR: Final = 5_000


@dataclass(slots=True)
class _Talk:
    event: DisputeOpened | SettlementAnswered
    opened: DisputeOpened
    truth: DisputeOutcome
    rounds: int = 0


def play(seed: int, cases: int) -> Generator[Step, Action | None, Tally]:
    """Disputes, each to its end: settled by the agent, or by a person where it is still open when nothing follows."""
    draws = Draws(seed, "dispute answers")
    value = right = turn = 0
    due: list[tuple[datetime, int, _Talk]] = []
    for opened, truth, at in _disputes(seed, cases):
        heapq.heappush(due, (at, turn, _Talk(opened, opened, truth)))
        turn += 1
    met = turn
    open_ = {talk.opened.dispute_id: talk for _at, _turn, talk in due}
    while due:
        at, _turn, talk = heapq.heappop(due)
        action = yield Step(talk.event, at)
        paid = _paid(action)
        if paid is not None:
            if open_.pop(talk.opened.dispute_id, None) is not None:
                value -= _lost(paid, talk)
                right += _is_right(paid, talk)
        elif isinstance(action, RequestEvidence | OfferSettlement) and talk.rounds < MAX_ROUNDS:
            talk.rounds += 1
            value -= ROUND_MINOR
            for event in _answers(draws, action, talk):
                after = at + timedelta(hours=draws.between(2, 40))
                heapq.heappush(
                    due, (after, turn, _Talk(event, _opened(event, talk), talk.truth, talk.rounds))
                )
                turn += 1
    value -= PERSON_MINOR * len(open_)
    right += len(open_)
    return Tally(value, met, right=right)


def _lost(paid: int, talk: _Talk) -> int:
    """What a settlement costs the marketplace: part of what went to the wrong side."""
    return abs(paid - talk.truth.fair_refund_minor) * WRONG_PERCENT // 100


def _is_right(paid: int, talk: _Talk) -> bool:
    off = abs(paid - talk.truth.fair_refund_minor)
    return off * 100 <= talk.opened.amount.amount_minor * CLOSE_PERCENT


def _disputes(seed: int, cases: int) -> Iterator[tuple[DisputeOpened, DisputeOutcome, datetime]]:
    found = 0
    for happened, after in pairwise(simulate(seed=seed, orders=cases * ORDERS_PER_DISPUTE * 2, start=START)):
        if isinstance(happened.event, DisputeOpened) and isinstance(after.event, DisputeOutcome):
            yield happened.event, after.event, happened.time
            found += 1
            if found == cases:
                return


def _paid(action: Action | None) -> int | None:
    """What the buyer gets; None where the dispute is not settled."""
    match action:
        case RefundBuyer(amount_minor=amount) | PartialRefund(amount_minor=amount):
            return amount
        case SettleAsAgreed(amount_minor=amount):
            return amount
        case ReleaseToSeller():
            return 0
    return None


def _answers(
    draws: Draws, action: RequestEvidence | OfferSettlement, talk: _Talk
) -> Iterator[DisputeOpened | SettlementAnswered]:
    opened, truth = talk.opened, talk.truth
    if isinstance(action, RequestEvidence):
        other = Party.SELLER if truth.right is Party.BUYER else Party.BUYER
        supports = truth.right if draws.happens(750) else other
        kind = "tracking_scan" if draws.happens(300) else "photo"
        piece = Evidence(party=action.from_party, kind=kind, supports=supports)
        yield opened.model_copy(update={"evidence": (*opened.evidence, piece)})
        return
    whole = opened.amount.amount_minor
    slack = whole * draws.between(5, 25) // 100
    for party, sign in ((Party.BUYER, -1), (Party.SELLER, 1)):
        limit = max(1, min(whole - 1, truth.fair_refund_minor + sign * slack))
        fits = action.amount_minor >= limit if party is Party.BUYER else action.amount_minor <= limit
        yield SettlementAnswered(
            dispute_id=opened.dispute_id,
            customer_id=opened.customer_id,
            party=party,
            answer=SettlementAnswer.ACCEPTED if fits else SettlementAnswer.COUNTERED,
            to_minor=action.amount_minor,
            counter_minor=None if fits else limit,
        )


def _opened(event: DisputeOpened | SettlementAnswered, talk: _Talk) -> DisputeOpened:
    return event if isinstance(event, DisputeOpened) else talk.opened


def rule(situation: Situation[Any]) -> Action | None:
    """Refund in full up to 50.00, release above; leave answers to people, as the rule makes no offers."""
    dispute = situation.event
    if not isinstance(dispute, DisputeOpened):
        return None
    amount = dispute.amount
    if amount.amount_minor <= REFUND_UNDER_MINOR:
        return RefundBuyer(amount_minor=amount.amount_minor, currency=amount.currency)
    return ReleaseToSeller()


DISPUTES: Final = World(
    name="disputes",
    agent=DISPUTE_MEDIATOR,
    rule=rule,
    rule_title="refund up to 50.00, release to the seller above",
    currency=CURRENCY,
    play=play,
)

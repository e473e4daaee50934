"""A world for the trust scorer: honest sellers, careless ones, and a few who take the money and run.

The truth, which no event holds: what kind a seller is, and from which week on. A report a week says what became of the
orders of the last thirty days. The marketplace holds the payouts of a seller below a score of 40: that spares it what
goes wrong from then on, and costs it a part of what goes right, as sellers who wait for their money sell elsewhere. A
review costs a person's time and finds the truth about the day on which it is done.

The rule that the scorer is compared with is a formula: 100, less ten points for each percent of orders that were lost
in a dispute or charged back, moved by at most 15 points a week.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from jurat.agents.agent import Action, Situation
from jurat.agents.trust_scorer import BORNE, PRIOR, STEP, TRUST_SCORER, AskForReview, SetTrust, score_of
from jurat.schemas.marketplace import SellerActivityReported
from jurat.schemas.model import Money
from jurat.streams.score_world import Step, Tally, World
from jurat.streams.simulator_draws import Draws

CURRENCY: Final = "EUR"
START: Final = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
ALL: Final = 100
WEEKS: Final = 20
"""Weeks that a seller is followed."""

WINDOW_WEEKS: Final = 4
HELD_BELOW: Final = 40
FRICTION_PERCENT: Final = 4
"""Of the volume of good orders: what the marketplace loses by holding a payout."""

REVIEW_COST_MINOR: Final = 2_500
"""Half an hour of a person."""


class _Kind(StrEnum):
    HONEST = "honest"
    CARELESS = "careless"
    THIEF = "thief"


_KINDS: Final = ((_Kind.HONEST, 84), (_Kind.CARELESS, 10), (_Kind.THIEF, 6))
_BAD_PER_MILLE: Final = {_Kind.HONEST: 8, _Kind.CARELESS: 45, _Kind.THIEF: 8}
_STOLEN_PER_MILLE: Final = 420
"""Orders that go wrong once a thief has begun to steal; before, a thief looks like everybody."""


@dataclass(slots=True)
class _Week:
    orders: int = 0
    late: int = 0
    cancelled: int = 0
    lost: int = 0
    disputes: int = 0
    chargebacks: int = 0
    reviews: int = 0
    rating: int = 0
    volume_minor: int = 0
    bad_minor: int = 0


@dataclass(slots=True)
class _Seller:
    name: str
    kind: _Kind
    steals_from: int
    verified: bool
    days: int
    size: int
    weeks: list[_Week] = field(default_factory=list)
    held_for_good: bool = False

    def bad(self, week: int) -> bool:
        return self.kind is _Kind.THIEF and week >= self.steals_from


def _play(seed: int, cases: int) -> Generator[Step, Action | None, Tally]:
    draws, trade = Draws(seed, "trust sellers"), Draws(seed, "trust trade")
    sellers = [_seller(draws, seed, number) for number in range(max(1, cases // WEEKS))]
    scores = dict.fromkeys((seller.name for seller in sellers), PRIOR)
    value = decided = right = 0
    for week in range(WEEKS):
        for number, seller in enumerate(sellers):
            traded = _trade(trade, seller, week)
            held = seller.held_for_good or scores[seller.name] < HELD_BELOW
            value += _earned(traded, held=held)
            at = START + timedelta(weeks=week, seconds=number)
            action = yield Step(_report(seller, week), at)
            if isinstance(action, SetTrust):
                scores[seller.name] = action.score
            elif isinstance(action, AskForReview):
                value -= REVIEW_COST_MINOR
                seller.held_for_good = seller.held_for_good or seller.bad(week)
            decided += 1
            right += (seller.held_for_good or scores[seller.name] < HELD_BELOW) == seller.bad(week)
    return Tally(value, decided, right=right)


def _seller(draws: Draws, seed: int, number: int) -> _Seller:
    kind = draws.weighted(_KINDS)
    return _Seller(
        name=f"s-{seed}-{number}",
        kind=kind,
        steals_from=draws.between(3, WEEKS - 6),
        verified=draws.happens(300 if kind is _Kind.THIEF else 850),
        days=draws.between(0, 90) if kind is _Kind.THIEF else draws.between(0, 2_000),
        size=draws.between(4, 40),
    )


def _trade(draws: Draws, seller: _Seller, week: int) -> _Week:
    seen = _Week()
    stealing = seller.bad(week)
    for _ in range(draws.between(seller.size // 2, seller.size)):
        price = draws.between(1_000, 9_000)
        wrong = draws.happens(_STOLEN_PER_MILLE if stealing else _BAD_PER_MILLE[seller.kind])
        disputed = wrong or draws.happens(6)
        charged_back = wrong and draws.happens(250)
        seen.orders += 1
        seen.volume_minor += price
        seen.late += draws.happens(120 if seller.kind is _Kind.CARELESS else 25)
        seen.cancelled += draws.happens(40 if seller.kind is _Kind.CARELESS else 6)
        seen.disputes += disputed
        seen.lost += wrong
        seen.chargebacks += charged_back
        seen.bad_minor += price * wrong
        if draws.happens(300):
            seen.reviews += 1
            seen.rating += draws.between(10, 50) if wrong else draws.between(70, ALL)
    seller.weeks.append(seen)
    return seen


def _earned(traded: _Week, *, held: bool) -> int:
    good = traded.volume_minor - traded.bad_minor
    return -good * FRICTION_PERCENT // ALL if held else -traded.bad_minor


def _report(seller: _Seller, week: int) -> SellerActivityReported:
    window = seller.weeks[-WINDOW_WEEKS:]
    reviews = sum(seen.reviews for seen in window)
    return SellerActivityReported(
        seller_id=seller.name,
        window_days=7 * len(window),
        days_active=seller.days + 7 * week,
        identity_verified=seller.verified,
        orders=sum(seen.orders for seen in window),
        late=sum(seen.late for seen in window),
        cancelled=sum(seen.cancelled for seen in window),
        disputes=sum(seen.disputes for seen in window),
        disputes_lost=sum(seen.lost for seen in window),
        chargebacks=sum(seen.chargebacks for seen in window),
        reviews=reviews,
        rating=sum(seen.rating for seen in window) // max(1, reviews),
        volume=Money(amount_minor=sum(seen.volume_minor for seen in window), currency=CURRENCY),
    )


def _rule(situation: Situation[Any]) -> Action:
    seen, now = situation.event, score_of(situation)
    lost = ALL * (seen.disputes_lost + seen.chargebacks) // max(1, seen.orders)
    aim = max(20, ALL - 10 * lost)  # below 20 a person would have to approve
    if not seen.identity_verified:
        aim = min(aim, 80)
    score = max(now - STEP, min(now + STEP, aim))
    return SetTrust(score=score, evidence=tuple(kind for kind, borne in BORNE.items() if borne(seen)))


TRUST: Final = World(
    name="trust",
    agent=TRUST_SCORER,
    rule=_rule,
    rule_title="100 less 10 points a percent lost or charged back, moved by 15 a week at most",
    currency=CURRENCY,
    play=_play,
)

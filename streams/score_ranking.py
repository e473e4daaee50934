"""A world for the ranker: buyers who look down a list, and take the best of what they saw, if it is good enough.

The truth, which no event holds: what counts for a buyer (their known taste is an echo of it, and a quarter of buyers
have none yet), how well a listing really fits the search and how good the goods are, how far down the buyer looks, and
what they would rather do without. The marketplace earns a tenth of what is bought, and something later on buyers who
are content; it pays for what is sent back.

The rule that the ranker is compared with is what most search services do: the order of relevance, whoever looks.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from jurat.agents.agent import Action, Situation
from jurat.agents.ranker import RANKER, KeepOrder, Rerank
from jurat.schemas.marketplace import Listing, SearchPerformed, Taste
from jurat.schemas.model import Money
from jurat.streams.score_world import Step, Tally, World
from jurat.streams.simulator_draws import Draws

CURRENCY: Final = "EUR"
START: Final = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
ALL: Final = 100
COMMISSION: Final = 10
"""Percent of the price that the marketplace earns."""

CONTENT_MINOR: Final = 3
"""What each point is worth by which a purchase is better than going without: who is content comes back."""

RETURN_COST_MINOR: Final = 450
"""A parcel back: label, handling, a letter."""

DEPTHS: Final = ((1, 14), (2, 14), (3, 16), (5, 24), (8, 18), (12, 9), (30, 5))
"""How many places buyers look at, by their weight: half of them at most three to five."""


@dataclass(frozen=True, slots=True)
class _Buyer:
    price: int
    speed: int
    quality: int
    depth: int
    least: int


@dataclass(frozen=True, slots=True)
class _Goods:
    fit: int
    quality: int
    sent_back: bool


def _play(seed: int, cases: int) -> Generator[Step, Action | None, Tally]:
    buyers, shelf, service = (Draws(seed, f"ranking {label}") for label in ("buyers", "shelf", "service"))
    value = 0
    for case in range(cases):
        buyer, taste = _buyer(buyers)
        listings, goods = _shelf(shelf, service, case)
        search = SearchPerformed(
            search_id=f"q-{seed}-{case}",
            buyer_id=f"b-{seed}-{case}",
            query="a lamp for the desk",
            taste=taste,
            listings=listings,
        )
        action = yield Step(search, START + timedelta(minutes=case))
        order = action.order if isinstance(action, Rerank) else tuple(at.listing_id for at in listings)
        value += _bought(buyer, [next(x for x in listings if x.listing_id == name) for name in order], goods)
    return Tally(value, cases)


def _buyer(draws: Draws) -> tuple[_Buyer, Taste]:
    price, speed, quality = (draws.weighted(((0, 30), (40, 30), (70, 25), (100, 15))) for _ in range(3))
    buyer = _Buyer(price, speed, quality, draws.weighted(DEPTHS), least=draws.between(110, 230))
    echoes = [max(0, min(ALL, true + draws.between(-20, 20))) for true in (price, speed, quality)]
    if draws.happens(250):
        return buyer, Taste()
    return buyer, Taste(price=echoes[0], speed=echoes[1], quality=echoes[2])


def _shelf(draws: Draws, service: Draws, case: int) -> tuple[tuple[Listing, ...], dict[str, _Goods]]:
    listings, goods = [], {}
    for number in range(draws.between(5, 20)):
        name, fit, quality = f"l-{case}-{number}", draws.between(20, ALL), draws.between(30, ALL)
        goods[name] = _Goods(fit, quality, sent_back=draws.below(ALL) < (ALL - quality) // 4)
        listings.append(
            Listing(
                listing_id=name,
                seller_id=f"s-{draws.below(12)}",
                relevance=max(0, min(ALL, fit + service.between(-15, 15))),
                price=Money(amount_minor=draws.between(1_500, 6_000), currency=CURRENCY),
                ships_in_days=draws.between(0, 9),
                rating=max(0, min(ALL, quality + service.between(-15, 15))),
                new_seller=draws.happens(180),
                sponsored=draws.happens(100),
            )
        )
    return tuple(sorted(listings, key=lambda listing: -listing.relevance)), goods


def _bought(buyer: _Buyer, shown: list[Listing], goods: dict[str, _Goods]) -> int:
    prices = [listing.price.amount_minor for listing in shown]
    low, high = min(prices), max(prices)

    def worth(listing: Listing) -> int:
        cheap = ALL if high == low else ALL * (high - listing.price.amount_minor) // (high - low)
        fast = ALL - 10 * listing.ships_in_days
        of = goods[listing.listing_id]
        return of.fit + (buyer.price * cheap + buyer.speed * fast + buyer.quality * of.quality) // (2 * ALL)

    best = max(shown[: buyer.depth], key=worth)
    if worth(best) < buyer.least:
        return 0
    if goods[best.listing_id].sent_back:
        return -RETURN_COST_MINOR
    return best.price.amount_minor * COMMISSION // ALL + CONTENT_MINOR * (worth(best) - buyer.least)


def _rule(_situation: Situation[Any]) -> Action:
    return KeepOrder()


RANKING: Final = World(
    name="ranking",
    agent=RANKER,
    rule=_rule,
    rule_title="the order of relevance, whoever looks",
    currency=CURRENCY,
    play=_play,
)

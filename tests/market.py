"""What the tests of the marketplace's ranker and trust scorer share: their policies, and realistic events."""

from __future__ import annotations

from functools import cache
from typing import Any

from jurat.agents.agent import Situation
from jurat.agents.kernel import Judge
from jurat.policies import PolicyEngine, load_bundle, shipped_bundle
from jurat.schemas.marketplace import Listing, SearchPerformed, SellerActivityReported, Taste
from jurat.schemas.model import Model
from jurat.streams.usage import Counted, PartitionUsage
from tests.shop import NOW, euros


@cache
def market_engine() -> PolicyEngine:
    return PolicyEngine(load_bundle(shipped_bundle("market")))


def market_judge(key: str = "s-1") -> Judge:
    """The market's policies, told that nothing was used of any budget."""
    return Counted(market_engine(), PartitionUsage(partition=0), key)


def listing(number: int, relevance: int, **changes: Any) -> Listing:
    given: dict[str, Any] = {
        "listing_id": f"l-{number}",
        "seller_id": f"s-{number}",
        "relevance": relevance,
        "price": euros(3_000),
        "ships_in_days": 3,
        "rating": 80,
    }
    return Listing(**given | changes)


def search(*listings: Listing, taste: Taste | None = None) -> SearchPerformed:
    return SearchPerformed(
        search_id="q-1", buyer_id="b-1", query="lamp", taste=taste or Taste(), listings=listings
    )


def activity(**changes: Any) -> SellerActivityReported:
    given: dict[str, Any] = {
        "seller_id": "s-1",
        "window_days": 28,
        "days_active": 500,
        "identity_verified": True,
        "orders": 100,
        "late": 2,
        "cancelled": 1,
        "disputes": 1,
        "disputes_lost": 0,
        "chargebacks": 0,
        "reviews": 30,
        "rating": 85,
        "volume": euros(400_000),
    }
    return SellerActivityReported(**given | changes)


def asked(event: SearchPerformed | SellerActivityReported, state: Model | None = None) -> Situation[Any]:
    return Situation(event=event, now=NOW, occurred_at=NOW, state=state)

"""What an order of listings does: who is seen how much, what it costs in relevance, who moved where. Integers only.

Rules upheld here: pure functions over listings and orders; what cannot be an order of these listings has no measures.
The places are worth what eyes give them: the first one 1000, each later one less, as in the discounted gain that
search engines are measured by. Not here: which order is proposed (`ranker.py`), what of it is allowed
(`policies/market/ranking.cedar`).

Source: K. Jarvelin, J. Kekalainen, Cumulated gain-based evaluation of IR techniques, ACM TOIS 20 (2002).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from jurat.schemas.marketplace import MAX_LISTINGS, Listing

PLACES_PER_MILLE: Final = (
    1000, 631, 500, 431, 387, 356, 333, 315, 301, 289, 279, 270, 263, 256, 250,
    245, 240, 235, 231, 228, 224, 221, 218, 215, 213, 210, 208, 206, 204, 202,
)  # fmt: skip
"""1000 / log2(place + 1): what a place is worth, down to `MAX_LISTINGS`."""

TOP: Final = 5
"""The places that a buyer sees without scrolling."""

ALL: Final = 100
"""A whole, in percent."""

if len(PLACES_PER_MILLE) != MAX_LISTINGS:
    raise RuntimeError("there is one worth for each place that a search may have")


@dataclass(frozen=True, slots=True)
class Measures:
    """What an order does.

    Attributes:
        relevance_percent: discounted relevance, of what the best order for it would have.
        new_seller_percent: what new sellers are seen, of what their share of the listings would give them; 100 where
            there are none.
        most_of_one_seller: places of the first `TOP` that one seller has.
        sponsored_rise: places that a sponsored listing rose, at most.
        deepest_fall: places that a listing of the first `TOP` fell, at most.
    """

    relevance_percent: int
    new_seller_percent: int
    most_of_one_seller: int
    sponsored_rise: int
    deepest_fall: int


def ordered(listings: tuple[Listing, ...], order: tuple[str, ...]) -> tuple[Listing, ...] | None:
    """The listings in this order; None where it does not name each of them once."""
    by_id = {listing.listing_id: listing for listing in listings}
    if len(by_id) != len(listings) or sorted(order) != sorted(by_id):
        return None
    return tuple([by_id[name] for name in order])


def measures(before: tuple[Listing, ...], after: tuple[Listing, ...]) -> Measures:
    """Measure an order of the same listings."""
    places = {listing.listing_id: place for place, listing in enumerate(before)}
    moves = [(places[listing.listing_id] - place, listing) for place, listing in enumerate(after)]
    top = Counter(listing.seller_id for listing in after[:TOP])
    return Measures(
        relevance_percent=_relevance(before, after),
        new_seller_percent=_new_sellers(after),
        most_of_one_seller=max(top.values()),
        sponsored_rise=max(0, *(rise for rise, listing in moves if listing.sponsored), 0),
        deepest_fall=max(0, *(-rise for rise, listing in moves if places[listing.listing_id] < TOP)),
    )


def _relevance(before: tuple[Listing, ...], after: tuple[Listing, ...]) -> int:
    best = _gain(sorted([listing.relevance for listing in before], reverse=True))
    return ALL if best == 0 else ALL * _gain([listing.relevance for listing in after]) // best


def _gain(relevances: list[int]) -> int:
    return sum(worth * relevance for worth, relevance in zip(PLACES_PER_MILLE, relevances, strict=False))


def _new_sellers(after: tuple[Listing, ...]) -> int:
    new = sum(listing.new_seller for listing in after)
    if new == 0:
        return ALL
    worths = PLACES_PER_MILLE[: len(after)]
    seen = sum(worth for worth, listing in zip(worths, after, strict=True) if listing.new_seller)
    return ALL * seen * len(after) // (sum(worths) * new)

"""The ranker: a new order of a search's listings for this buyer, inside bounds of exposure and fairness.

Rules upheld here: what the buyer typed and what sellers wrote is never read; an order names every listing once, or it
is refused; how much relevance may be given up, how much new sellers are seen and what money must not move stands in
`policies/market/ranking.cedar`. Not here: what an order does, in numbers (`ranking.py`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Final

from pydantic import Field

from jurat.agents.agent import Action, Agent, Candidate, Judged, Signal, Situation
from jurat.agents.ranking import ALL, PLACES_PER_MILLE, TOP, Measures, measures, ordered
from jurat.policies.request import Entity, Facts
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.marketplace import MAX_LISTINGS, Listing, SearchPerformed
from jurat.schemas.model import Count, Identifier, Percent

STRENGTHS: Final = (50, 25)
"""How much each side of a buyer's taste counts beside relevance, in percent: three sides of it outweigh the search
itself where they count whole, so half of it, or a quarter where that would give up too much relevance."""

PER_SELLER: Final = 2
"""Places of the first five that an order gives one seller, if others are there: one less than is allowed."""

NEW_SELLERS_AIM: Final = 75
"""What an order gives new sellers of their share, in percent; what is demanded is less, so nothing hangs by a hair."""

PER_MILLE: Final = 1000

HABIT: Final = 5
"""Points for the order as it is: a change has to be worth something."""


class RankedSearch(Entity):
    """The search as policies see it: numbers, no text."""

    entity_type: ClassVar[str] = "Search"

    buyer_id: Identifier
    listings: Count
    sellers: Count
    new_seller_listings: Count
    sponsored_listings: Count


class RankFacts(Facts):
    """What the proposed order does; all zero where it is no order of these listings."""

    complete: bool
    relevance_percent: Percent
    new_seller_percent: Count
    most_of_one_seller: Count
    sponsored_rise: Count
    deepest_fall: Count


class KeepFacts(Facts):
    """All that matters is the search itself."""


class Rerank(Action):
    """Show the listings in another order."""

    action_name: ClassVar[str] = "rerank"
    title: ClassVar[str] = "Show the listings in another order"
    resource: ClassVar[type[Entity]] = RankedSearch
    facts: ClassVar[type[Facts]] = RankFacts

    order: Annotated[tuple[Identifier, ...], Field(min_length=1, max_length=MAX_LISTINGS)]


class KeepOrder(Action):
    """Show them as the search service has them."""

    action_name: ClassVar[str] = "keep_order"
    title: ClassVar[str] = "Show the listings as the search service has them"
    resource: ClassVar[type[Entity]] = RankedSearch
    facts: ClassVar[type[Facts]] = KeepFacts


def judged(situation: Situation[SearchPerformed], action: Action) -> Judged:
    """State the facts by which policies judge an order."""
    search = situation.event
    if isinstance(action, KeepOrder):
        return Judged(_search(search), KeepFacts())
    if isinstance(action, Rerank):
        after = ordered(search.listings, action.order)
        if after is None:
            return Judged(_search(search), _facts(Measures(0, 0, 0, 0, 0), complete=False))
        return Judged(_search(search), _facts(measures(search.listings, after), complete=True))
    raise ConfigurationError(f"ranker got the action {type(action).__name__}, expected one of its own")


def candidates(situation: Situation[SearchPerformed]) -> tuple[Candidate, ...]:
    """Score the order as it is, and an order for the buyer's taste, counted whole and by half."""
    search = situation.event
    now = _worth(search, search.listings, STRENGTHS[0])
    found = [Candidate(KeepOrder(), (Signal("as the search service has it", HABIT),))]
    for strength in STRENGTHS:
        after = _order(search, strength)
        if after == search.listings:
            continue
        gained = PER_MILLE * (_worth(search, after, STRENGTHS[0]) - now) // max(1, now)
        seen = measures(search.listings, after)
        found.append(
            Candidate(
                Rerank(order=tuple([listing.listing_id for listing in after])),
                (
                    Signal("fits this buyer better", gained // 2, "buyer_fit"),
                    Signal("less relevant to the search", seen.relevance_percent - ALL, "relevance"),
                    Signal(
                        "new sellers are seen", min(0, seen.new_seller_percent - ALL) // 5, "fair_exposure"
                    ),
                ),
            )
        )
    return tuple(found)


def _order(search: SearchPerformed, strength: int) -> tuple[Listing, ...]:
    """The fittest listings first, as far as they may rise; then new sellers are let forward as far as need be."""
    prices = _prices(search.listings)
    fit = {listing.listing_id: _fit(search, listing, prices, strength) for listing in search.listings}
    before = {listing.listing_id: place for place, listing in enumerate(search.listings)}
    made = _fittest(search.listings, fit, before)
    new = any(listing.new_seller for listing in made)
    for _ in range(MAX_LISTINGS * MAX_LISTINGS if new else 0):  # each turn lets one listing one place forward
        if measures(search.listings, tuple(made)).new_seller_percent >= NEW_SELLERS_AIM:
            break
        pairs = [
            (fit[ahead.listing_id] - fit[behind.listing_id], place)
            for place, (ahead, behind) in enumerate(pairwise(made))
            if behind.new_seller and not ahead.new_seller
            if not behind.sponsored or place >= before[behind.listing_id]
        ]
        if not pairs:
            break
        _cost, place = min(pairs)
        made[place], made[place + 1] = made[place + 1], made[place]
    return tuple(made)


def _fittest(listings: tuple[Listing, ...], fit: dict[str, int], before: dict[str, int]) -> list[Listing]:
    """Fill the places from the first with the fittest of those that may stand there."""
    left, made = list(listings), list[Listing]()
    while left:
        place = len(made)
        may = [at for at in left if not at.sponsored or place >= before[at.listing_id]] or left
        if place < TOP:
            held = [at.seller_id for at in made]
            may = [at for at in may if held.count(at.seller_id) < PER_SELLER] or may
        best = max(may, key=lambda at: (fit[at.listing_id], -before[at.listing_id]))
        left.remove(best)
        made.append(best)
    return made


def _prices(listings: tuple[Listing, ...]) -> tuple[int, int]:
    amounts = [listing.price.amount_minor for listing in listings]
    return min(amounts), max(amounts)


def _fit(search: SearchPerformed, listing: Listing, prices: tuple[int, int], strength: int) -> int:
    """How well a listing fits the buyer; relevance counts once, and each side of their taste as far as it is known."""
    low, high = prices
    cheap = ALL if high == low else ALL * (high - listing.price.amount_minor) // (high - low)
    fast = max(0, ALL - 10 * listing.ships_in_days)
    taste = search.taste
    wanted = taste.price * cheap + taste.speed * fast + taste.quality * listing.rating
    return ALL * listing.relevance + strength * wanted // ALL


def _worth(search: SearchPerformed, order: tuple[Listing, ...], strength: int) -> int:
    """What the places seen without scrolling are worth to the buyer."""
    prices = _prices(order)
    return sum(
        worth * _fit(search, listing, prices, strength)
        for worth, listing in zip(PLACES_PER_MILLE[:TOP], order, strict=False)
    )


def _search(search: SearchPerformed) -> RankedSearch:
    return RankedSearch(
        id=search.search_id,
        buyer_id=search.buyer_id,
        listings=len(search.listings),
        sellers=len({listing.seller_id for listing in search.listings}),
        new_seller_listings=sum(listing.new_seller for listing in search.listings),
        sponsored_listings=sum(listing.sponsored for listing in search.listings),
    )


def _facts(seen: Measures, *, complete: bool) -> RankFacts:
    return RankFacts(
        complete=complete,
        relevance_percent=seen.relevance_percent,
        new_seller_percent=seen.new_seller_percent,
        most_of_one_seller=seen.most_of_one_seller,
        sponsored_rise=seen.sponsored_rise,
        deepest_fall=seen.deepest_fall,
    )


RANKER: Agent[SearchPerformed] = Agent(
    name="ranker",
    listens={"marketplace.searches": (SearchPerformed,)},
    subject=lambda search: search.search_id,
    actions=(Rerank, KeepOrder),
    bundle="market",
    judged=judged,
    candidates=candidates,
    fallback=lambda _situation: KeepOrder(),
)

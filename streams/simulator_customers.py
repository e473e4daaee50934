"""The simulated customers: where they live, how they pay, how much they buy, and how honest they are.

Rules upheld here: memory is bounded, as only the latest `MAX_ACTIVE` customers still buy; the older ones have
left. Worth and honesty are hidden: nothing in an id, a name or an address depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from jurat.schemas.commerce import CustomerRegistered, PaymentMethod, PaymentMethodKind
from jurat.schemas.model import Address
from jurat.streams.simulator_draws import Draws
from jurat.streams.simulator_world import CITIES, COUNTRY, City, euros

MAX_ACTIVE = 10_000
"""Customers who may still order; some 10 MB, whatever the length of the run."""

NEW_PER_MILLE = 330
"""Orders that come from a new customer: some three orders per customer."""

_SPREAD_KM = 40
"""How far around a city's middle its customers live."""

_GIVEN = (
    "Amira", "Ben", "Clara", "Deniz", "Elif", "Finn", "Greta", "Hannes", "Ida", "Jonas", "Kaya", "Lena",
    "Marek", "Nora", "Oskar", "Paula", "Rafał", "Sören", "Tessa", "Ümit", "Vera", "Wanda", "Yusuf", "Zoë",
)  # fmt: skip
_FAMILY = (
    "Adler", "Brandt", "Çelik", "Dietz", "Ebert", "Friese", "Groß", "Hofmann", "Ilić", "Jansen", "Krüger",
    "Lorenz", "Müller", "Nowak", "Otto", "Petrov", "Rossi", "Schäfer", "Thoma", "Ulrich", "Vogel", "Weiß",
    "Yavuz", "Zimmer",
)  # fmt: skip
_STREETS = ("Lindenallee", "Hauptstraße", "Am Markt", "Bahnhofstraße", "Gartenweg", "Schulstraße", "Feldweg")


class Honesty(IntEnum):
    """What a customer is like when money is at stake."""

    HONEST = 0
    OPPORTUNIST = 1
    THIEF = 2


class Tier(IntEnum):
    """How much a customer buys: the number of items that an order may have."""

    SMALL = 2
    MIDDLE = 3
    LARGE = 4


@dataclass(slots=True)
class Customer:
    """A customer with what the shop does not know.

    Attributes:
        payday: the day of the month on which money arrives, 1 to 28.
        tight: often short of money before payday.
        gift_minor: what is left on the gift card; 0 without one.
        disputes: the disputes opened so far.
    """

    customer_id: str
    given_name: str
    family_name: str
    address: Address
    x_km: int
    y_km: int
    methods: tuple[PaymentMethod, ...]
    tier: Tier
    honesty: Honesty
    payday: int
    tight: bool
    gift_minor: int
    disputes: int

    def registration(self) -> CustomerRegistered:
        """The event that makes the customer known."""
        number = self.customer_id.rpartition("-")[2]
        return CustomerRegistered(
            customer_id=self.customer_id,
            given_name=self.given_name,
            family_name=self.family_name,
            email=f"customer-{number}@example.com",
            address=self.address,
            payment_methods=self.methods,
        )


class Customers:
    """Everyone who buys, drawn one by one.

    Args:
        seed: the simulation's seed.
        tag: what makes this run's ids its own.
    """

    def __init__(self, seed: int, tag: str) -> None:
        self._draws = Draws(seed, "customers")
        self._visits = Draws(seed, "visits")
        self._tag = tag
        self._active: list[Customer] = []
        self._count = 0

    def next_buyer(self) -> tuple[Customer, bool]:
        """Draw who orders next, and whether he is new."""
        if not self._active or self._visits.happens(NEW_PER_MILLE):
            customer = self._join()
            if len(self._active) < MAX_ACTIVE:
                self._active.append(customer)
            else:
                self._active[self._count % MAX_ACTIVE] = customer
            return customer, True
        first, second = (self._active[self._visits.below(len(self._active))] for _ in range(2))
        return max(first, second, key=lambda customer: customer.tier), False

    def _join(self) -> Customer:
        draws = self._draws
        self._count += 1
        customer_id = f"c-{self._tag}-{self._count:05d}"
        city = draws.pick(CITIES)
        gift_minor = draws.between(20, 200) * 100 if draws.happens(120) else 0
        return Customer(
            customer_id=customer_id,
            given_name=draws.pick(_GIVEN),
            family_name=draws.pick(_FAMILY),
            address=_draw_address(draws, city),
            x_km=city.x_km + draws.between(-_SPREAD_KM, _SPREAD_KM),
            y_km=city.y_km + draws.between(-_SPREAD_KM, _SPREAD_KM),
            methods=_draw_methods(draws, customer_id, gift_minor),
            tier=draws.weighted(((Tier.SMALL, 60), (Tier.MIDDLE, 30), (Tier.LARGE, 10))),
            honesty=draws.weighted(((Honesty.HONEST, 895), (Honesty.OPPORTUNIST, 80), (Honesty.THIEF, 25))),
            payday=draws.pick((1, 1, 1, 15, 15, 28)),
            tight=draws.happens(180),
            gift_minor=gift_minor,
            disputes=0,
        )


def _draw_address(draws: Draws, city: City) -> Address:
    return Address(
        line1=f"{draws.pick(_STREETS)} {draws.between(1, 140)}",
        city=city.name,
        region=city.region,
        postal_code=f"{city.postal_prefix}{draws.between(100, 999)}",
        country=COUNTRY,
    )


def _draw_methods(draws: Draws, customer_id: str, gift_minor: int) -> tuple[PaymentMethod, ...]:
    kinds = draws.weighted(
        (
            ((PaymentMethodKind.CREDIT_CARD,), 60),
            ((PaymentMethodKind.PAYPAL,), 15),
            ((PaymentMethodKind.CREDIT_CARD, PaymentMethodKind.PAYPAL), 25),
        )
    )
    methods = [PaymentMethod(payment_method_id=f"{kind}-{customer_id}", kind=kind) for kind in kinds]
    if gift_minor:
        kind = PaymentMethodKind.GIFT_CARD
        methods.append(
            PaymentMethod(payment_method_id=f"{kind}-{customer_id}", kind=kind, balance=euros(gift_minor))
        )
    return tuple(methods)

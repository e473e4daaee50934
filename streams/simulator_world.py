"""The simulated shop: cities, catalogue, warehouses, carriers and sellers.

Rules upheld here: the shop is the same for every seed (cities, products, prices, warehouses), so that runs of
two seeds fit into one namespace; what changes from seed to seed is stock, load and what carriers and sellers
are really like. Not here: customers and orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from jurat.schemas.commerce import OrderItem, ProductListed, ServiceLevel, Variant, WarehouseReported
from jurat.schemas.model import Money
from jurat.streams.simulator_draws import Draws

CURRENCY = "EUR"
COUNTRY = "Germany"

RESTOCKED_PER_MILLE = 120
"""Items that ran short and come in between two reports: slowly, so that stock matters to the router."""

EMPTY_PER_MILLE = 220
"""Items that a warehouse does not have at the start: few enough that an order rarely fits nowhere."""

RESTOCK_BELOW = 3
"""Pieces of an item at which a warehouse orders more."""


class City(NamedTuple):
    """A city on a flat map; kilometres from its middle."""

    name: str
    region: str
    postal_prefix: str
    x_km: int
    y_km: int


CITIES = (
    City("Hamburg", "north", "20", 50, 240),
    City("Hannover", "north", "30", 20, 120),
    City("Berlin", "east", "10", 270, 135),
    City("Leipzig", "east", "04", 205, 5),
    City("Dresden", "east", "01", 295, -25),
    City("Köln", "west", "50", -175, -40),
    City("Dortmund", "west", "44", -140, 20),
    City("Frankfurt am Main", "centre", "60", -60, -135),
    City("Stuttgart", "south", "70", -20, -285),
    City("München", "south", "80", 150, -355),
)

_SIZES = ("S", "M", "L")
_COLOURS = ("black", "white", "blue")
_VOLTS = ("battery", "USB-C", "mains")

# name, price of the first variant in cents, name of the option, its values
_PRODUCTS = (
    ("Rain Jacket", 8990, "size", _SIZES),
    ("Wool Jumper", 6490, "size", _SIZES),
    ("Running Shoes", 11900, "size", ("39", "41", "43", "45")),
    ("Hiking Boots", 14990, "size", ("39", "41", "43", "45")),
    ("T-Shirt", 1990, "size", _SIZES),
    ("Backpack", 7900, "colour", _COLOURS),
    ("Desk Lamp", 3490, "power", _VOLTS),
    ("Bluetooth Speaker", 5990, "colour", _COLOURS),
    ("Headphones", 12900, "colour", _COLOURS),
    ("Smart Watch", 19900, "colour", _COLOURS),
    ("Mechanical Keyboard", 10900, "layout", ("DE", "US", "UK")),
    ("Office Chair", 24900, "colour", _COLOURS),
    ("Espresso Machine", 34900, "colour", ("black", "steel")),
    ("Electric Kettle", 4490, "colour", ("black", "steel")),
    ("Water Bottle", 1790, "volume", ("500 ml", "750 ml", "1000 ml")),
    ("Yoga Mat", 2990, "colour", _COLOURS),
    ("Bicycle Helmet", 5490, "size", _SIZES),
    ("Jigsaw Puzzle", 1490, "pieces", ("500", "1000", "2000")),
    ("Tea Kettle", 3990, "colour", ("black", "steel")),
    ("Camera Tripod", 6990, "height", ("120 cm", "160 cm")),
)

_UNAVAILABLE_EVERY = 17
"""Every so many variants one is listed but not sold."""


def euros(amount_minor: int) -> Money:
    """An amount in the shop's currency."""
    return Money(amount_minor=amount_minor, currency=CURRENCY)


def _list_products() -> tuple[ProductListed, ...]:
    listed: list[ProductListed] = []
    count = 0
    for number, (name, price_minor, option, values) in enumerate(_PRODUCTS, start=1):
        variants: list[Variant] = []
        for place, value in enumerate(values):
            count += 1
            variants.append(
                Variant(
                    item_id=f"sku-{number:02d}-{place + 1}",
                    options={option: value},
                    available=count % _UNAVAILABLE_EVERY != 0,
                    price=euros(price_minor + place * price_minor // 20),
                )
            )
        listed.append(ProductListed(product_id=f"prod-{number:02d}", name=name, variants=tuple(variants)))
    return tuple(listed)


PRODUCTS = _list_products()

ITEMS = tuple(
    OrderItem(item_id=variant.item_id, product_id=product.product_id, name=product.name, price=variant.price)
    for product in PRODUCTS
    for variant in product.variants
    if variant.available
)
"""Everything that can be bought."""


class Carrier(NamedTuple):
    """A carrier as it really is: hours before the road, speed, and how often it is late or loses a parcel."""

    name: str
    base_hours: int
    km_per_hour: int
    late_per_mille: int
    late_hours: int
    lost_per_mille: int


CARRIERS = {
    ServiceLevel.STANDARD: (
        Carrier("Postwagen", 30, 18, 130, 34, 7),
        Carrier("Landbote", 24, 15, 190, 40, 11),
    ),
    ServiceLevel.EXPRESS: (
        Carrier("Eilkurier", 10, 45, 80, 16, 4),
        Carrier("Postwagen Express", 14, 40, 120, 20, 6),
    ),
}
"""Two carriers per service level; warehouses take them in turn."""


@dataclass(slots=True)
class Warehouse:
    """A warehouse as it stands now, with how slow it really is."""

    warehouse_id: str
    city: City
    cost_minor: int
    base_hours: int
    late_per_mille: int
    load_percent: int
    stock: dict[str, int]

    def restock(self, draws: Draws) -> None:
        """Let time pass: the load moves, and some of what ran short comes in."""
        self.load_percent = min(98, max(15, self.load_percent + draws.between(-14, 14)))
        for item_id, pieces in self.stock.items():
            if pieces < RESTOCK_BELOW and draws.happens(RESTOCKED_PER_MILLE):
                self.stock[item_id] = pieces + draws.between(3, 14)

    def report(self, draws: Draws) -> WarehouseReported:
        """Say what it holds and how busy it is, and how late it is as far as has been measured."""
        return WarehouseReported(
            warehouse_id=self.warehouse_id,
            region=self.city.region,
            x_km=self.city.x_km,
            y_km=self.city.y_km,
            load_percent=self.load_percent,
            late_percent=max(0, self.late_per_mille // 10 + draws.between(-2, 2)),
            handling_cost=euros(self.cost_minor),
            stock=dict(self.stock),
        )


@dataclass(frozen=True, slots=True)
class Seller:
    """A seller as it really is; the dispute rate is what the marketplace has measured."""

    seller_id: str
    fault_per_mille: int
    dispute_rate_percent: int


_WAREHOUSE_PLACES = (
    ("wh-hamburg", CITIES[0], 320),
    ("wh-berlin", CITIES[2], 340),
    ("wh-leipzig", CITIES[3], 260),
    ("wh-dortmund", CITIES[6], 300),
    ("wh-frankfurt", CITIES[7], 330),
    ("wh-muenchen", CITIES[9], 380),
)

SELLERS = 12
"""Sellers of the marketplace; product n belongs to seller n modulo this."""


@dataclass(frozen=True, slots=True)
class World:
    """The shop of one seed."""

    warehouses: tuple[Warehouse, ...]
    sellers: tuple[Seller, ...]

    def seller_of(self, item: OrderItem) -> Seller:
        """The seller of an item."""
        return self.sellers[int(item.product_id.removeprefix("prod-")) % SELLERS]


def build_world(seed: int) -> World:
    """Build the shop of a seed."""
    draws = Draws(seed, "world")
    warehouses = tuple(
        Warehouse(
            warehouse_id=warehouse_id,
            city=city,
            cost_minor=cost_minor,
            base_hours=draws.between(5, 12),
            late_per_mille=draws.between(20, 160),
            load_percent=draws.between(30, 90),
            stock={
                item.item_id: 0 if draws.happens(EMPTY_PER_MILLE) else draws.between(1, 14) for item in ITEMS
            },
        )
        for warehouse_id, city, cost_minor in _WAREHOUSE_PLACES
    )
    return World(warehouses, tuple(_build_seller(draws, number) for number in range(SELLERS)))


def _build_seller(draws: Draws, number: int) -> Seller:
    fault_per_mille = 8 + draws.wait(26)
    measured = fault_per_mille // 10 + draws.between(0, 3)
    return Seller(f"seller-{number + 1:02d}", fault_per_mille, measured)

"""What the shop's agents read beside their event: the network of warehouses, and the customer's profile.

Rules upheld here: a view's document depends only on its events, the latest report of each warehouse or
customer counts; a view never grows without bound; a profile is advice, it may be absent and no policy
depends on it. Not here: reading topics (`streams/`), and the documents of orders (`after_sales.py`).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from jurat.agents.agent import ContextTable, GlobalTable, Situation
from jurat.schemas.commerce import CustomerProfile, WarehouseReported
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Event, Model

WAREHOUSES_TOPIC = "commerce.warehouses"
PROFILES_TOPIC = "context.customers"

NETWORK_KEY = "all"
"""The one key of the network view: choosing a warehouse means comparing all of them."""

MAX_WAREHOUSES = 100
"""Warehouses in one network: the document is digested into every routing record, so it has to stay small."""

MAX_STANDING = 20
"""Points that a customer's history may add or take: it tips a balance, it does not decide."""

ORDERS_A_POINT = 1
REFUNDS_COST = 3
DISPUTES_COST = 5


class Network(Model):
    """The latest report of every warehouse, ordered by id."""

    warehouses: Annotated[tuple[WarehouseReported, ...], Field(max_length=MAX_WAREHOUSES)]


def network_keys(event: Event) -> tuple[str, ...]:
    """Name the documents that an event belongs to: the network for a warehouse report, else none."""
    return (NETWORK_KEY,) if isinstance(event, WarehouseReported) else ()


def fold_network(document: Model | None, event: Event, key: str) -> Model:
    """Put a warehouse's report in the place of its last one.

    Raises:
        ConfigurationError: one warehouse more than a network holds, or an event or document of another kind.
    """
    if not isinstance(event, WarehouseReported) or not isinstance(document, Network | None):
        raise ConfigurationError(
            f"the view `network` got a {type(event).__name__} for a {type(document).__name__} at key {key!r},"
            " expected a WarehouseReported for a Network"
        )
    reports = {report.warehouse_id: report for report in document.warehouses} if document else {}
    reports[event.warehouse_id] = event
    if len(reports) > MAX_WAREHOUSES:
        raise ConfigurationError(
            f"the view `network` got warehouse {event.warehouse_id!r}, its number {len(reports)};"
            f" expected at most {MAX_WAREHOUSES}. Give each region its own namespace",
            warehouse_id=event.warehouse_id,
        )
    return Network(warehouses=tuple(reports[name] for name in sorted(reports)))


def profile_keys(event: Event) -> tuple[str, ...]:
    """Name the documents that an event belongs to: its customer's for a profile, else none."""
    return (event.customer_id,) if isinstance(event, CustomerProfile) else ()


def fold_profile(_document: Model | None, event: Event, _key: str) -> Model:
    """Take the latest profile."""
    return event


NETWORK = GlobalTable(
    name="network", topics=(WAREHOUSES_TOPIC,), keys=network_keys, fold=fold_network, document=Network
)
CUSTOMERS = ContextTable(
    name="customers",
    topics=(PROFILES_TOPIC,),
    keys=profile_keys,
    fold=fold_profile,
    document=CustomerProfile,
)
"""A profile stands in the partition of the customer's events: the context stream writes it there."""


def network_of(situation: Situation[Any]) -> tuple[WarehouseReported, ...]:
    """Return the known warehouses, ordered by id; none where nothing was reported yet."""
    document = situation.documents.get((NETWORK.name, NETWORK_KEY))
    return document.warehouses if isinstance(document, Network) else ()


def profile_of(situation: Situation[Any], customer_id: str) -> CustomerProfile | None:
    """Return the customer's profile; None where the context stream knows nothing of them."""
    document = situation.documents.get((CUSTOMERS.name, customer_id))
    return document if isinstance(document, CustomerProfile) else None


def standing_of(profile: CustomerProfile | None) -> int:
    """Score a customer's history in points: orders speak for them, refunds and disputes against.

    Returns:
        -20 to 20; 0 for a customer of whom nothing is known.
    """
    if profile is None:
        return 0
    points = (
        profile.orders * ORDERS_A_POINT - profile.refunds * REFUNDS_COST - profile.disputes * DISPUTES_COST
    )
    return max(-MAX_STANDING, min(MAX_STANDING, points))

"""Documents of views survive being spilled, those of every shipped agent too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pytest

from jurat.agents.agent import Agent, ContextTable, GlobalTable, Lookup
from jurat.agents.catalogue import AGENTS
from jurat.agents.fulfilment_router import FULFILMENT_ROUTER
from jurat.agents.shop_views import CUSTOMERS, NETWORK, NETWORK_KEY
from jurat.schemas.commerce import OrderPlaced
from jurat.schemas.errors import ConfigurationError
from jurat.schemas.model import Event
from jurat.streams.documents import Documents, digest_of
from jurat.streams.kafka import KafkaRecord
from jurat.streams.simulator import simulate
from tests.shop import profile

WHERE = KafkaRecord("ns.some.topic", 3, 77, 0, b"", b"")


@pytest.fixture(scope="module")
def events() -> list[Event]:
    simulated = [
        one.event for one in simulate(seed=7, orders=30, start=datetime.fromisoformat("2026-01-01T00:00Z"))
    ]
    return [*simulated, profile(orders=3)]


@pytest.fixture
def opened() -> Iterator[list[Documents]]:
    made: list[Documents] = []
    yield made
    for documents in made:
        documents.close()


VIEWS = {(name, view.name): view for name, agent in AGENTS.items() for view in agent.views}


@pytest.mark.parametrize("view", VIEWS.values(), ids=["-".join(names) for names in VIEWS])
def test_documents_are_the_same_from_the_disk_as_from_memory(
    view: GlobalTable | ContextTable, events: list[Event], opened: list[Documents]
) -> None:
    held, spilled = Documents(view), Documents(view, max_bytes=0, max_hot_bytes=0)
    opened += [held, spilled]
    keys = set()
    for event in events:
        for documents in (held, spilled):
            documents.fold(event, view.keys(event), WHERE)
        keys |= set(view.keys(event))
    for key in keys:
        document = spilled.get(key)
        assert document == held.get(key)
        assert document is not None
        assert document.sha256 == digest_of(document.model)
        assert (document.topic, document.partition, document.offset) == ("ns.some.topic", 3, 77)
    assert spilled.spilled is bool(keys)
    assert (len(held), len(spilled)) == (len(keys), len(keys))
    assert spilled.bytes_in_memory == 0


def test_the_shop_s_events_fill_the_views_that_they_should(events: list[Event]) -> None:
    # Else the test above would compare nothing: the retail views of customers and variants alone stay empty here.
    filled = {view.name for view in VIEWS.values() for event in events if view.keys(event)}
    assert {"customers", "network", "orders"} <= filled


def reading(*lookups: Lookup) -> Agent[OrderPlaced]:
    return replace(FULFILMENT_ROUTER, reads=lambda _order: lookups)


def test_what_an_agent_reads_is_checked_against_what_it_declares(events: list[Event]) -> None:
    order = next(event for event in events if isinstance(event, OrderPlaced))
    own = (Lookup(NETWORK.name, NETWORK_KEY), Lookup(CUSTOMERS.name, order.customer_id))
    assert FULFILMENT_ROUTER.lookups(order) == own
    with pytest.raises(ConfigurationError, match="'customers' by another key than that of the event"):
        reading(Lookup(CUSTOMERS.name, "somebody else")).lookups(order)
    with pytest.raises(ConfigurationError, match="'orders', which is none of its views"):
        reading(Lookup("orders", "o-1")).lookups(order)

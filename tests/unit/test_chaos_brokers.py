"""The chaos campaign's own care: a node that is being given back is not started a second time."""

from __future__ import annotations

import asyncio
import threading
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.chaos import campaign
from tests.chaos.campaign import Brokers


async def test_peace_waits_for_a_restart_that_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = cast("Any", SimpleNamespace(nodes=[SimpleNamespace(node_id=1)]))
    taken, started = threading.Event(), 0

    def take(_broker: object, _node: int) -> None:
        taken.set()

    def start(given: object, _node: int) -> object:
        nonlocal started
        started += 1
        return given

    monkeypatch.setattr(campaign, "BROKER_DOWN_S", (0.05, 0.1))
    for name, fake in (("kill_node", take), ("stop_node", take), ("start_node", start)):
        monkeypatch.setattr(campaign.local_broker, name, fake)
    brokers = Brokers(broker, Random(1))
    restarting = asyncio.create_task(
        brokers.restart_one(cast("Any", SimpleNamespace(counts={"brokers killed": 0, "brokers stopped": 0})))
    )
    await asyncio.to_thread(taken.wait, 5)
    await brokers.mend()
    assert (started, brokers.down) == (1, None)
    await restarting
    assert started == 1

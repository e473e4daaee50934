"""The admin client asks another broker where one has died since it heard of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError

from jurat.streams.kafka import _Admin


class Admin(_Admin):
    """Brokers 1 to 3, of which these are gone; the client would pick the first."""

    def __init__(self, *gone: int) -> None:
        self.gone, self.asked = gone, []
        brokers = [SimpleNamespace(nodeId=number) for number in (1, 2, 3)]
        self._client = SimpleNamespace(cluster=SimpleNamespace(brokers=lambda: brokers))

    async def _send_request(self, request: object, node_id: int | None = None) -> Any:
        asked = node_id or 1
        self.asked.append(asked)
        if asked in self.gone:
            raise NodeNotReadyError
        return asked


async def test_a_broker_that_has_died_is_passed_over() -> None:
    assert await Admin()._get_cluster_metadata() == 1
    assert await Admin(1)._get_cluster_metadata() == 2
    assert await Admin(1, 2)._get_cluster_metadata() == 3


async def test_one_that_is_named_is_asked_alone_and_where_none_answers_it_is_told() -> None:
    named = Admin(2)
    with pytest.raises(NodeNotReadyError):
        await named._get_cluster_metadata(node_id=2)
    assert named.asked == [2]
    with pytest.raises(NodeNotReadyError):
        await Admin(1, 2, 3)._get_cluster_metadata()

"""Three brokers, of which one dies or cannot be reached: what it coordinated and led moves, or is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from pathlib import Path
from typing import Any

import aiokafka.client
import pytest
from aiokafka.conn import CloseReason
from aiokafka.protocol.coordination import FindCoordinatorRequest

from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.streams import committing
from jurat.streams.kafka import admin_client
from tests.broker_fixture import Kafka3
from tests.command import Shell, beside, new_shell
from tests.fault.test_worker_faults import findings, publish, running, worker_of
from tests.runtime_stage import WITHIN_S, until, until_committed

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_loop"),
]
AGENT = PAYMENT_RETRIER


async def coordinator_of(shell: Shell, name: str, *, kind: int) -> int:
    """The node that coordinates a group (0) or the transactions of an id (1)."""
    async with admin_client(shell.connection) as client:
        answer = await client._send_request(FindCoordinatorRequest(name, kind))
        node: int = answer.coordinator_id
        return node


async def grouped_at(node: int, shell: Shell) -> Shell:
    """A shell on the same brokers whose group this node coordinates, and some of whose transactions."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        mine = beside(shell, "coordinator")
        of_group = await coordinator_of(mine, mine.connection.group(AGENT.name), kind=0)
        if of_group == node and await transacting_at(node, mine):
            return mine
        assert time.monotonic() < deadline, f"node {node} coordinates nothing"
        await asyncio.sleep(0.05)  # fresh brokers make the topic behind it first


async def transacting_at(node: int, shell: Shell) -> list[int]:
    """The partitions whose transactions this node coordinates."""
    topic = shell.connection.topic(AGENT.topic)
    names = {number: shell.connection.name(f"{AGENT.name}-{topic}-{number}") for number in range(6)}
    return [number for number, name in names.items() if await coordinator_of(shell, name, kind=1) == node]


async def test_a_coordinator_that_dies_is_waited_out(kafka3: Kafka3, tmp_path: Path) -> None:
    """Of one worker's group, and of transactions of this one and of another."""
    node, other = 2, 3
    first = new_shell(kafka3.bootstrap_servers, "coordinators", tmp_path / "keys")
    shells = [await grouped_at(one, first) for one in (node, other)]
    for shell in shells:
        await publish(shell, 2_000, customers=60)
    async with contextlib.AsyncExitStack() as stack:
        tasks = [await stack.enter_async_context(running(worker_of(shell))) for shell in shells]
        for shell in shells:
            await until_committed(shell, AGENT.name, 1)
            assert await transacting_at(node, shell)
        kafka3.kill_node(node)
        try:
            for shell in shells:
                await publish(shell, 500, customers=60, first=2_000)
            for shell in shells:
                await until_committed(shell, AGENT.name, 2_500)
            assert not any(task.done() for task in tasks)
        finally:
            await asyncio.to_thread(kafka3.start_node, node)
    for shell in shells:
        found = await findings(shell)
        assert found.faults == []
        assert len(found.decisions) == 2_500


class Cable:
    """The network between this process and one port, which can be cut."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cut: int | None = None
        self._links: list[Any] = []
        self._connect = aiokafka.client.create_conn
        monkeypatch.setattr(aiokafka.client, "create_conn", self._create)

    async def _create(self, host: str, port: int, **settings: Any) -> Any:
        if port == self.cut:
            await asyncio.sleep(0.5)
            raise OSError(f"no route to {host}:{port}, for the sake of a test")
        link = await self._connect(host, port, **settings)
        self._links.append((port, link))
        return link

    @contextlib.contextmanager
    def without(self, port: int) -> Any:
        self.cut = port
        for its, link in self._links:
            if its == port:
                link.close(reason=CloseReason.CONNECTION_BROKEN)
        try:
            yield
        finally:
            self.cut = None


async def test_a_worker_cut_off_from_one_broker_of_three_goes_on_when_the_network_does(
    kafka3: Kafka3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The brokers see each other, so that no leader moves: what it leads stands still, and is said."""
    monkeypatch.setattr(committing, "TRANSACTION_S", 4.0)
    shell = new_shell(kafka3.bootstrap_servers, f"cut-{uuid.uuid4().hex[:8]}", tmp_path / "keys")
    cable = Cable(monkeypatch)
    await publish(shell, 2_000, customers=60)
    async with running(worker_of(shell)) as task:
        await until_committed(shell, AGENT.name, 1)
        port = int(kafka3.bootstrap_servers.split(",")[0].rpartition(":")[2])
        with cable.without(port):
            await until(lambda: "partition failed" in caplog.text)
            assert not task.done(), task.exception()
        await until_committed(shell, AGENT.name, 2_000)
        assert not task.done()
    found = await findings(shell)
    assert found.faults == []
    assert len(found.decisions) == 2_000

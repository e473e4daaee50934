"""The client's consumer, mended: it ends when it is told to, and says why it may not connect or read.

Rules upheld here: a consumer that stops leaves no task and no connection behind, whatever the brokers do. Not here: its
settings (`kafka.py`), and what an error means (`kafka_errors.py`).

Source: aiokafka 0.14, `consumer/`: its parts end one after the other, the connections last, and what comes after one
that raises or is cut off does not end at all. A heartbeat that goes on so connects anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from jurat.streams.connection import Connection
from jurat.streams.kafka_ending import end_tasks, hang_up
from jurat.streams.kafka_errors import reading
from jurat.streams.kafka_security import client_security, start_client

log = logging.getLogger(__name__)

LEAVE_S: Final = 3.0
"""How long a consumer that stops may take to leave its group."""

TASKS: Final = (
    "_coordination_task",
    "_heartbeat_task",
    "_commit_refresh_task",
    "_reset_committed_task",
    "_fetch_task",
)
"""What goes on inside a consumer's parts, by its names there."""


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # the client ships without types
    """A consumer that says why it may not connect or read."""

    _closed: bool

    def __init__(self, connection: Connection, **settings: Any) -> None:
        super().__init__(
            bootstrap_servers=connection.bootstrap_servers, **client_security(connection), **settings
        )
        self._connection = connection

    async def start(self) -> None:
        """Connect."""
        await start_client(super().start, self._connection)

    async def stop(self) -> None:
        """Leave the group, and end within some seconds, whatever the brokers do."""
        if self._closed:
            return
        self._closed = True
        leaving = asyncio.ensure_future(self._leave())
        try:
            await asyncio.wait([leaving], timeout=LEAVE_S)
            if not leaving.done():
                log.info("a consumer did not leave within %.0f s", LEAVE_S)
            elif not leaving.cancelled() and leaving.exception() is not None:
                log.info("a consumer did not leave cleanly: %r", leaving.exception())
        finally:
            try:
                await end_tasks([leaving, *self._tasks()])
            finally:
                await hang_up(self._client)

    async def _leave(self) -> None:
        for part in self._parts():
            await part.close()

    def _parts(self) -> list[Any]:
        return [part for part in (self._coordinator, self._fetcher) if part is not None]

    def _tasks(self) -> Iterator[asyncio.Task[Any]]:
        for part in self._parts():
            found = (getattr(part, name, None) for name in TASKS)
            yield from (task for task in found if task is not None)
            yield from getattr(part, "_pending_tasks", ())

    async def getmany(self, *partitions: TopicPartition, **limits: int | None) -> Any:
        """As the client's."""
        with reading(self._connection):
            return await super().getmany(*partitions, **limits)

    async def position(self, partition: TopicPartition) -> Any:
        """As the client's."""
        with reading(self._connection):
            return await super().position(partition)

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> Any:
        """As the client's."""
        with reading(self._connection):
            return await super().beginning_offsets(partitions)

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> Any:
        """As the client's."""
        with reading(self._connection):
            return await super().end_offsets(partitions)

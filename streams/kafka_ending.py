"""Ending Kafka clients: within a bound, wholly, and whoever is cancelled meanwhile.

Rules upheld here: a client that was made is stopped, though its owner is cancelled while it stops; what its tasks still
do when the bound is reached is cancelled before its connections are closed, as a task that goes on connects anew; no
error of theirs is one that nobody heard. Not here: what each client does before (`kafka_producer.py`,
`kafka_consumer.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient

log = logging.getLogger(__name__)

STOP_S: Final = 5.0
"""How long a client may take to leave: less than what orchestrators wait before they kill."""

CANCEL_S: Final = 1.0
HANG_UP_S: Final = 1.0
"""How long connections may take to close: one whose peer takes nothing more would never."""


async def stop_quietly(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Stop a client within a bound, whatever the broker does: what matters was said before.

    Who is cancelled meanwhile hears of it when the client has stopped: one that is cut off stays open.
    """
    await to_its_end(_stop(client))


async def _stop(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    try:
        await asyncio.wait_for(client.stop(), STOP_S)
    except Exception as error:  # noqa: BLE001 - whatever it is, there is nothing more to be done with this client
        log.info("a client did not stop cleanly: %r", error)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # the event loop ends; else a task of the client's own was
        log.info("a client did not stop cleanly: a task of its own was cancelled")


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do this wholly; a cancellation that comes meanwhile is raised after it. For what is bounded by itself."""
    working = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        heard(working)
        raise cancelled
    working.result()


async def end_tasks(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks that may wait for each other, until they are over."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending, timeout=CANCEL_S)
    for task in ending:
        if task.done():
            heard(task)


async def hang_up(client: AIOKafkaClient) -> None:
    """Close the connections of a client whose own tasks have ended."""
    closing = asyncio.ensure_future(client.close())
    try:
        await asyncio.wait([closing], timeout=HANG_UP_S)
    finally:
        await end_tasks([closing])
        # It waits for its own task first, and closes nothing when that ended badly.
        for link in client._conns.values():  # noqa: SLF001 - there is no other way to them
            link.close()


def heard(ended: asyncio.Future[Any]) -> None:
    """Look at an error, so that asyncio does not report it as one that nobody looked at."""
    if not ended.cancelled():
        ended.exception()

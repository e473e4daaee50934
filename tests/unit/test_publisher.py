"""What `flush` says of events that Kafka did not take: how many, which first, why; and that little of it is kept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError

from jurat.schemas.errors import BrokerUnreachable, RecordTooLarge, StreamError
from jurat.streams import publisher
from jurat.streams.kafka import Connection
from jurat.streams.publisher import Publisher
from tests.examples import EXAMPLES

FAILED = next(event for event in EXAMPLES if type(event).__name__ == "PaymentFailed")


class Producer:
    """The seam to Kafka: each record is acknowledged, or fails as told, in the next turn of the loop."""

    def __init__(self) -> None:
        self.answers: list[BaseException | None] = []

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def send(self, *_: Any, **__: Any) -> asyncio.Future[object]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        answer = self.answers.pop(0)
        if answer is None:
            loop.call_soon(future.set_result, None)
        else:
            loop.call_soon(future.set_exception, answer)
        return future


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Producer:
    one = Producer()
    monkeypatch.setattr(publisher, "idempotent_producer", lambda _connection: one)
    return one


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (MessageSizeTooLargeError("too large"), RecordTooLarge),
        (KafkaConnectionError("gone"), BrokerUnreachable),
        (KafkaError("odd"), StreamError),
    ],
)
async def test_flush_says_how_many_which_first_and_why(
    producer: Producer, error: KafkaError, ours: type[StreamError]
) -> None:
    producer.answers = [None, error, None, KafkaError("another"), KafkaError("a third"), None]
    async with Publisher(Connection("nowhere:1"), source="/test") as one:
        for number in range(5):
            await one.publish(FAILED, event_id=f"e-{number}")
        with pytest.raises(
            ours, match=r"^3 of the events were not acknowledged, the first \(e-1\) because "
        ) as said:
            await one.flush()
        assert type(said.value) is ours
        assert (said.value.details["event_id"], said.value.details["failed"]) == ("e-1", 3)
        assert said.value.__cause__ is error
        await one.publish(FAILED, event_id="e-5")
        await one.flush()  # what was said is not said again


async def test_one_failure_is_kept_of_many(producer: Producer) -> None:
    producer.answers = [KafkaError(str(number)) for number in range(50)]
    async with Publisher(Connection("nowhere:1"), source="/test") as one:
        for number in range(50):
            await one.publish(FAILED, event_id=f"e-{number}")
        await asyncio.wait(set(one._outstanding))
        await asyncio.sleep(0)  # what is told of an ended future is told in the next turn
        assert not any(value for value in vars(one).values() if isinstance(value, list | set | dict))
        with pytest.raises(StreamError, match=r"^50 of the events .*\(e-0\)"):
            await one.flush()

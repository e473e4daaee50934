"""The producer behind the journals, against a client that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    TopicAuthorizationFailedError,
    UnknownProducerId,
    UnknownTopicOrPartitionError,
)

from jurat.schemas.errors import (
    BrokerUnreachable,
    NotAuthorized,
    RecordTooLarge,
    StreamError,
    TopicMissing,
)
from jurat.streams import journal_writer
from jurat.streams.journal_writer import JournalWriter
from jurat.streams.kafka import Connection

Sent = tuple[int, bytes, "asyncio.Future[object]"]


class Client:
    """A producer that keeps what it is given; `answer` says what comes of it."""

    def __init__(self, answer: Callable[[asyncio.Future[object]], None]) -> None:
        self.answer = answer
        self.sent: list[Sent] = []
        self.refuses: Exception | None = None
        self.stopped = False

    async def start(self) -> None:
        await asyncio.sleep(0)

    async def stop(self) -> None:
        self.stopped = True

    async def send(self, topic: str, value: bytes, *, key: bytes, partition: int) -> asyncio.Future[object]:
        assert (topic, value) == ("ns.journal.doer", b"value")
        if self.refuses is not None:
            raise self.refuses
        await asyncio.sleep(0)
        acknowledged: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.sent.append((partition, key, acknowledged))
        self.answer(acknowledged)
        return acknowledged


def yes(acknowledged: asyncio.Future[object]) -> None:
    acknowledged.set_result(None)


def never(acknowledged: asyncio.Future[object]) -> None:
    pass


class Clients:
    """Every client that the writer asked for; the first ones answer as told, all others say yes."""

    def __init__(self, *answers: Callable[[asyncio.Future[object]], None]) -> None:
        self._answers = list(answers)
        self.made: list[Client] = []

    def __call__(self, _connection: Connection) -> Client:
        self.made.append(Client(self._answers.pop(0) if self._answers else yes))
        return self.made[-1]


async def started(monkeypatch: pytest.MonkeyPatch, clients: Clients) -> JournalWriter:
    monkeypatch.setattr(journal_writer, "idempotent_producer", clients)
    writer = JournalWriter(Connection("nowhere:1", "ns"), agent="doer")
    await writer.start()
    return writer


def key(number: int) -> bytes:
    return b"key %d" % number


async def test_many_writes_at_once_are_handed_over_in_order_by_one_task_a_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients = Clients()
    writer = await started(monkeypatch, clients)
    before = len(asyncio.all_tasks())
    writing = asyncio.gather(*(writer.write(number % 2, key(number), b"value") for number in range(100)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) - before == 100 + 2
    await writing
    (client,) = clients.made
    for partition in (0, 1):
        assert [k for p, k, _ in client.sent if p == partition] == [key(n) for n in range(partition, 100, 2)]
    await writer.stop()
    assert client.stopped


REFUSALS = [
    (NotEnoughReplicasError(), BrokerUnreachable),
    (KafkaConnectionError(), BrokerUnreachable),
    (OutOfOrderSequenceNumber(), BrokerUnreachable),
    (UnknownProducerId(), BrokerUnreachable),
    (ProducerFenced(), BrokerUnreachable),
    (TopicAuthorizationFailedError("x"), NotAuthorized),
    (MessageSizeTooLargeError(), RecordTooLarge),
]


@pytest.mark.parametrize(("refusal", "error"), REFUSALS, ids=[type(one).__name__ for one, _ in REFUSALS])
async def test_a_refused_write_says_what_to_do_and_the_next_one_has_a_new_producer(
    monkeypatch: pytest.MonkeyPatch, refusal: Exception, error: type[StreamError]
) -> None:
    clients = Clients(lambda acknowledged: acknowledged.set_exception(refusal))
    writer = await started(monkeypatch, clients)
    with pytest.raises(error):
        await writer.write(0, key(2), b"value")
    await writer.write(0, key(3), b"value")
    # The client counts what was refused, the broker does not: what it sends later is out of order.
    assert [k for _p, k, _ in clients.made[-1].sent] == [key(3)]
    await writer.stop()
    assert len(clients.made) == 2
    assert all(client.stopped for client in clients.made)


@pytest.mark.parametrize(
    ("refusal", "error", "made"),
    [
        (UnknownTopicOrPartitionError(), TopicMissing, 1),
        (MessageSizeTooLargeError(), RecordTooLarge, 1),
        (ProducerClosed(), BrokerUnreachable, 2),
    ],
)
async def test_a_client_that_takes_nothing_is_replaced_where_that_helps(
    monkeypatch: pytest.MonkeyPatch, refusal: Exception, error: type[StreamError], made: int
) -> None:
    clients = Clients()
    writer = await started(monkeypatch, clients)
    clients.made[0].refuses = refusal
    with pytest.raises(error):
        await writer.write(0, key(0), b"value")
    clients.made[0].refuses = None
    await writer.write(0, key(1), b"value")
    assert len(clients.made) == made
    await writer.stop()


async def test_a_write_that_is_cancelled_while_it_waits_is_not_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients = Clients()
    writer = await started(monkeypatch, clients)
    first, second = (asyncio.create_task(writer.write(0, key(n), b"value")) for n in range(2))
    await asyncio.sleep(0)
    second.cancel()
    await first
    with pytest.raises(asyncio.CancelledError):
        await second
    assert [k for _p, k, _ in clients.made[0].sent] == [key(0)]
    await writer.stop()


async def test_a_write_without_an_acknowledgement_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_writer, "ACKNOWLEDGED_S", 0.01)
    writer = await started(monkeypatch, Clients(never))
    with pytest.raises(BrokerUnreachable):
        await writer.write(0, key(0), b"value")
    await writer.stop()


async def test_stopping_ends_what_waits_and_takes_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = await started(monkeypatch, Clients(never))
    writing = asyncio.create_task(writer.write(0, key(0), b"value"))
    await asyncio.sleep(0.01)
    await writer.stop()
    with pytest.raises(StreamError, match="stopped before"):
        await writing
    with pytest.raises(StreamError, match="not running"):
        await writer.write(0, key(1), b"value")


async def test_a_broker_that_does_not_answer_is_said_at_the_start() -> None:
    writer = JournalWriter(Connection("127.0.0.1:1"), agent="doer")
    with pytest.raises(BrokerUnreachable):
        await writer.start()
    with pytest.raises(StreamError, match="not running"):
        await writer.write(0, key(0), b"value")

"""The client's producer, mended: it ends when it is told to, says what the broker last answered, and is quiet.

Rules upheld here: what makes a transaction fail is raised, not that there is none any more; what the client tries again
without end is known by name (`said`), so that whoever sets a bound can say why it was reached; a producer that stops
leaves no task behind and no future with an error that nobody heard. Not here: bounds (`committing.py`), and what an
error means (`kafka_errors.py`).

Source: aiokafka 0.14, `producer/sender.py`: produce requests, and those of a transaction, are sent again for ever after
every error that may pass, a topic that was deleted among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    IllegalOperation,
    KafkaConnectionError,
    KafkaError,
    NoError,
    OperationNotAttempted,
    ProducerClosed,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.structs import OffsetAndMetadata

from jurat.streams.connection import Connection
from jurat.streams.kafka_ending import end_tasks, hang_up, heard
from jurat.streams.kafka_errors import reading
from jurat.streams.kafka_security import client_security, start_client

REQUEST_TIMEOUT_MS: Final = 15_000

MAX_REQUEST_BYTES: Final = 2 * 1024 * 1024
"""As large as the largest record we write: a dead letter with its headers."""

FLUSH_S: Final = 3.0
"""How long a producer that stops goes on writing what it holds; one with transactions does not: it is void."""


class Producer(AIOKafkaProducer):  # type: ignore[misc]  # the client ships without types
    """A producer that says why it may not connect, or why its transaction has failed.

    Attributes:
        said: the last error that a broker answered, or that came instead of an answer, and what it was about; None
            when records were written since, or another transaction began.
    """

    _closed: bool

    def __init__(self, connection: Connection, **settings: Any) -> None:
        super().__init__(
            bootstrap_servers=connection.bootstrap_servers,
            acks="all",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            max_request_size=MAX_REQUEST_BYTES,
            **client_security(connection),
            **settings,
        )
        self._connection = connection
        self.said: KafkaError | None = None
        # Made by the client's constructor, which takes none of ours.
        self._sender.__class__ = _Sender
        self._sender.working = set()
        self._message_accumulator.__class__ = _Accumulator
        if self._txn_manager is not None:
            self._txn_manager.__class__ = _Transactions
        self._send = self.client.send
        self.client.send = self._listening_send

    async def start(self) -> None:
        """Connect."""
        await start_client(super().start, self._connection)

    async def stop(self) -> None:
        """End within some seconds, whatever the brokers do."""
        if self._closed:
            return
        self._closed = True
        accumulator, sender = self._message_accumulator, self._sender
        flushing = asyncio.ensure_future(accumulator.close())  # from here on it takes nothing
        try:
            if sender.sender_task is not None and not self._transactional:
                await asyncio.wait(
                    [flushing, sender.sender_task], timeout=FLUSH_S, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            try:
                begun = [] if sender.sender_task is None else [sender.sender_task, *sender.working]
                await end_tasks([flushing, *begun])
            finally:
                if sender.sender_task is not None:
                    accumulator.fail_all(ProducerClosed())
                await hang_up(self.client)

    @property
    def _transactional(self) -> bool:
        return self._txn_manager is not None and self._txn_manager.transactional_id is not None

    async def send(self, *record: Any, **named: Any) -> Any:
        """As the client's."""
        with self._failed_transaction():
            return await self._told_of_topics(super().send(*record, **named), record[0])

    async def send_batch(self, *batch: Any, **named: Any) -> Any:
        """As the client's."""
        with self._failed_transaction():
            return await self._told_of_topics(super().send_batch(*batch, **named), batch[1])

    async def partitions_for(self, topic: str) -> Any:
        """As the client's."""
        return await self._told_of_topics(super().partitions_for(topic), topic)

    async def begin_transaction(self) -> None:
        """As the client's; forgets what was said before."""
        self.said = None
        with self._failed_transaction():
            await super().begin_transaction()

    async def send_offsets_to_transaction(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group_id: str
    ) -> None:
        """As the client's; where offsets may not be committed it says so, for want of Read."""
        topics = {partition.topic for partition in offsets}
        with reading(self._connection, topics=topics), self._failed_transaction():
            await super().send_offsets_to_transaction(offsets, group_id)

    async def commit_transaction(self) -> None:
        """As the client's."""
        with self._failed_transaction():
            await super().commit_transaction()

    async def abort_transaction(self) -> None:
        """As the client's."""
        with self._failed_transaction():
            await super().abort_transaction()

    @contextmanager
    def _failed_transaction(self) -> Iterator[None]:
        """Raise what made the transaction fail; the client only says that there is none any more.

        It says so by an error, by an assertion about its own state, or by a copy of the first error without its cause.
        """
        try:
            yield
        except (IllegalOperation, AssertionError, KafkaError) as error:
            waiting = None if self._txn_manager is None else self._txn_manager.wait_for_transaction_end()
            reason = None
            if waiting is not None and waiting.done() and not waiting.cancelled():
                reason = waiting.exception()
            if reason is not None and reason is not error:
                raise reason from error
            if isinstance(error, KafkaError):
                raise
            raise KafkaError(f"the client is in no state for this: {error}") from error

    async def _told_of_topics(self, call: Coroutine[Any, Any, Any], topic: str) -> Any:
        """The client calls a topic unknown, too, when no broker could be asked; and never says which."""
        try:
            return await call
        except UnknownTopicOrPartitionError as error:
            if not await self.client.force_metadata_update():
                raise KafkaConnectionError("no broker could be asked for the topic") from error
            raise UnknownTopicOrPartitionError(TopicPartition(topic, -1)) from error

    async def _listening_send(self, node_id: int, request: Any, **named: Any) -> Any:
        try:
            response = await self._send(node_id, request, **named)
        except KafkaError as error:
            self.said = error
            raise
        refusals = [(for_code(code), about) for about, code in _answers(response) if code != NoError.errno]
        for kind, about in refusals:
            if kind is not OperationNotAttempted:  # said of all partitions beside the one that is refused
                self.said = kind(about) if about else kind()
        if not refusals and isinstance(request, ProduceRequest):
            self.said = None
        return response


def _answers(response: Any) -> Iterator[tuple[TopicPartition | None, int]]:
    """What a response is about, and the error codes in it."""
    if hasattr(response, "error_code"):
        yield None, response.error_code
    # Produce names them topics; what adds to a transaction names them errors. A code follows each partition's number.
    for topic, partitions in getattr(response, "errors", getattr(response, "topics", ())) or ():
        for partition, code, *_rest in partitions:
            yield TopicPartition(topic, partition), code


class _Sender(Sender):  # type: ignore[misc]  # the client ships without types
    """A sender whose tasks are known, so that they can be ended."""

    working: set[asyncio.Task[Any]]

    async def _send_produce_req(self, node_id: int, batches: Any) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._known(task)
        await super()._send_produce_req(node_id, batches)

    def _maybe_do_transactional_request(self) -> asyncio.Task[Any] | None:
        task: asyncio.Task[Any] | None = super()._maybe_do_transactional_request()
        if task is not None:
            self._known(task)
        return task

    def _known(self, task: asyncio.Task[Any]) -> None:
        self.working.add(task)
        task.add_done_callback(self.working.discard)
        task.add_done_callback(heard)


class _Accumulator(MessageAccumulator):  # type: ignore[misc]  # the client ships without types
    """Batches whose failures nobody needs to ask for: who sent one has a future of his own."""

    def _append_batch(self, builder: Any, tp: TopicPartition) -> Any:
        batch = super()._append_batch(builder, tp)
        batch.future.add_done_callback(heard)
        batch._drain_waiter.add_done_callback(heard)  # noqa: SLF001 - it has no other name
        return batch

    def fail_all(self, exception: BaseException) -> None:
        # A batch that waits to be sent again expects to be among those that are being sent when it ends.
        self._pending_batches.update(batch for queue in self._batches.values() for batch in queue)
        super().fail_all(exception)

    def reenqueue(self, batch: Any) -> None:
        super().reenqueue(batch)
        batch._drain_waiter.add_done_callback(heard)  # noqa: SLF001 - it has no other name


class _Transactions(TransactionManager):  # type: ignore[misc]  # the client ships without types
    """The state of a transaction; who waits for it may have been cancelled, or have heard of its end elsewhere."""

    _transaction_waiter: Any

    def begin_transaction(self) -> None:
        super().begin_transaction()
        self._transaction_waiter.add_done_callback(heard)

    def aborting_transaction(self) -> None:
        super().aborting_transaction()
        self._transaction_waiter.add_done_callback(heard)

    def fatal_error(self, exc: BaseException) -> None:
        if self._transaction_waiter is None:  # before the first transaction; the client would fall over it
            self._transaction_waiter = asyncio.get_running_loop().create_future()
        super().fatal_error(exc)
        self._transaction_waiter.add_done_callback(heard)

    def add_offsets_to_txn(self, offsets: Any, group_id: str) -> Any:
        added = super().add_offsets_to_txn(offsets, group_id)
        added.add_done_callback(heard)
        return added


def refusal(said: KafkaError | None) -> str:
    """What a broker said last, for a message."""
    if said is None:
        return "no broker answered"
    about = said.args[0] if said.args else None
    where = f"{about.topic}, partition {about.partition}: " if isinstance(about, TopicPartition) else ""
    return f"{where}{getattr(said, 'message', '') or said}"

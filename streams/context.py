"""The context stream: customer profiles, kept by a Faust app from the shop's events.

Reads `commerce.orders`, `commerce.payments` and `marketplace.disputes`, writes `context.customers` (compacted,
keyed by the customer, in the partition number of the events). Profiles are advice: no limit and no ledger may
rest on them.

Rules upheld here:

* at least once, one event at a time, each dealt with without an `await` in between, so that none interleave;
* table, profile and dead letters are acknowledged before the offsets of the events that caused them are
  committed; what comes twice is folded once (`context_profile.py`), and its profile is published again;
* an event that cannot be read or folded goes to `dead-letters.context` with its bytes, its headers and the
  reason, and the stream goes on; any other failure stops the app without committing past the event;
* nothing listens on a port, only `ensure_topics` creates topics, logs carry coordinates and no payloads.

The table lives in memory and is restored from its compacted changelog at the start: one record a customer, no
files that a crash could leave half written, nothing to move when a partition changes hands.

Besides `context_transport.py` the only module that imports faust.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from time import monotonic
from typing import Any, Final

import faust
from faust.app.base import BootStrategy
from faust.types import EventT, StreamT

from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import SchemaIds, encode
from jurat.schemas.errors import SchemaError, StreamError
from jurat.streams import broker_state, topics
from jurat.streams.context_lag import behind
from jurat.streams.context_profile import ProfileState, Source, customer_of, fold
from jurat.streams.context_transport import LedgerConsumer, MendedTransport, credentials
from jurat.streams.dead_letters import dead_letter
from jurat.streams.decoding import decode_record
from jurat.streams.kafka import HEARTBEAT_MS, SESSION_TIMEOUT_MS, Connection, KafkaRecord
from jurat.streams.kafka_errors import refusal_in, words_for
from jurat.streams.kafka_producer import MAX_REQUEST_BYTES, REQUEST_TIMEOUT_MS
from jurat.streams.topic_admin import ensure_topics
from jurat.streams.topics import Topic

GROUP: Final = "context"
TABLE: Final = "customers"
SOURCE: Final = "/jurat/context"
"""CloudEvents `source` of the profiles."""

SOURCES: Final = (topics.ORDERS, topics.PAYMENTS, topics.DISPUTES)
CHANGELOG: Final = Topic(f"{GROUP}-{TABLE}-changelog", compacted=True)
"""Named as Faust names it, created by us so that it has as many replicas as the other topics."""

COMMIT_INTERVAL_S: Final = 1.0
"""Events read again after a crash: those of one second, at most."""

LINGER_S: Final = 0.01
"""Records wait this long for company; without it nearly every one travels in a request of its own."""

BUFFERED_EVENTS: Final = 512
"""Events taken from Kafka and not dealt with yet; Faust's default of 4096 only delays a stop."""

START_WITHIN_S: Final = 60.0
"""Restoring a million customers takes well under this; longer means that the group does not come to rest."""

STOP_WITHIN_S: Final = 10.0
CANCEL_WITHIN_S: Final = 2.0
"""For what is left after a stop, which is nothing unless the stop went wrong."""

CATCH_UP_S: Final = 10.0
"""How long after `until_idle_s` it is waited for events that nobody delivers, such as the marks of transactions."""

WATCH_S: Final = 0.05
"""How often the clock of `until_idle_s`, a crash and a signal are looked at."""

_LOG = logging.getLogger("jurat.context")
_TALKATIVE: Final = ("faust", "mode", "aiokafka", __name__, MendedTransport.__module__)
"""Loggers of libraries, and those that they write to on behalf of our subclasses: their warnings print whole
messages, and what matters of theirs reaches us as a crash reason."""


class _NoWeb(BootStrategy):
    """Starts everything but the web server, which would listen on every interface."""

    enable_web = False


class _App(faust.App):
    BootStrategy = _NoWeb

    async def _producer_flush(self, logger: Any) -> None:
        # Part of every stop: were it to raise, what comes after it would not be stopped.
        try:
            await super()._producer_flush(logger)
        except StreamError as error:
            await self.crash(error)


class ContextStream:
    """The app with its table and topics; make it inside a running event loop.

    Args:
        connection: the cluster and namespace.
        ids: a Schema Registry's ids; None reads and writes Avro single-object encoding.
    """

    def __init__(self, connection: Connection, *, ids: SchemaIds | None = None) -> None:
        self._connection = connection
        self._ids = ids
        self.last_event_s: float | None = None
        self.app = _app(connection)
        partitions = topics.CONTEXT_CUSTOMERS.partitions
        self._sources = self.app.topic(
            *(connection.topic(topic.name) for topic in SOURCES),
            key_type=bytes,
            key_serializer="raw",
            value_type=bytes,
            value_serializer="raw",
            partitions=partitions,
            internal=True,
        )
        self._table = self.app.Table(TABLE, key_type=bytes, value_type=bytes, partitions=partitions)
        self._profiles = self._raw_topic(topics.CONTEXT_CUSTOMERS)
        self._dead_letters = self._raw_topic(topics.CONTEXT_DEAD_LETTERS)
        self.app.agent(self._sources, name="profiles", concurrency=1)(self._follow)

    def raise_refusal(self) -> None:
        """Raise why the group does not take us, as long as it does not."""
        consumer = self.app.consumer
        refusal = consumer.refusal if isinstance(consumer, LedgerConsumer) else None
        if refusal is not None:
            raise words_for(self._connection, refusal) from refusal

    def _raw_topic(self, topic: Topic) -> Any:
        return self.app.topic(
            self._connection.topic(topic.name),
            key_serializer="raw",
            value_serializer="raw",
            partitions=topic.partitions,
        )

    async def _follow(self, stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            try:
                self._take(event)
            except Exception as error:
                # Faust counts an event whose handler raised as done. This one has to come again.
                consumer = self.app.consumer
                if isinstance(consumer, LedgerConsumer):
                    consumer.hold(event.message)
                await self.app.crash(error)
                raise
            self.last_event_s = monotonic()

    def _take(self, event: EventT[bytes]) -> None:
        record = _record_of(event)
        try:
            state, traceparent = self._folded(record)
        except StreamError:
            # The Schema Registry does not answer: that is not the event's fault.
            raise
        except Exception as error:  # noqa: BLE001 - whatever an event does to us, the next one has its turn
            self._bury(record, error)
            return
        if state is None:
            return
        key = state.customer_id.encode()
        # Table first: should only this much become durable, the event comes again and the profile with it.
        self._table[key] = state.to_bytes()
        profile = state.profile()
        self._profiles.send_soon(
            key=key,
            value=encode(profile, ids=self._ids),
            partition=state.partition,
            headers=headers_for(
                profile,
                event_id=f"{state.customer_id}:{state.revision}",
                source=SOURCE,
                time=state.last_seen,
                subject=state.customer_id,
                traceparent=traceparent,
            ),
        )

    def _folded(self, record: KafkaRecord) -> tuple[ProfileState | None, str | None]:
        """The customer's state after a record (None when it concerns no customer), and its traceparent."""
        decoded = decode_record(record, ids=self._ids)
        if decoded.event is None or decoded.attributes is None:
            raise decoded.error or SchemaError("got a record that holds no event")
        traceparent = decoded.attributes.traceparent
        customer_id = customer_of(decoded.event)
        if customer_id is None:
            return None, traceparent
        kept = self._table.get(customer_id.encode())
        state = fold(
            None if kept is None else ProfileState.from_bytes(kept),
            decoded.event,
            at=decoded.occurred_at,
            source=Source(self._connection.plain(record.topic), record.partition, record.offset),
        )
        return state, traceparent

    def _bury(self, record: KafkaRecord, error: Exception) -> None:
        name = type(error).__name__
        _LOG.warning("dead letter: %s %d %d (%s)", record.topic, record.partition, record.offset, name)
        letter = dead_letter(record, error=name, reason=str(error))
        self._dead_letters.send_soon(
            key=letter.key, value=letter.value, partition=record.partition, headers=letter.headers
        )


def run_context(
    connection: Connection, until_idle_s: float | None = None, *, ids: SchemaIds | None = None
) -> None:
    """Keep customer profiles until a signal (SIGTERM, SIGINT) comes, or until no event came for a while.

    Runs in the foreground and needs the main thread of its process.

    Args:
        connection: the cluster and namespace; topics that are missing are created.
        until_idle_s: stop after this long without an event, counted from the moment the stream is ready, when all is
            read and committed.
        ids: a Schema Registry's ids; None reads and writes Avro single-object encoding.

    Raises:
        BrokerUnreachable: no broker answered.
        TopicMismatch: a topic has another number of partitions than declared.
        StreamError: the stream could not go on; what it had not committed is read again by the next one.
    """
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Not `asyncio.run`: it waits without end for tasks that Faust starts anew when they are cancelled.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_run(connection, until_idle_s, ids=ids))
    finally:
        loop.run_until_complete(_cancel_the_rest())
        loop.close()


async def _run(connection: Connection, until_idle_s: float | None, *, ids: SchemaIds | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    began_s = monotonic()
    await ensure_topics(
        connection, (*SOURCES, topics.CONTEXT_CUSTOMERS, topics.CONTEXT_DEAD_LETTERS, CHANGELOG)
    )
    stream = ContextStream(connection, ids=ids)
    starting = asyncio.create_task(stream.app.start())
    try:
        if await _ready(stream, starting, stop):
            _LOG.info("ready after %.1f s", monotonic() - began_s)
            await _watch(connection, stream, stop, until_idle_s)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            # A second signal ends the process at once.
            loop.remove_signal_handler(number)
        await _stopped(stream, starting)
    if stream.app.crash_reason is not None:
        raise _as_stream_error(connection, stream.app.crash_reason)
    _LOG.info("stopped")


async def _ready(stream: ContextStream, starting: asyncio.Task[None], stop: asyncio.Event) -> bool:
    deadline_s = monotonic() + START_WITHIN_S
    while not (stop.is_set() or stream.app.crashed):
        stream.raise_refusal()
        if starting.done():
            starting.result()
            return True
        if monotonic() > deadline_s:
            raise StreamError(
                f"the context stream was not ready within {START_WITHIN_S:g} s; is its group at rest?"
            )
        await asyncio.sleep(WATCH_S)
    return False


async def _watch(
    connection: Connection, stream: ContextStream, stop: asyncio.Event, until_idle_s: float | None
) -> None:
    ready_s = monotonic()
    while not (stop.is_set() or stream.app.crashed):
        last_s = ready_s if stream.last_event_s is None else max(ready_s, stream.last_event_s)
        idle_s = monotonic() - last_s
        if until_idle_s is not None and idle_s > until_idle_s:
            # What was not delivered yet, or not committed, is no idleness.
            names = [connection.topic(topic.name) for topic in SOURCES]
            if idle_s > until_idle_s + CATCH_UP_S or not await behind(connection, GROUP, names):
                return
        await asyncio.sleep(WATCH_S)


async def _stopped(stream: ContextStream, starting: asyncio.Task[None]) -> None:
    """Stop the app within its time; commits what is done."""
    try:
        await asyncio.wait_for(stream.app.stop(), STOP_WITHIN_S)
    except TimeoutError:
        _LOG.warning(
            "not stopped within %.0f s; events since the last commit will be read again", STOP_WITHIN_S
        )
    finally:
        starting.cancel()


async def _cancel_the_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=CANCEL_WITHIN_S)


def _as_stream_error(connection: Connection, reason: BaseException) -> StreamError:
    refusal = refusal_in(connection, reason)
    if refusal is not None:
        refusal.__cause__ = reason
        return refusal
    if isinstance(reason, StreamError):
        return reason
    stopped = StreamError(
        f"the context stream stopped: {type(reason).__name__}; nothing was committed past the event that caused"
        " it. See that Kafka answers (`jurat broker status`), then start it again"
    )
    stopped.__cause__ = reason
    return stopped


def _app(connection: Connection) -> faust.App:
    group = connection.group(GROUP)
    # Faust makes its folder, and would make it below the working directory.
    folder = broker_state.state_dir(os.environ) / "context" / group
    folder.mkdir(parents=True, exist_ok=True)
    app = _App(
        group,
        broker=[f"aiokafka://{server.strip()}" for server in connection.bootstrap_servers.split(",")],
        broker_credentials=credentials(connection),
        datadir=folder,
        store="memory://",
        processing_guarantee="at_least_once",
        topic_partitions=topics.CONTEXT_CUSTOMERS.partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        key_serializer="raw",
        value_serializer="raw",
        broker_commit_interval=COMMIT_INTERVAL_S,
        broker_session_timeout=SESSION_TIMEOUT_MS / 1000,
        broker_heartbeat_interval=HEARTBEAT_MS / 1000,
        broker_request_timeout=REQUEST_TIMEOUT_MS / 1000,
        producer_request_timeout=REQUEST_TIMEOUT_MS / 1000,
        producer_max_request_size=MAX_REQUEST_BYTES,
        producer_linger=LINGER_S,
        stream_buffer_maxsize=BUFFERED_EVENTS,
        web_enabled=False,
    )
    app.transport = MendedTransport(app.conf.broker_consumer, app)
    app.producer_transport = MendedTransport(app.conf.broker_producer, app)
    return app


def _record_of(event: EventT[bytes]) -> KafkaRecord:
    message = event.message
    return KafkaRecord(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=round((message.timestamp or 0) * 1000),
        key=message.key,
        value=message.value,
        headers=tuple((name, value or b"") for name, value in _pairs(message.headers)),
    )


def _pairs(headers: Any) -> list[tuple[str, bytes | None]]:
    return list(headers.items() if hasattr(headers, "items") else headers or ())

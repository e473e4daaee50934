"""Faust's aiokafka transport, mended so that no event is lost and nothing is committed before it is durable.

faust-streaming 0.15.3, held at least once, has faults that this module takes out of play:

1. *The head of the line.* Its commit position may pass an event that is still being worked on (off by one,
   and no check at all before the first commit).
2. *Gaps.* Offsets without a record (transaction markers, compaction) are noted as one too many, so that the
   record behind the gap counts as done before it is.
3. *Revocation.* Acknowledgements are forgotten before the last commit of a partition that is given up.
4. *Flush.* Waiting for outstanding records ends after 100 ms, and a record taken from the buffer but not yet
   handed to the client is not waited for: offsets are committed while what the events caused is not durable.
5. *Failed sends* are logged and forgotten: the offsets are committed all the same.
6. It reads uncommitted: events of aborted transactions would be counted.
7. *Seeks.* Records fetched before a seek to the committed offsets are delivered after it, and move a mark below
   which those fetched anew are dropped as read before, though no stream has seen them. Partitions without a
   committed offset are not sought at all.

Rules upheld here: the position committed is the lowest offset delivered and not done, or one past the last one
done (1-3); offsets are committed only when everything sent before is acknowledged, else the app crashes and the
events come again (4, 5); readers are `read_committed` (6); what was being fetched during a
seek is fetched again, and nothing is dropped (7). What Faust is told of a connection's security stands here
too. Not here: what is done with the events (`context.py`).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Mapping
from time import monotonic
from typing import Any, Final

from faust.auth import Credentials, OAuthCredentials, SASLCredentials, SSLCredentials
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, FutureMessage, HeadersArg, Message, RecordMetadata

from jurat.schemas.errors import StreamError
from jurat.streams.connection import Connection
from jurat.streams.kafka_security import client_security

FLUSH_WITHIN_S: Final = 30.0
"""Twice the client's request time-out: by then every record has been acknowledged or has failed."""

FLUSH_POLL_S: Final = 0.5
"""How soon a flush notices that the client's buffer has crashed."""

FROM_THE_START: Final = 0
"""Out of range where Kafka has deleted the first records; the client then goes to the first that is left."""

SEEK_POLL_S: Final = 0.01
"""How soon reading goes on after a seek."""


class PartitionLedger:
    """What may be committed of one partition, from what was delivered and what is done.

    Records are delivered in the order of their offsets, so an offset that was skipped has no record: gaps need
    no bookkeeping. After a seek the ledger starts anew (`rewind`).
    """

    def __init__(self) -> None:
        self._waiting: deque[int] = deque()
        self._done: set[int] = set()
        self._last: int | None = None
        self._held: int | None = None

    def deliver(self, offset: int) -> None:
        """A record was handed to the stream; one from further back means that reading starts anew there."""
        if self._last is not None and offset <= self._last:
            self._waiting = deque(waiting for waiting in self._waiting if waiting < offset)
            self._done = {done for done in self._done if done < offset}
        self._waiting.append(offset)
        self._last = offset

    def finish(self, offset: int) -> None:
        """A record was dealt with; one that was not delivered since the last seek changes nothing."""
        if self._last is not None and self._waiting and self._waiting[0] <= offset <= self._last:
            self._done.add(offset)
        while self._waiting and self._waiting[0] in self._done:
            self._done.remove(self._waiting.popleft())

    def hold(self, offset: int) -> None:
        """Never commit past this offset again: it could not be dealt with and must come back."""
        self._held = offset if self._held is None else min(self._held, offset)

    def rewind(self) -> None:
        """The reading position was set: what is delivered from now on counts, what came before does not."""
        self._waiting.clear()
        self._done.clear()
        self._last = None

    def position(self) -> int | None:
        """The offset to commit: everything below it is done. None when nothing was delivered."""
        if self._last is None:
            return None
        position = self._waiting[0] if self._waiting else self._last + 1
        return position if self._held is None else min(position, self._held)


class _CommittedReader(driver.AIOKafkaConsumerThread):
    """The thread that holds the client; it reads committed records only (6)."""

    def _create_worker_consumer(self, transport: driver.Transport) -> Any:
        client = super()._create_worker_consumer(transport)
        if getattr(client, "_isolation_level", None) != "read_uncommitted":
            raise StreamError(
                "got an aiokafka client whose isolation level cannot be set, expected aiokafka 0.14"
            )
        # Faust offers no setting: it reads committed records only when it runs its own transactions.
        client._isolation_level = "read_committed"  # noqa: SLF001
        return client

    @property
    def refusal(self) -> BaseException | None:
        """Why the group does not take us, which the client tells only who reads, and Faust reads once it is taken."""
        coordinator = getattr(self._consumer, "_coordinator", None)
        return getattr(coordinator, "_pending_exception", None)


class _NoPositions(defaultdict[TP, int | None]):
    """Reading positions that are never known, so that no record is dropped as read before (7)."""

    def __missing__(self, key: TP) -> None:
        return None

    def __setitem__(self, key: TP, value: int | None) -> None:
        pass

    def update(self, *_positions: object, **_named: object) -> None:
        pass


class LedgerConsumer(driver.Consumer):
    """A consumer whose commit positions come from ledgers (1, 2), also when partitions are given up (3)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._ledgers: defaultdict[TP, PartitionLedger] = defaultdict(PartitionLedger)
        self._seeks = 0
        self._seeks_under_way = 0
        super().__init__(*args, **kwargs)
        self._read_offset = _NoPositions()

    def hold(self, message: Message) -> None:
        """Never commit past this message: it could not be dealt with."""
        self._ledgers[message.tp].hold(message.offset)

    @property
    def refusal(self) -> BaseException | None:
        """Why the group does not take us; None when it does, or has not answered yet."""
        return self._thread.refusal if isinstance(self._thread, _CommittedReader) else None

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _CommittedReader(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Yield the next records; when there was a seek since they were asked for, ask anew (7)."""
        await self._seeks_to_end()
        seeks = self._seeks
        uncertain: set[TP] = set()
        async for tp, message in super().getmany(timeout):
            if not self.app.topics.acks_enabled_for(message.topic):
                # A changelog: it is read from where table recovery put it, seeks to committed offsets or not.
                yield tp, message
            elif seeks == self._seeks:
                self._ledgers[tp].deliver(message.offset)
                yield tp, message
            else:
                uncertain.add(tp)
        if uncertain:
            await self._seeks_to_end()  # before, nobody knows what is committed
        for tp in uncertain:
            await self._read_again(tp)

    async def _seeks_to_end(self) -> None:
        while self._seeks_under_way and not self.should_stop:
            await self.sleep(SEEK_POLL_S)

    async def _read_again(self, tp: TP) -> None:
        """Seek once more: what was fetched is from before the seek or from after it, and no fetch is under way."""
        await self._seek(tp, self._committed_offset[tp] or FROM_THE_START)
        self._ledgers[tp].rewind()

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps need no bookkeeping here."""

    def _new_offset(self, tp: TP) -> int | None:
        ledger = self._ledgers[tp]
        for offset in self._acked[tp]:
            ledger.finish(offset)
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return ledger.position()

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002 - as the base class says
        try:
            return bool(await super()._commit_offsets(offsets, start_new_transaction=start_new_transaction))
        except StreamError as error:
            await self.crash(error)
            return False

    async def seek(self, partition: TP, offset: int) -> None:
        """Set the reading position of a partition."""
        self._ledgers[partition].rewind()
        await super().seek(partition, offset)

    async def perform_seek(self) -> None:
        """Set the reading positions to the committed ones; nothing is delivered meanwhile (7)."""
        self._seeks += 1
        self._seeks_under_way += 1
        try:
            await super().perform_seek()
            for tp in self.assignment():
                if self.app.topics.acks_enabled_for(tp.topic) and self._committed_offset[tp] is None:
                    # The client leaves these where they are, behind records that were fetched and thrown away.
                    await self._seek(tp, FROM_THE_START)
        finally:
            self._seeks_under_way -= 1
            for ledger in self._ledgers.values():
                ledger.rewind()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop the flow and commit what is done, and only then forget it (3)."""
        if self.assignment() and not self.app.should_stop:
            self.stop_flow()
            self.app.flow_control.suspend()
            self.app.flow_control.clear()
            await self.commit()
        for tp in revoked:
            self._ledgers.pop(tp, None)
        await super().on_partitions_revoked(revoked)


class DurableProducer(driver.Producer):
    """An idempotent producer: `flush` returns when everything sent is acknowledged (4), else raises (5)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._outstanding: set[asyncio.Future[Any]] = set()
        self._failure: BaseException | None = None
        super().__init__(*args, **kwargs)

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    def send_soon(self, fut: FutureMessage) -> None:
        """Put a record into the buffer; records leave it in this order."""
        self._watch(fut)
        super().send_soon(fut)

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        """Hand a record to the client."""
        sent = await super().send(
            topic, key, value, partition, timestamp, headers, transactional_id=transactional_id
        )
        if isinstance(sent, asyncio.Future):
            self._watch(sent)
        return sent

    async def flush(self) -> None:
        """Wait until everything sent so far is acknowledged.

        Raises:
            StreamError: a record was refused, or is not acknowledged in time.
        """
        pending = set(self._outstanding)
        deadline_s = monotonic() + FLUSH_WITHIN_S
        while pending and self._failure is None and not self.buffer.crashed and monotonic() < deadline_s:
            _, pending = await asyncio.wait(pending, timeout=FLUSH_POLL_S)
        if self._failure is not None:
            raise StreamError(
                f"a record was not accepted by Kafka ({type(self._failure).__name__}); the events that caused it"
                " are not committed and will be read again"
            ) from self._failure
        if self.buffer.crashed:
            raise StreamError(
                "a record could not be handed to the Kafka client; the events that caused it are not committed and"
                " will be read again"
            ) from self.buffer.crash_reason
        if pending:
            raise StreamError(
                f"{len(pending)} records were not acknowledged by Kafka within {FLUSH_WITHIN_S:g} s; the events"
                " that caused them are not committed and will be read again"
            )

    def _watch(self, future: asyncio.Future[Any]) -> None:
        self._outstanding.add(future)
        future.add_done_callback(self._settle)

    def _settle(self, future: asyncio.Future[Any]) -> None:
        self._outstanding.discard(future)
        if self._failure is None:
            self._failure = asyncio.CancelledError() if future.cancelled() else future.exception()


class MendedTransport(driver.Transport):
    """The transport to use: `app.transport = app.producer_transport = MendedTransport(...)`."""

    Consumer = LedgerConsumer
    Producer = DurableProducer


def credentials(connection: Connection) -> Credentials | None:
    """A connection's security as Faust takes it; None connects in plaintext.

    Raises:
        ConfigurationError: a file of certificates or keys cannot be used.
    """
    settings = client_security(connection)
    if not settings:
        return None
    context = settings["ssl_context"]
    if "sasl_mechanism" not in settings:
        return SSLCredentials(context)
    if "sasl_oauth_token_provider" in settings:
        return OAuthCredentials(oauth_cb=settings["sasl_oauth_token_provider"], ssl_context=context)
    return SASLCredentials(
        username=settings["sasl_plain_username"],
        password=settings["sasl_plain_password"],
        ssl_context=context,
        mechanism=settings["sasl_mechanism"],
    )

"""Every error that the client knows has an end of its own, whenever a transaction meets it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiokafka.errors as client
import pytest
from aiokafka.errors import BrokerResponseError, KafkaError, for_code

from jurat.schemas import errors as ours
from jurat.schemas.errors import (
    BrokerRefused,
    BrokerUnreachable,
    NotAuthenticated,
    NotAuthorized,
    PartitionFenced,
    RecordTooLarge,
    ReopenPartition,
    StreamError,
    TopicMismatch,
    TopicMissing,
)
from jurat.streams import committing
from jurat.streams.committing import Output, Transactions
from jurat.streams.kafka import Connection, OffsetAndMetadata, TopicPartition
from jurat.streams.kafka_errors import words_for
from jurat.streams.metrics import Meters

AGAIN = BrokerUnreachable
"""Retried in the same producer, as often as `ATTEMPTS`, then opened anew."""

ENDS: dict[type[StreamError], str] = {
    AGAIN: """
        BrokerNotAvailableError Cancelled CorrelationIdError FetchSessionIdNotFound GroupCoordinatorNotAvailableError
        GroupLoadInProgressError InvalidFetchSessionEpoch KafkaConnectionError KafkaProtocolError KafkaStorageError
        KafkaTimeoutError KafkaUnavailableError LeaderNotAvailableError ListenerNotFound LogDirNotFound
        MetadataEmptyBrokerList NoBrokersAvailable NodeNotReadyError NotControllerError NotCoordinatorForGroupError
        NotEnoughReplicasAfterAppendError NotEnoughReplicasError NotLeaderForPartitionError ReassignmentInProgress
        ReplicaNotAvailableError RequestTimedOutError StaleMetadata TooManyInFlightRequests""",
    PartitionFenced: "InvalidProducerEpoch ProducerFenced",
    RecordTooLarge: "MessageSizeTooLargeError RecordListTooLargeError",
    TopicMissing: "UnknownTopicOrPartitionError",
    NotAuthorized: """
        ClusterAuthorizationFailedError GroupAuthorizationFailedError TopicAuthorizationFailedError
        TransactionalIdAuthorizationFailed""",
    NotAuthenticated: """
        AuthenticationFailedError AuthenticationMethodNotSupported IllegalSaslStateError SaslAuthenticationFailed
        UnsupportedSaslMechanismError""",
    BrokerRefused: """
        IncompatibleBrokerVersion InconsistentGroupProtocolError InvalidCommitOffsetSizeError
        InvalidRequiredAcksError InvalidSessionTimeoutError InvalidTimestampError InvalidTopicError
        InvalidTransactionTimeout OffsetMetadataTooLargeError PolicyViolationError UnrecognizedBrokerVersion
        UnsupportedCodecError UnsupportedForMessageFormatError UnsupportedVersionError""",
    # Of these a new producer may hear no more: what the broker has forgotten, numbers out of order, states that clash,
    # groups that were rebalanced; and what no transaction meets (delegation tokens, administration, readers).
    ReopenPartition: """
        CommitFailedError ConcurrentTransactions CorruptRecordException
        DelegationTokenAuthDisabled DelegationTokenAuthorizationFailed DelegationTokenExpired
        DelegationTokenNotFound DelegationTokenOwnerMismatch DelegationTokenRequestNotAllowed
        DuplicateSequenceNumber GroupIdNotFound IllegalArgumentError IllegalGenerationError IllegalStateError
        InvalidConfigurationError InvalidFetchRequestError InvalidGroupIdError InvalidPartitionsError
        InvalidPrincipalType InvalidProducerIdMapping InvalidReplicationAssignmentError
        InvalidReplicationFactorError InvalidRequestError InvalidTxnState KafkaConfigurationError KafkaError
        MemberIdRequired NoError NoOffsetForPartitionError NonEmptyGroup OffsetOutOfRangeError
        OperationNotAttempted OutOfOrderSequenceNumber ProducerClosed QuotaViolationError RebalanceInProgressError
        RecordTooLargeError SecurityDisabled StaleControllerEpochError StaleLeaderEpochCodeError
        TopicAlreadyExistsError TransactionCoordinatorFenced UnknownError UnknownMemberIdError UnknownProducerId""",
}
END_OF = {name: end for end, names in ENDS.items() for name in names.split()}


def classes(base: type[KafkaError] = KafkaError) -> Iterator[type[KafkaError]]:
    yield base
    for one in base.__subclasses__():
        if one.__module__ == client.__name__:
            yield from classes(one)


ALL = sorted(set(classes()) - {BrokerResponseError}, key=lambda one: one.__name__)


def test_no_error_of_the_client_is_forgotten() -> None:
    assert sorted(END_OF) == [one.__name__ for one in ALL]


class Broken:
    """A producer whose steps do as they are told, and which knows what was done."""

    def __init__(self, **failures: BaseException) -> None:
        self.failures = failures
        self.did: list[str] = []
        self.said: KafkaError | None = None
        self.hangs = ""

    async def _step(self, name: str) -> None:
        self.did.append(name)
        if self.hangs == name:
            await asyncio.Event().wait()
        if name in self.failures:
            raise self.failures[name]

    async def begin_transaction(self) -> None:
        await self._step("begin")

    async def partitions_for(self, _topic: str) -> set[int]:
        return {0}

    def create_batch(self) -> Broken:
        return self

    def append(self, **_record: object) -> object:
        return object()

    async def send_batch(self, _batch: object, _topic: str, *, partition: int) -> asyncio.Future[object]:
        await self._step("send")
        written: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if (failure := self.failures.get("written")) is not None:
            written.set_exception(failure)
        else:
            written.set_result(partition)
        return written

    async def send_offsets_to_transaction(
        self, _offsets: dict[TopicPartition, OffsetAndMetadata], _group: str
    ) -> None:
        await self._step("offsets")

    async def commit_transaction(self) -> None:
        await self._step("commit")

    async def abort_transaction(self) -> None:
        await self._step("abort")


CONNECTION = Connection("kafka.example:9092")
OUTPUTS = [Output("decisions.a", 0, b"k", b"v")]
OFFSETS = {TopicPartition("commerce.payments", 0): (7, "")}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "BACKOFF_S", 0.0)
    monkeypatch.setattr(committing, "TRANSACTION_S", 0.05)
    monkeypatch.setattr(committing, "ABORT_S", 0.05)


def transactions(producer: object) -> Transactions:
    one = Transactions(CONNECTION, transactional_id="a-t-0", group="a", meters=Meters("a"))
    one._producer = producer
    return one


async def ended(producer: Broken) -> StreamError:
    with pytest.raises(StreamError) as raised:
        await transactions(producer).commit(OUTPUTS, OFFSETS)
    return raised.value


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("step", ["send", "written", "offsets", "commit"])
async def test_each_error_has_its_end_at_each_step(kind: type[KafkaError], step: str) -> None:
    end = END_OF[kind.__name__]
    producer = Broken(**{step: kind()})
    error = await ended(producer)
    tries = producer.did.count("begin")
    if step == "commit":
        # Whether it committed is not known, whatever the broker said, but for one that says who owns the partition.
        assert type(error) is (PartitionFenced if end is PartitionFenced else ReopenPartition)
        assert tries == 1
    elif end is AGAIN:
        assert type(error) is ReopenPartition
        # A record that was refused was counted by the client alone: its producer must not be used again.
        assert tries == (1 if step == "written" else committing.ATTEMPTS)
    else:
        assert type(error) is end
        assert tries == 1
    assert ("abort" in producer.did) == (step != "commit" and end is not PartitionFenced)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_what_made_the_client_raise_something_else_decides(kind: type[KafkaError]) -> None:
    """The client's sender ends with an error of its own, raised from the first one."""
    wrapped = KafkaError("Unexpected error during batch delivery")
    wrapped.__cause__ = kind()
    expected = type(words_for(CONNECTION, kind()))
    assert type(words_for(CONNECTION, wrapped)) is expected


@pytest.mark.parametrize("code", [87, 90, 91, 120])
async def test_a_code_that_the_client_does_not_know_opens_the_partition_anew(code: int) -> None:
    """INVALID_RECORD, PRODUCER_FENCED of later protocols, RESOURCE_NOT_FOUND, TRANSACTION_ABORTABLE."""
    assert type(await ended(Broken(offsets=for_code(code)()))) is ReopenPartition


@pytest.mark.parametrize("step", ["begin", "send", "offsets", "commit"])
@pytest.mark.parametrize(
    ("said", "end"),
    [
        (None, ReopenPartition),
        (client.NotEnoughReplicasError(TopicPartition("state.a", 0)), ReopenPartition),
        (client.UnknownTopicOrPartitionError(TopicPartition("state.a", 0)), TopicMissing),
        (client.TopicAuthorizationFailedError(TopicPartition("state.a", 0)), NotAuthorized),
        (client.InvalidProducerEpoch(TopicPartition("state.a", 0)), PartitionFenced),
    ],
)
async def test_what_the_client_tries_for_ever_ends_with_what_the_broker_said_last(
    step: str, said: KafkaError | None, end: type[StreamError]
) -> None:
    producer = Broken()
    producer.hangs, producer.said = step, said
    error = await ended(producer)
    assert type(error) is end
    if said is not None and end is not PartitionFenced:
        assert "state.a" in str(error)
    if end is ReopenPartition:
        assert ("NOT_ENOUGH_REPLICAS" if said else "no broker answered") in str(error)


async def test_an_abort_that_hangs_is_not_waited_for() -> None:
    producer = Broken(offsets=client.RequestTimedOutError())
    producer.hangs = "abort"
    assert type(await ended(producer)) is ReopenPartition
    producer = Broken(offsets=client.GroupAuthorizationFailedError("a"))
    producer.hangs = "abort"
    assert type(await ended(producer)) is NotAuthorized, "what an operator must mend is told all the same"


async def test_a_topic_with_too_few_partitions_is_told() -> None:
    with pytest.raises(TopicMismatch, match="one with number 3"):
        await transactions(Broken()).commit([Output("audit.decisions", 3, b"k", b"v")], OFFSETS)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_message_says_where_and_what(kind: type[KafkaError]) -> None:
    message = str(words_for(CONNECTION, kind()))
    assert "kafka.example:9092" in message or "another worker" in message
    if issubclass(kind, BrokerResponseError) and END_OF[kind.__name__] in (BrokerRefused, ReopenPartition):
        assert getattr(kind, "message", "") in message


def test_every_end_is_an_error_of_ours() -> None:
    assert all(getattr(ours, end.__name__) is end for end in ENDS)


def test_what_is_too_large_is_named_with_what_mends_it_for_workers_and_commands() -> None:
    said = str(words_for(Connection("h:1"), client.MessageSizeTooLargeError(), topic="commerce.payments"))
    assert "refused records for commerce.payments as too large" in said
    assert "--entity-name commerce.payments" in said
    assert said.endswith("then start the worker, or run the command, again")

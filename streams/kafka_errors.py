"""The Kafka client's errors in our words.

Rules upheld here: what may pass by itself is `Retryable`, what an operator must mend is not and says how; where the
client wraps an error in another one, the first cause decides. Not here: what a refusal means (`refused.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    BrokerNotAvailableError,
    ClusterAuthorizationFailedError,
    FetchSessionIdNotFound,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    IncompatibleBrokerVersion,
    InconsistentGroupProtocolError,
    InvalidCommitOffsetSizeError,
    InvalidFetchSessionEpoch,
    InvalidProducerEpoch,
    InvalidRequiredAcksError,
    InvalidSessionTimeoutError,
    InvalidTimestampError,
    InvalidTopicError,
    InvalidTransactionTimeout,
    KafkaConnectionError,
    KafkaError,
    KafkaStorageError,
    KafkaTimeoutError,
    KafkaUnavailableError,
    ListenerNotFound,
    LogDirNotFound,
    MessageSizeTooLargeError,
    NodeNotReadyError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    OffsetMetadataTooLargeError,
    PolicyViolationError,
    ProducerFenced,
    ReassignmentInProgress,
    RecordListTooLargeError,
    ReplicaNotAvailableError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownTopicOrPartitionError,
    UnrecognizedBrokerVersion,
    UnsupportedCodecError,
    UnsupportedForMessageFormatError,
    UnsupportedSaslMechanismError,
    UnsupportedVersionError,
)

from jurat.schemas.errors import (
    BrokerRefused,
    BrokerUnreachable,
    PartitionFenced,
    RecordTooLarge,
    StreamError,
    TopicMissing,
)
from jurat.streams import refused
from jurat.streams.connection import Connection
from jurat.streams.refused import Operation, Resource

SETTINGS: Final[dict[type[KafkaError], str]] = {
    OffsetMetadataTooLargeError: "expected offset.metadata.max.bytes of the brokers at 4096, Kafka's default, or more",
    InvalidCommitOffsetSizeError: "expected offset.metadata.max.bytes of the brokers at 4096, Kafka's default, or more",
    InvalidTransactionTimeout: "expected transaction.max.timeout.ms of the brokers at 15000 or more",
    InvalidSessionTimeoutError: "expected group.min.session.timeout.ms of the brokers at 6000 or less, and"
    " group.max.session.timeout.ms at 6000 or more",
    InvalidTimestampError: "compare this machine's clock with the broker's; or the topic's message.timestamp settings"
    " are too narrow",
    PolicyViolationError: "a policy of the brokers (create.topic.policy.class.name, alter.config.policy.class.name)"
    " forbids it; ask who runs them",
    InvalidTopicError: "Kafka takes no topic of this name; look at JURAT_NAMESPACE: letters, digits, '.', '_', '-'",
    InconsistentGroupProtocolError: "the worker's group has a member that is no worker of jurat; stop it",
    InvalidRequiredAcksError: "the brokers are older than what jurat's client speaks",
    UnsupportedVersionError: "the brokers are older than what jurat's client speaks",
    UnsupportedForMessageFormatError: "the topic has a message format from before Kafka 0.11, without transactions",
    IncompatibleBrokerVersion: "the brokers are older than what jurat's client speaks",
    UnrecognizedBrokerVersion: "the brokers are older than what jurat's client speaks",
    UnsupportedCodecError: "a record is compressed by what this client was not installed with; `pip install"
    " 'aiokafka[all]'`",
}
"""What stays refused until somebody mends a setting, and which one."""

PASSING: Final[dict[type[KafkaError], str]] = {
    NotEnoughReplicasError: "fewer replicas are in sync than min.insync.replicas asks for; start the brokers that are"
    " down",
    NotEnoughReplicasAfterAppendError: "fewer replicas are in sync than min.insync.replicas asks for; start the brokers"
    " that are down",
    KafkaStorageError: "it cannot write to its disk, which is full or broken; look at its log",
    LogDirNotFound: "it cannot write to its disk, which is full or broken; look at its log",
    BrokerNotAvailableError: "a broker is down",
    ReplicaNotAvailableError: "a broker is down",
    ReassignmentInProgress: "partitions are being moved",
    FetchSessionIdNotFound: "it was restarted",
    InvalidFetchSessionEpoch: "it was restarted",
    ListenerNotFound: "a broker is starting",
}
"""What passes by itself, or when a broker is mended, though the client does not always say so."""


@contextmanager
def in_our_words(connection: Connection, *, topic: str | None = None) -> Iterator[None]:
    """Turn the client's errors into ours, with what to do about them.

    Args:
        connection: the cluster.
        topic: what it is about, where the client does not say.
    """
    try:
        yield
    except (KafkaError, TimeoutError) as error:
        raise words_for(connection, error, topic=topic) from error


def words_for(connection: Connection, error: BaseException, *, topic: str | None = None) -> StreamError:
    """The error of ours for one of the client's, or for what made the client raise it."""
    for cause in refused.causes(error):
        refusal = _refusal(connection, cause)
        if refusal is not None:
            return refusal
    if isinstance(error, KafkaConnectionError):
        return refused.connection_error(connection, error)
    if isinstance(error, TimeoutError):
        return refused.unreachable(connection)
    for cause in refused.causes(error):
        named = _named(connection, cause, topic)
        if named is not None:
            return named
    if any(isinstance(cause, KafkaConnectionError) for cause in refused.causes(error)):
        return refused.unreachable(connection)
    *_, first = (cause for cause in refused.causes(error) if cause is error or isinstance(cause, KafkaError))
    return StreamError(f"the broker at {connection.bootstrap_servers} answered with an error: {_said(first)}")


def _named(connection: Connection, error: BaseException, topic: str | None) -> StreamError | None:
    """The error for what has a name of its own; None when it has none."""
    where = connection.bootstrap_servers
    if isinstance(error, KafkaTimeoutError | KafkaUnavailableError | NodeNotReadyError):
        return refused.unreachable(connection)
    if isinstance(error, UnknownTopicOrPartitionError):
        return _missing(connection, _names(error) or _listed(topic))
    if isinstance(error, ProducerFenced | InvalidProducerEpoch):
        return PartitionFenced(
            "another worker took this partition over, or the broker ended a transaction that took too long"
        )
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        return _too_large(connection, error, _names(error) or _listed(topic))
    for kind, setting in SETTINGS.items():
        if isinstance(error, kind):
            return BrokerRefused(
                f"the broker at {where} refused ({_said(error)}): {setting}", error=kind.__name__
            )
    for kind, cause in PASSING.items():
        if isinstance(error, kind):
            return BrokerUnreachable(
                f"the broker at {where} cannot do it now ({_said(error)}): {cause}", bootstrap_servers=where
            )
    if isinstance(error, KafkaError) and error.retriable:
        return BrokerUnreachable(
            f"the broker at {where} asks to be tried again later: {_said(error)}", bootstrap_servers=where
        )
    return None


def _listed(topic: str | None) -> list[str]:
    return [] if topic is None else [topic]


def _missing(connection: Connection, names: list[str]) -> TopicMissing:
    what = (
        f"the topic {', '.join(names)} does not exist" if names else "a topic that is needed does not exist"
    )
    return TopicMissing(
        f"{what} at {connection.bootstrap_servers}; run `jurat topics apply`, or check the namespace. If it was"
        " deleted, what stood on it is lost: restore it first where that matters",
        topics=names,
    )


def _too_large(connection: Connection, error: BaseException, names: list[str]) -> RecordTooLarge:
    topic = ", ".join(names) or "a topic"
    return RecordTooLarge(
        f"the broker at {connection.bootstrap_servers} refused records for {topic} as too large ({_said(error)});"
        f" raise the topic's max.message.bytes (`jurat topics apply` does where it is declared; else `kafka-configs.sh"
        f" --alter --entity-type topics --entity-name {names[0] if names else 'TOPIC'} --delete-config"
        " max.message.bytes`), then start the worker, or run the command, again",
        topics=names,
    )


def _said(error: BaseException) -> str:
    """What the broker said, by Kafka's own name for it, or what the client said."""
    return getattr(error, "message", "") or str(error)


def refusal_in(connection: Connection, error: BaseException) -> StreamError | None:
    """The error of ours for a lack of rights or of a name among the causes of an error; None when there is none."""
    found = (_refusal(connection, cause) for cause in refused.causes(error))
    return next((refusal for refusal in found if refusal is not None), None)


def _refusal(connection: Connection, error: BaseException) -> StreamError | None:
    """The error for a lack of rights or of a name; None when it is something else."""
    if isinstance(error, TopicAuthorizationFailedError):  # of a producer: readers say so themselves
        return refused.not_authorized(connection, Operation.WRITE, Resource.TOPIC, _names(error))
    if isinstance(error, GroupAuthorizationFailedError):
        return refused.not_authorized(connection, Operation.READ, Resource.GROUP, _names(error))
    if isinstance(error, TransactionalIdAuthorizationFailed):
        return refused.not_authorized(connection, Operation.WRITE, Resource.TRANSACTIONAL_ID, _names(error))
    if isinstance(error, ClusterAuthorizationFailedError):
        # Of an idempotent producer: it may write to no topic, and has no IdempotentWrite on the cluster instead.
        return refused.not_authorized(connection, Operation.WRITE, Resource.TOPIC)
    if isinstance(
        error, UnsupportedSaslMechanismError | IllegalSaslStateError | AuthenticationMethodNotSupported
    ):
        return refused.not_authenticated(connection, refused.mechanism(connection, error))
    if isinstance(error, SaslAuthenticationFailed | AuthenticationFailedError):
        return refused.not_authenticated(connection, refused.credentials(connection, str(error)))
    return None


def _names(error: BaseException) -> list[str]:
    """Topics, a group or a transactional id, as the client puts them into an error."""
    found = error.args[0] if error.args else ()
    if isinstance(found, TopicPartition):
        return [found.topic]
    if isinstance(error, UnknownTopicOrPartitionError | MessageSizeTooLargeError | RecordListTooLargeError):
        return []  # a sentence, if anything
    return [found] if isinstance(found, str) else [str(name) for name in found]


@contextmanager
def reading(connection: Connection, *, topics: Collection[str] = ()) -> Iterator[None]:
    """Turn a topic that may not be read into our error: the client's does not say what was wanted of it.

    Args:
        connection: the cluster.
        topics: those whose offsets are committed; the client names none of them. Empty for a consumer.
    """
    try:
        yield
    except KafkaError as error:
        for cause in refused.causes(error):
            if isinstance(cause, TopicAuthorizationFailedError) and not (topics and cause.args):
                names = _names(cause) or topics
                raise refused.not_authorized(connection, Operation.READ, Resource.TOPIC, names) from error
        raise

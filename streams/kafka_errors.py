"""The Kafka client's errors in our words.

Rules upheld here: what may pass by itself is `Retryable`, what an operator must mend is not and says how; where the
client wraps an error in another one, the first cause decides. Not here: what a refusal means (`refused.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import TopicPartition
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
)

from jurat.schemas.errors import (
    BrokerUnreachable,
    PartitionFenced,
    RecordTooLarge,
    StreamError,
    TopicMissing,
)
from jurat.streams import refused
from jurat.streams.connection import Connection
from jurat.streams.refused import Operation, Resource


@contextmanager
def in_our_words(connection: Connection) -> Iterator[None]:
    """Turn the client's errors into ours, with what to do about them."""
    try:
        yield
    except (KafkaError, TimeoutError) as error:
        raise words_for(connection, error) from error


def words_for(connection: Connection, error: BaseException) -> StreamError:
    """The error of ours for one of the client's."""
    for cause in refused.causes(error):
        refusal = _refusal(connection, cause)
        if refusal is not None:
            return refusal
    where = connection.bootstrap_servers
    if isinstance(error, TimeoutError):
        return refused.unreachable(connection)
    if isinstance(error, KafkaConnectionError):
        return refused.connection_error(connection, error)
    if isinstance(error, UnknownTopicOrPartitionError):
        return TopicMissing(f"a topic that is needed does not exist at {where}; run `jurat topics apply`")
    if isinstance(error, ProducerFenced | InvalidProducerEpoch):
        return PartitionFenced("another worker took this partition over")
    if isinstance(error, MessageSizeTooLargeError):
        return RecordTooLarge(f"the broker at {where} refused a record as too large: {error}")
    if isinstance(error, KafkaError) and error.retriable:
        return BrokerUnreachable(
            f"the broker at {where} asks to be tried again later: {error!r}", bootstrap_servers=where
        )
    return StreamError(f"the broker at {where} answered with an error: {error!r}")


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
    if isinstance(error, UnsupportedSaslMechanismError | IllegalSaslStateError):
        return refused.not_authenticated(connection, refused.mechanism(connection, error))
    if isinstance(error, SaslAuthenticationFailed | AuthenticationFailedError):
        return refused.not_authenticated(connection, refused.credentials(connection, str(error)))
    return None


def _names(error: BaseException) -> list[str]:
    """Topics, a group or a transactional id, as the client puts them into an error."""
    found = error.args[0] if error.args else ()
    if isinstance(found, TopicPartition):
        return [found.topic]
    return [found] if isinstance(found, str) else [str(name) for name in found]


@contextmanager
def reading(connection: Connection) -> Iterator[None]:
    """Turn a topic that may not be read into our error: the client's does not say what was wanted of it."""
    try:
        yield
    except TopicAuthorizationFailedError as error:
        raise refused.not_authorized(connection, Operation.READ, Resource.TOPIC, _names(error)) from error

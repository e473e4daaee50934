"""What a broker's refusal means to an operator: which ACL, which certificate, which setting.

Rules upheld here: a message names the resource and the missing ACL, or the variable to look at, and never a secret.
Not here: asking the broker, and the client's own errors (`kafka.py`).

Source: Apache Kafka documentation, "Authorization and ACLs", for operations and what each request needs.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Iterator
from enum import StrEnum

from jurat.schemas.errors import BrokerUnreachable, NotAuthenticated, NotAuthorized, StreamError
from jurat.streams import security as variables
from jurat.streams.connection import Connection
from jurat.streams.security import Mechanism, Protocol

DOCS = "docs/security.md lists those of every role"

_CLOSED = (asyncio.IncompleteReadError, ConnectionResetError, ConnectionAbortedError, ssl.SSLEOFError)
"""How a connection ends that the other side closed, in the middle of TLS or after it."""


class Resource(StrEnum):
    """What an ACL is about; the values are the options of `kafka-acls.sh`."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"
    CLUSTER = "cluster"


class Operation(StrEnum):
    """What an ACL allows; the values are those of `kafka-acls.sh`. Read and Write include Describe."""

    READ = "Read"
    WRITE = "Write"
    CREATE = "Create"
    DESCRIBE = "Describe"
    DESCRIBE_CONFIGS = "DescribeConfigs"
    ALTER_CONFIGS = "AlterConfigs"
    IDEMPOTENT_WRITE = "IdempotentWrite"


def not_authorized(
    connection: Connection, operation: Operation, resource: Resource, names: Iterable[str] = ()
) -> NotAuthorized:
    """The error for an ACL that is missing.

    Args:
        connection: who asked, and whom.
        operation: what was not allowed.
        resource: on what kind of thing.
        names: on which of them; none for the cluster, or when one of that kind would do.
    """
    known = sorted(names)
    security = connection.security
    principal = None if security is None else security.principal
    if resource is Resource.CLUSTER:
        on, option = "cluster", "--cluster"
    else:
        on = f"{resource} {', '.join(known)}" if known else f"any {resource}"
        option = " ".join(f"--{resource} {name}" for name in known or ["NAME"])
    if resource is Resource.TRANSACTIONAL_ID:
        # Ours end with the number of the partition.
        option = f"{option.rstrip('0123456789')} --resource-pattern-type prefixed"
    included = " (Read and Write include it)" if operation is Operation.DESCRIBE else ""
    return NotAuthorized(
        f"got a refusal from the broker at {connection.bootstrap_servers}: {principal or 'this client'} lacks the ACL"
        f" {operation} on {on}{included}; an administrator grants it with `kafka-acls.sh --add --allow-principal"
        f" {principal or 'User:NAME'} --operation {operation} {option}` ({DOCS})",
        operation=operation.value,
        resource=resource.value,
        names=known,
        principal=principal,
    )


def not_authenticated(connection: Connection, why: str) -> NotAuthenticated:
    """The error for a broker that does not take us for who we say we are, or that we do not trust."""
    return NotAuthenticated(
        f"got no authenticated connection to the broker at {connection.bootstrap_servers}: {why}",
        bootstrap_servers=connection.bootstrap_servers,
    )


def credentials(connection: Connection, said: str) -> str:
    """Why a name and its proof were not accepted; `said` is what the broker or the client said."""
    security = connection.security
    if security is None or security.mechanism is None:
        return said
    if security.mechanism is Mechanism.OAUTHBEARER:
        return f"got the token in {variables.TOKEN_FILE}={security.token_file}, expected one that it accepts ({said})"
    return (
        f"got the user {security.username} by {security.mechanism}, expected one that it knows with the password in"
        f" {variables.PASSWORD} or {variables.PASSWORD_FILE} ({said})"
    )


def mechanism(connection: Connection, error: BaseException) -> str:
    """Why SASL did not even begin, or did not end."""
    security = connection.security
    got = None if security is None else security.mechanism
    if got is Mechanism.OAUTHBEARER:
        return f"{credentials(connection, str(error))}; or {_other_protocol(connection)}"
    return (
        f"got {variables.MECHANISM}={got}, expected one that its listener offers ({error}); or"
        f" {_other_protocol(connection)}"
    )


def connection_error(connection: Connection, error: BaseException) -> StreamError:
    """The error for a connection that could not be made, from what its making raised.

    TLS faults, and a listener that speaks something else, are said as what they are; the rest is a broker that does
    not answer.
    """
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return not_authenticated(connection, _distrust(connection, cause))
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, _CLOSED):
            return not_authenticated(connection, _tls_fault(connection, cause))
    for cause in causes(error):
        if isinstance(cause, _CLOSED):
            return BrokerUnreachable(
                f"got no answer from the broker at {connection.bootstrap_servers}, which closed the connection:"
                f" {_other_protocol(connection)}",
                bootstrap_servers=connection.bootstrap_servers,
            )
    return unreachable(connection)


def unreachable(connection: Connection) -> BrokerUnreachable:
    """The error for a broker that does not answer."""
    where = connection.bootstrap_servers
    start = "start one with `jurat broker up`, or " if connection.security is None else ""
    return BrokerUnreachable(
        f"got no answer from a Kafka broker at {where}; {start}check JURAT_BOOTSTRAP_SERVERS",
        bootstrap_servers=where,
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, the latest first."""
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__


def _distrust(connection: Connection, error: ssl.SSLCertVerificationError) -> str:
    security = connection.security
    said = error.verify_message.rstrip(".")
    if "mismatch" in said:
        return (
            f"its certificate is for another host ({said}); connect by a name that the certificate holds"
            " (JURAT_BOOTSTRAP_SERVERS and the broker's advertised.listeners)"
        )
    trusted = "the system's authorities" if security is None or security.ca_file is None else security.ca_file
    return (
        f"its certificate is not trusted ({said}); got {trusted}, expected the authority that signed it in"
        f" {variables.CA_FILE}"
    )


def _tls_fault(connection: Connection, error: ssl.SSLError) -> str:
    security = connection.security
    reason = getattr(error, "reason", None) or type(error).__name__
    if "ALERT" in reason:
        if security is None or security.cert_file is None:
            return (
                f"it ended TLS with {reason}: it wants a client's certificate, expected one in"
                f" {variables.CERT_FILE} and {variables.KEY_FILE}"
            )
        return (
            f"it ended TLS with {reason}: got the certificate in {variables.CERT_FILE}={security.cert_file}, expected"
            " one that is valid and signed by an authority that the broker trusts"
        )
    return f"TLS failed with {reason}; {_other_protocol(connection)}"


def _other_protocol(connection: Connection) -> str:
    got = "PLAINTEXT" if connection.security is None else connection.security.protocol
    return (
        f"got {variables.PROTOCOL}={got}, and its listener probably speaks another protocol (one of"
        f" {', '.join(Protocol)})"
    )

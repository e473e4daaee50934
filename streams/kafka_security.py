"""A connection's security as the Kafka client takes it, and why a broker refused it.

Rules upheld here: a client that was refused says so, with the reason, within the time of one request; the library
only logs it, and calls every refusal "no broker". Not here: what the settings mean (`security.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
)
from aiokafka.protocol.metadata import MetadataRequest

from jurat.schemas.errors import BrokerUnreachable, ConfigurationError, StreamError
from jurat.streams import refused
from jurat.streams.connection import Connection
from jurat.streams.kafka_ending import end_tasks, heard
from jurat.streams.kafka_errors import words_for
from jurat.streams.security import Mechanism, Security

CHECK_TIMEOUT_MS: Final = 5_000
"""A broker that refuses answers at once; one that does not is told as unreachable anyway."""

CUT_OFF_S: Final = 1.0
"""Connecting takes some ten milliseconds, with TLS and SCRAM too."""


class _NoSecrets(logging.Filter):
    """Drops what the client logs of an authentication: it prints whole requests, passwords and tokens among them."""

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        return not any("SaslAuthenticate" in type(argument).__name__ for argument in arguments)


# At import, as nothing may connect before it.
logging.getLogger("aiokafka.conn").addFilter(_NoSecrets())


class _TokenFile(AbstractTokenProvider):  # type: ignore[misc]  # the client ships without types
    """Gives the token that stands in its file at the moment of each authentication."""

    def __init__(self, security: Security) -> None:
        self._security = security

    async def token(self) -> str:
        try:
            return await asyncio.to_thread(self._security.read_token)
        except ConfigurationError as error:
            # As an error of the client's own it fails this connection, and the next one may find the file mended.
            raise AuthenticationFailedError(str(error)) from error


def client_security(connection: Connection) -> dict[str, Any]:
    """The client's own settings for a connection's security; none for plaintext.

    Raises:
        ConfigurationError: a file of certificates or keys cannot be used.
    """
    security = connection.security
    if security is None:
        return {}
    settings: dict[str, Any] = {
        "security_protocol": security.protocol.value,
        "ssl_context": security.ssl_context(),
    }
    if security.mechanism is not None:
        settings["sasl_mechanism"] = security.mechanism.value
    if security.mechanism is Mechanism.OAUTHBEARER:
        settings["sasl_oauth_token_provider"] = _TokenFile(security)
    elif security.mechanism is not None:
        settings["sasl_plain_username"] = security.username
        settings["sasl_plain_password"] = security.password
    return settings


async def start_client(start: Callable[[], Awaitable[None]], connection: Connection) -> None:
    """Start a client; raise why it was refused, which the client only logs."""
    security = connection.security
    if security is not None and security.mechanism is Mechanism.OAUTHBEARER:
        # The client takes a token that was refused for accepted, and then waits for ever.
        await _check(connection)
    try:
        await _cut_off_late(start)
    except KafkaConnectionError:
        await _check(connection)
        raise


async def _cut_off_late(start: Callable[[], Awaitable[None]]) -> None:
    """Await a client's start; when cancelled, give it a moment: one cut off leaves its first connection open."""
    starting = asyncio.ensure_future(start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Nobody hears of what it raises now.
        starting.add_done_callback(heard)
        try:
            await asyncio.wait([starting], timeout=CUT_OFF_S)
        finally:  # cancelled again too: it must not go on when the client is stopped
            await end_tasks([starting])
        raise


async def _check(connection: Connection) -> None:
    """Connect as the clients do, and raise why it fails at every address."""
    failures: list[StreamError] = []
    for host, port, _family in collect_hosts(connection.bootstrap_servers):
        try:
            await _connect(connection, host, port)
        except (KafkaError, OSError, EOFError) as error:
            words = words_for(connection, error) if isinstance(error, KafkaError) else None
            failures.append(words or refused.connection_error(connection, error))
            failures[-1].__cause__ = error
        else:
            return
    # A broker that refuses says more than one that is away.
    raise next((one for one in failures if not isinstance(one, BrokerUnreachable)), failures[0])


async def _connect(connection: Connection, host: str, port: int) -> None:
    link = await create_conn(host, port, request_timeout_ms=CHECK_TIMEOUT_MS, **client_security(connection))
    try:
        answer = await link.send(MetadataRequest([]))
    finally:
        link.close()
    if not answer.brokers:
        # What a broker answers that waits for the rest of an authentication.
        raise SaslAuthenticationFailed("the token was refused")

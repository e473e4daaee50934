"""Settings: which cluster, which namespace, where keys live; flags win over the environment.

==============================  ====================================================================
variable                        meaning
==============================  ====================================================================
`JURAT_BOOTSTRAP_SERVERS`       Kafka; without it, the local broker that is up
`JURAT_SECURITY_PROTOCOL`       `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`, as Kafka calls them
`JURAT_SASL_MECHANISM`          `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`
`JURAT_SASL_USERNAME`           for PLAIN and SCRAM
`JURAT_SASL_PASSWORD`           for PLAIN and SCRAM; or `JURAT_SASL_PASSWORD_FILE`
`JURAT_SASL_TOKEN_FILE`         for OAUTHBEARER; read anew at every authentication
`JURAT_SSL_CA_FILE`             authorities of the brokers' certificates; without it, the system's
`JURAT_SSL_CERT_FILE`           the client's own certificate
`JURAT_SSL_KEY_FILE`            its private key; without it, in the certificate's file
`JURAT_SSL_KEY_PASSWORD`        of an encrypted private key
`JURAT_NAMESPACE`               prefix of every topic, group and transactional id
`JURAT_KEYS_DIR`                folder with signing keys and `trust.json`
`JURAT_KEYS_PASSPHRASE`         passphrase of the private keys
`JURAT_SUBJECT_KEYS`            file with the master key of data subjects; with it, records are veiled
`JURAT_TRUST_ROOT`              the root statement that is trusted; a worker then signs under a credential
`JURAT_SCHEMA_REGISTRY_URL`     Schema Registry; values are then in the Confluent wire format
`JURAT_METRICS_PORT`            where a worker serves its health and metrics; without it, nowhere
`JURAT_METRICS_HOST`            the address that it listens on; without it, the loopback interface
`JURAT_LOG_FORMAT`              how a worker's log lines look: `text` or `json`
`JURAT_LOG_LEVEL`               how much a worker logs: `debug`, `info`, `warning`, `error`
`OPENAI_BASE_URL`               the model server of `--reasoner openai`, up to and with `/v1`
`OPENAI_API_KEY`                what it knows us by
`JURAT_MODEL`                   models to ask, the best first; `heuristic` may be the last
`JURAT_MODEL_PRICES`            what their tokens cost, for the records
`JURAT_MODEL_LIMITS`            what calls of them may take, in a minute and a day
`JURAT_STATE_DIR`               where the local broker and the context stream keep their notes
`JURAT_CACHE_DIR`               where Kafka's jars are kept
==============================  ====================================================================
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import platformdirs

from jurat.audit.subject_file import load_master
from jurat.audit.subject_keys import MasterKey
from jurat.audit.trust_file import read_root
from jurat.schemas.errors import ConfigurationError
from jurat.streams import security
from jurat.streams.logs import LogFormat, LogLevel

if TYPE_CHECKING:
    from jurat.streams.kafka import Connection
    from jurat.streams.schema_registry import SchemaRegistry

BOOTSTRAP_SERVERS: Final = "JURAT_BOOTSTRAP_SERVERS"
NAMESPACE: Final = "JURAT_NAMESPACE"
KEYS_DIR: Final = "JURAT_KEYS_DIR"
KEYS_PASSPHRASE: Final = "JURAT_KEYS_PASSPHRASE"
SUBJECT_KEYS: Final = "JURAT_SUBJECT_KEYS"
TRUST_ROOT: Final = "JURAT_TRUST_ROOT"
SCHEMA_REGISTRY_URL: Final = "JURAT_SCHEMA_REGISTRY_URL"
METRICS_PORT: Final = "JURAT_METRICS_PORT"
METRICS_HOST: Final = "JURAT_METRICS_HOST"
LOG_FORMAT: Final = "JURAT_LOG_FORMAT"
LOG_LEVEL: Final = "JURAT_LOG_LEVEL"

LOOPBACK: Final = "127.0.0.1"
"""Where health and metrics are served unless something else is said: to this machine alone."""

MAX_NAMESPACE_CHARS: Final = 128
"""Leaves room for the longest topic and agent name in what is bounded to 200: topic names in records, chain names."""

_NAMESPACE = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,3}")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")


def connection(*, bootstrap_servers: str | None = None, namespace: str | None = None) -> Connection:
    """How to reach Kafka: what is given, else the environment, else the local broker that is up.

    Raises:
        ConfigurationError: nothing says where Kafka is, what is said is malformed, or its security is not whole.
    """
    protected = security.security_from(os.environ)
    servers = bootstrap_servers or os.environ.get(BOOTSTRAP_SERVERS)
    if not servers and protected is not None:
        raise ConfigurationError(
            f"got {security.PROTOCOL}={protected.protocol} and no Kafka, expected one in --bootstrap-servers or"
            f" {BOOTSTRAP_SERVERS}: the local broker has neither TLS nor SASL"
        )
    servers = servers or _local_broker()
    for server in servers.split(","):
        named = _SERVER.fullmatch(server.strip())
        if named is None or not 0 < int(named["port"]) < 65_536:
            raise ConfigurationError(
                f"got the bootstrap server {server!r}, expected host:port such as 127.0.0.1:9092"
                f" (--bootstrap-servers or {BOOTSTRAP_SERVERS})"
            )
    from jurat.streams.kafka import Connection  # noqa: PLC0415 - Kafka, which files do not need

    return Connection(servers, namespace_of(namespace), protected)


def namespace_of(given: str | None = None) -> str:
    """The namespace: what is given, else the environment's, else none.

    Raises:
        ConfigurationError: it is malformed.
    """
    chosen = given if given is not None else os.environ.get(NAMESPACE, "")
    if chosen and (len(chosen) > MAX_NAMESPACE_CHARS or not _NAMESPACE.fullmatch(chosen)):
        raise ConfigurationError(
            f"got the namespace {chosen!r}, expected letters, digits, - and _, in at most four parts joined by dots,"
            f" {MAX_NAMESPACE_CHARS} characters in all"
        )
    return chosen


def keys_dir(given: Path | None = None) -> Path:
    """The folder with signing keys: what is given, else the environment, else the user's configuration folder."""
    from_environment = os.environ.get(KEYS_DIR)
    if given is not None:
        return given
    return Path(from_environment) if from_environment else default_keys_dir()


def default_keys_dir() -> Path:
    """Where keys live when nothing else is said."""
    return Path(platformdirs.user_config_dir("jurat")) / "keys"


def keys_passphrase() -> bytes | None:
    """The passphrase of the private keys; None when they are not encrypted."""
    text = os.environ.get(KEYS_PASSPHRASE)
    return os.fsencode(text) if text else None  # the bytes that were given, UTF-8 or not


def subject_keys_file() -> Path | None:
    """Where the master key of data subjects stands; None where records are not veiled."""
    named = os.environ.get(SUBJECT_KEYS)
    return Path(named) if named else None


def subject_keys() -> MasterKey | None:
    """The master key of data subjects; None where records are not veiled.

    Raises:
        KeyNotFound: there is no such file.
        KeyRejected: others can read it, or it holds something else.
        ConfigurationError: it cannot be read.
    """
    path = subject_keys_file()
    return None if path is None else load_master(path)


def trust_root(given: Path | None = None) -> bytes | None:
    """The root statement that is trusted: of the file that is given, else of the environment's; None where none is.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    named = trust_root_file(given)
    return None if named is None else read_root(named)


def trust_root_file(given: Path | None = None) -> Path | None:
    """Where the trusted root statement stands; None where none is named."""
    named = given or os.environ.get(TRUST_ROOT)
    return Path(named) if named else None


def schema_registry() -> SchemaRegistry | None:
    """The configured Schema Registry, None when there is none."""
    url = os.environ.get(SCHEMA_REGISTRY_URL)
    if not url:
        return None
    from jurat.streams.schema_registry import SchemaRegistry  # noqa: PLC0415 - half a second that most need not pay

    return SchemaRegistry(url)


def metrics_address(*, port: int | None = None, host: str | None = None) -> tuple[str, int] | None:
    """Where a worker serves its health and metrics: what is given, else the environment; None for nowhere.

    Raises:
        ConfigurationError: what is named is no port.
    """
    text = os.environ.get(METRICS_PORT, "") if port is None else str(port)
    chosen_host = host or os.environ.get(METRICS_HOST)
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or int(text) > 65_535:
        raise ConfigurationError(
            f"got the port {text!r} for metrics, expected a number up to 65535, or 0 for one that is free"
            f" (--metrics-port or {METRICS_PORT})"
        )
    return chosen_host or LOOPBACK, int(text)


def log_format(given: str | None = None) -> LogFormat:
    """How a worker's log lines look: what is given, else the environment, else text.

    Raises:
        ConfigurationError: there is no such format.
    """
    text = given or os.environ.get(LOG_FORMAT) or LogFormat.TEXT.value
    if text not in list(LogFormat):
        raise ConfigurationError(
            f"got the log format {text!r}, expected {' or '.join(LogFormat)} (--log-format or {LOG_FORMAT})"
        )
    return LogFormat(text)


def log_level(given: str | None = None) -> LogLevel | None:
    """How much a worker logs: what is given, else the environment; None leaves it to `jurat -v`.

    Raises:
        ConfigurationError: there is no such level.
    """
    text = given or os.environ.get(LOG_LEVEL)
    if not text:
        return None
    if text not in list(LogLevel):
        raise ConfigurationError(
            f"got the log level {text!r}, expected one of {', '.join(LogLevel)} (--log-level or {LOG_LEVEL})"
        )
    return LogLevel(text)


def _local_broker() -> str:
    from jurat.streams.local_broker import find_running  # noqa: PLC0415 - only where no address is given

    running = find_running()
    if running is None:
        raise ConfigurationError(
            "no Kafka is known: start one with `jurat broker up`, or name yours with --bootstrap-servers or"
            f" {BOOTSTRAP_SERVERS}"
        )
    return running.bootstrap_servers

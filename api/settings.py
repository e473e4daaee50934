"""Settings: which cluster, which namespace, where keys live; flags win over the environment.

==============================  ====================================================================
variable                        meaning
==============================  ====================================================================
`JURAT_BOOTSTRAP_SERVERS`       Kafka; without it, the local broker that is up
`JURAT_NAMESPACE`               prefix of every topic, group and transactional id
`JURAT_KEYS_DIR`                folder with signing keys and `trust.json`
`JURAT_KEYS_PASSPHRASE`         passphrase of the private keys
`JURAT_SCHEMA_REGISTRY_URL`     Schema Registry; values are then in the Confluent wire format
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

from jurat.schemas.errors import ConfigurationError
from jurat.streams.kafka import Connection

if TYPE_CHECKING:
    from jurat.streams.schema_registry import SchemaRegistry

BOOTSTRAP_SERVERS: Final = "JURAT_BOOTSTRAP_SERVERS"
NAMESPACE: Final = "JURAT_NAMESPACE"
KEYS_DIR: Final = "JURAT_KEYS_DIR"
KEYS_PASSPHRASE: Final = "JURAT_KEYS_PASSPHRASE"
SCHEMA_REGISTRY_URL: Final = "JURAT_SCHEMA_REGISTRY_URL"

MAX_NAMESPACE_CHARS: Final = 128
"""Leaves room for the longest topic and agent name in what is bounded to 200: topic names in records, chain names."""

_NAMESPACE = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,3}")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")


def connection(*, bootstrap_servers: str | None = None, namespace: str | None = None) -> Connection:
    """How to reach Kafka: what is given, else the environment, else the local broker that is up.

    Raises:
        ConfigurationError: nothing says where Kafka is, or what is said is malformed.
    """
    servers = bootstrap_servers or os.environ.get(BOOTSTRAP_SERVERS) or _local_broker()
    for server in servers.split(","):
        named = _SERVER.fullmatch(server.strip())
        if named is None or not 0 < int(named["port"]) < 65_536:
            raise ConfigurationError(
                f"got the bootstrap server {server!r}, expected host:port such as 127.0.0.1:9092"
                f" (--bootstrap-servers or {BOOTSTRAP_SERVERS})"
            )
    chosen = namespace if namespace is not None else os.environ.get(NAMESPACE, "")
    if chosen and (len(chosen) > MAX_NAMESPACE_CHARS or not _NAMESPACE.fullmatch(chosen)):
        raise ConfigurationError(
            f"got the namespace {chosen!r}, expected letters, digits, - and _, in at most four parts joined by dots,"
            f" {MAX_NAMESPACE_CHARS} characters in all"
        )
    return Connection(servers, chosen)


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


def schema_registry() -> SchemaRegistry | None:
    """The configured Schema Registry, None when there is none."""
    url = os.environ.get(SCHEMA_REGISTRY_URL)
    if not url:
        return None
    from jurat.streams.schema_registry import SchemaRegistry  # noqa: PLC0415 - half a second that most need not pay

    return SchemaRegistry(url)


def _local_broker() -> str:
    from jurat.streams.local_broker import find_running  # noqa: PLC0415 - only where no address is given

    running = find_running()
    if running is None:
        raise ConfigurationError(
            "no Kafka is known: start one with `jurat broker up`, or name yours with --bootstrap-servers or"
            f" {BOOTSTRAP_SERVERS}"
        )
    return running.bootstrap_servers

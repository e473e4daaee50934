"""Settings: what is given wins over the environment, which wins over the local broker; nonsense is refused by name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from jurat import settings
from jurat.schemas.errors import ConfigurationError
from jurat.streams import local_broker

VARIABLES = (
    settings.BOOTSTRAP_SERVERS,
    settings.NAMESPACE,
    settings.KEYS_DIR,
    settings.KEYS_PASSPHRASE,
    settings.SCHEMA_REGISTRY_URL,
)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable set, no broker up."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(local_broker, "find_running", lambda: None)


def test_flag_then_environment_then_local_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="jurat broker up"):
        settings.connection()
    monkeypatch.setattr(
        local_broker, "find_running", lambda: SimpleNamespace(bootstrap_servers="127.0.0.1:1")
    )
    assert settings.connection().bootstrap_servers == "127.0.0.1:1"
    monkeypatch.setenv(settings.BOOTSTRAP_SERVERS, "env:2")
    assert settings.connection().bootstrap_servers == "env:2"
    assert settings.connection(bootstrap_servers="flag:3").bootstrap_servers == "flag:3"


def test_the_local_broker_is_not_looked_for_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked() -> None:
        raise AssertionError("looked for the local broker")

    monkeypatch.setattr(local_broker, "find_running", looked)
    assert settings.connection(bootstrap_servers="flag:3").bootstrap_servers == "flag:3"


def test_a_namespace_comes_from_flag_or_environment_and_may_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.connection(bootstrap_servers="h:1").namespace == ""
    monkeypatch.setenv(settings.NAMESPACE, "env")
    assert settings.connection(bootstrap_servers="h:1").namespace == "env"
    assert settings.connection(bootstrap_servers="h:1", namespace="flag").namespace == "flag"
    assert settings.connection(bootstrap_servers="h:1", namespace="").namespace == ""


@pytest.mark.parametrize(
    "servers", ["a:1", "127.0.0.1:9092", "[::1]:9092", "a.b-c:1,d:65535", "a:1, b:2", "kafka_1:9092"]
)
def test_addresses_that_are_taken(servers: str) -> None:
    assert settings.connection(bootstrap_servers=servers).bootstrap_servers == servers


@pytest.mark.parametrize(
    "servers",
    [
        "a",
        "a:",
        ":1",
        "a:b",
        "a:1,",
        "a:1;b:2",
        "http://a:1",
        "a:123456",
        "a:65536",
        "a:0",
        "a b:1",
        "::1:9092",
    ],
)
def test_malformed_addresses_are_refused(servers: str) -> None:
    with pytest.raises(ConfigurationError, match="host:port"):
        settings.connection(bootstrap_servers=servers)


@pytest.mark.parametrize("namespace", ["a", "tenant-1", "A_b", "a.b.c.d", "x" * 64])
def test_namespaces_that_are_taken(namespace: str) -> None:
    assert settings.connection(bootstrap_servers="h:1", namespace=namespace).namespace == namespace


@pytest.mark.parametrize(
    "namespace",
    [".", "a.", ".a", "a..b", "a.b.c.d.e", "a b", "\u00e9", "a/b", "x" * 65, "a\n", ".".join(["x" * 64] * 4)],
)
def test_malformed_namespaces_are_refused(namespace: str) -> None:
    with pytest.raises(ConfigurationError, match="namespace"):
        settings.connection(bootstrap_servers="h:1", namespace=namespace)


def test_keys_come_from_flag_then_environment_then_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.keys_dir() == settings.default_keys_dir()
    monkeypatch.setenv(settings.KEYS_DIR, "env-keys")
    assert settings.keys_dir() == Path("env-keys")
    assert settings.keys_dir(Path("flag-keys")) == Path("flag-keys")


def test_an_empty_passphrase_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.keys_passphrase() is None
    monkeypatch.setenv(settings.KEYS_PASSPHRASE, "")
    assert settings.keys_passphrase() is None
    monkeypatch.setenv(settings.KEYS_PASSPHRASE, "p\u00e4ss")
    assert settings.keys_passphrase() == "p\u00e4ss".encode()


def test_a_schema_registry_is_one_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.schema_registry() is None
    monkeypatch.setenv(settings.SCHEMA_REGISTRY_URL, "http://127.0.0.1:8081/")
    registry = settings.schema_registry()
    assert registry is not None
    registry.close()


@pytest.mark.parametrize("url", ["registry:8081", "ftp://x", "http://", "http://[::1", "http://h:port"])
def test_a_malformed_schema_registry_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(settings.SCHEMA_REGISTRY_URL, url)
    with pytest.raises(ConfigurationError, match="Schema Registry"):
        settings.schema_registry()

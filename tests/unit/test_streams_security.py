"""Security settings: whole or refused, by name; files that hold what they should; what docs/security.md says."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import pytest

from jurat import settings
from jurat.agents.catalogue import AGENTS
from jurat.schemas.errors import BrokerUnreachable, ConfigurationError, NotAuthenticated
from jurat.streams import refused, security, topics
from jurat.streams.connection import Connection
from jurat.streams.refused import Operation, Resource
from jurat.streams.security import Mechanism, Protocol, Security, security_from
from tests.secure_broker import Authority
from tests.tree import ROOT

DOCUMENT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
SCRAM = {
    "JURAT_SECURITY_PROTOCOL": "SASL_SSL",
    "JURAT_SASL_MECHANISM": "SCRAM-SHA-512",
    "JURAT_SASL_USERNAME": "router",
    "JURAT_SASL_PASSWORD": "secret-1",
}
TOKEN = {
    "JURAT_SECURITY_PROTOCOL": "SASL_SSL",
    "JURAT_SASL_MECHANISM": "OAUTHBEARER",
    "JURAT_SASL_TOKEN_FILE": "token",
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def test_nothing_and_plaintext_ask_for_nothing() -> None:
    assert security_from({"JURAT_NAMESPACE": "x"}) is None
    assert security_from({"JURAT_SECURITY_PROTOCOL": "", "JURAT_SASL_PASSWORD": ""}) is None
    assert security_from({"JURAT_SECURITY_PROTOCOL": "PLAINTEXT"}) is None


def test_what_is_whole_is_taken(tmp_path: Path) -> None:
    found = security_from(SCRAM)
    assert found == Security(
        protocol=Protocol.SASL_SSL, mechanism=Mechanism.SCRAM_SHA_512, username="router", password="secret-1"
    )
    assert found is not None
    assert found.principal == "User:router"
    taken = security_from(TOKEN)
    assert taken is not None
    assert taken.principal is None
    file = tmp_path / "password"
    for content, password in (("p\n", "p"), ("p\r\n", "p"), (" p ", " p "), ("p\n\n", "p\n")):
        file.write_text(content, newline="")
        read = security_from({**SCRAM, "JURAT_SASL_PASSWORD": "", "JURAT_SASL_PASSWORD_FILE": str(file)})
        assert read is not None
        assert read.password == password


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (SCRAM | {"JURAT_SECURITY_PROTOCOL": ""}, "without JURAT_SECURITY_PROTOCOL"),
        (
            SCRAM | {"JURAT_SECURITY_PROTOCOL": "sasl_ssl"},
            "got JURAT_SECURITY_PROTOCOL='sasl_ssl', expected one",
        ),
        (SCRAM | {"JURAT_SECURITY_PROTOCOL": "SSL"}, "JURAT_SASL_MECHANISM and JURAT_SASL_USERNAME and"),
        (SCRAM | {"JURAT_SECURITY_PROTOCOL": "PLAINTEXT"}, "which has no SASL"),
        (SCRAM | {"JURAT_SASL_MECHANISM": ""}, "without JURAT_SASL_MECHANISM, expected one of PLAIN"),
        (SCRAM | {"JURAT_SASL_MECHANISM": "GSSAPI"}, "got JURAT_SASL_MECHANISM='GSSAPI', expected one of"),
        (SCRAM | {"JURAT_SASL_USERNAME": ""}, "without JURAT_SASL_USERNAME"),
        (SCRAM | {"JURAT_SASL_PASSWORD": ""}, "JURAT_SASL_PASSWORD_FILE"),
        (SCRAM | {"JURAT_SASL_PASSWORD_FILE": "f"}, "expected one of them"),
        (SCRAM | {"JURAT_SASL_TOKEN_FILE": "f"}, "got JURAT_SASL_TOKEN_FILE with"),
        (SCRAM | {"JURAT_SSL_KEY_FILE": "f"}, "no JURAT_SSL_CERT_FILE"),
        (SCRAM | {"JURAT_SSL_KEY_PASSWORD": "f"}, "no JURAT_SSL_CERT_FILE"),
        (SCRAM | {"JURAT_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "JURAT_SSL_CA_FILE": "f"}, "which has no TLS"),
        (TOKEN | {"JURAT_SASL_USERNAME": "u"}, "got JURAT_SASL_USERNAME with"),
        (TOKEN | {"JURAT_SASL_TOKEN_FILE": ""}, "without JURAT_SASL_TOKEN_FILE"),
        ({"JURAT_SECURITY_PROTOCOL": "PLAINTEXT", "JURAT_SSL_CA_FILE": "f"}, "which has no TLS"),
    ],
)
def test_what_is_not_whole_is_refused(changed: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)) as error:
        security_from(changed)
    assert "secret-1" not in str(error.value)


def test_secrets_are_not_printed() -> None:
    found = security_from(SCRAM | {"JURAT_SSL_CERT_FILE": "f", "JURAT_SSL_KEY_PASSWORD": "secret-2"})
    printed = repr(Connection("h:1", security=found)) + str(found)
    assert "router" in printed
    assert "secret" not in printed


def test_the_environment_gives_a_connection_its_security(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SCRAM.items():
        monkeypatch.setenv(name, value)
    found = settings.connection(bootstrap_servers="h:1").security
    assert found is not None
    assert found.username == "router"
    monkeypatch.delenv(settings.BOOTSTRAP_SERVERS, raising=False)
    with pytest.raises(ConfigurationError, match="the local broker has neither TLS nor SASL"):
        settings.connection()


def test_a_context_always_checks_certificate_and_host(authority: Authority) -> None:
    for ca_file in (None, authority.file):
        context = Security(protocol=Protocol.SSL, ca_file=ca_file).ssl_context()
        assert context is not None
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    context = Security(protocol=Protocol.SSL, ca_file=authority.file).ssl_context()
    assert context is not None
    assert len(context.get_ca_certs()) == 1  # and not the system's beside it


def test_files_that_do_not_hold_what_they_should(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("client", password=b"right")
    other, _ = authority.issue("other")
    empty, missing, folder = tmp_path / "empty", tmp_path / "missing", tmp_path
    empty.write_bytes(b"")
    tls = Protocol.SSL
    for wrong, message in (
        (Security(protocol=tls, ca_file=missing), "JURAT_SSL_CA_FILE=.*No such file"),
        (Security(protocol=tls, ca_file=empty), "JURAT_SSL_CA_FILE=.*certificates in PEM form"),
        (Security(protocol=tls, ca_file=folder), "JURAT_SSL_CA_FILE=.*can be read"),
        (Security(protocol=tls, cert_file=missing), "JURAT_SSL_CERT_FILE=.*No such file"),
        (Security(protocol=tls, cert_file=certificate, key_file=missing), "JURAT_SSL_KEY_FILE=.*No such"),
        (Security(protocol=tls, cert_file=certificate), "JURAT_SSL_CERT_FILE=.*the key that belongs"),
        (Security(protocol=tls, cert_file=certificate, key_file=key), "expected its password in JURAT_SSL"),
        (
            Security(protocol=tls, cert_file=certificate, key_file=key, key_password="wrong"),
            "encrypted with JURAT_SSL_KEY_PASSWORD",
        ),
        (
            Security(protocol=tls, cert_file=other, key_file=key, key_password="right"),
            "the key that belongs to it",
        ),
    ):
        with pytest.raises(ConfigurationError, match=message):
            wrong.ssl_context()
    right = Security(protocol=tls, cert_file=certificate, key_file=key, key_password="right")
    assert right.ssl_context() is not None


def test_a_token_is_one_word(tmp_path: Path) -> None:
    file = tmp_path / "token"
    whole = Security(protocol=Protocol.SASL_SSL, mechanism=Mechanism.OAUTHBEARER, token_file=file)
    file.write_text("a.b.c\n")
    assert whole.read_token() == "a.b.c"
    for content in ("", "\n", "a b", "a\nb", "\u00e9"):
        file.write_text(content)
        with pytest.raises(ConfigurationError, match="one token there"):
            whole.read_token()


def test_a_refusal_ends_with_the_command_that_mends_it() -> None:
    connection = Connection("h:1", security=security_from(SCRAM))
    topic = refused.not_authorized(connection, Operation.WRITE, Resource.TOPIC, {"b", "a"})
    assert "`kafka-acls.sh --add --allow-principal User:router --operation Write --topic a --topic b`" in str(
        topic
    )
    assert topic.details["principal"] == "User:router"
    transaction = refused.not_authorized(connection, Operation.WRITE, Resource.TRANSACTIONAL_ID, ["x-t-12"])
    assert "--transactional-id x-t- --resource-pattern-type prefixed`" in str(transaction)
    unnamed = refused.not_authorized(Connection("h:1"), Operation.IDEMPOTENT_WRITE, Resource.CLUSTER)
    assert "User:NAME --operation IdempotentWrite --cluster`" in str(unnamed)


def test_a_connection_that_fails_says_why() -> None:
    connection = Connection("h:1", security=security_from(SCRAM))
    reset = refused.connection_error(connection, ConnectionResetError())
    assert isinstance(reset, BrokerUnreachable)
    assert "got JURAT_SECURITY_PROTOCOL=SASL_SSL" in str(reset)
    assert "jurat broker up" in str(refused.connection_error(Connection("h:1"), ConnectionRefusedError()))
    outer = OSError()
    outer.__cause__ = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    assert isinstance(refused.connection_error(connection, outer), NotAuthenticated)


def test_the_document_lists_every_variable() -> None:
    assert set(re.findall(r"JURAT_S[AES]\w+", DOCUMENT)) == set(security.VARIABLES)
    assert set(security.VARIABLES) <= set(re.findall(r"JURAT_\w+", settings.__doc__ or "")) | {
        security.PASSWORD_FILE
    }


def test_the_document_lists_what_each_agent_reads() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| `([\w.-]+)` \| (`[^|]*|none) \|$", DOCUMENT, re.MULTILINE)
    told = {agent: (topic, set(re.findall(r"`(.*?)`", views))) for agent, topic, views in rows}
    assert told == {
        name: (agent.topic, {topic for view in agent.views for topic in view.topics})
        for name, agent in AGENTS.items()
    }


def test_the_document_grants_a_worker_its_topics() -> None:
    """What a worker writes, and what it reads, and nothing else; that this is enough is an integration test."""
    agent = AGENTS["fulfilment-router"]
    granted: dict[str, set[str]] = {"Read": set(), "Write": set()}
    for command in re.findall(r"^kafka-acls\.sh .*?(?<!\\)$", DOCUMENT, re.MULTILINE | re.DOTALL):
        if "User:router" in command:
            for operation in re.findall(r"--operation (\w+)", command):
                granted[operation] |= set(re.findall(r"--topic (\S+)", command))
    own = {topic.name for topic in topics.of_agent(agent.name)}
    assert granted["Write"] == own | {topics.TRUST.name}
    read = {
        topic.name
        for topic in (
            topics.POLICIES,
            topics.TRUST,
            topics.state(agent.name),
            topics.timers(agent.name),
            topics.journal(agent.name),
        )
    }
    assert granted["Read"] == read | {agent.topic} | {topic for view in agent.views for topic in view.topics}

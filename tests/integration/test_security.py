"""Every role with a user of its own, on a Kafka with TLS where nothing is allowed but what docs/security.md lists."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import ResourceType

from jurat.agents.catalogue import AGENTS
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.reasoner import Reasoner
from jurat.running import run_agent
from jurat.schemas.commerce import OrderPlaced
from jurat.schemas.errors import BrokerUnreachable, NotAuthenticated, NotAuthorized
from jurat.streams import approval_desk, topics
from jurat.streams.kafka import Connection, admin_client, idempotent_producer, in_our_words, stop_quietly
from jurat.streams.publisher import Publisher
from jurat.streams.reading import replay
from jurat.streams.security import Mechanism, Protocol, Security, security_from
from jurat.streams.topic_admin import diff_topics, ensure_topics
from tests.command import new_shell
from tests.examples import ANSWER, EUR, HOME, ITEM, WHEN
from tests.secure_broker import PASSWORD, Authority, secure_kafka, unsecured_token
from tests.secure_company import Company, Member
from tests.tree import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

AGENT = "fulfilment-router"
ACLS = re.findall(
    r"^kafka-acls\.sh .*?(?<!\\)$",
    (ROOT / "docs" / "security.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
USERS = sorted(set(re.findall(r"User:(\w+)", "\n".join(ACLS))))
BOUND_S = 20.0
"""A refusal that takes longer than this is a worker that hangs."""


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """Everybody has the ACLs that the document lists, and the administrator has made the topics."""
    keys = tmp_path_factory.mktemp("keys")
    new_shell("unused:1", "", keys)
    with secure_kafka(tmp_path_factory.mktemp("secure-kafka")) as kafka:
        kafka.add_users(*USERS)
        for command in ACLS:
            kafka.run_acls(command)
        company = Company(kafka, keys)
        company.member("topics").run("topics", "apply")
        yield company


def order(number: int) -> OrderPlaced:
    return OrderPlaced(
        order_id=f"o-{number}",
        customer_id=f"c-{number}",
        items=(ITEM,),
        total=EUR,
        ship_to=HOME,
        payment_method_id="card-1",
    )


def json_lines(numbers: Iterable[int]) -> bytes:
    return b"".join(order(number).model_dump_json().encode() + b"\n" for number in numbers)


PUBLISH = ("publish", "commerce.orders", "--type", "OrderPlaced")
FOLLOW = ("subscribe", f"decisions.{AGENT}", "--from-beginning", "--until-idle", "200ms", "--format", "jsonl")


def test_every_role_does_its_work_with_its_own_acls_alone(company: Company, tmp_path: Path) -> None:
    company.member("shop").run(*PUBLISH, stdin=json_lines(range(7)))
    asyncio.run(publish_unreadable(company))
    risk = company.member("risk")
    risk.run("keys", "init", "--agent", "policy-publisher", "--purpose", "policies")
    risk.run("policy", "publish", "shop")
    assert b"activated: shop number 1" in risk.run("policy", "activate", "shop").stdout
    company.member("router").run("worker", AGENT, "--until-idle", "200ms")
    assert len(company.member("warehouse").run(*FOLLOW).stdout.splitlines()) == 7
    auditor, log = company.member("auditor"), tmp_path / "log.jsonl"
    auditor.run("audit", "replay", "--format", "jsonl", "--output", str(log))
    assert len(log.read_bytes().splitlines()) == 8
    verified = auditor.run("audit", "verify", "--with-decisions", "--trust", str(company.keys / "trust.json"))
    assert b"decision events checked: 7" in verified.stdout
    notary = company.member("notary")
    notary.run("notary", "init", "--org", "example.com")
    notary.run("notary", "run", "--org", "example.com", "--until-idle", "200ms")
    auditor.run("notary", "history", "--output", str(tmp_path / "history.jsonl"))
    auditor.run("notary", "tiles", "--output", str(tmp_path / "tiles"))
    assert (tmp_path / "history.jsonl").stat().st_size
    assert b"shop: number 1, since" in auditor.run("policy", "active").stdout
    desk = company.member("desk")
    assert len(desk.run("dead-letters", "list", AGENT, "--json").stdout.splitlines()) == 1
    desk.run("dead-letters", "replay", AGENT, "--all")
    company.member("context").run("context", "--until-idle", "500ms")
    assert asyncio.run(_records(Connection(company.kafka.plaintext), "context.customers")) == 7
    asyncio.run(answer_one(company.member("bob")))
    company.member("dora").run("memory", "show", "c-1", "--agent", AGENT)  # what she may write, bob wrote
    assert b"are as declared" in company.member("topics").run("topics", "diff").stdout


async def answer_one(bob: Member) -> None:
    """Whether the answer counts is not the broker's to say; that it may be written is."""
    waiting = (await approval_desk.waiting(bob.connection)).requests
    assert len(waiting) == 7  # the worker may ask
    request = next(iter(waiting.values()))
    answer = ANSWER.model_copy(update={"agent": AGENT, "decision_id": request.decision_id})
    assert (await approval_desk.send(bob.connection, request, answer, at=WHEN)).startswith("dec_")


async def publish_unreadable(company: Company) -> None:
    shop = company.member("shop").connection
    producer = idempotent_producer(shop)
    with in_our_words(shop):
        await producer.start()
        try:
            await producer.send_and_wait("commerce.orders", b"not an event", key=b"c-1")
        finally:
            await stop_quietly(producer)


async def _records(connection: Connection, topic: str) -> int:
    return len([record async for record in replay(connection, [topic])])


@pytest.fixture(autouse=True)
async def connections_end() -> AsyncIterator[None]:
    """The client does not wait for the end of the connection with which it begins; with TLS that takes a moment."""
    yield
    await asyncio.sleep(0.2)


class PaidReasoner(HeuristicReasoner):
    """A reasoner whose calls are journalled, as those of a model are."""

    name = "paid"
    deterministic = False


async def run_router(
    company: Company, *, until_idle_s: float | None, reasoner: Reasoner | None = None
) -> None:
    await run_agent(
        AGENTS[AGENT],
        connection=company.member("router").connection,
        reasoner=reasoner or HeuristicReasoner(),
        keys=company.keys,
        until_idle_s=until_idle_s,
    )


async def publish(company: Company, *numbers: int) -> None:
    async with Publisher(company.member("shop").connection, source=f"/test/{time.time_ns()}") as publisher:
        for number in numbers:
            await publisher.publish(order(number), event_id=str(number))


async def test_credentials_need_the_acls_of_the_document_alone(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who issues publishes; the worker adds its session; the auditor fetches both."""
    issuer, auditor = company.member("issuer"), company.member("auditor")
    issuer.run("keys", "root", "alice", "--org", "acme", "--threshold", "1")
    issuer.run("keys", "issuer", "payments")
    issuer.run("keys", "issue", AGENT, "--owner", "team@acme")
    assert b"trust head  3:" in issuer.run("keys", "publish").stdout
    monkeypatch.setenv("JURAT_TRUST_ROOT", str(company.keys / "root.json"))
    await publish(company, 1)
    await run_router(company, until_idle_s=0.2)
    assert b"trust head  4:" in auditor.run("keys", "fetch").stdout


WORKER_ACLS = [
    ("Read on topic", ResourceType.TOPIC, "commerce.orders"),
    ("Read on topic", ResourceType.TOPIC, "commerce.warehouses"),
    ("Read on topic", ResourceType.TOPIC, "policies"),
    ("Write on topic", ResourceType.TOPIC, f"decisions.{AGENT}"),
    ("Write on topic", ResourceType.TOPIC, "audit.decisions"),
    ("(Read|Write) on topic", ResourceType.TOPIC, f"state.{AGENT}"),
    ("Read on topic", ResourceType.TOPIC, f"timers.{AGENT}"),
    ("Read on group", ResourceType.GROUP, AGENT),
    ("Write on transactional-id", ResourceType.TRANSACTIONAL_ID, f"{AGENT}-"),
]


@pytest.mark.parametrize(("operation", "kind", "name"), WORKER_ACLS, ids=[name for _, _, name in WORKER_ACLS])
async def test_a_worker_that_lacks_one_of_its_acls_ends_and_names_it(
    company: Company, operation: str, kind: ResourceType, name: str
) -> None:
    await publish(company, 1)
    with company.kafka.without(user="router", resource=kind, name=name):
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(NotAuthorized, match=f"User:router lacks the ACL {operation} {name}"):
                await run_router(company, until_idle_s=5.0)


LOST_ACLS = [one for one in WORKER_ACLS if one[2] in ("commerce.orders", "audit.decisions", AGENT)]


@pytest.mark.parametrize(("operation", "kind", "name"), LOST_ACLS, ids=[name for _, _, name in LOST_ACLS])
async def test_a_worker_that_loses_one_of_its_acls_ends_and_names_it(
    company: Company, operation: str, kind: ResourceType, name: str
) -> None:
    plaintext = Connection(company.kafka.plaintext)
    decided = await _records(plaintext, "audit.decisions")
    await publish(company, 1)
    async with asyncio.timeout(2 * BOUND_S):
        working = asyncio.create_task(run_router(company, until_idle_s=None))
        while await _records(plaintext, "audit.decisions") <= decided:
            pass  # reading the topic anew takes its time
        with company.kafka.without(user="router", resource=kind, name=name):
            await publish(company, 2)
            with pytest.raises(NotAuthorized, match=f"User:router lacks the ACL {operation} {name}"):
                await working


async def test_a_worker_that_lacks_the_acls_of_its_journal_ends_and_names_it(company: Company) -> None:
    journal, plaintext = f"journal.{AGENT}", Connection(company.kafka.plaintext)
    await publish(company, 3)
    with company.kafka.without(user="router", resource=ResourceType.TOPIC, name=journal):
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(NotAuthorized, match=f"(Read|Write) on topic {journal}"):
                await run_router(company, until_idle_s=5.0, reasoner=PaidReasoner())
    assert await _records(plaintext, journal) == 0
    await run_router(company, until_idle_s=0.2, reasoner=PaidReasoner())
    assert await _records(plaintext, journal) > 0


async def test_nobody_does_what_another_role_does(company: Company) -> None:
    lacks = "User:{} lacks the ACL {} on {}"
    shop = company.member("shop").connection
    producer = idempotent_producer(shop)
    with in_our_words(shop):
        await producer.start()
    try:
        forbidden = lacks.format("shop", "Write", "topic audit.decisions")
        with pytest.raises(NotAuthorized, match=forbidden), in_our_words(shop):
            await producer.send_and_wait("audit.decisions", b"forged", key=b"forged")
    finally:
        await stop_quietly(producer)
    with pytest.raises(NotAuthorized, match=lacks.format("warehouse", "Write", "any topic")):
        async with Publisher(company.member("warehouse").connection, source="/test"):
            pass
    for user, topic in (("shop", f"decisions.{AGENT}"), ("warehouse", "audit.decisions")):
        with pytest.raises(NotAuthorized, match=lacks.format(user, "Describe", f"topic {topic}")):
            await _records(company.member(user).connection, topic)
    with pytest.raises(NotAuthorized, match=lacks.format("router", "Create", "topic decisions.forged")):
        await ensure_topics(
            _may_describe(company, "router", "decisions.forged"), [topics.decisions("forged")]
        )
    assert await ensure_topics(shop, [topics.ORDERS]) == ()
    with pytest.raises(NotAuthorized, match=lacks.format("shop", "DescribeConfigs", "topic commerce.orders")):
        await diff_topics(shop, [topics.ORDERS])


def _may_describe(company: Company, user: str, topic: str) -> Connection:
    company.kafka.run_acls(
        f"kafka-acls.sh --add --allow-principal User:{user} --operation Describe --topic {topic}"
    )
    return company.member(user).connection


async def test_plain_oauthbearer_mtls_and_other_scram(company: Company) -> None:
    """Each proves the name of another user, whose one ACL then lets it follow decisions."""
    kafka, folder = company.kafka, company.kafka.folder
    certificate, key = kafka.authority.issue("certified", password=b"of the key")
    token = folder / "token"
    token.write_text(unsecured_token("bearer") + "\n")
    secret = folder / "password"
    secret.write_text(PASSWORD + "\n")
    kafka.add_users("old", mechanism="SCRAM-SHA-256")
    for user in ("plain", "bearer", "certified", "old"):
        kafka.run_acls(
            f"kafka-acls.sh --add --allow-principal User:{user} --operation Read --topic decisions.{AGENT}"
        )
    trusting = {"JURAT_SECURITY_PROTOCOL": "SASL_SSL", "JURAT_SSL_CA_FILE": str(kafka.authority.file)}
    named = {"JURAT_SASL_PASSWORD_FILE": str(secret)}
    certified = {
        "JURAT_SECURITY_PROTOCOL": "SSL",
        "JURAT_SSL_CERT_FILE": str(certificate),
        "JURAT_SSL_KEY_FILE": str(key),
        "JURAT_SSL_KEY_PASSWORD": "of the key",
    }
    ways = [
        (kafka.sasl, named | {"JURAT_SASL_MECHANISM": "PLAIN", "JURAT_SASL_USERNAME": "plain"}),
        (kafka.sasl, named | {"JURAT_SASL_MECHANISM": "SCRAM-SHA-256", "JURAT_SASL_USERNAME": "old"}),
        (kafka.sasl, {"JURAT_SASL_MECHANISM": "OAUTHBEARER", "JURAT_SASL_TOKEN_FILE": str(token)}),
        (kafka.mtls, certified),
    ]
    for servers, variables in ways:
        connection = Connection(servers, security=security_from(trusting | variables))
        await _records(connection, f"decisions.{AGENT}")
        with pytest.raises(NotAuthorized):
            await _records(connection, "audit.decisions")


async def test_a_token_is_read_anew_at_every_authentication(company: Company) -> None:
    file = company.kafka.folder / "renewed"
    security = Security(
        protocol=Protocol.SASL_SSL,
        mechanism=Mechanism.OAUTHBEARER,
        token_file=file,
        ca_file=company.kafka.authority.file,
    )
    connection = Connection(company.kafka.sasl, security=security)
    for content in ("not-a-token", "", None, unsecured_token("bearer")):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_text(content)
        if content and "." in content:
            async with admin_client(connection):
                return
        with pytest.raises(NotAuthenticated, match="JURAT_SASL_TOKEN_FILE"):
            async with admin_client(connection):
                pass


def test_what_is_not_authenticated_says_what_to_mend(company: Company) -> None:
    shop = company.member("shop")
    stranger = Authority(company.kafka.folder, "stranger")
    open_ = Connection(company.kafka.open)
    told = {
        "expected one that it knows": shop.with_(JURAT_SASL_PASSWORD="wrong"),
        "its certificate is not trusted": shop.with_(JURAT_SSL_CA_FILE=str(stranger.file)),
        "its listener probably speaks another protocol": Member(open_, shop.keys),
        "which has no SASL": shop.with_(JURAT_SECURITY_PROTOCOL="PLAINTEXT"),
    }
    for message, member in told.items():
        done = member.run(*PUBLISH, stdin=json_lines([1]), expect=1)
        assert message in done.stderr.decode()
        assert b"Traceback" not in done.stderr


def test_secrets_are_not_logged(company: Company) -> None:
    shop, secret = company.member("shop"), "the wrong password"
    plain = shop.with_(JURAT_SASL_MECHANISM="PLAIN", JURAT_SASL_PASSWORD=secret)
    said = plain.run("-vv", *PUBLISH, stdin=json_lines([1]), expect=1).stderr.decode()
    assert "Request to" in said  # the client's own words are there
    assert secret not in said
    assert secret not in repr(plain.connection)


async def test_certificates_and_addresses_that_do_not_fit(company: Company) -> None:
    kafka, ca = company.kafka, company.kafka.authority.file
    certificate, key = Authority(kafka.folder, "impostor").issue("impostor")
    ssl = Security(protocol=Protocol.SSL, ca_file=ca)
    impostor = Security(protocol=Protocol.SSL, ca_file=ca, cert_file=certificate, key_file=key)
    localhost = kafka.mtls.replace("127.0.0.1", "localhost")
    for connection, error, message in (
        (Connection(kafka.mtls, security=ssl), NotAuthenticated, "wants a client's certificate"),
        (
            Connection(kafka.mtls, security=impostor),
            NotAuthenticated,
            "signed by an authority that the broker",
        ),
        (Connection(localhost, security=ssl), NotAuthenticated, "its certificate is for another host"),
        (Connection(kafka.sasl), BrokerUnreachable, "got JURAT_SECURITY_PROTOCOL=PLAINTEXT"),
        (Connection(kafka.plaintext, security=ssl), BrokerUnreachable, "got JURAT_SECURITY_PROTOCOL=SSL"),
    ):
        with pytest.raises(error, match=message):
            async with admin_client(connection):
                pass


@pytest.mark.parametrize(
    ("operation", "kind", "name"),
    [
        ("Read on group", ResourceType.GROUP, "context"),
        ("Write on topic", ResourceType.TOPIC, "context.customers"),
    ],
)
async def test_a_context_stream_that_lacks_one_of_its_acls_ends_and_names_it(
    company: Company, operation: str, kind: ResourceType, name: str
) -> None:
    await publish(company, 4)
    with company.kafka.without(user="context", resource=kind, name=name):
        began = time.monotonic()
        done = company.member("context").run("context", "--until-idle", "3s", expect=1)
        assert time.monotonic() - began < BOUND_S
    assert f"User:context lacks the ACL {operation} {name}" in done.stderr.decode()

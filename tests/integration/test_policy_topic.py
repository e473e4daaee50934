"""Policies on a real Kafka: published, activated while decisions are made, refused, rolled back, and across kills."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.audit.key_store import init_keys, load_signer
from jurat.audit.keys import Purpose
from jurat.audit.record import DecisionRecord
from jurat.policies.bundle_tests import run_cases
from jurat.policies.folder import digest_of
from jurat.policies.publication import (
    ACTIVATION_TYPE,
    BUNDLE_TYPE,
    MAX_BUNDLE_BYTES,
    bundle_key,
    print_activation,
    print_bundle,
)
from jurat.schemas.errors import (
    BundleUnfit,
    ConfigurationError,
    KeyNotFound,
    PartitionFenced,
    SignatureInvalid,
)
from jurat.streams import topics
from jurat.streams.kafka import admin_client, idempotent_producer, partition_of_key
from jurat.streams.metrics import Meters
from jurat.streams.policy_publishing import Mode, PolicyPublisher, survey
from jurat.streams.topic_admin import ensure_topics
from jurat.streams.worker import Worker, WorkerConfig
from tests.command import Shell
from tests.oracle import Findings
from tests.policy_stage import (
    SHOP,
    activation,
    sealed,
    shop_for_others,
    shop_that_denies,
    shop_that_fails,
    shop_with,
    write_folder,
)
from tests.runtime_stage import findings, prepare, publish_many, running, until, until_committed
from tests.shop import shop_engine

pytestmark = pytest.mark.integration

NEW, DENIES = shop_with("a new rule"), shop_that_denies()
OLD_DIGEST, NEW_DIGEST, DENIES_DIGEST = digest_of(SHOP), digest_of(NEW), digest_of(DENIES)
PUBLISHER = "policy-publisher"
PARTITIONS = topics.PAYMENTS.partitions


@pytest.fixture
def publishing(shell: Shell) -> Shell:
    """A shell whose user may publish policies."""
    init_keys(shell.keys, [PUBLISHER], purpose=Purpose.POLICIES)
    return shell


def publisher_of(shell: Shell) -> PolicyPublisher:
    return PolicyPublisher(shell.connection, signer=load_signer(shell.keys, PUBLISHER), trust=shell.trust)


async def activate(shell: Shell, digest: str, mode: Mode = Mode.ENFORCE) -> None:
    await publisher_of(shell).activate(
        "shop",
        digest,
        mode=mode,
        agents={PAYMENT_RETRIER.name: PAYMENT_RETRIER.actions},
        at=datetime.now(UTC),
    )


async def force(shell: Shell, files: Mapping[str, bytes], *, seq: int) -> None:
    """Publish and activate by hand what the command refuses."""
    key = load_signer(shell.keys, PUBLISHER)
    async with admin_client(shell.connection) as client:
        cluster = (await client.describe_cluster())["cluster_id"]
    topic = shell.connection.topic(topics.POLICIES.name)
    one = activation(seq=seq, enforce=digest_of(files), topic=topic, cluster=cluster)
    await write(shell, bundle_key(digest_of(files)), sealed(print_bundle(files), BUNDLE_TYPE, by=key))
    await write(shell, one.key, sealed(print_activation(one), ACTIVATION_TYPE, by=key))


async def write(shell: Shell, key: str, value: bytes | None) -> None:
    """What anybody may do who may write to the topic."""
    async with idempotent_producer(shell.connection) as producer:
        await producer.send_and_wait(shell.connection.topic(topics.POLICIES.name), value, key=key.encode())


def worker_of(shell: Shell, meters: Meters, *, until_idle_s: float | None = None) -> Worker:
    config = WorkerConfig(
        agent=PAYMENT_RETRIER,
        reasoner=HeuristicReasoner(),
        engine=shop_engine(),
        signer=load_signer(shell.keys, PAYMENT_RETRIER.name),
        clock=lambda: datetime.now(UTC),
        code="jurat test",
        until_idle_s=until_idle_s,
        meters=meters,
        trust=lambda: shell.trust,
    )
    return Worker(shell.connection, config)


def committed_by(worker: Worker) -> dict[int, int]:
    """How many inputs each partition that is open has committed."""
    return {number: one.committed_records for number, one in worker._open.items()}


def judging(meters: Meters) -> dict[str, str]:
    return dict(one.labels for one in meters.samples() if one.metric.name == "jurat_policy_bundle_info")


def counted(meters: Meters, name: str) -> dict[tuple[str, ...], float]:
    return {one.labels: float(str(one.value)) for one in meters.samples() if one.metric.name == name}


def by_partition(found: Findings) -> dict[int, list[DecisionRecord]]:
    """The records of each partition, as its chain has them."""
    partitions: dict[int, list[DecisionRecord]] = defaultdict(list)
    for (_topic, partition, _offset), record in found.records.items():
        partitions[partition].append(record)
    return {number: sorted(records, key=lambda one: one.seq) for number, records in partitions.items()}


def digests_in_order(found: Findings) -> dict[int, list[str]]:
    """The digests that each partition's chain names, each run of the same one once."""
    runs: dict[int, list[str]] = {}
    for number, records in by_partition(found).items():
        runs[number] = []
        for record in records:
            assert record.policy is not None
            if runs[number][-1:] != [record.policy.digest]:
                runs[number].append(record.policy.digest)
    return runs


async def test_activated_while_decisions_are_made(publishing: Shell, tmp_path: Path) -> None:
    shell = publishing
    await prepare(shell)
    folder = write_folder(tmp_path / "next-month", NEW)
    meters = Meters(PAYMENT_RETRIER.name)
    published = 0
    customers = Counter(partition_of_key(f"c-{number}".encode(), PARTITIONS) for number in range(40))

    async def publish_on() -> None:
        nonlocal published
        while True:
            await publish_many(shell, range(published, published + 30), customers=40)
            published += 30
            await asyncio.sleep(0.05)

    worker = worker_of(shell, meters)

    def everywhere(since: Mapping[int, int]) -> bool:
        """Whether each partition has committed more than was in work then: an input of each of its customers."""
        now = committed_by(worker)
        return len(now) == PARTITIONS and all(
            count > since.get(at, 0) + 2 * customers[at] for at, count in now.items()
        )

    async with running(worker):
        stream = asyncio.create_task(publish_on())
        await until(lambda: everywhere({}))
        said = await asyncio.to_thread(shell.run, "policy", "publish", str(folder))
        assert said.stdout.decode() == f"published: next-month {NEW_DIGEST}\n"
        assert judging(meters) == {"enforce": OLD_DIGEST}  # publishing activates nothing
        said = await asyncio.to_thread(shell.run, "policy", "activate", str(folder))
        assert said.stdout.decode() == f"activated: shop number 1, enforce {NEW_DIGEST}, shadow none\n"
        await until(lambda: judging(meters) == {"enforce": NEW_DIGEST})
        swapped_at = committed_by(worker)
        await until(lambda: everywhere(swapped_at))
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)
    await worker_of(
        shell, Meters(PAYMENT_RETRIER.name), until_idle_s=0.2
    ).run()  # a restart with an activation
    found = await findings(shell, agent=PAYMENT_RETRIER)
    assert not found.faults, found.faults
    assert found.inputs >= 200
    assert digests_in_order(found) == {number: [OLD_DIGEST, NEW_DIGEST] for number in range(PARTITIONS)}
    named = {decision.policy_digest for decision in found.decisions}
    assert named == {OLD_DIGEST, NEW_DIGEST}
    verified = json.loads(shell.run("audit", "verify", "--json").stdout)
    assert verified["verdict"] == "VALID"
    assert verified["records"] == found.inputs


async def test_what_is_not_fit_leaves_the_old_bundle_and_raises_the_alarm(
    publishing: Shell, tmp_path: Path
) -> None:
    shell = publishing
    await prepare(shell)
    fails = write_folder(tmp_path / "fails", shop_that_fails())
    shell.run("policy", "publish", str(fails))
    refused = shell.run("policy", "activate", str(fails), expect=1).stderr.decode()
    assert f"of its own {run_cases(shop_engine()).run} cases" in refused
    assert shell.run("policy", "active").stdout.decode().startswith("nothing is active")
    meters = Meters(PAYMENT_RETRIER.name)
    async with running(worker_of(shell, meters)):
        await publisher_of(shell).publish(NEW)
        await activate(shell, NEW_DIGEST)
        await until(lambda: judging(meters) == {"enforce": NEW_DIGEST})
        assert counted(meters, "jurat_policy_behind") == {(): 0}
        for seq, files in ((2, shop_that_fails()), (3, shop_for_others())):
            await force(shell, files, seq=seq)
        await write(shell, "active/shop/4", b"garbage")
        await until(
            lambda: (
                counted(meters, "jurat_policy_refused_total") == {("BundleUnfit",): 2, ("RecordInvalid",): 1}
            )
        )
        assert counted(meters, "jurat_policy_behind") == {(): 1}
        await publish_many(shell, range(30), customers=6)
        await until(lambda: counted(meters, "jurat_inputs_committed_total")[()] == 30)
    found = await findings(shell, agent=PAYMENT_RETRIER)
    assert not found.faults, found.faults
    assert {run for runs in digests_in_order(found).values() for run in runs} == {NEW_DIGEST}
    told = shell.run("policy", "active", expect=1)
    assert "shop: number 3" in told.stdout.decode()
    assert "RecordInvalid" in told.stderr.decode()


async def test_a_shadow_is_recorded_and_a_rollback_ends_it(publishing: Shell, tmp_path: Path) -> None:
    shell = publishing
    await prepare(shell)
    meters = Meters(PAYMENT_RETRIER.name)
    for name, files in (("new", NEW), ("denies", DENIES)):
        shell.run("policy", "publish", str(write_folder(tmp_path / name, files)))
    assert shell.run("policy", "publish", "shop").stdout.decode() == f"published: shop {OLD_DIGEST}\n"
    assert shell.run("policy", "publish", "shop").stdout.decode() == f"published before: shop {OLD_DIGEST}\n"
    shell.run("policy", "activate", NEW_DIGEST)
    shell.run("policy", "activate", DENIES_DIGEST, "--mode", "shadow")
    shell.run("policy", "activate", DENIES_DIGEST, "--mode", "shadow")  # says that it is so already
    lines = shell.run("policy", "active").stdout.decode().splitlines()
    assert lines[0].startswith("shop: number 2, since 20")
    assert f"by {PUBLISHER} (did:key:z6Mk" in lines[0]
    assert lines[1:] == [f"  enforce  {NEW_DIGEST}", f"  shadow   {DENIES_DIGEST}"]
    async with running(worker_of(shell, meters)):
        await publish_many(shell, range(20), customers=5)
        await until(lambda: counted(meters, "jurat_inputs_committed_total")[()] == 20)
        assert counted(meters, "jurat_shadow_judgements_total") == {("verdict",): 20}
        await asyncio.to_thread(shell.run, "policy", "activate", OLD_DIGEST)
        await until(lambda: judging(meters) == {"enforce": OLD_DIGEST})
        await publish_many(shell, range(20, 40), customers=5)
        await until(lambda: counted(meters, "jurat_inputs_committed_total")[()] == 40)
    found = await findings(shell, agent=PAYMENT_RETRIER)
    assert not found.faults, found.faults
    for records in by_partition(found).values():
        for record in records:
            assert record.policy is not None
            shadow = record.policy.shadow
            if record.policy.digest == NEW_DIGEST:
                assert shadow is not None
                assert (shadow.digest, shadow.verdict, shadow.policies, shadow.errors) == (
                    DENIES_DIGEST,
                    "deny",
                    ("trial.nothing-at-all",),
                    (),
                )
                assert record.outcome == "decided"
            else:
                assert (record.policy.digest, shadow) == (OLD_DIGEST, None)
    one = next(
        record
        for record in found.records.values()
        if record.policy is not None and record.policy.shadow is not None
    )
    assert (
        f"In the shadow, digest {DENIES_DIGEST}: it would be refused"
        in shell.run("audit", "show", one.decision_id).stdout.decode()
    )


async def test_killed_around_the_swap(publishing: Shell) -> None:
    shell = publishing
    await prepare(shell)
    await publisher_of(shell).publish(NEW)
    draw = random.Random(4)
    await publish_many(shell, range(1_500), customers=60)
    worker = start(shell)
    try:
        await until_committed(shell, PAYMENT_RETRIER.name, 101, by=worker)
        activating = asyncio.create_task(activate(shell, NEW_DIGEST))
        for number in range(3):
            # Twice while the activation is on its way or being tried, once while it is read by a worker that starts.
            await asyncio.sleep(draw.random())
            worker.kill()
            worker.wait(10)
            more = 2_000 + 100 * number
            await publish_many(shell, range(more, more + 100), customers=60)
            worker = start(shell)
        await activating
        await asyncio.sleep(draw.random())
    finally:
        worker.kill()
        worker.wait(10)
    await publish_many(shell, range(3_000, 3_100), customers=60)
    shell.run("worker", PAYMENT_RETRIER.name, "--until-idle", "200ms")
    found = await findings(shell, agent=PAYMENT_RETRIER)
    assert not found.faults, found.faults
    assert found.outcomes["decided"] + found.outcomes["escalated"] + found.outcomes["denied"] == 1_900
    orders = list(digests_in_order(found).values())
    assert all(runs in ([OLD_DIGEST, NEW_DIGEST], [NEW_DIGEST]) for runs in orders), orders
    assert [OLD_DIGEST, NEW_DIGEST] in orders
    assert json.loads(shell.run("audit", "verify", "--json").stdout)["verdict"] == "VALID"


def start(shell: Shell) -> subprocess.Popen[bytes]:
    return shell.start("worker", PAYMENT_RETRIER.name, "--max-in-flight", "20")


async def test_two_publishers_take_turns_and_strangers_are_refused(publishing: Shell, tmp_path: Path) -> None:
    shell = publishing
    await ensure_topics(shell.connection, [topics.POLICIES])
    await publisher_of(shell).publish(NEW)
    await publisher_of(shell).publish(SHOP)
    largest = {"common.cedar": b"x" * (MAX_BUNDLE_BYTES - len(print_bundle({"common.cedar": b""})))}
    assert await publisher_of(shell).publish(largest)
    assert not await publisher_of(shell).publish(largest)
    wanted = [NEW_DIGEST, OLD_DIGEST] * 3
    ended = await asyncio.gather(*(activate(shell, one) for one in wanted), return_exceptions=True)
    assert all(one is None or isinstance(one, PartitionFenced) for one in ended), ended
    found = await survey(shell.connection, shell.trust)
    assert found.refusals == 0
    history = found.log.history("shop")
    assert [signed.activation.seq for signed in history] == list(range(len(history), 0, -1))
    assert found.log.missing("shop") == 0
    stranger = load_signer(shell.keys, PAYMENT_RETRIER.name)
    with pytest.raises(KeyNotFound, match="for decisions, expected one for policies"):
        PolicyPublisher(shell.connection, signer=stranger, trust=shell.trust)
    await publisher_of(shell).publish(shop_that_fails())
    with pytest.raises(BundleUnfit):
        await activate(shell, digest_of(shop_that_fails()))
    holds = history[0].activation.enforce
    assert holds is not None
    with pytest.raises(ConfigurationError, match="decides already"):
        await activate(shell, holds, Mode.SHADOW)
    refused = shell.run("policy", "activate", "0" * 64, expect=1).stderr.decode()
    assert "is not published" in refused
    refused = shell.run("policy", "publish", "shop", "--as", "nobody", expect=1).stderr.decode()
    assert "jurat keys init --agent nobody --purpose policies" in refused
    # A bundle signed by somebody who is not trusted is no bundle.
    await write(shell, bundle_key(DENIES_DIGEST), sealed(print_bundle(DENIES), BUNDLE_TYPE, by=stranger))
    found = await survey(shell.connection, shell.trust, wanted=DENIES_DIGEST)
    assert found.wanted is None
    assert [type(one.error) for one in found.refused] == [SignatureInvalid]

"""Who judges, as the topic of policies tells: what is taken, what is refused, and what a worker that starts does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.audit.keys import Trust
from jurat.policies.folder import digest_of
from jurat.schemas.errors import ConfigurationError, NotAuthorized
from jurat.streams import policy_feed
from jurat.streams.kafka import Connection, KafkaRecord, TopicPartition
from jurat.streams.metrics import Meters
from jurat.streams.policy_feed import Judges, PolicyFeed
from tests.fake_consumer import FakeConsumer
from tests.policy_stage import (
    CLUSTER,
    TOPIC,
    TRUST,
    activation,
    active_record,
    bundle_record,
    shop_for_others,
    shop_that_denies,
    shop_that_fails,
    shop_with,
)
from tests.shop import shop_engine

ONE, TWO = shop_with("one"), shop_with("two")
FIRST, SECOND = digest_of(ONE), digest_of(TWO)
GIVEN = shop_engine().digest


@dataclass
class Stage:
    """A topic in memory, and workers that follow it."""

    consumer: FakeConsumer
    trust: Trust = TRUST
    told: list[Judges] = field(default_factory=list)
    meters: Meters = field(default_factory=lambda: Meters("payment-retrier"))
    feeds: list[PolicyFeed] = field(default_factory=list)

    def put(self, *records: KafkaRecord) -> None:
        for record in records:
            self.consumer.write(record)

    async def start(self) -> PolicyFeed:
        """A worker that starts; what the one before was told is forgotten."""
        self.told.clear()
        self.meters = Meters("payment-retrier")
        feed = PolicyFeed(
            Connection("nowhere:1"),
            PAYMENT_RETRIER,
            given=shop_engine(),
            trust=lambda: self.trust,
            meters=self.meters,
            swap=self.told.append,
        )
        self.feeds.append(feed)
        await feed.start(cluster_id=CLUSTER)
        return feed

    def counted(self, name: str) -> dict[tuple[str, ...], float]:
        return {
            one.labels: float(str(one.value))
            for one in self.meters.samples()
            if one.metric.name == f"jurat_policy_{name}"
        }

    @property
    def judging(self) -> dict[str, str]:
        """The digests that judge, by mode."""
        return dict(self.counted("bundle_info").keys())

    @property
    def behind(self) -> bool:
        return bool(self.counted("behind")[()])


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    consumer = FakeConsumer()
    consumer.serve(monkeypatch)
    assert consumer.logs[TopicPartition(TOPIC, 0)] == []
    made = Stage(consumer)
    yield made
    for feed in made.feeds:
        await feed.stop()


def active(seq: int, enforce: str | None = None, shadow: str | None = None) -> KafkaRecord:
    return active_record(activation(seq=seq, enforce=enforce, shadow=shadow))


async def ended(feed: PolicyFeed) -> None:
    async with asyncio.timeout(60):
        while feed.failure is None:  # noqa: ASYNC110 - the worker looks at it in its turns, too
            await asyncio.sleep(0)


async def test_without_an_activation_what_came_with_the_worker_judges(stage: Stage) -> None:
    feed = await stage.start()
    await feed.settled()
    stage.put(bundle_record(ONE))
    await feed.settled()
    assert stage.told == []
    assert stage.judging == {"enforce": GIVEN}
    assert not stage.behind
    assert feed.failure is None


async def test_an_activation_is_taken_by_a_worker_that_runs_and_by_one_that_starts(stage: Stage) -> None:
    feed = await stage.start()
    stage.put(bundle_record(ONE), active(1, FIRST))
    await feed.settled()
    assert [judges.engine.digest for judges in stage.told] == [FIRST]
    assert stage.judging == {"enforce": FIRST}
    again = await stage.start()
    assert [judges.engine.digest for judges in stage.told] == [FIRST]
    stage.put(bundle_record(TWO), active(2, SECOND))
    await again.settled()
    assert [judges.engine.digest for judges in stage.told[-1:]] == [SECOND]
    assert not stage.behind


async def test_rolling_back_is_activating_the_old_digest(stage: Stage) -> None:
    stage.put(bundle_record(ONE), bundle_record(TWO), active(1, FIRST), active(2, SECOND))
    feed = await stage.start()
    assert stage.judging == {"enforce": SECOND}
    stage.put(active(3, FIRST))
    await feed.settled()
    assert stage.judging == {"enforce": FIRST}


async def test_a_shadow_stands_beside_what_is_enforced_and_beside_what_came_with_the_worker(
    stage: Stage,
) -> None:
    stage.put(bundle_record(ONE), bundle_record(TWO), active(1, None, FIRST))
    feed = await stage.start()
    assert stage.judging == {"enforce": GIVEN, "shadow": FIRST}
    stage.put(active(2, FIRST, SECOND))
    await feed.settled()
    assert stage.judging == {"enforce": FIRST, "shadow": SECOND}
    stage.put(active(3, SECOND))
    await feed.settled()
    assert stage.judging == {"enforce": SECOND}
    judges = stage.told[-1]
    assert (judges.engine is stage.told[-2].shadow, judges.shadow) == (True, None)  # it was tried before


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (shop_that_fails(), "BundleUnfit"),
        (shop_for_others(), "BundleUnfit"),
        ({**ONE, "schema.cedarschema": b"nonsense"}, "BundleError"),
    ],
    ids=["fails-its-cases", "for-others", "does-not-load"],
)
async def test_a_bundle_that_is_not_fit_leaves_the_old_one_and_is_told_once(
    stage: Stage, files: dict[str, bytes], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage.put(bundle_record(ONE), active(1, FIRST))
    feed = await stage.start()
    stage.put(bundle_record(files), active(2, digest_of(files)))
    with caplog.at_level(logging.ERROR):
        await feed.settled()
        stage.put(active(3, digest_of(files)), bundle_record(TWO))
        await feed.settled()
    assert stage.judging == {"enforce": FIRST}
    assert stage.behind
    assert stage.counted("refused_total") == {(why,): 2}
    assert [text.count("active/shop/2") for text in caplog.messages].count(1) == 1
    await stage.start()  # and a worker that starts now judges as that one does
    assert stage.judging == {"enforce": FIRST}
    assert stage.behind


async def test_a_bundle_that_is_missing_is_taken_when_it_comes(stage: Stage) -> None:
    feed = await stage.start()
    stage.put(active(1, FIRST))
    await feed.settled()
    assert stage.judging == {"enforce": GIVEN}
    assert stage.behind
    stage.put(bundle_record(ONE))
    await feed.settled()
    assert stage.judging == {"enforce": FIRST}
    assert not stage.behind


async def test_a_worker_that_runs_never_goes_back_to_an_older_activation(stage: Stage) -> None:
    stage.put(bundle_record(ONE), bundle_record(TWO), active(1, FIRST), active(2, SECOND))
    feed = await stage.start()
    stage.put(active(1, FIRST), replace(active(2, SECOND), value=None), bundle_record(ONE))
    await feed.settled()
    assert stage.judging == {"enforce": SECOND}
    assert stage.counted("refused_total") == {("ActivationStale",): 1, ("PublicationInvalid",): 1}
    assert not stage.behind


async def test_activations_for_others_and_garbage_change_nothing(stage: Stage) -> None:
    stage.put(
        bundle_record(ONE),
        active_record(activation(enforce=FIRST).model_copy(update={"bundle": "after_sales"})),
    )
    stage.put(
        KafkaRecord(TOPIC, 0, 0, 0, b"active/shop/1", b"garbage"), KafkaRecord(TOPIC, 0, 0, 0, None, None)
    )
    await stage.start()
    assert stage.judging == {"enforce": GIVEN}
    assert not stage.behind
    assert stage.counted("refused_total") == {("RecordInvalid",): 1, ("PublicationInvalid",): 1}


async def test_who_is_trusted_is_asked_for_each_record(stage: Stage) -> None:
    stage.trust = Trust(())
    feed = await stage.start()
    stage.put(bundle_record(ONE), active(1, FIRST))
    await feed.settled()
    assert stage.judging == {"enforce": GIVEN}
    assert stage.counted("refused_total") == {("SignatureInvalid",): 2}
    stage.trust = TRUST
    stage.put(bundle_record(ONE), active(2, FIRST))
    await feed.settled()
    assert stage.judging == {"enforce": FIRST}


@pytest.mark.parametrize("readable", [0, 2], ids=["when-it-is-heard", "when-it-is-tried"])
async def test_a_trust_file_that_cannot_be_read_ends_the_worker_and_refuses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, readable: int
) -> None:
    feed = await stage.start()
    asked = 0

    def unreadable() -> Trust:
        nonlocal asked
        asked += 1
        if asked <= readable:
            return TRUST
        raise ConfigurationError("the trust file cannot be read")

    monkeypatch.setattr(feed, "_trust", unreadable)
    stage.put(bundle_record(ONE), active(1, FIRST))
    await ended(feed)
    assert isinstance(feed.failure, ConfigurationError)
    assert stage.judging == {"enforce": GIVEN}
    assert stage.counted("refused_total") == {}
    await stage.start()
    assert stage.judging == {"enforce": FIRST}, "the next one takes it"


async def test_a_bundle_that_kafka_refuses_to_hand_out_is_not_unfit(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = await stage.start()

    async def refused(*_arguments: object, **_named: object) -> None:
        raise NotAuthorized("an ACL is missing")

    monkeypatch.setattr(policy_feed, "read_survey", refused)
    stage.put(bundle_record(ONE), active(1, FIRST))
    await ended(feed)
    assert isinstance(feed.failure, NotAuthorized)
    assert stage.counted("refused_total") == {}


async def test_a_defect_in_trying_leaves_the_old_one_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.put(bundle_record(ONE), bundle_record(TWO), active(1, FIRST))
    feed = await stage.start()

    def broken(*_arguments: object, **_named: object) -> None:
        raise RecursionError("what the bundle holds")

    monkeypatch.setattr(policy_feed, "try_bundle", broken)
    stage.put(active(2, SECOND))
    await feed.settled()
    assert stage.judging == {"enforce": FIRST}
    assert stage.behind
    assert feed.failure is None


async def test_the_event_loop_turns_while_a_bundle_is_tried(stage: Stage) -> None:
    feed = await stage.start()
    stage.put(bundle_record(shop_that_denies()), active(1, digest_of(shop_that_denies())))
    settling = asyncio.ensure_future(feed.settled())
    turns = 0
    while not settling.done():
        await asyncio.sleep(0)
        turns += 1
    settling.result()
    assert turns > 20
    assert len(stage.told) == 1

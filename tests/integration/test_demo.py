"""`jurat demo` on a real Kafka: what it shows is true, what it starts it ends, and it can fail."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4

import psutil
import pytest

from jurat.cli.demo_stage import AGENT_NAMES
from jurat.schemas.codec import decode
from jurat.schemas.decision import Decision
from jurat.streams import topics
from jurat.streams.kafka import Connection, admin_client
from jurat.streams.replay import replay
from tests.broker_fixture import Kafka
from tests.command import JURAT

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ORDERS: Final = "60"
WITHIN_S: Final = 180.0
"""The demo takes some twenty seconds; on a machine under load, several times that."""

SHOWN: Final = re.compile(
    r"^  (?P<verdict>allow|deny|escalate) +(?P<agent>[a-z-]+) +(?P<subject>\S+) +(?P<action>\S+) +\S",
    re.MULTILINE,
)
REFUSED: Final = re.compile(
    r"^  INVALID  topic (?P<topic>\S+), partition (?P<partition>\d+)(, offset (?P<offset>\d+))?: \S",
    re.MULTILINE,
)


@pytest.fixture
def environment(kafka: Kafka, tmp_path: Path) -> dict[str, str]:
    """A user's environment, with a mark by which every process of the demo is known."""
    (tmp_path / "tmp").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JURAT_")}
    return kept | {
        "JURAT_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "JURAT_NAMESPACE": f"test-{uuid4().hex[:8]}",
        "JURAT_KEYS_DIR": str(tmp_path / "no-keys-here"),
        "TMPDIR": str(tmp_path / "tmp"),
    }


def left_behind(environment: dict[str, str]) -> list[str]:
    """The living processes that have this environment's temporary folder: the demo and its children."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == environment["TMPDIR"]:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def run(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [JURAT, "demo", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


async def namespace_topics(kafka: Kafka, environment: dict[str, str]) -> list[str]:
    async with admin_client(Connection(kafka.bootstrap_servers)) as client:
        return [
            name for name in await client.list_topics() if name.startswith(environment["JURAT_NAMESPACE"])
        ]


async def test_it_shows_what_is_on_the_topics_and_where_each_tampering_is(
    kafka: Kafka, environment: dict[str, str], tmp_path: Path
) -> None:
    done = await asyncio.to_thread(run, environment, "--orders", ORDERS, "--keep")
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    assert done.stderr == ""
    assert left_behind(environment) == []
    assert "  VALID  " in said
    (namespace,) = re.findall(r"^  namespace (\S+),", said, re.MULTILINE)
    places = [(found["topic"], found["partition"], found["offset"]) for found in REFUSED.finditer(said)]
    assert len(places) == said.count("INVALID") == 6, said
    assert {topic for topic, _partition, _offset in places} == {f"{namespace}.audit.decisions"}
    assert [offset is None for _topic, _partition, offset in places].count(True) == 1, (
        "only a cut has no offset"
    )
    assert "6 of 6 tamperings were caught" in said
    assert "customers of c-" in said, "the story names the profile that was read"

    real = Counter(
        (decision.verdict.value, decision.agent, decision.subject, decision.action)
        for decision in await decisions(Connection(kafka.bootstrap_servers, namespace))
    )
    shown = Counter(
        (one["verdict"], one["agent"], one["subject"], one["action"]) for one in SHOWN.finditer(said)
    )
    assert shown, said
    assert shown <= real, f"shown but not on a topic: {shown - real}"
    for verdict in ("deny", "escalate"):
        unseen = Counter({key: count for key, count in (real - shown).items() if key[0] == verdict})
        assert not unseen, f"on a topic but not shown: {unseen}"
    assert f"{real.total()} decisions" in said
    assert not (tmp_path / "no-keys-here").exists(), "the user's keys are left alone"


async def decisions(connection: Connection) -> list[Decision]:
    found = []
    names = [connection.topic(topics.decisions(name).name) for name in AGENT_NAMES]
    async for record in replay(connection, names):
        event = decode(record.value, expected=Decision)
        assert isinstance(event, Decision)
        found.append(event)
    return found


@pytest.fixture
def running(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A demo on its way."""
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            [JURAT, "demo", "--orders", "2000"], env=environment, stdout=said, stderr=subprocess.STDOUT
        )
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(WITHIN_S)


def until(said: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while text not in said.read_text():
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline, f"no {text!r} in: {said.read_text()}"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
async def test_interrupted_in_the_middle_it_leaves_nothing(
    kafka: Kafka,
    environment: dict[str, str],
    running: subprocess.Popen[bytes],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    until(tmp_path / "said", "  allow ", running)
    assert len(left_behind(environment)) == 1 + len(AGENT_NAMES) + 1
    running.send_signal(number)
    assert running.wait(WITHIN_S) == 130
    assert left_behind(environment) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert await namespace_topics(kafka, environment) == []
    assert "interrupted" in (tmp_path / "said").read_text()


async def test_an_agent_that_dies_ends_it_with_the_agents_own_words(
    kafka: Kafka, environment: dict[str, str], running: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    until(tmp_path / "said", "  allow ", running)
    (victim,) = [
        child
        for child in psutil.Process(running.pid).children()
        if {"worker", "payment-retrier"} <= set(child.cmdline())
    ]
    victim.kill()
    assert running.wait(WITHIN_S) == 1
    assert "payment-retrier ended by itself with exit code -9" in (tmp_path / "said").read_text()
    assert left_behind(environment) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert await namespace_topics(kafka, environment) == []


def test_without_a_kafka_at_the_address_given_it_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    done = run({**environment, "JURAT_BOOTSTRAP_SERVERS": "127.0.0.1:9"})
    assert done.returncode == 1
    assert done.stderr.startswith("jurat: no Kafka listens at 127.0.0.1:9")
    assert list((tmp_path / "tmp").iterdir()) == []

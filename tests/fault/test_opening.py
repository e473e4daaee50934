"""Opening partitions: slow, or impossible, without harm to the group, the chain or the other partitions."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from confluent_kafka import Producer

from jurat.agents.catalogue import AGENTS
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.streams import topics
from jurat.streams.topic_admin import ensure_topics
from tests.command import LIMIT_S, Shell
from tests.examples import EXAMPLES
from tests.oracle import examine
from tests.runtime_stage import WITHIN_S, delete, findings

pytestmark = pytest.mark.integration
AGENT = AGENTS["payment-retrier"]
FAILED = next(event for event in EXAMPLES if type(event).__name__ == "PaymentFailed")

SLOW_WORKER = """
import asyncio, sys
from jurat.streams.state import PartitionState
restore, opened = PartitionState.restore, []

async def slow(self, connection, changelog, **rest):
    opened.append(changelog)
    print("open", changelog.partition, flush=True)
    await asyncio.sleep(9)  # longer than the session time-out
    return await restore(self, connection, changelog, **rest)

PartitionState.restore = slow
sys.argv = ["jurat", "worker", "payment-retrier", "--until-idle", "200ms"]
from jurat.cli.main import main
main()
"""


async def send(shell: Shell, *values: bytes) -> None:
    """Append values to one partition of the payments, compressed."""
    await ensure_topics(shell.connection, [topics.PAYMENTS])
    producer = Producer(
        {
            "bootstrap.servers": shell.connection.bootstrap_servers,
            "compression.type": "gzip",
            "message.max.bytes": 4_000_000,
            "partitioner": "murmur2_random",
        }
    )
    headers = headers_for(FAILED, event_id="e", source="/test")
    plain: list[tuple[str, str | bytes | None]] = [
        (name, value) for name, value in headers if name != "content-type"
    ]
    failed: list[object] = []
    for value in values:
        producer.produce(
            shell.connection.topic(topics.PAYMENTS.name),
            value,
            key=FAILED.key().encode(),
            headers=plain,
            on_delivery=lambda error, _message: failed.append(error) if error else None,
        )
    assert producer.flush(WITHIN_S) == 0
    assert not failed


async def test_a_partition_that_opens_slowly_keeps_the_worker_in_its_group(shell: Shell) -> None:
    await send(shell, encode(FAILED))
    worker = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", SLOW_WORKER],
        env=shell.environment,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert worker.returncode == 0, worker.stderr.decode()
    opened = worker.stdout.decode().split("\n")[:-1]
    assert sorted(opened) == [f"open {number}" for number in range(topics.PAYMENTS.partitions)], (
        "opened once each"
    )
    found = await findings(shell, agent=AGENT)
    assert found.faults == []
    assert found.outcomes == {"decided": 1}


async def test_a_compressed_record_larger_than_any_dead_letter_does_not_stop_the_partition(
    shell: Shell,
) -> None:
    large = b"{" + b" " * 3_000_000
    await send(shell, large, encode(FAILED))
    shell.run("worker", AGENT.name, "--until-idle", "200ms")
    found = await findings(shell, agent=AGENT)
    assert found.faults == []
    assert found.outcomes == {"rejected": 1, "decided": 1}
    (letter,) = found.dead_letters
    assert int(dict(letter.headers)["jurat-truncated"]) > 3_000_000
    assert letter.value == large[: len(letter.value or b"")]


async def test_a_lost_changelog_stops_the_worker_instead_of_starting_a_second_chain(shell: Shell) -> None:
    await send(shell, encode(FAILED))
    shell.run("worker", AGENT.name, "--until-idle", "200ms")
    await delete(shell, topics.state(AGENT.name).name)
    await send(shell, encode(FAILED))
    refused = shell.run("worker", AGENT.name, "--until-idle", "200ms", expect=1)
    assert b"the changelog" in refused.stderr
    assert b"lost records" in refused.stderr
    assert b"Traceback" not in refused.stderr
    found = await examine(shell.connection, AGENT, shell.trust)
    assert found.outcomes == {"decided": 1}, "the second input waits for a person"


SLOW_START = """
import asyncio, sys
from jurat.streams.tables import Tables

async def slow(self):
    print("starting", flush=True)
    await asyncio.sleep(600)

Tables.start = slow
sys.argv = ["jurat", "worker", "payment-retrier"]
from jurat.cli.main import main
main()
"""


def test_a_worker_that_is_still_starting_stops_when_asked(shell: Shell) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", SLOW_START],
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"starting\n"
        worker.terminate()
        _, said = worker.communicate(timeout=WITHIN_S)
        assert worker.returncode == 0, said.decode()
        assert b"Traceback" not in said
    finally:
        worker.kill()
        worker.wait(10)

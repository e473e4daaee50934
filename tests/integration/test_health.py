"""A worker seen from outside: its probes and metrics, and its logs under hostile events."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from jurat.schemas.codec import encode
from jurat.schemas.commerce import PaymentFailed
from jurat.streams import local_broker, topics
from jurat.streams.kafka import idempotent_producer
from jurat.streams.publisher import Publisher
from jurat.streams.topic_admin import ensure_topics
from tests.broker_fixture import skip_without_kafka
from tests.command import Shell, new_shell
from tests.runtime_stage import until
from tests.watched import AGENT, failed, publish, seen

pytestmark = pytest.mark.integration
SECRET = "4111-1111-1111-1111"


async def test_probes_and_metrics_of_a_worker_at_work(shell: Shell, tmp_path: Path) -> None:
    await publish(shell, 300)
    with seen(shell, tmp_path) as worker:
        await worker.until("/readyz", 200)
        await worker.until_counted("jurat_inputs_committed_total", 300)
        assert worker.get("/livez")[0] == 200
        found = worker.numbers()
        assert found["jurat_inputs_finished_total"] == 300
        assert found["jurat_decision_duration_seconds_count"] == 300
        assert found["jurat_commit_duration_seconds_count"] > 0
        assert found["jurat_partition_open"] == topics.PAYMENTS.partitions
        assert found["jurat_worker_joined"] == 1
        assert found["jurat_worker_turn_age_seconds"] < 5
        of_work = ("lag_records", "held_records", "held_bytes", "in_flight_inputs", "offset_span_records")
        await until(lambda: not any(worker.numbers()[f"jurat_partition_{name}"] for name in of_work))


BLOCKED = """
import asyncio, logging, sys, time
from pathlib import Path
from jurat import settings
from jurat.agents.heuristic import HeuristicReasoner
from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.running import run_agent
from jurat.streams import health

logging.basicConfig(stream=sys.stderr)
health.TURN_BOUND_S = 2.0
go = Path(sys.argv[1])


class Blocking(HeuristicReasoner):
    async def propose(self, request):
        while not go.exists():
            time.sleep(0.05)  # what nobody may do in an event loop
        return await super().propose(request)


asyncio.run(
    run_agent(
        PAYMENT_RETRIER, connection=settings.connection(), reasoner=Blocking(), metrics_at=("127.0.0.1", 0)
    )
)
"""


async def test_a_blocked_event_loop_is_seen(shell: Shell, tmp_path: Path) -> None:
    script, go = tmp_path / "blocked.py", tmp_path / "go"
    script.write_text(BLOCKED)
    with seen(shell, tmp_path, program=(sys.executable, str(script), str(go))) as worker:
        await worker.until("/readyz", 200)
        await publish(shell, 1)
        await worker.until("/livez", 503)
        assert list(worker.failing("/livez")) == ["event-loop"]
        assert worker.get("/readyz")[0] == 503
        assert worker.numbers()["jurat_worker_turn_age_seconds"] > 2
        go.touch()
        await worker.until("/livez", 200)
        await worker.until_counted("jurat_inputs_committed_total", 1)


async def test_a_broker_that_is_down_makes_a_worker_unready_and_not_dead(tmp_path: Path) -> None:
    skip_without_kafka()
    data = tmp_path / "data"
    broker = local_broker.start(data_dir=data)
    try:
        shell = new_shell(broker.bootstrap_servers, "down", tmp_path / "keys")
        await publish(shell, 500)
        with seen(shell, tmp_path) as worker:
            await worker.until_counted("jurat_inputs_committed_total", 500)
            port = worker.port
            local_broker.kill_node(broker, 1)
            await worker.until("/readyz", 503)
            assert list(worker.failing("/readyz")) == ["broker"]
            assert worker.get("/livez", port=port)[0] == 200
            broker = local_broker.start_node(broker, 1)
            await worker.until("/readyz", 200)
            await publish(shell, 100, first=500)
            await worker.until_counted("jurat_inputs_committed_total", 600)
    finally:
        local_broker.stop(broker, within_s=1.0)
        shutil.rmtree(data, ignore_errors=True)


def test_a_port_that_is_taken_ends_the_worker_with_a_message(shell: Shell, tmp_path: Path) -> None:
    with seen(shell, tmp_path) as worker:
        done = shell.run("worker", AGENT.name, "--metrics-port", str(worker.port), expect=1)
    assert b"choose another with --metrics-port" in done.stderr
    assert b"Traceback" not in done.stderr


async def hostile(shell: Shell) -> int:
    """Publish what a worker cannot or should not decide, each with a secret in it; say how many inputs that is."""
    await ensure_topics(shell.connection, [topics.PAYMENTS])
    topic = shell.connection.topic(AGENT.topic)
    secret = SECRET.encode()
    good = {
        "ce_specversion": b"1.0",
        "ce_id": b"e",
        "ce_source": b"/test",
        "ce_type": PaymentFailed.event_type().encode(),
    }
    value = encode(failed(1))
    records = [
        (b"k", secret, {}),
        (b"k", secret, good),
        (secret, value, good | {"ce_id": b"1"}),
        (b"c-1", value[:12] + secret, good | {"ce_id": b"2"}),
        (b"c-1", value, good | {"ce_specversion": secret}),
        (b"c-1", value, good | {"ce_type": secret}),
        (b"c-1", value, good | {"ce_time": secret, "ce_id": b"3"}),
        (b"c-1", value, good | {"traceparent": secret, "ce_id": b"\nforged " + secret}),
        (b"c-1", None, good | {"ce_id": b"4"}),
        (None, b"\xff\xfe" + secret, good),
    ]
    producer = idempotent_producer(shell.connection)
    await producer.start()
    for key, body, headers in records:
        await producer.send_and_wait(topic, body, key=key, headers=list(headers.items()))
    await producer.stop()
    async with Publisher(shell.connection, source="/test") as publisher:
        for n, code in enumerate((SECRET, f"x\n2026-01-01 ERROR {SECRET}", "\x1b[2J" + SECRET)):
            for field in ("failure_code", "payment_id", "order_id"):
                with contextlib.suppress(ValueError):  # the contract refuses some of it
                    event = failed(100 + n, **{field: code})
                    await publisher.publish(event, event_id=f"h-{n}-{field}")
                    records.append((b"", b"", {}))
    return len(records)


@pytest.mark.parametrize("log_format", ["json", "text"])
async def test_no_log_line_holds_what_events_hold(shell: Shell, tmp_path: Path, log_format: str) -> None:
    count = await hostile(shell)
    words = ("--log-format", log_format, "--log-level", "debug")
    with seen(shell, tmp_path, *words) as worker:
        await worker.until_counted("jurat_inputs_committed_total", count)
        assert worker.numbers()["jurat_dead_letters_total"] >= 8
    text = worker.log.read_text()
    assert SECRET not in text
    assert "forged" not in text
    assert "partition open" in text, "the worker logged nothing"
    if log_format == "json":
        lines = [json.loads(line) for line in text.splitlines()]
        assert all({"ts", "level", "logger", "message"} <= set(line) for line in lines)
        opened = [line for line in lines if line["message"].startswith("partition open")]
        assert {line["partition"] for line in opened} == set(range(topics.PAYMENTS.partitions))
        assert {line["agent"] for line in opened} == {AGENT.name}

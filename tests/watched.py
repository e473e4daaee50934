"""A worker that is watched from outside: started as a user does, its health on a free port, its log in a file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from jurat.agents.payment_retrier import PAYMENT_RETRIER
from jurat.schemas.commerce import PaymentFailed
from jurat.streams import topics
from jurat.streams.publisher import Publisher
from jurat.streams.topic_admin import ensure_topics
from tests.command import JURAT, Shell

AGENT = PAYMENT_RETRIER
WITHIN_S = 90
"""A worker that is not there by then does not come."""


def failed(number: int, **changes: object) -> PaymentFailed:
    fields: dict[str, object] = {
        "payment_id": f"pay-{number}",
        "order_id": f"o-{number}",
        "customer_id": f"c-{number % 7}",
        "payment_method_id": "card-1",
        "amount": {"amount_minor": 1_999, "currency": "EUR"},
        "failure_code": "insufficient_funds",
        "attempt": 1,
        "fraud_score": 3,
    }
    return PaymentFailed.model_validate(fields | changes)


async def publish(shell: Shell, count: int, *, first: int = 0, traceparent: str | None = None) -> None:
    await ensure_topics(shell.connection, [topics.PAYMENTS])
    async with Publisher(shell.connection, source="/test") as publisher:
        for number in range(first, first + count):
            await publisher.publish(failed(number), event_id=f"e-{number}", traceparent=traceparent)


@dataclass(frozen=True)
class Seen:
    """A running worker and where its health is served."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def port(self) -> int:
        deadline = time.monotonic() + WITHIN_S
        while True:
            found = re.search(r"port=(\d+)", self.log.read_text())
            if found:
                return int(found[1])
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "the worker does not say where its health is"
            time.sleep(0.1)

    def get(self, path: str, *, port: int | None = None) -> tuple[int, str]:
        """Status and body; a worker that does not answer fails the test."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port or self.port}{path}", timeout=WITHIN_S
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def failing(self, path: str) -> dict[str, str]:
        """The checks that fail, and why."""
        return {
            check["name"]: check["why"]
            for check in json.loads(self.get(path)[1])["checks"]
            if not check["ok"]
        }

    def numbers(self) -> dict[str, float]:
        """Sums of the samples over all label values."""
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0) + sample.value
        return sums

    async def until(self, path: str, status: int, *, within_s: float = WITHIN_S) -> None:
        """Wait until a probe answers like this."""
        deadline = time.monotonic() + within_s
        while (found := await asyncio.to_thread(self.get, path))[0] != status:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"{path} says {found} after {within_s:.0f} s"
            await asyncio.sleep(0.1)

    async def until_counted(self, metric: str, count: float) -> None:
        """Wait until a metric has risen to this."""
        deadline = time.monotonic() + WITHIN_S
        while (found := (await asyncio.to_thread(self.numbers)).get(metric, 0)) < count:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"{metric} is {found}, expected {count}"
            await asyncio.sleep(0.1)


@contextlib.contextmanager
def seen(
    shell: Shell,
    tmp_path: Path,
    *words: str,
    program: tuple[str, ...] = (),
    variables: Mapping[str, str] | None = None,
) -> Iterator[Seen]:
    """A worker with its health on a free port, ended by SIGTERM."""
    log = tmp_path / "worker.log"
    command = program or (str(JURAT), "worker", AGENT.name, "--metrics-port", "0", *words)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env=shell.environment | dict(variables or {})
        )
    try:
        yield Seen(process, log)
        process.terminate()
        assert process.wait(WITHIN_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait(10)

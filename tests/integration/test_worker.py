"""The worker on a real Kafka: exactly once under kill -9, bad input, tenants, order."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

import pytest

from jurat.agents.catalogue import AGENTS
from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.commerce import AfterSalesRequested
from jurat.streams import topics
from jurat.streams.kafka import Connection, admin_client, idempotent_producer
from jurat.streams.topic_admin import ensure_topics
from tests import retail_data
from tests.command import Shell
from tests.oracle import examine
from tests.retail_data import needs_retail_data
from tests.runtime_stage import WITHIN_S, committed, until, until_committed

pytestmark = pytest.mark.integration
AGENT = AGENTS["after-sales"]


def request_lines(count: int, *, dry_run: bool) -> list[dict[str, object]]:
    """The gold actions over and over, each with an id of its own."""
    gold = [action for actions in retail_data.gold_tasks().values() for action in actions]
    return [
        {"id": f"q-{n}", "key": row["key"], "action": row["action"], "args": row["args"], "dry_run": dry_run}
        for n, row in ((n, gold[n % len(gold)]) for n in range(count))
    ]


def write_lines(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


async def kill_in_the_middle(shell: Shell, worker: subprocess.Popen[bytes], *, after: int) -> None:
    """Kill a worker as soon as it has committed so many inputs more."""
    await until_committed(shell, AGENT.name, await committed(shell, AGENT.name) + after, by=worker)
    worker.kill()
    worker.wait(WITHIN_S)


@needs_retail_data
async def test_killed_in_the_middle_every_request_has_exactly_one_decision(
    shell: Shell, tmp_path: Path
) -> None:
    lines = request_lines(2_000, dry_run=True)
    requests = write_lines(tmp_path / "requests.jsonl", lines)
    shell.run("dataset", "retail", str(retail_data.DB), "--requests", str(requests))
    for after in (1, 400):
        worker = shell.start("worker", AGENT.name, "--reasoner", "requested")
        await kill_in_the_middle(shell, worker, after=after)
    done = await committed(shell, AGENT.name)
    assert 0 < done < len(lines), f"{done} inputs were committed: no kill was in the middle"
    shell.run("worker", AGENT.name, "--reasoner", "requested", "--until-idle", "200ms")
    found = await examine(shell.connection, AGENT, shell.trust)
    assert found.faults == []
    assert sorted(one.request_id for one in found.decisions) == sorted(str(line["id"]) for line in lines)


@needs_retail_data
async def test_two_workers_share_the_partitions_and_one_may_leave(shell: Shell, tmp_path: Path) -> None:
    lines = request_lines(1_500, dry_run=True)
    requests = write_lines(tmp_path / "requests.jsonl", lines)
    shell.run("dataset", "retail", str(retail_data.DB), "--requests", str(requests))
    first, second = shell.start("worker", AGENT.name, "--reasoner", "requested"), None
    try:
        await until_committed(shell, AGENT.name, 100, by=first)
        second = shell.start("worker", AGENT.name, "--reasoner", "requested")
        await until(partial(members, shell, 2))
        first.terminate()
        assert first.wait(WITHIN_S) == 0, "SIGTERM did not end the worker cleanly"
        await until_committed(shell, AGENT.name, len(lines), by=second)
        second.terminate()
        assert second.wait(WITHIN_S) == 0
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.wait(WITHIN_S)
    found = await examine(shell.connection, AGENT, shell.trust)
    assert found.faults == []
    assert len(found.decisions) == len(lines)


async def members(shell: Shell, count: int) -> bool:
    """Whether the group has settled on so many members."""
    async with admin_client(shell.connection) as client:
        (answer,) = await client.describe_consumer_groups([shell.connection.group(AGENT.name)])
    (group,) = answer.to_object()["groups"]
    return group["state"] == "Stable" and len(group["members"]) == count


def disjoint_tasks() -> list[list[retail_data.Raw]]:
    """Gold tasks that share neither customer nor order."""
    taken: set[str] = set()
    chosen = []
    for actions in retail_data.gold_tasks().values():
        names = {row["key"] for row in actions} | {row["args"].get("order_id", "") for row in actions} - {""}
        if not names & taken:
            taken |= names
            chosen.append(actions)
    return chosen


@needs_retail_data
async def test_state_follows_the_decisions_across_a_restart(shell: Shell, tmp_path: Path) -> None:
    tasks = disjoint_tasks()
    assert len(tasks) >= 20
    gold = [row for actions in tasks for row in actions]
    lines = [
        {"id": f"g-{n}", "key": r["key"], "action": r["action"], "args": r["args"]}
        for n, r in enumerate(gold)
    ]
    requests = write_lines(tmp_path / "gold.jsonl", lines)
    shell.run("dataset", "retail", str(retail_data.DB), "--requests", str(requests))
    shell.run("worker", AGENT.name, "--reasoner", "requested", "--until-idle", "200ms")
    first = await examine(shell.connection, AGENT, shell.trust)
    assert first.faults == []
    refused = {one.request_id: one.policies for one in first.decisions if one.verdict != "allow"}
    assert not refused, refused
    # What was cancelled, returned or exchanged once cannot be again: the second worker knows it from the changelog.
    once = {"cancel_pending_order", "return_delivered_order_items", "exchange_delivered_order_items"}
    again = [line | {"id": f"again-{line['id']}"} for line in lines if line["action"] in once]
    repeated = write_lines(tmp_path / "again.jsonl", again)
    shell.run("dataset", "retail", str(retail_data.DB), "--requests", str(repeated))
    shell.run("worker", AGENT.name, "--reasoner", "requested", "--until-idle", "200ms")
    second = await examine(shell.connection, AGENT, shell.trust)
    assert second.faults == []
    answers = {
        one.request_id: one.verdict.value for one in second.decisions if one.request_id.startswith("again-")
    }
    assert answers == {line["id"]: "deny" for line in again}


async def send_raw(
    connection: Connection, value: bytes | None, *, key: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    producer = idempotent_producer(connection)
    await producer.start()
    try:
        topic = connection.topic(topics.AFTER_SALES_REQUESTS.name)
        await producer.send_and_wait(topic, value, key=key, headers=headers)
    finally:
        await producer.stop()


@needs_retail_data
async def test_bad_input_ends_in_dead_letters_and_the_worker_goes_on(shell: Shell, tmp_path: Path) -> None:
    gold = request_lines(1, dry_run=True)[0]
    key = str(gold["key"])
    asked = {"request_id": "r-1", "customer_id": key, "action": str(gold["action"]), "args": gold["args"]}
    good = AfterSalesRequested.model_validate(asked | {"dry_run": True})
    unknown_action = good.model_copy(update={"action": "steal_order"})
    unknown_order = good.model_copy(
        update={"action": "cancel_pending_order", "args": {"order_id": "#W0", "reason": "no longer needed"}}
    )
    wrong_args = good.model_copy(update={"args": {"order_id": 7}})
    large = good.model_copy(update={"args": {"order_id": "x" * 60_000}})
    headers = headers_for(good, event_id="e", source="/test")
    plain = [(name, value) for name, value in headers if name != "content-type"]
    other = [(name, b"jurat.commerce.OrderPlaced" if name == "ce_type" else value) for name, value in headers]
    poison: dict[str, tuple[bytes | None, list[tuple[str, bytes]]]] = {
        "DecodeError: not JSON": (b"{not json", plain),
        "DecodeError: wrong type": (json.dumps(asked | {"dry_run": "yes"}).encode(), plain),
        "InputRejected: unknown action": (encode(unknown_action), headers),
        "InputRejected: unknown order": (encode(unknown_order), headers),
        "InputRejected: wrong arguments": (encode(wrong_args), headers),
        "InputRejected: too large an argument": (encode(large), headers),
        "DecodeError: wrong schema": (encode(good), other),
        "DecodeError: oversized": (b"{" + b" " * 900_000 + b"}", plain),
        "DecodeError: no value": (None, headers),
        "EnvelopeError: no envelope": (encode(good), []),
        "UnknownSchema: unknown type": (encode(good), [*plain[:3], ("ce_type", b"nobody.knows")]),
        "UnknownSchema: unknown fingerprint": (b"\xc3\x01" + bytes(20), headers),
    }
    shell.run("dataset", "retail", str(retail_data.DB))
    await ensure_topics(shell.connection, [topics.AFTER_SALES_REQUESTS])
    for value, its_headers in poison.values():
        await send_raw(shell.connection, value, key=key.encode(), headers=its_headers)
    await send_raw(shell.connection, encode(good), key=b"another key", headers=headers)
    await send_raw(shell.connection, encode(good), key=None, headers=headers)
    await send_raw(shell.connection, encode(good), key=key.encode(), headers=headers)
    shell.run("worker", AGENT.name, "--reasoner", "requested", "--until-idle", "200ms")

    found = await examine(shell.connection, AGENT, shell.trust)
    assert found.faults == []
    assert found.outcomes == {"rejected": len(poison) + 2, "decided": 1}
    letters = {letter.value: dict(letter.headers) for letter in found.dead_letters}
    for name, (value, _) in poison.items():
        assert value in letters, f"{name}: the original bytes are not in the dead letters"
    said = [dict(letter.headers) for letter in found.dead_letters if letter.key == key.encode()]
    assert [one["jurat-error"].decode() for one in said] == [name.split(":")[0] for name in poison]
    assert all(len(one["jurat-reason"]) > 20 for one in said)
    rejections = [record.rejection for record in found.records.values() if record.rejection]
    assert len(rejections) == len(poison) + 2
    # The worker's own report and the auditor's agree.
    assert shell.run("audit", "verify", "--trust", str(shell.keys / "trust.json")).stdout.startswith(b"VALID")


@needs_retail_data
async def test_tenants_never_meet(shell: Shell, tmp_path: Path) -> None:
    one = write_lines(tmp_path / "one.jsonl", request_lines(3, dry_run=True))
    two = write_lines(tmp_path / "two.jsonl", request_lines(5, dry_run=True))
    other = Shell(
        Connection(shell.connection.bootstrap_servers, shell.connection.namespace + ".b"), shell.keys
    )
    for tenant, requests in ((shell, one), (other, two)):
        tenant.run("dataset", "retail", str(retail_data.DB), "--requests", str(requests))
    for tenant, count in ((other, 5), (shell, 3)):
        tenant.run("worker", AGENT.name, "--reasoner", "requested", "--until-idle", "200ms")
        found = await examine(tenant.connection, AGENT, tenant.trust)
        assert found.faults == []
        assert len(found.decisions) == count
        prefix = f"{tenant.connection.namespace}."
        assert all(decision.input.topic.startswith(prefix) for decision in found.decisions)


@needs_retail_data
def test_a_subscriber_gets_what_the_contract_says(shell: Shell, tmp_path: Path) -> None:
    lines = request_lines(2, dry_run=False)
    requests = write_lines(tmp_path / "requests.jsonl", lines)
    shell.run("dataset", "retail", str(retail_data.DB), "--requests", str(requests))
    shell.run("worker", AGENT.name, "--reasoner", "requested", "--until-idle", "200ms")
    out = shell.run(
        "subscribe", "decisions.after-sales", "--from-beginning", "--until-idle", "200ms", "--format", "jsonl"
    ).stdout
    decisions = [json.loads(line) for line in out.splitlines()]
    assert {one["request_id"] for one in decisions} == {"q-0", "q-1"}
    by_id = {line["id"]: line for line in lines}
    for one in decisions:
        asked = by_id[one["request_id"]]
        assert one["id"].startswith("dec_")
        assert one["verdict"] in ("allow", "deny")
        assert one["policies"]
        assert one["action"] == asked["action"]
        assert one["parameters"] == asked["args"]
        assert one["agent"] == "after-sales"
        assert set(one["input"]) == {"topic", "partition", "offset"}

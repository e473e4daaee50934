"""An auditor's bundle of what really happened: decided on Kafka, checkpointed by a notary, verified without both."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jurat.audit import bundle_zip, tlog_policy
from jurat.audit.origin import Origin
from jurat.streams import topics
from jurat.streams.kafka import admin_client
from jurat.streams.metrics import Meters
from jurat.streams.notary import NotaryConfig, NotaryWorker
from tests.command import JURAT, LIMIT_S, Shell
from tests.notary_stage import KEY, TIME, InMemoryWitness

pytestmark = pytest.mark.integration

AGENT = "payment-retrier"
WITNESSES = tuple(InMemoryWitness(name) for name in ("w1", "w2", "w3"))


async def witness_policy(shell: Shell) -> bytes:
    async with admin_client(shell.connection) as client:
        cluster_id = (await client.describe_cluster())["cluster_id"]
    topic = shell.connection.topic(topics.AUDIT.name)
    logs = [str(Origin("example.com", cluster_id, topic, n)) for n in range(topics.AUDIT.partitions)]
    lines = [f"log {vkey}" for name in logs for vkey in KEY.log_vkeys(name)]
    lines += [f"witness {one.name} {one.vkey}" for one in WITNESSES]
    return "\n".join([*lines, "group enough 2 w1 w2 w3", "quorum enough", ""]).encode()


def without_kafka(shell: Shell, *words: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {**shell.environment, "JURAT_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    return subprocess.run(
        [JURAT, *words], capture_output=True, env=environment, cwd=cwd, timeout=LIMIT_S, check=False
    )


async def test_decisions_are_bundled_and_verified_with_no_kafka(shell: Shell, tmp_path: Path) -> None:
    shell.run("simulate", "--seed", "7", "--orders", "40", "--rate", "0")
    shell.run("worker", AGENT, "--until-idle", "200ms")
    policy = await witness_policy(shell)
    (tmp_path / "policy.txt").write_bytes(policy)
    config = NotaryConfig(
        org="example.com",
        key=KEY,
        policy=tlog_policy.parse(policy),
        witnesses=WITNESSES,
        clock=lambda: TIME,
        until_idle_s=0.2,
        meters=Meters("notary"),
    )
    await NotaryWorker(shell.connection, config).run()

    witnessed = ("--witness-policy", str(tmp_path / "policy.txt"))
    shell.run("audit", "bundle", "--output", str(tmp_path / "b.zip"), *witnessed, "--agent", AGENT)
    names = bundle_zip.unpack((tmp_path / "b.zip").read_bytes())
    records = [name for name in names if name.endswith(".dsse.json")]
    assert records
    assert len([name for name in names if name.endswith(".tlog-proof")]) == len(records)

    trust = ("--trust", str(shell.keys / "trust.json"))
    done = without_kafka(shell, "audit", "verify", "b.zip", *trust, *witnessed, "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"], told["faults"]) == (0, "VALID", [])
    assert told["records"] == told["proved"] == len(records)
    rows = [json.loads(line) for line in shell.run("audit", "replay", "--format", "rows").stdout.splitlines()]
    judged = [row for row in rows if row["bundle"] is not None]
    assert told["evaluatedAgain"] == len(judged) > 0, "the policies are in the bundle, and say the same again"

    by_id = {row["decision_id"]: row for row in rows}
    shown = shell.run("audit", "show", rows[0]["decision_id"], *witnessed).stdout.decode()
    assert "In the tree of its partition it is leaf 0, counted from 0.\n" in shown
    assert "It stands under the checkpoint of " in shown
    output = tmp_path / "rows.parquet"
    shell.run("audit", "replay", "--format", "parquet", "--output", str(output), "--verdict", "allow")
    table = pq.read_table(io.BytesIO(output.read_bytes())).to_pylist()
    assert {row["decision_id"] for row in table} == {
        name for name, row in by_id.items() if row["verdict"] == "allow"
    }

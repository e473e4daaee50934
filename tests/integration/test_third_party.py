"""Readers that are not jurat: they need the Avro schema file, a Kafka client and openssl, nothing of ours."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from operator import itemgetter
from pathlib import Path

import pytest

from tests.command import Shell
from tests.tree import ROOT

pytestmark = pytest.mark.integration

READER = """
import io, json, sys
import fastavro
from confluent_kafka import Consumer, TopicPartition

servers, topic, schema_file = sys.argv[1:]
schema = fastavro.parse_schema(json.load(open(schema_file)))
consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader", "isolation.level": "read_committed",
                     "enable.auto.commit": False})
ends = {}
for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
    if high > low:
        ends[number] = high
consumer.assign([TopicPartition(topic, number, 0) for number in ends])
while ends:
    message = consumer.poll(5.0)
    if message is None:
        break
    assert message.error() is None, message.error()
    value = message.value()
    assert value[:2] == b"\\xc3\\x01"
    decision = fastavro.schemaless_reader(io.BytesIO(value[10:]), schema)
    headers = dict(message.headers())
    assert headers["ce_type"] == b"jurat.decisions.Decision" and headers["ce_id"].decode() == decision["id"]
    print(json.dumps({k: decision[k] for k in ("id", "request_id", "verdict", "policies", "action")}))
    if message.offset() >= ends[message.partition()] - 2:  # the last offset is the transaction's marker
        del ends[message.partition()]
consumer.close()
assert not [name for name in sys.modules if name.split(".")[0] == "jurat"]
"""


AGENT = "payment-retrier"
READ = ("--from-beginning", "--until-idle", "200ms", "--format", "jsonl")


@pytest.fixture
def decided(shell: Shell) -> Shell:
    """A shop with a few decisions."""
    shell.run("simulate", "--seed", "7", "--orders", "40", "--rate", "0")
    shell.run("worker", AGENT, "--until-idle", "200ms")
    return shell


def test_a_third_party_decodes_the_decisions(decided: Shell, tmp_path: Path) -> None:
    schema = tmp_path / "decision.avsc"
    schema.write_bytes((ROOT / "schemas" / "avro" / "jurat.decisions.Decision.avsc").read_bytes())
    topic = decided.connection.topic(f"decisions.{AGENT}")
    done = subprocess.run(
        [sys.executable, "-c", READER, decided.connection.bootstrap_servers, topic, str(schema)],
        capture_output=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    decisions = [json.loads(line) for line in done.stdout.splitlines()]
    own = decided.run("subscribe", f"decisions.{AGENT}", *READ).stdout
    ours = [json.loads(line) for line in own.splitlines()]
    assert decisions
    assert sorted(decisions, key=itemgetter("id")) == sorted(
        ({name: one[name] for name in decisions[0]} for one in ours), key=itemgetter("id")
    )
    assert {one["verdict"] for one in decisions} <= {"allow", "deny", "escalate"}


def test_openssl_verifies_an_exported_record(decided: Shell, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on PATH")
    log = tmp_path / "log.jsonl"
    decided.run("audit", "replay", "--output", str(log))
    line = json.loads(log.read_text().splitlines()[0])
    payload = base64.b64decode(line["payload"])
    signature = line["signatures"][0]
    kind = line["payloadType"].encode()
    # DSSE's pre-authentication encoding, and the did:key's last 32 bytes as a SubjectPublicKeyInfo: RFC 8410.
    (tmp_path / "pae").write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
    (tmp_path / "sig").write_bytes(base64.b64decode(signature["sig"]))
    raw = base58(signature["keyid"].removeprefix("did:key:z"))[-32:]
    (tmp_path / "key.der").write_bytes(bytes.fromhex("302a300506032b6570032100") + raw)
    verify = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", "key.der"]
    verify += ["-in", "pae", "-sigfile", "sig"]
    done = subprocess.run(verify, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    (tmp_path / "pae").write_bytes(
        (tmp_path / "pae").read_bytes().replace(AGENT.encode(), b"payment-retried", 1)
    )
    assert subprocess.run(verify, cwd=tmp_path, capture_output=True, check=False).returncode != 0


def base58(text: str) -> bytes:
    """Base58 (Bitcoin alphabet) to bytes."""
    number = 0
    for digit in text:
        number = number * 58 + "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".index(digit)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")

"""The examples of the specifications of a worker's state: what the text shows is what the program writes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from jurat.agents.memory import (
    MAX_FACTS,
    MAX_NAME_CHARS,
    MAX_VALUE_CHARS,
    NOTHING,
    Learned,
    Memory,
    remember,
)
from jurat.audit import credential
from jurat.audit.approval import MAX_WHY_CHARS, parse_statement, requested_digest
from jurat.audit.chain import ChainHead
from jurat.audit.credential import (
    PROOF_TYPE,
    STATEMENT_TYPE,
    AgentCredential,
    Issuer,
    print_payload,
)
from jurat.audit.forgetting import DATA_PROTECTION, PAYLOAD_TYPE, statement_of
from jurat.audit.input_manifest import MAX_INPUTS, MAX_LINE_BYTES, MAX_RUNS, InputsHeld, print_inputs
from jurat.audit.record import FORGET_ASKED_BY, FORGOTTEN, ContextRead
from jurat.audit.trust_log import MAX_STATEMENTS
from jurat.audit.usage import BudgetUsed
from jurat.audit.verifier_report import NOT_GIVEN, TITLES, Check
from jurat.policies.usage import MAX_TAKES
from jurat.schemas import canonical
from jurat.schemas.approvals import MAX_STATEMENT_BYTES
from jurat.schemas.decision import InputRef
from jurat.schemas.moments import CLOCK_SLACK
from jurat.streams.documents import digest_of
from jurat.streams.kafka import KafkaRecord, TopicPartition
from jurat.streams.keyed_state import KeyedState
from jurat.streams.offsets import MAX_SPAN, OffsetMap
from jurat.streams.parking import (
    MAX_ENTRY_BYTES,
    MAX_HEADERS,
    MAX_PARKED_BYTES,
    MAX_PARKED_RECORDS,
    MAX_RECORD_BYTES,
    Parking,
)
from jurat.streams.state import Source
from jurat.streams.timers import MAX_TIMERS, Standing, Timers
from jurat.streams.usage import Taken
from jurat.streams.waiting import MAX_WAITING, MAX_WAITING_BYTES, TIME_OUT
from tests.examples import REQUEST
from tests.tree import ROOT
from tests.trust_stage import AGENT, at, settled, signed

SPEC = ROOT / "docs" / "spec"
TOPIC = "marketplace.disputes"


def text_of(name: str) -> str:
    return (SPEC / name).read_text()


def test_the_statements_of_the_trust_log() -> None:
    """Every example is what the program prints, and every bound is the program's."""
    text = text_of("identity.md")
    stage = settled()
    revocation = stage.org.revocation(AGENT, compromised_since=at(hours=1))
    stage.org.add(signed(revocation, "issuer payments"))
    identity = stage.record().identity
    assert identity is not None
    shown = [
        stage.org.lines[0],
        *(print_payload(one.statement) for one in stage.org.log.statements),
        canonical.dumps(stage.org.log.head.model_dump()),
        canonical.dumps(identity.model_dump()),
    ]
    assert re.findall(r"^```json\n(.*?)\n```", text, re.MULTILINE) == [one.decode() for one in shown]
    assert f"at\nmost {credential.MAX_STATEMENT_BYTES:,} bytes" in text
    assert f"at most {credential.MAX_PAYLOAD_BYTES:,} bytes" in text
    assert f"the {MAX_STATEMENTS + 1:,}st" in text
    assert STATEMENT_TYPE in text
    assert PROOF_TYPE in text
    lasts = f"An issuer lasts at most {Issuer.most_days} days, an agent {AgentCredential.most_days}, a session one"
    assert lasts in text


@pytest.mark.parametrize("name", ["offset-map.md", "changelog.md"])
def test_the_programs_in_the_text_run(name: str) -> None:
    programs = re.findall(r"^```python\n(.*?)^```", text_of(name), re.DOTALL | re.MULTILINE)
    assert programs
    for program in programs:
        exec(compile(program, name, "exec"), {})  # the text is ours


def test_the_offset_maps() -> None:
    text = text_of("offset-map.md")
    assert f"\n{OffsetMap(1000, {1001, 1002, 1005, 1009}).encode()}\n" in text
    assert OffsetMap.decode(1000, "zeJz7959UwIAEBAB99DHe").covers(OffsetMap(1000, {*range(1001, 1400), 1500}))
    assert "`zeJz7959UwIAEBAB99DHe`" in text
    assert f"{MAX_SPAN:,}" in text
    assert f"{MAX_SPAN // 8:,} bytes" in text


def test_the_chain() -> None:
    source = Source(TopicPartition(TOPIC, 3), OffsetMap(42, {45, 46}))
    key, value = source.entry(ChainHead(40, "5f" * 32))
    assert key == f"chain/{TOPIC}"
    assert (value or b"").decode() in text_of("changelog.md")


def test_parked_inputs() -> None:
    parking, text = Parking(partition=3), text_of("changelog.md")
    headers = (("ce_id", b"d-13"), ("ce_source", b"/shop"))
    first = KafkaRecord(TOPIC, 3, 44, 1_790_000_000_000, b"c-7", b"\xc3\x01\x7f", headers)
    due = datetime(2026, 9, 21, 13, 33, 20, 500_000, tzinfo=UTC)
    assert parking.park(first, attempt=2, due=due).printed().decode() in text
    behind = KafkaRecord(TOPIC, 3, 47, 1_790_000_000_100, b"c-7", None)
    assert parking.park(behind).printed().decode() in text
    for bound in (MAX_RECORD_BYTES, MAX_ENTRY_BYTES, MAX_HEADERS, MAX_PARKED_RECORDS):
        assert f"{bound:,}" in text
    assert f"{MAX_PARKED_BYTES // 2**20} MiB" in text


def test_the_use_of_budgets() -> None:
    text = text_of("changelog.md")
    at = datetime(2026, 9, 21, 13, 33, 20, 500_000, tzinfo=UTC)
    customer, amount = "resource.customer_id", "context.amount_minor"
    taken = Taken(at=at, by=customer, key="c-7", of=amount, taken=8_000, window_s=86_400).printed().decode()
    assert text.count(taken) == 2
    assert f"at most {MAX_TAKES:,} entries" in text
    assert timedelta(hours=1) == CLOCK_SLACK
    described = BudgetUsed(
        budget="refunds_day",
        by=customer,
        key="c-7",
        of=amount,
        window_s=86_400,
        shares=None,
        used=30_000,
        taken=8_000,
    )
    assert canonical.dumps(described.model_dump(mode="json")).decode() in text_of("audit-record.md")


def test_timers() -> None:
    setter = InputRef(topic=TOPIC, partition=3, offset=41)
    due = {
        "remind": datetime(2026, 9, 22, tzinfo=UTC),
        "escalate": datetime(2026, 9, 24, 12, 0, 0, 5, tzinfo=UTC),
    }
    text = text_of("changelog.md")
    assert (Timers().replace("c-7", Standing(set_by=setter, timers=due)) or b"").decode() in text
    assert f"1 to {MAX_TIMERS} names" in text


def test_memory() -> None:
    at = datetime(2026, 9, 21, 13, 33, 20, 500_000, tzinfo=UTC)
    since = datetime(2026, 9, 21, 13, 33, 19, tzinfo=UTC)
    source = InputRef(topic=TOPIC, partition=3, offset=41)
    learned = Learned("failure", "insufficient_funds", since, "payments")
    text = text_of("changelog.md")
    for memory in (NOTHING, remember(NOTHING, (learned,), source=source, learned_at=at)):
        printed = KeyedState(Memory).put("c-7", memory)
        assert printed.decode() in text
        assert sha256(printed).hexdigest() == digest_of(memory)
    assert f"at most {MAX_FACTS}:" in text
    assert f"1 to {MAX_NAME_CHARS} characters" in text
    assert f"at most {MAX_VALUE_CHARS} characters" in text


def test_forgetting() -> None:
    text = text_of("forgetting.md")
    at = datetime(2026, 9, 21, 13, 33, 20, 500_000, tzinfo=UTC)
    cluster = "MkU3OEVBNTcwNTJENDM2Qk"
    said = statement_of(
        agent="dispute-mediator", cluster=cluster, event_key="c-7", learned_until=at, topic=TOPIC
    )
    assert f"\n{said.decode()}\n" in text
    asked_by = ContextRead(name=FORGET_ASKED_BY, key="dora", uri=None, sha256="d" * 64)
    gone = ContextRead(name=FORGOTTEN, key="c-7", uri=None, sha256="e" * 64)
    printed = canonical.dumps([one.model_dump(mode="json") for one in (asked_by, gone)])
    assert f"\n{printed.decode()}\n" in text
    assert f"{MAX_STATEMENT_BYTES:,}" in text
    assert f"`{PAYLOAD_TYPE}`" in text
    assert f"`{DATA_PROTECTION}`" in text


def test_approvals() -> None:
    text = text_of("approval.md")
    assert f"\n{REQUEST.model_dump_json()}\n" in text
    assert requested_digest(REQUEST) == REQUEST.action_sha256
    shown = re.findall(r"^```json\n(.*)\n```", text, re.MULTILINE)
    _request, statement, action = (one.encode() for one in shown)
    assert sha256(action).hexdigest() == REQUEST.action_sha256
    said = parse_statement(statement)
    assert (said.subject[0].name, said.subject[0].digest.sha256) == (
        REQUEST.decision_id,
        REQUEST.action_sha256,
    )
    assert (said.predicate.policy_digest, said.predicate.agent) == (REQUEST.policy_digest, REQUEST.agent)
    for bound in (MAX_STATEMENT_BYTES, MAX_WHY_CHARS, MAX_WAITING):
        assert f"{bound:,}" in text
    assert f"{MAX_WAITING_BYTES // 2**20} MiB" in text
    assert f"`{TIME_OUT}`" in text


def test_the_input_manifest() -> None:
    text = text_of("input-manifest.md")
    held = InputsHeld("after-sales", "commerce.after-sales-requests", 0, 0, 12, ((0, 3), (5, 5), (7, 10)))
    assert f"\n{print_inputs(held).decode()}\n" in text
    assert held.inputs == 9
    for bound in (MAX_RUNS, MAX_INPUTS, MAX_LINE_BYTES):
        assert f"{bound:,}" in text


def test_the_checks_of_the_verifier() -> None:
    text = (ROOT / "docs" / "audit.md").read_text()
    table = text.partition("| number | check | needs |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([0-9]+) \| (.*?) \|(.*?)\|$", table, re.MULTILINE)
    assert [(int(number), title.replace("`", "")) for number, title, _needs in rows] == [
        (check.value, TITLES[check]) for check in Check
    ]
    assert {int(number) for number, _title, needs in rows if needs.strip()} == {*NOT_GIVEN}

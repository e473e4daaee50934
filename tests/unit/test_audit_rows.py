"""Rows of the log: what they hold, and that files of them are safe to open."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jurat.audit.answered import Approval
from jurat.audit.log import LogEntry
from jurat.audit.reasoning import ReasonerUsed, Usage
from jurat.audit.record import DecisionRecord, Outcome, Rejection, parse
from jurat.audit.rows import COLUMNS, Kind, Row, row
from jurat.cli import audit_parquet
from jurat.cli.audit_parquet import Parquet
from jurat.cli.audit_printers import Csv, Printer, RowLines
from jurat.schemas import canonical
from jurat.schemas.decision import Verdict
from tests.golden.audit import sample_log

SPEC = Path(__file__).parents[2] / "docs" / "spec" / "replay-rows.md"
ENTRY = sample_log.log(1)[0]
RECORD = parse(ENTRY.record.payload).predicate
HOSTILE = (
    '=HYPERLINK("http://x";"y")',
    "+1",
    "-1+2",
    "@SUM(A1)",
    "a\r\nb,c",
    '"quoted"',
    "\x1b[2J",
    "\t=1",
    " =1",
    "\uff1d1",
    "a;=1",
    "a; @x;-1",
)


def said(**changes: object) -> Row:
    return row(ENTRY, RECORD.model_copy(update=changes))


def printed(kind: type[RowLines | Csv | Parquet], *records: DecisionRecord | None) -> bytes:
    file = io.BytesIO()
    printer: Printer = kind(file)
    for record in records:
        printer.add(ENTRY, record)
    printer.close()
    return file.getvalue()


def named(name: str) -> DecisionRecord:
    """A record whose action is called so."""
    return RECORD.model_copy(update={"proposals": (RECORD.proposals[0].model_copy(update={"action": name}),)})


def test_the_row_of_the_specification() -> None:
    block = re.search(r"```json\n(.*)\n```", SPEC.read_text("utf-8"))
    assert block is not None
    assert printed(RowLines, RECORD).decode() == block[1] + "\n"


def test_the_columns_of_the_specification_in_their_order_with_their_types() -> None:
    table = SPEC.read_text("utf-8").partition("## Columns")[2].partition("## Files")[0]
    told: list[tuple[str, str]] = []
    for line in table.splitlines():
        if line.startswith("| `"):
            names, kinds = (cell.strip() for cell in line.split("|")[1:3])
            each = [name.strip(" `") for name in names.split(",")]
            types = [kind.strip() for kind in kinds.split(",")]
            told += zip(each, types if len(types) > 1 else types * len(each), strict=True)
    assert told == [(column.name, column.kind.value) for column in COLUMNS]


def test_every_outcome_has_the_same_columns_with_values_of_their_types() -> None:
    kinds: dict[Kind, type] = {Kind.TEXT: str, Kind.TIME: str, Kind.INTEGER: int}
    for entry in sample_log.log(10):
        made = row(entry, parse(entry.record.payload).predicate)
        assert [*made] == [column.name for column in COLUMNS]
        for column in COLUMNS:
            assert made[column.name] is None or type(made[column.name]) is kinds[column.kind]
            if column.kind is Kind.TIME:
                assert datetime.fromisoformat(str(made[column.name])).tzinfo is not None


def test_an_unreadable_payload_still_has_its_place() -> None:
    made = row(ENTRY, None)
    assert [*made] == [column.name for column in COLUMNS]
    assert (made["outcome"], made["decision_id"]) == ("unreadable", None)
    assert (made["topic"], made["partition"], made["offset"]) == ("audit.decisions", 0, 0)
    assert made["chain"] == RECORD.chain


@pytest.mark.parametrize(
    ("timestamp_ms", "told"),
    [
        (2**62, "9999-12-31T00:00:00.000000Z"),
        (-(2**63), "0001-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999000Z"),
    ],
)
def test_a_timestamp_that_no_calendar_has_does_not_end_the_reading(timestamp_ms: int, told: str) -> None:
    entry = LogEntry(ENTRY.topic, 0, 0, timestamp_ms, ENTRY.record)
    assert row(entry, RECORD)["kafka_time"] == told


def test_the_proposal_that_became_the_decision_is_told() -> None:
    first = RECORD.proposals[0].model_copy(update={"verdict": Verdict.DENY, "action": "first"})
    last = RECORD.proposals[0].model_copy(update={"action": "last", "fallback": "every proposal was refused"})
    made = said(proposals=(first, last))
    assert (made["action"], made["proposals"], made["refused"]) == ("last", 2, 1)
    assert made["fallback"] == "every proposal was refused"
    assert said(proposals=(first, last), outcome=Outcome.DENIED)["action"] == "first"


def test_money_comes_with_the_currency_of_the_same_place() -> None:
    policy = RECORD.policy
    assert policy is not None

    def money(context: object, parameters: dict[str, Any]) -> tuple[object, object]:
        proposal = RECORD.proposals[0].model_copy(update={"parameters": parameters})
        made = said(
            policy=policy.model_copy(update={"input": {"context": context}}),
            proposals=(proposal,),
        )
        return made["amount_minor"], made["currency"]

    both = {"amount_minor": 300, "currency": "JPY"}
    assert money({"amount_minor": 5, "currency": "EUR"}, both) == (5, "EUR")
    assert money({"amount_minor": 5}, both) == (5, None), "a sum must not get the currency of another"
    assert money({"amount_minor": True, "currency": "EUR"}, both) == (300, "JPY")
    assert money("no object", {}) == (None, None)


def test_what_was_acted_on_and_who_answered_and_what_it_took() -> None:
    policy = RECORD.policy
    assert policy is not None
    answer = Approval(
        role="fraud-desk",
        approver="carol",
        answer="grant",
        keyid="k",
        sha256="0" * 64,
        statement="{}",
        sig="0" * 128,
    )
    usage = Usage(calls=1, input_tokens=7, output_tokens=3, cost_micros=12, currency="EUR")
    made = said(
        policy=policy.model_copy(update={"input": {"resource": {"type": "Jurat::Order", "id": "o-1"}}}),
        approvals=(answer, answer.model_copy(update={"answer": "refuse"})),
        reasoner=ReasonerUsed(name="openai", deterministic=False, model="gpt", usage=usage),
        rejection=Rejection(error="DecodeError", message="no Avro"),
    )
    assert (made["resource_type"], made["resource_id"]) == ("Jurat::Order", "o-1")
    assert made["approvals"] == "grant by carol as fraud-desk; refuse by carol as fraud-desk"
    assert [made[name] for name in ("input_tokens", "output_tokens", "cost_micros", "cost_currency")] == [
        7,
        3,
        12,
        "EUR",
    ]
    assert made["rejection"] == "DecodeError: no Avro"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_is_neither_a_formula_nor_a_line_of_its_own(text: str) -> None:
    data = printed(Csv, named(text), RECORD).decode()
    assert data.count("\r\n") == data.count("\n") == 3, "a row is a line"
    assert "\x1b" not in data
    first, second = csv.DictReader(io.StringIO(data, newline=""))
    for cell in first["action"].split(";"):  # where spreadsheets begin one at a semicolon
        assert cell.lstrip()[0] not in "=+-@\t\r\uff1d\uff0b\uff0d\uff20"
    assert first["offset"] == "0"
    assert second["action"] == "return"


def test_csv_keeps_numbers_numbers_and_leaves_what_is_not_there_empty() -> None:
    policy = RECORD.policy
    assert policy is not None
    back = policy.model_copy(update={"input": {"context": {"amount_minor": -5}}})
    (made,) = csv.DictReader(io.StringIO(printed(Csv, RECORD.model_copy(update={"policy": back})).decode()))
    assert made["amount_minor"] == "-5"
    assert made["currency"] == ""
    assert list(made) == [column.name for column in COLUMNS]


def test_json_and_parquet_hold_texts_as_they_are() -> None:
    for text in HOSTILE:
        assert json.loads(printed(RowLines, named(text)))["action"] == text
    table = pq.read_table(io.BytesIO(printed(Parquet, *(named(text) for text in HOSTILE))))
    assert table.column("action").to_pylist() == list(HOSTILE)


def test_parquet_is_typed_and_says_what_the_rows_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_parquet, "GROUP_ROWS", 2)
    data = printed(Parquet, *[RECORD] * 3, None, RECORD)
    file = pq.ParquetFile(io.BytesIO(data))
    assert file.num_row_groups == 3, "no more than a group is held"
    kinds = {Kind.TEXT: pa.string(), Kind.INTEGER: pa.int64(), Kind.TIME: pa.timestamp("us", tz="UTC")}
    schema = file.schema_arrow
    assert [(field.name, field.type) for field in schema] == [(one.name, kinds[one.kind]) for one in COLUMNS]
    found = file.read().to_pylist()
    assert found[0]["time"] == datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    plain = {name: str(value) if "time" in name else value for name, value in found[0].items()}
    expected = {
        name: str(datetime.fromisoformat(str(value))) if "time" in name else value
        for name, value in row(ENTRY, RECORD).items()
    }
    assert plain == expected
    assert [one["outcome"] for one in found] == ["decided"] * 3 + ["unreadable", "decided"]


def test_no_rows_are_a_file_too() -> None:
    assert printed(RowLines) == b""
    assert printed(Csv).count(b"\n") == 1
    assert pq.read_table(io.BytesIO(printed(Parquet))).num_rows == 0


def test_a_row_is_canonical_json() -> None:
    assert canonical.loads(printed(RowLines, RECORD).removesuffix(b"\n")) == row(ENTRY, RECORD)

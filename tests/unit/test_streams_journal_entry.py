"""Entries of the journal: one form, refused otherwise, and a topic whose settings bound how long it gets."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from jurat.agents.agent import MAX_TOOL_NAME
from jurat.schemas.errors import StreamError
from jurat.streams import topics
from jurat.streams.journal_entry import MAX_ENTRY_BYTES, MAX_MESSAGE, Kind, parse_entry, parse_key
from tests.journal_stage import PARTITION, MemoryWriter, Paid, Restoring, ask, opened, proposal
from tests.tree import ROOT

SPEC = (ROOT / "docs/spec/journal.md").read_text(encoding="utf-8")


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Restoring:
    return Restoring(monkeypatch)


def test_the_examples_of_the_specification_are_entries() -> None:
    (key,) = re.findall(r"^key +(\S+)$", SPEC, flags=re.MULTILINE)
    assert parse_key(key.encode()).encode() == key.encode()
    values = re.findall(r"^value +(\S.*)$", SPEC, flags=re.MULTILINE)
    kinds = [parse_entry(value.encode()).kind for value in values]
    assert kinds == [Kind.INTENT, Kind.PROPOSAL, Kind.TOOL, Kind.USE, Kind.RESULT]
    assert all(f"`{kind.value}`" in SPEC for kind in Kind)
    assert f"at most {MAX_TOOL_NAME} characters" in SPEC
    assert f"at most {MAX_ENTRY_BYTES:,} bytes" in SPEC
    assert f"at most {MAX_MESSAGE:,} characters" in SPEC


def test_the_topic_has_the_settings_of_the_specification() -> None:
    said = dict(re.findall(r"^\| `([a-z.]+)` \| `?([a-z0-9.]+)`? \|", SPEC, flags=re.MULTILINE))
    settings = topics.journal("doer").configs(replication=3)
    assert said == {name: value for name, value in settings.items() if name != "min.insync.replicas"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"state/x/1", None),
        (b"call/x/1/1/0/9f86d08", None),
        (b"call/x/01/1/0/9f86d081", None),
        (b"call/x/9999999999999999/1/0/9f86d081", None),
        (b"call/x/1/1/0/9f86d081\n", None),
        (b"call/x/1/1/0/9f86d081", b""),
        (b"call/x/1/1/0/9f86d081", b"{}"),
    ],
)
async def test_a_record_that_is_not_ours_stops_the_restore(
    restored: Restoring, key: bytes | None, value: bytes | None
) -> None:
    with pytest.raises(StreamError, match="another release") as refused:
        await restored([(key, value)])
    assert refused.value.details == {"topic": "ns.journal.doer", "partition": PARTITION, "offset": 0}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b'"kind":"proposal"', b'"kind":"nothing"'),
        lambda text: text.replace(b'"kind":"proposal"', b'"kind":"intent"'),
        lambda text: text.replace(b'"kind":"proposal"', b'"kind":"other"'),
        lambda text: text.replace(b'"message":null', b'"message":"x"'),
        lambda text: text.replace(b'"kind":"proposal"', b'"kind":"tool"'),
        lambda text: text[:-1] + b',"result":{}}',
        lambda text: text[:-1] + b',"tool":null}',
        lambda text: text[:-1] + b',"tool":{"arguments":{},"name":"count"}}',
        lambda text: text.replace(b'"rationale":', b'"reasoner":"","rationale":'),
        lambda text: text.replace(b'"confidence":80', b'"confidence":"80"'),
        lambda text: text.replace(b"Z", b"+00:00"),
        lambda text: text.replace(b'"message":null,', b""),
        lambda text: text + b" ",
        lambda text: text[:-1] + b',"z":1}',
        lambda text: text.replace(b"because of 1", b"x" * MAX_ENTRY_BYTES),
    ],
)
async def test_an_entry_has_one_form(change: Callable[[bytes], bytes]) -> None:
    writer = MemoryWriter()
    await ask(opened(writer), Paid(proposal()))
    value = writer.log[1][1] or b""
    assert parse_entry(value).kind is Kind.PROPOSAL
    changed = change(value)
    assert changed != value
    with pytest.raises(StreamError):
        parse_entry(changed)

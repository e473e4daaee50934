"""Text from outside steers no terminal and begins no line of its own, whatever message quotes it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from jurat.audit.credential import AgentCredential, parse_payload, print_payload
from jurat.audit.identity import TrustHead
from jurat.cli import main
from jurat.schemas import canonical
from jurat.schemas.errors import ConfigurationError, StatementInvalid
from jurat.schemas.shown import first_fault, printable
from tests.trust_stage import changed, root, settled

HOSTILE = "\x1b[2J\nVALID: everything is good\u202e"


def test_what_is_not_printable_is_escaped() -> None:
    assert printable("größer, «αβγ» 漢") == "größer, «αβγ» 漢"
    assert printable(HOSTILE) == "\\x1b[2J\\nVALID: everything is good\\u202e"


def test_a_fault_names_its_place_and_nothing_else() -> None:
    with pytest.raises(ValidationError) as caught:
        TrustHead.model_validate({"sha256": "0" * 64, "size": 0, HOSTILE: 1})
    said = first_fault(caught.value)
    assert said.isprintable()
    assert said.startswith("\\x1b[2J")


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("keyid", None, "keyid: expected it, got nothing"),
        ("owner", "", "owner: expected text of 1 characters or more"),
        ("owner", "o" * 501, "owner: expected text of 500 characters or fewer"),
        ("name", "Bad Name", "name: expected text of the form ^[a-z0-9][a-z0-9-]{0,63}$"),
        ("more", 1, "more: expected no such member"),
        ("expiry", "soon", "expiry: got the time 'soon', expected RFC 3339"),
    ],
)
def test_a_fault_is_told_in_our_words(member: str, value: object, said: str) -> None:
    fields = settled().agent.model_dump()
    fields[member] = value
    if value is None:
        del fields[member]
    with pytest.raises(ValidationError) as caught:
        AgentCredential.model_validate(fields)
    assert first_fault(caught.value).startswith(said)


def test_a_statement_on_the_topic_steers_no_terminal() -> None:
    member = HOSTILE.encode("ascii", "ignore").decode()  # canonical JSON has ASCII names alone
    with pytest.raises(StatementInvalid) as caught:
        parse_payload(changed(root(settled().org.log.head), **{member: 1}))
    assert str(caught.value).isprintable()
    assert parse_payload(print_payload(root(settled().org.log.head)))
    assert canonical.dumps({member: 1})


def test_errors_are_printed_so_that_they_steer_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(**_words: str) -> None:
        raise ConfigurationError("got \x1b[2J\u202e\nexpected a line")

    monkeypatch.setattr(main, "entry", fails)
    with pytest.raises(SystemExit):
        main.main()
    assert capsys.readouterr().err == "jurat: got \\x1b[2J\\u202e\nexpected a line\n"

"""`jurat policy eval`: requests as JSON lines, answered in their order, by our bundles and by plain Cedar.

The folders of `tests/golden/cedar` are in the form of Cedar's own integration tests, with decision, reason and errors
beside every request. They also gate the pinned binding: what jurat relies on in Cedar is in them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cedarpy
import pytest
from click.testing import CliRunner, Result

from jurat.cli.policy import command
from jurat.policies import PolicyEngine, load_bundle
from jurat.policies.cedar_requests import MAX_REQUEST_BYTES, LineError, parse
from jurat.schemas.errors import BundleError
from tests.fixtures.policies.refund_models import REFUNDS
from tests.tree import ROOT
from tests.unit.test_policies_engine import refund

ENGINE = PolicyEngine(load_bundle(REFUNDS))
CORPORA = sorted((ROOT / "tests" / "golden" / "cedar").iterdir())


def evaluate(bundle: Path | str, *lines: object) -> Result:
    written = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    arguments = ["eval", "--bundle", str(bundle), "--input", "-"]
    return CliRunner().invoke(command, arguments, input=b"\n".join(written) + b"\n")


def answers(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def asked(amount: int, **more: Any) -> dict[str, Any]:
    """What the engine records of a refund, as it stands in a log."""
    return {**ENGINE.judge(refund(amount)).normalised, **more}


@pytest.mark.parametrize("folder", CORPORA, ids=lambda folder: folder.name)
def test_hazard_6_plain_cedar_is_answered_as_a_corpus_expects(folder: Path) -> None:
    source = folder / "requests.jsonl"
    result = CliRunner().invoke(command, ["eval", "--bundle", str(folder), "--input", str(source)])
    expected = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    assert [
        {"line": number, "decision": one["decision"], "reasons": one["reason"], "errors": one["errors"]}
        for number, one in enumerate(expected, start=1)
    ] == [{k: one[k] for k in ("line", "decision", "reasons", "errors")} for one in answers(result)]
    assert result.exit_code == 0
    assert "plain Cedar" in result.stderr


def test_where_plain_cedar_allows_beside_an_error_jurat_denies() -> None:
    """Hazard 1 in the open: Cedar skipped a forbid that could not be evaluated."""
    (line,) = (
        one
        for folder in CORPORA
        for one in (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()
        if "what errs is skipped, and named" in one
    )
    (answer,) = answers(evaluate(ROOT / "tests/golden/cedar/photos", line.encode()))
    assert (answer["decision"], answer["verdict"], answer["errors"]) == ("allow", "deny", ["policy3"])
    assert "integer overflow" in answer["messages"][0]


def test_our_bundle_is_answered_by_the_engine() -> None:
    result = evaluate(REFUNDS, asked(1_000), asked(60_000), asked(99_000))
    assert answers(result) == [
        {
            "line": 1,
            "verdict": "allow",
            "decision": "allow",
            "reasons": ["refund.grant"],
            "errors": [],
            "titles": ["Refund agents may refund what the customer actually paid"],
            "approvers": [],
        },
        {
            "line": 2,
            "verdict": "escalate",
            "decision": "deny",
            "reasons": ["refund.gold-over-500"],
            "errors": [],
            "titles": ["Refunds over 500 EUR need the payments lead"],
            "approvers": ["payments-lead"],
        },
        {
            "line": 3,
            "verdict": "deny",
            "decision": "deny",
            "reasons": [],
            "errors": [],
            "titles": ["no policy permits this"],
            "approvers": [],
        },
    ]
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_shipped_bundle_is_named() -> None:
    (answer,) = answers(evaluate("shop", asked(1)))
    assert answer["verdict"] == "deny"
    assert "got the agent refunder-1, expected one of roles.yaml" in answer["errors"][0]


def test_an_agent_cannot_bring_its_roles_along() -> None:
    forged = {
        "uid": 'Jurat::Agent::"collector-1"',
        "attrs": {},
        "parents": ['Jurat::Role::"refunder"'],
    }
    line = asked(1_000, principal='Jurat::Agent::"collector-1"')
    line["entities"] = [*line["entities"], forged]
    (answer,) = answers(evaluate(REFUNDS, line))
    assert (answer["verdict"], answer["reasons"]) == ("deny", [])
    assert answer["errors"]


BAD: list[tuple[object, str]] = [
    (b"{", "got no JSON"),
    (b"\xff{}", "not UTF-8"),
    (b"[]", "got JSON that is no object"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"principal": NaN}', "got NaN"),
    (b'{"action": 1, "action": 2}', "got the field action twice"),
    ({"principl": 1}, "got the field principl, expected one of"),
    ({}, "got no principal"),
    (asked(1, context=[]), "a context that is no object"),
    (asked(1, entities={}), "entities that are no list"),
    (asked(1, entities=[7]), "an entity without a uid"),
    (asked(1, entities=[{"uid": 'A::"a"', "parents": 7}]), "parents that are no list"),
    (asked(1, validateRequest=1), "a validateRequest that is neither"),
    (asked(1, principal={"type": "A"}), "got another kind of principal"),
    (asked(1, principal={"type": "A", "id": 7}), "got another kind of principal"),
    (asked(1, principal={"type": "A", "id": "a", "x": 1}), "got another kind of principal"),
    (asked(1, principal=""), "got the principal ''"),
    (asked(1, principal="Jurat::Agent"), "expected Type::"),
    (asked(1, principal='A::"a", action, resource); permit (principal == A::"b"'), "more than the name"),
    (asked(1, principal='A::"a", action, resource) when { true };//'), "got the principal"),
    (asked(1, principal="?principal"), "more than the name"),
    (asked(1, principal="A::" + "(" * 100_000), "got the principal"),
    (b'{"context": {"amount": ' + b"9" * 5_000 + b"}}", "got an integer of 5000 characters"),
    (b'{"context": {"amount": -1e400}}', "got the number -1e400"),
    (b'{"context": {"amount": ' + b"1" * 5_000 + b"e5000}}", "got the number 1111"),
    (b'{"context": {"name": "\\ud800"}}', "got a text with \\ud800, half of a surrogate pair"),
    (b'{"context": {"a\\uDFFF": 1}}', "got a text with \\udfff, half of a surrogate pair"),
    (b'{"context": {"deep": ' + b"[" * 99 + b"]" * 99 + b"}}", "at most 100 lists and objects"),
    (
        b'{"context": {' + b", ".join(b'"%d": 1' % (n % 49_999) for n in range(50_000)) + b"}}",
        "field 0 twice",
    ),
    (asked(1, schema=None), "got the field schema, expected one of"),
    (asked(1, **{"x" * 100_000: 1}), "got the field xxx"),
    (b'{"context": {"name": "' + b"x" * 10_000_000 + b'"}}', "got a line of more than 8000000 bytes"),
]


@pytest.mark.parametrize(("line", "told"), BAD, ids=[told for _line, told in BAD])
def test_a_bad_line_is_answered_in_its_place_and_stops_nothing(line: object, told: str) -> None:
    for bundle in (REFUNDS, ROOT / "tests/golden/cedar/photos"):
        result = evaluate(bundle, asked(1_000), line, b"", asked(60_000))
        first, second, third = answers(result)
        assert (first["line"], second["line"], third["line"]) == (1, 2, 4)
        assert told in second["error"]
        assert max(map(len, [*second["errors"], second["error"]])) <= 500
        assert (second["verdict"], second["decision"], second["reasons"]) == ("deny", None, [])
        assert "error" not in first
        assert "error" not in third
        assert result.exit_code == 1


@pytest.mark.parametrize("value", [1.5, 2**53, 2**63, 10**30, 10**99, {"é": 1}])
def test_what_a_record_cannot_hold_is_a_bad_line_for_our_bundles(value: object) -> None:
    line = asked(1)
    line["context"] = {**line["context"], "amount_minor": value}
    result = evaluate(REFUNDS, line)
    (answer,) = answers(result)
    assert (answer["verdict"], answer["decision"], result.exit_code) == ("deny", None, 1)
    assert "canonical" in answer["error"]


@pytest.mark.parametrize("value", [1.5, 1e308, 2**63, 10**99, {"__extn": {"fn": "ip", "arg": "x"}}])
def test_what_plain_cedar_cannot_be_asked_has_no_decision(value: object) -> None:
    line = json.loads((ROOT / "tests/golden/cedar/photos/requests.jsonl").read_text().splitlines()[0])
    line["context"]["mfa"] = value
    result = evaluate(ROOT / "tests/golden/cedar/photos", line)
    (answer,) = answers(result)
    assert (answer["verdict"], answer["decision"], answer["reasons"]) == ("deny", None, [])
    assert answer["errors"]
    assert result.exit_code == 0  # the line was a request


def test_what_errors_repeat_is_bounded() -> None:
    """Cedar quotes names whole; which policy could not be evaluated is told all the same."""
    folder = ROOT / "tests/golden/cedar/photos"
    line = json.loads((folder / "requests.jsonl").read_text().splitlines()[0])
    line["principal"] = {"type": "User", "id": "x" * 100_000}
    (answer,) = answers(evaluate(folder, line))
    assert answer["errors"] == ["policy3", "policy4"]
    assert [len(message) for message in answer["messages"]] == [500, 500]
    odd = asked(1)
    odd["context"] = {**odd["context"], "x" * 100_000 + "é": 1}
    (answer,) = answers(evaluate(REFUNDS, odd))
    assert len(answer["error"]) == 500
    assert "canonical" in answer["error"]


def test_a_line_that_is_too_long_is_one_bad_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LineError, match="got a line of more than"):
        parse(b" " * (MAX_REQUEST_BYTES + 1))
    monkeypatch.setattr("jurat.policies.cedar_requests.MAX_REQUEST_BYTES", 1_000)
    monkeypatch.setattr("jurat.cli.policy_eval.MAX_REQUEST_BYTES", 1_000)
    result = evaluate(REFUNDS, asked(1_000), b'{"' + b"x" * 5_000 + b'": 1}', asked(1_000))
    assert [(one["line"], one["verdict"]) for one in answers(result)] == [
        (1, "allow"),
        (2, "deny"),
        (3, "allow"),
    ]
    assert result.exit_code == 1


# Folders of plain Cedar.


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "tests/golden/cedar/photos", tmp_path / "photos"))


def broken(folder: Path) -> str:
    result = evaluate(folder, {})
    assert isinstance(result.exception, BundleError)
    return str(result.exception)


def test_every_file_that_cedar_refuses_is_named(photos: Path) -> None:
    (photos / "more.cedar").write_text("permit (principal,\naction, resource) when {;\n")
    (photos / "odd.cedar").write_bytes(b"\xff")
    told = broken(photos)
    assert "more.cedar:2: unexpected token `;`" in told
    assert "odd.cedar: got bytes that are not UTF-8" in told


def test_entities_that_the_schema_refuses_are_a_fault(photos: Path) -> None:
    (photos / "entities.json").write_text('[{"uid": {"type": "Car", "id": "c"}, "attrs": {}, "parents": []}]')
    assert "entities.json: error during entity deserialization" in broken(photos)
    (photos / "schema.cedarschema").write_text("entity A")
    assert "schema.cedarschema: error parsing schema" in broken(photos)


def test_two_schemas_are_a_fault(photos: Path) -> None:
    (photos / "other.cedarschema").write_text("entity A;")
    assert "got other.cedarschema, schema.cedarschema, expected one" in broken(photos)


def test_a_folder_without_policies_is_a_fault(tmp_path: Path) -> None:
    assert "got no policy" in broken(tmp_path)


def test_policies_that_would_overflow_the_parser_are_a_fault(photos: Path) -> None:
    (photos / "deep.cedar").write_text(
        "permit (principal, action, resource) when { " + "(" * 20_000 + "true" + ")" * 20_000 + " };"
    )
    assert "deep.cedar:1: got more than 100 brackets" in broken(photos)


def test_a_bundle_of_ours_that_lost_a_file_is_not_taken_for_plain_cedar(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(REFUNDS, tmp_path / "refunds"))
    (folder / "schema.cedarschema").unlink()
    assert "schema.cedarschema: missing" in broken(folder)


def test_policies_as_json_are_read(photos: Path) -> None:
    lines = [json.loads(line) for line in (photos / "requests.jsonl").read_text().splitlines()]
    before = [{**one, "ids": None} for one in answers(evaluate(photos, *lines))]
    text = cedarpy.policies_to_json_str((photos / "policies.cedar").read_text(encoding="utf-8"))
    (photos / "policies.cedar").unlink()
    (photos / "policies.json").write_text(text, encoding="utf-8")
    assert [{**one, "ids": None} for one in answers(evaluate(photos, *lines))] == before


LINKED = {
    "templates": {
        "t": {
            "effect": "permit",
            "principal": {"op": "==", "slot": "?principal"},
            "action": {"op": "All"},
            "resource": {"op": "All"},
            "conditions": [],
        }
    },
    "staticPolicies": {},
    "templateLinks": [
        {
            "templateId": "t",
            "newId": "ann",
            "values": {"?principal": {"__entity": {"type": "User", "id": "ann"}}},
        }
    ],
}


def test_a_template_counts_where_it_is_linked(tmp_path: Path) -> None:
    (tmp_path / "policies.json").write_text(json.dumps(LINKED), encoding="utf-8")
    ann, bob = (
        {
            "desc": "an old corpus",
            "principal": f'User::"{name}"',
            "action": 'Action::"a"',
            "resource": 'B::"b"',
        }
        for name in ("ann", "bob")
    )
    result = evaluate(tmp_path, ann, bob)
    assert [(one["decision"], one["reasons"]) for one in answers(result)] == [
        ("allow", ["ann"]),
        ("deny", []),
    ]
    assert result.exit_code == 0


def test_the_folder_that_one_is_in_has_a_name(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "odd.cedar").write_bytes(b"\xff")
    monkeypatch.chdir(photos)
    assert "the Cedar folder photos does not load" in broken(Path())


def test_the_id_of_a_plain_policy_is_told_beside_it(tmp_path: Path) -> None:
    (tmp_path / "p.cedar").write_text('@id("all") permit (principal, action, resource);')
    line = {"principal": 'A::"a"', "action": 'Action::"b"', "resource": 'A::"c"'}
    (answer,) = answers(evaluate(tmp_path, line))
    assert (answer["reasons"], answer["ids"]) == (["policy0"], {"policy0": "all"})

"""Models and tools in a record: its examples, its form with each member and without, and its size."""

from __future__ import annotations

import re

import pytest

from jurat.audit import printing, reasoning, record, shadow_verdict
from jurat.audit.chain import ChainHead
from jurat.audit.draft import draft
from jurat.audit.kept import MAX_ALTERNATIVES, kept_alternatives
from jurat.audit.reasoning import ModelAsked, ReasonerUsed, ToolAnswered, Usage
from jurat.audit.record import (
    MAX_PAYLOAD_BYTES,
    DecisionRecord,
    Outcome,
    ProposalJudged,
    parse,
)
from jurat.schemas import canonical
from jurat.schemas.errors import RecordInvalid
from jurat.schemas.model import Model
from tests.golden.audit import sample_log
from tests.tree import ROOT

SPEC = (ROOT / "docs/spec/audit-record.md").read_text(encoding="utf-8")
SECTION = SPEC[SPEC.index("### Models and tools") : SPEC.index("### Budgets")]
CALL = ModelAsked(
    model="gpt-test", parameters_sha256="1" * 64, prompt_sha256="2" * 64, response_sha256="3" * 64
)
USED = ReasonerUsed(
    name="model",
    deterministic=False,
    model=CALL.model,
    parameters_sha256=CALL.parameters_sha256,
    usage=Usage(calls=2, input_tokens=0, output_tokens=7, cost_micros=0, currency="EUR"),
    tools=(
        ToolAnswered(name="count", arguments_sha256="4" * 64, result_sha256="5" * 64, call=CALL),
        ToolAnswered(name="count", arguments_sha256="4" * 64, result_sha256=None),
    ),
)


def told(**said: object) -> DecisionRecord:
    made = sample_log.record("after-sales", offset=3, outcome=Outcome.DECIDED)
    proposal = made.proposals[0].model_copy(update=said)
    return made.model_copy(update={"reasoner": USED, "proposals": (proposal,)})


def printed(made: DecisionRecord) -> bytes:
    fresh = made.model_copy(update={"seq": 0, "prev": "0" * 64})
    return draft(fresh, made.decision_id, "ab" * 32).finish(ChainHead())


def test_the_examples_of_the_specification_are_of_these_forms() -> None:
    call, tool = re.findall(r"^```json\n(.*)\n```$", SECTION, flags=re.MULTILINE)
    for model, text in ((ModelAsked, call), (ToolAnswered, tool)):
        made = model.model_validate_json(text)
        assert canonical.dumps(made.model_dump(mode="json")).decode() == text
    assert ToolAnswered.model_validate_json(tool).arguments_sha256 == canonical.digest({})


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"alternatives": ("left", "right")},
        {"call": CALL},
        {"reasoner": "small-model"},
        {"fallback": "ReasonerUnavailable"},
        {"alternatives": ("left",), "call": CALL, "reasoner": "small-model"},
    ],
)
def test_a_record_with_each_member_and_without_is_read_back_as_it_was(said: dict[str, object]) -> None:
    payload = printed(told(**said))
    found = parse(payload).predicate
    assert found.reasoner == USED
    assert found.proposals == told(**said).proposals
    (proposal,) = canonical.loads_object(payload)["predicate"]["proposals"]  # type: ignore[index,call-overload]
    assert set(proposal) == {"action", "errors", "parameters", "policies", "reasons", "verdict", *said}


@pytest.mark.parametrize(
    "member", [b'"alternatives":[],', b'"call":null,', b'"fallback":"",', b'"reasoner":"",']
)
def test_a_member_that_holds_nothing_must_be_left_out(member: bytes) -> None:
    payload = printed(told())
    before = {
        b'"alternatives":[],': b'"errors":',
        b'"call":null,': b'"errors":',
        b'"fallback":"",': b'"parameters":',
        b'"reasoner":"",': b'"reasons":',
    }
    proposals = payload.index(b'"proposals"')
    at = payload.index(before[member], proposals)
    with pytest.raises(RecordInvalid, match="not in its one form"):
        parse(payload[:at] + member + payload[at:])


def test_what_is_printed_sometimes_is_what_the_models_exclude_sometimes() -> None:
    models = {
        one
        for module in (record, reasoning, shadow_verdict)
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Model)
    }
    names = {name for one in models for name, info in one.model_fields.items() if info.exclude_if is not None}
    names.remove("identity")  # of the record itself, and filled in when it is signed
    assert tuple(sorted(names)) == printing.SOMETIMES
    assert not names & {
        name for one in models for name, info in one.model_fields.items() if info.exclude_if is None
    } - {"reasoner"}, "of the record itself, `reasoner` is always printed"


def test_alternatives_that_make_a_record_too_large_are_left_out() -> None:
    names = tuple(f"{number:0200}" for number in range(MAX_ALTERNATIVES))
    filler = "x" * (MAX_PAYLOAD_BYTES - len(printed(told())) - 2_000)
    large = told(parameters={"note": filler}, alternatives=names)
    found = parse(printed(large)).predicate
    assert found.proposals[0].alternatives == ()
    assert found.proposals[0].parameters == {"note": filler}
    assert parse(printed(told(alternatives=names))).predicate.proposals[0].alternatives == names


def test_alternatives_are_cut_to_what_a_record_holds() -> None:
    many = ("", "a", "a", "b" * 300, "\ud800", *[f"n{number}" for number in range(100)])
    kept = kept_alternatives(many)
    assert kept[:3] == ("a", "b" * 200, "?")
    assert len(kept) == MAX_ALTERNATIVES
    ProposalJudged.model_validate({**vars(told().proposals[0]), "alternatives": kept})

"""One decision in plain words."""

from __future__ import annotations

from jurat.audit import story
from jurat.audit.answered import Approval
from jurat.audit.reasoning import ReasonerUsed, Usage
from jurat.audit.record import parse
from jurat.schemas.decision import Verdict
from tests.golden.audit import sample_log


def told_of(**changes: object) -> str:
    entry = sample_log.log(6)[4]
    statement = parse(entry.record.payload)
    made = statement.predicate.model_copy(update=changes)
    return story.tell(entry, statement.model_copy(update={"predicate": made}), standing="Verified now.")


def test_the_story_does_not_name_the_reasoner_for_what_the_agent_fell_back_to() -> None:
    own = parse(sample_log.log(6)[4].record.payload).predicate.proposals[0]
    refused = own.model_copy(update={"verdict": Verdict.DENY})
    last = own.model_copy(update={"fallback": "every proposal was refused"})
    told = told_of(proposals=(refused, refused, last), attempts=3)
    assert "The reasoner was requested, no model. 3 proposals were judged, 2 of them refused:\n" in told
    assert "3 proposals were judged, all of them refused:\n" in told_of(proposals=(refused,) * 3, attempts=3)
    by_itself = "    put forward by the agent itself, as its fallback: "
    assert told.count(by_itself) == 1
    assert f"{by_itself}every proposal was refused\n" in told.partition("  Proposal 3: ")[2]
    down = own.model_copy(update={"fallback": "ReasonerUnavailable"})
    told = told_of(proposals=(down,))
    assert "The reasoner requested, no model, made no proposal that counts. 1 proposal was judged:\n" in told
    assert f"{by_itself}the reasoner failed (ReasonerUnavailable)\n" in told


def test_the_story_tells_of_calls_of_which_none_gave_a_proposal() -> None:
    lost = Usage(calls=3, input_tokens=0, output_tokens=0, cost_micros=None, currency=None)
    used = ReasonerUsed(
        name="openai/m", deterministic=False, model=None, parameters_sha256=None, usage=lost, tools=()
    )
    told = told_of(reasoner=used)
    assert "The reasoner was openai/m, no call of which gave a proposal. 1 proposal was judged:\n" in told
    assert "took 3 calls, 0 tokens in and 0 out, at no known price.\n" in told
    assert "None" not in told


def test_the_story_tells_each_policy_with_its_reason_and_who_answered() -> None:
    told = told_of()
    assert (
        "    by policy return.delivered-only\n      because: Only delivered orders can be returned.\n" in told
    )
    answer = Approval(
        role="fraud-desk",
        approver="carol",
        answer="grant",
        keyid="did:key:z6MkCarol",
        sha256="0" * 64,
        statement="{}",
        sig="0" * 128,
    )
    told = told_of(approvals=(answer,), reasoner=None)
    assert (
        "What people answered:\n  carol approved it as fraud-desk, with the key did:key:z6MkCarol\n" in told
    )
    assert "Nobody was asked for another proposal; what was escalated counts. 1 proposal was judged:" in told
    assert "carol refused it as" in told_of(approvals=(answer.model_copy(update={"answer": "refuse"}),))


def test_the_story_tells_where_it_stands_as_far_as_that_is_known() -> None:
    entry = sample_log.log(6)[4]
    statement = parse(entry.record.payload)
    told = story.tell(entry, statement, standing="Verified now.", index=2, under="Under a\ncheckpoint.")
    assert "In the tree of its partition it is leaf 2, counted from 0.\n" in told
    assert told.endswith("\nUnder a\\ncheckpoint.\nVerified now.\n")
    assert "leaf" not in story.tell(entry, statement, standing="Verified now.")

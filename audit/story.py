"""One decision in plain words: who, on what inputs, what was proposed and refused, which policies, who approved, where.

Nothing is verified here: the caller says what was verified, and the story repeats it. Records hold text from
outside, so what is not printable is escaped: a record cannot steer the terminal that shows it, or fake a line
of its own story.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jurat.audit.log import LogEntry
from jurat.audit.reasoning import ModelAsked, ReasonerUsed, ToolAnswered
from jurat.audit.record import (
    FORGET_ASKED_BY,
    FORGOTTEN,
    DecisionRecord,
    Outcome,
    PolicyUsed,
    ProposalJudged,
    Statement,
)
from jurat.schemas import canonical
from jurat.schemas.decision import Verdict
from jurat.schemas.shown import printable

_ENDINGS = {
    Outcome.DECIDED: "It was allowed.",
    Outcome.DENIED: "It was denied.",
    Outcome.ESCALATED: "It was handed to people: no approval was there yet.",
    Outcome.REJECTED: "The input could not be decided at all, and went to the dead letters.",
    Outcome.SKIPPED: "Nothing was to be decided: the agent does not listen to this, or what it was about had ended.",
    Outcome.EXPIRED: "The event was older than the agent decides; nothing was decided.",
    Outcome.DUPLICATE: "The same event came before; nothing was decided again.",
}
_FORGET = "Nothing was to be decided: the agent was asked to forget."
_ANSWERS = {"grant": "approved it", "refuse": "refused it"}
_VERDICTS = {Verdict.ALLOW: "allowed", Verdict.DENY: "refused", Verdict.ESCALATE: "to be approved by people"}


def tell(
    entry: LogEntry,
    statement: Statement,
    *,
    standing: str,
    index: int | None = None,
    under: str | None = None,
    authority: Iterable[str] = (),
) -> str:
    """Tell the story of a record.

    Args:
        entry: where it stands.
        statement: what it says.
        standing: one sentence on what was verified.
        index: which leaf of its partition's tree it is, from 0; None where that is not known.
        under: one sentence on the checkpoint that holds it; None where none was given.
        authority: who authorised the key that signed it, from the nearest to the root, as far as that was looked up.
    """
    lines = [*_lines(entry, statement, index), *_authority(statement.predicate, authority)]
    lines += [*([] if under is None else [under]), standing]
    return "".join(f"{printable(line)}\n" for line in lines)


def _authority(record: DecisionRecord, authority: Iterable[str]) -> Iterator[str]:
    named = record.identity
    if named is None:
        yield "The record names no credential: its key counts where a trust file names it."
        return
    known = f"{named.trust.size} statements of the trust log"
    yield f"It was signed under the credential {named.credential}; {known} were known."
    for number, each in enumerate(authority):
        yield f"  {'under' if number else 'by'} {each}"


def _lines(entry: LogEntry, statement: Statement, index: int | None) -> Iterator[str]:
    record = statement.predicate
    yield f"Decision {record.decision_id}"
    yield f"The agent {record.agent} ({record.code}) recorded it at {record.time}, by its own clock."
    asked_to_forget = any(read.name == FORGOTTEN for read in record.context)
    yield _FORGET if asked_to_forget else _ENDINGS[record.outcome]
    if record.rejection is not None:
        yield f"  Reason: {record.rejection.error}: {record.rejection.message}"
    yield from _forgotten(record)
    yield ""
    yield from _inputs(record)
    yield ""
    yield from _proposals(record)
    if record.policy is not None:
        yield ""
        yield from _policy(record.policy)
    yield from _approvals(record)
    yield ""
    subject = statement.subject[0]
    yield f"In the log: {entry.place}; number {record.seq} of the chain {record.chain}."
    if index is not None:
        yield f"In the tree of its partition it is leaf {index}, counted from 0."
    yield f"What is proven: {subject.name}, SHA-256 {subject.digest.sha256}."
    yield f"Signed by {entry.record.signatures[0].keyid}."


def _policy(used: PolicyUsed) -> Iterator[str]:
    yield f"Policy: bundle {used.bundle}, digest {used.digest}, judged by {used.engine}."
    for each in used.budgets:
        whose = "" if each.key is None else f" of {each.key}"
        window = f"the {each.window_s} s before"
        yield f"Budget {each.budget}{whose}: {each.used} used within {window}, {each.taken} taken."
    shadow = used.shadow
    if shadow is not None:
        by = f" by {', '.join(shadow.policies)}" if shadow.policies else ""
        yield (
            f"In the shadow, digest {shadow.digest}: it would be {_VERDICTS[shadow.verdict]}{by}. That decided nothing."
        )
        yield from (f"  error in the shadow's policies: {error}" for error in shadow.errors)


def _approvals(record: DecisionRecord) -> Iterator[str]:
    if record.approvals:
        yield ""
        yield "What people answered:"
    for each in record.approvals:
        yield f"  {each.approver} {_ANSWERS[each.answer]} as {each.role}, with the key {each.keyid}"
        yield f"    signed: {each.statement}"


def _forgotten(record: DecisionRecord) -> Iterator[str]:
    for read in record.context:
        if read.name == FORGET_ASKED_BY:
            yield f"{read.key} asked to forget a subject, in a statement with SHA-256 {read.sha256}."
        elif read.name == FORGOTTEN and read.sha256:
            yield f"What was remembered of {read.key} was forgotten: SHA-256 {read.sha256}."
        elif read.name == FORGOTTEN:
            yield f"Nothing that the request asks to forget was remembered of {read.key}."


def _inputs(record: DecisionRecord) -> Iterator[str]:
    yield "It was about:"
    for each in record.inputs:
        yield f"  {each.event_type or 'an event of unknown type'} {each.event_id or ''}".rstrip()
        yield f"    at {each.uri}"
        yield f"    SHA-256 {each.sha256}"
    looked_up = [read for read in record.context if read.name not in (FORGOTTEN, FORGET_ASKED_BY)]
    if looked_up:
        yield "It looked up:"
    for read in looked_up:
        found = f"found, SHA-256 {read.sha256}" if read.sha256 else "nothing found"
        yield f"  {read.name} of {read.key}: {found}" + (f" at {read.uri}" if read.uri else "")


def _proposals(record: DecisionRecord) -> Iterator[str]:
    yield _asked_whom(record)
    for number, each in enumerate(record.proposals, start=1):
        parameters = canonical.dumps(each.parameters).decode()
        yield f"  Proposal {number}: {each.action} {parameters}: {_VERDICTS[each.verdict]}"
        if each.fallback:
            yield f"    put forward by the agent itself, as its fallback: {_why_fallback(each.fallback)}"
        if each.reasoner:
            yield f"    proposed by {each.reasoner}, to whom the question was passed on"
        if each.alternatives:
            yield f"    rather than {', '.join(each.alternatives)}"
        yield from _asked(each.call)
        yield from _judged(each)
    if record.reasoner is not None:
        yield from (line for tool in record.reasoner.tools for line in _tool(tool))
        yield from _spent(record.reasoner)


def _asked_whom(record: DecisionRecord) -> str:
    """Who was asked, and how many proposals came of it."""
    refused = sum(each.verdict is Verdict.DENY for each in record.proposals)
    judged = "1 proposal was judged" if record.attempts == 1 else f"{record.attempts} proposals were judged"
    count = "all" if refused == record.attempts else str(refused)
    judged += f", {count} of them refused:" if refused and record.attempts > 1 else ":"
    if record.reasoner is None:
        if record.proposals:
            return f"Nobody was asked for another proposal; what was escalated counts. {judged}"
        return "Nobody was asked for a proposal."
    unused = ", no call of which gave a proposal" if record.reasoner.usage else ", no model"
    model = f", model {record.reasoner.model}" if record.reasoner.model else unused
    if record.proposals and all(each.fallback for each in record.proposals):
        return f"The reasoner {record.reasoner.name}{model}, made no proposal that counts. {judged}"
    return f"The reasoner was {record.reasoner.name}{model}. {judged}"


def _why_fallback(why: str) -> str:
    return why if " " in why else f"the reasoner failed ({why})"


def _judged(proposal: ProposalJudged) -> Iterator[str]:
    """Which policies determined the verdict; each beside its title where every one has its own."""
    if len(proposal.policies) == len(proposal.reasons):
        for policy, reason in zip(proposal.policies, proposal.reasons, strict=True):
            yield f"    by policy {policy}"
            yield f"      because: {reason}"
    else:
        yield from (f"    by policy {policy}" for policy in proposal.policies)
        yield from (f"    because: {reason}" for reason in proposal.reasons)
    yield from (f"    error in the policies: {error}" for error in proposal.errors)


def _spent(reasoner: ReasonerUsed) -> Iterator[str]:
    used = reasoner.usage
    if used is None:
        return
    cost = "at no known price"
    if used.cost_micros is not None:
        cost = f"for {used.cost_micros // 1_000_000}.{used.cost_micros % 1_000_000:06} {used.currency}"
    calls = "1 call" if used.calls == 1 else f"{used.calls} calls"
    yield f"  The answers took {calls}, {used.input_tokens} tokens in and {used.output_tokens} out, {cost}."
    if reasoner.parameters_sha256 is not None:
        yield f"  Parameters of the model: SHA-256 {reasoner.parameters_sha256}"


def _tool(tool: ToolAnswered) -> Iterator[str]:
    answered = f"it answered, SHA-256 {tool.result_sha256}" if tool.result_sha256 else "it failed"
    yield f"  Before that it used the tool {tool.name}: {answered}"
    yield f"    arguments: SHA-256 {tool.arguments_sha256}"
    yield from _asked(tool.call)


def _asked(call: ModelAsked | None) -> Iterator[str]:
    if call is not None:
        yield f"    asked of the model {call.model}: prompt SHA-256 {call.prompt_sha256}"
        yield f"    its response: SHA-256 {call.response_sha256}"

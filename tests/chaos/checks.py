"""What must hold of an arena after its run, beyond what the oracle says of any run.

1. The oracle has no faults, and no event was decided twice.
2. The tally of each key is the number of its decisions that had an effect: none was lost or counted twice.
3. A timer fired once at most, was set by a decision that sets one, and none is left.
4. No finished model call was bought again: whoever called again could not know of an answer, as none was in the
   journal when it began to read it; and each call that was made again was told of as possibly paid twice.
5. Who slept until its partition was somebody else's buys nothing on waking: a call of it that came after its successor
   had taken over was begun before, so that the successor saw its intent. Who was only slow to hear of its loss may buy;
   such calls are counted.
6. No worker ended with a traceback: whatever ends one has a name.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jurat.audit.coordinates import parse_uri
from jurat.audit.keys import Trust
from jurat.schemas.codec import decode
from jurat.schemas.decision import Verdict
from jurat.schemas.timers import TimerFired
from tests.chaos.agent import AGENT, TIMED, Tally
from tests.chaos.arena import Arena
from tests.chaos.steps import Deed
from tests.model_server import Call
from tests.oracle import Findings, examine, repeats

UNAVAILABLE = "unavailable"
INTENT = "intent"

WRITTEN_S = 0.5
"""From the moment that a leader gives a journal record to when all replicas have it."""


@dataclass
class Report:
    """What one arena came to."""

    findings: Findings
    calls: int = 0
    made_again: int = 0
    by_zombies: int = 0
    told: int = 0
    reused: int = 0
    aborted: int = 0
    faults: list[str] = field(default_factory=list)


async def check(arena: Arena, calls: Iterable[Call], trust: Trust) -> Report:
    """Examine an arena that has come to rest."""
    found = await examine(arena.connection, AGENT, trust)
    report = Report(found, faults=[*found.faults, *repeats(found)])  # 1
    _check_tallies(found, report)  # 2
    _check_timers(found, report)  # 3
    diary = arena.diary()
    counted = Counter(line["what"] for line in diary)
    report.told, report.reused = counted["paid-twice"], counted["reused"]
    report.aborted = counted["aborted"]
    lines = counted["told"]
    named = len({(line["pid"], line["again_as"]) for line in diary if line["what"] == "told"})
    # Who is killed between the line and the count takes the count along; it is the last that it wrote then.
    cut = sum(line["what"] == "told" for line in {line["pid"]: line for line in diary}.values())
    if not named - cut <= report.told <= lines:
        report.faults.append(
            f"{lines} lines name {named} calls as possibly paid twice, {report.told} were counted"
        )
    _check_calls(arena, list(calls), diary, report)  # 4, 5
    report.faults += [f"a worker ended with a traceback: {error}" for error in arena.tracebacks()]  # 6
    return report


def _check_tallies(found: Findings, report: Report) -> None:
    effective: Counter[str] = Counter()
    for decision in found.decisions:
        if decision.verdict is Verdict.ALLOW and decision.effective:
            at = (decision.input.topic, decision.input.partition, decision.input.offset)
            effective[(found.events[at].key or b"").decode()] += 1
    held: dict[str, int] = {}
    for (_partition, key), value in found.state.items():
        if key.startswith("state/"):
            held[key.rsplit("/", 1)[1]] = Tally.model_validate_json(value).decided
    for key in sorted(effective.keys() | held.keys()):
        if effective[key] != held.get(key, 0):
            report.faults.append(
                f"the tally of {key} is {held.get(key, 0)} after {effective[key]} decisions with an effect"
            )


def _check_timers(found: Findings, report: Report) -> None:
    decided = {
        (one.input.topic, one.input.partition, one.input.offset): one
        for one in found.decisions
        if one.verdict is Verdict.ALLOW
    }
    fired: Counter[tuple[str, int, int]] = Counter()
    for event in found.events.values():
        if not event.topic.endswith(f"timers.{AGENT.name}"):
            continue
        timer = decode(event.value, expected=TimerFired)
        assert isinstance(timer, TimerFired)
        by = (timer.set_by.topic, timer.set_by.partition, timer.set_by.offset)
        fired[by] += 1
        if by not in decided or not timer.event_key.endswith(TIMED):
            report.faults.append(f"a timer fired that {by} is said to have set, and did not")
    report.faults += [
        f"the timer that {by} set fired {count} times" for by, count in fired.items() if count > 1
    ]
    report.faults += [f"still waiting: {key}" for _p, key in sorted(found.state) if key.startswith("timer/")]


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer in the journal: surely there since `at`; `pid` is 0 where only the journal tells of it."""

    at: float
    pid: int
    call: str
    kind: str


@dataclass(frozen=True, slots=True)
class _Session:
    """A partition taken over: by whom, fenced when, and when it began to read the journal."""

    pid: int
    fenced_at: float
    restored_at: float


class _Calls:
    """What the diary and the journal tell about calls."""

    def __init__(self, arena: Arena, diary: list[dict[str, Any]]) -> None:
        self.took_over: dict[int, list[_Session]] = defaultdict(list)
        fenced: dict[tuple[int, int], float] = {}
        self.answers: dict[tuple[str, str], list[_Answer]] = defaultdict(list)
        self.intents: dict[tuple[int, str], list[float]] = defaultdict(list)
        self.told: set[tuple[int, str]] = set()
        for line in diary:
            if line["what"] == "fenced":
                fenced[line["pid"], line["partition"]] = line["at"]
            elif line["what"] == "restoring":
                # Who fenced and slept before it read is no owner: what counts is the order of the fencing.
                at = fenced[line["pid"], line["partition"]]
                self.took_over[line["partition"]].append(_Session(line["pid"], at, line["at"]))
            elif line["what"] == "journalled":
                self._answered(line["at"], line["pid"], line["call"], line["kind"])
            elif line["what"] == "told":
                self.told.add((line["pid"], line["first"]))
        for record in arena.journal:
            if record.value is not None:
                entry = json.loads(record.value)
                self._answered(record.timestamp_ms / 1000 + WRITTEN_S, 0, entry["call_id"], entry["kind"])

    def _answered(self, at: float, pid: int, call: str, kind: str) -> None:
        if kind == INTENT:
            self.intents[pid, call].append(at)
        else:
            self.answers[_question(call)].append(_Answer(at, pid, call, kind))

    def session(self, partition: int, call: Call) -> tuple[float, float | None]:
        """When the caller took the partition over, and when somebody else did since, if at all."""
        before = [one for one in self.took_over[partition] if one.restored_at <= call.started_at]
        own = [one for one in before if one.pid == int(call.caller)]
        fenced_at = max((one.fenced_at for one in own), default=0.0)
        others = [one.fenced_at for one in before if one.pid != int(call.caller)]
        since = max((one.restored_at for one in own), default=0.0)
        return since, min((at for at in others if at > fenced_at), default=None)

    def intended(self, call: Call, *, before: float) -> bool:
        """Whether the journal held the caller's intent by then."""
        return any(at < before for at in self.intents[int(call.caller), call.key])


def _check_calls(arena: Arena, calls: list[Call], diary: list[dict[str, Any]], report: Report) -> None:
    partition_of = {
        record.decision_id: parse_uri(record.inputs[0].uri).partition
        for record in report.findings.records.values()
    }
    known = _Calls(arena, diary)
    slept = arena.slept | {line["pid"] for line in diary if line["what"].startswith(Deed.FREEZE)}
    asked: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in calls:
        name = _question(call.key)
        if name[0] in partition_of:
            asked[name].append(call)
            report.calls += 1
    for name, made in asked.items():
        for number, call in enumerate(made):
            since, lost_at = known.session(partition_of[name[0]], call)
            report.made_again += any(other.key == call.key for other in made[:number])
            if lost_at is not None:
                report.by_zombies += 1
                if int(call.caller) in slept and not known.intended(call, before=lost_at):  # 5
                    report.faults.append(
                        f"the call {call.key} was bought by {call.caller}, who had lost it before"
                    )
                continue
            # Who called after this one had taken the partition over was fenced already.
            before = [one for one in made[:number] if one.started_at < since or one.caller == call.caller]
            fault = _bought_again(call, before, known.answers[name], since=since, told=known.told)
            if number and fault is not None:  # 4
                report.faults.append(fault)


def _bought_again(
    again: Call, before: list[Call], answers: list[_Answer], *, since: float, told: set[tuple[int, str]]
) -> str | None:
    """What is wrong with a call that was made again; None where nothing is."""
    for answer in answers:
        # It stood in the journal when the caller began to read it, or the caller itself has written it since.
        known = answer.at < since or (answer.pid == int(again.caller) and answer.at < again.started_at)
        if known and answer.kind != UNAVAILABLE:
            return f"the call {again.key} was bought again, though {answer.call} was answered"
    failed = {answer.call for answer in answers if answer.kind == UNAVAILABLE}
    # Whoever asks next tells, once in its life, of each call that nobody knows the end of.
    unknown = {call.key for call in before} - failed - {key for pid, key in told if pid == int(again.caller)}
    if unknown:
        return f"the call {again.key} was made again after {min(unknown)}, and nobody was told"
    return None


def _question(call: str) -> tuple[str, str]:
    """What a call asks: the decision and the number of the question, whatever the attempt."""
    decision, _attempt, ask = [*call.split("/"), "", ""][:3]
    return decision, ask


def by_decision(reports: Mapping[str, Report]) -> Counter[str]:
    """Outcomes of all arenas together."""
    total: Counter[str] = Counter()
    for report in reports.values():
        total.update(report.findings.outcomes)
    return total

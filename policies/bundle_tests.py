"""The cases in a bundle's `tests/*.yaml`: requests with the verdict that the author expects.

Rules upheld here: a case runs through the engine that decides in production; verdict and determining
policies are compared exactly; an evaluation that erred fails its case unless the case expects that error.
The format is specified in `docs/spec/policy-bundle.md`. Not here: printing the outcome (`jurat policy test`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import orjson
from pydantic import Field, ValidationError

from jurat.policies.bundle import Bundle
from jurat.policies.engine import PolicyEngine
from jurat.policies.faults import at, did_you_mean, validation_faults
from jurat.policies.request import Judgement
from jurat.schemas.canonical import MAX_INTEGER, JsonObject, JsonValue
from jurat.schemas.decision import Verdict
from jurat.schemas.errors import BundleError, PolicyInputError
from jurat.schemas.model import FreeJson, Model

DEFAULT_NOW = "2026-01-01T00:00:00Z"
"""The moment of a case that does not say another."""


class CaseResource(Model):
    """The resource of a case: attributes as Cedar's JSON, where the schema tells dates from strings.

    Attributes:
        type: the name of an entity type of the bundle's namespace; in full for another one's, after `::` for none's.
    """

    type: str
    id: str
    attrs: FreeJson = Field(default_factory=dict)


class Expectation(Model):
    """What a case expects.

    Attributes:
        policies: ids of exactly the determining policies, in any order; not looked at when left out.
        approvers: roles that may lift an escalation, in any order; not looked at when left out.
        error: a part of the error that the engine shall report; without it, any error fails the case.
    """

    verdict: Verdict
    policies: tuple[str, ...] | None = None
    approvers: tuple[str, ...] | None = None
    error: str | None = None


BESIDE: Final = ("approvals", "now", "usage")
"""What the engine adds to the context: a case says it in members of its own."""


class Case(Model):
    """One case.

    Attributes:
        usage: what was used of budgets that count the action; nothing of those that are left out.
    """

    name: str = Field(min_length=1)
    agent: str
    action: str
    resource: CaseResource
    context: FreeJson = Field(default_factory=dict)
    now: str = DEFAULT_NOW
    usage: dict[str, Annotated[int, Field(ge=0, le=MAX_INTEGER)]] = Field(default_factory=dict)
    approvals: tuple[str, ...] = ()
    expect: Expectation


@dataclass(frozen=True, slots=True)
class CaseFailure:
    """A case that did not come out as expected.

    Attributes:
        file: the file, relative to the bundle.
        name: the case's name.
        message: what was got and what was expected.
        line: the line on which the case stands.
    """

    file: str
    name: str
    message: str
    line: int


@dataclass(frozen=True, slots=True)
class CaseReport:
    """What came of running all cases of a bundle."""

    run: int
    failures: tuple[CaseFailure, ...]


def cases(bundle: Bundle) -> tuple[tuple[str, Case], ...]:
    """Read the cases of a bundle.

    Returns:
        File and case, in the order of the files.

    Raises:
        BundleError: a file is not of the format, a case's name is not unique in its file, or it expects a policy that
            does not exist.
    """
    return tuple((file, case) for file, _line, case in _read(bundle))


def run_cases(engine: PolicyEngine) -> CaseReport:
    """Run all cases of the engine's bundle.

    Raises:
        BundleError: the files of cases are not of the format.
    """
    read = _read(engine.bundle)
    failures = [
        CaseFailure(file, case.name, message, line)
        for file, line, case in read
        if (message := failure_of(engine, case)) is not None
    ]
    return CaseReport(len(read), tuple(failures))


def _read(bundle: Bundle) -> list[tuple[str, int, Case]]:
    faults: list[str] = []
    found: list[tuple[str, int, Case]] = []
    for file in sorted(bundle.cases):
        document = bundle.cases[file]
        names: set[str] = set()
        for index, raw in _raw_cases(document.value, file, faults):
            place = ("cases", index)
            line = document.line(place) or 1
            label = f"{raw.get('name') or f'case {index + 1}'}: "
            try:
                case = Case.model_validate_json(orjson.dumps(raw))
            except ValidationError as error:
                faults += validation_faults(
                    file, error, model=Case, document=document, below=place, label=label
                )
                continue
            if case.name in names:
                faults.append(f"{at(file, line)}{label}got the name twice, expected each once")
            faults += [
                f"{at(file, document.line((*place, 'expect', 'policies')))}{label}got the policy {id_} in `expect`,"
                f" expected one of the bundle{did_you_mean(id_, bundle.policies)}"
                for id_ in case.expect.policies or ()
                if id_ not in bundle.policies
            ]
            faults += [
                f"{at(file, document.line((*place, 'context', name)) or line)}{label}got {name} in `context`, expected"
                " it beside `context`"
                for name in BESIDE
                if name in case.context
            ]
            names.add(case.name)
            found.append((file, line, case))
    if faults:
        raise BundleError(f"the cases of the bundle {bundle.name} cannot be read:", faults=tuple(faults))
    return found


def _raw_cases(content: JsonValue, file: str, faults: list[str]) -> Iterator[tuple[int, JsonObject]]:
    if not isinstance(content, dict) or not set(content) <= {"given", "cases"}:
        faults.append(f"{file}: expected a mapping with `cases`, and `given` for what they share")
        return
    given, listed = content.get("given", {}), content.get("cases")
    if not isinstance(given, dict) or not isinstance(listed, list) or not listed:
        faults.append(f"{file}: expected `cases` to be a list of at least one case, and `given` a mapping")
        return
    for index, case in enumerate(listed):
        if isinstance(case, dict):
            yield index, _merged(given, case)
        else:
            faults.append(f"{file}: case {index + 1}: expected a mapping")


def _merged(given: Mapping[str, JsonValue], case: Mapping[str, JsonValue]) -> JsonObject:
    """What is given, overridden by the case; mappings merge field by field, and null takes a field away."""
    merged: JsonObject = {**given}
    for key, value in case.items():
        below = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(below, dict):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged


def full_type(type_: str, namespace: str) -> str:
    """The full name of an entity type that a case of a bundle of this namespace names."""
    if "::" not in type_:
        return f"{namespace}::{type_}"
    return type_.removeprefix("::")


def short_type(full: str, namespace: str) -> str:
    """How a case of a bundle of this namespace names an entity type."""
    short = full.removeprefix(f"{namespace}::")
    if "::" not in full:
        return f"::{full}"
    return full if "::" in short else short


def failure_of(engine: PolicyEngine, case: Case) -> str | None:
    """Run one case of the engine's bundle; what was got and what was expected, None where it came out as expected."""
    namespace = engine.bundle.namespace
    uid: JsonObject = {"type": full_type(case.resource.type, namespace), "id": case.resource.id}
    context: JsonObject = {**case.context, "now": case.now, "approvals": list(case.approvals)}
    budgets = [budget.name for budget in engine.bundle.budgets.of_action.get(case.action, ())]
    unknown = sorted(set(case.usage) - set(budgets))
    if unknown:
        return f"got the usage of {_list(unknown)}, expected of budgets that count {case.action}: {_list(budgets)}"
    if budgets:
        context["usage"] = {name: case.usage.get(name, 0) for name in budgets}
    asked: JsonObject = {
        "principal": {"type": f"{namespace}::Agent", "id": case.agent},
        "action": {"type": f"{namespace}::Action", "id": case.action},
        "resource": uid,
        "context": context,
        "entities": [{"uid": uid, "attrs": case.resource.attrs, "parents": []}],
    }
    try:
        got = engine.rejudge(asked)
    except PolicyInputError as error:
        return str(error)
    return _difference(got, case.expect)


def _difference(got: Judgement, expected: Expectation) -> str | None:
    if got.errors and (expected.error is None or not any(expected.error in error for error in got.errors)):
        return f"got the error {'; '.join(got.errors)}, expected {expected.error or 'none'}"
    if expected.error is not None and not got.errors:
        return f"got no error, expected {expected.error}"
    if got.verdict is not expected.verdict:
        return f"got {got.verdict} by {_list(got.policies)}, expected {expected.verdict}"
    if expected.policies is not None and got.policies != tuple(sorted(expected.policies)):
        return (
            f"got {got.verdict} by {_list(got.policies)}, expected it by {_list(sorted(expected.policies))}"
        )
    if expected.approvers is not None and got.approvers != tuple(sorted(expected.approvers)):
        return f"got the approvers {_list(got.approvers)}, expected {_list(sorted(expected.approvers))}"
    return None


def _list(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names) or "none"

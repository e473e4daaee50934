"""Budgets: how much an agent may do within a sliding window, as budgets.yaml declares it.

Rules upheld here: a budget says what it counts, by which key, over which window, and which partitions see it; the
policies say how much is allowed. What a budget reads exists in the schema with the right type, always, or the bundle
does not load; and `context.usage` of an action holds exactly the budgets that count it. Not here: what was used
(`usage.py`), the limits (`limits.py`).
Specified in `docs/spec/policy-bundle.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

import orjson
from pydantic import AfterValidator, Field, ValidationError, model_validator

from jurat.policies import cedar, lint
from jurat.policies.faults import at, did_you_mean, listed
from jurat.policies.folder import BUDGETS_FILE, SCHEMA_FILE
from jurat.policies.request import Budget
from jurat.policies.strict_yaml import Document
from jurat.schemas.model import Model

WHOLE: Final = "whole"
"""The key of a budget that does not tell keys apart."""

MAX_BUDGETS: Final = 16
"""Budgets of one bundle: each is a window in memory for every partition, and a line that people keep in mind."""

MAX_SHARES: Final = 1_024
"""Partitions that an allotment may be cut for: more than a topic of ours has."""

MAX_WINDOW: Final = timedelta(days=366)
"""The longest window: a year and a day. What lies within it is kept and read at every restart."""

_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}
_WINDOW: Final = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")

_Path = Annotated[str, Field(pattern=r"^(resource|context)(\.[A-Za-z_][A-Za-z0-9_]{0,63}){1,4}$")]
_Action = Annotated[str, Field(pattern=rf"^{lint.NAME.pattern}$")]
_Title = Annotated[str, Field(min_length=1, max_length=lint.MAX_TITLE_LENGTH)]


def _check_window(text: str) -> str:
    if not _WINDOW.fullmatch(text) or _window(text) > MAX_WINDOW:
        raise ValueError("not a window")
    return text


class _Allotment(Model):
    """A budget that is cut into as many equal shares as there are partitions."""

    allotment: Annotated[int, Field(ge=2, le=MAX_SHARES)]


class _Declared(Model):
    """One entry of budgets.yaml."""

    title: _Title
    measure: Literal["count", "sum"]
    of: _Path | None = None
    actions: Annotated[tuple[_Action, ...], Field(min_length=1)]
    key: Literal["whole"] | _Path
    window: Annotated[str, AfterValidator(_check_window)]
    scope: Literal["partition-key"] | _Allotment

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.of is not None) != (self.measure == "sum"):
            raise ValueError(
                "got `of` without `measure: sum`, or the other way round; expected `of` to name what is summed"
            )
        if self.key == WHOLE and self.scope == "partition-key":
            raise ValueError(
                "got `key: whole` with `scope: partition-key`, expected `scope: {allotment: N}`: no partition sees"
                " all keys"
            )
        if len(set(self.actions)) < len(self.actions):
            raise ValueError(f"got the actions {', '.join(self.actions)}, expected each once")
        return self


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets of a bundle.

    Attributes:
        by_name: sorted by name.
        of_action: the budgets that count an action, by the action's name; sorted by their own.
    """

    by_name: Mapping[str, Budget]
    of_action: Mapping[str, tuple[Budget, ...]]

    @classmethod
    def of(cls, budgets: Iterable[Budget]) -> Budgets:
        """Sort budgets."""
        found = sorted(budgets, key=lambda budget: budget.name)
        actions = sorted({action for budget in found for action in budget.actions})
        return cls(
            {budget.name: budget for budget in found},
            {action: tuple([one for one in found if action in one.actions]) for action in actions},
        )

    def usage_fields(self) -> dict[str, tuple[str, ...]]:
        """What `context.usage` holds, by action; for `cedar_schema.generate`."""
        return {action: tuple([one.name for one in found]) for action, found in self.of_action.items()}


NO_BUDGETS: Final = Budgets({}, {})


def read_budgets(document: Document) -> tuple[Budgets, list[str]]:
    """Read budgets.yaml.

    Returns:
        The budgets that can be read, and the faults, each with file and line.
    """
    content = document.value
    if not isinstance(content, dict) or not content:
        return NO_BUDGETS, [
            f"{BUDGETS_FILE}: got no mapping, expected budgets by name; leave out an empty file"
        ]
    faults: list[str] = []
    if len(content) > MAX_BUDGETS:
        faults.append(f"{BUDGETS_FILE}: got {len(content)} budgets, expected at most {MAX_BUDGETS}")
    found: list[Budget] = []
    for name, value in content.items():
        line = document.line((name,))
        if not _NAME.fullmatch(name):
            faults.append(
                f"{at(BUDGETS_FILE, line)}got the budget {name[:80]!r}, expected lower-case letters, digits and `_`, at"
                " most 64: policies read it as `context.usage.<name>`"
            )
        try:
            declared = _Declared.model_validate_json(orjson.dumps(value))
        except ValidationError as error:
            faults += [
                f"{at(BUDGETS_FILE, document.line((name, *place)))}{'.'.join([name, *map(str, place)])}: {words}"
                for place, words in _objections(error)
            ]
            continue
        found.append(_budget(name, declared))
    return Budgets.of(found), faults


def check_budgets(
    budgets: Budgets, document: Document, *, schema: cedar.Schema, namespace: str
) -> Iterator[str]:
    """Every way in which budgets and schema do not fit, in words. Cedar's own validator decides.

    Args:
        budgets: what was read.
        document: of the file, for the lines.
        schema: the bundle's.
        namespace: of its actions.
    """
    for budget in budgets.by_name.values():
        for action in sorted(budget.actions):
            if action not in schema.actions:
                line = document.line((budget.name, "actions"))
                yield (
                    f"{at(BUDGETS_FILE, line)}{budget.name}: got the action {action}, expected one of the schema:"
                    f" {listed(schema.actions)}{did_you_mean(action, schema.actions)}"
                )
                continue
            for field, path, condition, type_ in _reads(budget):
                line = document.line((budget.name, field))
                for objection in _objects(condition, action, schema=schema, namespace=namespace):
                    yield (
                        f"{at(BUDGETS_FILE, line)}{budget.name}: got {path} for {field}, expected a {type_} that every"
                        f" request for {action} has: {objection}"
                    )
    for action in schema.actions:
        names = [budget.name for budget in budgets.of_action.get(action, ())]
        if names:
            exact = ", ".join(f'"{name}": 1' for name in names)
            wrong = any(_objects(f"context.usage == {{{exact}}}", action, schema=schema, namespace=namespace))
            expected = f"exactly `usage: {{{', '.join(f'{name}: Long' for name in names)}}}`"
        else:
            wrong = not any(
                _objects("context.usage == context.usage", action, schema=schema, namespace=namespace)
            )
            expected = f"none, as no budget of {BUDGETS_FILE} counts it"
        if wrong:
            yield (
                f"{SCHEMA_FILE}: got another `usage` in the context of the action {action}, expected {expected};"
                " `jurat policy schema` prints the schema of a shipped bundle"
            )


def _budget(name: str, declared: _Declared) -> Budget:
    return Budget(
        name=name,
        title=declared.title,
        of=declared.of,
        actions=frozenset(declared.actions),
        by=None if declared.key == WHOLE else declared.key,
        window=_window(declared.window),
        shares=None if isinstance(declared.scope, str) else declared.scope.allotment,
    )


def _window(text: str) -> timedelta:
    return timedelta(seconds=int(text[:-1]) * _SECONDS[text[-1]])


def _reads(budget: Budget) -> Iterator[tuple[str, str, str, str]]:
    """What a budget reads: the field that says so, the path, a condition that needs its type, and the type."""
    if budget.by is not None:
        yield "key", budget.by, f'{budget.by} like "*"', "String"
    if budget.of is not None:
        yield "of", budget.of, f"{budget.of} < 0", "Long"


def _objects(condition: str, action: str, *, schema: cedar.Schema, namespace: str) -> tuple[str, ...]:
    asked = f'permit (principal, action == {namespace}::Action::"{action}", resource) when {{ {condition} }};'
    return tuple(error.replace("for policy `policy0`, ", "") for error in cedar.validate(asked, schema))


def _objections(error: ValidationError) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """What pydantic objects to, once for each place: a union objects in the words of each of its members."""
    seen: set[str] = set()
    for fault in error.errors(include_url=False, include_input=False):
        field = str(fault["loc"][0]) if fault["loc"] else ""
        if field in _EXPECTED and fault["type"] not in ("missing", "extra_forbidden"):
            if field not in seen:
                seen.add(field)
                yield (field,), f"expected {_EXPECTED[field]}"
        elif fault["type"] == "extra_forbidden" and len(fault["loc"]) == 1:
            known = _Declared.model_fields
            yield fault["loc"], f"{fault['msg']}, expected one of {listed(known)}{did_you_mean(field, known)}"
        else:
            yield fault["loc"], fault["msg"]


_EXPECTED: Final = {
    "of": "the path of an integer, such as `context.amount_minor`",
    "key": "`whole`, or the path of a string, such as `resource.customer_id`",
    "window": f"a number of minutes, hours or days such as `30m`, `24h` or `7d`, at most `{MAX_WINDOW.days}d`",
    "scope": f"`partition-key`, or `{{allotment: N}}` with 2 to {MAX_SHARES} partitions",
}

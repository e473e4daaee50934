"""A bundle as a page for people: every rule by action, who may lift it, what is counted, what the agents aim for.

Rules upheld here: the page says what the bundle says, in the authors' words (titles, reasons, owners) and with its
digest, so that a reader of a record finds the rules it was judged by; the same bundle prints the same page; an author's
words cannot become markup. Checked in as `docs/policies/<bundle>.md`; a test prints them again.

Not here: what the conditions mean (the titles say it, the cases prove it, the links lead to it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta

from jurat.policies.bundle import Bundle, Policy
from jurat.policies.bundle_tests import cases
from jurat.policies.objectives import TOTAL
from jurat.policies.request import Budget

_UNITS = {"days": timedelta(days=1), "hours": timedelta(hours=1), "minutes": timedelta(minutes=1)}
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~])")

INTRODUCTION = (
    "An agent may do what a rule under *May* covers, unless a rule under *Must not* or *Only with approval* applies."
    " What no rule covers is denied, and so is whatever cannot be judged: a fact that is missing, a value that does not"
    " fit. Amounts are in the minor unit of their currency (cents)."
)


BUDGETS = (
    "Rules about more than one action read what was used before, within a window that slides. Only what was allowed"
    " counts."
)

OBJECTIVES = (
    "Within the rules, a reasoner chooses by these weights. They are digested with the rules and never permit or deny"
    " anything."
)


def page(bundle: Bundle, *, titles: Mapping[str, str], source: str) -> str:
    """Print a bundle's page as Markdown.

    Args:
        bundle: the bundle.
        titles: what the actions are, in plain words, by name; an action without one is shown by its name.
        source: where its files are, relative to the page, for example `../../policies/shop`.

    Raises:
        BundleError: its cases cannot be read.
    """
    lines = [
        f"# The policies of {_words(bundle.name)}",
        "",
        f"<!-- Generated: jurat policy page {bundle.name} > docs/policies/{bundle.name}.md -->",
        "",
        (
            f"{len(bundle.policies)} rules for {len(bundle.actions)} actions, proved by {len(cases(bundle))} cases."
            " Records name this bundle by its digest:"
        ),
        "",
        "```text",
        bundle.digest,
        "```",
        "",
        INTRODUCTION,
        "",
        *_people(bundle),
    ]
    for action in bundle.actions:
        lines += _action(bundle, action, title=titles.get(action), source=source)
    return "\n".join([*lines, *_budgets(bundle), *_objectives(bundle)]).rstrip() + "\n"


def _people(bundle: Bundle) -> Iterator[str]:
    yield from ("## Who", "", *_row("Agent", "Roles"), *_row("---", "---"))
    for agent, roles in bundle.agents.items():
        yield from _row(_words(agent), _words(", ".join(roles)) or "none")
    approvers = ", ".join(f"**{_words(role)}**" for role in bundle.approvers)
    yield from (
        "",
        f"People who may approve: {approvers or 'nobody'}. No agent holds one of these roles.",
        "",
    )


def _action(bundle: Bundle, action: str, *, title: str | None, source: str) -> Iterator[str]:
    rules = [policy for policy in bundle.policies.values() if action in policy.actions]
    yield from (f"## {_words(title)}: `{action}`" if title else f"## `{action}`", "")
    for heading, found in (
        ("May", [rule for rule in rules if rule.effect == "permit"]),
        ("Must not", [rule for rule in rules if rule.effect == "forbid" and rule.escalate is None]),
        ("Only with approval", [rule for rule in rules if rule.escalate is not None]),
    ):
        if found:
            yield from (f"### {heading}", "")
            yield from _rules(found, source=source)
        elif heading == "May":
            yield from ("No rule permits it: it is always denied.", "")


def _rules(rules: list[Policy], *, source: str) -> Iterator[str]:
    """A table of rules; a column that would be empty is left out."""
    columns = {
        "Rule": [_words(rule.title) for rule in rules],
        "Approved by": [f"**{_words(rule.escalate)}**" if rule.escalate else "" for rule in rules],
        "Why": [_words(rule.why or "") for rule in rules],
        "Owner": [_words(rule.owner or "") for rule in rules],
        "Id": [f"[`{rule.id}`]({source}/{rule.file}#L{rule.line})" for rule in rules],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    yield from (*_row(*shown), *_row(*["---"] * len(shown)))
    for cells in zip(*shown.values(), strict=True):
        yield from _row(*cells)
    yield ""


def _budgets(bundle: Bundle) -> Iterator[str]:
    if not bundle.budgets.by_name:
        return
    yield from ("## What is counted", "", BUDGETS, "")
    yield from (*_row("Budget", "Counts", "Of each", "Within", "At most", "Name"), *_row(*["---"] * 6))
    for name, budget in bundle.budgets.by_name.items():
        actions = ", ".join(f"`{action}`" for action in sorted(budget.actions))
        limits = [limit for limit in bundle.limits if limit.budget == name]
        yield from _row(
            _words(budget.title),
            f"`{budget.of}` of {actions}" if budget.of else actions,
            f"`{budget.by}`" if budget.by else "everything",
            _window(budget) + (f", in {budget.shares} equal shares" if budget.shares else ""),
            "; ".join(f"{limit.most} (`{limit.policy}`)" for limit in limits) or "see the rules",
            f"`{name}`",
        )
    yield ""


def _window(budget: Budget) -> str:
    """How long an action counts, in the largest unit that it is whole in."""
    for unit, length in _UNITS.items():
        count, rest = divmod(budget.window, length)
        if count > 1 and not rest:
            return f"{count} {unit}"
    return "1 minute"


def _objectives(bundle: Bundle) -> Iterator[str]:
    if not bundle.objectives:
        return
    yield from ("## What the agents aim for", "")
    yield from (OBJECTIVES, "")
    for agent, objectives in bundle.objectives.items():
        yield from (f"### {_words(agent)}", "", _words(" ".join(objectives.aim.split())), "")
        yield from (*_row("Goal", f"Weight of {TOTAL}"), *_row("---", "---:"))
        for goal, weight in objectives.weights.items():
            yield from _row(_words(goal.replace("_", " ")), str(weight))
        yield ""


def _row(*cells: str) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"


def _words(text: str) -> str:
    """Words of an author that stay words."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))

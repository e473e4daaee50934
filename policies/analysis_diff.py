"""Two bundles compared: for every action proved equivalent, or an example of every way in which they differ.

Rules upheld here:
1. equivalent means the same verdict for every request, whoever approved; reasons may differ;
2. an example is confirmed by both engines;
3. what only one bundle knows (an action, an agent, an attribute) is said. An attribute that one schema lacks is left
   out of the request that its bundle judges; an attribute whose types differ makes the action incomparable.

Not here: printing (`jurat policy diff`), and what happened so far (a backtest).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from jurat.policies import smt
from jurat.policies.analysis import Outcome, Proved, Scene, Subject, own_attributes, unaskable
from jurat.policies.analysis_witness import preferences
from jurat.policies.bundle import Bundle
from jurat.policies.smt_request import Node, Path
from jurat.schemas.decision import Verdict

VERDICTS: Final = (Verdict.ALLOW, Verdict.ESCALATE, Verdict.DENY)
"""In the order in which people want to know."""


@dataclass(frozen=True, slots=True)
class ActionDifference:
    """One action on one type of resource.

    Attributes:
        newly: for every verdict, what was found about requests that only the new bundle judges so; empty where the
            action cannot be compared.
        notes: what limits the comparison.
    """

    action: str
    resource: str
    newly: Mapping[Verdict, Outcome]
    notes: tuple[str, ...]

    @property
    def equivalent(self) -> bool:
        """Tell whether it is proved that both bundles judge every common request alike."""
        return bool(self.newly) and all(isinstance(outcome, Proved) for outcome in self.newly.values())


@dataclass(frozen=True, slots=True)
class Difference:
    """Two bundles compared.

    Attributes:
        notes: what only one of them has.
    """

    actions: tuple[ActionDifference, ...]
    notes: tuple[str, ...]


def compare(old: Bundle, new: Bundle) -> Difference:
    """Compare two bundles on everything that both can judge."""
    before, after = Subject(old), Subject(new)
    notes = [
        *_only("the action", old.actions, new.actions),
        *_only("the agent", tuple(old.agents), tuple(new.agents)),
    ]
    actions: list[ActionDifference] = []
    for action in sorted(set(old.actions) & set(new.actions)):
        types = [subject.resources(action) for subject in (before, after)]
        notes += _only(f"{action} on the resource", *types)
        actions += [
            _compared(action, resource, before, after) for resource in types[0] if resource in types[1]
        ]
    return Difference(tuple(actions), tuple(notes))


def _compared(action: str, resource: str, before: Subject, after: Subject) -> ActionDifference:
    unable = [
        reason for subject in (before, after) if (reason := unaskable(subject, action, resource)) is not None
    ]
    known = [own_attributes(subject, action, resource) for subject in (before, after)]
    unable += _clashes(*known)
    if not set(before.bundle.agents) & set(after.bundle.agents):
        unable.append("the bundles have no agent in common")
    if unable:
        return ActionDifference(action, resource, {}, tuple(unable))
    scene = Scene(action, resource, [before, after])
    old, new = scene.sides
    newly = {
        verdict: scene.find(
            [smt.no(old.verdict(verdict)), new.verdict(verdict)], prefer=preferences(scene.request)
        )
        for verdict in VERDICTS
    }
    return ActionDifference(action, resource, newly, tuple(_limits(*known)))


def _only(what: str, old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[str]:
    for name in sorted(set(old) ^ set(new)):
        yield f"{what} {name} is only in the {'old' if name in old else 'new'} bundle"


def _clashes(old: Mapping[Path, Node], new: Mapping[Path, Node]) -> Iterator[str]:
    for path in sorted(set(old) & set(new)):
        if old[path].type != new[path].type:
            name = ".".join(path)
            yield f"{name} is of the type {old[path].type} in the old schema and {new[path].type} in the new one"


def _limits(old: Mapping[Path, Node], new: Mapping[Path, Node]) -> Iterator[str]:
    for path in sorted(set(old) | set(new)):
        name = ".".join(path)
        if path not in old or path not in new:
            has, lacks = ("old", "new") if path in old else ("new", "old")
            yield f"{name} is only in the {has} schema: the {lacks} bundle judges without it"
        elif old[path].required != new[path].required:
            optional = "old" if new[path].required else "new"
            yield f"{name} is optional in the {optional} schema alone: requests without it are not compared"

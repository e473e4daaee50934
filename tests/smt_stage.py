"""The encoding compared with the engine: a concrete request, what the encoding says about it, and what Cedar says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from hypothesis import strategies as st

from jurat.policies import cedar, smt
from jurat.policies.analysis import Scene, Subject
from jurat.policies.cedar import pst
from jurat.policies.smt import Term
from jurat.policies.smt_literals import EPOCH, MILLISECOND, duration_ms
from jurat.policies.smt_request import APPROVALS, RECORD, SETS, Node, UnknownRequest
from jurat.schemas.canonical import MAX_INTEGER, JsonObject
from jurat.schemas.decision import Verdict

MOMENTS = (
    "0001-01-01T00:00:00.000Z",
    "1969-12-31T23:59:59.999Z",
    "2026-03-02T09:00:00.000Z",
    "9999-12-31T23:59:59.999Z",
)
DURATIONS = ("0ms", "-1ms", "86399999ms", "-90061001ms", "86400000ms", "3600000ms")
INTEGERS = (0, 1, -1, 5, MAX_INTEGER, -MAX_INTEGER)
TEXTS = ("", "a", "abc", "a*c", "zz\\u{41}", 'é"\n', "other")


def pins(request: UnknownRequest, concrete: JsonObject) -> Iterator[Term]:
    """Claims that leave exactly one request: the concrete one."""
    tree: Any = concrete
    roots = {"context": tree["context"], "resource": tree["entities"][0]["attrs"]}
    yield smt.equal(request.agent, smt.integer(request.agents.index(tree["principal"]["id"])))
    yield smt.equal(request.resource_id, smt.text(tree["resource"]["id"]))
    for path, node in request.nodes.items():
        value: Any = roots
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if path in request.presence:
            yield smt.equal(request.presence[path], smt.truth(value is not None))
        if value is not None and node.type != RECORD:
            yield from _pinned(request, path, node, value)


def _pinned(request: UnknownRequest, path: tuple[str, ...], node: Node, value: Any) -> Iterator[Term]:
    if node.type in SETS:
        elements = [smt.text(one) if isinstance(one, str) else smt.integer(one) for one in value]
        held = request.sets[path]
        yield smt.equal(held.inhabited, smt.truth(bool(elements)))
        for asked in held.asked.values():
            within = smt.some(smt.equal(asked, one) for one in elements)
            yield smt.equal(held.members.of(asked), within)
        return
    literal = {
        "Bool": lambda: smt.truth(value),
        "Long": lambda: smt.integer(value),
        "String": lambda: smt.text(value),
        "datetime": lambda: smt.integer(_milliseconds(value)),
        "duration": lambda: smt.integer(duration_ms(value["__extn"]["arg"])),
    }
    yield smt.equal(request.terms[path], literal[node.type]())


def _milliseconds(value: Any) -> int:
    return (datetime.fromisoformat(value["__extn"]["arg"]) - EPOCH) // MILLISECOND


def compare(scene: Scene, alone: Mapping[str, cedar.Compiled], concrete: JsonObject) -> dict[str, str]:
    """Check that encoding and engine agree on a request: on each policy, and on the verdict.

    Args:
        scene: what was encoded; its encoding leaves nothing open.
        alone: every policy compiled by itself.
        concrete: the request.

    Returns:
        What became of each policy: it `holds`, `errs`, or does `not` hold.
    """
    (side,) = scene.sides
    assert scene.open == ()
    found = smt.solve([*pins(scene.request, concrete), *scene.request.constraints()])
    assert isinstance(found, smt.Assignment), f"the encoding has no such request: {concrete}"
    became = {id_: outcome(compiled, concrete) for id_, compiled in alone.items() if id_ in side.policies}
    for id_, expected in became.items():
        terms = side.policies[id_]
        got = "errs" if found.truth(terms.errs) else "holds" if found.truth(terms.holds) else "not"
        assert got == expected, f"{id_}: the encoding says {got}, the engine {expected}, of {concrete}"
    judgement = side.subject.engine.rejudge(concrete)
    got_verdict = [verdict for verdict in Verdict if found.truth(side.verdict(verdict))]
    assert got_verdict == [judgement.verdict], concrete
    return became


def outcome(compiled: cedar.Compiled, concrete: JsonObject) -> str:
    uids: Any = {name: concrete[name] for name in ("principal", "action", "resource")}
    case = compiled.open(uids, orjson.dumps(concrete["entities"]).decode())
    assert isinstance(case, cedar.Case), case
    evaluation = case.evaluate(orjson.dumps(concrete["context"]).decode())
    return "errs" if evaluation.errors else "holds" if evaluation.reasons else "not"


def each_alone(subject: Subject) -> dict[str, cedar.Compiled]:
    return {id_: subject.compile({id_: tree}) for id_, tree in subject.trees.items()}


def literals(subject: Subject) -> tuple[set[int], set[str]]:
    """The integers and texts that the policies name: values at which something may change."""
    integers: set[int] = set()
    texts: set[str] = set()
    waiting: list[Any] = [*subject.trees.values()]
    while waiting:
        match waiting.pop():
            case pst.LongLit(value):
                integers |= {value - 1, value, value + 1}
            case pst.StringLit(value):
                texts.add(value)
            case pst.UnaryOp("datetime" | "duration"):
                continue
            case tuple() as nodes:
                waiting += nodes
            case node if hasattr(node, "__dataclass_fields__"):
                waiting += [getattr(node, name) for name in node.__dataclass_fields__]
    return {value for value in integers if abs(value) <= MAX_INTEGER}, texts


def requests(scene: Scene) -> st.SearchStrategy[JsonObject]:
    """Requests of a scene, most values taken from what its policies name."""
    (side,) = scene.sides
    integers, texts = literals(side.subject)
    whole = st.integers(-MAX_INTEGER, MAX_INTEGER)
    few = st.sampled_from(["a", "abc"])  # so that a text is often in a set
    of_type: dict[str, st.SearchStrategy[Any]] = {
        "Bool": st.booleans(),
        "Long": st.sampled_from(sorted(integers) or INTEGERS) | st.sampled_from(INTEGERS) | whole,
        "String": st.sampled_from(sorted({*texts, *TEXTS})),
        "datetime": st.sampled_from(MOMENTS).map(lambda arg: {"__extn": {"fn": "datetime", "arg": arg}}),
        "duration": st.sampled_from(DURATIONS).map(lambda arg: {"__extn": {"fn": "duration", "arg": arg}}),
        "Set<String>": st.sets(st.sampled_from([*sorted(texts), "other"]) | few, max_size=3).map(sorted),
        "Set<Long>": st.sets(st.sampled_from([0, 1, 2, 5, 6, 7]), max_size=3).map(sorted),
    }
    namespace = side.names.namespace
    nodes = side.names.nodes

    def record(root: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
        required: dict[str, st.SearchStrategy[Any]] = {}
        optional: dict[str, st.SearchStrategy[Any]] = {}
        for path, node in nodes.items():
            if path[:-1] == root and path != APPROVALS:
                value = record(path) if node.type == RECORD else of_type[node.type]
                if root == ("context", "usage"):
                    value = value.map(abs)  # less than nothing is never used
                (required if node.required else optional)[path[-1]] = value
        return st.fixed_dictionaries(required, optional=optional)

    approvers = side.subject.bundle.approvers
    approvals = st.sets(st.sampled_from(approvers), max_size=2).map(sorted) if approvers else st.just([])
    return st.builds(
        lambda agent, id_, context, given, attrs: {
            "principal": {"type": f"{namespace}::Agent", "id": agent},
            "action": {"type": f"{namespace}::Action", "id": scene.action},
            "resource": {"type": side.names.resource, "id": id_},
            "context": {**context, "approvals": given},
            "entities": [{"uid": {"type": side.names.resource, "id": id_}, "attrs": attrs, "parents": []}],
        },
        st.sampled_from(scene.agents),
        st.sampled_from(["r-1", "special"]),
        record(("context",)),
        approvals,
        record(("resource",)),
    )


def write(folder: Path, **files: str) -> Path:
    """Write a bundle: `policies`, `schema` and `roles` as text."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"policies": "policies.cedar", "schema": "schema.cedarschema", "roles": "roles.yaml"}
    for name, text in files.items():
        (folder / names[name]).write_text(text, encoding="utf-8")
    return folder

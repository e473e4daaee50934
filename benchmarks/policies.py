"""What judging costs: the engine's full path, an escalation, and five hundred policies, beside a bare call of cedarpy.

Rules upheld here: the bundle, the models and the engine are those that decide in production; the bare call has
everything parsed before (policies, schema, entities) and is asked the same about the same; the pieces take turns, round
by round, so that all of them see the same machine. Not here: the rest of a decision (`breakdown.py`), and Kafka.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import cedarpy
import orjson

from benchmarks.stage import BenchmarkFailedError
from jurat.agents.fulfilment_router import RoutedOrder, ShipFrom, ShipFromFacts
from jurat.policies import (
    Bundle,
    Entity,
    Facts,
    PolicyEngine,
    PolicyRequest,
    generate,
    load_bundle,
    shipped_bundle,
)
from jurat.policies.cedar import Case
from jurat.schemas.decision import Verdict

NOW: Final = datetime(2026, 10, 14, 10, 0, 0, 123_000, tzinfo=UTC)
BUNDLE: Final = "shop"
AGENT: Final = "fulfilment-router"
CALLS: Final = 50
"""Calls in a turn: enough that the caches are a piece's own, few enough that the pieces see the same machine."""

ACTIONS: Final = 42
POLICIES_AN_ACTION: Final = 12
"""42 actions of 12 policies: five hundred, partitioned as a bundle of that size would be."""

BARE: Final = "bare cedarpy, all of it parsed"
ENGINE: Final = "engine call"
FULL: Final = "full path: allow"
DENIED: Final = "full path: deny"
ESCALATED: Final = "full path: escalate"
FEW: Final = f"full path: bundle of {POLICIES_AN_ACTION} policies"
MANY: Final = f"full path: bundle of {ACTIONS * POLICIES_AN_ACTION} policies"

ORDER: Final = RoutedOrder(
    id="o-4711", customer_id="c-7", amount_minor=19_900, currency="EUR", item_count=2, express=False
)
SHIP: Final = ShipFromFacts(
    warehouse_id="w-1",
    warehouse_known=True,
    stock_covers_order=True,
    load_percent=40,
    late_percent=2,
    distance_km=120,
    estimated_hours=30,
    on_time=True,
    lowest_load_on_time_percent=40,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """Microseconds of every call of a piece, by round."""

    name: str
    rounds_us: list[list[float]]

    @property
    def p50_us(self) -> float:
        """The median over all calls."""
        return median(us for calls in self.rounds_us for us in calls)

    @property
    def p99_us(self) -> float:
        """What one call in a hundred needs more than."""
        return quantiles([us for calls in self.rounds_us for us in calls], n=100)[-1]

    def ratio(self, other: Piece) -> float:
        """This piece over another one: the median of the rounds' ratios, which the machine's pace does not move."""
        pairs = zip(self.rounds_us, other.rounds_us, strict=True)
        return median(median(mine) / median(theirs) for mine, theirs in pairs)


def measure(*, rounds: int) -> list[Piece]:
    """Time every piece in turns.

    Args:
        rounds: turns of every piece, `CALLS` calls each.
    """
    with tempfile.TemporaryDirectory(prefix="jurat-benchmarks-policies-") as folder:
        work = _pieces(Path(folder))
    pieces = [Piece(name, []) for name in work]
    for call in work.values():
        _turn(call)
    gc.collect()
    for _ in range(rounds):
        for piece in pieces:
            piece.rounds_us.append(_turn(work[piece.name]))
    return pieces


def report(pieces: Sequence[Piece]) -> list[str]:
    """Print the table."""
    by_name = {piece.name: piece for piece in pieces}
    bare = by_name[BARE]
    calls = sum(len(calls) for calls in bare.rounds_us)
    return [
        f"policies: microseconds a judgement, {calls} calls each, in turns of {CALLS}",
        f"  {'':36}{'p50':>9}{'p99':>9}{'of bare':>10}",
        *(
            f"  {piece.name:36}{piece.p50_us:>9.1f}{piece.p99_us:>9.1f}{piece.ratio(bare):>9.2f}x"
            for piece in pieces
        ),
        (
            f"  {ACTIONS * POLICIES_AN_ACTION} policies over {POLICIES_AN_ACTION}: "
            f"{by_name[MANY].ratio(by_name[FEW]):.2f}x"
        ),
    ]


def _turn(call: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(CALLS):
        began_ns = time.perf_counter_ns()
        call()
        found.append((time.perf_counter_ns() - began_ns) / 1000)
    return found


def _pieces(folder: Path) -> dict[str, Callable[[], object]]:
    engine = PolicyEngine(load_bundle(shipped_bundle(BUNDLE)))
    allowed = PolicyRequest(AGENT, ShipFrom.action_name, ORDER, SHIP, NOW)
    denied = replace(allowed, facts=SHIP.model_copy(update={"load_percent": 95}))
    costly = ORDER.model_copy(update={"amount_minor": 90_000})
    escalated = replace(allowed, resource=costly, facts=SHIP.model_copy(update={"late_percent": 20}))
    few = PolicyEngine(_bundle(folder / "few", actions=1))
    many = PolicyEngine(_bundle(folder / "many", actions=ACTIONS))
    request = replace(allowed, action=_action_name(0))
    for judge, one, verdict in (
        (engine, allowed, Verdict.ALLOW),
        (engine, denied, Verdict.DENY),
        (engine, escalated, Verdict.ESCALATE),
        (few, request, Verdict.ALLOW),
        (many, request, Verdict.ALLOW),
    ):
        got = judge.judge(one)
        if got.verdict is not verdict or got.errors:
            raise BenchmarkFailedError(
                f"got {got.verdict} {got.errors} by {judge.bundle.name}, expected {verdict}"
            )
    asked = engine.judge(allowed).normalised
    context = orjson.dumps(asked["context"]).decode()
    case = _case(engine, allowed)
    bare = {**case.request, "context": context}
    return {
        BARE: lambda: cedarpy.is_authorized(bare, case.policies, case.entities, case.schema),
        ENGINE: lambda: case.evaluate(context),
        FULL: lambda: engine.judge(allowed),
        DENIED: lambda: engine.judge(denied),
        ESCALATED: lambda: engine.judge(escalated),
        FEW: lambda: few.judge(request),
        MANY: lambda: many.judge(request),
    }


def _case(engine: PolicyEngine, request: PolicyRequest) -> Case:
    asked = engine.judge(request).normalised
    uids = {name: asked[name] for name in ("principal", "action", "resource")}
    case = engine.bundle.compiled.open(uids, orjson.dumps(asked["entities"]).decode())  # type: ignore[arg-type]
    if not isinstance(case, Case):
        raise BenchmarkFailedError(f"the entities were refused: {case.errors}")
    return case


class _Ship:
    """One of many actions that are judged by the same facts."""

    resource: type[Entity] = RoutedOrder
    facts: type[Facts] = ShipFromFacts

    def __init__(self, number: int) -> None:
        self.action_name = _action_name(number)


def _action_name(number: int) -> str:
    return f"ship_{number:03}"


def _bundle(folder: Path, *, actions: int) -> Bundle:
    """A bundle whose every action has one permit and eleven forbids, like those of the shop."""
    folder.mkdir()
    shutil.copy(shipped_bundle(BUNDLE) / "roles.yaml", folder)
    (folder / "schema.cedarschema").write_text(
        generate("Jurat", [_Ship(number) for number in range(actions)])
    )
    for number in range(actions):
        name = _action_name(number)
        scope = f'principal, action == Jurat::Action::"{name}", resource'
        lines = [
            f'@id("{name}.grant") @title("Granted") permit ({scope}) when {{ context.warehouse_known }};'
        ]
        lines += [
            f'@id("{name}.limit-{limit}") @title("A limit") forbid ({scope})\n'
            f"when {{ context.load_percent > {80 + limit} && context.distance_km > {1_000 + limit} }};"
            for limit in range(POLICIES_AN_ACTION - 1)
        ]
        (folder / f"{name}.cedar").write_text("\n".join(lines))
    return load_bundle(folder)

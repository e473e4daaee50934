"""A model server for tests: real HTTP on the loopback interface, slow and unreliable as told, and it counts.

Each call names its purpose in `Idempotency-Key`. The server does not use the key to answer twice alike: whoever asks
twice pays twice, and `calls` shows it. What it answers, how long it takes and how it fails are drawn from a seed, the
call's key and how often it came, so that a second answer differs from the first.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from tests.loopback import Loopback, read_request

HANG_S = 30.0
"""Longer than any caller waits."""

ANSWERS: tuple[dict[str, object], ...] = (
    {"action": "retry_charge", "parameters": {"after_minutes": 1_500}},
    {"action": "retry_charge", "parameters": {"after_minutes": 1}},  # too soon for most failures: refused
    {"action": "ask_for_new_method", "parameters": {}},
    {"action": "give_up", "parameters": {}},
)
GARBAGE: tuple[bytes, ...] = (
    b"Certainly! Here is the action that you asked for:",
    b'{"action": "ship_a_pony", "parameters": {}}',
    b'{"action": "retry_charge", "parameters": {"after_minutes": "soon"}}',
    b"[]",
)


class Mishap(StrEnum):
    """How a call may go wrong."""

    BUSY = "busy"
    HANG = "hang"
    CUT = "cut"
    GARBAGE = "garbage"


@dataclass(frozen=True, slots=True)
class Plan:
    """How the server behaves.

    Attributes:
        seed: what everything is drawn from.
        delay_s: seconds that the answer to a call about this key takes.
        mishaps: the share of calls about this key, in this attempt, that go wrong in each way.
    """

    seed: int = 0
    delay_s: Callable[[str], float] = lambda _key: 0.0
    mishaps: Callable[[str, int], Mapping[Mishap, float]] = lambda _key, _attempt: {}

    def mishap(self, key: str, attempt: int, draw: float) -> Mishap | None:
        """How a call goes that drew this number of [0, 1)."""
        for mishap, share in self.mishaps(key, attempt).items():
            if draw < share:
                return mishap
            draw -= share
        return None


@dataclass(slots=True)
class Call:
    """One call as the server saw it; `ended_at` is None where no answer was sent."""

    key: str
    about: str
    caller: str
    started_at: float
    mishap: Mishap | None = None
    ended_at: float | None = None


class ModelServer(Loopback):
    """Serves `POST /propose`."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.calls: list[Call] = []
        self._times: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """Where to ask."""
        return f"{self.address}/propose"

    def by_key(self) -> dict[str, list[Call]]:
        """The calls, by their idempotency key, in their order."""
        found: dict[str, list[Call]] = {}
        for call in self.calls:
            found.setdefault(call.key, []).append(call)
        return found

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one call; tell whether the connection goes on."""
        _line, headers, body = await read_request(reader)
        asked = json.loads(body)
        key = headers.get("idempotency-key", "")
        self._times[key] += 1
        draws = Random(f"{self.plan.seed}/{key}/{self._times[key]}")
        mishap = self.plan.mishap(asked["about"], _attempt(key), draws.random())
        call = Call(key, asked["about"], headers.get("x-caller", ""), time.time(), mishap)
        self.calls.append(call)
        await asyncio.sleep(HANG_S if mishap is Mishap.HANG else self.plan.delay_s(call.about))
        if mishap is Mishap.CUT:
            return False
        status, body = b"200 OK", json.dumps(draws.choice(ANSWERS)).encode()
        if mishap is Mishap.BUSY:
            status, body = b"503 Service Unavailable", b"busy"
        elif mishap is Mishap.GARBAGE:
            body = draws.choice(GARBAGE)
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        call.ended_at = time.time()
        return True


def _attempt(key: str) -> int:
    """Which attempt at a decision a call belongs to: its id is `<decision id>/<attempt>/<ask>`."""
    parts = key.split("/")
    return int(parts[1]) if len(parts) == 3 else 0

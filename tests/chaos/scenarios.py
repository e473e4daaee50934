"""Two short courses in which a broken runtime is sure to repeat something, and a whole one is sure not to.

They use no luck: the worker dies, or falls asleep, at the one point where the protocol matters.
"""

from __future__ import annotations

import asyncio
import signal
from random import Random

from jurat.streams.kafka import SESSION_TIMEOUT_MS, idempotent_producer, stop_quietly
from tests.chaos.agent import Sent, customers, payment
from tests.chaos.arena import Arena
from tests.chaos.steps import Arm, Deed, When

EVENTS = 20
REACHED_WITHIN_S = 120.0
TAKEN_OVER_WITHIN_S = SESSION_TIMEOUT_MS / 1000 + 120.0
SETTLED_S = 2.0
"""For what a woken worker does in its first moments: it hears that it is out of the group within one heartbeat."""


async def crash_inside_a_transaction(arena: Arena) -> None:
    """A worker dies when decisions and records are written, and neither its changelog nor its offsets."""
    await _publish(arena)
    victim = await arena.start(Arm("5-write-changelog", When.BEFORE))
    await asyncio.wait_for(victim.child.ended.wait(), REACHED_WITHIN_S)
    assert victim.child.killed
    await _finish(arena)


async def sleep_inside_a_transaction(arena: Arena) -> None:
    """A worker falls asleep before it commits, and wakes when another one has decided the same inputs."""
    await _publish(arena)
    sleeper = await arena.start(Arm("5-commit", When.BEFORE, deed=Deed.FREEZE))
    await asyncio.wait_for(sleeper.child.frozen.wait(), REACHED_WITHIN_S)
    successor = await arena.start()
    await asyncio.wait_for(_committed(arena, successor.child.pid), TAKEN_OVER_WITHIN_S)
    sleeper.child.signal(signal.SIGCONT)
    await asyncio.sleep(SETTLED_S)
    for fighter in (sleeper, successor):
        fighter.child.signal(signal.SIGTERM)
    await _finish(arena)


async def _publish(arena: Arena) -> None:
    """Events of one key."""
    draws = Random(arena.spec.namespace)
    key = customers(0)[-1]
    sent = [Sent(key, payment(number, key, draws), f"e-{number}") for number in range(EVENTS)]
    producer = idempotent_producer(arena.connection)
    await producer.start()
    try:
        await arena.send(producer, sent)
    finally:
        await stop_quietly(producer)


async def _committed(arena: Arena, pid: int) -> None:
    """Wait until this process has committed an event: the first one, as they are of one key."""
    while True:
        committed = [
            line["inputs"] for line in arena.diary() if line["what"] == "committed" and line["pid"] == pid
        ]
        if any(committed):
            return
        await asyncio.sleep(0.1)


async def _finish(arena: Arena) -> None:
    """Let a whole worker do what is left; who still lives is ended."""
    await arena.calm()
    await arena.drain()

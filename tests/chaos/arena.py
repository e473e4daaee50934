"""An arena: one consumer group of 1 to 4 workers under fire, in a namespace of its own, with events coming all along.

Its life goes in waves. In each, workers join or leave until there are as many as were drawn; the new ones carry an
order to die at a step, to fall asleep at one, or none, in which case they are killed at a moment that was drawn. A wave
ends when the orders are carried out or time is up, so that the deaths of one session time-out fall together and the
group gets to work in between. Who sleeps wakes after its partitions went elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from jurat.schemas.cloudevents import headers_for
from jurat.schemas.codec import encode
from jurat.schemas.errors import BrokerUnreachable
from jurat.streams import topics
from jurat.streams.following import Follower
from jurat.streams.kafka import (
    SESSION_TIMEOUT_MS,
    AIOKafkaProducer,
    Connection,
    KafkaError,
    KafkaRecord,
    TopicPartition,
    idempotent_producer,
    stop_quietly,
)
from tests.chaos.agent import AGENT, PARTITIONS, Sent, Traffic, payment
from tests.chaos.mutations import Mutation
from tests.chaos.nursery import Child, Nursery
from tests.chaos.orders import Orders
from tests.chaos.steps import Arm, Deed, step
from tests.chaos.worker import Spec

SESSION_S = SESSION_TIMEOUT_MS / 1000
WAVE_S = SESSION_S + 7.0
"""How long orders may take: a session time-out until the dead ones are out of the group, then joining and work."""

SLEEP_S = (SESSION_S + 1.0, SESSION_S + 8.0)
"""How long a zombie sleeps: until its partitions are somebody else's; some for longer than a transaction may take."""

GAVE_UP_S = 1.0
"""Who starts while no broker answers ends at once: what a supervisor would wait before the next start."""

STOPPED_WITHIN_S = 60.0
DRAINED_WITHIN_S = 300.0
IDLE_S = 3.0
FOLLOWED_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Manner:
    """How an arena is run.

    Attributes:
        workers: at least and at most so many at a time.
        wave_s: how long orders may take.
        armed: the share of new workers that are to die at a step.
        frozen: the share that are to fall asleep at one; the rest is killed at no particular moment.
        events_per_s: what is published.
        patience: waves that a worker has for its order: a group that just lost others may give it nothing in the first.
    """

    workers: tuple[int, int] = (1, 4)
    wave_s: float = WAVE_S
    armed: float = 0.7
    frozen: float = 0.1
    events_per_s: float = 6.0
    patience: int = 1


@dataclass(eq=False, slots=True)
class Fighter:
    """A worker of the arena and its orders; `waves` is how many it has seen with them."""

    child: Child
    arm: Arm | None
    waves: int = 0
    waking: asyncio.Task[None] | None = None


@dataclass(eq=False)
class Arena:
    """One group of workers.

    Attributes:
        spec: what every worker of it is told.
        nursery: where they come from.
        orders: what is to happen to them; shared by all arenas.
        draws: of this arena alone.
        manner: how it is run.
        published: how many records were acknowledged.
        slept: ids of those that were frozen at no particular step.
        journal: what was written to the journal of model calls, tombstones too; Kafka soon drops what is superseded.
    """

    spec: Spec
    nursery: Nursery
    orders: Orders
    draws: Random
    manner: Manner = field(default_factory=Manner)
    published: int = 0
    slept: set[int] = field(default_factory=set)
    journal: list[KafkaRecord] = field(default_factory=list)
    fighters: list[Fighter] = field(default_factory=list)

    @property
    def connection(self) -> Connection:
        """The cluster and the arena's namespace."""
        return Connection(self.spec.bootstrap_servers, self.spec.namespace)

    def diary(self) -> list[dict[str, object]]:
        """What its workers wrote down."""
        path = Path(self.spec.diary)
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def tracebacks(self) -> list[str]:
        """The last lines of what its workers ended with that has no name of ours."""
        path = Path(f"{self.spec.log}.err")
        parts = path.read_text().split("Traceback (most recent call last):")[1:] if path.exists() else []
        return [part.strip().splitlines()[-1] for part in parts]

    async def start(self, arm: Arm | None = None, **changes: object) -> Fighter:
        """Start a worker."""
        spec = replace(self.spec, arm=arm, **changes)  # type: ignore[arg-type]
        fighter = Fighter(await self.nursery.start(spec), arm)
        self.fighters.append(fighter)
        return fighter

    async def wave(self) -> None:
        """One round: workers come and go, orders are carried out."""
        self._bury()
        size = self.draws.randint(*self.manner.workers)
        for leaving in self.fighters[size:]:
            if leaving.waking is None:
                self.orders.counts["asked to leave"] += 1
                leaving.child.signal(signal.SIGTERM)
        for _ in range(size - len(self.fighters)):
            await self.start(self._order())
        deadline = asyncio.get_running_loop().time() + self.manner.wave_s
        await asyncio.gather(*(self._carry_out(fighter, deadline) for fighter in self.fighters))
        self.orders.counts["waves"] += 1
        if self._bury():
            await asyncio.sleep(GAVE_UP_S)

    async def kill(self, fighter: Fighter) -> None:
        """Kill a worker at no particular step."""
        if fighter.child.alive:
            fighter.child.signal(signal.SIGKILL)
            await fighter.child.ended.wait()
            if fighter.child.killed:
                self.orders.killed()

    async def calm(self) -> None:
        """End every worker in peace; one that does not end in time is killed, and counted."""
        for fighter in self.fighters:
            if fighter.waking is not None:
                fighter.waking.cancel()
            fighter.child.signal(signal.SIGCONT)
            fighter.child.signal(signal.SIGTERM)
        for fighter in self.fighters:
            try:
                await asyncio.wait_for(fighter.child.ended.wait(), STOPPED_WITHIN_S)
            except TimeoutError:
                self.orders.counts["did not stop when asked"] += 1
                fighter.child.signal(signal.SIGKILL)
                await fighter.child.ended.wait()
        self.fighters.clear()

    async def drain(self) -> bool:
        """Let two whole workers do all that is left; tells whether they came to the end of it."""
        pair = [await self.start(until_idle_s=IDLE_S, mutation=Mutation.NONE) for _ in range(2)]
        drained = True
        for fighter in pair:
            try:
                await asyncio.wait_for(fighter.child.ended.wait(), DRAINED_WITHIN_S)
            except TimeoutError:
                fighter.child.signal(signal.SIGKILL)
                await fighter.child.ended.wait()
            drained = drained and fighter.child.status == 0
        self.fighters.clear()
        return drained

    def _order(self) -> Arm | None:
        draw = self.draws.random()
        if draw < self.manner.armed:
            return self.orders.next()
        return self.orders.freeze() if draw < self.manner.armed + self.manner.frozen else None

    async def _carry_out(self, fighter: Fighter, deadline: float) -> None:
        """See to it that a worker meets its order before the deadline."""
        loop = asyncio.get_running_loop()
        child, armed = fighter.child, fighter.arm
        if fighter.waking is not None:
            return
        if armed is None:
            await self._strike(fighter, deadline - loop.time())
            return
        fighter.arm = None
        fighter.waves += 1
        leaving: asyncio.TimerHandle | None = None
        if step(armed.step).on_leaving:
            # Not before it has partitions: those who died in the last wave are in the group for a session time-out.
            leaving_s = self.draws.uniform(SESSION_S, self.manner.wave_s)
            leaving = loop.call_later(leaving_s, child.signal, signal.SIGTERM)
        met = child.ended if armed.deed is Deed.KILL else child.frozen
        try:
            await asyncio.wait_for(met.wait(), deadline - loop.time())
        except TimeoutError:
            if fighter.waves < self.manner.patience:
                fighter.arm = armed
            elif armed.deed is Deed.KILL:
                self.orders.not_met(armed)
                await self.kill(fighter)
            return
        finally:
            if leaving is not None:
                leaving.cancel()
        if armed.deed is Deed.FREEZE:
            self._sleep(fighter)
        elif child.killed:
            self.orders.died_at(armed)
        else:
            self.orders.not_met(armed)

    async def _strike(self, fighter: Fighter, within_s: float) -> None:
        """Kill or freeze a worker at a moment that is drawn, or let it be."""
        await asyncio.sleep(self.draws.uniform(0, within_s))
        if self.draws.random() < 0.7:
            await self.kill(fighter)
        elif self.draws.random() < 0.5:
            self._sleep(fighter)

    def _sleep(self, fighter: Fighter) -> None:
        """Freeze a worker, and wake it when its partitions are somebody else's."""
        self.orders.counts["frozen"] += 1
        self.slept.add(fighter.child.pid)
        fighter.child.signal(signal.SIGSTOP)

        async def wake() -> None:
            await asyncio.sleep(self.draws.uniform(*SLEEP_S))
            fighter.child.signal(signal.SIGCONT)
            await asyncio.sleep(SESSION_S)
            fighter.waking = None

        fighter.waking = asyncio.create_task(wake())

    def _bury(self) -> int:
        """Forget those that ended; returns how many gave up."""
        ended = [fighter.child for fighter in self.fighters if not fighter.child.alive]
        self.fighters = [fighter for fighter in self.fighters if fighter.child.alive]
        gave_up = sum(not child.killed and child.status != 0 for child in ended)
        self.orders.counts["gave up"] += gave_up
        self.orders.counts["left when asked"] += sum(child.status == 0 for child in ended)
        return gave_up

    @contextlib.asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Events come for the length of the block."""
        task = asyncio.create_task(self._publish(self.manner.events_per_s))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """The journal is followed for the length of the block."""
        topic = self.connection.topic(topics.journal(AGENT.name).name)
        follower = Follower(self.connection, self.journal.append, what="the journal")
        await follower.start()
        try:
            partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
            follower.add(dict.fromkeys(partitions, 0))
            yield
            assert await follower.caught_up(partitions, FOLLOWED_WITHIN_S)
        finally:
            await follower.stop()

    async def _publish(self, per_s: float) -> None:
        traffic = Traffic(self.draws)
        unsure: list[Sent] = []
        while True:
            producer = idempotent_producer(self.connection)
            try:
                await producer.start()
                while True:
                    # What was not acknowledged may stand there or not: it is sent again, as any publisher would.
                    batch = [*unsure, *(traffic.next() for _ in range(max(1, round(per_s / 4))))]
                    unsure = batch
                    await self.send(producer, batch)
                    unsure = []
                    await asyncio.sleep(0.25)
            except (BrokerUnreachable, KafkaError, OSError):
                self.orders.counts["publisher started again"] += 1
                await asyncio.sleep(1)
            finally:
                await stop_quietly(producer)

    async def send(self, producer: AIOKafkaProducer, batch: list[Sent]) -> None:
        """Publish, and wait until all of it is acknowledged."""
        waiting = []
        for sent in batch:
            event = sent.event or payment(0, sent.key, Random(0))
            headers = headers_for(event, event_id=sent.event_id, source="/chaos")
            value = sent.poison if sent.event is None else encode(event)
            topic = self.connection.topic(topics.PAYMENTS.name)
            waiting.append(await producer.send(topic, value, key=sent.key.encode(), headers=headers))
        for one in waiting:
            await one
        self.published += len(batch)

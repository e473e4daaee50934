"""A campaign: several arenas on one cluster, until enough workers were killed; then peace, and the reckoning.

While it goes on, brokers are restarted: the only one, cleanly or as in a crash; or one of three, whose partitions the
others then lead.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from random import Random

from jurat.audit.key_store import init_keys, load_trust
from jurat.streams import local_broker, topics
from jurat.streams.broker_state import RunningBroker
from jurat.streams.kafka import Connection
from jurat.streams.topic_admin import ensure_topics
from tests.chaos.agent import AGENT, delay_s, mishaps
from tests.chaos.arena import Arena, Manner
from tests.chaos.checks import Report, check
from tests.chaos.mutations import Mutation
from tests.chaos.nursery import Nursery
from tests.chaos.orders import Orders
from tests.chaos.steps import check_steps
from tests.chaos.worker import Spec
from tests.model_server import ModelServer, Plan

BROKER_DOWN_S = (0.5, 3.0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a campaign is to be.

    Attributes:
        seed: everything is drawn from it.
        kills: it ends when so many workers were killed, and one at each step at least.
        within_s: or when this time is over.
        arenas: groups at once.
        manner: how each is run.
    """

    seed: int
    kills: int
    within_s: float
    arenas: int = 5
    manner: Manner = field(default_factory=Manner)


@dataclass
class Outcome:
    """What a campaign came to."""

    orders: Orders
    seconds: float = 0.0
    reports: dict[str, Report] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """Everything that does not hold, with the arena's name."""
        return [f"{name}: {fault}" for name, report in self.reports.items() for fault in report.faults]


@contextlib.asynccontextmanager
async def battlefield(folder: Path, bootstrap_servers: str, *, seed: int) -> AsyncIterator[Battlefield]:
    """A nursery, a model server and keys, for as long as the block lasts."""
    keys = folder / "keys"
    init_keys(keys, [AGENT.name])
    plan = Plan(seed=seed, delay_s=delay_s, mishaps=mishaps)
    async with ModelServer(plan) as server, Nursery() as nursery:
        yield Battlefield(folder, bootstrap_servers, server, nursery)


class Stamped(topics.Topic):
    """A topic whose records bear the time at which the broker took them, not what a frozen process believed."""

    @classmethod
    def of(cls, topic: topics.Topic) -> Stamped:
        """The same topic, stamped."""
        return cls(**{one.name: getattr(topic, one.name) for one in fields(topic)})

    def configs(self, *, replication: int) -> dict[str, str]:
        """Its settings."""
        return super().configs(replication=replication) | {"message.timestamp.type": "LogAppendTime"}


@dataclass
class Battlefield:
    """What arenas share."""

    folder: Path
    bootstrap_servers: str
    server: ModelServer
    nursery: Nursery

    async def arena(
        self,
        name: str,
        *,
        orders: Orders,
        seed: str,
        manner: Manner | None = None,
        mutation: Mutation = Mutation.NONE,
    ) -> Arena:
        """An arena with its topics made, whose course is drawn from a seed."""
        spec = Spec(
            bootstrap_servers=self.bootstrap_servers,
            namespace=name,
            keys=str(self.folder / "keys"),
            model_url=self.server.url,
            diary=str(self.folder / f"{name}.diary"),
            log=str(self.folder / f"{name}.log"),
            mutation=mutation,
        )
        connection = Connection(self.bootstrap_servers, name)
        declared = [topics.PAYMENTS, *topics.of_agent(AGENT.name)]
        await ensure_topics(connection, [Stamped.of(topic) for topic in declared])
        return Arena(spec, self.nursery, orders, Random(seed), manner or Manner())

    async def check(self, one: Arena) -> Report:
        """Examine an arena."""
        return await check(one, self.server.calls, load_trust(self.folder / "keys" / "trust.json"))


async def campaign(
    wanted: Wanted,
    folder: Path,
    *,
    nodes: int,
    broker_every_s: float,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Run one on brokers of its own, of which one is restarted every `broker_every_s`.

    Brokers and workers are gone when it returns, whatever happened.
    """
    broker = local_broker.start(data_dir=folder / "kafka", nodes=nodes)
    brokers = Brokers(broker, Random(f"{wanted.seed}/brokers"))
    try:
        async with battlefield(folder, broker.bootstrap_servers, seed=wanted.seed) as where:
            orders = Orders(Random(f"{wanted.seed}/orders"))
            breaking = asyncio.create_task(_break_brokers(brokers, orders, broker_every_s))

            async def peace() -> None:
                breaking.cancel()
                await asyncio.gather(breaking, return_exceptions=True)
                await brokers.mend()

            try:
                return await fight(wanted, where, orders, say=say, peace=peace)
            finally:
                breaking.cancel()
    finally:
        local_broker.stop(brokers.broker, within_s=1.0)


async def fight(
    wanted: Wanted,
    where: Battlefield,
    orders: Orders,
    *,
    say: Callable[[str], None] = lambda _text: None,
    peace: Callable[[], Awaitable[None]] | None = None,
) -> Outcome:
    """Run the arenas of a campaign, and examine them.

    Args:
        wanted: what it is to be.
        where: on what.
        orders: who dies where; counts.
        say: told how it goes.
        peace: waited for before the arenas come to rest.
    """
    check_steps()
    began = time.monotonic()
    result = Outcome(orders)
    end = asyncio.Event()
    watcher = asyncio.create_task(_watch(wanted, orders, end, say))
    try:
        async with contextlib.AsyncExitStack() as stack:
            arenas = []
            for number in range(wanted.arenas):
                seed = f"{wanted.seed}/{number}"
                one = await where.arena(f"chaos-{number}", orders=orders, seed=seed, manner=wanted.manner)
                await stack.enter_async_context(one.following())
                arenas.append(one)
            async with asyncio.TaskGroup() as group:
                for one in arenas:
                    group.create_task(_campaign_of(one, end))
            if peace is not None:
                await peace()
            say(f"{orders.total} kills; letting the groups come to rest")
            drained = await asyncio.gather(*(rest(one) for one in arenas))
        for one, well in zip(arenas, drained, strict=True):
            report = result.reports[one.spec.namespace] = await where.check(one)
            if not well:
                report.faults.append("the group did not come to rest in time")
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
    result.seconds = time.monotonic() - began
    return result


async def _campaign_of(one: Arena, end: asyncio.Event) -> None:
    async with one.publishing():
        while not end.is_set():
            await one.wave()


async def rest(one: Arena) -> bool:
    """Let an arena come to rest; tells whether it did."""
    await one.calm()
    return await one.drain()


async def _watch(wanted: Wanted, orders: Orders, end: asyncio.Event, say: Callable[[str], None]) -> None:
    began = time.monotonic()
    said = 0
    while time.monotonic() - began < wanted.within_s and (orders.total < wanted.kills or orders.missing):
        await asyncio.sleep(0.2)
        if orders.total >= said + 50:
            said = orders.total
            say(f"{said} kills after {time.monotonic() - began:.0f} s")
    end.set()


@dataclass
class Brokers:
    """The cluster, whose nodes are restarted one at a time."""

    broker: RunningBroker
    draws: Random
    down: int | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def restart_one(self, orders: Orders) -> None:
        """Take a node away, and give it back."""
        async with self._turn:
            self.down = self.draws.choice(self.broker.nodes).node_id
            crash = self.draws.random() < 0.5
            take = local_broker.kill_node if crash else local_broker.stop_node
            await asyncio.to_thread(take, self.broker, self.down)
            orders.counts["brokers killed" if crash else "brokers stopped"] += 1
            await asyncio.sleep(self.draws.uniform(*BROKER_DOWN_S))
            await self._start()

    async def mend(self) -> None:
        """Start the node that is down; one that is being given back is waited for, as nobody starts it twice."""
        async with self._turn:
            await self._start()

    async def _start(self) -> None:
        if self.down is not None:
            self.broker = await asyncio.to_thread(local_broker.start_node, self.broker, self.down)
            self.down = None


async def _break_brokers(brokers: Brokers, orders: Orders, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        # A thread cannot be cancelled: what was begun is finished.
        await asyncio.shield(brokers.restart_one(orders))

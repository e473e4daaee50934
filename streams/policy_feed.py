"""Which bundle a worker judges by: what came with it, until the topic of policies activates another one.

One activation, step by step (the numbers come back in the code):

1. **Hear.** The topic is read to its end before the worker joins its group, and followed from there. What does not
   verify is refused (`policy_log.py`).
2. **Try**, the newest activation first: its bundles are read from the topic, and each is made an engine as
   `jurat.policies.trial` says, its own cases included. That happens in a thread, while decisions go on.
3. **Swap**, in one turn of the event loop: inputs that are taken into work from now on are judged by it. What is in
   work is judged to its end by what it began with.
4. One whose bundle is missing or unfit is told once and counted, and the one before it is tried: in a worker that
   runs, that is the one that judges already. The next activation, or bundle, tries again. What is no fault of the
   bundle, as a trust file that cannot be read, is waited out where it may pass, and else ends the worker.

Rules upheld here: what judges follows from the topic alone, so that a worker that starts anew judges as the others do;
a partition is not opened before everything that stands on the topic was heard and tried, so that a decision is never
followed, in its partition, by one that began later under an older activation. Not here: deciding (`deciding.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Protocol

from jurat.agents.agent import Agent
from jurat.audit.keys import Trust
from jurat.policies.engine import PolicyEngine
from jurat.policies.publication import Activation, PublishedBundle, bundle_key
from jurat.policies.trial import try_bundle
from jurat.schemas.errors import (
    BrokerUnreachable,
    BundleError,
    BundleUnfit,
    JuratError,
    PolicyError,
    Retryable,
)
from jurat.streams.following import Follower
from jurat.streams.kafka import Connection, KafkaRecord
from jurat.streams.kafka_ending import end_tasks
from jurat.streams.policy_log import PolicyLog, Signed
from jurat.streams.policy_publishing import policies_partition, read_survey
from jurat.streams.reading import Progress, read_to_end

log = logging.getLogger(__name__)

HEARD_S: Final = 30.0
"""How long a partition that opens waits for the topic's end, and for what stands there to be tried."""

AGAIN_S: Final = 1.0
"""Pause before a bundle is read again that Kafka did not hand out."""


class PolicyMeters(Protocol):
    """Counts what became of policies."""

    def policy_refused(self, why: str) -> None:
        """A record, or an activation, was not obeyed; `why` is the class of the error."""
        ...

    def policy_judges(self, *, enforce: str, shadow: str | None, behind: bool) -> None:
        """These bundles judge from now on; `behind` when a newer activation could not be taken."""
        ...


@dataclass(frozen=True, slots=True)
class Judges:
    """Who judges.

    Attributes:
        engine: who decides.
        shadow: whose verdicts are recorded beside.
        by: the activation that says so; None where nothing is activated.
    """

    engine: PolicyEngine
    shadow: PolicyEngine | None = None
    by: Activation | None = None


class PolicyFeed:
    """Follows the topic of policies for one agent.

    Args:
        connection: the cluster and namespace.
        agent: the agent that is judged.
        given: the engine that came with the worker.
        trust: the trusted keys as they are now; asked for each record, so that it may change.
        meters: who counts.
        swap: is told who judges from now on, in the event loop.
    """

    def __init__(
        self,
        connection: Connection,
        agent: Agent[Any],
        *,
        given: PolicyEngine,
        trust: Callable[[], Trust],
        meters: PolicyMeters,
        swap: Callable[[Judges], None],
    ) -> None:
        self._connection = connection
        self._agent = agent
        self._given = given
        self._trust = trust
        self._meters = meters
        self._swap = swap
        self._where = policies_partition(connection)
        self._log = PolicyLog(cluster_id="", topic=self._where.topic)
        self._follower = Follower(connection, self._hear, what=f"the topic {self._where.topic}")
        self._judges = Judges(given)
        self._unfit: dict[int, Activation] = {}
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, *, cluster_id: str) -> None:
        """Read what stands there, judge by it, and go on following.

        Raises:
            ConfigurationError: the trust file cannot be read.
            KeyRejected: it is not what a trust file should be.
            TopicMissing: there is no topic of policies.
            BrokerUnreachable: the reading got nowhere.
        """
        self._log = PolicyLog(cluster_id=cluster_id, topic=self._where.topic)
        await self._follower.start()
        start = (await self._follower.ends([self._where]))[self._where]
        progress = Progress(f"the topic {self._where.topic}")
        async with aclosing(read_to_end(self._connection, [self._where], progress=progress)) as records:
            async for record in records:
                self._hear(record)  # 1
                start = max(start, record.offset + 1)
        await self._settle()
        self._follower.add({self._where: start})
        self._task = asyncio.create_task(self._keep_settling(), name=f"policies of {self._agent.name}")

    async def stop(self) -> None:
        """Follow nothing any more."""
        if self._task is not None:
            await end_tasks([self._task])
        await self._follower.stop()

    @property
    def failure(self) -> BaseException | None:
        """What ended the following, None while it goes on."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            return self._task.exception()
        return self._follower.failure

    async def settled(self) -> None:
        """Wait until what stands on the topic now was heard, and tried.

        Raises:
            BrokerUnreachable: that took too long.
        """
        try:
            async with asyncio.timeout(HEARD_S):
                heard = await self._follower.caught_up([self._where], HEARD_S)
                await self._settled.wait()
        except TimeoutError:
            heard = False
        if not heard:
            raise BrokerUnreachable(
                f"the topic {self._where.topic} could not be read to its end within {HEARD_S:.0f} s, so that it is not"
                " known which policies are active"
            )

    def _hear(self, record: KafkaRecord) -> None:
        trust = (
            self._trust()
        )  # a trust file that cannot be read is no fault of the record: it ends the worker
        try:
            taken = self._log.take(record, trust)
        except JuratError as error:
            self._refuse(error, f"offset={record.offset}")
            return
        if isinstance(taken, PublishedBundle):
            digest = taken.digest  # what was missing may be there now
            self._unfit = {
                seq: one for seq, one in self._unfit.items() if digest not in (one.enforce, one.shadow)
            }
        elif taken.activation.bundle != self._agent.bundle:
            return
        self._settled.clear()
        self._changed.set()

    async def _keep_settling(self) -> None:
        while True:
            await self._changed.wait()
            try:
                await self._settle()
            except Retryable as error:
                log.warning("policies are read again in %.0f s: %s", AGAIN_S, error)
                await asyncio.sleep(AGAIN_S)

    async def _settle(self) -> None:
        """Judge by the newest activation that can be taken; never by one older than that which judges already."""
        while True:
            self._changed.clear()
            history = self._log.history(self._agent.bundle)
            taken: Judges | None = None
            for signed in history:
                if self._judges.by is not None and signed.activation.seq <= self._judges.by.seq:
                    break
                if signed.activation.seq not in self._unfit:
                    taken = await self._try(signed)  # 2
                if taken is not None:
                    break
            if taken is not None:
                self._judges = taken
                self._swap(taken)  # 3
            self._tell(history)
            if not self._changed.is_set():
                self._settled.set()
                return

    async def _try(self, signed: Signed) -> Judges | None:
        activation = signed.activation
        try:
            engines = [await self._engine(digest) for digest in (activation.enforce, activation.shadow)]
        except Retryable:
            self._changed.set()
            raise
        except PolicyError as error:  # the bundle's fault; every other error is not, and ends the worker
            self._unfit[activation.seq] = activation
            self._refuse(error, f"activation={activation.key}")  # 4
            return None
        log.info("policies activated activation=%s by=%s", activation.key, signed.by)
        return Judges(engines[0] or self._given, engines[1], activation)

    async def _engine(self, digest: str | None) -> PolicyEngine | None:
        if digest is None:
            return None
        for known in (self._judges.engine, self._judges.shadow):
            if known is not None and known is not self._given and known.digest == digest:
                return known  # it was tried already
        found = await read_survey(
            self._connection, self._trust(), cluster_id=self._log.cluster_id, wanted=digest
        )
        if found.wanted is None:
            raise BundleError(
                f"{bundle_key(digest)} is not on {self._where.topic}, or does not verify", digest=digest
            )
        agents = {self._agent.name: self._agent.actions}
        try:
            return await asyncio.to_thread(
                try_bundle, self._agent.bundle, found.wanted, digest=digest, agents=agents
            )
        except PolicyError:
            raise
        except Exception as error:  # whatever a bundle brings about, the worker keeps the one it has
            raise _defect(error) from error

    def _refuse(self, error: JuratError, where: str) -> None:
        self._meters.policy_refused(type(error).__name__)
        log.error(
            "policies refused agent=%s topic=%s %s error=%s: %s",
            self._agent.name,
            self._where.topic,
            where,
            type(error).__name__,
            error,
        )

    def _tell(self, history: tuple[Signed, ...]) -> None:
        judges = self._judges
        behind = bool(history) and judges.by != history[0].activation
        shadow = None if judges.shadow is None else judges.shadow.digest
        self._meters.policy_judges(enforce=judges.engine.digest, shadow=shadow, behind=behind)


def _defect(error: Exception) -> BundleUnfit:
    # The class alone: the message of an error that nobody foresaw may quote what the bundle holds.
    return BundleUnfit(f"trying it failed with {type(error).__name__}, which is a defect of jurat")

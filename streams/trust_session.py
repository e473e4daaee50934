"""A worker's session: a key that it makes for itself, credited by its agent's key, and renewed while it runs.

One session, step by step (the numbers come back in the code):

1. **Hear** the topic of trust to its end, and follow it from there.
2. **Find** the newest credential of the agent's key that holds now, and whose scope covers all that the agent does.
3. **Make** a key in memory, let the agent's key sign a session credential for it, and write that to the topic. The
   agent's key signs nothing else, and never a record.
4. **Wait** until it was heard: from then on records are signed with it, and name it with the newest head that is known.
5. When half of it is over, do 2 to 4 again. A session that ends without a successor ends the worker.

Rules upheld here: the private key of a session is never written anywhere; a decision outside the session's scope is not
signed; a revocation of a key above the session ends the worker. Not here: the rules of the log
(`jurat.audit.trust_log`), signing (`outputs.py`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from jurat.agents.agent import Agent
from jurat.audit.credential import AgentCredential, SessionCredential, print_seconds, seconds
from jurat.audit.credential_grant import Link
from jurat.audit.credential_issue import issue, request
from jurat.audit.credential_scope import Scope
from jurat.audit.ed25519 import SEED_SIZE, SigningKey
from jurat.audit.identity import Identity
from jurat.audit.keys import PemSigner, Signer, Signing
from jurat.audit.record import DecisionRecord
from jurat.audit.standing import check_scope
from jurat.audit.trust_log import Admitted, TrustLog
from jurat.schemas.errors import (
    BrokerUnreachable,
    ConfigurationError,
    CredentialInvalid,
    InputRejected,
    JuratError,
    KeyNotFound,
)
from jurat.streams import topics
from jurat.streams.following import Follower
from jurat.streams.kafka import Connection, KafkaRecord
from jurat.streams.kafka_ending import end_tasks
from jurat.streams.reading import read_to_end
from jurat.streams.topic_admin import ensure_topics
from jurat.streams.trust_topic import TrustRead, trust_partition, write_statements

log = logging.getLogger(__name__)

SESSION_S: Final = 24 * 3600
"""As long as a session may be: half of it is the time that witnesses may be away."""

EARLIER_S: Final = 300
"""A session begins by so much before it is made: clocks of witnesses may be behind ours."""

AGAIN_S: Final = 60.0
"""Pause before a renewal that failed is tried again."""

HEARD_S: Final = 30.0
"""How long to wait until what was written is read."""


@dataclass(frozen=True, slots=True)
class _Session:
    signer: Signer
    digest: str
    scope: Scope
    not_before: int
    expiry: int
    above: frozenset[str]


class SessionKeeper:
    """Keeps an agent's session.

    Args:
        connection: the cluster and namespace.
        agent: the agent.
        signer: the agent's own key.
        root: the trusted root statement.
        clock: the present moment.

    Raises:
        StatementInvalid: the root is none.
    """

    def __init__(
        self,
        connection: Connection,
        agent: Agent[Any],
        *,
        signer: Signer,
        root: bytes,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._connection = connection
        self._agent = agent
        self._signer = signer
        self._clock = clock
        self._read = TrustRead(TrustLog(root))
        self._where = trust_partition(connection)
        self._follower = Follower(connection, self._hear, what=f"the topic {self._where.topic}")
        self._session: _Session | None = None
        self._revoked: CredentialInvalid | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take the first session, and go on renewing it.

        Raises:
            KeyNotFound: the agent's key has no credential that holds now.
            ConfigurationError: its credential does not cover what the agent does.
            StatementInvalid: the trusted root does not stand on the topic, or the session was not taken.
            StreamError: Kafka refused.
        """
        await ensure_topics(self._connection, [topics.TRUST])
        await self._follower.start()  # 1
        start = (await self._follower.ends([self._where]))[self._where]
        async with aclosing(read_to_end(self._connection, [self._where])) as records:
            async for record in records:
                self._hear(record)
                start = max(start, record.offset + 1)
        self._follower.add({self._where: start})
        await self._renew()
        self._task = asyncio.create_task(self._keep(), name=f"session of {self._agent.name}")

    async def stop(self) -> None:
        """Follow nothing any more; the session's key is forgotten."""
        if self._task is not None:
            await end_tasks([self._task])
        await self._follower.stop()
        self._session = None

    @property
    def failure(self) -> BaseException | None:
        """What ended the session, None while it holds."""
        if self._revoked is not None:
            return self._revoked
        if self._task is not None and self._task.done() and not self._task.cancelled():
            return self._task.exception()
        return self._follower.failure

    def now(self) -> Signing:
        """Who signs the next record.

        Raises:
            CredentialInvalid: there is no session, it is over, or a key above it was revoked.
        """
        session = self._held()
        return Signing(session.signer, Identity(credential=session.digest, trust=self._read.log.head))

    def permits(self, record: DecisionRecord) -> None:
        """Check that a decision may be signed, before anything comes of it.

        Raises:
            InputRejected: it is outside the scope, by its input, its action or a limit.
            CredentialInvalid: the policies that judge are, which is no fault of the input; or there is no session.
        """
        scope = self._held().scope
        if record.policy is not None and scope.policies and record.policy.digest not in scope.policies:
            raise CredentialInvalid(
                f"the policies {record.policy.digest} judge now, which the credential of {self._agent.name} does not"
                " allow; activate others, or issue a credential that does"
            )
        try:
            check_scope(scope, record)
        except CredentialInvalid as error:
            raise InputRejected(f"the agent's credential does not allow this: {error}") from error

    def _held(self) -> _Session:
        if self._revoked is not None:
            raise self._revoked
        if self._session is None:
            raise CredentialInvalid(
                f"the agent {self._agent.name} has no session, expected a worker that started"
            )
        if self._clock().timestamp() > self._session.expiry:
            # A machine that slept: timers stood still, the day went on. What it signs would never be valid.
            raise CredentialInvalid(
                f"the session of {self._agent.name} is over and was not renewed: nothing more is signed under it. Start"
                " the worker again"
            )
        return self._session

    def _hear(self, record: KafkaRecord) -> None:
        refusals = self._read.refusals
        self._read.take(record)
        self._read.lines.clear()  # only the log is kept
        if self._read.refusals != refusals:
            log.warning("trust statement passed over topic=%s offset=%d", record.topic, record.offset)
        if self._session is not None and self._revoked is None:
            gone = self._session.above & self._read.log.revoked
            if gone:
                self._revoked = CredentialInvalid(
                    f"the key {min(gone)}, on which the session of {self._agent.name} stands, was revoked: nothing more"
                    " is signed under it. Start the worker again once the agent has another credential",
                    keyid=min(gone),
                )

    async def _keep(self) -> None:
        while True:
            session = self._held()
            half = (session.not_before + session.expiry) / 2
            await asyncio.sleep(max(half - self._clock().timestamp(), AGAIN_S))
            try:
                await self._renew()
            except JuratError as error:
                if self._clock().timestamp() >= session.expiry - AGAIN_S:
                    raise
                log.warning(
                    "session not renewed agent=%s again_in_s=%.0f: %s", self._agent.name, AGAIN_S, error
                )

    async def _renew(self) -> None:
        parent, credential = self._credential()  # 2
        _check_covers(credential.scope, self._agent, self._connection)
        key = PemSigner(SigningKey(secrets.token_bytes(SEED_SIZE)))  # 3
        begins = max(self._clock() - timedelta(seconds=EARLIER_S), _moment(credential.not_before))
        ends = min(begins + timedelta(seconds=SESSION_S), _moment(credential.expiry))
        asked = await request("session", key, name=credential.name, parent=parent.digest)
        made = SessionCredential(
            after=self._read.log.head,
            expiry=print_seconds(ends),
            keyid=key.keyid,
            name=credential.name,
            not_before=print_seconds(begins),
            parent=parent.digest,
            proof=asked.proof,
            scope=credential.scope,
        )
        await write_statements(self._connection, [await issue(made, [self._signer])])
        if not await self._follower.caught_up([self._where], HEARD_S):  # 4
            raise BrokerUnreachable(
                f"the topic {self._where.topic} could not be read to its end within {HEARD_S:.0f} s, so that it is not"
                " known whether the session was taken"
            )
        taken = self._read.log.credentials_of(key.keyid)
        if not taken:
            told = str(self._read.refused[-1]) if self._read.refused else "it was not read"
            raise CredentialInvalid(f"the session of {self._agent.name} was not taken: {told}")
        self._session = _Session(
            signer=key,
            digest=taken[0].digest,
            scope=credential.scope,
            not_before=seconds(made.not_before),
            expiry=seconds(made.expiry),
            above=frozenset(self._read.log.keys_above(taken[0])),
        )
        log.info("session begins agent=%s keyid=%s until=%s", self._agent.name, key.keyid, made.expiry)

    def _credential(self) -> tuple[Admitted, AgentCredential]:
        """The newest credential of the agent's key that holds now."""
        self._read.log.check_met()
        now = int(self._clock().timestamp())
        whys: list[str] = []  # at most as many as the key has credentials; the newest one's is told
        for admitted in self._read.log.credentials_of(self._signer.keyid):
            made = admitted.statement
            if not isinstance(made, AgentCredential) or made.name != self._agent.name:
                whys.append("it is no key of this agent")
                continue
            faults = [fault for link in self._read.log.links(admitted) if (fault := _fault(link, now))]
            if not faults:
                return admitted, made
            whys.append(faults[0])
        raise KeyNotFound(
            f"the key {self._signer.keyid} of {self._agent.name} has no credential on {self._where.topic} that holds"
            f" now: {whys[0] if whys else 'it has none at all'}; issue one: jurat keys issue {self._agent.name}, then"
            " jurat keys publish",
            keyid=self._signer.keyid,
        )


def needs(agent: Agent[Any], connection: Connection) -> Scope:
    """The least scope under which an agent can do all that it is made for, whatever policies judge."""
    return Scope(
        actions=tuple(sorted({action.action_name for action in agent.actions})),
        inputs=tuple(
            sorted(connection.topic(name) for name in (agent.topic, topics.timers(agent.name).name))
        ),
        limits=(),
        outputs=(connection.topic(topics.decisions(agent.name).name),),
        policies=(),
    )


def _check_covers(scope: Scope, agent: Agent[Any], connection: Connection) -> None:
    wanted = needs(agent, connection)
    for name in ("actions", "inputs", "outputs"):
        missing = sorted(set(getattr(wanted, name)) - set(getattr(scope, name)))
        if missing:
            raise ConfigurationError(
                f"the credential of {agent.name} does not allow the {name} {', '.join(missing)}, which the agent may"
                f" come to; issue one that does: jurat keys issue {agent.name}"
            )


def _fault(link: Link, now: int) -> str | None:
    """Why a credential does not hold now; None where it does."""
    if link.effective is not None:
        return f"{link.what} is revoked"
    if now < link.not_before:
        return f"{link.what} begins {link.not_before - now} s from now, by the clock here"
    return f"{link.what} ended {now - link.expiry} s ago, by the clock here" if now > link.expiry else None


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(seconds(text), UTC)

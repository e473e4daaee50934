"""Running an agent: its policies loaded, its keys at hand, its worker on Kafka."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jurat import settings
from jurat.agents.agent import Agent
from jurat.agents.reasoner import Reasoner
from jurat.audit.key_store import TRUST_FILE, KeyKind, init_keys, load_key, load_signer, load_trust
from jurat.audit.keys import Purpose, Signer, Trust
from jurat.policies.bundle import load_bundle
from jurat.policies.engine import PolicyEngine
from jurat.policies.folder import known_bundle
from jurat.schemas.errors import ConfigurationError, KeyNotFound, KeyRejected
from jurat.streams import logs
from jurat.streams.evidence import Vault
from jurat.streams.intake import MAX_IN_FLIGHT
from jurat.streams.kafka import Connection
from jurat.streams.metrics import Meters
from jurat.streams.tracing_otel import tracing
from jurat.streams.trust_session import SessionKeeper
from jurat.streams.worker import Worker, WorkerConfig

log = logging.getLogger(__name__)


async def run_agent(
    agent: Agent[Any],
    *,
    connection: Connection,
    reasoner: Reasoner,
    keys: Path | None = None,
    until_idle_s: float | None = None,
    max_in_flight: int = MAX_IN_FLIGHT,
    metrics_at: tuple[str, int] | None = None,
) -> int:
    """Run an agent until it is stopped (SIGTERM, SIGINT), or until nothing came for `until_idle_s`.

    Args:
        agent: the agent.
        connection: the cluster and namespace.
        reasoner: who proposes.
        keys: folder of signing keys; None takes `JURAT_KEYS_DIR`, else the user's own folder.
        until_idle_s: end when nothing came for this long, in seconds; None goes on.
        max_in_flight: how many decisions may be in work at once.
        metrics_at: host and port of the worker's health and metrics; port 0 takes a free one, None serves none.

    Returns:
        How many inputs were committed.

    Raises:
        ConfigurationError: the agent cannot use this reasoner, the port is taken, or OpenTelemetry is not installed.
        KeyNotFound: the agent has no signing key in a folder that was named, or `JURAT_SUBJECT_KEYS` names no file.
        BundleError: its policies do not load.
        StreamError: Kafka refused for good.
    """
    if reasoner.name == "requested" and agent.requested is None:
        raise ConfigurationError(
            f"agent {agent.name} cannot use the reasoner `requested`: its events do not ask for actions;"
            " use `heuristic`"
        )
    engine = PolicyEngine(load_bundle(known_bundle(agent.bundle)))
    with ExitStack() as stack:
        signer, session = identity_of(agent, connection, keys)
        registry = settings.schema_registry()
        if registry is not None:
            stack.callback(registry.close)
        meters = Meters(agent.name)
        if metrics_at is not None:
            from jurat.streams.health import HealthServer  # noqa: PLC0415 - a tenth of a second, for those who ask

            stack.enter_context(HealthServer(meters, host=metrics_at[0], port=metrics_at[1]))
        config = WorkerConfig(
            agent=agent,
            reasoner=reasoner,
            engine=engine,
            signer=signer,
            session=session,
            clock=lambda: datetime.now(UTC),
            code=f"jurat {version('jurat')}",
            trust=partial(trusted, keys),
            ids=registry,
            until_idle_s=until_idle_s,
            max_in_flight=max_in_flight,
            meters=meters,
            vault=_vault(),
            tracing=stack.enter_context(tracing(agent.name, group=connection.group(agent.name))),
        )
        worker = Worker(connection, config)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(logs.report)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
            stack.callback(loop.remove_signal_handler, number)
        await worker.run()
        return worker.committed_records


def identity_of(
    agent: Agent[Any], connection: Connection, keys: Path | None = None
) -> tuple[Signer, SessionKeeper | None]:
    """The agent's key; and where a root is trusted (`JURAT_TRUST_ROOT`), who keeps a session under its credential.

    Raises:
        KeyNotFound: the agent has no key.
        KeyRejected: the key cannot be used.
        ConfigurationError: the root cannot be read.
        StatementInvalid: it is none.
    """
    root = settings.trust_root()
    if root is None:
        return signer_for(agent.name, keys), None
    signer = load_key(settings.keys_dir(keys), agent.name, KeyKind.AGENT, settings.keys_passphrase())
    return signer, SessionKeeper(connection, agent, signer=signer, root=root)


def _vault() -> Vault | None:
    """What seals personal data; None where there is no master key of subjects.

    Raises:
        KeyNotFound: there is no such file.
        KeyRejected: it cannot be used.
    """
    master = settings.subject_keys()
    return None if master is None else Vault(master)


def signer_for(agent: str, keys: Path | None = None) -> Signer:
    """The agent's signing identity.

    A key that is missing from the user's own key folder is made there, as an SSH server does at its first start; a
    folder that was named must hold the key.

    Raises:
        KeyNotFound: the named folder has no key for this agent.
        KeyRejected: the key cannot be used, or the trust file beside it has it as another's or not at all.
    """
    folder = settings.keys_dir(keys)
    passphrase = settings.keys_passphrase()
    try:
        signer = load_signer(folder, agent, passphrase)
    except KeyNotFound:
        if folder != settings.default_keys_dir():
            raise
        log.warning("no signing key for %s yet: making one in %s", agent, folder)
        init_keys(folder, [agent], passphrase)
        signer = load_signer(folder, agent, passphrase)
    _check_trusted(signer, agent, folder / TRUST_FILE)
    return signer


def _check_trusted(signer: Signer, agent: str, path: Path) -> None:
    """Check that the trust file beside a key, where there is one, has the key as the agent's."""
    if not path.exists():
        return
    named = load_trust(path).by_keyid.get(signer.keyid)
    if named is None or (named.agent, named.purpose) != (agent, Purpose.DECISIONS):
        whose = "nobody's" if named is None else f"that of {named.agent}, for {named.purpose}"
        raise KeyRejected(
            f"the key of {agent} in {path.parent} is {signer.keyid}, which {path} has as {whose}: no auditor would"
            f" accept what it signs. Put the right key file there; or move this one away and make a new one: jurat keys"
            f" init --keys {path.parent} --agent {agent}",
            keyid=signer.keyid,
        )


def trusted(keys: Path | None = None) -> Trust:
    """The trusted keys as they stand in the key folder now; none where it has no trust file.

    Raises:
        ConfigurationError: it cannot be read.
        KeyRejected: it is not what a trust file should be.
    """
    path = settings.keys_dir(keys) / TRUST_FILE
    return load_trust(path) if path.exists() else Trust(())

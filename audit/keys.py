"""Who may sign, and who is trusted: signers and the trust file.

Pure; files are read and written in `key_store`. Rules upheld here: a key's id is its did:key name, so an id
can never point at another key; the algorithm comes from the trusted key, never from a record; a key speaks
for one name and one purpose only, and an approver's key for approvals alone; the trust file has one canonical form.

The trust file is specified in `docs/spec/audit-record.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from jurat.audit import did_key
from jurat.audit.credential_grant import Grant
from jurat.audit.ed25519 import SigningKey
from jurat.audit.identity import Identity
from jurat.schemas import canonical
from jurat.schemas.errors import CanonicalError, ConfigurationError, KeyNotFound, KeyRejected

ALG_ED25519 = "ed25519"

MAX_TRUSTED_KEYS = 10_000
"""Far above any fleet of agents; bounds the memory of a hostile trust file."""

MAX_ROLES = 32
"""Roles of one person: far more than anybody answers for."""

_AGENT = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_ROLE = re.compile(r"[ -~]{1,100}")


class Purpose(StrEnum):
    """What a key may sign: a key that publishes policies signs no decision, and the other way round."""

    DECISIONS = "decisions"
    POLICIES = "policies"


class Signer(Protocol):
    """What signs records: a key in memory, or a service that holds one."""

    @property
    def keyid(self) -> str:
        """The key's did:key name."""
        ...

    @property
    def alg(self) -> str:
        """The algorithm, for example `ed25519`."""
        ...

    async def sign(self, message: bytes) -> bytes:
        """Sign the exact bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Signing:
    """Who signs the next record.

    Attributes:
        signer: the key.
        identity: the credential of the key, which the record names; None for a pinned key.
    """

    signer: Signer
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key, whose it is, and what it may sign.

    Attributes:
        agent: the agent that it signs for; for another purpose than decisions, the name of who signs with it.
        grant: what a trust log says of it; None for a pinned key, which a trust file names: that holds without end.
    """

    agent: str
    keyid: str
    alg: str = ALG_ED25519
    purpose: Purpose = Purpose.DECISIONS
    grant: Grant | None = field(default=None, repr=False)
    public_key: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_agent(self.agent)
        if self.alg != ALG_ED25519:
            raise KeyRejected(f"got the algorithm {self.alg!r}, expected {ALG_ED25519!r}", keyid=self.keyid)
        object.__setattr__(self, "public_key", did_key.decode(self.keyid))


@dataclass(frozen=True, slots=True)
class TrustedApprover:
    """A person's public key and the roles that it may approve for; it signs no records."""

    approver: str
    keyid: str
    roles: tuple[str, ...]
    alg: str = ALG_ED25519
    public_key: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_agent(self.approver, what="approver's")
        if self.alg != ALG_ED25519:
            raise KeyRejected(f"got the algorithm {self.alg!r}, expected {ALG_ED25519!r}", keyid=self.keyid)
        roles = tuple(sorted(set(self.roles)))
        if not 0 < len(roles) <= MAX_ROLES or not all(_ROLE.fullmatch(role) for role in roles):
            raise KeyRejected(
                f"got the roles {list(roles)[:10]} for {self.approver}, expected 1 to {MAX_ROLES} names as in"
                " roles.yaml",
                keyid=self.keyid,
            )
        object.__setattr__(self, "roles", roles)
        object.__setattr__(self, "public_key", did_key.decode(self.keyid))


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys that are trusted; an agent or a person may have several, a key has one of them.

    Attributes:
        keys: of agents, workers' sessions and who publishes policies.
        approvers: of people who approve.
        statements: how many the trust log has from which sessions come; None where keys are pinned alone.
    """

    keys: tuple[TrustedKey, ...]
    approvers: tuple[TrustedApprover, ...] = ()
    statements: int | None = field(default=None, compare=False)
    by_keyid: dict[str, TrustedKey] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(sorted(self.keys, key=lambda key: (key.agent, key.keyid))))
        sorted_approvers = tuple(sorted(self.approvers, key=lambda key: (key.approver, key.keyid)))
        object.__setattr__(self, "approvers", sorted_approvers)
        object.__setattr__(self, "by_keyid", {key.keyid: key for key in self.keys})
        named = [*(key.keyid for key in self.keys), *(key.keyid for key in self.approvers)]
        if len(set(named)) != len(named):
            raise KeyRejected(
                "got the same key id twice in the trusted keys, expected each key once, for one agent or approver"
            )

    def find(self, keyid: str, *, purpose: Purpose = Purpose.DECISIONS) -> TrustedKey:
        """Find a key by its id that is trusted for a purpose.

        Raises:
            KeyNotFound: no such key is trusted for that.
        """
        key = self.by_keyid.get(keyid)
        if key is None:
            where = "is not in the trust file"
            if self.statements is not None:
                where = (
                    f"has no credential among the {self.statements} statements of the trust log; a session that began"
                    " later is in a newer one: jurat keys fetch, or --trust-log FILE"
                )
            raise KeyNotFound(f"the key {keyid[:100]!r} {where}", keyid=keyid[:100])
        if key.purpose is not purpose:
            raise KeyNotFound(
                f"the trust file names the key {keyid!r} of {key.agent} for {key.purpose}, expected one for"
                f" {purpose}",
                keyid=keyid,
            )
        return key

    def find_approver(self, keyid: str) -> TrustedApprover:
        """Find an approver's key by its id.

        Raises:
            KeyNotFound: no such key is trusted to approve.
        """
        for key in self.approvers:
            if key.keyid == keyid:
                return key
        raise KeyNotFound(
            f"the key {keyid[:100]!r} is no approver's in the trust file; trust it: jurat keys trust",
            keyid=keyid[:100],
        )


class PemSigner:
    """Signs with a private key held in memory."""

    __slots__ = ("_key", "alg", "keyid")

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self.alg = ALG_ED25519
        self.keyid = did_key.encode(key.public_key)

    async def sign(self, message: bytes) -> bytes:
        """Sign the exact bytes; never suspends."""
        return self._key.sign(message)


def check_agent(agent: str, *, what: str = "agent") -> str:
    """Check an agent's or approver's name: it becomes a file name and the first part of chain names.

    Raises:
        ConfigurationError: not 1 to 64 of a-z, 0-9 and hyphen, starting with a letter or digit.
    """
    if not _AGENT.fullmatch(agent):
        raise ConfigurationError(
            f"got the {what} name {agent[:100]!r}, expected 1 to 64 lower-case letters, digits and hyphens"
        )
    return agent


def print_trust(trust: Trust) -> bytes:
    """Print a trust file: canonical JSON and one line feed.

    Raises:
        KeyRejected: a key holds by its credential; in a file it would hold without end.
    """
    approvers = [
        {"alg": key.alg, "approver": key.approver, "keyid": key.keyid, "roles": key.roles}
        for key in trust.approvers
    ]
    return canonical.dumps([*map(_entry, trust.keys), *approvers]) + b"\n"


def _entry(key: TrustedKey) -> dict[str, str]:
    if key.grant is not None:
        raise KeyRejected(
            f"got the key of {key.agent} for a trust file, which holds by a credential; expected a pinned one",
            keyid=key.keyid,
        )
    entry = {"agent": key.agent, "alg": key.alg, "keyid": key.keyid}
    return entry if key.purpose is Purpose.DECISIONS else entry | {"purpose": key.purpose.value}


def parse_trust(data: bytes) -> Trust:
    """Read a trust file.

    Raises:
        KeyRejected: not canonical, an unknown field or algorithm, or a key that must not be used.
    """
    try:
        entries = canonical.loads(data.removesuffix(b"\n"))
    except CanonicalError as error:
        raise KeyRejected(f"the trust file is not canonical JSON: {error}") from error
    if not isinstance(entries, list) or len(entries) > MAX_TRUSTED_KEYS:
        raise KeyRejected(f"got a trust file that is not a JSON list of at most {MAX_TRUSTED_KEYS} keys")
    people = [entry for entry in entries if isinstance(entry, dict) and "approver" in entry]
    trust = Trust(
        tuple(_parse_trusted_key(entry) for entry in entries if entry not in people),
        tuple(_parse_approver(entry) for entry in people),
    )
    if print_trust(trust) != data:
        raise KeyRejected(
            "the trust file is not in its one form: agents sorted by name and key id, then approvers so, ended by one"
            " line feed"
        )
    return trust


def merge(trust: Trust, added: Iterable[TrustedKey]) -> Trust:
    """Trust more keys; one that is already there stays as it is.

    Raises:
        KeyRejected: a key is another agent's already, or trusted for another purpose.
    """
    merged = dict(trust.by_keyid)
    for key in added:
        there = merged.setdefault(key.keyid, key)
        owner = there.agent
        if there.purpose is not key.purpose:
            raise KeyRejected(
                f"got the key of {owner} for {key.purpose}, but it is trusted for {there.purpose}, and a key has one"
                " purpose; make another one under another name",
                keyid=key.keyid,
            )
        if owner != key.agent:
            raise KeyRejected(
                f"got the key of {owner} as the key of {key.agent}, expected one of its own, since a key has one"
                f" agent; remove the copy and run: jurat keys init --agent {key.agent}",
                keyid=key.keyid,
            )
    return Trust(tuple(merged.values()), trust.approvers)


def with_approver(trust: Trust, added: TrustedApprover) -> Trust:
    """Trust an approver's key; one that is there already gets these roles instead of its own.

    Raises:
        KeyRejected: the key is an agent's or another person's.
    """
    owner = next((key.approver for key in trust.approvers if key.keyid == added.keyid), added.approver)
    if added.keyid in trust.by_keyid or owner != added.approver:
        owner = trust.by_keyid[added.keyid].agent if added.keyid in trust.by_keyid else owner
        raise KeyRejected(
            f"got the key of {owner} as the key of {added.approver}, expected one of their own",
            keyid=added.keyid,
        )
    others = [key for key in trust.approvers if key.keyid != added.keyid]
    return Trust(trust.keys, (*others, added))


def _parse_trusted_key(entry: canonical.JsonValue) -> TrustedKey:
    if not isinstance(entry, dict) or entry.keys() - {"purpose"} != {"agent", "alg", "keyid"}:
        raise KeyRejected(
            "got a trust file entry with other fields, expected agent, alg and keyid, and purpose where it is not"
            " decisions"
        )
    agent, alg, keyid = entry["agent"], entry["alg"], entry["keyid"]
    purpose = entry.get("purpose", Purpose.DECISIONS.value)
    if not isinstance(agent, str) or not isinstance(alg, str) or not isinstance(keyid, str):
        raise KeyRejected("got a trust file entry with a value that is not a string")
    if purpose not in list(Purpose):
        raise KeyRejected(
            f"got a trust file entry with the purpose {str(purpose)[:100]!r}, expected {' or '.join(Purpose)}"
        )
    try:
        return TrustedKey(agent=agent, keyid=keyid, alg=alg, purpose=Purpose(str(purpose)))
    except ConfigurationError as error:
        raise KeyRejected(f"the trust file names a bad agent: {error}") from error


def _parse_approver(entry: dict[str, canonical.JsonValue]) -> TrustedApprover:
    if entry.keys() != {"alg", "approver", "keyid", "roles"}:
        raise KeyRejected(
            "got a trust file entry of an approver with other fields, expected exactly alg, approver, keyid, roles"
        )
    approver, alg, keyid, roles = entry["approver"], entry["alg"], entry["keyid"], entry["roles"]
    texts = [role for role in roles if isinstance(role, str)] if isinstance(roles, list) else []
    if not isinstance(approver, str) or not isinstance(alg, str) or not isinstance(keyid, str):
        raise KeyRejected("got a trust file entry of an approver with a value that is not a string")
    if not isinstance(roles, list) or texts != roles:
        raise KeyRejected("got a trust file entry of an approver whose roles are no list of strings")
    try:
        return TrustedApprover(approver=approver, keyid=keyid, roles=tuple(texts), alg=alg)
    except ConfigurationError as error:
        raise KeyRejected(f"the trust file names a bad approver: {error}") from error

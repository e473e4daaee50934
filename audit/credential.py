"""Statements of the trust log as bytes and as values: roots, issuers, agents, sessions, revocations.

Rules upheld here: a statement has one spelling (parse then print is identity), and an unknown member is refused; a key
is admitted only if it may be used (`did_key`), and its holder has proved to have it; a credential ends, and no later
than its kind may; times are whole seconds, as cosignatures have nothing finer. A statement is named by the SHA-256 of
its payload: who adds or leaves out a signature makes no other statement.

Specified in `docs/spec/identity.md`. Pure. Not here: who must sign what, and what follows what (`trust_log.py`);
making statements (`credential_issue.py`).
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field, ValidationError, model_validator

from jurat.audit import did_key, dsse, public_key
from jurat.audit.credential_scope import Scope
from jurat.audit.identity import TrustHead
from jurat.audit.reasoning import Sha256Hex, absent
from jurat.schemas import b64, canonical
from jurat.schemas.errors import AuditError, CanonicalError, KeyRejected, SignatureInvalid, StatementInvalid
from jurat.schemas.model import Model
from jurat.schemas.moments import parse_moment
from jurat.schemas.shown import first_fault

STATEMENT_TYPE: Final = "application/vnd.jurat.trust-statement.v1+json"
PROOF_TYPE: Final = "application/vnd.jurat.key-proof.v1+json"

MAX_PAYLOAD_BYTES: Final = 32_768
"""The largest scope takes some 20 KB; most statements take one."""

MAX_STATEMENT_BYTES: Final = 65_536
"""A payload in base64 with the signatures of every root key."""

MAX_ROOT_KEYS: Final = 16
"""Root keys are held by people who meet."""

MAX_AGENTS: Final = 256
"""Agents that an issuer may be bound to: many times what one organisation has, in 17 KB at most."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def seconds(moment: str) -> int:
    """A moment of a statement as POSIX seconds."""
    return (parse_moment(moment) - _EPOCH) // timedelta(seconds=1)


def print_seconds(moment: datetime) -> str:
    """Print a moment as statements have it; what is finer than a second is cut off."""
    return moment.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat() + "Z"


def _check_moment(text: str) -> str:
    if print_seconds(parse_moment(text)) != text:
        raise ValueError("not a time in UTC in whole seconds")
    return text


def _check_key(keyid: str) -> str:
    try:
        public_key.decode(keyid)
    except KeyRejected as error:
        raise ValueError(str(error)) from error
    return keyid


def _check_session_key(keyid: str) -> str:
    try:
        did_key.decode(keyid)
    except KeyRejected as error:
        raise ValueError(f"records are signed with Ed25519: {error}") from error
    return keyid


def _check_proof(proof: str) -> str:
    b64.decode(proof)
    return proof


def _check_keys(keyids: tuple[str, ...]) -> tuple[str, ...]:
    if list(keyids) != sorted(set(keyids)):
        raise ValueError("the keys are not sorted, or one stands twice")
    return keyids


def _check_agents(names: tuple[str, ...]) -> tuple[str, ...]:
    if list(names) != sorted(set(names)):
        raise ValueError("the agents are not sorted, or one stands twice")
    return names


Moment = Annotated[str, Field(max_length=30), AfterValidator(_check_moment)]
KeyId = Annotated[str, Field(max_length=100), AfterValidator(_check_key)]
Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Proof = Annotated[str, Field(min_length=88, max_length=88), AfterValidator(_check_proof)]
Said = Annotated[str, Field(min_length=1, max_length=500)]


class Root(Model):
    """Who stands above all: the keys of an organisation's root, and how many of them must sign.

    Attributes:
        after: a head that the trust log had when this was signed.
        keys: their ids, sorted.
        org: the organisation's name.
        threshold: how many must sign.
        version: 1, 2, 3, ...
    """

    after: TrustHead
    keys: Annotated[
        tuple[KeyId, ...], Field(min_length=1, max_length=MAX_ROOT_KEYS), AfterValidator(_check_keys)
    ]
    org: Label
    threshold: Annotated[int, Field(ge=1)]
    type: Literal["root"] = "root"
    version: Annotated[int, Field(ge=1, le=canonical.MAX_INTEGER)]

    @model_validator(mode="after")
    def _check(self) -> Root:
        if self.threshold > len(self.keys):
            raise ValueError(f"a threshold of {self.threshold} for {len(self.keys)} keys")
        return self


class _Credential(Model):
    """What all credentials have.

    Attributes:
        after: a head that the trust log had when this was signed.
        expiry: it holds up to and with this second.
        keyid: the key that it is for.
        name: the issuer's or agent's name.
        not_before: it holds from this second on.
        parent: digest of the statement under which it is issued.
        proof: the key's signature over `proof_message`, in base64: its holder has it and asked for this.
    """

    most_days: ClassVar[int]

    after: TrustHead
    expiry: Moment
    keyid: KeyId
    name: Label
    not_before: Moment
    parent: Sha256Hex
    proof: Proof

    @model_validator(mode="after")
    def _check_times(self) -> _Credential:
        lasts_s = seconds(self.expiry) - seconds(self.not_before)
        if not 0 < lasts_s <= self.most_days * 86_400:
            raise ValueError(f"it lasts {lasts_s} s, expected above 0 and at most {self.most_days} days")
        return self


class Issuer(_Credential):
    """Who may issue credentials for agents, signed by the root.

    Attributes:
        agents: the names of those agents, sorted; none means any.
    """

    most_days = 366  # a ceremony a year
    agents: Annotated[
        tuple[Label, ...], Field(max_length=MAX_AGENTS, exclude_if=absent), AfterValidator(_check_agents)
    ] = ()
    type: Literal["issuer"] = "issuer"

    def check_issues_for(self, agent: str) -> None:
        """Check that it may issue credentials for an agent.

        Raises:
            StatementInvalid: it may not.
        """
        if self.agents and agent not in self.agents:
            raise StatementInvalid(
                f"got the agent {agent} under the issuer {self.name}, which may issue for"
                f" {', '.join(self.agents)[:500]} alone"
            )


class AgentCredential(_Credential):
    """What an agent may do. Under another one of the same agent it is a delegation, and may only narrow it.

    Attributes:
        owner: who answers for the agent.
        scope: what it may do.
    """

    most_days = 90
    owner: Said
    scope: Scope
    type: Literal["agent"] = "agent"


class SessionCredential(_Credential):
    """The key that a worker made for itself, signed by its agent's key."""

    most_days = 1
    keyid: Annotated[str, Field(max_length=100), AfterValidator(_check_session_key)]
    scope: Scope
    type: Literal["session"] = "session"


class Revocation(Model):
    """A key that counts no more, under whatever credential.

    Attributes:
        after: a head that the trust log had when this was signed.
        compromised_since: from this second on somebody else may have had it; None where nobody did.
        effective: from this second on it counts no more.
        keyid: the key.
        reason: why, for people.
    """

    after: TrustHead
    compromised_since: Moment | None
    effective: Moment
    keyid: KeyId
    reason: Said
    type: Literal["revocation"] = "revocation"

    @model_validator(mode="after")
    def _check_times(self) -> Revocation:
        since = self.compromised_since
        if since is not None and seconds(since) > seconds(self.effective):
            raise ValueError("compromised_since is after effective")
        return self


Credential: TypeAlias = Issuer | AgentCredential | SessionCredential
Statement: TypeAlias = Root | Credential | Revocation

_KINDS: Final[dict[object, type[Statement]]] = {
    "root": Root,
    "issuer": Issuer,
    "agent": AgentCredential,
    "session": SessionCredential,
    "revocation": Revocation,
}


def print_payload(statement: Statement) -> bytes:
    """Print the payload of a statement: what is signed."""
    return canonical.dumps(statement.model_dump(mode="json"))


def parse_payload(payload: bytes) -> Statement:
    """Read a payload, refusing everything that `print_payload` would not print.

    Raises:
        StatementInvalid: not canonical, another type, an unknown or missing member, a value outside its bounds.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise StatementInvalid(
            f"got a statement of {len(payload)} bytes, expected at most {MAX_PAYLOAD_BYTES}"
        )
    try:
        kind = canonical.loads_object(payload).get("type")
    except CanonicalError as error:
        raise StatementInvalid(f"the statement is not canonical JSON: {error}") from error
    model = _KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise StatementInvalid(
            f"got a statement of the type {str(kind)[:100]!r}, expected one of {', '.join(map(str, _KINDS))}"
        )
    try:
        statement = model.model_validate_json(payload)
    except ValidationError as error:
        raise StatementInvalid(f"the {kind} statement breaks its schema: {first_fault(error)}") from error
    if print_payload(statement) != payload:
        raise StatementInvalid(f"the {kind} statement is not in its one form")
    return statement


def digest_of(payload: bytes) -> str:
    """The name of a statement: hex SHA-256 of its payload."""
    return hashlib.sha256(payload).hexdigest()


def proof_message(kind: str, *, keyid: str, name: str, parent: str) -> bytes:
    """The bytes that the holder of a key signs to ask for a credential.

    Args:
        kind: `issuer`, `agent` or `session`.
        keyid: the key.
        name: the issuer's or agent's name.
        parent: digest of the statement under which it shall be issued.
    """
    asked = {"keyid": keyid, "name": name, "parent": parent, "type": kind}
    return dsse.pae(PROOF_TYPE, canonical.dumps(asked))


def check_proof(credential: Credential) -> None:
    """Check that the holder of the key asked for this.

    Raises:
        SignatureInvalid: the key did not sign that it asks for it, here and under this name.
    """
    message = proof_message(
        credential.type, keyid=credential.keyid, name=credential.name, parent=credential.parent
    )
    try:
        proof = b64.decode(credential.proof)
        public_key.verify(credential.keyid, message, proof)
    except (AuditError, ValueError) as error:
        raise SignatureInvalid(
            f"the proof of possession of {credential.keyid} does not hold: {error}", keyid=credential.keyid
        ) from error

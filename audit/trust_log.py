"""The trust log as one reads it: statements in, trusted keys out. Pure.

Rules for a statement, in the order in which they are checked (the numbers come back in the code); one that breaks any
of them changes nothing:

1. it is an envelope in its one form, of bounded size, and so is its payload; the log has room for it, and the last
   room is for what the root signs: whoever stole another key cannot fill the log up against being revoked;
2. its payload stands in the log once, whoever signed it;
3. `after` is a head that the log had: who signed it saw what stands before that;
4. the first statement is a root of version 1, the one that the reader was given if that is of version 1; another root
   has the next version and the same organisation, and was made after all roots and issuers before it: whoever has old
   root keys cannot put in, before it, what its signers never saw;
5. every signature verifies, and none is of a key that has no say: a root is signed by as many as the last root wants
   *and* by as many as it wants itself, an issuer by as many as the root wants, an agent or a session by the key of its
   parent, a revocation by as many as the root wants or by one key above the revoked one;
6. a credential's parent is a statement that may issue it, of the same agent or an issuer for that agent; it lasts no
   longer and allows no more than its parent, at most `MAX_DEPTH` of agents and sessions stand under an issuer, and its
   holder proved to have the key;
7. a key has one kind and one name for good, a root key is nothing else, and a session's key is new;
8. a revoked key issues nothing more, and nothing more is issued to it: the order of the log decides, no clock;
9. nothing is trusted before the root statement that the reader was given is met: a log that is older, or another
   organisation's, has it not.

Specified in `docs/spec/identity.md`. Not here: whether a record is good (`standing.py`); Kafka and files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from jurat.audit import dsse, public_key
from jurat.audit.credential import (
    STATEMENT_TYPE,
    AgentCredential,
    Credential,
    Issuer,
    Revocation,
    Root,
    SessionCredential,
    Statement,
    check_proof,
    digest_of,
    parse_payload,
    seconds,
)
from jurat.audit.credential_grant import Grant, Link
from jurat.audit.credential_issue import opened
from jurat.audit.credential_scope import check_within
from jurat.audit.identity import EMPTY_HEAD, TrustHead, next_head
from jurat.audit.keys import Trust, TrustedKey
from jurat.schemas.envelope import Signature
from jurat.schemas.errors import SignatureInvalid, StatementInvalid

MAX_STATEMENTS: Final = 500_000
"""A hundred workers with two sessions a day for seven years; some 2 GB of memory at most."""

ROOM_FOR_ROOT: Final = 10_000
"""Of these, so many are for what the root signs: more than people who meet come to."""

MAX_DEPTH: Final = 3
"""Credentials of agents and sessions under an issuer: an agent, a delegation of it, a session."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A statement of the log.

    Attributes:
        statement: what it says.
        digest: its name: SHA-256 of its payload.
        place: its number in the log, from 1.
        depth: 1 for an agent under an issuer, one more for each credential under that; 0 for everything else.
    """

    statement: Statement
    digest: str
    place: int
    depth: int = 0


class TrustLog:
    """What a reader of the log knows. Feed it with `add`, in the order of the log.

    Args:
        root: the root statement that the reader trusts, as an envelope, got by another way than the log.

    Raises:
        StatementInvalid: that is no root statement.
    """

    def __init__(self, root: bytes) -> None:
        payload, _signatures = opened(root)
        pinned = parse_payload(payload)
        if not isinstance(pinned, Root):
            raise StatementInvalid(f"got a statement of the type {pinned.type!r} to trust, expected a root")
        self._pin = digest_of(payload)
        self._pinned = pinned
        self._root: Admitted | None = None
        self._admitted: dict[str, Admitted] = {}
        self._of_key: dict[str, list[Admitted]] = {}
        self._last_of_root = 0  # place of the last root or issuer
        self._heads = [EMPTY_HEAD.sha256]
        self._named: dict[str, tuple[str, str]] = {}
        self._revoked: dict[str, tuple[int, int | None]] = {}

    @property
    def head(self) -> TrustHead:
        """How far the log goes."""
        return TrustHead(sha256=self._heads[-1], size=len(self._heads) - 1)

    @property
    def statements(self) -> Iterable[Admitted]:
        """All statements, in the order of the log."""
        return self._admitted.values()

    @property
    def root(self) -> tuple[Root, str]:
        """The root that holds, and its digest.

        Raises:
            StatementInvalid: the trusted root was not met (9).
        """
        self.check_met()
        if self._root is None or not isinstance(self._root.statement, Root):
            raise StatementInvalid("got no root, expected one first")
        return self._root.statement, self._root.digest

    def credentials_of(self, keyid: str) -> tuple[Admitted, ...]:
        """The credentials of a key, the newest first."""
        return tuple(reversed(self._of_key.get(keyid, ())))

    def had(self, head: TrustHead) -> bool:
        """Whether the log had this head."""
        return head.size < len(self._heads) and self._heads[head.size] == head.sha256

    def has(self, digest: str) -> bool:
        """Whether a statement stands in the log."""
        return digest in self._admitted

    @property
    def revoked(self) -> frozenset[str]:
        """The ids of revoked keys."""
        return frozenset(self._revoked)

    def keys_above(self, admitted: Admitted) -> tuple[str, ...]:
        """The ids of the keys from a credential to its issuer, its own first."""
        return tuple([_credential(one).keyid for one in self._up(admitted)])

    def links(self, admitted: Admitted) -> tuple[Link, ...]:
        """A credential and those above it, with the times as revocations leave them."""
        return tuple([self._link(one) for one in self._up(admitted)])

    def trust(self, beside: Trust | None = None) -> Trust:
        """The session keys that may sign decisions, each with what stands behind it.

        Args:
            beside: pinned keys to trust too: of approvers, and of who publishes policies.

        Raises:
            StatementInvalid: the trusted root was not met (9).
            KeyRejected: a pinned key is a session's too.
        """
        self.check_met()
        heads = tuple(self._heads)
        pinned = beside or Trust(())
        sessions = [
            TrustedKey(session.name, session.keyid, grant=self._grant(one, session, heads))
            for one in self._admitted.values()
            if isinstance(session := one.statement, SessionCredential)
        ]
        return Trust((*pinned.keys, *sessions), pinned.approvers, self.head.size)

    def add(self, statement: bytes) -> Admitted:
        """Take the next statement.

        Raises:
            StatementInvalid: it breaks a rule.
            RecordInvalid: it is no envelope in its one form.
            SignatureInvalid: a signature does not verify, or is missing.
            KeyRejected: it names a key that must not be used.
        """
        payload, signatures = opened(statement)  # 1
        made, digest = parse_payload(payload), digest_of(payload)
        self._check_room(MAX_STATEMENTS)
        if digest in self._admitted:  # 2
            raise StatementInvalid("got a statement that stands in the log already")
        after = made.after  # 3
        if not self.had(after):
            raise StatementInvalid(
                f"got a statement made after the head {after.size}:{after.sha256}, which this log never had: statements"
                " are missing before it, or it is from another log"
            )
        depth = 0
        message = dsse.pae(STATEMENT_TYPE, payload)
        if isinstance(made, Root):
            self._check_root(made, message, signatures)
        elif isinstance(made, Revocation):
            self._check_revocation(made, message, signatures)
        else:
            depth = self._check_credential(made, message, signatures)
        admitted = Admitted(made, digest, len(self._heads), depth)
        self._keep(admitted, statement)
        return admitted

    def _keep(self, admitted: Admitted, statement: bytes) -> None:
        made = admitted.statement
        self._admitted[admitted.digest] = admitted
        if isinstance(made, Root | Issuer):
            self._last_of_root = admitted.place
        self._heads.append(next_head(self.head, statement).sha256)
        if isinstance(made, Root):
            self._root = admitted
            self._named.update(dict.fromkeys(made.keys, ("root", made.org)))
        elif isinstance(made, Revocation):
            effective, since = seconds(made.effective), made.compromised_since
            before, known = self._revoked.get(made.keyid, (effective, None))
            told = [one for one in (known, None if since is None else seconds(since)) if one is not None]
            self._revoked[made.keyid] = min(before, effective), min(told, default=None)
        else:
            self._named[made.keyid] = made.type, made.name
            self._of_key.setdefault(made.keyid, []).append(admitted)

    def check_met(self) -> None:
        """Check that the log holds the root that is trusted.

        Raises:
            StatementInvalid: it does not (9).
        """
        if self._pin not in self._admitted:  # 9
            raise StatementInvalid(
                f"the trust log of {self.head.size} statements does not hold the root of {self._pinned.org}, version"
                f" {self._pinned.version}, that is trusted: it was cut or is older, or it is another organisation's"
            )

    def _check_root(self, root: Root, message: bytes, signatures: tuple[Signature, ...]) -> None:
        last = None if self._root is None else self._root.statement
        if last is not None and not isinstance(last, Root):
            raise StatementInvalid("got no root where one stood")
        expected = (1, root.org) if last is None else (last.version + 1, last.org)  # 4
        if (root.version, root.org) != expected:
            raise StatementInvalid(
                f"got version {root.version} of the root of {root.org}, expected version {expected[0]} of {expected[1]}"
            )
        if last is None and self._pinned.version == 1 and root != self._pinned:
            raise StatementInvalid(f"got another root of {root.org} first, expected the one that is trusted")
        if root.after.size < self._last_of_root:
            raise StatementInvalid(
                f"got version {root.version} of the root made after {root.after.size} statements, expected it after the"
                f" {self._last_of_root} up to the last root or issuer: make it again, `jurat keys root`"
            )
        for keyid in root.keys:  # 7
            self._check_named(keyid, "root", root.org)
        signers = {*root.keys, *(() if last is None else last.keys)}
        signed = _signed_by(signers, message, signatures)  # 5
        for wanted in (root,) if last is None else (last, root):
            _check_threshold(wanted, signed)

    def _check_revocation(self, made: Revocation, message: bytes, signatures: tuple[Signature, ...]) -> None:
        revoked = self.credentials_of(made.keyid)
        if not revoked:
            raise StatementInvalid(
                f"got a revocation of {made.keyid}, which has no credential here; a root key is taken away by the next"
                " version of the root",
                keyid=made.keyid,
            )
        root = self._standing_root()
        above = {one.keyid for each in revoked for one in map(_credential, self._up(each)[1:])}
        signed = _signed_by({*root.keys, *above}, message, signatures)  # 5
        if len(signed) == 1 and signed <= above:
            self._check_room(MAX_STATEMENTS - ROOM_FOR_ROOT)  # 1
            self._check_not_revoked(next(iter(signed)), "signs")  # 8
        else:
            _check_threshold(root, signed & set(root.keys))

    def _check_credential(self, made: Credential, message: bytes, signatures: tuple[Signature, ...]) -> int:
        root = self._standing_root()
        parent = self._admitted.get(made.parent)  # 6
        depth = 0
        if isinstance(made, Issuer):
            if parent is not self._root:
                raise StatementInvalid(
                    f"got the issuer {made.name} under another statement than the root that holds"
                )
            _check_threshold(root, _signed_by(set(root.keys), message, signatures))  # 5
        else:
            self._check_room(MAX_STATEMENTS - ROOM_FOR_ROOT)  # 1
            above = None if parent is None else parent.statement
            if parent is None or not isinstance(above, _may_issue(made)):
                raise StatementInvalid(
                    f"got {_what(made)} under a statement that issues no such thing, or none"
                )
            depth = parent.depth + 1
            self._check_under(made, above, depth)
            _signed_by({above.keyid}, message, signatures)  # 5
            for one in self._up(parent):
                self._check_not_revoked(_credential(one).keyid, "issues")  # 8
        check_proof(made)
        self._check_not_revoked(made.keyid, "is given")  # 8
        self._check_named(made.keyid, made.type, made.name)  # 7
        if isinstance(made, SessionCredential) and made.keyid in self._named:
            raise StatementInvalid(f"got {_what(made)} with a key that had one before, expected a fresh key")
        return depth

    def _check_under(
        self, made: AgentCredential | SessionCredential, above: Issuer | AgentCredential, depth: int
    ) -> None:
        if depth > MAX_DEPTH:
            raise StatementInvalid(
                f"got {_what(made)} at the depth {depth} under its issuer, expected {MAX_DEPTH}"
            )
        begins, ends = seconds(made.not_before), seconds(made.expiry)
        if begins < seconds(above.not_before) or ends > seconds(above.expiry):
            raise StatementInvalid(
                f"got {_what(made)} from {made.not_before} to {made.expiry}, expected it within {above.not_before} and"
                f" {above.expiry}, as {_what(above)} has it"
            )
        if isinstance(above, AgentCredential):
            if made.name != above.name:
                raise StatementInvalid(
                    f"got {_what(made)} under {_what(above)}, expected one of the same agent"
                )
            check_within(made.scope, above.scope)
        else:
            above.check_issues_for(made.name)

    def _check_room(self, room: int) -> None:
        if len(self._admitted) >= room:
            raise StatementInvalid(f"got more than {room} statements, and there is no room for this one")

    def _check_named(self, keyid: str, kind: str, name: str) -> None:
        had = self._named.get(keyid, (kind, name))
        if had != (kind, name):
            raise StatementInvalid(
                f"got the key {keyid} for {kind} {name}, which is {had[0]} {had[1]}'s already", keyid=keyid
            )

    def _check_not_revoked(self, keyid: str, does: str) -> None:
        if keyid in self._revoked:
            raise StatementInvalid(
                f"the revoked key {keyid} {does} a statement, expected none after its revocation", keyid=keyid
            )

    def _standing_root(self) -> Root:
        if self._root is None or not isinstance(self._root.statement, Root):
            raise StatementInvalid("got a statement before any root, expected a root of version 1 first")  # 4
        return self._root.statement

    def _up(self, admitted: Admitted) -> tuple[Admitted, ...]:
        """A credential and those above it, without the root."""
        found = [admitted]
        while not isinstance(made := _credential(found[-1]), Issuer):  # at most MAX_DEPTH + 1 of them
            found.append(self._admitted[made.parent])
        return tuple(found)

    def _link(self, admitted: Admitted) -> Link:
        made = _credential(admitted)
        effective, since = self._revoked.get(made.keyid, (None, None))
        return Link(_what(made), seconds(made.not_before), seconds(made.expiry), effective, since)

    def _grant(self, admitted: Admitted, session: SessionCredential, heads: tuple[str, ...]) -> Grant:
        return Grant(admitted.digest, session.scope, admitted.place, self.links(admitted), heads)


def _signed_by(entitled: set[str], message: bytes, signatures: Iterable[Signature]) -> set[str]:
    """Check every signature, and tell who signed."""
    signed: set[str] = set()
    for signature in signatures:
        keyid = signature.keyid[:100]
        if signature.keyid not in entitled or signature.keyid in signed:
            raise SignatureInvalid(
                f"got a signature of {keyid}, which has no say here, or twice", keyid=keyid
            )
        public_key.verify(signature.keyid, message, signature.sig)
        signed.add(signature.keyid)
    return signed


def _check_threshold(root: Root, signed: set[str]) -> None:
    of_root = len(signed & set(root.keys))
    if of_root < root.threshold:
        raise SignatureInvalid(
            f"got {of_root} signatures of the root of {root.org}, version {root.version}, expected {root.threshold}"
        )


def _credential(admitted: Admitted) -> Credential:
    made = admitted.statement
    if isinstance(made, Root | Revocation):
        raise StatementInvalid(f"got a {made.type} statement, expected a credential")
    return made


def _may_issue(made: Credential) -> tuple[type[Issuer], type[AgentCredential]] | type[AgentCredential]:
    return AgentCredential if isinstance(made, SessionCredential) else (Issuer, AgentCredential)


def _what(made: Credential) -> str:
    return f"the {made.type} credential of {made.name}"

"""What the signature of a key over a record is worth: inside its scope, and at the time that witnesses vouch for.

Checks, for a key with a credential (the numbers come back in the code); a pinned key, which a trust file names, needs
none of them:

1. the record names the credential of its key;
2. it names a head that the trust log had, not older than the credential: a worker that was shown a log without its own
   credential, or an auditor who is shown a shorter log than the worker's, is told;
3. it is inside the scope: its inputs' topic; the policies that judged; the action, where it was allowed or escalated;
   the limits, where it was allowed;
4. every credential up to the issuer's held at T: not before its beginning, not after its expiry or its key's
   revocation. Between `compromised_since` and the revocation nobody knows who signed.

T is the earliest time at which a quorum of witnesses vouched for a tree that holds the record; the record's own time is
a claim of its worker and never looked at. Pure.

Specified in `docs/spec/identity.md`.
"""

from __future__ import annotations

from enum import StrEnum

from jurat.audit.coordinates import parse_uri
from jurat.audit.credential_grant import Grant, Link
from jurat.audit.credential_scope import Scope
from jurat.audit.keys import TrustedKey
from jurat.audit.record import DecisionRecord, Outcome
from jurat.audit.usage import value_at
from jurat.schemas.errors import CredentialInvalid


class Standing(StrEnum):
    """What a signature is worth that nothing speaks against.

    `SUSPECT`: somebody else may have had a key by then. `UNPROVEN`: no witness tells when it was made.
    """

    GOOD = "GOOD"
    SUSPECT = "SUSPECT"
    UNPROVEN = "UNPROVEN"


def standing(key: TrustedKey, record: DecisionRecord, *, witnessed_at: int | None) -> Standing:
    """Judge the signature of a trusted key over a record.

    Args:
        key: the key, as the compiled trust has it.
        record: what it signed.
        witnessed_at: T in POSIX seconds; None where no quorum has vouched for the record yet.

    Raises:
        CredentialInvalid: the record is outside what the credential allows, or of a time when it did not hold.
    """
    grant = key.grant
    if grant is None:
        return Standing.GOOD
    _check_identity(grant, record)  # 1, 2
    check_scope(grant.scope, record)  # 3
    if witnessed_at is None:
        return Standing.UNPROVEN
    is_suspect = False
    for link in grant.links:  # 4
        _check_time(link, witnessed_at)
        is_suspect |= link.compromised_since is not None and witnessed_at >= link.compromised_since
    return Standing.SUSPECT if is_suspect else Standing.GOOD


def check_scope(scope: Scope, record: DecisionRecord) -> None:
    """Check that a record is inside a scope; a worker asks before it signs.

    Raises:
        CredentialInvalid: it is not; the message says what is outside.
    """
    topic = parse_uri(record.inputs[0].uri).topic
    if topic not in scope.inputs:
        raise _outside("an input of the topic", topic, scope.inputs)
    used = record.policy
    if used is not None and scope.policies and used.digest not in scope.policies:
        raise _outside("a judgement by the policies", used.digest, scope.policies)
    if record.outcome not in (Outcome.DECIDED, Outcome.ESCALATED):
        return
    action = record.proposals[-1].action if record.proposals else ""
    if action not in scope.actions:
        raise _outside("the action", action, scope.actions)
    if used is None or record.outcome is not Outcome.DECIDED:
        return
    for limit in scope.limits:
        value = value_at(used.input, limit.of)
        if value is not None and (type(value) is not int or value > limit.most):
            raise CredentialInvalid(
                f"got {value if type(value) is int else 'no integer'} at {limit.of} of an allowed action, the"
                f" credential allows at most {limit.most}"
            )


def _check_identity(grant: Grant, record: DecisionRecord) -> None:
    named = record.identity
    if named is None or named.credential != grant.credential:  # 1
        raise CredentialInvalid(
            f"got a record under the credential {None if named is None else named.credential}, expected"
            f" {grant.credential}, which its key has"
        )
    size = named.trust.size  # 2
    if size >= len(grant.heads):
        raise CredentialInvalid(
            f"got a record that knows {size} statements of the trust log, but the log here has {len(grant.heads) - 1}:"
            " its end was cut off, or it is an old copy; get a newer one: jurat keys fetch, or --trust-log FILE"
        )
    if named.trust.sha256 != grant.heads[size]:
        raise CredentialInvalid(
            f"got a record that knows another trust log: its head of {size} statements is not this log's"
        )
    if size < grant.place:
        raise CredentialInvalid(
            f"got a record that knows {size} statements of the trust log, expected {grant.place} at least: its"
            " credential is the last of them"
        )


def _check_time(link: Link, at: int) -> None:
    if at < link.not_before:
        raise CredentialInvalid(f"{link.what} was not valid yet when the record was witnessed, at {at}")
    if at > link.expiry:
        raise CredentialInvalid(f"{link.what} had expired when the record was witnessed, at {at}")
    if link.effective is not None and at > link.effective:
        raise CredentialInvalid(f"{link.what} was revoked when the record was witnessed, at {at}")


def _outside(what: str, got: str, allowed: tuple[str, ...]) -> CredentialInvalid:
    return CredentialInvalid(
        f"got {what} {got!r}, which the credential does not allow; it allows {', '.join(allowed)[:500]}"
    )

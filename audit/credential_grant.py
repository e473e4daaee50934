"""What a trust log says of one session key, ready to be judged: its scope, and every link above it with its times.

Pure values; made by `trust_log.py`, judged by `standing.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jurat.audit.credential_scope import Scope


@dataclass(frozen=True, slots=True)
class Link:
    """One credential on the way from a session key to the root; times are POSIX seconds.

    Attributes:
        what: it, for messages.
        not_before: it holds from here.
        expiry: it holds up to and with here.
        effective: its key is revoked from here on; None where it is not.
        compromised_since: somebody else may have had its key from here on; None where nobody did.
    """

    what: str
    not_before: int
    expiry: int
    effective: int | None = None
    compromised_since: int | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What stands behind a session key.

    Attributes:
        credential: digest of the session credential's payload.
        scope: what may be signed.
        place: how many statements the trust log had with it; a record names a head of at least this size.
        links: the session's credential first, the issuer's last.
        heads: the digest of the trust log's head at each size, from 0 on; shared by all grants of a log.
    """

    credential: str
    scope: Scope
    place: int
    links: tuple[Link, ...]
    heads: tuple[str, ...] = field(repr=False, compare=False)

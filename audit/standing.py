"""What the signature of a key over a record is worth.

A pinned key, which a trust file names, has no time and no scope: its signatures are good. Pure.
"""

from __future__ import annotations

from enum import StrEnum

from jurat.audit.keys import TrustedKey
from jurat.audit.record import DecisionRecord


class Standing(StrEnum):
    """What a signature is worth that nothing speaks against.

    `SUSPECT`: somebody else may have had a key by then. `UNPROVEN`: no witness tells when it was made.
    """

    GOOD = "GOOD"
    SUSPECT = "SUSPECT"
    UNPROVEN = "UNPROVEN"


def standing(
    key: TrustedKey,  # noqa: ARG001 - the seam of keys with credentials
    record: DecisionRecord,  # noqa: ARG001 - the same
    *,
    witnessed_at: int | None,  # noqa: ARG001 - the same
) -> Standing:
    """Judge the signature of a trusted key over a record.

    Args:
        key: the key.
        record: what it signed.
        witnessed_at: T in POSIX seconds; None where no quorum has vouched for the record yet.
    """
    return Standing.GOOD

"""A person's answer as an audit record holds it: small enough to stand in the record, whole enough to prove itself.

Not here: verifying it (`jurat.audit.approval`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jurat.schemas.approvals import MAX_STATEMENT_BYTES
from jurat.schemas.model import Model


class Approval(Model):
    """An answer that counted, with its own proof.

    Attributes:
        sha256: digest of the statement.
        statement: the exact text that was signed.
        sig: the approver's signature, in hex.
    """

    role: Annotated[str, Field(min_length=1, max_length=200)]
    approver: Annotated[str, Field(min_length=1, max_length=200)]
    answer: Literal["grant", "refuse"]
    keyid: Annotated[str, Field(min_length=1, max_length=200)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    statement: Annotated[str, Field(max_length=MAX_STATEMENT_BYTES)]
    sig: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]

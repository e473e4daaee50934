"""What in-toto statements of every kind have: the subject that they are about, with its digest.

Not here: what they say of it (`record.py`, `approval.py`). Source: in-toto Statement v1 and ResourceDescriptor.
"""

from __future__ import annotations

from jurat.audit.reasoning import Name, Sha256Hex
from jurat.schemas.model import Model


class Digest(Model):
    """in-toto DigestSet with the one algorithm used here."""

    sha256: Sha256Hex


class Subject(Model):
    """in-toto ResourceDescriptor of what a statement is about."""

    name: Name
    digest: Digest

"""What people sign: printed in one form, read in no other, and by whom it was signed. Pure.

Rules upheld here: parse then print is identity; an error names the statement, the first fault and where its form is
specified; a signature is checked under a trusted person's key only. Not here: what each kind says (`approval.py`,
`forgetting.py`, `subject_erasure.py`), statements of the trust log (`credential.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from jurat.audit import dsse, ed25519
from jurat.audit.keys import Trust, TrustedApprover
from jurat.schemas import canonical
from jurat.schemas.envelope import Signature
from jurat.schemas.errors import CanonicalError, KeyNotFound, RecordInvalid, SignatureInvalid
from jurat.schemas.model import Model
from jurat.schemas.shown import first_fault

Said = TypeVar("Said", bound=Model)


def print_statement(said: Mapping[str, Any], *, what: str) -> bytes:
    """Print a statement; its bounds are checked by reading it.

    Args:
        said: its members, as JSON has them.
        what: what it is called in messages, "the request to forget".

    Raises:
        RecordInvalid: it has no canonical form.
    """
    try:
        return canonical.dumps(dict(said))
    except CanonicalError as error:
        raise RecordInvalid(f"{what} cannot be printed: {error}") from error


def read_statement(kind: type[Said], payload: bytes, *, what: str, specified: str, max_bytes: int) -> Said:
    """Read a statement, refusing every spelling but its one.

    Args:
        kind: the class of the statement.
        payload: its bytes.
        what: what it is called in messages.
        specified: where its form stands, "docs/spec/forgetting.md".
        max_bytes: its bound.

    Raises:
        RecordInvalid: too long, not canonical, a missing or unknown member, or out of bounds.
    """
    if len(payload) > max_bytes:
        raise RecordInvalid(f"got {what} of {len(payload)} bytes, expected at most {max_bytes}")
    try:
        statement = kind.model_validate_json(payload)
        printed = canonical.dumps(statement.model_dump(mode="json", by_alias=True))
    except (ValidationError, CanonicalError) as error:
        why = first_fault(error) if isinstance(error, ValidationError) else str(error)
        raise RecordInvalid(f"{what} breaks its schema, {specified}: {why}") from error
    if printed != payload:
        raise RecordInvalid(f"{what} is not in its one form; expected the exact bytes of {specified}")
    return statement


def signed_by(payload_type: str, payload: bytes, signature: Signature, trust: Trust) -> TrustedApprover:
    """The trusted person who signed exactly this.

    Raises:
        SignatureInvalid: the key is no trusted person's, or did not sign this.
    """
    try:
        person = trust.find_approver(signature.keyid)
    except KeyNotFound as error:
        raise SignatureInvalid(f"signed by an unknown key: {error}", keyid=signature.keyid[:100]) from error
    ed25519.verify(person.public_key, dsse.pae(payload_type, payload), signature.sig)
    return person


def require_role(person: TrustedApprover, role: str, *, what: str) -> None:
    """Check that a person has the role that a statement needs.

    Raises:
        SignatureInvalid: they have not.
    """
    if role not in person.roles:
        raise SignatureInvalid(
            f"got {what} by {person.approver}, whom the trust file gives the roles {', '.join(person.roles)};"
            f" expected {role} among them",
            keyid=person.keyid,
        )

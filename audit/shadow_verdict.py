"""What another bundle said beside a decision, as an audit record holds it.

Rules upheld here: it is bounded as a proposal of the record is. Not here: asking the other bundle
(`jurat.streams.shadow`).
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from jurat.schemas.decision import Verdict
from jurat.schemas.model import Model

MAX_POLICIES: Final = 256
MAX_ERRORS: Final = 16
MAX_ERROR: Final = 500
"""The bounds of `ProposalJudged`: a test holds them together, as `record.py` imports this module."""


class ShadowVerdict(Model):
    """What another bundle said of the same input; it decided nothing.

    Attributes:
        digest: the other bundle's.
        policies: ids of its determining policies.
        errors: what went wrong in it, which then denies; cut by `kept_errors`.
    """

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    verdict: Verdict
    policies: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=MAX_POLICIES)
    ]
    errors: Annotated[tuple[Annotated[str, Field(max_length=MAX_ERROR)], ...], Field(max_length=MAX_ERRORS)]

"""Asking a witness: the seam between who makes checkpoints and who carries them over the network.

Rules upheld here: a witness is asked with a proof from the size that it cosigned last; what it answers is checked by
whoever carries the request, under the keys that are trusted for it. Not here: HTTP (`jurat.streams.witness_http`),
and which witnesses are enough (`tlog_policy.py`).

Source: https://c2sp.org/tlog-witness
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jurat.audit.note import NoteSignature


class Witness(Protocol):
    """A witness that can be asked."""

    @property
    def name(self) -> str:
        """Its name in the policy."""

    async def add_checkpoint(
        self, *, old_size: int, proof: Sequence[bytes], signed: bytes
    ) -> tuple[NoteSignature, ...]:
        """Ask for cosignatures of a checkpoint.

        Args:
            old_size: the size that it cosigned last; 0 where it is not known.
            proof: that the tree of `old_size` leaves is a prefix of the checkpoint's; empty for 0.
            signed: the checkpoint, signed by its log.

        Returns:
            Its cosignatures, one or more; each verifies under a key that is trusted for this witness.

        Raises:
            WitnessConflict: it cosigned another size last, which the error names; or the same size with another root.
            WitnessUnavailable: it did not answer, or asks to be tried later.
            AuditError: it refuses the checkpoint, or its answer does not verify.
        """

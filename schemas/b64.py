"""Base64 with one spelling for each value (RFC 4648, section 4): padded, on one line, no bit that counts for nothing.

Rules upheld here: parse then print is identity. Python's own reader takes bits after the end, which would let a signed
text be spelled in several ways. Not here: what to say of text that is none, which whoever reads it knows.
"""

from __future__ import annotations

import binascii


def encode(data: bytes) -> str:
    """Print bytes."""
    return binascii.b2a_base64(data, newline=False).decode()


def decode(text: str) -> bytes:
    """Read what `encode` prints.

    Raises:
        ValueError: it is anything else.
    """
    data = binascii.a2b_base64(text, strict_mode=True)
    if encode(data) != text:
        raise ValueError("got base64 in another spelling than its one form")
    return data

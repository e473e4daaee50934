"""Base64 has one spelling."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurat.schemas import b64


@given(st.binary(max_size=70))
def test_print_then_parse_is_identity(data: bytes) -> None:
    assert b64.encode(data) == base64.b64encode(data).decode()
    assert b64.decode(b64.encode(data)) == data


@pytest.mark.parametrize(
    "text", ["QQ", "QQ=", "QR==", "QUJ=", "QQ==\n", " QQ==", "Q Q==", "QQ==QQ==", "=", "Q-__", "é", "QQ==="]
)
def test_every_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        b64.decode(text)


@given(st.text(alphabet="AQRgw+/=\n- é", max_size=12))
def test_what_is_read_is_what_would_be_printed(text: str) -> None:
    try:
        assert b64.encode(b64.decode(text)) == text
    except ValueError:
        assert text != ""

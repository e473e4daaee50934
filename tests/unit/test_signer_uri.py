"""Keys behind URIs: securesystemslib's own signers sign, and nothing that they return is believed unchecked."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

from jurat.audit import ed25519, pem, signer_uri
from jurat.audit.ed25519 import SigningKey
from jurat.audit.key_store import KeyKind, load_key, make_key, names_here, reference_file, retire_key
from jurat.audit.keys import PemSigner
from jurat.schemas import canonical
from jurat.schemas.errors import ConfigurationError, SignatureInvalid

KEY = SigningKey(bytes(range(32)))
KEYID = PemSigner(KEY).keyid


def reference(**fields: Any) -> bytes:
    return canonical.dumps({"keyid": KEYID} | fields) + b"\n"


@pytest.fixture
def uri(tmp_path: Path) -> str:
    path = tmp_path / "key.pem"
    path.write_bytes(pem.write_plain(KEY))
    return f"file2:{path}"


async def test_a_key_behind_a_uri_signs_like_one_in_memory(uri: str) -> None:
    signer = signer_uri.load(reference(uri=uri), where="x")
    assert (signer.keyid, signer.alg) == (KEYID, "ed25519")
    signature = await signer.sign(b"message")
    assert signature == KEY.sign(b"message")
    ed25519.verify(KEY.public_key, b"message", signature)


async def test_it_stands_in_a_key_folder_in_place_of_a_key(uri: str, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    reference_file(folder, "after-sales", KeyKind.AGENT).write_bytes(reference(uri=uri))
    assert make_key(folder, "after-sales", KeyKind.AGENT) == (KEYID, False)
    assert names_here(folder, KeyKind.AGENT) == ("after-sales",)
    assert await load_key(folder, "after-sales", KeyKind.AGENT).sign(b"m") == KEY.sign(b"m")
    retire_key(folder, "after-sales", KeyKind.AGENT)
    assert names_here(folder, KeyKind.AGENT) == ()
    assert make_key(folder, "after-sales", KeyKind.AGENT)[1]


def test_another_key_behind_the_uri_is_refused(uri: str) -> None:
    other = PemSigner(SigningKey(bytes(32))).keyid
    with pytest.raises(ConfigurationError, match="cannot be reached"):
        signer_uri.load(canonical.dumps({"keyid": other, "uri": uri}), where="x")


async def test_what_a_service_returns_is_checked() -> None:
    class Service:
        def __init__(self, answer: Any) -> None:
            self.answer = answer

        def sign(self, _message: bytes) -> Any:
            if isinstance(self.answer, Exception):
                raise self.answer
            return self

        @property
        def signature(self) -> Any:
            return self.answer

    for answer in (KEY.sign(b"another").hex(), "zz", "", None, OSError("gone")):
        with pytest.raises(SignatureInvalid):
            await signer_uri.UriSigner(KEYID, Service(answer)).sign(b"message")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"{}", "expected keyid and uri"),
        (b"[]", "an object"),
        (b"x", "not JSON"),
        (reference(uri="file2:/nowhere"), "FileNotFoundError"),
        (reference(uri="unknown:key"), "unknown: cannot be reached"),
        (reference(uri=5), "expected keyid and uri"),
        (reference(uri="x", more="y"), "expected keyid and uri"),
        (canonical.dumps({"keyid": "did:key:z6Mk", "uri": "x"}), "base58"),
    ],
)
def test_what_is_no_reference_is_refused(data: bytes, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        signer_uri.load(data, where="x")


def test_without_the_extra_it_is_said_which(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *others: Any) -> Any:
        if name.startswith("securesystemslib"):
            raise ImportError(name)
        return whole(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"jurat\[kms\]"):
        signer_uri.load(reference(uri=uri), where="x")


async def test_the_secret_of_a_token_is_asked_for_when_it_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `hsm:` does: the PIN is not needed to find the token, but to use it."""

    class Token:
        def __init__(self, unlock: Callable[[str], str]) -> None:
            self.unlock = unlock

        def sign(self, message: bytes) -> Any:
            assert self.unlock("pin") == "1234"
            return SimpleNamespace(signature=KEY.sign(message).hex())

        @classmethod
        def from_priv_key_uri(cls, _uri: str, _key: Any, unlock: Callable[[str], str]) -> Any:
            return cls(unlock)

    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "token", Token)
    signer = signer_uri.load(reference(uri="token:1"), where="x", secret=b"1234")
    assert await signer.sign(b"message") == KEY.sign(b"message")
    with pytest.raises(ConfigurationError, match="asks for its pin; set JURAT_KEYS_PASSPHRASE"):
        await signer_uri.load(reference(uri="token:1"), where="x").sign(b"message")
    with pytest.raises(SignatureInvalid, match="AssertionError"):
        await signer_uri.load(reference(uri="token:1"), where="x", secret=b"0000").sign(b"message")

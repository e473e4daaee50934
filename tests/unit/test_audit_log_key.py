"""The secret of a notary or a witness, its keys, and its file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from jurat.audit import cosignature, ed25519, mldsa
from jurat.audit.key_store import load_signer
from jurat.audit.log_key import LogKey
from jurat.audit.log_key_store import init_log_key, load_log_key, log_key_path
from jurat.schemas.errors import ConfigurationError, KeyNotFound, KeyRejected, NoteInvalid

SECRET = bytes(range(32))
ORIGIN = "audit.example/c1/audit.decisions/0"


def test_every_name_has_keys_of_its_own() -> None:
    key = LogKey(SECRET)
    names = (ORIGIN, ORIGIN[:-1] + "1", "witness.example")
    publics = {key.ed25519(name).public_key for name in names} | {
        key.mldsa(name).public_key for name in names
    }
    assert len(publics) == 6
    assert ed25519.SigningKey(SECRET).public_key not in publics, "the secret itself signs nothing"
    again = LogKey(SECRET)
    assert again.log_vkeys(ORIGIN) == key.log_vkeys(ORIGIN)
    assert SECRET.hex() not in repr(key)


def test_the_keys_sign_and_their_verifier_keys_name_them() -> None:
    key = LogKey(SECRET)
    ed25519.verify(key.ed25519(ORIGIN).public_key, b"said", key.ed25519(ORIGIN).sign(b"said"))
    mldsa.verify(key.mldsa(ORIGIN).public_key, b"said", key.mldsa(ORIGIN).sign(b"said"))
    kinds = [cosignature.verifier_of(vkey).kind for vkey in (*key.log_vkeys(ORIGIN), *key.witness_vkeys("w"))]
    assert kinds == [0x01, 0x06, 0x04, 0x06]


@pytest.mark.parametrize("name", ["", "two words", "a+b", "tab\t"])
def test_a_name_that_no_note_can_hold_is_refused(name: str) -> None:
    with pytest.raises(NoteInvalid, match="key name"):
        LogKey(SECRET).ed25519(name)


def test_a_name_that_a_cosignature_has_no_room_for_is_refused() -> None:
    assert len(LogKey(SECRET).witness_vkeys("\u00e9" * 127 + "e")) == 2
    for vkeys in (LogKey(SECRET).witness_vkeys, LogKey(SECRET).log_vkeys):
        with pytest.raises(NoteInvalid, match="more than 255 bytes"):
            vkeys("\u00e9" * 128)


def test_a_secret_of_another_size_is_refused() -> None:
    with pytest.raises(KeyRejected, match="31 bytes, expected 32"):
        LogKey(SECRET[:31])


def test_its_file_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    key, made = init_log_key(tmp_path / "keys", "notary", b"open sesame")
    again, made_again = init_log_key(tmp_path / "keys", "notary", b"open sesame")
    assert (made, made_again) == (True, False)
    assert again.log_vkeys(ORIGIN) == key.log_vkeys(ORIGIN)
    path = log_key_path(tmp_path / "keys", "notary")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(KeyRejected, match="passphrase"):
        load_log_key(tmp_path / "keys", "notary", b"wrong")
    with pytest.raises(KeyNotFound, match="no signing key of the agent 'notary'"):
        load_signer(tmp_path / "keys", "notary", b"open sesame")
    path.chmod(0o644)
    with pytest.raises(KeyRejected, match="others can use it"):
        load_log_key(tmp_path / "keys", "notary", b"open sesame")


def test_a_missing_file_and_a_name_that_is_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(KeyNotFound, match="no key of the notary or witness 'w1'"):
        load_log_key(tmp_path, "w1")
    with pytest.raises(ConfigurationError, match="notary or witness name"):
        init_log_key(tmp_path, "../w1")

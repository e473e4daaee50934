"""Key files: made once, guarded, read back; the trust file; the commands around them."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from jurat import settings
from jurat.agents.catalogue import AGENTS
from jurat.audit import ed25519, key_store, keys, pem
from jurat.cli.keys import command
from jurat.schemas.errors import ConfigurationError, KeyNotFound, KeyRejected
from tests.golden.audit import sample_log

SECRET = b"correct horse"


async def test_keys_are_made_once_and_sign(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "keys"
    first = key_store.init_keys(folder, ["a", "b"])
    assert [key.agent for key in first.created] == ["a", "b"]
    before = key_store.key_path(folder, "a").read_bytes()
    second = key_store.init_keys(folder, ["b", "a", "c", "c"])
    assert key_store.key_path(folder, "a").read_bytes() == before
    assert [key.agent for key in second.created] == ["c"]
    assert {key.agent for key in second.kept} == {"a", "b"}
    trust = key_store.load_trust(folder / key_store.TRUST_FILE)
    assert [key.agent for key in trust.keys] == ["a", "b", "c"]
    signer = key_store.load_signer(folder, "a")
    ed25519.verify(trust.find(signer.keyid).public_key, b"m", await signer.sign(b"m"))
    assert sorted(path.name for path in folder.iterdir()) == [
        "a.key.pem",
        "b.key.pem",
        "c.key.pem",
        "trust.json",
    ]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_modes(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    key_store.init_keys(folder, ["a"])
    path = key_store.key_path(folder, "a")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for mode in (0o640, 0o604, 0o620, 0o601):
        path.chmod(mode)
        with pytest.raises(KeyRejected, match="chmod 600"):
            key_store.load_signer(folder, "a")


def test_a_trust_file_that_was_lost_is_made_again(tmp_path: Path) -> None:
    made = key_store.init_keys(tmp_path, ["a"]).created
    (tmp_path / key_store.TRUST_FILE).unlink()
    assert key_store.init_keys(tmp_path, ["a"]).kept == made
    assert key_store.load_trust(tmp_path / key_store.TRUST_FILE).keys == made


def test_many_processes_make_keys_at_once(tmp_path: Path) -> None:
    """Threads stand for processes: each opens the folder itself, and so competes for the lock."""
    names = [f"agent-{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: key_store.init_keys(tmp_path, [name]), names))
    trust = key_store.load_trust(tmp_path / key_store.TRUST_FILE)
    assert {key.agent for key in trust.keys} == set(names)


def test_encrypted_keys(tmp_path: Path) -> None:
    made = key_store.init_keys(tmp_path, ["a"], SECRET)
    text = key_store.key_path(tmp_path, "a").read_text()
    assert text.startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert key_store.load_signer(tmp_path, "a", SECRET).keyid == made.created[0].keyid
    with pytest.raises(KeyRejected, match="JURAT_KEYS_PASSPHRASE"):
        key_store.load_signer(tmp_path, "a")
    with pytest.raises(KeyRejected, match="passphrase is wrong"):
        key_store.load_signer(tmp_path, "a", b"other")


def test_openssl_reads_the_encrypted_key_and_its_rounds(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: the encrypted key file is not cross-checked")
    made = key_store.init_keys(tmp_path, ["a"], SECRET).created[0]
    path = key_store.key_path(tmp_path, "a")
    parsed = subprocess.run(
        ["openssl", "asn1parse", "-in", path], capture_output=True, text=True, check=True
    ).stdout
    assert "PBES2" in parsed
    assert "hmacWithSHA256" in parsed
    assert "aes-256-cbc" in parsed
    assert f":{pem.KDF_ROUNDS:06X}" in parsed
    shown = subprocess.run(
        ["openssl", "pkey", "-in", path, "-passin", f"pass:{SECRET.decode()}", "-pubout"],
        capture_output=True,
        check=True,
    )
    assert shown.stdout == pem.public_pem(made.public_key)


@pytest.mark.parametrize("passphrase", [None, SECRET])
def test_key_files_that_are_none(tmp_path: Path, passphrase: bytes | None) -> None:
    other = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for data in (
        b"",
        b"noise",
        other,
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n",
        bytes(pem.MAX_PEM_BYTES + 1),
    ):
        with pytest.raises(KeyRejected):
            pem.read(data, passphrase)


@pytest.mark.parametrize("name", ["", "../a", "a/b", "A", "-a", "a" * 65, "a\n", "a.b"])
def test_agent_names_that_are_no_file_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        key_store.init_keys(tmp_path, [name])
    with pytest.raises(ConfigurationError):
        key_store.load_signer(tmp_path, name)


def test_missing_files_say_how_to_mend(tmp_path: Path) -> None:
    with pytest.raises(KeyNotFound, match="jurat keys init --agent a"):
        key_store.load_signer(tmp_path, "a")
    with pytest.raises(ConfigurationError, match="jurat keys init"):
        key_store.load_trust(tmp_path / "trust.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        key_store.init_keys(tmp_path / "file", ["a"])


def test_trust_files() -> None:
    trust = sample_log.trust()
    data = keys.print_trust(trust)
    assert keys.parse_trust(data) == trust
    assert keys.parse_trust(b"[]\n").keys == ()
    agent, keyid = trust.keys[0].agent.encode(), trust.keys[0].keyid.encode()
    for broken in (
        b"",
        b"[]",
        b"{}\n",
        data + b"\n",
        data.replace(b"ed25519", b"rsa"),
        data.replace(agent, b"A"),
        data.replace(keyid, b"did:key:z"),
        data.replace(trust.keys[1].keyid.encode(), keyid),
        data.replace(b'"alg"', b'"algo"'),
        data.replace(b'"' + agent + b'"', b"1"),
        b"[" + b",".join(reversed(data.strip()[1:-1].replace(b"},{", b"}\x00{").split(b"\x00"))) + b"]\n",
        b"[1]\n",
        b"\xff\n",
    ):
        with pytest.raises(KeyRejected):
            keys.parse_trust(broken)


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JURAT_KEYS_DIR", str(tmp_path / "from-env"))
    monkeypatch.delenv("JURAT_KEYS_PASSPHRASE", raising=False)
    runner = CliRunner()
    made = runner.invoke(command, ["init"], catch_exceptions=False)
    assert made.exit_code == 0
    assert "NOT encrypted" in made.output
    assert all((tmp_path / "from-env" / f"{agent}.key.pem").exists() for agent in AGENTS)
    listed = runner.invoke(command, ["list"], catch_exceptions=False)
    assert all(agent in listed.output for agent in AGENTS)
    shown = runner.invoke(command, ["show", "after-sales"], catch_exceptions=False)
    assert shown.output.startswith("-----BEGIN PUBLIC KEY-----\n")
    unknown = runner.invoke(command, ["show", "nobody"])
    assert isinstance(unknown.exception, KeyNotFound)
    monkeypatch.setenv("JURAT_KEYS_PASSPHRASE", "secret")
    other = ["init", "--agent", "x", "--keys", str(tmp_path / "other")]
    assert "(encrypted)" in runner.invoke(command, other, catch_exceptions=False).output
    assert "kept   x" in runner.invoke(command, other, catch_exceptions=False).output


def test_a_copied_key_is_not_another_agents(tmp_path: Path) -> None:
    key_store.init_keys(tmp_path, ["a"])
    shutil.copy(key_store.key_path(tmp_path, "a"), key_store.key_path(tmp_path, "b"))
    before = (tmp_path / key_store.TRUST_FILE).read_bytes()
    with pytest.raises(KeyRejected, match="got the key of a as the key of b"):
        key_store.init_keys(tmp_path, ["b"])
    assert (tmp_path / key_store.TRUST_FILE).read_bytes() == before
    (tmp_path / key_store.TRUST_FILE).unlink()
    with pytest.raises(KeyRejected, match="a key has one agent"):
        key_store.init_keys(tmp_path, ["a", "b"])


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(ConfigurationError, match=r"cannot be written to: .*No space left"):
        key_store.init_keys(tmp_path, ["a"])
    assert list(tmp_path.iterdir()) == []


def test_a_trust_file_that_cannot_be_replaced_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, _target: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ConfigurationError, match=r"cannot be written to: .*Read-only"):
        key_store.init_keys(tmp_path, ["a"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.key.pem"]


def test_a_passphrase_of_any_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JURAT_KEYS_PASSPHRASE", os.fsdecode(b"\xff\xfe"))
    assert settings.keys_passphrase() == b"\xff\xfe"


def test_a_passphrase_that_protects_nothing_is_told_once_with_what_mends_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key_store.init_keys(tmp_path, ["a"])
    keyid = key_store.load_signer(tmp_path, "a").keyid
    assert caplog.messages == []
    assert key_store.load_signer(tmp_path, "a", b"secret").keyid == keyid
    (said,) = caplog.messages
    path = key_store.key_path(tmp_path, "a")
    assert f"{path} is not encrypted, though JURAT_KEYS_PASSPHRASE is set" in said
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: the advice is not tried")
    advised = said.partition("Encrypt it: ")[2].partition(", then")[0]
    subprocess.run(advised.split(), env={**os.environ, "JURAT_KEYS_PASSPHRASE": "secret"}, check=True)
    Path(f"{path}.new").chmod(0o600)
    Path(f"{path}.new").replace(path)
    caplog.clear()
    assert key_store.load_signer(tmp_path, "a", b"secret").keyid == keyid
    assert caplog.messages == []
    with pytest.raises(KeyRejected, match="encrypted"):
        key_store.load_signer(tmp_path, "a")

"""docs/identity.md: its ceremony runs as it stands, and shows what the commands say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from jurat.audit import signer_uri
from jurat.audit.trust_file import LOG_FILE, ROOT_FILE, read_log, read_root
from jurat.cli.keys import command
from jurat.schemas.errors import ConfigurationError
from tests.tree import ROOT

TEXT = (ROOT / "docs" / "identity.md").read_text(encoding="utf-8")
MARKED = re.compile(r"^<!-- the test runs this block -->\n```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
DIFFERS = re.compile(r"did:key:\w+|[0-9a-f]{64}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|\S*keys/")


def alike(said: str) -> list[str]:
    return [DIFFERS.sub("*", line).rstrip() for line in said.splitlines()]


def test_the_ceremony(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JURAT_TRUST_ROOT", "JURAT_KEYS_PASSPHRASE", "JURAT_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "keys"
    monkeypatch.setenv("JURAT_KEYS_DIR", str(folder))
    (block,) = MARKED.findall(TEXT)
    parts = block.split("$ jurat keys ")[1:]
    assert len(parts) == 3
    for part in parts:
        words, _newline, shown = part.partition("\n")
        done = CliRunner().invoke(command, shlex.split(words))
        assert done.exit_code == 0, done.output
        assert alike(done.output) == alike(shown)
    assert read_log(folder / LOG_FILE, read_root(folder / ROOT_FILE))[0].head.size == 3


@pytest.mark.parametrize("line", re.findall(r"jurat keys [a-z]+(?: --?[a-z-]+)?", TEXT))
def test_every_command_is_there(line: str) -> None:
    _jurat, _keys, name, *option = line.split()
    assert name in command.commands
    said = CliRunner().invoke(command, [name, "--help"]).output
    assert all(one in said for one in option)


def test_the_reference_is_read_as_one() -> None:
    (shown,) = re.findall(r"^```json\n(.*?)\n```", TEXT, re.MULTILINE)
    with pytest.raises(ConfigurationError, match="hv: cannot be reached"):
        signer_uri.load(shown.encode(), where="x")

"""A ceremony of keys in a folder, without Kafka: what its tests share."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from jurat.audit.trust_file import LOG_FILE, ROOT_FILE, read_log, read_root
from jurat.audit.trust_log import TrustLog
from jurat.cli.keys import command

AGENT = "after-sales"


def jurat(folder: Path, *words: str, code: int = 0, answer: str = "") -> str:
    done = CliRunner().invoke(command, [*words, "--keys", str(folder)], input=answer)
    said = done.output + str(
        done.exception if done.exception and not isinstance(done.exception, SystemExit) else ""
    )
    assert done.exit_code == code, said
    return said


def log_of(folder: Path) -> TrustLog:
    return read_log(folder / LOG_FILE, read_root(folder / ROOT_FILE))[0]


def pending(folder: Path) -> Path:
    (file,) = folder.glob("*.pending.json")
    return file


def begun(folder: Path) -> Path:
    """A root of three with one issuer."""
    jurat(folder, "root", "alice", "bob", "carol", "--org", "acme", "--threshold", "2")
    jurat(folder, "issuer", "payments")
    return folder

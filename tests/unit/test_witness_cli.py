"""`jurat witness`: its key, its lines for a policy, and a server that comes back from kill -9 with what it saw."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from jurat.audit import cosignature, tlog_policy
from jurat.audit.log_key_store import load_log_key
from jurat.cli.witness import command
from jurat.schemas.errors import ConfigurationError, WitnessConflict
from jurat.streams.witness_http import HttpWitness
from tests.command import JURAT
from tests.witness_log import LOG, NAME, ORIGIN, MadeLog

Lines = tuple[str, ...]


def call(*arguments: str) -> str:
    return CliRunner().invoke(command, arguments, catch_exceptions=False).stdout


@pytest.fixture
def options(tmp_path: Path) -> Lines:
    logs = tmp_path / "logs.policy"
    logs.write_text(f"log {LOG.log_vkeys(ORIGIN)[0]}\nquorum none\n")
    keys = str(tmp_path / "keys")
    call("init", "--name", NAME, "--keys", keys)
    return ("--name", NAME, "--keys", keys, "--logs", str(logs), "--data", str(tmp_path / "data"))


def test_init_prints_lines_that_a_policy_takes(tmp_path: Path) -> None:
    made = call("init", "--name", NAME, "--keys", str(tmp_path))
    again = call("init", "--name", NAME, "--keys", str(tmp_path))
    assert made.replace("made", "kept") == again
    other = call("init", "--name", "witness.example.net/w2", "--key", "other", "--keys", str(tmp_path))
    whole = f"{made}{other}group both all {NAME} witness.example.net/w2\nquorum both\n"
    policy = tlog_policy.parse(whole.encode())
    assert [party.key.kind for party in policy.witnesses.values()] == [0x04, 0x06] * 2
    assert {party.key.name for party in policy.witnesses.values()} == {NAME, "witness.example.net/w2"}
    with pytest.raises(ConfigurationError, match="key name"):
        call("init", "--name", "two words", "--keys", str(tmp_path / "other"))
    assert not (tmp_path / "other").exists(), "no key is made for what is no name"


@pytest.mark.parametrize("text", ["", "quorum none\n", "log nonsense\nquorum none\n"])
def test_a_file_without_logs_is_told(tmp_path: Path, options: Lines, text: str) -> None:
    (tmp_path / "logs.policy").write_text(text)
    with pytest.raises(ConfigurationError, match="expected lines `log VKEY`"):
        call("show", *options)


def serve(options: Lines) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [JURAT, "witness", "run", *options, "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JURAT_KEYS_PASSPHRASE": ""},
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith(f"{NAME} cosigns 1 logs at http://127.0.0.1:"), line
    return process, line.strip().rpartition(" ")[2].removesuffix("/add-checkpoint")


def end(process: subprocess.Popen[str], number: signal.Signals) -> int:
    process.send_signal(number)
    process.communicate(timeout=60)
    return process.returncode


async def test_it_remembers_after_kill_9_and_stops_when_asked(tmp_path: Path, options: Lines) -> None:
    key = load_log_key(tmp_path / "keys", "witness")
    keys = [cosignature.verifier_of(vkey) for vkey in key.witness_vkeys(NAME)]
    log = MadeLog()
    assert "nothing yet" in call("show", *options)
    process, url = serve(options)
    try:
        async with aiohttp.ClientSession() as session:
            asked = HttpWitness(session, name="w1", url=url, keys=keys)
            assert len(await asked.add_checkpoint(old_size=0, proof=(), signed=log.checkpoint(7))) == 2
            with pytest.raises(ConfigurationError, match="in use by another process"):
                call("show", *options)
    finally:
        end(process, signal.SIGKILL)
    process, url = serve(options)
    try:
        async with aiohttp.ClientSession() as session:
            asked = HttpWitness(session, name="w1", url=url, keys=keys)
            with pytest.raises(WitnessConflict) as caught:
                await asked.add_checkpoint(old_size=0, proof=(), signed=MadeLog(salt=b"x").checkpoint(7))
            assert caught.value.size == 7
    finally:
        code = end(process, signal.SIGTERM)
    assert code == 0
    assert call("show", *options) == f"{ORIGIN}  7  {log.tree.root(7).hex()}\n"

"""Running the `jurat` command as a user does: as a process of its own, with an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from jurat.audit.key_store import init_keys, load_trust
from jurat.audit.keys import Trust
from jurat.streams.kafka import Connection

JURAT = Path(sys.executable).parent / "jurat"
LIMIT_S = 180
"""No command of a test takes longer, or it hangs."""


@dataclass(frozen=True)
class Shell:
    """A user's shell: a namespace on a broker, and keys."""

    connection: Connection
    keys: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JURAT_")}
        return kept | {
            "JURAT_BOOTSTRAP_SERVERS": self.connection.bootstrap_servers,
            "JURAT_NAMESPACE": self.connection.namespace,
            "JURAT_KEYS_DIR": str(self.keys),
        }

    @property
    def trust(self) -> Trust:
        return load_trust(self.keys / "trust.json")

    def run(self, *words: str, stdin: bytes = b"", expect: int = 0) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end and check its exit code."""
        done = subprocess.run(
            [JURAT, *words],
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == expect, (
            f"jurat {' '.join(words)}: {done.returncode}\n{done.stderr.decode()}"
        )
        return done

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command that goes on; the caller ends it. What it says on stderr is shown when the test fails."""
        return subprocess.Popen([JURAT, *words], stdout=subprocess.DEVNULL, env=self.environment)


def new_shell(bootstrap_servers: str, namespace: str, keys: Path) -> Shell:
    """A shell with fresh keys for every agent."""
    init_keys(keys, ("fulfilment-router", "payment-retrier", "dispute-mediator", "after-sales"))
    return Shell(Connection(bootstrap_servers, namespace), keys)


def beside(shell: Shell, name: str) -> Shell:
    """A shell on the same broker in another namespace."""
    return Shell(replace(shell.connection, namespace=f"{name}-{uuid.uuid4().hex[:8]}"), shell.keys)

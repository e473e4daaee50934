"""Whether this process may call a model for real.

Rules upheld here: who calls a model asks here first; in a test the answer is no, unless the test says otherwise, so
that no test run spends money or depends on a server by accident. Not here: calling, and who forbids it
(`jurat.testing`).
"""

from __future__ import annotations

from jurat.schemas.errors import ConfigurationError

_forbidden: list[str] = []
"""Why calls are forbidden; empty while they are not. Of the process, as a call may be made in any thread or task."""


def forbid(why: str) -> None:
    """Let no model be called from now on.

    Args:
        why: the reason, and how to mend it, for the message.
    """
    _forbidden[:] = [why]


def allow() -> None:
    """Let models be called again."""
    _forbidden.clear()


def check_allowed(model: str) -> None:
    """Refuse a call where calls are forbidden; for whoever sends a request to a model, before it is sent.

    Args:
        model: the model's name, for the message.

    Raises:
        ConfigurationError: they are. It is no `ReasonerError`, so that no fallback hides it.
    """
    if _forbidden:
        raise ConfigurationError(f"got a call of the model {model}, expected none: {_forbidden[0]}")

"""Start a process that outlives its parent, know it again later, and end it.

Rules upheld here: a process is known by its id *and* its time of birth, so that a pid that was given to
another program is never signalled; every wait is bounded; SIGKILL follows SIGTERM only when its time is over.
Not here: what is run (broker_java). The only module that imports psutil.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

_SAME_BIRTH_S = 2.0  # a birth is told relative to the boot, and moves a little when the clock is set
_POLL_S = 0.02
_KILL_WAIT_S = 30.0  # only the kernel is left to act after SIGKILL; under load it does so late


def spawn(command: Sequence[str], *, environ: Mapping[str, str], output: Path) -> str:
    """Start `command` in a session of its own, its output appended to a file.

    Returns:
        The handle to give to the other functions: `pid:born`.

    Raises:
        OSError: the program or the output file cannot be opened.
    """
    # posix_spawn rather than subprocess: a Popen object insists on being waited for by this process.
    pid = os.posix_spawn(
        command[0],
        list(command),
        dict(environ),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    return f"{pid}:{psutil.Process(pid).create_time():.2f}"


def pid_of(handle: str) -> int:
    """The process id in a handle."""
    return int(handle.partition(":")[0])


def is_alive(handle: str) -> bool:
    """Tell whether this very process still runs (a zombie without threads does not)."""
    return _find(handle) is not None


def uptime_s(handle: str, *, now_s: float) -> float:
    """How long ago the process was born."""
    return max(0.0, now_s - float(handle.partition(":")[2]))


def terminate(handles: Sequence[str], *, within_s: float) -> tuple[str, ...]:
    """Send SIGTERM to each, wait for all of them, send SIGKILL to those left.

    Returns:
        The handles that needed SIGKILL.
    """
    for handle in handles:
        _signal(handle, signal.SIGTERM)
    left = _await_end(handles, within_s=within_s)
    for handle in left:
        _signal(handle, signal.SIGKILL)
    _await_end(left, within_s=_KILL_WAIT_S)
    return left


def kill(handle: str) -> None:
    """Send SIGKILL at once and wait until the process is gone; nothing happens when it already is."""
    _signal(handle, signal.SIGKILL)
    _await_end([handle], within_s=_KILL_WAIT_S)


def _signal(handle: str, number: signal.Signals) -> None:
    process = _find(handle)
    if process is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _await_end(handles: Sequence[str], *, within_s: float) -> tuple[str, ...]:
    """Wait until none of the processes runs, and give those that still do when the time is over.

    psutil's own wait takes a zombie for a living process; whose parent is gone can stay one for seconds.
    """
    deadline = time.monotonic() + within_s
    while left := tuple(handle for handle in handles if is_alive(handle)):
        if time.monotonic() > deadline:
            return left
        time.sleep(_POLL_S)
    for handle in handles:
        with contextlib.suppress(ChildProcessError):  # not a child of this process: another reaps it
            os.waitpid(pid_of(handle), os.WNOHANG)
    return ()


def _has_ended(process: psutil.Process) -> bool:
    """A process whose first thread is a zombie still holds its ports until the last of the others has gone."""
    return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1


def _find(handle: str) -> psutil.Process | None:
    pid, _, born = handle.partition(":")
    try:
        process = psutil.Process(int(pid))
        if abs(process.create_time() - float(born)) > _SAME_BIRTH_S:
            return None
        return None if _has_ended(process) else process
    except psutil.NoSuchProcess:
        return None

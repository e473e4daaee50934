"""The state of the machine, printed above every figure: a rate without it says nothing.

Not here: judging the state. Whoever reads a figure sees the load average and knows how much of the machine it had.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

CPU_INFO: Final = Path("/proc/cpuinfo")
BUSY_A_CORE: Final = 0.25
"""Load average per core above which the figures share the machine with somebody else's work."""


def describe(kafka: str) -> list[str]:
    """Say what the figures were measured on.

    Args:
        kafka: the broker's version and engine, as far as they are known.
    """
    loads = os.getloadavg()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory_gib = psutil.virtual_memory().total / 2**30
    python = f"Python {platform.python_version()} ({sys.implementation.name})"
    packages = f"jurat {version('jurat')}, aiokafka {version('aiokafka')}"
    load = " ".join(f"{load:.2f}" for load in loads)
    lines = [
        f"machine   {cores} cores ({_processor()}), {memory_gib:.0f} GiB, {platform.system()} {platform.machine()}",
        f"programs  {python}, {packages}, {kafka}",
        f"load      {load} at the start; the broker and the process under test share the cores",
    ]
    if loads[0] > BUSY_A_CORE * cores:
        lines.append("          others use this machine now: trust the ratios, not the rates")
    return lines


def _processor() -> str:
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"

"""What is fuzzed: each target takes an input, and fails where a promise about it is broken.

A target gives what the input was rejected with, in the project's own words, or an empty text where
it was accepted. Whatever else it raises is a crash.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz_documents import DOCUMENT_TARGETS
from fuzz_machines import MACHINE_TARGETS
from fuzz_sessions import SESSION_TARGETS
from fuzz_values import VALUE_TARGETS
from hypothesis import strategies as st

LIMIT_S = 10
"""What takes longer hangs."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One entry for input from outside."""

    name: str
    inputs: st.SearchStrategy[Any]
    check: Callable[[Any, Path], str]
    """Takes an input and an empty folder."""


TARGETS: tuple[Target, ...] = tuple(
    Target(name=name, inputs=inputs, check=check)
    for name, (inputs, check) in {
        **DOCUMENT_TARGETS,
        **SESSION_TARGETS,
        **MACHINE_TARGETS,
        **VALUE_TARGETS,
    }.items()
)


class HangError(Exception):
    """A target was still busy with an input when its time was over."""


@contextmanager
def alarm(limit_s: int = LIMIT_S) -> Iterator[None]:
    """Raise HangError in what takes longer. Does nothing on Windows, and beside the main thread."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not hasattr(signal, "SIGALRM") or not in_main_thread:
        yield
        return

    def ring(_signal: int, _frame: object) -> None:
        raise HangError(f"still busy after {limit_s}s")

    previous = signal.signal(signal.SIGALRM, ring)
    signal.alarm(limit_s)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)

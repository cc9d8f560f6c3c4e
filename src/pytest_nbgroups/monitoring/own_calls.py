"""Calls in a notebook's source that may have ended its kernel. They are evidence, and no more."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from pytest_nbgroups.kernel_host.exits import signal_name

_EXITS = {"exit", "quit", "sys.exit", "os._exit", "os.abort"}

_SENDERS = {"os.kill", "os.killpg", "signal.raise_signal", "signal.pthread_kill"}
_ABORT = {"os.abort"}
_TIMERS = {"signal.alarm", "signal.setitimer"}
_LIMITS = {"resource.setrlimit", "resource.prlimit"}
_BY_SIGNAL = {
    "SIGABRT": _ABORT,
    "SIGALRM": _TIMERS,
    "SIGVTALRM": _TIMERS,
    "SIGPROF": _TIMERS,
    "SIGXCPU": _LIMITS,
    "SIGXFSZ": _LIMITS,
}

# Neither in a comment nor behind a quote of the same line, nor a method of something else.
_CALL = re.compile(
    r"^[^#'\"\n]*?(?<![\w.])(?P<name>(?:(?:sys|os|signal|resource)\.)?"
    r"(?:_exit|exit|quit|abort|kill|killpg|raise_signal|pthread_kill|alarm|setitimer|setrlimit|prlimit))\s*\(",
    re.MULTILINE,
)


def exit_calls(sources: Sequence[str]) -> Iterator[str]:
    """Name the last cell that seems to end its process."""
    return _last_call(sources, _EXITS)


def signal_calls(sources: Sequence[str], signum: int) -> Iterator[str]:
    """Name the last cell that seems to send a signal, or to set what sends it."""
    return _last_call(sources, _SENDERS | _BY_SIGNAL.get(signal_name(signum) or "", set()))


def limit_calls(sources: Sequence[str]) -> Iterator[str]:
    """Name the last cell that seems to set a limit of the operating system."""
    return _last_call(sources, _LIMITS)


def _last_call(sources: Sequence[str], names: Collection[str]) -> Iterator[str]:
    # Also without the module, as after ``from os import kill``; a bare abort() can be anything.
    bare = {name.rpartition(".")[2] for name in names} - {"exit", "abort"} | set(names)
    for number, source in reversed(list(enumerate(sources, 1))):
        calls = [call["name"] for call in _CALL.finditer(source) if call["name"] in bare]
        if calls:
            yield f"cell {number} calls {calls[-1]}()"
            return

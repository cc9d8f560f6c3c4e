"""Explanation why a cell does not go on, from the states of its processes (Linux only)."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_nbgroups.kernel_host.descendants import descendants

_PROC = Path("/proc")
_STOPPED = {"T", "t"}

# Numbers of read(2), and of select(2) and pselect6(2), with which readline waits, see syscalls(2).
_CALLS = {"x86_64": ("0", ("23", "270")), "aarch64": ("63", ("72",)), "riscv64": ("63", ("72",))}
_TERMINALS = ("/dev/pts/", "/dev/tty", "/dev/console")


@dataclass(frozen=True, kw_only=True)
class Standstill:
    """A process that cannot go on by itself."""

    reason: str
    """``cat (pid 4242) waits for input on a terminal``."""
    remedy: str


def standstill(kernel: int, proc: Path = _PROC) -> Standstill | None:
    """Find out whether a kernel is stopped, or a process below it waits for somebody to type. None if neither is known."""
    if not (proc / str(kernel) / "stat").exists():
        return None
    return next(_found(kernel, proc), None)


def _found(kernel: int, proc: Path) -> Iterator[Standstill]:
    if _state(proc / str(kernel)) in _STOPPED:
        yield _stopped("the kernel")
    below = descendants(kernel)
    for process in (proc / str(pid) for pid in below):
        if _reads_terminal(process):
            yield Standstill(
                reason=f"{_named(process)} waits for input on a terminal that nobody uses",
                remedy="let the command ask nothing, for example with --yes, or give it no input: < /dev/null",
            )
    for process in (proc / str(pid) for pid in below):
        if _state(process) in _STOPPED:
            yield _stopped(_named(process))


def _stopped(who: str) -> Standstill:
    return Standstill(
        reason=f"{who} was stopped by a signal, such as SIGSTOP",
        remedy="find out who sent the signal: a person, a debugger, a job scheduler, or the notebook itself",
    )


def _reads_terminal(process: Path) -> bool:
    """Return whether it is in a system call that waits for a line from a terminal."""
    read, selects = _CALLS.get(platform.machine(), ("", ()))
    with suppress(OSError, ValueError):
        call, argument, *_ = (process / "syscall").read_text("ascii").split()
        # select() with 1 as its first argument watches only standard input.
        if call == read or (call in selects and int(argument, 16) == 1):
            descriptor = int(argument, 16) if call == read else 0
            return str((process / "fd" / str(descriptor)).readlink()).startswith(_TERMINALS)
    return False


def _state(process: Path) -> str:
    """One letter, see proc_pid_stat(5); empty if the process has ended."""
    return _stat(process).rpartition(")")[2].strip()[:1]


def _named(process: Path) -> str:
    name = _stat(process).partition("(")[2].rpartition(")")[0]
    return f"{name or 'a process'} (pid {process.name})"


def _stat(process: Path) -> str:
    try:
        return (process / "stat").read_text("utf-8", errors="replace")
    except OSError:
        return ""

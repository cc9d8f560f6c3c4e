"""The end of a process, in words."""

from __future__ import annotations

import signal

_SHELL = 128  # bash(1): a command that a signal ends has 128 and the signal for its exit status
_LARGEST_EXIT = 255
_EXITS = {
    0: ", exit() or quit() in a cell?",
    1: ", os._exit() in a cell or an error of the kernel itself?",
}
_COMPILED = ", a crash in compiled code"
SENT = ", sent from outside or by the notebook itself"
_NO_HANDLER = f"{SENT}, and no handler was installed for it"
_TIMER = ", a timer of the notebook ran out (signal.alarm, signal.setitimer)"
_SIGNALS = {
    "SIGKILL": f"{SENT}, or out of memory",
    "SIGSEGV": _COMPILED,
    "SIGBUS": _COMPILED,
    "SIGILL": _COMPILED,
    "SIGFPE": _COMPILED,
    "SIGTRAP": _COMPILED,
    "SIGABRT": ", aborted by compiled code or os.abort()",
    "SIGTERM": SENT,
    "SIGHUP": SENT,
    "SIGQUIT": SENT,
    "SIGINT": SENT,
    "SIGALRM": _TIMER,
    "SIGVTALRM": _TIMER,
    "SIGPROF": _TIMER,
    "SIGXCPU": ", it ran into the operating system's limit on CPU time (ulimit -t)",
    "SIGXFSZ": ", it ran into the operating system's limit on the size of files (ulimit -f)",
    "SIGSYS": ", a system call that is not allowed here",
}


def signal_of(returncode: int | None) -> int | None:
    """The signal that ended a kernel, or the shell around it, which then exits with 128 and the signal."""
    if returncode is None:
        return None
    if returncode < 0:
        return -returncode
    return returncode - _SHELL if signal_name(returncode - _SHELL) else None


def exit_status(returncode: int | None) -> str:
    """In words; negative numbers are signals, as in `subprocess`."""
    if returncode is None:
        return "its exit status is unknown"
    signum = signal_of(returncode)
    if signum is None:
        return f"exit code {returncode}"
    through_shell = f" (exit code {returncode})" if returncode > 0 else ""
    return f"{signal_name(signum) or f'signal {signum}'}{through_shell}"


def describe_exit(returncode: int | None) -> str:
    """An exit status with the usual meaning of its signal."""
    signum = signal_of(returncode)
    if signum not in signal.valid_signals():
        return exit_status(returncode)
    return f"{exit_status(returncode)}{_SIGNALS.get(signal_name(signum) or '', _NO_HANDLER)}"


def exit_hint(returncode: int | None) -> str:
    """Return the usual cause of an exit within a cell."""
    # Windows has larger codes for crashes.
    if returncode is None or signal_of(returncode) is not None or returncode > _LARGEST_EXIT:
        return ""
    return _EXITS.get(returncode, ", os._exit() in a cell or exit() in compiled code?")


def signal_name(signum: int) -> str | None:
    """Return its name, such as SIGTERM; None if this system has no name for the number."""
    try:
        return signal.Signals(signum).name
    except ValueError:
        return None

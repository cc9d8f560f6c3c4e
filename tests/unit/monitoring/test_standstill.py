"""Why a cell does not go on, read from a /proc that is made up."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from pytest_nbgroups.monitoring import standstill as module
from pytest_nbgroups.monitoring.standstill import standstill

KERNEL, SHELL, CHILD = 10, 11, 12
READ, SELECT = "0 0x{:x} 0x7f 0x1", "270 0x{:x} 0x7f 0x0"


class Processes:
    """A kernel with a shell and a child below it, all of them asleep."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        for pid, name in ((KERNEL, "python3"), (SHELL, "sh"), (CHILD, "a (b) c")):
            (proc / str(pid) / "fd").mkdir(parents=True)
            self.is_in(pid, "S", name)
            self.calls(pid, READ.format(0), {0: "/dev/null"})

    def is_in(self, pid: int, state: str, name: str) -> None:
        (self.proc / str(pid) / "stat").write_text(f"{pid} ({name}) {state} 1 2 3\n")

    def calls(self, pid: int, call: str, descriptors: dict[int, str]) -> None:
        (self.proc / str(pid) / "syscall").write_text(f"{call}\n")
        for number, target in descriptors.items():
            link = self.proc / str(pid) / "fd" / str(number)
            link.unlink(missing_ok=True)
            link.symlink_to(target)

    def reason(self) -> str:
        seen = standstill(KERNEL, self.proc)
        return seen.reason if seen else ""


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processes:
    monkeypatch.setattr(module, "descendants", lambda _: [SHELL, CHILD])
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return Processes(tmp_path)


def test_processes_that_only_wait(processes: Processes, tmp_path: Path) -> None:
    """Nothing is said of those that read a pipe or a file, and nothing without a /proc."""
    processes.calls(CHILD, READ.format(0), {0: "pipe:[1234]"})
    assert processes.reason() == ""
    assert standstill(KERNEL, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("call", "descriptors"),
    [
        (READ.format(0), {0: "/dev/pts/7"}),
        (READ.format(5), {0: "/dev/null", 5: "/dev/tty"}),
        (SELECT.format(1), {0: "/dev/pts/7"}),
    ],
)
def test_a_child_that_reads_from_a_terminal(
    processes: Processes, call: str, descriptors: dict[int, str]
) -> None:
    """It is named, whatever its name, with what to do."""
    processes.calls(CHILD, call, descriptors)
    seen = standstill(KERNEL, processes.proc)
    assert seen is not None
    assert seen.reason == "a (b) c (pid 12) waits for input on a terminal that nobody uses"
    assert "--yes" in seen.remedy
    assert "< /dev/null" in seen.remedy


@pytest.mark.parametrize("call", ["running", "1 0x0 0x7f", SELECT.format(9), ""])
def test_other_calls_beside_a_terminal(processes: Processes, call: str) -> None:
    """A process that has a terminal as its input does not wait for it by that alone."""
    processes.calls(CHILD, call, {0: "/dev/pts/7"})
    assert processes.reason() == ""


def test_a_machine_whose_calls_are_not_known(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is guessed."""
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    processes.calls(CHILD, READ.format(0), {0: "/dev/pts/7"})
    assert processes.reason() == ""


def test_stopped_processes(processes: Processes) -> None:
    """The kernel comes first, then whatever below it is stopped."""
    processes.is_in(CHILD, "T", "train")
    assert processes.reason() == "train (pid 12) was stopped by a signal, such as SIGSTOP"
    processes.is_in(KERNEL, "t", "python3")
    assert processes.reason() == "the kernel was stopped by a signal, such as SIGSTOP"

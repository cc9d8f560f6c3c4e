"""Whether a process ran into its limit on CPU time."""

from __future__ import annotations

import os
import signal
import sys
from types import SimpleNamespace

import pytest

from pytest_nbgroups.kernel_host import cpu_limit

if sys.platform != "linux":
    pytest.skip("only Linux tells", allow_module_level=True)

import resource


def limit(
    monkeypatch: pytest.MonkeyPatch,
    *,
    used_s: float,
    hard_s: int = 10,
    status: int = signal.SIGKILL,
) -> float | None:
    """Ask about a child that has ended, whose numbers are given."""
    monkeypatch.setattr(os, "waitid", lambda *_: SimpleNamespace(si_status=status))
    monkeypatch.setattr(resource, "prlimit", lambda *_: (hard_s, hard_s))
    monkeypatch.setattr(cpu_limit, "_cpu_s", lambda _pid: used_s)
    return cpu_limit.used_up_cpu_limit_s(4242)


@pytest.mark.parametrize(
    ("used_s", "found"), [(10.0, 10.0), (9.6, 10.0), (9.5, None), (1.0, None), (11.0, 10.0)]
)
def test_the_limit_is_used_up(
    monkeypatch: pytest.MonkeyPatch, used_s: float, found: float | None
) -> None:
    """Within what the two clocks of the operating system differ by."""
    assert limit(monkeypatch, used_s=used_s) == found


def test_other_ends_have_other_causes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another signal, or no limit at all."""
    assert limit(monkeypatch, used_s=10.0, status=signal.SIGSEGV) is None
    assert limit(monkeypatch, used_s=10.0, hard_s=resource.RLIM_INFINITY) is None


def test_a_child_that_has_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one that is no child: nothing is told, and nothing raises."""
    assert cpu_limit.used_up_cpu_limit_s(2**22 + 1) is None
    monkeypatch.setattr(os, "waitid", lambda *_: None)
    assert cpu_limit.used_up_cpu_limit_s(os.getpid()) is None


def test_the_time_of_a_process_with_an_odd_name() -> None:
    """That of this one, as /proc has it; a name may hold blanks and parentheses."""
    before = cpu_limit._cpu_s(os.getpid())
    assert before == pytest.approx(sum(os.times()[:2]), abs=0.5)

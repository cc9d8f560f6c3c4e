"""Observations of a kernel while its notebook runs, kept to explain a failure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_nbgroups.core.model import Failure
from pytest_nbgroups.core.resources import Usage
from pytest_nbgroups.core.shortage import shortage
from pytest_nbgroups.kernel_host.client import KernelProcess, Reaped
from pytest_nbgroups.kernels.holding import Holding, Neighbour
from pytest_nbgroups.monitoring.death import Evidence, LostChild, explained, lost_child_warnings
from pytest_nbgroups.monitoring.watch import MemoryWatch

_CHILDREN_FAULTS = 8
"""Place of ``cminflt`` after the name in /proc/<pid>/stat, see proc_pid_stat(5)."""


class Witness:
    """Watches one kernel, from before its first cell on."""

    def __init__(
        self,
        kernel: KernelProcess,
        holding: Holding,
        memory: MemoryWatch,
        *,
        proc: Path = Path("/proc"),
    ) -> None:
        self._kernel = kernel
        self._holding = holding
        self._memory = memory
        self._stat = proc / str(kernel.pid) / "stat"
        self._before = self._after = holding.kill_counts()
        self._faults = self._faults_of_ended_children()
        self._beside: tuple[Neighbour, ...] = ()
        self._lost: list[LostChild] = []

    def cell_ended(self, number: int) -> None:
        """Take in what has happened to the kernel or beside it since the cell before."""
        counts, faults = self._holding.kill_counts(), self._faults_of_ended_children()
        # Page faults too: a child may live too briefly for any sample.
        has_lost = self._memory.has_lost_a_process() or faults != self._faults
        if self._kernel.returncode is not None:
            self._after, self._beside = counts, tuple(self._holding.neighbours())
            return
        found = shortage(self._before, counts)
        if found and has_lost:
            beside = tuple(self._holding.neighbours())
            self._lost.append(LostChild(cell=number, shortage=found, neighbours=beside))
        self._before, self._after, self._faults = counts, counts, faults

    def explain(
        self,
        failure: Failure | None,
        usage: Usage | None,
        sources: Sequence[str],
        reaped: Reaped | None = None,
    ) -> tuple[Failure | None, tuple[str, ...]]:
        """The failure with its cause, and the warnings that take its place if there is none.

        Called when the tree is gone and ``reaped``. ``sources`` are the texts of the cells, empty for one that is no code.
        """
        at = failure.cell.number if failure and failure.cell else 0
        seen = Evidence(
            returncode=self._kernel.returncode,
            before=self._before,
            after=self._after,
            recent_bytes=self._memory.recent_bytes,
            peak_bytes=usage.peak_bytes if usage else 0,
            neighbours=self._beside,
            lost_children=tuple(self._lost),
            excess=self._memory.excess,
            cpu_limit_s=reaped.cpu_limit_s if reaped else None,
            sources=sources[:at],
        )
        failure = explained(failure, seen)
        return failure, () if failure else lost_child_warnings(seen)

    def _faults_of_ended_children(self) -> str:
        """Return a count that rises when the kernel reaps a child; empty if it is not known."""
        try:
            text = self._stat.read_text("utf-8", errors="replace")
        except OSError:
            return ""
        fields = text.rpartition(")")[2].split()  # the name itself can hold blanks and brackets
        return fields[_CHILDREN_FAULTS] if len(fields) > _CHILDREN_FAULTS else ""

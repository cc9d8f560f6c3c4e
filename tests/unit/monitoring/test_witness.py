"""What is kept of a run, for when something has to be explained. The kernel is a number here."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from pytest_nbgroups.core.model import CellReference, FailureKind
from pytest_nbgroups.core.resources import Usage
from pytest_nbgroups.core.shortage import KillCounts, MemoryPlace
from pytest_nbgroups.core.units import Size
from pytest_nbgroups.execution.failures import death_failure
from pytest_nbgroups.kernel_host.client import KernelProcess, Reaped
from pytest_nbgroups.kernels.holding import Holding, Neighbour
from pytest_nbgroups.monitoring.watch import Excess, MemoryWatch
from pytest_nbgroups.monitoring.witness import Witness

PID = 42


@dataclass
class Watch:
    """What a test says of the tree's memory."""

    recent_bytes: int = 100
    excess: Excess | None = None
    has_lost: bool = False

    def has_lost_a_process(self) -> bool:
        """Tells it once."""
        lost, self.has_lost = self.has_lost, False
        return lost


@dataclass
class Scene:
    """A kernel with what surrounds it."""

    proc: Path
    kills: int = 0
    watch: Watch = field(default_factory=Watch)
    exited: Future[int] = field(default_factory=Future)
    neighbours: tuple[Neighbour, ...] = ()

    def __post_init__(self) -> None:
        (self.proc / str(PID)).mkdir()
        self.children_ended(0)
        holding = Holding(
            kill_counts=self._counts, neighbours=lambda: self.neighbours, ram_limit=Size(50)
        )
        self.witness = Witness(
            KernelProcess(pid=PID, exited=self.exited),
            holding,
            cast("MemoryWatch", self.watch),
            proc=self.proc,
        )

    def _counts(self) -> KillCounts:
        return KillCounts(cgroups=(MemoryPlace(name="cgroup /box", kills=self.kills),))

    def children_ended(self, faults: int) -> None:
        stat = f"{PID} (python) 3) S 1 42 42 0 -1 4194304 500 {faults} 0 0 1 1 0 0 20\n"
        (self.proc / str(PID) / "stat").write_text(stat)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_kernel_that_was_killed(scene: Scene) -> None:
    """The counts are compared with those at the end of the cell before, and those beside it told of."""
    scene.kills = 1  # of another experiment
    scene.witness.cell_ended(1)
    scene.kills, scene.neighbours = 2, (Neighbour(experiment="Lung", used_bytes=200),)
    scene.exited.set_result(-9)
    scene.witness.cell_ended(2)
    scene.neighbours = ()
    cell = CellReference(number=2, count=2, source="x")
    usage = Usage(peak_bytes=150)
    failure, warnings = scene.witness.explain(death_failure(-9, cell=cell), usage, ["", "x"])
    assert failure is not None
    assert failure.kind is FailureKind.OUT_OF_MEMORY
    assert failure.evidence[0].endswith("ended 1 process of cgroup /box while it ran")
    assert failure.evidence[2:4] == (
        "its processes: last sample 100 B, peak 150 B",
        "beside it ran Lung (200 B)",
    )
    assert warnings == ()


def test_an_earlier_kill_is_no_reason(scene: Scene) -> None:
    """It was counted while another cell ran."""
    scene.kills = 1
    scene.witness.cell_ended(1)
    scene.exited.set_result(-9)
    scene.witness.cell_ended(2)
    failure, _ = scene.witness.explain(death_failure(-9, cell=None), None, [])
    assert failure is not None
    assert failure.kind is FailureKind.KERNEL_DIED


@pytest.mark.parametrize("seen_by", ["the operating system", "the samples"])
def test_a_child_was_killed(scene: Scene, seen_by: str) -> None:
    """Some child has ended while a process was killed: that is said of a notebook that passed."""
    scene.kills = 1
    if seen_by == "the samples":
        scene.watch.has_lost = True
    else:
        scene.children_ended(7)
    scene.witness.cell_ended(3)
    scene.witness.cell_ended(4)
    failure, (warning,) = scene.witness.explain(None, None, [])
    assert failure is None
    assert warning.startswith("cell 3 passed, but check its results: ")


def test_a_kill_beside_it(scene: Scene) -> None:
    """No child has ended, so it was no child: an experiment is not told of what befell another."""
    scene.kills = 1
    scene.witness.cell_ended(1)
    assert scene.witness.explain(None, None, []) == (None, ())


def test_children_that_end_are_no_reason(scene: Scene) -> None:
    """Most of them end because they are done."""
    scene.children_ended(7)
    scene.watch.has_lost = True
    scene.witness.cell_ended(1)
    scene.kills = 1
    scene.witness.cell_ended(2)
    assert scene.witness.explain(None, None, []) == (None, ())


def test_a_tree_above_its_limit(scene: Scene) -> None:
    """Though its notebook passed in the same moment."""
    scene.watch.excess = Excess(used_bytes=60, processes=1, largest_bytes=60, limit=Size(50))
    failure, warnings = scene.witness.explain(None, None, [])
    assert failure is not None
    assert (failure.kind, warnings) == (FailureKind.RAM_LIMIT, ())


def test_cells_that_have_not_run_do_not_count(scene: Scene) -> None:
    """An exit in a later cell was none."""
    scene.exited.set_result(0)
    cell = CellReference(number=1, count=2, source="x")
    failure, _ = scene.witness.explain(death_failure(0, cell=cell), None, ["x", "exit()"])
    assert failure is not None
    assert failure.evidence == ()


def test_a_limit_on_cpu_time_is_seen_when_the_kernel_is_reaped(scene: Scene) -> None:
    """The kernel host reads it then; here it becomes the cause."""
    scene.exited.set_result(-9)
    died = death_failure(-9, cell=CellReference(number=1, count=1, source="x"))
    reaped = Reaped(cpu_s=2, peak_bytes=1, cpu_limit_s=1.0)
    failure, _ = scene.witness.explain(died, None, ["x"], reaped)
    assert failure is not None
    assert failure.message.endswith("limit on CPU time (ulimit -t 1)")


def test_a_kernel_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    """As on macOS: nothing is raised."""
    watch = cast("MemoryWatch", Watch())
    kernel = KernelProcess(pid=PID, exited=Future())
    witness = Witness(kernel, Holding(), watch, proc=tmp_path)
    witness.cell_ended(1)
    assert witness.explain(None, None, []) == (None, ())

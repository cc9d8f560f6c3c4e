"""Why something died, from what was seen."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from pytest_nbgroups.core.model import CellReference, Failure, FailureKind
from pytest_nbgroups.core.shortage import KillCounts, MemoryPlace, Shortage
from pytest_nbgroups.core.units import parse_size
from pytest_nbgroups.execution.failures import death_failure
from pytest_nbgroups.kernels.holding import Neighbour
from pytest_nbgroups.monitoring.death import (
    Evidence,
    LostChild,
    explained,
    lost_child_warnings,
)
from pytest_nbgroups.monitoring.watch import Excess

if sys.platform == "win32":
    pytest.skip("no process is ended by signals there", allow_module_level=True)

GIB = 2**30
CELL = CellReference(number=2, count=3, source="fit()")
DIED = death_failure(-9, cell=CELL, output="epoch 1", log="last words")
BOX = MemoryPlace(
    name="cgroup /box", limit_bytes=4 * GIB, limit_name="memory.max", kills=1, overruns=0
)
MACHINE = MemoryPlace(limit_bytes=16 * GIB, kills=1)
QUIET = KillCounts(cgroups=(BOX,), machine=MACHINE)
KILLED = KillCounts(cgroups=(replace(BOX, kills=2, overruns=1),), machine=replace(MACHINE, kills=2))
ON_MACHINE = (KillCounts(machine=MACHINE), KillCounts(machine=replace(MACHINE, kills=3)))
LUNG = Neighbour(experiment="Lung", used_bytes=3 * GIB)
ELSEWHERE = Neighbour(experiment="Elsewhere", used_bytes=9 * GIB, shares_limit=False)
KILLER = "the OOM killer of the operating system"
VERY_LIKELY = f"the kernel died in cell 2 of 3: very likely out of memory, {KILLER} was active"
BOX_RAN_OUT = "exhausted: memory.max of cgroup /box, 4 GiB"


def explain(failure: Failure = DIED, **seen: object) -> Failure:
    """With the counts of a quiet machine, unless others are given."""
    values = {"returncode": -9, "before": QUIET, "after": QUIET, **seen}
    found = explained(failure, Evidence(**values))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_out_of_memory() -> None:
    """The count of the own cgroup has risen: the limit, the last samples and the neighbours are told."""
    found = explain(after=KILLED, recent_bytes=3 * GIB, peak_bytes=4 * GIB)
    assert found == Failure(
        kind=FailureKind.OUT_OF_MEMORY,
        message=f"the kernel died in cell 2 of 3: out of memory, it was ended by {KILLER}",
        cell=CELL,
        output="epoch 1",
        traceback="last words",
        evidence=(
            f"{KILLER} ended 1 process of cgroup /box while it ran",
            BOX_RAN_OUT,
            "its processes: last sample 3 GiB, peak 4 GiB",
            "no other experiment ran beside it",
        ),
        remedy="let the notebook use less memory, or raise memory.max of cgroup /box",
    )


def test_the_victim_is_not_always_the_culprit() -> None:
    """Who ran beside it in the same cgroup is named, the largest first."""
    small = Neighbour(experiment="Small", used_bytes=GIB // 2)
    found = explain(after=KILLED, recent_bytes=GIB, neighbours=(small, ELSEWHERE, LUNG))
    assert found.message == VERY_LIKELY
    assert found.evidence[2:] == (
        "its processes: last sample 1 GiB",
        "beside it ran Lung (3 GiB), Small (512 MiB)",
        "Lung used more: this experiment may be the victim, not the cause",
    )
    assert found.remedy == (
        "declare ram in [resources] of each of them, so that fewer run at once, or lower the budget "
        "with --experiment-ram"
    )


def test_many_neighbours() -> None:
    """Five are named."""
    many = [Neighbour(experiment=f"E{n}", used_bytes=GIB - n) for n in range(7)]
    found = explain(after=KILLED, recent_bytes=GIB, neighbours=tuple(many))
    assert found.evidence[3].startswith("beside it ran E0 (1 GiB), E1 (1 GiB), ")
    assert found.evidence[3].endswith(", E4 (1 GiB) and 2 more")


def test_something_else_took_the_memory() -> None:
    """Files in memory, for one, belong to no process."""
    full = replace(BOX, kills=2, overruns=1, file_bytes=3 * GIB)
    found = explain(after=replace(KILLED, cgroups=(full,)), recent_bytes=GIB // 2)
    assert found.evidence[1] == (
        f"{BOX_RAN_OUT}; files in memory, as in /dev/shm, hold 3 GiB of it"
    )
    assert found.evidence[-1] == (
        "that is 512 MiB of 4 GiB: the rest was used later, or by other programs"
    )


def test_only_the_machine_counts() -> None:
    """Then it is very likely and no more; neighbours in other containers count."""
    before, after = ON_MACHINE
    found = explain(before=before, after=after, recent_bytes=GIB, neighbours=(ELSEWHERE,))
    assert found.kind is FailureKind.OUT_OF_MEMORY
    assert found.message == VERY_LIKELY
    assert found.evidence == (
        f"{KILLER} ended 2 processes of the machine while it ran",
        "exhausted: physical memory of the machine, 16 GiB",
        "its processes: last sample 1 GiB",
        "beside it ran Elsewhere (9 GiB)",
        "Elsewhere used more: this experiment may be the victim, not the cause",
    )


@pytest.mark.parametrize("returncode", [-9, 137])
def test_killed_from_outside(returncode: int) -> None:
    """No count has risen. A shell around the kernel tells of it by a number of its own."""
    code = " (exit code 137)" if returncode > 0 else ""
    found = explain(returncode=returncode, recent_bytes=GIB)
    assert (found.kind, found.message) == (
        FailureKind.KERNEL_DIED,
        f"the kernel died in cell 2 of 3: SIGKILL{code}, sent from outside or by the notebook itself",
    )
    assert found.evidence == (
        f"{KILLER} ended no process of cgroup /box while it ran",
        "its processes: last sample 1 GiB",
    )
    assert found.remedy == (
        "find out who sent it: a person, a job scheduler, a guard such as systemd-oomd or earlyoom, "
        "or the notebook itself"
    )


def test_a_kill_elsewhere_on_the_machine() -> None:
    """It is told, and nothing is concluded from it."""
    after = replace(QUIET, machine=replace(MACHINE, kills=2))
    found = explain(after=after)
    assert found.kind is FailureKind.KERNEL_DIED
    assert found.evidence == (
        f"{KILLER} ended no process of cgroup /box while it ran",
        "elsewhere on the machine it ended 1 process",
    )


def test_a_guard_of_memory() -> None:
    """Such programs end processes before the operating system does, so nothing is counted."""
    found = explain(recent_bytes=GIB, neighbours=(LUNG,))
    assert found.message == (
        "the kernel died in cell 2 of 3: SIGKILL, sent from outside or by the notebook itself, possibly "
        "by a program that guards memory"
    )
    assert found.evidence[-1] == "beside it ran Lung (3 GiB)"


@pytest.mark.parametrize(
    ("recent_bytes", "cause"),
    [(13 * GIB, "possibly out of memory"), (GIB, "sent from outside or by the notebook itself")],
)
def test_nothing_counts(recent_bytes: int, cause: str) -> None:
    """Whether memory was short can only be guessed from what was used."""
    silent = KillCounts(machine=MemoryPlace(limit_bytes=16 * GIB))
    found = explain(before=silent, after=silent, recent_bytes=recent_bytes)
    assert found.kind is FailureKind.KERNEL_DIED
    assert found.message == f"the kernel died in cell 2 of 3: SIGKILL, {cause}"
    assert (
        found.evidence[0]
        == "this system does not count the processes that it ends for lack of memory"
    )


def test_a_crash_stays_a_crash() -> None:
    """Though memory was short at the same time."""
    crash = death_failure(-11, cell=CELL)
    assert explain(crash, returncode=-11, after=KILLED) == crash


@pytest.mark.parametrize(
    ("sources", "evidence"),
    [
        (["exit()", "", "x = 1"], ("cell 1 calls exit()",)),
        (["import os", "if True:\n    os._exit(3)"], ("cell 2 calls os._exit()",)),
        (["sys.exit(1)", "quit ()"], ("cell 2 calls quit()",)),
        (["exit()", "1, 2,\n" * 50_000], ("cell 1 calls exit()",)),
        (["# exit()", "app.exit()", 'print("exit()")', "sys.abort()", "on_exit()"], ()),
        ([], ()),
    ],
)
def test_an_exit_in_a_cell(sources: list[str], evidence: tuple[str, ...]) -> None:
    """The last cell that seems to end its process is named."""
    found = explain(death_failure(0, cell=CELL), returncode=0, sources=sources)
    assert found.kind is FailureKind.KERNEL_DIED
    assert found.evidence == evidence


@pytest.mark.parametrize(
    ("returncode", "source", "evidence"),
    [
        (-15, "import os\nos.kill(os.getpid(), 15)", ("cell 1 calls os.kill()",)),
        (-1, "raise_signal(1)", ("cell 1 calls raise_signal()",)),
        (143, "signal.raise_signal(15)", ("cell 1 calls signal.raise_signal()",)),
        (-6, "os.abort()", ("cell 1 calls os.abort()",)),
        (-14, "signal.alarm(1)", ("cell 1 calls signal.alarm()",)),
        (-24, "resource.setrlimit(x, (1, 2))", ("cell 1 calls resource.setrlimit()",)),
        (-15, "os.abort()\nsignal.alarm(1)\nsys.exit()\nchild.kill()\nshop.os.kill()", ()),
        (-999, "x = 1", ()),
    ],
)
def test_a_signal_that_a_cell_may_have_sent(
    returncode: int, source: str, evidence: tuple[str, ...]
) -> None:
    """The call is named, if that signal can come of it."""
    found = explain(death_failure(returncode, cell=CELL), returncode=returncode, sources=[source])
    assert found.kind is FailureKind.KERNEL_DIED
    assert found.evidence == evidence


def test_a_kill_that_a_cell_may_have_sent() -> None:
    """It stands below what is known of the memory."""
    assert explain(sources=["os.kill(os.getpid(), 9)"]).evidence == (
        f"{KILLER} ended no process of cgroup /box while it ran",
        "cell 1 calls os.kill()",
    )


def test_the_limit_on_cpu_time() -> None:
    """Its hard limit ends a process by SIGKILL, whatever the memory is like at that moment."""
    found = explain(
        cpu_limit_s=60.0, after=KILLED, sources=["", "resource.setrlimit(resource.RLIMIT_CPU, x)"]
    )
    assert found == Failure(
        kind=FailureKind.KERNEL_DIED,
        message="the kernel died in cell 2 of 3: SIGKILL, it ran into the operating system's limit on "
        "CPU time (ulimit -t 60)",
        cell=CELL,
        output="epoch 1",
        traceback="last words",
        evidence=(
            "it had used up its hard limit of 60 s of CPU time when it was killed",
            "cell 2 calls resource.setrlimit()",
        ),
        remedy="raise the limit at its source: the shell (ulimit -t), a job scheduler, the notebook itself",
    )


def lost(*neighbours: Neighbour, is_ours: bool = True) -> LostChild:
    where = KILLED.cgroups[0] if is_ours else ON_MACHINE[1].machine
    short = Shortage(kills=1, where=where, is_ours=is_ours, ran_out=where)
    return LostChild(cell=1, shortage=short, neighbours=neighbours)


def test_a_child_was_killed_and_a_cell_failed() -> None:
    """The failure stays what it is, and is told with the kill."""
    failure = Failure(kind=FailureKind.CELL, message="CalledProcessError", cell=CELL)
    found = explain(failure, returncode=None, lost_children=(lost(),))
    killed = f"while cell 1 ran, {KILLER} ended 1 process of cgroup /box"
    assert found == replace(
        failure,
        evidence=(
            f"{killed}, possibly a child of this kernel",
            BOX_RAN_OUT,
            "when the cell ended no other experiment ran beside it",
        ),
    )


@pytest.mark.parametrize(
    ("child", "where", "beside"),
    [
        (lost(LUNG), "cgroup /box", "beside it ran Lung (3 GiB)"),
        (lost(ELSEWHERE), "cgroup /box", "no other experiment ran beside it"),
        (lost(ELSEWHERE, is_ours=False), "the machine", "beside it ran Elsewhere (9 GiB)"),
    ],
)
def test_a_child_was_killed_and_all_passed(child: LostChild, where: str, beside: str) -> None:
    """That is a warning, no surer than possible: it may have been of another experiment."""
    seen = Evidence(lost_children=(child,))
    assert explained(None, seen) is None
    (warning,) = lost_child_warnings(seen)
    assert warning.startswith(
        f"cell 1 passed, but check its results: {KILLER} ended 1 process of {where}, "
        "possibly a child of this kernel; exhausted: "
    )
    assert warning.endswith(f"; when the cell ended {beside}")


def test_more_than_its_ram() -> None:
    """We killed it ourselves: with the declared size, and the cell."""
    excess = Excess(used_bytes=5 * GIB, processes=3, largest_bytes=2 * GIB, limit=parse_size("4GB"))
    found = explain(excess=excess, after=KILLED)
    assert found == Failure(
        kind=FailureKind.RAM_LIMIT,
        message="cell 2 of 3 used 5.4GB, more than its declared ram of 4GB; it was killed (ram_limit)",
        cell=CELL,
        output="epoch 1",
        traceback="last words",
        evidence=("it had 3 processes, the largest with 2.1GB",),
        remedy="let the notebook use less memory, or declare a larger ram in [resources] of experiment.toml",
    )


def test_more_than_its_ram_at_the_end_of_the_last_cell() -> None:
    """Its tree was killed, so it has not passed."""
    excess = Excess(used_bytes=5 * GIB, processes=1, largest_bytes=5 * GIB, limit=parse_size("4GB"))
    found = explained(None, Evidence(excess=excess))
    assert found is not None
    assert (found.kind, found.evidence) == (FailureKind.RAM_LIMIT, ())
    assert found.message.startswith("the notebook used 5.4GB, more than")

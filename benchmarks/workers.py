"""What a number of workers comes to, planned and measured: ``python benchmarks/workers.py``.

Runs a copy of `examples/` once with ``-n 1`` for its history, then, each time with that history alone,
with 1 to 2 x cpus workers. Beside the plan's wall time and peak RAM stand those measured: from the
first lease to the last release, pytest as a whole, the CPU time of all its processes over wall time x
cpus, the sum of their PSS and the swap used, the last two sampled. Needs the dependency group
``examples``.

``--machines`` prints how many experiments of one CPU fit at once on machines of usual sizes instead.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil  # noqa: TID253  a program of its own

from pytest_nbgroups.core.resources import Budget, Resources
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.core.units import Size
from pytest_nbgroups.declarations.directory import Customization, read_experiments, read_pyproject
from pytest_nbgroups.history.kind import read_machine
from pytest_nbgroups.history.store import Session, open_history
from pytest_nbgroups.machine.capacity import combine, find_budget
from pytest_nbgroups.machine.cpu import CpuLimit
from pytest_nbgroups.machine.gpu import GpuFindings
from pytest_nbgroups.machine.memory import RamLimit
from pytest_nbgroups.scheduling.backlog import Unit
from pytest_nbgroups.scheduling.needs import SlowStart, need_of, unmet
from pytest_nbgroups.scheduling.outlook import Conditions, outlook, predict
from pytest_nbgroups.scheduling.planning import Job, most_at_once
from pytest_nbgroups.scheduling.simulation import Prediction

EXAMPLES = Path(__file__).parents[1] / "examples"
SAMPLE_S = 0.5
GB = 10**9
MACHINES = {"4 CPUs, 16 GB": (4, 16), "16 CPUs, 64 GB": (16, 64), "64 CPUs, 256 GB": (64, 256)}
EXPERIMENTS = {"light: 1 GB": 1, "medium: 6 GB": 6, "heavy: 24 GB": 24}
MANY = 1000


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of the examples."""

    wall_s: float
    """Of pytest as a whole."""
    span_s: float
    """From the first lease to the last release."""
    cpu_s: float
    peak_bytes: int
    swap_bytes: int


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What the plugin knows of a folder's experiments after a run."""

    units: tuple[Unit, ...]
    around: Conditions
    recommended: int

    def predict(self, workers: int) -> Prediction:
        return predict(self.units, workers, self.around)

    @property
    def durations_s(self) -> list[float]:
        return [unit.job.duration_s or 0.0 for unit in self.units if unit.job]


def copy_examples(folder: Path, *, history_of: Path | None = None) -> Path:
    """A copy without results; with the history of another one, if given."""
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("output", ".experiments"))
    if history_of is not None:
        (folder / ".experiments").mkdir()
        shutil.copy(history_of / ".experiments" / "history.sqlite", folder / ".experiments")
    return folder


def run_examples(folder: Path, workers: int) -> Measured:
    """Run the examples in a folder, with a pool of leases of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--run-experiments"]
    environment = {**os.environ, "NBGROUPS_POOL": str(folder / "pool")}
    cpu_before, start = _children_s(), time.perf_counter()
    peak_bytes = swap_bytes = 0
    with (folder / "pytest.log").open("w+") as log:
        process = subprocess.Popen(
            [*command, "-n", str(workers)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        while not _has_ended(process):
            peak_bytes = max(peak_bytes, _tree_bytes(process.pid))
            swap_bytes = max(swap_bytes, psutil.swap_memory().used)
        wall_s = time.perf_counter() - start
        if process.returncode:
            log.seek(0)
            sys.exit(log.read())
    return Measured(
        wall_s=wall_s,
        span_s=_span_s(folder),
        cpu_s=_children_s() - cpu_before,
        peak_bytes=peak_bytes,
        swap_bytes=swap_bytes,
    )


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(SAMPLE_S)
    return process.returncode is not None


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _tree_bytes(pid: int) -> int:
    """What a process and all below it hold, shared pages once."""
    total = 0
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total


def _span_s(folder: Path) -> float:
    session = json.loads((folder / ".experiments" / "session.json").read_text())
    leases = [e["attempts"][-1]["lease"] for e in session["experiments"]]
    held = [lease for lease in leases if lease is not None]  # what is skipped holds nothing
    return float(max(e["released_at"] for e in held) - min(e["granted_at"] for e in held))


def plan(folder: Path) -> Planned:
    """From the history of a folder, for the experiments that have run there, as a session plans."""
    settings = Settings(
        rootdir=folder, roots=(folder / "experiments",), artifacts=folder / ".experiments"
    )
    budget = find_budget(settings)
    machine = read_machine(budget)
    session = Session(
        id="", started_at=time.time(), machine=machine, plugin_version="", python_version=""
    )
    with open_history(settings.artifacts, session) as history:
        estimates = history.estimates(machine.kind)
    slow_start = SlowStart(default_bytes=settings.default_ram.bytes)
    jobs = [
        Job(
            name=name,
            need=need_of(resources, estimates[name], budget, slow_start),
            duration_s=estimates[name].duration_s,
            peak_bytes=estimates[name].peak_bytes,
        )
        for name, resources in _declared(settings).items()
        if name in estimates
    ]
    units = tuple(Unit(indices=[index], job=job) for index, job in enumerate(jobs))
    around = Conditions(budget=budget, schedule=settings.schedule)
    fits = most_at_once([job.need for job in jobs], budget, max_parallel=None)
    recommended = outlook(units, around, fits=fits, asked=0).recommended
    return Planned(units=units, around=around, recommended=recommended)


def _declared(settings: Settings) -> dict[str, Resources]:
    customization = Customization(patterns=read_pyproject(settings.rootdir))
    return {
        experiment.name: experiment.resources
        for directory in sorted((settings.rootdir / "experiments").iterdir())
        if directory.is_dir()
        for experiment in read_experiments(directory, settings, customization=customization)
    }


def bench(scratch: Path, counts: Sequence[int]) -> None:
    first = copy_examples(scratch / "first")
    run_examples(first, 1)
    planned = plan(first)
    cpus = planned.around.budget.cpus
    print(f"the examples on {cpus:g} cpus; recommended: -n {planned.recommended}")
    print(f"{'':<4}{'planned':>20}{'measured':>20}")
    columns = ("wall s", "RAM MB", "leases s", "RAM MB", "pytest s", "CPU use", "swap MB")
    print(f"{'-n':<4}" + "".join(f"{column:>10}" for column in columns))
    for workers in counts or range(1, int(2 * cpus) + 1):
        predicted = planned.predict(workers)
        measured = run_examples(copy_examples(scratch / str(workers), history_of=first), workers)
        print(
            f"{workers:<4}{predicted.wall_s:>10.1f}{predicted.peak_ram_bytes / 1e6:>10.0f}"
            f"{measured.span_s:>10.1f}{measured.peak_bytes / 1e6:>10.0f}{measured.wall_s:>10.1f}"
            f"{measured.cpu_s / measured.wall_s / cpus:>10.0%}{measured.swap_bytes / 1e6:>10.0f}",
            flush=True,
        )


def print_machines() -> None:
    print(f"{'':<18}" + "".join(f"{name:>26}" for name in EXPERIMENTS))
    for name, (cpus, ram_gb) in MACHINES.items():
        budget = _budget(cpus, ram_gb * GB)
        cells = (_most(gb * GB, budget) for gb in EXPERIMENTS.values())
        print(f"{name:<18}" + "".join(f"{cell:>26}" for cell in cells))


def _budget(cpus: int, ram_bytes: int) -> Budget:
    """What a session may use of a machine by default."""
    return combine(
        Settings(rootdir=Path(), artifacts=Path()),
        cpus=CpuLimit(cpus=cpus, source="paper"),
        ram=RamLimit(bytes=ram_bytes, source="paper", allotted=False),
        gpus=GpuFindings(),
    )


def _most(ram_bytes: int, budget: Budget) -> str:
    resources = Resources(cpus=1, ram=Size(ram_bytes, f"{ram_bytes // GB}GB"))
    if unmet(resources, budget):
        return "none: skipped"
    need = need_of(resources, None, budget, SlowStart(default_bytes=0))
    most = most_at_once([need] * MANY, budget, max_parallel=None)
    return f"{most.fit} ({most.limit})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--machines", action="store_true", help="machines on paper; runs nothing")
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[], metavar="N", help="only these"
    )
    arguments = parser.parse_args()
    if arguments.machines:
        print_machines()
        return
    with tempfile.TemporaryDirectory() as scratch:
        bench(Path(scratch), arguments.workers)


if __name__ == "__main__":
    main()

"""What thousands of experiments cost: ``python benchmarks/scale.py``. Needs Linux or macOS.

For growing numbers of experiments of ten notebooks each, all with a history: the CPU time of whole runs
that collect them and that plan them, less that of the same run on an empty folder; of the decisions of
the scheduler, from its first to its last, with sixteen workers that do nothing and leases of four to
eight experiments at once; of the table at the end; and of writing ``session.json`` once, whose size is
told too. Beside each the factor from the number above to this one: 2 where the numbers double and the
cost is linear, 4 where it is quadratic. Peaks of memory are those of the process that plans.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pytest_nbgroups.core.model import (
    ExperimentOutcome,
    ExperimentResult,
    NotebookOutcome,
    NotebookResult,
)
from pytest_nbgroups.core.resources import Budget, Estimate, Lease, Need, Resources, Usage
from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.engines.planner import Planner
from pytest_nbgroups.engines.protocol import Knowledge
from pytest_nbgroups.engines.session_start import open_session
from pytest_nbgroups.engines.this_machine import ThisMachine
from pytest_nbgroups.integration.xdist.items import CollectedItems, Declared
from pytest_nbgroups.integration.xdist.scheduler import ExperimentScheduler
from pytest_nbgroups.leases.pool import LeasePool
from pytest_nbgroups.reports.closing_table import table_lines, table_rows
from pytest_nbgroups.reports.record import ExperimentRecord, RecordedAttempt
from pytest_nbgroups.reports.session_file import SessionMetadata, session_dict, write_record
from pytest_nbgroups.scheduling.needs import SlowStart

NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}\n'
NOTEBOOKS = 10
WORKERS = 16
PLUGINS = ("-p", "xdist", "-p", "pytest_nbgroups.register", "-p", "no:cacheprovider")
GIB = 2**30


def name_of(number: int) -> str:
    return f"E{number:05}"


def result_of(number: int, folder: Path, chance: random.Random) -> ExperimentResult:
    """A run that has passed, with a duration and a peak as they occur."""
    duration_s, peak = chance.lognormvariate(4, 1), int(chance.lognormvariate(19.5, 0.7))
    directory = folder / "experiments" / name_of(number)
    usage = Usage(peak_bytes=peak, cpu_s=duration_s / NOTEBOOKS)
    return ExperimentResult(
        name=name_of(number),
        directory=directory,
        outcome=ExperimentOutcome.PASSED,
        started_at=1e9 + number,
        duration_s=duration_s,
        lease=Lease(need=Need(cpus=1, ram_bytes=peak, ram_source="history")),
        notebooks=tuple(
            NotebookResult(
                name=f"{step}-step.ipynb",
                outcome=NotebookOutcome.PASSED,
                duration_s=duration_s / NOTEBOOKS,
                cells_total=5,
                cells_executed=5,
                usage=usage,
                executed_path=directory / f"{step}-step.ipynb",
            )
            for step in range(1, NOTEBOOKS + 1)
        ),
    )


@dataclass(kw_only=True)
class Tree:
    """A folder with so many experiments."""

    folder: Path
    results: Sequence[ExperimentResult]

    def write(self) -> None:
        (self.folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        for result in self.results:
            result.directory.mkdir(parents=True)
            for notebook in result.notebooks:
                (result.directory / notebook.name).write_text(NOTEBOOK, encoding="utf-8")

    def remember(self) -> None:
        """Leave a history, as an earlier session on this machine would."""
        settings = Settings(rootdir=self.folder, artifacts=self.folder / ".experiments")
        machine = ThisMachine(LeasePool(self.folder / "pool"))
        earlier = open_session(machine, settings, session="earlier", started_at=1e9)
        with earlier as (_, history):
            for result in self.results:
                history.record_experiment(result, nodeid=f"experiments/{result.name}::notebooks")

    def run(self, *arguments: str) -> tuple[float, float]:
        """CPU seconds of a run of pytest and the MB at its peak."""
        command = [sys.executable, "-m", "pytest", *PLUGINS, "--run-experiments", *arguments]
        environment = {
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "NBGROUPS_POOL": str(self.folder.parent / "pool"),
        }
        process = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in {0, 5}:
            sys.exit(f"{' '.join(command)} in {self.folder} ended with {process.returncode}")
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


@dataclass(eq=False, kw_only=True)
class IdleWorker:
    """A worker as the scheduler has it, which is told and does nothing."""

    gateway: Any
    sent: list[int] = field(default_factory=list)
    shutting_down: bool = False

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.sent = list(indices)

    def shutdown(self) -> None:
        self.shutting_down = True

    def notify_inproc(self, *_arguments: object, **_more: object) -> None:
        """Nobody else makes room here."""


def schedule(folder: Path, results: Sequence[ExperimentResult]) -> None:
    """Have all of them run, always the one next that was sent first."""
    budget = Budget(
        cpus=8, cpus_source="", ram_bytes=3 * GIB, ram_capacity_bytes=4 * GIB, ram_source=""
    )
    knowledge = Knowledge(
        session="scale",
        budget=budget,
        slow_start=SlowStart(default_bytes=GIB),
        estimates={r.name: estimate_of(r) for r in results},
    )
    settings = Settings(rootdir=folder, artifacts=folder / ".experiments", gpu_default="none")
    planner, machine = Planner(knowledge, settings), ThisMachine(LeasePool(folder / "pool"))
    items = CollectedItems(
        experiments={
            f"experiments/{r.name}::notebooks": Declared(name=r.name, resources=Resources())
            for r in results
        }
    )
    config: Any = SimpleNamespace(getoption=lambda *_: ["popen"] * WORKERS)
    facts: Any = SimpleNamespace(
        config=config, planner=planner, machine_state=lambda: machine.state(budget)
    )
    scheduler: Any = ExperimentScheduler(facts, lambda: items)
    workers = [IdleWorker(gateway=SimpleNamespace(id=f"gw{n}")) for n in range(WORKERS)]
    for worker in workers:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, list(items.experiments))
    scheduler.schedule()
    while not scheduler.tests_finished:
        worker = next(each for each in workers if each.sent)
        index, worker.sent = worker.sent[0], []
        scheduler.mark_test_complete(worker, index)
    scheduler._set_alarm(is_needed=False)  # noqa: SLF001  its timer


def estimate_of(result: ExperimentResult) -> Estimate:
    peak = result.usage.peak_bytes if result.usage else None
    return Estimate(runs=1, duration_s=result.duration_s, peak_bytes=peak)


def cpu_s(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


class Bench:
    """One number of experiments after the other."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        empty = self._tree(0)
        empty.run("--collect-only", "-q")  # compiles what is not yet compiled
        self._start_up = {kind: empty.run(*kind)[0] for kind in (_COLLECT, _PLAN)}

    def _tree(self, count: int) -> Tree:
        folder = self._scratch / str(count)
        folder.mkdir()
        chance = random.Random(count)  # noqa: S311  always the same
        tree = Tree(folder=folder, results=[result_of(n, folder, chance) for n in range(count)])
        tree.write()
        return tree

    def measure(self, count: int) -> Mapping[str, float]:
        """Seconds by what is done; last MB."""
        tree = self._tree(count)
        tree.remember()
        collecting, _ = tree.run(*_COLLECT)
        planning, peak_mb = tree.run(*_PLAN)
        records = [
            ExperimentRecord(
                nodeid=f"experiments/{r.name}::notebooks",
                attempts=(RecordedAttempt(worker="gw0", result=r),),
            )
            for r in tree.results
        ]
        return {
            "collect": collecting - self._start_up[_COLLECT],
            "plan": planning - self._start_up[_PLAN],
            "schedule": cpu_s(lambda: schedule(tree.folder, tree.results)),
            "table": cpu_s(lambda: table_lines(table_rows(records), 100)),
            "session.json": cpu_s(lambda: write_session(tree.folder, records)),
            "size": (tree.folder / ".experiments" / "session.json").stat().st_size / 10**6,
            "peak": peak_mb,
        }


_COLLECT = ("--collect-only", "-q")
_PLAN = ("--experiment-plan", "-n", str(WORKERS))
_SIZES = {"size": "MB", "peak": "MB"}


def write_session(folder: Path, records: Sequence[ExperimentRecord]) -> None:
    record: Any = SimpleNamespace(experiments=lambda: records, workers=lambda: ("gw0",))
    metadata = SessionMetadata(
        id="scale",
        pytest_version="",
        plugin_version="",
        python_version="",
        argv=(),
        rootdir=folder,
        started_at=0.0,
    )
    write_record(folder / ".experiments", session_dict(record, metadata))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[250, 500, 1000, 2000])
    counts = parser.parse_args().counts
    before: Mapping[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        for count in counts:
            found = bench.measure(count)
            if not before:
                print(f"{'experiments':>11}" + "".join(f"{kind:>18}" for kind in found))
            cells = [_cell(kind, value, before) for kind, value in found.items()]
            row = f"{count:>11}" + "".join(f"{cell:>18}" for cell in cells)
            print(row.rstrip(), flush=True)
            before = found


def _cell(kind: str, value: float, before: Mapping[str, float]) -> str:
    factor = f" x{value / before[kind]:.1f}" if before else " " * 5
    return f"{value:.{1 if kind in _SIZES else 2}f} {_SIZES.get(kind, 's')}{factor}"


if __name__ == "__main__":
    main()

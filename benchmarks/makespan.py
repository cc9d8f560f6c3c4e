"""How near to the shortest possible time experiments run: ``python benchmarks/makespan.py``.

Experiments of sleeping cells, with history from an earlier run, under our scheduler; the same sleeps as
plain tests, each in a file of its own, under xdist's ``load``, ``worksteal`` and ``loadgroup``. The
makespan goes from the first start to the last end, for experiments from lease to release. It is given
over the lower bound of the very durations that were measured: the longest, and all work over all
workers; with declared resources also, for each resource, what was held times how long over the budget.

``--orders`` runs 6, 5, 4, 3, 2 and seven times 1 on 3 workers in four orders; ``--sets N`` runs N
random sets with lognormal durations on 4 workers, without resources and with RAM and fake GPUs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat  # noqa: TID253  a program of its own

TWELVE = [6, 5, 4, 3, 2, 1, 1, 1, 1, 1, 1, 1]
RIVALS = ("load", "worksteal", "loadgroup")
RAM_MB = 1600
GPUS = 2
FAKE_NVML = Path(__file__).parents[1] / "tests" / "fake_nvml" / "build.py"
SLEEPING_TEST = """
import time, pytest
@pytest.mark.xdist_group({name!r})
def test_sleep():
    begun = time.time()
    time.sleep({seconds})
    with open({spans!r}, "a") as file:
        print(begun, time.time(), file=file)
"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """An experiment: how long it sleeps and what it declares."""

    seconds: float
    ram_mb: int = 50
    gpus: int = 0


@dataclass(frozen=True, kw_only=True)
class Span:
    """One run of a task, in seconds since the epoch, and what it held."""

    begun: float
    ended: float
    ram_mb: float = 0
    gpus: int = 0

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


def ratio(spans: Sequence[Span], workers: int) -> float:
    """The makespan over its lower bound."""
    makespan_s = max(span.ended for span in spans) - min(span.begun for span in spans)
    bounds = [
        max(span.seconds for span in spans),
        sum(span.seconds for span in spans) / workers,
        sum(span.seconds * span.ram_mb for span in spans) / RAM_MB,
        sum(span.seconds * span.gpus for span in spans) / GPUS,
    ]
    return makespan_s / max(bounds)


class Bench:
    """A folder with a set of tasks, as experiments and as tests."""

    def __init__(self, folder: Path, tasks: Sequence[Task], workers: int) -> None:
        self.folder = folder
        self.workers = workers
        self.environment = {
            **os.environ,
            **fake_gpus(folder),
            "NBGROUPS_POOL": str(folder / "pool"),
        }
        self.write_experiments(tasks, resources=False)
        for number, task in enumerate(tasks):
            name = f"E{number:02}"
            text = SLEEPING_TEST.format(
                name=name, seconds=task.seconds, spans=str(folder / "spans.txt")
            )
            self._write(f"tests/test_{name}.py", text)
        self._write("experiments/pytest.ini", "[pytest]\n")
        self._write("tests/pytest.ini", "[pytest]\n")

    def write_experiments(self, tasks: Sequence[Task], *, resources: bool) -> None:
        for number, task in enumerate(tasks):
            cell = nbformat.v4.new_code_cell(f"import time; time.sleep({task.seconds})")
            notebook = nbformat.v4.new_notebook(cells=[cell])
            declared = [f"ram = '{task.ram_mb if resources else 50}MB'", "cpus = 0.5"]
            declared.append(f"gpus = {task.gpus if resources else 0}")
            directory = f"experiments/E{number:02}"
            self._write(f"{directory}/1-sleep.ipynb", nbformat.writes(notebook))
            self._write(f"{directory}/experiment.toml", "\n".join(["[resources]", *declared, ""]))

    def ours(self) -> list[Span]:
        folder = self.folder / "experiments"
        self._pytest(
            folder,
            "--run-experiments",
            f"--experiment-ram={RAM_MB}MB",
            "-n",
            str(self.workers),
            ".",
        )
        session = json.loads((folder / ".experiments" / "session.json").read_text())
        leases: list[Any] = [e["attempts"][-1]["lease"] for e in session["experiments"]]
        return [
            Span(
                begun=lease["granted_at"],
                ended=lease["released_at"],
                ram_mb=lease["ram_bytes"] / 10**6,
                gpus=len(lease["gpus"]),
            )
            for lease in leases
        ]

    def rival(self, dist: str) -> list[Span]:
        spans = self.folder / "spans.txt"
        spans.unlink(missing_ok=True)
        self._pytest(
            self.folder / "tests", "-p", "no:nbgroups", "--dist", dist, "-n", str(self.workers)
        )
        pairs = [line.split() for line in spans.read_text().splitlines()]
        return [Span(begun=float(begun), ended=float(ended)) for begun, ended in pairs]

    def _pytest(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(
            command, cwd=folder, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stdout + done.stderr)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def fake_gpus(folder: Path) -> dict[str, str]:
    """The environment in which so many GPUs are found, by the library that the tests build."""
    spec = importlib.util.spec_from_file_location("fake_nvml_build", FAKE_NVML)
    if spec is None or spec.loader is None:
        sys.exit(f"{FAKE_NVML} is missing")
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    if reason := builder.why_not():
        sys.exit(reason)
    description = folder / "gpus.txt"
    description.parent.mkdir(parents=True, exist_ok=True)
    description.write_text("".join(f"gpu uuid=GPU-{n} total=81920\n" for n in range(GPUS)))
    library = folder / "nvml"
    library.mkdir(exist_ok=True)
    return dict(builder.environment(builder.build(library), description))


def bench_orders(scratch: Path, unit_s: float) -> None:
    print(f"6, 5, 4, 3, 2, 7 x 1 (x {unit_s:g} s) on 3 workers, makespan / lower bound:")
    print(f"{'order':<12}{'ours':>8}" + "".join(f"{rival:>11}" for rival in RIVALS))
    orders = {"longest": TWELVE, "shortest": TWELVE[::-1]}
    for seed in (1, 2):
        orders[f"shuffle {seed}"] = random.Random(seed).sample(TWELVE, len(TWELVE))  # noqa: S311
    ours = []
    for name, order in orders.items():
        tasks = [Task(seconds=units * unit_s) for units in order]
        bench = Bench(scratch / name.replace(" ", "-"), tasks, workers=3)
        bench.ours()
        ours.append(ratio(bench.ours(), 3))
        rivals = [ratio(bench.rival(dist), 3) for dist in RIVALS]
        print(f"{name:<12}{ours[-1]:>8.3f}" + "".join(f"{r:>11.3f}" for r in rivals), flush=True)
    print(f"{'worst':<12}{max(ours):>8.3f}")


def random_tasks(seed: int, unit_s: float) -> list[Task]:
    rng = random.Random(seed)  # noqa: S311  nothing secret
    return [
        Task(
            seconds=round(min(rng.lognormvariate(0, 1), 8) * unit_s, 2),
            ram_mb=rng.choice([60, 60, 120, 120, 250, 250, 500, 1000]),
            gpus=rng.choices([0, 1, 2], [0.65, 0.27, 0.08])[0],
        )
        for _ in range(12)
    ]


def bench_sets(scratch: Path, unit_s: float, count: int) -> None:
    print(f"{count} sets of 12, lognormal (x {unit_s:g} s), 4 workers, makespan / lower bound:")
    columns = ["ours", *RIVALS, "ours, RAM and GPUs"]
    print(f"{'set':<6}" + "".join(f"{column:>20}" for column in columns))
    rows = []
    for seed in range(count):
        tasks = random_tasks(seed, unit_s)
        bench = Bench(scratch / f"set-{seed}", tasks, workers=4)
        bench.ours()
        row = [ratio(bench.ours(), 4), *(ratio(bench.rival(dist), 4) for dist in RIVALS)]
        bench.write_experiments(tasks, resources=True)
        rows.append([*row, ratio(bench.ours(), 4)])
        print(f"{seed:<6}" + "".join(f"{r:>20.3f}" for r in rows[-1]), flush=True)
    means = [statistics.mean(column) for column in zip(*rows, strict=True)]
    print(f"{'mean':<6}" + "".join(f"{mean:>20.3f}" for mean in means))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--orders", action="store_true", help="the twelve in four orders")
    parser.add_argument("--sets", type=int, default=0, metavar="N", help="N random sets")
    parser.add_argument("--unit", type=float, default=2.0, metavar="SECONDS")
    arguments = parser.parse_args()
    if not arguments.orders and not arguments.sets:
        parser.error("give --orders, --sets N or both")
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.orders:
            bench_orders(Path(scratch), arguments.unit)
        if arguments.sets:
            bench_sets(Path(scratch), arguments.unit, arguments.sets)


if __name__ == "__main__":
    main()
